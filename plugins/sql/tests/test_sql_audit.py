"""Logs: numbered without gaps, moved by compare-and-set, each scope's its own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import nexus_sql
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from nexus_sql._log_statements import log_statements
from nexus_sql._sqlite import SqliteDatabase

from nexus_core.spi import (
    AuditBackend,
    InvalidArgumentError,
    LogEntry,
    LogHead,
    Phase,
    PreconditionFailedError,
    Runtime,
    Scope,
)

SCOPE = Scope("t1", "dev")
TWINS = [Scope("t10", "dev"), Scope("t_1", "dev"), Scope("t-1", "dev"), Scope("t1", "prod")]


def entry(
    index: int, operation: str, phase: Phase = "intent", tag: bytes | None = None, at: int = 0
) -> LogEntry:
    return LogEntry(
        index=index,
        leaf=b"leaf %d" % index,
        salt=b"salt %d" % index,
        sealed=b"sealed %d" % index,
        subject_tag=tag,
        operation=operation,
        phase=phase,
        recorded_at=at,
    )


def head(size: int) -> LogHead:
    return LogHead(size=size, edge=b"edge %d" % size, checkpoint=b"checkpoint %d" % size)


def append(audit: AuditBackend, scope: Scope, entries: Sequence[LogEntry]) -> None:
    start = entries[0].index
    audit.append(scope, start, entries, head(start + len(entries)))


def test_an_empty_log_says_so(audit: AuditBackend) -> None:
    """Before the first entry there is no head, entry, checkpoint or intent."""
    assert audit.head(SCOPE) is None
    assert list(audit.read(SCOPE, 0, 10)) == []
    assert list(audit.checkpoints(SCOPE, 0, 10)) == []
    assert list(audit.unsettled(SCOPE, 2**62, 10)) == []
    assert audit.erase_sealed(SCOPE, b"tag") == 0
    assert audit.erase(SCOPE) == 0


def test_what_was_appended_is_read(audit: AuditBackend) -> None:
    """Entries, head and every checkpoint come back bit for bit, in order, from any start."""
    phases: tuple[Phase, ...] = get_args(Phase)
    entries = [entry(n, f"op{n}", phases[n % 5], b"t" if n % 2 else None, n) for n in range(20)]
    bare = LogEntry(
        index=20,
        leaf=b"",
        salt=None,
        sealed=None,
        subject_tag=None,
        operation="",
        phase="event",
        recorded_at=2**62,
    )
    append(audit, SCOPE, entries[:7])
    append(audit, SCOPE, entries[7:])
    append(audit, SCOPE, [bare])
    entries.append(bare)
    assert audit.head(SCOPE) == head(21)
    assert list(audit.read(SCOPE, 0, 100)) == entries
    assert list(audit.read(SCOPE, 5, 4)) == entries[5:9]
    assert list(audit.read(SCOPE, 21, 4)) == []
    for nothing in (0, -1):
        assert list(audit.read(SCOPE, 0, nothing)) == []
        assert list(audit.checkpoints(SCOPE, 0, nothing)) == []
        assert list(audit.unsettled(SCOPE, 2**62, nothing)) == []
    sizes = [7, 20, 21]
    assert list(audit.checkpoints(SCOPE, 0, 10)) == [head(n).checkpoint for n in sizes]
    assert list(audit.checkpoints(SCOPE, 7, 1)) == [head(20).checkpoint]
    assert list(audit.checkpoints(SCOPE, 21, 10)) == []


@pytest.mark.parametrize("expected", [0, 2, 4, 100])
def test_an_append_to_another_size_writes_nothing(audit: AuditBackend, expected: int) -> None:
    """Unless the log has the expected size, it stays as it is."""
    append(audit, SCOPE, [entry(n, f"op{n}") for n in range(3)])
    before = (audit.head(SCOPE), audit.read(SCOPE, 0, 100), audit.checkpoints(SCOPE, 0, 100))
    with pytest.raises(PreconditionFailedError):
        append(audit, SCOPE, [entry(expected, "new")])
    assert before == (
        audit.head(SCOPE),
        audit.read(SCOPE, 0, 100),
        audit.checkpoints(SCOPE, 0, 100),
    )
    assert [e.operation for e in audit.unsettled(SCOPE, 1, 100)] == ["op0", "op1", "op2"]


def test_a_first_append_that_expects_more_is_refused(audit: AuditBackend) -> None:
    """An absent log has the size zero and no other."""
    with pytest.raises(PreconditionFailedError):
        append(audit, SCOPE, [entry(1, "op")])
    assert audit.head(SCOPE) is None


@pytest.mark.parametrize(
    ("expected", "entries", "size"),
    [
        (0, [], 0),
        (0, [entry(1, "op")], 1),
        (0, [entry(0, "op"), entry(2, "op")], 2),
        (0, [entry(0, "op")], 2),
        (-1, [entry(-1, "op")], 0),
        (0, [entry(0, "op", "nonsense")], 1),  # type: ignore[arg-type]  # what the type forbids
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    audit: AuditBackend, expected: int, entries: list[LogEntry], size: int
) -> None:
    """Entries are numbered from the expected size up to the head's, and there is at least one."""
    with pytest.raises(InvalidArgumentError):
        audit.append(SCOPE, expected, entries, head(size))
    assert audit.head(SCOPE) is None


