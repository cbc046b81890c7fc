"""Several processes on one server: racing, killed, cut off, and the server itself going down."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from nexus_contracts import Namespace
from nexus_contracts.faults import Fault, FaultKind, TcpFaults

from nexus_core import Actor, ActorKind, Nexus, RequestContext, Role
from nexus_core.spi import (
    AtomBackend,
    AuditBackend,
    ClosedError,
    Insert,
    InvalidArgumentError,
    LogEntry,
    LogHead,
    Outcome,
    PreconditionFailedError,
    Record,
    Replace,
    Require,
    Scope,
    StoreError,
    StoreTimeoutError,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]

CONFIG = """
version = 1
profile = "production"
[keys]
root = {{ env = "NEXUS_TEST_PG_LOGINS_LONG" }}
[stores.records]
backend = "sql"
url = "{url}"
schema_name = "{schema}"
password = {{ env = "NEXUS_TEST_PG_PASSWORD" }}
tls = "disable"
[[routes]]
atoms = "records"
audit = "records"
"""

APPENDING = """
import sys
from nexus_core import Actor, ActorKind, Nexus, RequestContext, Role
from nexus_core.spi import Scope
context = RequestContext(
    scope=Scope("t1", "dev"), actor=Actor(sys.argv[2], ActorKind.HUMAN), role=Role.OWNER
)
with Nexus.open(sys.argv[1]) as nexus:
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        with nexus.request(context) as request:
            request.assets.get(f"{sys.argv[2]}-{number}")
print("done", flush=True)
"""

WRITING = """
import sys
from pathlib import Path
import nexus_sql
from nexus_core.spi import *
config = nexus_sql.SqlConfig(
    url=sys.argv[1], schema_name=sys.argv[2], tls="disable",
    password=SecretRef(env="NEXUS_TEST_PG_PASSWORD"),
)
runtime = Runtime(store="main", base=Path("/nowhere"), now=lambda: 0)
atoms = nexus_sql.nexus_atom_store().factory(config, runtime)
number = 0
while True:
    # Two records in one commit, of which there must never be one alone.
    pair = [
        Insert(Record("edges", f"{side}{number:06}", 1, dict(
            parent=str(number), child=side, relation="r", created_at=0), b"b" * 2000, b"s"))
        for side in ("a", "b")
    ]
    atoms.commit(Scope("t1", "dev"), pair)
    print(number, flush=True)
    number += 1
"""


@pytest.fixture
def configured(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose atoms and audit are in the store."""
    monkeypatch.setenv("NEXUS_TEST_PG_LOGINS_LONG", "0123456789abcdef" * 4)
    path = tmp_path / "nexus.toml"
    path.write_text(CONFIG.format(url=store.config().url, schema=store.schema))
    return path


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def entry(index: int, phase: Any = "intent") -> LogEntry:
    return LogEntry(
        index=index,
        leaf=b"leaf",
        salt=b"s",
        sealed=b"s",
        subject_tag=b"t",
        operation=f"o{index}",
        phase=phase,
        recorded_at=index,
    )


def head(size: int) -> LogHead:
    return LogHead(size=size, edge=b"e", checkpoint=b"%d" % size)


