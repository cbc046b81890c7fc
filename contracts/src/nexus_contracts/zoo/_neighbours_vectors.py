"""Vector stores that lose the scope in one branch only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryVectors
from nexus_contracts.zoo._mutant import Mutant
from nexus_contracts.zoo._neighbours import neighbour
from nexus_core._model.filters import FILTER_OPS
from nexus_core.spi import (
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    IndexStatistics,
    Scope,
    StoreRole,
    VectorPage,
    matches,
)


def vectors_blind_in(operator: str) -> Any:
    """A vector store whose queries with this operator on top match in all environments."""

    class Blind(MemoryVectors):
        def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
            where = options.get("where")
            index = self._index(scope, ref)
            if where is None or FILTER_OPS[type(where)] != operator:
                return super().query(scope, ref, *args, **options)
            own = dict(index.rows)
            for (owner, name, version), other in self.indexes.items():
                place = (ref.definition.name, ref.definition.version)
                if owner.tenant_id == scope.tenant_id and (name, version) == place:
                    index.rows = {**other.rows, **index.rows}
            try:
                return super().query(scope, ref, *args, **options)
            finally:
                index.rows = own

    return Blind


def vectors_delete_blind_in(operator: str) -> Any:
    """A vector store that deletes by this operator in all environments."""

    class Blind(MemoryVectors):
        def delete_where(self, scope: Scope, ref: IndexRef, where: Any) -> int:
            if FILTER_OPS[type(where)] == operator:
                for (owner, name, _), other in self.indexes.items():
                    if (owner.tenant_id, name) == (scope.tenant_id, ref.definition.name):
                        gone = [row.id for row in other.rows.values() if matches(where, row.fields)]
                        if other.ref != ref:
                            for row_id in gone:
                                del other.rows[row_id]
            return super().delete_where(scope, ref, where)

    return Blind


class SecondQuery(MemoryVectors):
    """Answers the second of several queries from the tenant's other environment too."""

    def query(self, scope: Scope, ref: IndexRef, queries: Any, k: int, **options: Any) -> Any:
        answers = list(super().query(scope, ref, queries, k, **options))
        for (owner, name, _), other in list(self.indexes.items()):
            near = owner.tenant_id == scope.tenant_id and owner != scope
            if near and name == ref.definition.name and len(answers) > 1:
                found = super().query(owner, other.ref, queries, k, **options)[1]
                merged = sorted([*answers[1], *found], key=lambda hit: (hit.distance, hit.id))
                answers[1] = merged[:k]
        return answers


class VectorsById(MemoryVectors):
    """Fetches the vectors of its hits by id alone."""

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
        answers = super().query(scope, ref, *args, **options)
        if not options.get("include_vectors"):
            return answers
        by_id = {
            row.id: row.vector
            for (_, name, _), index in self.indexes.items()
            if name == ref.definition.name
            for row in index.rows.values()
        }
        return [[attrs.evolve(hit, vector=by_id[hit.id]) for hit in hits] for hits in answers]


class FilteredAfterwards(MemoryVectors):
    """Takes the k nearest of everyone's rows, and then those that are the scope's."""

    def query(self, scope: Scope, ref: IndexRef, queries: Any, k: int, **options: Any) -> Any:
        answers = super().query(scope, ref, queries, k, **options)
        if k < 900:
            return answers
        total = sum(
            len(index.rows)
            for (_, name, _), index in self.indexes.items()
            if name == ref.definition.name
        )
        return [hits[: max(1, k - total + self.count(scope, ref, None))] for hits in answers]


class ForeignScan(MemoryVectors):
    """Loses the environment where a scan goes on."""

    def scan(self, scope: Scope, ref: IndexRef, **options: Any) -> VectorPage:
        page = super().scan(scope, ref, **options)
        if options.get("after") is None or page.next_after is not None:
            return page
        for (owner, name, _), other in list(self.indexes.items()):
            if owner.tenant_id == scope.tenant_id and name == ref.definition.name:
                more = super().scan(owner, other.ref, **options).rows
                rows = {row.id: row for row in (*more, *page.rows)}
                page = VectorPage(tuple(rows[row_id] for row_id in sorted(rows)), None)
        return page


class StoreStatistics(MemoryVectors):
    """Counts the free pages of the whole store among a scope's bytes."""

    gone = 0

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        deleted = super().delete(scope, ref, ids)
        self.gone += deleted
        return deleted

    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        own = super().statistics(scope, ref)
        return attrs.evolve(own, bytes=own.bytes + 64 * self.gone)


class ForeignFingerprint(MemoryVectors):
    """Shows in a lock's error the definition that some scope has under the name."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        try:
            return super().create_index(scope, definition)
        except IndexLockedError as error:
            prints = [
                index.ref.definition.fingerprint
                for (_, name, _), index in self.indexes.items()
                if name == definition.name
            ]
            raise IndexLockedError(expected=max(prints), actual=error.actual) from None


class CountedIncarnations(MemoryVectors):
    """Numbers the incarnations of all scopes in one row."""

    numbers = itertools.count(0x10000)

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        place = (scope, definition.name, definition.version)
        known = place in self.indexes
        ref = super().create_index(scope, definition)
        if not known:
            ref = attrs.evolve(ref, incarnation=f"i{next(self.numbers):08x}")
            self.indexes[place].ref = ref
        return ref


class LengthsById(MemoryVectors):
    """Remembers the length of a vector by its id, until the next write."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: dict[tuple[str, str], float] = {}

    def upsert(self, scope: Scope, ref: IndexRef, batch: Any) -> None:
        self.lengths.clear()
        super().upsert(scope, ref, batch)

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
        answers = super().query(scope, ref, *args, **options)
        if ref.definition.metric != "cosine":
            return answers
        rows = self._index(scope, ref).rows

        def told(hit: Any) -> Any:
            own = math.hypot(*memoryview(bytes(rows[hit.id].vector)).cast("f"))
            length = self.lengths.setdefault((scope.tenant_id, hit.id), own)
            return attrs.evolve(hit, distance=hit.distance * own / length)

        return [[told(hit) for hit in hits] for hits in answers]


MUTANTS: Final[tuple[Mutant, ...]] = (
    *(
        neighbour(
            StoreRole.VECTORS, f"{name}-{op}", make(op), f"Loses the environment {where} `{op}`."
        )
        for op in sorted(FILTER_OPS.values())
        for name, make, where in (
            ("blind-in", vectors_blind_in, "in a query by"),
            ("deletes-blind-in", vectors_delete_blind_in, "deleting by"),
        )
    ),
    neighbour(StoreRole.VECTORS, "second-query", SecondQuery),
    neighbour(StoreRole.VECTORS, "vectors-by-id", VectorsById),
    neighbour(StoreRole.VECTORS, "filtered-afterwards", FilteredAfterwards),
    neighbour(StoreRole.VECTORS, "foreign-scan", ForeignScan),
    neighbour(StoreRole.VECTORS, "store-statistics", StoreStatistics),
    neighbour(StoreRole.VECTORS, "foreign-fingerprint", ForeignFingerprint),
    neighbour(StoreRole.VECTORS, "counted-incarnations", CountedIncarnations),
    neighbour(StoreRole.VECTORS, "lengths-by-id", LengthsById),
)