def test_sealed_parts_of_one_subject_are_forgotten(audit: AuditBackend) -> None:
    """Leaves stay, only entries with the tag lose their opening, other scopes keep theirs."""
    entries = [entry(n, f"op{n}", "access", b"alice" if n % 2 else b"bob") for n in range(6)]
    for scope in (SCOPE, *TWINS):
        append(audit, scope, entries)
    assert audit.erase_sealed(SCOPE, b"alice") == 3
    assert audit.erase_sealed(SCOPE, b"alice") == 0
    for got, was in zip(audit.read(SCOPE, 0, 10), entries, strict=True):
        assert got.leaf == was.leaf
        opened = (got.salt, got.sealed, got.subject_tag)
        kept = (was.salt, was.sealed, was.subject_tag)
        assert opened == ((None, None, None) if was.subject_tag == b"alice" else kept)
    for scope in TWINS:
        assert list(audit.read(scope, 0, 10)) == entries


def test_an_outcome_settles_whenever_it_comes(audit: AuditBackend) -> None:
    """Every intent of an operation is settled by an outcome before it, with it, or after it."""
    append(audit, SCOPE, [entry(0, "after"), entry(1, "twice"), entry(2, "before", "outcome")])
    append(audit, SCOPE, [entry(3, "twice"), entry(4, "with", "outcome"), entry(5, "with")])
    append(audit, SCOPE, [entry(6, "before"), entry(7, "after", "outcome"), entry(8, "other")])
    waiting = audit.unsettled(SCOPE, 1, 10)
    assert [(e.index, e.operation) for e in waiting] == [(1, "twice"), (3, "twice"), (8, "other")]
    append(audit, SCOPE, [entry(9, "twice", "outcome")])
    assert [e.operation for e in audit.unsettled(SCOPE, 1, 10)] == ["other"]


def test_erasing_a_log_leaves_its_twins(audit: AuditBackend) -> None:
    """A scope's log goes as a whole and may begin anew; scopes with like names keep theirs."""
    entries = [entry(n, f"op{n}", at=n) for n in range(4)]
    for scope in (SCOPE, *TWINS):
        append(audit, scope, entries[:1])
        append(audit, scope, entries[1:])
    assert audit.erase(SCOPE) == 4
    assert audit.erase(SCOPE) == 0
    assert audit.head(SCOPE) is None
    assert list(audit.unsettled(SCOPE, 10, 10)) == []
    for scope in TWINS:
        assert audit.head(scope) == head(4)
        assert list(audit.read(scope, 0, 10)) == entries
        assert list(audit.unsettled(scope, 10, 10)) == entries
        assert len(audit.checkpoints(scope, 0, 10)) == 2
    append(audit, SCOPE, entries)
    assert list(audit.checkpoints(SCOPE, 0, 10)) == [head(4).checkpoint]


def test_nothing_of_a_log_is_found_by_a_scan(provisioned: Path) -> None:
    """What is unsettled, was settled before or is a subject's is searched in its own index."""
    database = SqliteDatabase(provisioned, 5.0, "url")
    statements = log_statements(database.tables)
    searched = [
        (statements.unsettled, "ix_log_open_intents_recorded_at"),
        (statements.outcomes, "ix_log_entries_operation"),
        (statements.settle, "ix_log_open_intents_operation"),
        (statements.forget_sealed, "ix_log_entries_subject_tag"),
    ]
    with database.read(None) as connection:
        for statement, index in searched:
            sql = str(statement.compile(connection.engine))
            sql = re.sub(r"__\[POSTCOMPILE_\w+\]|\(__\[POSTCOMPILE_\w+\]\)", "(?)", sql)
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {sql}", tuple("1" * sql.count("?"))
            )
            told = "; ".join(str(row[3]) for row in rows)
            assert f"{index} (nx_tenant=? AND nx_env=? AND " in told
            assert "SCAN" not in told
            assert "TEMP B-TREE" not in told
    database.close()


