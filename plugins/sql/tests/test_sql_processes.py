"""Several processes and threads on one file: killed, racing, forked."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from nexus_core.spi import (
    AtomBackend,
    AuditBackend,
    Insert,
    PreconditionFailedError,
    Record,
    Replace,
    Scope,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]

PRELUDE = """
import gc, os, sys, threading
from pathlib import Path
import nexus_sql
from nexus_core.spi import *
runtime = Runtime(store="main", base=Path(sys.argv[1]), now=lambda: 0)
config = nexus_sql.SqlConfig(url="sqlite:///records.db", busy_timeout_seconds=float(sys.argv[2]))
scope = Scope("t1", "dev")
name = sys.argv[3]
def atoms():
    return nexus_sql.nexus_atom_store().factory(config, runtime)
def audit():
    return nexus_sql.nexus_audit_sink().factory(config, runtime)
def say(*words):
    # One write for one line, however output is buffered: several processes share it.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def intent(id, version=1, body=b""):
    fields = dict(type="t", state="s", created_at=0, updated_at=0)
    return Record("intents", id, version, fields, body, b"")
def edge(id):
    return Record("edges", id, 1, dict(parent=id, child=id, relation="r", created_at=0), b"", b"")
def entry(index, operation, phase="intent"):
    return LogEntry(index=index, leaf=name.encode(), salt=b"s", sealed=b"s", subject_tag=b"t",
                    operation=operation, phase=phase, recorded_at=index)
def head(size):
    return LogHead(size=size, edge=b"edge", checkpoint=b"%d" % size)
def race(count, run):
    # Children of a process that has opened nothing yet, let go together when all are there.
    global name
    reader, writer = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            name = f"p{number}"
            os.close(writer)
            os.read(reader, 1)
            run()
            os._exit(0)
        children.append(child)
    os.close(writer)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
"""


def start(script: str, base: Path, name: str = "", timeout: float = 30) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(base), str(timeout), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def finish(*processes: subprocess.Popen[str]) -> list[list[str]]:
    said = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def killed_after(process: subprocess.Popen[str], acknowledged: int) -> list[str]:
    """Kill with SIGKILL once so many lines were said; give every line that got out."""
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(acknowledged)]
    process.kill()
    said += (line.strip() for line in process.stdout if line.endswith("\n"))
    process.wait()
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()
    return said


def sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


COMMIT_FOREVER = """
store = atoms()
for number in range(10**6):
    batch = [Insert(intent(f"{name}-{number:04d}-{n}", body=bytes(700))) for n in range(10)]
    batch += [Insert(edge(f"{name}-{number:04d}-{n}")) for n in range(10)]
    store.commit(scope, batch)
    say(f"{name}-{number:04d}")
"""


def test_a_kill_loses_no_acknowledged_batch_and_halves_none(
    atoms: AtomBackend, provisioned: Path, tmp_path: Path
) -> None:
    """After kill -9 every acknowledged batch is there, and each is there as a whole or not."""
    acknowledged: set[str] = set()
    for turn, count in enumerate((1, 17, 60)):
        acknowledged.update(killed_after(start(COMMIT_FOREVER, tmp_path, f"k{turn}"), count))
    sizes: dict[str, int] = {}
    for collection in ("intents", "edges"):
        for record in atoms.query(SCOPE, collection, None, limit=100_000).records:
            batch = record.id.rpartition("-")[0]
            sizes[batch] = sizes.get(batch, 0) + 1
    assert acknowledged <= sizes.keys()
    assert set(sizes.values()) == {20}
    assert sound(provisioned)


APPEND_FOREVER = """
log = audit()
size = getattr(log.head(scope), "size", 0)
while True:
    batch = [entry(size, f"{name}-{size}"), entry(size + 1, f"{name}-{size}", "outcome"),
             entry(size + 2, f"{name}-{size}-open")]
    log.append(scope, size, batch, head(size + 3))
    size += 3
    say(size)
