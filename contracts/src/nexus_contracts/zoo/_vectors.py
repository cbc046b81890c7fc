"""Faulty and unusual vector stores."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, careless_mutants, vacant_mutants, variant_harness
from nexus_core.spi import (
    Filter,
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    IndexStatistics,
    Ne,
    NotFoundError,
    Problem,
    Runtime,
    Scope,
    StoredHit,
    StoreRole,
    VectorBatch,
    VectorPage,
    Vectors,
    matches,
)

Answers = Sequence[Sequence[StoredHit]]


def single(value: float) -> float:
    """A number as float32 holds it."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


class IgnoresEnv(MemoryVectors):
    """Keeps one place for all environments of a tenant."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        return super().create_index(Scope(scope.tenant_id, "dev"), definition)

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        return super().get_index(Scope(scope.tenant_id, "dev"), name, version)

    def _index(self, scope: Scope, ref: IndexRef) -> Any:
        return super()._index(Scope(scope.tenant_id, "dev"), ref)


class _Meddling(MemoryVectors):
    """A store whose rows for a query are chosen by ``pool``."""

    def pool(self, scope: Scope, ref: IndexRef) -> dict[str, Any]:
        return super()._index(scope, ref).rows

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        index = self._index(scope, ref)
        own, index.rows = index.rows, dict(self.pool(scope, ref))
        try:
            return super().query(scope, ref, queries, k, **o)
        finally:
            index.rows = own


class NoFilter(_Meddling):
    """Searches the rows of all scopes."""

    def pool(self, scope: Scope, ref: IndexRef) -> dict[str, Any]:
        mixed: dict[str, Any] = {}
        own = ref.definition
        for index in self.indexes.values():
            other = index.ref.definition
            if (other.name, other.dimension) == (own.name, own.dimension):
                mixed.update({f"{id(index)}-{k}": v for k, v in index.rows.items()})
        return mixed


class PostFilter(MemoryVectors):
    """Searches all scopes and then drops what is not the scope's."""

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        foreign = [
            row
            for place, index in self.indexes.items()
            if place[0] != scope and index.ref.definition.dimension == ref.definition.dimension
            for row in index.rows.values()
        ]
        answers = super().query(scope, ref, queries, k, **o)
        crowded = min(k, len(foreign))
        return [list(hits)[: max(0, k - crowded)] if crowded else hits for hits in answers]


class NormalisesScores(MemoryVectors):
    """Scales distances by the largest there is in the whole store."""

    def query(self, *args: Any, **options: Any) -> Answers:
        rows = sum(len(index.rows) for index in self.indexes.values())
        return [
            [attrs.evolve(hit, distance=hit.distance / max(1, rows)) for hit in hits]
            for hits in super().query(*args, **options)
        ]


class SharedIds(MemoryVectors):
    """Keeps one id space for all scopes: a row is whose wrote it last."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        super().upsert(scope, ref, batch)
        for place, index in self.indexes.items():
            if place[0] != scope and place[1:] == (ref.definition.name, ref.definition.version):
                for row_id in batch.ids:
                    index.rows.pop(row_id, None)


class SharedDefinitions(MemoryVectors):
    """Holds one definition for all scopes."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        for (_, name, version), index in self.indexes.items():
            taken = index.ref.definition
            if (name, version) == (definition.name, definition.version) and taken != definition:
                raise IndexLockedError(expected=taken.fingerprint, actual=definition.fingerprint)
        return super().create_index(scope, definition)


class UnscopedDelete(MemoryVectors):
    """Deletes by id in every scope."""

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        count = super().delete(scope, ref, ids)
        for place, index in self.indexes.items():
            if place[0] != scope:
                for row_id in ids:
                    index.rows.pop(row_id, None)
        return count


class UnscopedDeleteWhere(MemoryVectors):
    """Deletes what matches in every scope."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        count = super().delete_where(scope, ref, where)
        for index in self.indexes.values():
            for row in [r for r in index.rows.values() if matches(where, r.fields)]:
                del index.rows[row.id]
        return count


class PrefixErase(MemoryVectors):
    """Erases every tenant whose id begins with the tenant's."""

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        for other in {p[0] for p in self.indexes}:
            if other.tenant_id.startswith(scope.tenant_id):
                super().erase(other)
        return count