scopes = st.sampled_from([SCOPE, *TWINS])
steps = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "a%", "'"]),
    st.sampled_from(get_args(Phase)),
    st.sampled_from([None, b"x", b"y"]),
    st.integers(0, 5),
)


def unsettled(log: list[LogEntry], before: int) -> list[LogEntry]:
    """The oracle: intents with no outcome anywhere in the log, oldest first."""
    settled = [e.operation for e in log if e.phase == "outcome"]
    waiting = [e for e in log if e.phase == "intent" and e.operation not in settled]
    return sorted(
        (e for e in waiting if e.recorded_at < before), key=lambda e: (e.recorded_at, e.index)
    )


class Logs(RuleBasedStateMachine):
    """Whatever some scopes append, settle and erase, each log is what a list of its own says."""

    @initialize()
    def provision(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        config = nexus_sql.SqlConfig(url="sqlite:///records.db")
        runtime = Runtime(store="main", base=Path(self.directory.name), now=lambda: 0)
        spec = nexus_sql.nexus_audit_sink()
        assert spec.provision is not None
        spec.provision(config, runtime)
        backend = spec.factory(config, runtime)
        assert isinstance(backend, AuditBackend)
        self.audit = backend
        self.logs: dict[Scope, list[LogEntry]] = {scope: [] for scope in (SCOPE, *TWINS)}
        self.sizes: dict[Scope, list[int]] = {scope: [] for scope in (SCOPE, *TWINS)}

    @rule(
        scope=scopes,
        batch=st.lists(steps, min_size=1, max_size=6),
        off=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def append(
        self, scope: Scope, batch: list[tuple[str, Phase, bytes | None, int]], off: int
    ) -> None:
        log = self.logs[scope]
        expected = max(0, len(log) + off)
        entries = [entry(expected + n, *step) for n, step in enumerate(batch)]
        try:
            append(self.audit, scope, entries)
            took = True
        except PreconditionFailedError:
            took = False
        assert took == (expected == len(log))
        if took:
            log += entries
            self.sizes[scope].append(len(log))

    @rule(scope=scopes, tag=st.sampled_from([b"x", b"y"]))
    def forget(self, scope: Scope, tag: bytes) -> None:
        log = self.logs[scope]
        tagged = [e.index for e in log if e.subject_tag == tag]
        assert self.audit.erase_sealed(scope, tag) == len(tagged)
        for index in tagged:
            old = log[index]
            log[index] = LogEntry(
                index=index,
                leaf=old.leaf,
                salt=None,
                sealed=None,
                subject_tag=None,
                operation=old.operation,
                phase=old.phase,
                recorded_at=old.recorded_at,
            )

    @rule(scope=scopes, before=st.integers(0, 6), limit=st.integers(1, 5))
    def unsettled(self, scope: Scope, before: int, limit: int) -> None:
        expected = unsettled(self.logs[scope], before)[:limit]
        assert list(self.audit.unsettled(scope, before, limit)) == expected

    @rule(scope=scopes)
    def erase(self, scope: Scope) -> None:
        assert self.audit.erase(scope) == len(self.logs[scope])
        self.logs[scope], self.sizes[scope] = [], []

    @invariant()
    def every_log_is_what_its_list_says(self) -> None:
        for scope, log in getattr(self, "logs", {}).items():
            assert self.audit.head(scope) == (head(len(log)) if log else None)
            assert list(self.audit.read(scope, 0, 1000)) == log
            assert list(self.audit.unsettled(scope, 9, 1000)) == unsettled(log, 9)
            kept = [head(size).checkpoint for size in self.sizes[scope]]
            assert list(self.audit.checkpoints(scope, 0, 1000)) == kept

    def teardown(self) -> None:
        if hasattr(self, "audit"):
            self.audit.close()
            self.directory.cleanup()


Logs.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, derandomize=True
)
TestLogs = Logs.TestCase