"""


def test_a_kill_loses_no_acknowledged_entry_and_halves_no_append(
    audit: AuditBackend, provisioned: Path, tmp_path: Path
) -> None:
    """After kill -9 the log reaches at least the last acknowledged size, and all of it agrees."""
    for turn, count in enumerate((1, 50)):
        said = killed_after(start(APPEND_FOREVER, tmp_path, f"k{turn}"), count)
        head = audit.head(SCOPE)
        assert head is not None
        assert head.size >= int(said[-1])
        assert head.size % 3 == 0
        entries = audit.read(SCOPE, 0, 10**6)
        assert [entry.index for entry in entries] == list(range(head.size))
        kept = audit.checkpoints(SCOPE, 0, 10**6)
        assert list(kept) == [b"%d" % size for size in range(3, head.size + 1, 3)]
        waiting = audit.unsettled(SCOPE, 10**9, 10**6)
        assert list(waiting) == [entry for entry in entries if entry.operation.endswith("-open")]
    assert sound(provisioned)


RACE_APPENDS = """
def run():
    log = audit()
    won = 0
    while won < 25:
        size = getattr(log.head(scope), "size", 0)
        try:
            log.append(scope, size, [entry(size, f"{name}-{won}")], head(size + 1))
        except PreconditionFailedError:
            continue
        say(f"{name} {size}")
        won += 1
    log.close()
race(4, run)
"""


def test_racing_appends_leave_one_log_without_gaps(audit: AuditBackend, tmp_path: Path) -> None:
    """Of processes that append to the same size exactly one wins: no gap, no entry twice."""
    (said,) = finish(start(RACE_APPENDS, tmp_path))
    won: dict[str, list[int]] = {f"p{number}": [] for number in range(4)}
    for line in said:
        name, size = line.split()
        won[name].append(int(size))
    assert sorted(size for sizes in won.values() for size in sizes) == list(range(100))
    entries = audit.read(SCOPE, 0, 1000)
    assert [entry.index for entry in entries] == list(range(100))
    for name, sizes in won.items():
        own = [entry for entry in entries if entry.leaf == name.encode()]
        assert [entry.index for entry in own] == sizes
        assert [entry.operation for entry in own] == [f"{name}-{n}" for n in range(25)]
    assert list(audit.checkpoints(SCOPE, 0, 1000)) == [b"%d" % size for size in range(1, 101)]


RACE_REPLACES = """
def run():
    store = atoms()
    done = 0
    while done < 25:
        (now,) = store.get(scope, "intents", ["counter"])
        body = b"%d" % (int(now.body) + 1)
        try:
            store.commit(scope, [Replace(intent("counter", now.version + 1, body))])
        except PreconditionFailedError:
            continue
        done += 1
    store.close()
race(3, run)
"""


def test_racing_replaces_lose_no_update(atoms: AtomBackend, make: Make, tmp_path: Path) -> None:
    """A counter that processes raise by compare-and-set counts every success."""
    atoms.commit(SCOPE, [Insert(make("intents", "counter", body=b"0"))])
    finish(start(RACE_REPLACES, tmp_path))
    (counter,) = atoms.get(SCOPE, "intents", ["counter"])
    assert counter is not None
    assert (counter.body, counter.version) == (b"75", 76)


def test_racing_threads_lose_no_update(atoms: AtomBackend, make: Make) -> None:
    """Threads that share one backend count every success as well."""
    atoms.commit(SCOPE, [Insert(make("intents", "counter", body=b"0"))])
    failures: list[BaseException] = []

    def count() -> None:
        done = 0
        try:
            while done < 20:
                (now,) = atoms.get(SCOPE, "intents", ["counter"])
                assert now is not None
                body = b"%d" % (int(now.body) + 1)
                try:
                    atoms.commit(
                        SCOPE, [Replace(make("intents", "counter", now.version + 1, body=body))]
                    )
                except PreconditionFailedError:
                    continue
                done += 1
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    (counter,) = atoms.get(SCOPE, "intents", ["counter"])
    assert counter is not None
    assert (counter.body, counter.version) == (b"160", 161)


RACE_PROVISIONS = """
def run():
    spec = nexus_sql.nexus_atom_store()
    for line in spec.provision(config, runtime):
        say(line)
    backend = spec.factory(config, runtime)
    assert backend.check() == [], backend.check()