class GlobalStatistics(MemoryVectors):
    """Counts the rows of all scopes."""

    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        own = super().statistics(scope, ref)
        return attrs.evolve(own, rows=sum(len(index.rows) for index in self.indexes.values()))


class QueryCache(MemoryVectors):
    """Remembers answers by the question alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[Any, Answers] = {}

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        fresh = super().query(scope, ref, queries, k, **o)
        return self.cache.setdefault((bytes(queries.data), k, repr(o)), fresh)


class ImplicitIndexes(MemoryVectors):
    """Makes an index when it is asked for."""

    def _index(self, scope: Scope, ref: IndexRef) -> Any:
        try:
            return super()._index(scope, ref)
        except NotFoundError:
            self.create_index(scope, ref.definition)
            place = (scope, ref.definition.name, ref.definition.version)
            self.indexes[place].ref = ref
            return self.indexes[place]


class DriftingDefinitions(MemoryVectors):
    """Takes another definition under the same name for the same index."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        try:
            return super().create_index(scope, definition)
        except IndexLockedError:
            return self.get_index(scope, definition.name, definition.version)


class _Measured(MemoryVectors):
    """A store that changes distances by ``measured``."""

    def measured(self, metric: str, value: float) -> float:
        return value

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Answers:
        return [
            [
                attrs.evolve(h, distance=self.measured(ref.definition.metric, h.distance))
                for h in hits
            ]
            for hits in super().query(scope, ref, *args, **options)
        ]


class CosineSimilarity(_Measured):
    """Reports similarity for distance under cosine."""

    def measured(self, metric: str, value: float) -> float:
        return 1.0 - value if metric == "cosine" else value


class PositiveDot(_Measured):
    """Reports the product itself under dot."""

    def measured(self, metric: str, value: float) -> float:
        return -value if metric == "dot" else value


class RootOfSquare(_Measured):
    """Reports the root under l2sq."""

    def measured(self, metric: str, value: float) -> float:
        return math.sqrt(value) if metric == "l2sq" else value


class Unsorted(MemoryVectors):
    """Gives its hits farthest first."""

    def query(self, *args: Any, **options: Any) -> Answers:
        return [list(hits)[::-1] for hits in super().query(*args, **options)]


class Pads(MemoryVectors):
    """Repeats the last hit until there are k."""

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        answers = super().query(scope, ref, queries, k, **o)
        return [[*hits, *[hits[-1]] * (k - len(hits))] if hits else hits for hits in answers]


class MissesSome(MemoryVectors):
    """Forgets one row in ten when it searches."""

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        rows = self._index(scope, ref).rows
        lost = set(sorted(rows)[5::10]) if len(rows) > 40 else set()
        answers = super().query(scope, ref, queries, k + len(lost), **o)
        return [[hit for hit in hits if hit.id not in lost][:k] for hits in answers]


class FiltersLate(MemoryVectors):
    """Filters after it has cut at k."""

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, *, where: Any = None, **o: Any
    ) -> Answers:
        rows = self._index(scope, ref).rows
        answers = super().query(scope, ref, queries, k, **o)
        return [[h for h in hits if matches(where, rows[h.id].fields)] for hits in answers]


class NullLogic(MemoryVectors):
    """Loses rows without a value from every inequality."""

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, *, where: Any = None, **o: Any
    ) -> Answers:
        rows = self._index(scope, ref).rows
        answers = super().query(scope, ref, queries, k, where=where, **o)
        if isinstance(where, Ne):
            return [[h for h in hits if where.field in rows[h.id].fields] for hits in answers]
        return answers


class TrimsValues(MemoryVectors):
    """Keeps text without its blanks."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        fields = tuple(
            {k: v.strip() if isinstance(v, str) else v for k, v in row.items()}
            for row in batch.fields
        )
        super().upsert(scope, ref, attrs.evolve(batch, fields=fields))


class RoundsInBatches(MemoryVectors):
    """Computes in single precision when several queries come together."""

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        answers = super().query(scope, ref, queries, k, **o)
        if len(queries) == 1:
            return answers
        return [[attrs.evolve(h, distance=single(h.distance)) for h in hits] for hits in answers]


class TiesByArrival(MemoryVectors):
    """Orders equally near rows by when they came."""

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **o: Any) -> Answers:
        arrival = {row_id: n for n, row_id in enumerate(self._index(scope, ref).rows)}
        every = super().query(scope, ref, queries, 10**6, **o)
        return [sorted(hits, key=lambda h: (h.distance, arrival[h.id]))[:k] for hits in every]


class MergesFields(MemoryVectors):
    """Merges the fields of a row that it replaces."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        rows = self._index(scope, ref).rows
        merged = tuple(
            {**(rows[row_id].fields if row_id in rows else {}), **fields}
            for row_id, fields in zip(batch.ids, batch.fields, strict=True)
        )
        super().upsert(scope, ref, attrs.evolve(batch, fields=merged))


