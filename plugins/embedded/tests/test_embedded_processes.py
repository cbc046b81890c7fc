"""Several processes and threads on one root: crashes, forks, erasures, agreement."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

import pytest

from nexus_core.spi import (
    NotFoundError,
    Outcome,
    StaleReferenceError,
    StoreTimeoutError,
    VectorBackend,
)

if TYPE_CHECKING:
    import subprocess

    from plugins.embedded.tests.conftest import Lab


def tell(other: subprocess.Popen[str], line: str = "go") -> None:
    """Send the other process a line."""
    assert other.stdin is not None
    other.stdin.write(line + "\n")
    other.stdin.flush()


def heard(other: subprocess.Popen[str]) -> str:
    """Wait for a line of the other process."""
    out: IO[str] | None = other.stdout
    assert out is not None
    return out.readline().strip()


def test_what_one_process_writes_the_others_next_query_sees(lab: Lab, store: VectorBackend) -> None:
    """Warm caches of two processes agree after every write of either, without being told."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    code = """
scope = spi.Scope("acme", "prod")
ref = store.get_index(scope, "notes", 1)
while (line := hear()):
    verb, name, x = line.split()
    if verb == "put":
        store.upsert(scope, ref, rows([name], [[float(x), 0, 0]]))
    if verb == "del":
        store.delete(scope, ref, [name])
    say(",".join(ask(scope, ref, [0, 0, 0], 5)))
"""
    model: dict[str, float] = {}
    dice = lab.dice(5)

    def expected() -> str:
        return ",".join(sorted(model, key=lambda name: (model[name], name))[:5])

    with lab.worker(code) as other:
        for turn in range(60):
            name, x = f"n{dice.randrange(9)}", float(dice.randrange(50))
            verb = "del" if turn % 4 == 3 else "put"
            if verb == "del":
                model.pop(name, None)
            else:
                model[name] = x
            if turn % 2:
                tell(other, f"{verb} {name} {x}")
                assert heard(other) == expected()
            elif verb == "del":
                store.delete(lab.a, ref, [name])
            else:
                store.upsert(lab.a, ref, lab.batch([(name, [x, 0, 0], {})]))
            mine = lab.ask(store, lab.a, ref, [[0, 0, 0]], 5)[0]
            assert ",".join(name for name, _ in mine) == expected()
            tell(other, "ask - 0")
            assert heard(other) == expected()
        assert other.stdin is not None
        other.stdin.close()


def test_two_processes_with_threads_lose_and_mix_nothing(lab: Lab, store: VectorBackend) -> None:
    """Eight threads in two processes write, delete and ask; the end is what all of them did."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    theirs = store.create_index(lab.c, lab.definition(metric="l2sq"))
    code = """
import threading
def work(number):
    for scope in (spi.Scope("acme", "prod"), spi.Scope("acme1", "prod")):
        ref = store.get_index(scope, "notes", 1)
        for turn in range(12):
            mine = f"{arguments[0]}{number}-{turn}"
            store.upsert(scope, ref, rows([mine, "shared"], [[number, turn, 1], [9, number, turn]]))
            found = ask(scope, ref, [number, turn, 1], 1000)
            assert mine in found, (mine, found)
            assert len(found) == len(set(found))
            if turn % 3 == 0:
                assert store.delete(scope, ref, [mine]) == 1
                assert mine not in ask(scope, ref, [number, turn, 1], 1000)
failed = []
def guarded(number):
    try:
        work(number)
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=guarded, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
say(failed or "done")
"""
    with lab.worker(code, "p") as one, lab.worker(code, "q") as two:
        assert [heard(one), heard(two)] == ["done", "done"]
    expected = {f"{p}{n}-{t}" for p in "pq" for n in range(4) for t in range(12) if t % 3}
    for scope, index in ((lab.a, ref), (lab.c, theirs)):
        found = {row.id for row in store.scan(scope, index).rows}
        assert found == expected | {"shared"}
        assert store.count(scope, index, None) == len(found)
        assert len(lab.ask(store, scope, index, [[0, 0, 0]], 1000)[0]) == len(found)


def test_threads_of_one_store_see_their_own_writes(lab: Lab) -> None:
    """Each thread's next query has what it just wrote, whatever the others do meanwhile."""
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))

    def work(number: int) -> int:
        for turn in range(25):
            row = [float(number), float(turn), 1.0]
            store.upsert(lab.a, ref, lab.batch([(f"t{number}", row, {})]))
            ((name, far), *_) = lab.ask(store, lab.a, ref, [row], 3)[0]
            assert (name, far) == (f"t{number}", 0.0)
        return number

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(6))) == list(range(6))
    assert store.count(lab.a, ref, None) == 6


def test_an_erasure_is_noticed_by_a_process_that_has_the_file_open(
    lab: Lab, store: VectorBackend
) -> None:
    """A warm process neither reads nor writes what another erased, nor touches what came after."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    code = """