def test_eight_processes_append_to_one_log(configured: Path) -> None:
    """Whoever appends, the log of a scope stays one chain that verifies, without a gap."""
    each = 6
    writers = [start(APPENDING, configured, f"p{n}", each) for n in range(8)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        said, _ = writer.communicate()
        assert (writer.returncode, said) == (0, "done\n")
    context = RequestContext(scope=SCOPE, actor=Actor("reader", ActorKind.HUMAN), role=Role.OWNER)
    with Nexus.open(configured) as nexus, nexus.request(context) as request:
        report = request.audit.verify()
        assert report.ok
        assert report.size >= 8 * each


def test_a_head_moves_once_for_each_size(store: Any) -> None:
    """Of several that append to one size exactly one succeeds, from the first entry on."""
    sinks = [store.audit() for _ in range(4)]
    won: list[int] = []

    def run(sink: AuditBackend, name: int) -> None:
        for size in range(10):
            try:
                sink.append(SCOPE, size, [entry(size)], head(size + 1))
                won.append(size)
            except PreconditionFailedError:
                while (found := sink.head(SCOPE)) is None or found.size <= size:
                    time.sleep(0.001)

    threads = [threading.Thread(target=run, args=(sink, n)) for n, sink in enumerate(sinks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(10))
    assert [each.index for each in sinks[0].read(SCOPE, 0, 100)] == list(range(10))
    for sink in sinks:
        sink.close()


def test_preconditions_hold_until_the_commit(store: Any, make: Make) -> None:
    """Two commits that each require what the other takes away do not both succeed."""
    stores = [store.atoms(), store.atoms()]
    for number in range(15):
        answers: list[object] = []
        gate = threading.Barrier(2)

        def run(which: int, number: int = number, gate: Any = gate, answers: Any = answers) -> None:
            mine, others = f"{number}-{which}", f"{number}-{1 - which}"
            gate.wait()
            try:
                stores[which].commit(
                    SCOPE,
                    [Require("edges", others, present=False), Insert(make("edges", mine))],
                )
                answers.append(None)
            except PreconditionFailedError as error:
                answers.append(error)

        threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 2
        assert answers.count(None) == 1
    assert stores[0].count(SCOPE, "edges", None) == 15
    for each in stores:
        each.close()


def test_a_killed_client_leaves_whole_commits(store: Any) -> None:
    """After kill -9 in the middle of commits, each is there with all its records or not at all, and
    every one that was acknowledged is there."""
    for delay in (0.05, 0.12, 0.2):
        writer = start(WRITING, store.config().url, store.schema)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline()]
        time.sleep(delay)
        writer.kill()
        acknowledged += writer.stdout.readlines()
        writer.wait()
        writer.communicate()
        atoms = store.atoms()
        there = [record.id for record in atoms.query(SCOPE, "edges", None).records]
        atoms.erase(SCOPE)
        atoms.close()
        left, right = ({i[1:] for i in there if i[0] == side} for side in "ab")
        assert left == right
        done = {f"{int(line):06}" for line in acknowledged if line.endswith("\n")}
        assert done <= left
        assert len(left - done) <= 1


def test_a_server_that_goes_down_and_comes_back_is_used_again(
    store: Any, atoms: AtomBackend, make: Make
) -> None:
    """After a crash of the server what was acknowledged is there, and open stores go on."""
    # A process of another machine has a number that means another one here.
    assert "pid" in store.cluster.info, "it takes a server that was started here"
    atoms.commit(SCOPE, [Insert(make("edges", "before"))])
    with store.cluster.connect() as victim, store.cluster.connect() as witness:
        pid = victim.info.backend_pid
        # The server answers the death of any of its processes by restarting as after a crash.
        os.kill(pid, 9)
        with pytest.raises(psycopg.OperationalError):
            victim.execute("SELECT pg_sleep(30)")
        # It may be a while until it notices, and everybody is served until then.
        with pytest.raises(psycopg.OperationalError):
            witness.execute("SELECT pg_sleep(300)")
    for _ in range(1200):
        try:
            assert len(atoms.query(SCOPE, "edges", None).records) == 1
            break
        except StoreError as error:
            assert error.retryable  # noqa: PT017  # it may be, and then it is tried again
            time.sleep(0.1)
    assert atoms.commit(SCOPE, [Insert(make("edges", "after"))]) == [True]
    assert atoms.count(SCOPE, "edges", None) == 2


def test_stale_connections_are_exchanged_unseen(store: Any, atoms: AtomBackend, make: Make) -> None:
    """Connections that the server ended while they rested cost nobody a call."""
    atoms.commit(SCOPE, [Insert(make("edges", "one"))])
    for number in range(3):
        store.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'nexus_sql_app'"
        )
        assert atoms.commit(SCOPE, [Insert(make("edges", f"more{number}"))]) == [True]


@pytest.fixture
def road(store: Any) -> Iterator[tuple[TcpFaults, AtomBackend]]:
    """The store over a road that can fail."""
    info = store.cluster.info

    def settings(_: Namespace, port: int) -> Any:
        url = store.config().url.replace(f":{info['port']}/", f":{port}/")
        return {
            "url": url,
            "answer_timeout_seconds": 2,
            "connect_timeout_seconds": 2,
            "busy_timeout_seconds": 0.5,
        }

    faults = TcpFaults([(info["host"], info["port"])], settings)
    atoms = store.atoms(**faults.settings(Namespace(Path())))
    yield faults, atoms
    atoms.close()
    faults.close()


def test_a_commit_whose_answer_is_lost_is_looked_up(
    road: tuple[TcpFaults, AtomBackend], make: Make, atoms: AtomBackend
) -> None:
    """Where the server committed and the answer did not come, the commit is found and acknowledged;
    no error, and no second application."""
    faults, over = road
    over.count(SCOPE, "edges", None)
    lost = 0
    for turn in range(1, 6):
        identity = f"e{turn}"
        with faults.inject(Fault(FaultKind.LOST_RESPONSE, after=turn, times=1)) as strikes:
            try:
                changed = over.commit(SCOPE, [Insert(make("edges", identity))])
                assert changed == [True]
                there = True
            except StoreError as error:
                assert error.outcome is Outcome.NOT_APPLIED  # noqa: PT017  # or it goes well
                there = False
            lost += strikes.count
        assert (atoms.get(SCOPE, "edges", [identity])[0] is not None) is there
    assert lost >= 2


