"""Vectors in dictionaries, scanned with exact sums."""

from __future__ import annotations

import math
import secrets
import struct
from collections.abc import Sequence

from nexus_contracts.memory._base import MemoryBase
from nexus_core.spi import (
    Filter,
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    IndexState,
    IndexStatistics,
    Metric,
    NotFoundError,
    Scope,
    StaleReferenceError,
    StoredHit,
    StoredVector,
    TenantInactiveError,
    VectorBackend,
    VectorBatch,
    VectorPage,
    Vectors,
    matches,
)

Place = tuple[Scope, str, int]


class MemoryIndex:
    """One index: its reference, its rows by id and its state."""

    def __init__(self, ref: IndexRef) -> None:
        self.ref = ref
        self.rows: dict[str, StoredVector] = {}
        self.state = IndexState.ACTIVE


class MemoryVectors(MemoryBase, VectorBackend):
    """A vector store that keeps indexes in ``indexes``, by scope, name and version."""

    def __init__(self) -> None:
        super().__init__()
        self.indexes: dict[Place, MemoryIndex] = {}

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        self.ensure_open()
        with self.lock:
            place = (scope, definition.name, definition.version)
            index = self.indexes.get(place)
            if index is None:
                index = MemoryIndex(IndexRef(definition, secrets.token_hex(8)))
                self.indexes[place] = index
            elif index.ref.definition.fingerprint != definition.fingerprint:
                raise IndexLockedError(
                    expected=index.ref.definition.fingerprint, actual=definition.fingerprint
                )
            return index.ref

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        self.ensure_open()
        index = self.indexes.get((scope, name, version))
        if index is None:
            raise NotFoundError("no such index")
        return index.ref

    def list_indexes(self, scope: Scope) -> Sequence[IndexRef]:
        self.ensure_open()
        with self.lock:
            mine = sorted((p[1], p[2]) for p in self.indexes if p[0] == scope)
            return [self.indexes[scope, name, version].ref for name, version in mine]

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        self.ensure_open()
        with self.lock:
            place = (scope, ref.definition.name, ref.definition.version)
            index = self.indexes.get(place)
            if index is None:
                return
            if index.ref.incarnation != ref.incarnation:
                raise StaleReferenceError("the index was dropped and made again")
            del self.indexes[place]

    def set_state(self, scope: Scope, ref: IndexRef, state: IndexState) -> bool:
        with self.lock:
            index = self._any_index(scope, ref)
            changed = index.state is not state
            index.state = state
            return changed

    def _index(self, scope: Scope, ref: IndexRef) -> MemoryIndex:
        index = self._any_index(scope, ref)
        if index.state is not IndexState.ACTIVE:
            raise TenantInactiveError("the index is not active", hint="activate it")
        return index

    def _any_index(self, scope: Scope, ref: IndexRef) -> MemoryIndex:
        self.ensure_open()
        index = self.indexes.get((scope, ref.definition.name, ref.definition.version))
        if index is None:
            raise NotFoundError("no such index")
        if index.ref.incarnation != ref.incarnation:
            raise StaleReferenceError("the index was dropped and made again")
        return index

    def _rows(self, scope: Scope, ref: IndexRef) -> list[StoredVector]:
        """The rows as they are at one moment, whoever writes meanwhile."""
        return list(self._index(scope, ref).rows.values())

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        stride = 4 * ref.definition.dimension
        with self.lock:
            rows = self._index(scope, ref).rows
            rows |= {
                row_id: StoredVector(
                    row_id,
                    bytes(batch.vectors.data[position * stride : (position + 1) * stride]),
                    dict(batch.fields[position]),
                    batch.stamps[position],
                )
                for position, row_id in enumerate(batch.ids)
            }

    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Sequence[StoredVector | None]:
        rows = self._index(scope, ref).rows
        return [rows.get(wanted) for wanted in ids]

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        with self.lock:
            rows = self._index(scope, ref).rows
            return sum(rows.pop(wanted, None) is not None for wanted in ids)

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        with self.lock:
            rows = self._index(scope, ref).rows
            return self.delete(
                scope, ref, [row.id for row in rows.values() if matches(where, row.fields)]
            )

    def query(
        self,
        scope: Scope,
        ref: IndexRef,
        queries: Vectors,
        k: int,
        *,
        where: Filter | None = None,
        include_fields: bool = False,
        include_vectors: bool = False,
    ) -> Sequence[Sequence[StoredHit]]:
        rows = [row for row in self._rows(scope, ref) if matches(where, row.fields)]
        metric = ref.definition.metric
        answers = []
        for query in queries:
            nearest = sorted(
                (distance(metric, query, unpack(row.vector)), row.id, row) for row in rows
            )
            answers.append(
                [
                    StoredHit(
                        row_id,
                        measured,
                        row.stamp,
                        row.fields if include_fields else None,
                        row.vector if include_vectors else None,
                    )
                    for measured, row_id, row in nearest[:k]
                ]
            )
        return answers

    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        return sum(matches(where, row.fields) for row in self._rows(scope, ref))

    def scan(
        self, scope: Scope, ref: IndexRef, *, after: str | None = None, limit: int = 1000
    ) -> VectorPage:
        rows = [row for row in self._rows(scope, ref) if after is None or row.id > after]
        page = tuple(sorted(rows, key=lambda row: row.id)[:limit])
        return VectorPage(page, page[-1].id if len(rows) > limit else None)

    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        rows = self._rows(scope, ref)
        return IndexStatistics(len(rows), sum(len(row.vector) for row in rows))

    def erase(self, scope: Scope) -> int:
        self.ensure_open()
        with self.lock:
            mine = [place for place in self.indexes if place[0] == scope]
            return sum(len(self.indexes.pop(place).rows) for place in mine)


def unpack(data: bytes) -> tuple[float, ...]:
    """A float32 buffer as numbers."""
    return struct.unpack(f"<{len(data) // 4}f", data)


def distance(metric: Metric, left: Sequence[float], right: Sequence[float]) -> float:
    """The metric's definition, with exactly rounded sums."""
    pairs = list(zip(left, right, strict=True))
    if metric == "l2sq":
        return math.fsum((a - b) ** 2 for a, b in pairs)
    dot = math.fsum(a * b for a, b in pairs)
    if metric == "dot":
        return -dot
    norms = math.sqrt(math.fsum(a * a for a in left)) * math.sqrt(math.fsum(b * b for b in right))
    return 1.0 - dot / norms