scope = spi.Scope("acme", "prod")
ref = store.get_index(scope, "notes", 1)
say(ask(scope, ref, [1, 0, 0], 3))
calls = [
    lambda: ask(scope, ref, [1, 0, 0], 3),
    lambda: store.get(scope, ref, ["x"]),
    lambda: store.count(scope, ref, None),
    lambda: store.upsert(scope, ref, rows(["ghost"], [[1, 0, 0]])),
]
for round in range(2):
    hear()
    seen = []
    for call in calls:
        try:
            call()
            seen.append("answered")
        except spi.StoreError as error:
            seen.append(type(error).__name__)
    say(*seen)
hear()
store.close()
say("closed")
"""
    with lab.worker(code) as other:
        assert heard(other) == "['x']"
        assert store.erase(lab.a) == 1
        tell(other)
        assert heard(other).split() == ["NotFoundError"] * 4
        new = store.create_index(lab.a, lab.definition())
        store.upsert(lab.a, new, lab.batch([("y", [0, 1, 0], {})]))
        tell(other)
        assert heard(other).split() == ["StaleReferenceError"] * 4
        tell(other)
        assert heard(other) == "closed"
    assert [row.id for row in store.scan(lab.a, new).rows] == ["y"]
    fresh = lab.build()
    assert lab.ask(fresh, lab.a, new, [[1, 0, 0]], 3) == [[("y", 1.0)]]


def test_a_write_that_waits_for_an_erasure_is_not_acknowledged(
    lab: Lab, store: VectorBackend
) -> None:
    """A writer queued behind an erasure is told that the scope is gone, not that it wrote."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    path = lab.database(lab.a)
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(store.upsert, lab.a, ref, lab.batch([("y", [0, 1, 0], {})]))
            while not waiting.running():
                time.sleep(0.001)
            time.sleep(0.05)
            condemned = path.parent.with_name("acme.erased.0")
            path.parent.rename(condemned)
            holder.execute("ROLLBACK")
            with pytest.raises(NotFoundError):
                waiting.result()
        assert holder.execute("SELECT id FROM vec").fetchall() == [("x",)]
    holder.close()


def test_erasing_while_others_work_leaves_no_row_behind(lab: Lab, store: VectorBackend) -> None:
    """Writers and readers racing erasures get answers or refusals; the last erasure wins."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def work(name: str) -> None:
        mine = lab.build()
        while not stop.is_set():
            try:
                ref = mine.create_index(lab.a, lab.definition())
                mine.upsert(lab.a, ref, lab.batch([(name, [1, 0, 0], {})]))
                lab.ask(mine, lab.a, ref, [[1, 0, 0]], 9)
            except (NotFoundError, StaleReferenceError):
                continue
            except BaseException as error:  # noqa: BLE001  # shown by the assertion below
                failures.append(error)
                return

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    erased = 0
    for turn in range(10_000):
        erased += store.erase(lab.a)
        if erased >= 5 and turn > 40:
            break
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert erased >= 5
    store.erase(lab.a)
    assert sorted(path.name for path in (lab.root / "v1" / "prod").iterdir()) == []


@pytest.mark.parametrize("lines", [1, 20, 57, 95])
def test_a_kill_loses_nothing_acknowledged_and_tears_nothing(
    lab: Lab, store: VectorBackend, lines: int
) -> None:
    """After kill -9 at any point, all acknowledged rows are there, whole batches only."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    code = """
scope = spi.Scope("acme", "prod")
ref = store.get_index(scope, "notes", 1)
for turn in range(100_000):
    names = [f"{turn % 40}-{n}" for n in range(3)]
    store.upsert(scope, ref, rows(names, [[turn, n, 0] for n in range(3)]))
    say(turn)
"""
    with lab.worker(code) as other:
        seen = [heard(other) for _ in range(lines)]
        other.kill()
        assert other.stdout is not None
        acknowledged = int([*seen, *other.stdout.read().split("\n")[:-1]][-1])
    rows = {row.id: lab.floats(row) for row in store.scan(lab.a, ref).rows}
    last = int(max(row[0] for row in rows.values()))
    assert last in (acknowledged, acknowledged + 1)
    expected = {
        f"{turn % 40}-{n}": [float(turn), float(n), 0.0]
        for turn in range(max(0, last - 39), last + 1)
        for n in range(3)
    }
    assert rows == expected
    assert len(lab.ask(store, lab.a, ref, [[0, 0, 0]], 1000)[0]) == len(rows)
    store.upsert(lab.a, ref, lab.batch([("next", [-1, 0, 0], {})]))
    assert lab.ask(store, lab.a, ref, [[-1, 0, 0]], 1) == [[("next", 0.0)]]


def test_a_kill_while_a_scope_is_made_or_erased_leaves_it_whole_or_absent(
    lab: Lab, store: VectorBackend
) -> None:
    """After kill -9 between erasing and making anew, the scope is absent or usable."""
    code = """
scope = spi.Scope("acme", "prod")
definition = spi.IndexDefinition(name="notes", version=1, dimension=3, metric="dot", embedder="w@1")
while True:
    ref = store.create_index(scope, definition)
    store.upsert(scope, ref, rows(["x"], [[1, 0, 0]]))
    store.erase(scope)
    say("round")