class Lagging(MemoryVectors):
    """Searches what was there before the last write."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[Any, Any] = {}

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        self.before[scope, ref.incarnation] = dict(self._index(scope, ref).rows)
        super().upsert(scope, ref, batch)

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Answers:
        index = self._index(scope, ref)
        now = index.rows
        index.rows = self.before.get((scope, ref.incarnation), now)
        try:
            return super().query(scope, ref, *args, **options)
        finally:
            index.rows = now


class Normalises(MemoryVectors):
    """Keeps vectors at unit length."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        rows = []
        for row in batch.vectors:
            size = math.hypot(*row) or 1.0
            rows.append([value / size for value in row])
        packed = Vectors.from_rows(rows, batch.vectors.dimension)
        super().upsert(scope, ref, attrs.evolve(batch, vectors=packed))


class SortedGet(MemoryVectors):
    """Answers in the order of the ids, not of the question."""

    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Any:
        return super().get(scope, ref, sorted(ids))


class PrefixDelete(MemoryVectors):
    """Deletes everything that begins with an id."""

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        rows = self._index(scope, ref).rows
        count = super().delete(scope, ref, ids)
        for row_id in [r for r in rows if r.startswith(tuple(ids))]:
            del rows[row_id]
        return count


class CountsWrong(MemoryVectors):
    """Counts every write, also of a row that it replaces."""

    writes = 0

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        super().upsert(scope, ref, batch)
        self.writes += len(set(batch.ids))

    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        own = super().count(scope, ref, where)
        return self.writes if where is None and self.writes > own > 20 else own


class DeletesTooMany(MemoryVectors):
    """Ignores the filter of a delete when most rows match it."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        rows = self._index(scope, ref).rows
        count = super().delete_where(scope, ref, where)
        if count > 10:
            rows.clear()
        return count


class DropsLast(MemoryVectors):
    """Drops the last row of a full page."""

    def scan(self, *args: Any, limit: int = 1000, **options: Any) -> VectorPage:
        page = super().scan(*args, limit=limit, **options)
        full = page.next_after is not None and limit > 1
        return VectorPage(page.rows[:-1], page.next_after) if full else page


class Reincarnates(MemoryVectors):
    """Takes a reference to a dropped index for one to its successor."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        ref = super().create_index(scope, definition)
        place = (scope, definition.name, definition.version)
        self.indexes[place].ref = attrs.evolve(ref, incarnation="1")
        return self.indexes[place].ref


class OneIdSpace(MemoryVectors):
    """Deletes an id from every index of the scope."""

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        count = super().delete(scope, ref, ids)
        for place, index in self.indexes.items():
            if place[0] == scope:
                for row_id in ids:
                    index.rows.pop(row_id, None)
        return count


class KeepsIndexes(MemoryVectors):
    """Erases the rows and keeps the indexes."""

    def erase(self, scope: Scope) -> int:
        count = 0
        for place, index in self.indexes.items():
            if place[0] == scope:
                count += len(index.rows)
                index.rows.clear()
        return count


class OpenAfterClose(MemoryVectors):
    """Goes on after it was closed."""

    def ensure_open(self) -> None:
        return


class NoisyCheck(MemoryVectors):
    """Finds fault with itself."""

    def check(self) -> Sequence[Problem]:
        return [Problem(path="", what="something", fix="nothing")]


class ForeignError(MemoryVectors):
    """Raises what its dictionary raises."""

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        return self.indexes[scope, name, version].ref


class SmallPages(MemoryVectors):
    """Gives at most three rows a page, or a hundred where more than that are asked for."""

    def scan(self, *args: Any, limit: int = 1000, **options: Any) -> VectorPage:
        return super().scan(*args, limit=min(limit, 3 if limit <= 100 else 100), **options)


