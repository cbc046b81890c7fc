"""Several processes and threads on one database: racing, killed, and the server killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nexus_sql
import pytest

from nexus_core.spi import AtomBackend, AuditBackend, Insert, Record, Runtime, Scope, StoreError

pytestmark = pytest.mark.servers
SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]

PRELUDE = """
import sys
from pathlib import Path
import nexus_sql
from nexus_core.spi import *
url, password, name, count = sys.argv[1:5]
runtime = Runtime(store="main", base=Path("."), now=lambda: 0)
config = nexus_sql.SqlConfig.model_validate(dict(
    url=url, password={"env": password}, tls="disable", busy_timeout_seconds=30.0))
scope = Scope("t1", "dev")
def say(*words):
    print(*words, flush=True)
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
store = nexus_sql.nexus_atom_store().factory(config, runtime)
log = nexus_sql.nexus_audit_sink().factory(config, runtime)
say("ready")
sys.stdin.readline()
"""


def start(script: str, place: Any, name: str, count: int = 0) -> subprocess.Popen[str]:
    config = place.config()
    child = subprocess.Popen(
        [
            *(sys.executable, "-c", PRELUDE + script, config.url),
            *(config.password.env, name, str(count)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def race(script: str, place: Any, contestants: int, count: int) -> list[list[str]]:
    """Let processes go together when all are there; what each said."""
    children = [start(script, place, f"p{number}", count) for number in range(contestants)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    said = [child.communicate(timeout=100)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0] * contestants
    return said


def killed_after(script: str, place: Any, name: str, acknowledged: int) -> list[str]:
    """Kill with SIGKILL once so many lines were said; every line that got out."""
    child = start(script, place, name)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    said = [child.stdout.readline().strip() for _ in range(acknowledged)]
    child.kill()
    said += (line.strip() for line in child.stdout if line.endswith("\n"))
    child.wait()
    child.stdout.close()
    child.stdin.close()
    return said


APPENDS = """
won = 0
while won < int(count):
    size = getattr(log.head(scope), "size", 0)
    try:
        log.append(scope, size, [entry(size, f"{name}-{won}")], head(size + 1))
    except PreconditionFailedError:
        continue
    say(size)
    won += 1
log.close()
"""


def test_eight_processes_append_to_one_log(audit: AuditBackend, place: Any) -> None:
    """Of processes that append to one size exactly one wins: one chain, no gap, no entry twice."""
    said = race(APPENDS, place, 8, 15)
    sizes = {f"p{number}": [int(line) for line in lines] for number, lines in enumerate(said)}
    assert sorted(size for won in sizes.values() for size in won) == list(range(120))
    entries = audit.read(SCOPE, 0, 1000)
    assert [entry.index for entry in entries] == list(range(120))
    for name, won in sizes.items():
        own = [entry for entry in entries if entry.leaf == name.encode()]
        assert [entry.index for entry in own] == won
        assert [entry.operation for entry in own] == [f"{name}-{n}" for n in range(15)]
    assert list(audit.checkpoints(SCOPE, 0, 1000)) == [b"%d" % size for size in range(1, 121)]
    assert [entry.index for entry in audit.unsettled(SCOPE, 10**9, 1000)] == list(range(120))


REPLACES = """
done = 0
while done < int(count):
    (now,) = store.get(scope, "intents", ["counter"])
    try:
        body = b"%d" % (int(now.body) + 1)
        store.commit(scope, [Replace(intent("counter", now.version + 1, body)),
                             Insert(edge(f"{name}-{done}")),
                             Require("intents", "nobody", present=False)])
    except PreconditionFailedError:
        continue
    done += 1
store.close()
"""


def test_racing_replaces_lose_no_update(atoms: AtomBackend, place: Any, make: Make) -> None:
    """A counter that processes raise by compare-and-set counts every success, and no other."""
    atoms.commit(SCOPE, [Insert(make("intents", "counter", body=b"0"))])
    race(REPLACES, place, 4, 20)
    (counter,) = atoms.get(SCOPE, "intents", ["counter"])
    assert counter is not None
    assert (counter.body, counter.version) == (b"80", 81)
    assert atoms.count(SCOPE, "edges", None) == 80


CREATES = """
won = 0
for n in range(int(count)):
    try:
        store.commit(scope, [Insert(intent(f"i{n}", body=name.encode())),
                             Insert(edge(f"{name}-{n}"))])
        won += 1
    except AlreadyExistsError:
        pass
say(won)
store.close()
"""


def test_of_racing_inserts_one_wins(atoms: AtomBackend, place: Any) -> None:
    """Each id is made by exactly one process, with the rest of that process's batch."""
    said = race(CREATES, place, 4, 30)
    assert sum(int(line) for (line,) in said) == 30
    made = Counter(record.body for record in atoms.query(SCOPE, "intents", None).records)
    for number, (line,) in enumerate(said):
        assert made[b"p%d" % number] == int(line)
    for record in atoms.query(SCOPE, "intents", None).records:
        edge = f"{record.body.decode()}-{record.id[1:]}"
        assert atoms.get(SCOPE, "edges", [edge])[0] is not None
    assert atoms.count(SCOPE, "edges", None) == 30


DEPENDS = """
for n in range(int(count)):
    try:
        if name == "p0":
            store.commit(scope, [Require("intents", f"i{n}", present=False), Insert(edge(f"e{n}"))])
        else:
            store.commit(scope, [Require("edges", f"e{n}", present=False), Insert(intent(f"i{n}"))])
    except PreconditionFailedError:
        pass
store.close()
"""