def test_a_commit_nobody_can_ask_about_is_unknown(
    road: tuple[TcpFaults, AtomBackend], make: Make, atoms: AtomBackend
) -> None:
    """Where the server is out of reach from the commit on, the outcome is said to be unknown."""
    faults, over = road
    database: Any = over._database  # type: ignore[attr-defined]
    block = database.write(SCOPE)
    block.__enter__().exec_driver_sql("SELECT 1")
    with faults.inject(Fault(FaultKind.BLACKHOLE)), pytest.raises(StoreError) as unknown:
        block.__exit__(None, None, None)
    assert unknown.value.outcome is Outcome.UNKNOWN
    assert over.commit(SCOPE, [Insert(make("edges", "after"))]) == [True]
    assert atoms.count(SCOPE, "edges", None) == 1


@pytest.mark.parametrize(
    "kind", [FaultKind.REFUSED, FaultKind.CUT_REQUEST, FaultKind.CUT_RESPONSE, FaultKind.BLACKHOLE]
)
def test_a_broken_road_is_a_retryable_error(
    road: tuple[TcpFaults, AtomBackend], make: Make, kind: FaultKind
) -> None:
    """Reads and writes over a road that fails end in time with an error of the tree, and work again
    when the road does."""
    faults, over = road
    over.count(SCOPE, "edges", None)
    with faults.inject(Fault(kind)):
        for call in (
            lambda: over.count(SCOPE, "edges", None),
            lambda: over.commit(SCOPE, [Insert(make("edges", "e"))]),
        ):
            with pytest.raises(StoreError) as broken:
                call()
            assert broken.value.retryable
            assert broken.value.__cause__ is None
    over.erase(SCOPE)
    assert over.commit(SCOPE, [Insert(make("edges", "e"))]) == [True]


def test_a_scope_in_use_is_waited_for_and_then_given_up(store: Any, make: Make) -> None:
    """A write that waits too long for its scope's turn changes nothing and may be tried again."""
    atoms = store.atoms(busy_timeout_seconds=0.1)
    with (
        atoms._database.write(SCOPE, alone=True),
        pytest.raises(StoreTimeoutError) as waited,
    ):
        atoms.commit(SCOPE, [Insert(make("edges", "e"))])
    assert (waited.value.retryable, waited.value.outcome) == (True, Outcome.NOT_APPLIED)
    atoms.close()


def test_a_full_pool_is_waited_for_and_then_given_up(store: Any) -> None:
    """No more connections are opened than allowed, and whoever gets none is told so."""
    atoms = store.atoms(pool_size=1, pool_timeout_seconds=0.1)
    with atoms._database.read(SCOPE), pytest.raises(StoreTimeoutError, match="stayed in use"):
        atoms.count(SCOPE, "edges", None)
    assert atoms.count(SCOPE, "edges", None) == 0
    atoms.close()
    with pytest.raises(ClosedError):
        atoms.count(SCOPE, "edges", None)


def test_a_forked_child_connects_anew(store: Any, atoms: AtomBackend, make: Make) -> None:
    """A child never speaks on its parent's connection; both go on."""
    atoms.commit(SCOPE, [Insert(make("edges", "parent"))])
    child = os.fork()
    if child == 0:
        atoms.commit(SCOPE, [Insert(make("edges", "child"))])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    found = atoms.query(SCOPE, "edges", None).records
    assert [record.id for record in found] == ["child", "parent"]


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "a\0b"},
        {"kind": "\ud800"},
        {"size": 2**63},
        {"size": -(2**63) - 1},
        {"kind": 5},
        {"pii": 1},
    ],
)
def test_what_cannot_be_stored_is_refused(
    atoms: AtomBackend, make: Make, given: dict[str, Any]
) -> None:
    """A NUL, a lone surrogate, a number of more than 64 bits and a value of another type change
    nothing."""
    with pytest.raises(InvalidArgumentError) as refused:
        atoms.commit(SCOPE, [Insert(make("atoms", "good")), Insert(make("atoms", "bad", **given))])
    assert refused.value.outcome is Outcome.NOT_APPLIED
    assert "a\0b" not in str(refused.value)
    assert atoms.count(SCOPE, "atoms", None) == 0


def test_what_is_stored_comes_back_to_the_bit(atoms: AtomBackend, make: Make) -> None:
    """Quotes, backslashes, separators of arrays and every byte are stored as they are."""
    texts = ["", '"', "\\", '\\"', "{", "}", ",", "NULL", "null", " ", "é", "\U0010ffff", "'", "%s"]
    made = [
        make("edges", f"e{n}", parent=text, child=text, relation=text, body=bytes(range(256)))
        for n, text in enumerate(texts)
    ]
    atoms.commit(SCOPE, [Insert(record) for record in made])
    ids = [record.id for record in made]
    assert atoms.get(SCOPE, "edges", ids) == made
    changed = [make("edges", r.id, 2, **{**r.fields, "created_at": -(2**63)}) for r in made]
    atoms.commit(SCOPE, [Replace(record) for record in changed])
    assert atoms.get(SCOPE, "edges", ids) == changed