class Slow(MemoryVectors):
    """Takes its time."""

    def get(self, *args: Any) -> Any:
        time.sleep(0.0002)
        return super().get(*args)


def _m(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    def make(_runtime: Runtime) -> Any:
        return kind()

    return Mutant(
        name=f"vectors-{name}",
        role=StoreRole.VECTORS,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=make,
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("ignores-env", IgnoresEnv, "TEN-301", "could tell"),
    _m("no-filter", NoFilter, "TEN-301", "could tell"),
    _m("post-filter", PostFilter, "TEN-304", "answers changed"),
    _m("normalises-scores", NormalisesScores, "TEN-301", "could tell"),
    _m("shared-ids", SharedIds, "TEN-301", "could tell"),
    _m("shared-definitions", SharedDefinitions, "TEN-303", "another scope's definition"),
    _m("unscoped-delete", UnscopedDelete, "TEN-302", "delete in"),
    _m("unscoped-delete-where", UnscopedDeleteWhere, "TEN-302", "delete_where in"),
    _m("prefix-erase", PrefixErase, "TEN-302", "erase in"),
    _m("global-statistics", GlobalStatistics, "VEC-024", "rows of others"),
    _m("query-cache", QueryCache, "TEN-301", "could tell"),
    _m("implicit-indexes", ImplicitIndexes, "VEC-004", "without an index"),
    _m("drifting-definitions", DriftingDefinitions, "VEC-003", "another definition"),
    _m("cosine-similarity", CosineSimilarity, "VEC-005", "a cosine distance"),
    _m("positive-dot", PositiveDot, "VEC-006", "a dot distance"),
    _m("root-of-square", RootOfSquare, "VEC-007", "a l2sq distance"),
    _m("unsorted", Unsorted, "VEC-008", "not sorted"),
    _m("pads", Pads, "VEC-008", "hits"),
    _m("misses-some", MissesSome, "VEC-009", "not the nearest"),
    _m("filters-late", FiltersLate, "VEC-010", "k = 1"),
    _m("null-logic", NullLogic, "VEC-010", "instead of"),
    _m("trims-values", TrimsValues, "VEC-011", "matches"),
    _m("rounds-in-batches", RoundsInBatches, "VEC-012", "answers otherwise"),
    _m("ties-by-arrival", TiesByArrival, "VEC-013", "ties are cut"),
    _m("merges-fields", MergesFields, "VEC-014", "merged fields"),
    _m("lagging", Lagging, "VEC-015", "does not see"),
    _m("normalises", Normalises, "VEC-001", "other bits"),
    _m("sorted-get", SortedGet, "VEC-002", "not aligned"),
    _m("prefix-delete", PrefixDelete, "VEC-016", "other rows"),
    _m("counts-wrong", CountsWrong, "VEC-018", "counts are"),
    _m("deletes-too-many", DeletesTooMany, "VEC-017", "other rows"),
    _m("drops-last", DropsLast, "VEC-019", "incomplete"),
    _m("reincarnates", Reincarnates, "VEC-020", "old reference"),
    _m("one-id-space", OneIdSpace, "VEC-021", "shares its rows"),
    _m("keeps-indexes", KeepsIndexes, "VEC-022", "left an index"),
    _m("open-after-close", OpenAfterClose, "VEC-023", "after close"),
    _m("noisy-check", NoisyCheck, "CFG-301", "ready store"),
    _m("foreign-error", ForeignError, "SEC-301", "outside the error tree"),
    *vacant_mutants(
        StoreRole.VECTORS,
        "vectors",
        "VEC-001",
        "VectorBackend.create_index",
        "VectorBackend.create_index must return IndexRef",
    ),
    *careless_mutants(StoreRole.VECTORS, "vectors", ("CFG-302", "CFG-303", "DUR-301")),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    "vectors-small-pages": variant_harness(StoreRole.VECTORS, lambda _: SmallPages()),
    "vectors-slow": variant_harness(StoreRole.VECTORS, lambda _: Slow()),
    "vectors-one-metric": variant_harness(
        StoreRole.VECTORS, capabilities={"metrics": frozenset(("cosine",)), "stable_ties": False}
    ),
}
