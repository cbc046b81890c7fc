"""The audit sink on an SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from nexus_core.spi import (
    AuditBackend,
    IntegrityError,
    InvalidArgumentError,
    LogEntry,
    LogHead,
    Phase,
    PreconditionFailedError,
    Problem,
    Scope,
)
from nexus_sql._commit import chunks
from nexus_sql._database import Database
from nexus_sql._log_statements import log_statements
from nexus_sql._schema import of_scope

_PHASES: Final = frozenset(get_args(Phase))


class SqlAudit(AuditBackend):
    """Logs as rows. A head moves by one conditional statement, in the transaction that adds the
    entries, and intents without an outcome stand in a table of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = database.tables
        self._statements = log_statements(database.tables)

    def check(self) -> Sequence[Problem]:
        return self._database.problems()

    def close(self) -> None:
        self._database.close()

    def head(self, scope: Scope) -> LogHead | None:
        with self._database.read(scope) as connection:
            row = connection.execute(self._statements.head, of_scope(scope)).first()
        if row is None:
            return None
        _expect(tuple(map(type, row)) == (int, bytes, bytes))
        return LogHead(size=row[0], edge=row[1], checkpoint=row[2])

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        _check_numbers(expected_size, entries, head)
        where = (scope.tenant_id, scope.env)

        def work(connection: Connection) -> None:
            self._move_head(connection, scope, expected_size, head)
            checkpoint = (*where, head.size, head.checkpoint)
            self._database.insert(connection, self._tables.checkpoints, [checkpoint])
            rows = [(*where, *_row(entry)) for entry in entries]
            self._database.insert(connection, self._tables.entries, rows)
            self._settle(connection, scope, entries)

        self._database.run(scope, work)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        parameters = {**of_scope(scope), "start": start, "most": max(0, limit)}
        with self._database.read(scope) as connection:
            found = [_entry(row) for row in connection.execute(self._statements.read, parameters)]
        _expect(all(entry.index == index for index, entry in enumerate(found, start)))
        return found

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        parameters = {**of_scope(scope), "after": after_size, "most": max(0, limit)}
        with self._database.read(scope) as connection:
            found = list(connection.execute(self._statements.checkpoints, parameters).scalars())
        _expect(all(type(checkpoint) is bytes for checkpoint in found))
        return found

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        parameters = {**of_scope(scope), "before": before, "most": max(0, limit)}
        with self._database.read(scope) as connection:
            rows = connection.execute(self._statements.unsettled, parameters)
            return [_entry(row) for row in rows]

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        parameters = {**of_scope(scope), "tag": subject_tag}

        def work(connection: Connection) -> int:
            return connection.execute(self._statements.forget_sealed, parameters).rowcount

        erased = self._database.run(scope, work)
        self._database.scrub()
        return erased

    def erase(self, scope: Scope) -> int:
        def work(connection: Connection) -> dict[str, int]:
            return {
                table: connection.execute(statement, of_scope(scope)).rowcount
                for table, statement in self._statements.delete.items()
            }

        erased = self._database.run(scope, work)
        self._database.scrub()
        return erased[self._tables.entries.name]

    def _move_head(
        self, connection: Connection, scope: Scope, expected: int, head: LogHead
    ) -> None:
        """Compare and set in one statement, which is safe at every isolation level."""
        if expected:
            parameters = {
                **of_scope(scope),
                "expected": expected,
                "to_size": head.size,
                "to_edge": head.edge,
                "to_checkpoint": head.checkpoint,
            }
            moved = connection.execute(self._statements.move_head, parameters).rowcount == 1
        else:
            first = (scope.tenant_id, scope.env, head.size, head.edge, head.checkpoint)
            moved = self._added(connection, first)
        if not moved:
            raise PreconditionFailedError(
                "the log has another size than the append expects",
                hint="read the head again, and append after it",
            )

    def _added(self, connection: Connection, first: tuple[Any, ...]) -> bool:
        try:
            self._database.insert(connection, self._tables.heads, [first])
        except DBAPIError as error:
            if not self._database.is_duplicate(error):
                raise
            return False
        return True

    def _settle(self, connection: Connection, scope: Scope, entries: Sequence[LogEntry]) -> None:
        """Keep the table of open intents: those whose operation has no outcome, before or after."""
        where = of_scope(scope)
        settled = {entry.operation for entry in entries if entry.phase == "outcome"}
        intents = [entry for entry in entries if entry.phase == "intent"]
        known = set(settled)
        for chunk in chunks(entry.operation for entry in intents):
            parameters = {**where, "operations": chunk}
            known.update(connection.execute(self._statements.outcomes, parameters).scalars())
        rows = [
            (scope.tenant_id, scope.env, entry.index, entry.operation, entry.recorded_at)
            for entry in intents
            if entry.operation not in known
        ]
        if rows:
            self._database.insert(connection, self._tables.open_intents, rows)
        for chunk in chunks(settled):
            connection.execute(self._statements.settle, {**where, "settled": chunk})


def _check_numbers(expected_size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
    if not entries or expected_size < 0:
        raise InvalidArgumentError("an append needs at least one entry, and a size from zero up")
    numbered = all(entry.index == index for index, entry in enumerate(entries, expected_size))
    if not numbered or head.size != expected_size + len(entries):
        raise InvalidArgumentError("the entries are not numbered from the expected size on")
    if any(entry.phase not in _PHASES for entry in entries):
        raise InvalidArgumentError(f"an entry's phase is not one of {', '.join(sorted(_PHASES))}")


def _row(entry: LogEntry) -> tuple[Any, ...]:
    return (
        entry.index,
        entry.leaf,
        entry.salt,
        entry.sealed,
        entry.subject_tag,
        entry.operation,
        entry.phase,
        entry.recorded_at,
    )


def _entry(row: Sequence[Any]) -> LogEntry:
    index, leaf, salt, sealed, subject_tag, operation, phase, recorded_at = row
    _expect(type(index) is int and type(leaf) is bytes and type(recorded_at) is int)
    _expect(all(part is None or type(part) is bytes for part in (salt, sealed, subject_tag)))
    _expect(type(operation) is str and phase in _PHASES)
    return LogEntry(
        index=index,
        leaf=leaf,
        salt=salt,
        sealed=sealed,
        subject_tag=subject_tag,
        operation=operation,
        phase=phase,
        recorded_at=recorded_at,
    )


def _expect(holds: bool) -> None:
    if not holds:
        raise IntegrityError("the stored log has lost its shape")
