"""The atom store on an SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nexus_core.spi import (
    AtomBackend,
    Filter,
    InvalidArgumentError,
    Operation,
    Problem,
    Record,
    RecordPage,
    Scope,
    Step,
)
from nexus_sql._commit import Batch, chunks
from nexus_sql._database import Database
from nexus_sql._filters import FilterCompiler
from nexus_sql._records import RecordCodec, record_codecs
from nexus_sql._schema import in_scope, of_scope

# A page ends early here, so that no caller's limit times the largest body fills the memory.
_PAGE_BYTES = 32 << 20


class SqlAtoms(AtomBackend):
    """Records as rows. Commits are serialisable; each read sees one moment of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._codecs = record_codecs(database.tables)
        self._filters = {
            name: FilterCompiler(codec.table, codec.optional, database.member)
            for name, codec in self._codecs.items()
        }

    def check(self) -> Sequence[Problem]:
        return self._database.problems()

    def close(self) -> None:
        self._database.close()

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        def work(connection: Connection) -> list[bool]:
            return Batch(self._database, self._codecs, connection, scope).apply(operations)

        return self._database.run(scope, work, alone=True)

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        codec = self._codec(collection)
        found: dict[str, Record] = {}
        with self._database.read(scope) as connection:
            for chunk in chunks(ids):
                parameters = {**of_scope(scope), "ids": chunk}
                rows = connection.execute(codec.select_listed, parameters)
                found.update((row[0], codec.decode(row)) for row in rows)
        return [found.get(id_) for id_ in ids]

    def query(
        self,
        scope: Scope,
        collection: str,
        where: Filter | None,
        *,
        after: str | None = None,
        limit: int = 1000,
    ) -> RecordPage:
        codec = self._codec(collection)
        if limit < 1:
            raise InvalidArgumentError("the limit is not positive")
        identity = codec.table.c.nx_id
        condition = self._condition(codec, where)
        if after is not None:
            condition &= identity > after
        # One more than asked for tells whether anything is left.
        statement = sa.select(*codec.columns).where(condition).order_by(identity).limit(limit + 1)
        records: list[Record] = []
        size = 0
        with (
            self._database.read(scope) as connection,
            connection.execute(statement, of_scope(scope)) as rows,
        ):
            for row in rows:
                if len(records) == limit or size > _PAGE_BYTES:
                    return RecordPage(tuple(records), records[-1].id)
                records.append(codec.decode(row))
                size += len(records[-1].body)
        return RecordPage(tuple(records))

    def count(self, scope: Scope, collection: str, where: Filter | None) -> int:
        codec = self._codec(collection)
        condition = self._condition(codec, where)
        statement = sa.select(sa.func.count()).select_from(codec.table).where(condition)
        with self._database.read(scope) as connection:
            return int(connection.execute(statement, of_scope(scope)).scalar_one())

    def walk(
        self,
        scope: Scope,
        start: Sequence[str],
        direction: Literal["up", "down"],
        *,
        max_depth: int,
        limit: int,
    ) -> Sequence[Step]:
        # Level by level, in one transaction, rather than by a recursive query: SQL drops repeated
        # rows of (node, depth), but not nodes met at a smaller depth, so that a dense cycle costs
        # its edges times the depth. Here each edge is read once, and reading ends at the limit.
        origin, target = ("child", "parent") if direction == "up" else ("parent", "child")
        steps: list[Step] = []
        met = dict.fromkeys(start)
        frontier = list(met)
        with self._database.read(scope) as connection:
            for depth in range(1, max_depth + 1):
                room = limit - len(steps)
                if not frontier or room < 1:
                    break
                level = self._edges(connection, scope, origin, frontier, room)
                steps += (Step(depth, edge) for edge in level)
                ends = dict.fromkeys(str(edge.fields[target]) for edge in level)
                frontier = [end for end in ends if end not in met]
                met.update(dict.fromkeys(frontier))
        return steps

    def _edges(
        self, connection: Connection, scope: Scope, field: str, ends: Sequence[str], limit: int
    ) -> list[Record]:
        codec = self._codecs["edges"]
        statement = (
            sa.select(*codec.columns)
            .where(in_scope(codec.table), self._database.member(codec.table.c[field], ends))
            .order_by(codec.table.c.nx_id)
            .limit(limit)
        )
        return [codec.decode(row) for row in connection.execute(statement, of_scope(scope))]

    def erase(self, scope: Scope) -> int:
        def work(connection: Connection) -> int:
            return sum(
                connection.execute(codec.delete_all, of_scope(scope)).rowcount
                for codec in self._codecs.values()
            )

        erased = self._database.run(scope, work, alone=True)
        self._database.scrub()
        return erased

    def _codec(self, collection: str) -> RecordCodec:
        codec = self._codecs.get(collection)
        if codec is None:
            raise InvalidArgumentError(f"there is no collection {collection!r}")
        return codec

    def _condition(self, codec: RecordCodec, where: Filter | None) -> sa.ColumnElement[bool]:
        condition = in_scope(codec.table)
        if where is None:
            return condition
        return condition & self._filters[codec.name].compile(where)