race(4, run)
"""


def test_racing_provisions_make_one_schema(tmp_path: Path) -> None:
    """Processes that provision one place at once all succeed, and each thing is made by one."""
    (said,) = finish(start(RACE_PROVISIONS, tmp_path))
    assert sorted(line for line in said if line.startswith("schema")) == [
        "schema version 1: tables of the atom store",
        "schema version 2: tables of the audit sink",
    ]
    assert sound(tmp_path / "records.db")


FORK = """
store, log = atoms(), audit()
store.commit(scope, [Insert(intent("before"))])
log.append(scope, 0, [entry(0, "o")], head(1))
child = os.fork()
who = "child" if child == 0 else "parent"
assert store.get(scope, "intents", ["before"])[0] is not None
for n in range(20):
    store.commit(scope, [Insert(intent(f"{who}-{n}"))])
while True:
    size = log.head(scope).size
    try:
        log.append(scope, size, [entry(size, who)], head(size + 1))
        break
    except PreconditionFailedError:
        pass
if child == 0:
    sys.exit(0)   # with all that an interpreter tears down at its end
assert os.waitpid(child, 0)[1] == 0
store.commit(scope, [Insert(intent("after"))])
say(store.count(scope, "intents", None), log.head(scope).size)
store.close(); log.close()
"""


def test_a_backend_is_usable_on_both_sides_of_a_fork(provisioned: Path, tmp_path: Path) -> None:
    """Parent and child go on with what they had, neither with the other's connections."""
    assert finish(start(FORK, tmp_path)) == [["42 3"]]
    assert sound(provisioned)
    assert [path.name for path in tmp_path.iterdir()] == ["records.db"]


FORK_AND_OUTLIVE = """
store = atoms()
store.commit(scope, [Insert(intent("before"))])
ready, told = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    store.commit(scope, [Insert(intent("early"))])
    os.write(ready[1], b"x")
    os.read(told[0], 1)
    store.commit(scope, [Insert(intent("late"))])
    os.kill(os.getpid(), 9)
os.read(ready[0], 1)
store.close()
os.write(told[1], b"x")
os.waitpid(child, 0)
"""


def test_what_a_child_commits_outlives_its_parent_closing(
    atoms: AtomBackend, provisioned: Path, tmp_path: Path
) -> None:
    """A parent that closes does not take the log away under its child's acknowledged commits."""
    atoms.close()
    finish(start(FORK_AND_OUTLIVE, tmp_path))
    with closing(sqlite3.connect(provisioned)) as connection:
        found = connection.execute("SELECT nx_id FROM record_intents ORDER BY nx_id").fetchall()
    assert found == [("before",), ("early",), ("late",)]


FORK_AMID_WRITES = """
store = atoms()
stop = threading.Event()
def write(number):
    n = 0
    while not stop.is_set():
        store.commit(scope, [Insert(intent(f"{number}-{n}"))])
        n += 1
    done.append(n)
done = []
threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for turn in range(5):
    child = os.fork()
    if child == 0:
        store.commit(scope, [Insert(intent(f"child-{turn}"))])
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
stop.set()
for thread in threads:
    thread.join()
say(store.count(scope, "intents", None) == sum(done) + 5)
store.close()
"""


def test_forks_amid_writes_lose_nothing_and_hang_nobody(provisioned: Path, tmp_path: Path) -> None:
    """A fork waits for transactions of other threads; then all sides go on."""
    assert finish(start(FORK_AMID_WRITES, tmp_path)) == [["True"]]
    assert sound(provisioned)


FORK_INTO_A_WRITE = """
import nexus_sql._pool
nexus_sql._pool.PATIENCE = 0.1
store = atoms()
inside, leave = threading.Event(), threading.Event()
def hold():
    with store._database.write(None) as connection:
        inside.set()
        leave.wait()
thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    for backend in (store, atoms()):
        for call in (lambda: backend.count(scope, "intents", None), backend.check):
            try:
                call()
                os._exit(8)
            except UnavailableError as error:
                assert not error.retryable and error.outcome is Outcome.NOT_APPLIED
    gc.collect()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
leave.set()
thread.join()
say(store.commit(scope, [Insert(intent("after"))]))
store.close()
"""


def test_a_child_that_inherited_a_transaction_is_refused(provisioned: Path, tmp_path: Path) -> None:
    """When a transaction outlasts a fork's patience the child is told no; the parent goes on."""
    assert finish(start(FORK_INTO_A_WRITE, tmp_path)) == [["[True]"]]
    assert sound(provisioned)
