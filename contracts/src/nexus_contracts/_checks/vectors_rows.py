"""Checks of what a row is made of, and of the buffers that rows and queries come in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._bench import IDS, SCOPES, Bench
from nexus_contracts._checks.vectors import batch, definition, distance, one, random_rows
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import IndexRef, Vectors

SCOPE, OTHER = SCOPES[0], SCOPES[3]
# Small batches are often kept, and large ones read in place.
FEW: Final = 3
MANY: Final = 300
NEAREST: Final = 10

Rows = Mapping[str, Sequence[float]]


@check("VEC-001")
def rows_come_back(bench: Bench) -> None:
    """Adversarial ids, all field types, odd float32 values; and buffers that are used again."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    values = (0.1, -0.0, 1e-38, 3.4e37, 1 / 3, 16777217.0)
    rows = {name: [bench.random.choice(values) for _ in range(4)] for name in IDS}
    for row in rows.values():
        row[0] = 1.0
    fields = {
        name: {"page": number * -3, "label": "é'\"%_\\", "tags": ("a", "b"), "good": number > 3}
        for number, name in enumerate(IDS)
    }
    written = batch(rows, fields)
    store.upsert(SCOPE, ref, written)
    for number, found in enumerate(store.get(SCOPE, ref, list(IDS))):
        bench.expect(found is not None, f"the id {IDS[number]!r} is lost")
        bench.expect(
            bytes(found.vector) == bytes(written.vectors.data[number * 16 : number * 16 + 16]),
            "a vector came back with other bits",
        )
        bench.expect(dict(found.fields) == dict(written.fields[number]), "fields came back changed")
        bench.expect(found.stamp == written.stamps[number], "a stamp came back changed")
    store.delete(SCOPE, ref, list(IDS))
    _buffers_are_used_again(bench, store, ref)


def _buffers_are_used_again(bench: Bench, store: Any, ref: IndexRef) -> None:
    """One buffer, for the rows of two scopes and for queries."""
    most = bench.spec.capabilities.max_batch  # type: ignore[union-attr]
    places = ((SCOPE, ref), (OTHER, store.create_index(OTHER, ref.definition)))
    for count in (FEW, min(MANY, most)):
        buffer = bytearray(16 * count)
        written: list[Rows] = []
        for scope, of_it in places:
            rows = random_rows(bench, count, 4)
            given = batch(rows)
            buffer[:] = given.vectors.data
            given = attrs.evolve(given, vectors=Vectors.from_buffer(buffer, 4))
            store.upsert(scope, of_it, given)
            written.append(rows)
        for place, mine in zip(places, written, strict=True):
            found = store.get(*place, list(mine))
            for row, wanted in zip(found, mine.values(), strict=True):
                bench.expect(
                    row is not None and bytes(row.vector) == bytes(one(wanted).data),
                    "get gives another row than was written, whose buffer was used again since: "
                    "copy what is kept",
                )
            _as_asked(bench, store, place, mine, buffer)


def _as_asked(
    bench: Bench, store: Any, place: tuple[Scope, IndexRef], rows: Rows, buffer: bytearray
) -> None:
    """A query is what the buffer held when it was asked, and rows what it held when written."""
    metric = place[1].definition.metric
    asked = memoryview(buffer)[:16]
    queries = list(random_rows(bench, 3, 4).values())
    answers = []
    for query in queries:
        asked[:] = one(query).data
        (found,) = store.query(*place, Vectors.from_buffer(asked, 4), min(NEAREST, len(rows)))
        answers.append(found)
    asked[:] = one([1.0, 2.0, 3.0, 4.0]).data
    for at, found in enumerate(answers):
        for hit in found:
            bench.expect(hit.id in rows, "a query gives a row that was not written")
            near = [
                math.isclose(
                    hit.distance,
                    distance(metric, query, rows[hit.id]),
                    rel_tol=1e-3,
                    abs_tol=1e-3,
                )
                for query in queries
            ]
            bench.expect(
                near[at] or not any(near[:at]),
                "a query is answered by what its buffer held when another was asked",
            )
            bench.expect(
                near[at],
                "a query is not answered by the rows that were written, whose buffer was used "
                "again since: copy what is kept",
            )