def test_what_a_precondition_read_stays_true(atoms: AtomBackend, place: Any) -> None:
    """Two that each demand the absence of what the other writes never both succeed."""
    race(DEPENDS, place, 2, 60)
    edges = {record.id[1:] for record in atoms.query(SCOPE, "edges", None).records}
    intents = {record.id[1:] for record in atoms.query(SCOPE, "intents", None).records}
    assert not edges & intents
    assert edges | intents == {str(number) for number in range(60)}


COMMIT_FOREVER = """
for number in range(10**6):
    batch = [Insert(intent(f"{name}-{number:04d}-{n}", body=bytes(700))) for n in range(10)]
    batch += [Insert(edge(f"{name}-{number:04d}-{n}")) for n in range(10)]
    store.commit(scope, batch)
    say(f"{name}-{number:04d}")
"""


def halves(atoms: AtomBackend) -> dict[str, int]:
    """How many records of each batch are there."""
    sizes: Counter[str] = Counter()
    for collection in ("intents", "edges"):
        for record in atoms.query(SCOPE, collection, None, limit=100_000).records:
            sizes[record.id.rpartition("-")[0]] += 1
    return sizes


def test_a_killed_client_loses_nothing_and_halves_nothing(atoms: AtomBackend, place: Any) -> None:
    """After kill -9 every acknowledged batch is there, and each is there as a whole or not."""
    acknowledged: set[str] = set()
    for turn, count in enumerate((1, 17, 60)):
        acknowledged.update(killed_after(COMMIT_FOREVER, place, f"k{turn}", count))
    sizes = halves(atoms)
    assert acknowledged <= sizes.keys()
    assert set(sizes.values()) == {20}


APPEND_FOREVER = """
size = getattr(log.head(scope), "size", 0)
while True:
    batch = [entry(size, f"{name}-{size}"), entry(size + 1, f"{name}-{size}", "outcome"),
             entry(size + 2, f"{name}-{size}-open")]
    log.append(scope, size, batch, head(size + 3))
    size += 3
    say(size)
"""


def test_a_killed_client_leaves_one_log(audit: AuditBackend, place: Any) -> None:
    """After kill -9 the log reaches the last acknowledged size, and all of its parts agree."""
    for turn, count in enumerate((1, 50)):
        said = killed_after(APPEND_FOREVER, place, f"k{turn}", count)
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


def test_a_killed_server_comes_back_with_all_that_it_acknowledged(
    own: Any, runtime: Runtime, make: Make
) -> None:
    """Through a kill -9 of the server no acknowledged batch is lost, and an open store goes on."""
    place = own.database()
    spec = nexus_sql.nexus_atom_store()
    assert spec.provision is not None
    spec.provision(place.config(), runtime)
    store = spec.factory(place.config(), runtime)
    assert isinstance(store, AtomBackend)
    acknowledged: list[str] = []
    stopped: list[StoreError] = []

    def write() -> None:
        for number in range(10**6):
            batch = [Insert(make("intents", f"b{number}-{n}", body=bytes(300))) for n in range(8)]
            try:
                store.commit(SCOPE, batch)
            except StoreError as error:
                stopped.append(error)
                return
            acknowledged.append(f"b{number}")

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) < 40:
        pass
    own.kill()
    writer.join()
    assert stopped[0].retryable
    assert own.answers() is False
    with pytest.raises(StoreError) as caught:
        store.count(SCOPE, "intents", None)
    assert caught.value.retryable
    own.start()
    found = store.query(SCOPE, "intents", None, limit=100_000).records
    sizes = Counter(record.id.rpartition("-")[0] for record in found)
    assert set(acknowledged) <= sizes.keys()
    assert set(sizes.values()) == {8}
    assert len(sizes) - len(acknowledged) in (0, 1)
    store.commit(SCOPE, [Insert(make("intents", "after"))])
    store.close()


FORK = """
import os
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


def test_a_backend_is_usable_on_both_sides_of_a_fork(place: Any) -> None:
    """Parent and child go on with what they had, neither on the other's connections."""
    assert race(FORK, place, 1, 0) == [["42 3"]]


def test_provisions_at_once_make_one_schema(empty: Any) -> None:
    """Processes that provision one place at once all succeed, and each thing is made by one."""
    script = """
for line in nexus_sql.nexus_atom_store().provision(config, runtime):
    say(line)
assert store.check() == []
"""
    said = race(script, empty, 4, 0)
    assert sorted(line for lines in said for line in lines) == [
        "schema version 1: tables of the atom store",
        "schema version 2: tables of the audit sink",
    ]


def test_threads_share_a_pool(place: Any, runtime: Runtime, make: Make, tmp_path: Path) -> None:
    """More threads than connections wait for one another, and lose nothing."""
    store = nexus_sql.nexus_atom_store().factory(place.config(pool_size=2), runtime)
    assert isinstance(store, AtomBackend)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        scope = Scope(f"t{number % 3}", "dev")
        try:
            for n in range(15):
                store.commit(scope, [Insert(make("intents", f"{number}-{n}"))])
                assert store.get(scope, "intents", [f"{number}-{n}"])[0] is not None
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [store.count(Scope(f"t{n}", "dev"), "intents", None) for n in range(3)] == [45] * 3
    users = place.sql(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s", place.name
    )
    assert users[0][0] <= 2
    store.close()
