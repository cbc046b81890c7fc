"""Backends that hold on to what belongs to their caller: its thread, and its buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from nexus_contracts.memory import MemoryRaw, MemoryVectors
from nexus_contracts.memory._vectors import distance
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    Body,
    IndexRef,
    ObjectAttributes,
    ObjectInfo,
    Scope,
    StoredHit,
    VectorBatch,
    Vectors,
)

# -- threads: a body that is read in the middle of a call may make another -------------------------


class ScopeOfTheThread(MemoryRaw):
    """Keeps the scope of the thread's latest call, and puts by it once the body is read."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.call = threading.local()

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **options: Any
    ) -> ObjectInfo:
        self.call.scope = scope
        data = Body(b"".join(body))
        return super().put(self.call.scope, key, data, attributes, **options)

    def _find(self, scope: Scope, key: str) -> Any:
        self.call.scope = scope
        return super()._find(scope, key)


class SpoolOfTheThread(MemoryRaw):
    """Gathers bodies in one spool for each thread."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.mine = threading.local()

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **options: Any
    ) -> ObjectInfo:
        self.mine.spool = bytearray()
        for chunk in body:
            self.mine.spool += chunk
        return super().put(scope, key, Body(bytes(self.mine.spool)), attributes, **options)


# -- buffers: the caller's again once the call has returned ----------------------------------------


class KeepsViews(MemoryVectors):
    """Measures rows by views of the buffer that they came in."""

    def __init__(self) -> None:
        super().__init__()
        self.views: dict[bytes, Vectors] = {}

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        super().upsert(scope, ref, batch)
        stride = 4 * batch.vectors.dimension
        for at in range(len(batch.ids)):
            view = batch.vectors.data[at * stride : (at + 1) * stride]
            self.views[bytes(view)] = Vectors(batch.vectors.dimension, view)

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
    ) -> Sequence[Sequence[StoredHit]]:
        found = super().query(scope, ref, queries, k, **{**options, "include_vectors": True})
        metric, shown = ref.definition.metric, options.get("include_vectors")
        return [
            sorted(
                (
                    StoredHit(
                        hit.id,
                        distance(metric, query, self.views[hit.vector or b""].row(0)),
                        hit.stamp,
                        hit.fields,
                        hit.vector if shown else None,
                    )
                    for hit in hits
                ),
                key=lambda hit: (hit.distance, hit.id),
            )
            for query, hits in zip(queries, found, strict=True)
        ]


class AnswersByBuffer(MemoryVectors):
    """Keeps the answer to the latest query, and gives it again for the same buffer."""

    latest: tuple[Any, ...] = (None, None)

    def upsert(self, *args: Any) -> None:
        super().upsert(*args)
        self.latest = (None, None)

    def query(self, scope: Scope, ref: IndexRef, queries: Vectors, *args: Any, **more: Any) -> Any:
        asked = (scope, ref, queries.data.obj, len(queries.data), args, tuple(more.items()))
        if self.latest[0] is None or not _same(self.latest[0], asked):
            self.latest = (asked, super().query(scope, ref, queries, *args, **more))
        return self.latest[1]


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[2] is other[2] and (*one[:2], *one[3:]) == (*other[:2], *other[3:])


MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant_of("raw-scope-of-the-thread", ScopeOfTheThread, "TEN-151", "something else in"),
    mutant_of("raw-spool-of-the-thread", SpoolOfTheThread, "TEN-151", "something else in"),
    mutant_of("vectors-keeps-views", KeepsViews, "VEC-001", "copy what is kept"),
    mutant_of("vectors-answers-by-buffer", AnswersByBuffer, "VEC-001", "what its buffer held"),
)