"""
    for wait in (0.0, 0.004):
        with lab.worker(code) as other:
            assert heard(other) == "round"
            time.sleep(wait)
            other.kill()
        refs = store.list_indexes(lab.a)
        assert all(store.count(lab.a, ref, None) in (0, 1) for ref in refs)
        ref = store.create_index(lab.a, lab.definition(metric="dot")) if not refs else refs[0]
        store.upsert(lab.a, ref, lab.batch([("y", [0, 1, 0], {})]))
        assert store.erase(lab.a) >= 1
        assert list((lab.root / "v1" / "prod").iterdir()) == []


def test_a_child_keeps_what_it_writes_after_its_parent_closed(lab: Lab) -> None:
    """A child's connection holds locks of its own: the parent's end does not take its log away."""
    ref = lab.build().create_index(lab.a, lab.definition(metric="l2sq"))
    code = """
import os
scope = spi.Scope("acme", "prod")
ref = store.get_index(scope, "notes", 1)
store.upsert(scope, ref, rows(["before"], [[0, 0, 0]]))
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    ask(scope, ref, [0, 0, 0], 3)
    os.write(ready[1], b"1")
    os.read(go[0], 1)
    store.upsert(scope, ref, rows(["child"], [[1, 0, 0]]))
    os._exit(0)
os.read(ready[0], 1)
store.close()
os.write(go[1], b"1")
say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    lab.close()
    with lab.worker(code) as other:
        assert heard(other) == "0"
    assert [row.id for row in lab.build().scan(lab.a, ref).rows] == ["before", "child"]


def test_a_fork_carries_no_lock_and_no_connection_over(lab: Lab) -> None:
    """Parent and child both go on after a fork, and neither loses what it acknowledged."""
    lab.build().create_index(lab.a, lab.definition(metric="l2sq"))
    code = """
import os, threading
scope = spi.Scope("acme", "prod")
ref = store.get_index(scope, "notes", 1)
store.upsert(scope, ref, rows(["before"], [[0, 0, 0]]))
ask(scope, ref, [0, 0, 0], 3)
stop = threading.Event()
def busy():
    while not stop.is_set():
        store.upsert(scope, ref, rows(["busy"], [[5, 0, 0]]))
        ask(scope, ref, [0, 0, 0], 3)
thread = threading.Thread(target=busy)
thread.start()
children = []
for number in range(6):
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        ask(scope, ref, [0, 0, 0], 3)
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        # The parent has closed its last connection meanwhile: the log must still be there.
        store.upsert(scope, ref, rows([f"child{number}"], [[1, number, 0]]))
        os._exit(0 if f"child{number}" in ask(scope, ref, [0, 0, 0], 99) else 1)
    os.read(ready[0], 1)
    children.append((child, go[1]))
stop.set()
thread.join()
store.close()
for child, go in children:
    os.write(go, b"1")
    assert os.waitpid(child, 0)[1] == 0
say("done")
"""
    with lab.worker(code) as other:
        assert heard(other) == "done"
    store = lab.build()
    ref = store.get_index(lab.a, "notes", 1)
    found = {row.id for row in store.scan(lab.a, ref).rows}
    assert found == {"before", "busy", *(f"child{number}" for number in range(6))}
    with sqlite3.connect(lab.database(lab.a)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def test_a_child_forked_during_a_call_is_refused(lab: Lab) -> None:
    """Where a fork cannot wait for a call to end, the child may not use the store."""
    lab.build().create_index(lab.a, lab.definition())
    code = """
import os
scope = spi.Scope("acme", "prod")
store._gate._patience = 0.01
with store._gate:
    child = os.fork()
    if child == 0:
        try:
            store.list_indexes(scope)
        except spi.ClosedError:
            os._exit(7)
        os._exit(0)
say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(store.list_indexes(scope)))
"""
    with lab.worker(code) as other:
        assert heard(other) == "7 1"


def test_a_held_lock_is_a_timeout_that_wrote_nothing(make_lab: Callable[..., Lab]) -> None:
    """A writer that waits in vain says so, and readers are not kept waiting."""
    lab = make_lab(busy_timeout=0.05)
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition())
    other = store.create_index(lab.b, lab.definition())
    holder = sqlite3.connect(lab.database(lab.a), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    calls: list[Callable[[], Any]] = [
        lambda: store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})])),
        lambda: store.erase(lab.a),
        lambda: store.drop_index(lab.a, ref),
    ]
    for call in calls:
        with pytest.raises(StoreTimeoutError) as caught:
            call()
        assert caught.value.retryable
        assert caught.value.outcome is Outcome.NOT_APPLIED
    assert lab.ask(store, lab.a, ref, [[1, 0, 0]], 1) == [[]]
    store.upsert(lab.b, other, lab.batch([("x", [1, 0, 0], {})]))
    holder.execute("ROLLBACK")
    holder.close()
    calls[0]()
    assert store.count(lab.a, ref, None) == 1
