"""Checks of the vector store's own semantics."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from nexus_contracts._bench import IDS, SCOPES, Bench, Violation
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import (
    And,
    ClosedError,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    IndexDefinition,
    IndexLockedError,
    Le,
    Lt,
    Ne,
    Not,
    NotFoundError,
    NotIn,
    Or,
    Prefix,
    StaleReferenceError,
    VectorBatch,
    Vectors,
)

SCOPE = SCOPES[0]
FIELDS: Mapping[str, Any] = {"page": "int", "label": "str", "tags": "str[]", "good": "bool"}


def definition(bench: Bench, dimension: int = 4, metric: str | None = None, **other: Any) -> Any:
    """An index definition in a metric that the store has."""
    metrics = sorted(bench.spec.capabilities.metrics)  # type: ignore[union-attr]
    chosen = metric or ("l2sq" if "l2sq" in metrics else metrics[0])
    given: dict[str, Any] = {
        "name": "main",
        "version": 1,
        "dimension": dimension,
        "metric": chosen,
        "embedder": "e@1",
        "fields": FIELDS,
        **other,
    }
    return IndexDefinition(**given)


def batch(
    rows: Mapping[str, Sequence[float]], fields: Mapping[str, Mapping[str, Any]] | None = None
) -> VectorBatch:
    """A batch of rows, with fields where given."""
    dimension = len(next(iter(rows.values())))
    return VectorBatch(
        tuple(rows),
        Vectors.from_rows(rows.values(), dimension),
        tuple({"kind": "data", **(fields or {}).get(name, {})} for name in rows),
        tuple(b"stamp-" + name.encode() for name in rows),
    )


def one(row: Sequence[float]) -> Vectors:
    """A single query."""
    return Vectors.from_rows([row], len(row))


def hits(store: Any, ref: Any, row: Sequence[float], k: int = 10, **options: Any) -> list[Any]:
    """Hits of a single query."""
    answers = store.query(options.pop("scope", SCOPE), ref, one(row), k, **options)
    if len(answers) != 1:
        raise Violation(f"one query got {len(answers)} answers")
    return list(answers[0])


def single(value: float) -> float:
    """A number as float32 holds it."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def distance(metric: str, left: Sequence[float], right: Sequence[float]) -> float:
    """The definition, with exactly rounded sums over float32 values."""
    a = [single(value) for value in left]
    b = [single(value) for value in right]
    if metric == "l2sq":
        return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    if metric == "dot":
        return -dot
    return 1.0 - dot / (math.hypot(*a) * math.hypot(*b))


def random_rows(bench: Bench, count: int, dimension: int, scale: float = 1.0) -> dict[str, Any]:
    """Rows of normal deviates under ids that sort by number."""
    return {
        f"r{number:04}": [bench.random.gauss(0, 1) * scale for _ in range(dimension)]
        for number in range(count)
    }


@check("VEC-002")
def get_is_aligned(bench: Bench) -> None:
    """Repeats, absent ids, reversed order."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    rows = random_rows(bench, 50, 4)
    store.upsert(SCOPE, ref, batch(rows))
    asked = [*list(rows)[::-1], "absent", "r0003", "r0003"]
    found = [None if row is None else row.id for row in store.get(SCOPE, ref, asked)]
    wanted = [name if name in rows else None for name in asked]
    bench.expect(found == wanted, "get is not aligned with the ids it was asked for")


@check("VEC-003")
def definitions_are_locked(bench: Bench) -> None:
    """The same definition again, and others under its name."""
    store = bench.open()
    first = definition(bench)
    ref = store.create_index(SCOPE, first)
    bench.expect(store.create_index(SCOPE, first) == ref, "defining again made another index")
    for other in (
        definition(bench, 5),
        definition(bench, embedder="e@2"),
        definition(bench, fields={}),
    ):
        bench.raises(
            IndexLockedError, partial(store.create_index, SCOPE, other), "another definition"
        )
    second = store.create_index(SCOPE, definition(bench, version=2))
    bench.expect(
        [each.definition.version for each in store.list_indexes(SCOPE)] == [1, 2],
        "the indexes are not listed by name and version",
    )
    bench.expect(store.get_index(SCOPE, "main", 2) == second, "get_index gives another reference")


@check("VEC-004")
def absent_indexes_are_absent(bench: Bench) -> None:
    """Every call, on an index that another scope has and this one has not."""
    store = bench.open()
    ref = store.create_index(SCOPES[1], definition(bench))
    row = batch({"a": [1.0, 0, 0, 0]})
    calls: dict[str, Callable[[], object]] = {
        "get_index": lambda: store.get_index(SCOPE, "main", 1),
        "upsert": lambda: store.upsert(SCOPE, ref, row),
        "get": lambda: store.get(SCOPE, ref, ["a"]),
        "delete": lambda: store.delete(SCOPE, ref, ["a"]),
        "delete_where": lambda: store.delete_where(SCOPE, ref, Eq("page", 1)),
        "query": lambda: hits(store, ref, [1.0, 0, 0, 0]),
        "count": lambda: store.count(SCOPE, ref, None),
        "scan": lambda: store.scan(SCOPE, ref),
        "statistics": lambda: store.statistics(SCOPE, ref),
    }
    for name, call in calls.items():
        bench.raises(NotFoundError, call, f"{name} without an index")
        bench.expect(list(store.list_indexes(SCOPE)) == [], f"{name} made an index")


def _metric(bench: Bench, metric: str) -> None:
    for scale in (1.0, 1e-6, 1e6):
        store = bench.open()
        ref = store.create_index(SCOPE, definition(bench, 12, metric))
        rows = random_rows(bench, 30, 12, scale)
        store.upsert(SCOPE, ref, batch(rows))
        query = [bench.random.gauss(0, 1) * scale for _ in range(12)]
        size = math.hypot(*query)
        for hit in hits(store, ref, query, 30):
            wanted = distance(metric, query, rows[hit.id])
            bound = 1e-5 if metric == "cosine" else 1e-5 * size * math.hypot(*rows[hit.id])
            bench.expect(
                abs(hit.distance - wanted) <= bound + (1e-5 * wanted if metric == "l2sq" else 0),
                f"a {metric} distance is {hit.distance!r} instead of {wanted!r}",
            )


@check("VEC-005")
def cosine_is_cosine(bench: Bench) -> None:
    """Against exactly rounded sums."""
    _metric(bench, "cosine")


@check("VEC-006")
def dot_is_dot(bench: Bench) -> None:
    """Against exactly rounded sums."""
    _metric(bench, "dot")


@check("VEC-007")
def l2sq_is_l2sq(bench: Bench) -> None:
    """Against exactly rounded sums."""
    _metric(bench, "l2sq")


@check("VEC-008")
def queries_are_full_and_sorted(bench: Bench) -> None:
    """k below, at and above the number of rows; an empty index."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    bench.expect(hits(store, ref, [1.0, 0, 0, 0]) == [], "an empty index gave hits")
    rows = random_rows(bench, 37, 4)
    store.upsert(SCOPE, ref, batch(rows))
    for k in (1, 10, 37, 38, 1000):
        found = hits(store, ref, [0.5, 0.1, 0, 0], k)
        bench.expect(len(found) == min(k, 37), f"k = {k} over 37 rows gave {len(found)} hits")
        order = [(hit.distance, hit.id) for hit in found]
        bench.expect(order == sorted(order), "hits are not sorted by (distance, id)")
        bench.expect(len({hit.id for hit in found}) == len(found), "a row was hit twice")


@check("VEC-009")
def exact_is_exact(bench: Bench) -> None:
    """Every metric, clustered and random rows, several k."""
    for metric in sorted(bench.spec.capabilities.metrics):  # type: ignore[union-attr]
        store = bench.open()
        ref = store.create_index(SCOPE, definition(bench, 8, metric))
        rows = random_rows(bench, 150, 8)
        rows |= {
            f"c{n:03}": [v + bench.random.gauss(0, 1e-3) for v in rows["r0001"]] for n in range(50)
        }
        store.upsert(SCOPE, ref, batch(rows))
        for query in (rows["r0001"], [bench.random.gauss(0, 1) for _ in range(8)]):
            wanted = sorted(distance(metric, query, row) for row in rows.values())
            for k in (1, 10, 60):
                found = [hit.distance for hit in hits(store, ref, query, k)]
                close = len(found) == k and all(
                    abs(a - b) <= 1e-5 * max(1.0, abs(b))
                    for a, b in zip(found, wanted[:k], strict=True)
                )
                bench.expect(close, f"under {metric} the {k} nearest are not the nearest")


ROWS: dict[str, dict[str, Any]] = {
    "r0": {"page": 1, "label": "a", "tags": ("x", "y"), "good": True},
    "r1": {"page": 2, "label": "ab", "tags": ("y",), "good": False},
    "r2": {"page": 3, "label": "A", "tags": ()},
    "r3": {"label": "a_b"},
    "r4": {"page": -5, "label": "axb", "tags": ("x",), "good": True},
}
# Written out by hand: an oracle that shares no code with anyone.
FILTERS: list[tuple[Filter, str]] = [
    (Eq("page", 1), "r0"),
    (Ne("page", 1), "r1 r2 r3 r4"),
    (In("page", (1, 3)), "r0 r2"),
    (NotIn("page", (1, 3)), "r1 r3 r4"),
    (Lt("page", 2), "r0 r4"),
    (Le("page", 2), "r0 r1 r4"),
    (Ge("page", 2), "r1 r2"),
    (Gt("page", 2.5), "r2"),
    (Exists("page"), "r0 r1 r2 r4"),
    (Not(Exists("page")), "r3"),
    (Eq("label", "a"), "r0"),
    (Prefix("label", "a"), "r0 r1 r3 r4"),
    (Prefix("label", "a_"), "r3"),
    (Eq("good", value=True), "r0 r4"),
    (Ne("good", value=True), "r1 r2 r3"),
    (ContainsAny("tags", ("x", "z")), "r0 r4"),
    (ContainsAll("tags", ("x", "y")), "r0"),
    (Not(ContainsAny("tags", ("x",))), "r1 r2 r3"),
    (And((Eq("good", value=True), Gt("page", 0))), "r0"),
    (Or((Eq("page", 3), Eq("label", "a_b"))), "r2 r3"),
    (Not(Or((Eq("page", 3), Eq("label", "a_b")))), "r0 r1 r4"),
]


@check("VEC-010")
def filters_narrow(bench: Bench) -> None:
    """A table of filters, for query, count and k."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    store.upsert(SCOPE, ref, batch({n: [float(i), 1, 0, 0] for i, n in enumerate(ROWS)}, ROWS))
    allowed = bench.spec.capabilities.filter_ops  # type: ignore[union-attr]
    for where, text in FILTERS:
        if not _operators(where) <= allowed:
            continue
        wanted = text.split()
        found = sorted(hit.id for hit in hits(store, ref, [0.0, 1, 0, 0], 10, where=where))
        bench.expect(found == wanted, f"{where} gives {found} instead of {wanted}")
        few = hits(store, ref, [0.0, 1, 0, 0], 1, where=where)
        bench.expect(len(few) == 1, f"{where} with k = 1 gives {len(few)} hits")


def _operators(where: Any) -> set[str]:
    from nexus_core._model.filters import FILTER_OPS

    below = getattr(where, "parts", None) or ([where.part] if isinstance(where, Not) else [])
    return {FILTER_OPS[type(where)]}.union(*(_operators(part) for part in below))


@check("VEC-011")
def values_match_only_themselves(bench: Bench) -> None:
    """Injection fragments and wildcards, as values."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    hostile = [
        "x' OR '1'='1",
        '"]}}',
        "%",
        "_",
        "../",
        "a*b",
        "a_b",
        "axb",
        '{"$ne": 1}',
        " a",
        "a",
    ]
    fields = {f"r{n:02}": {"label": value} for n, value in enumerate(hostile)}
    store.upsert(SCOPE, ref, batch({name: [1.0, 0, 0, 0] for name in fields}, fields))
    for number, value in enumerate(hostile):
        found = [hit.id for hit in hits(store, ref, [1.0, 0, 0, 0], 20, where=Eq("label", value))]
        bench.expect(found == [f"r{number:02}"], f"the value {value!r} matches {found}")


@check("VEC-012")
def batches_answer_as_singles(bench: Bench) -> None:
    """Thirty queries together and alone, near ties among the rows."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench, 16))
    rows = random_rows(bench, 120, 16)
    rows |= {f"t{n:03}": [v * (1 + n * 1e-7) for v in rows["r0000"]] for n in range(40)}
    store.upsert(SCOPE, ref, batch(rows))
    queries = [list(rows["r0000"])] + [
        [bench.random.gauss(0, 1) for _ in range(16)] for _ in range(29)
    ]
    together = store.query(SCOPE, ref, Vectors.from_rows(queries, 16), 25)
    for query, answer in zip(queries, together, strict=True):
        alone = [(hit.id, hit.distance) for hit in hits(store, ref, query, 25)]
        bench.expect(
            [(hit.id, hit.distance) for hit in answer] == alone, "a batch answers otherwise"
        )


@check("VEC-013")
def ties_go_by_id(bench: Bench) -> None:
    """Equal rows under ids written in another order; a cut through them."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    names = [f"t{number:02}" for number in range(20)]
    bench.random.shuffle(names)
    for name in names:
        store.upsert(SCOPE, ref, batch({name: [1.0, 2, 3, 4]}))
    for k in (1, 7, 20):
        found = [hit.id for hit in hits(store, ref, [1.0, 2, 3, 4], k)]
        bench.expect(found == sorted(names)[:k], f"ties are cut as {found[:5]}")


@check("VEC-014")
def upserts_replace(bench: Bench) -> None:
    """Fields that go, vectors that change, duplicates in one batch."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    store.upsert(SCOPE, ref, batch({"a": [1.0, 0, 0, 0]}, {"a": {"page": 1, "label": "old"}}))
    store.upsert(SCOPE, ref, batch({"a": [0.0, 5, 0, 0]}, {"a": {"label": "new"}}))
    row = store.get(SCOPE, ref, ["a"])[0]
    bench.expect("page" not in row.fields, "an upsert merged fields instead of replacing them")
    bench.expect(
        hits(store, ref, [1.0, 0, 0, 0], where=Eq("label", "old")) == [], "an old value matches"
    )
    twice = attrs.evolve(
        batch({"b": [1.0, 0, 0, 0], "c": [2.0, 0, 0, 0]}),
        ids=("b", "b"),
        stamps=(b"stamp-b", b"stamp-b"),
    )
    store.upsert(SCOPE, ref, twice)
    row = store.get(SCOPE, ref, ["b"])[0]
    bench.expect(
        bytes(row.vector) == struct.pack("<4f", 2, 0, 0, 0), "the last of duplicates did not win"
    )
    bench.expect(store.count(SCOPE, ref, None) == 2, "duplicates are counted twice")


@check("VEC-015")
def writes_are_seen(bench: Bench) -> None:
    """Forty rounds of write, query, delete, query."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    for number in range(40):
        row = [float(number), 1, 0, 0]
        store.upsert(SCOPE, ref, batch({f"r{number}": row}))
        found = hits(store, ref, row, 1)
        bench.expect([h.id for h in found] == [f"r{number}"], "a query does not see a write")
        if number % 2:
            store.delete(SCOPE, ref, [f"r{number}"])
            seen = [hit.id for hit in hits(store, ref, row, 100)]
            bench.expect(f"r{number}" not in seen, "a query sees a deleted row")


@check("VEC-016")
def deletes_are_exact(bench: Bench) -> None:
    """Ids full of wildcards, absent ones, duplicates."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    store.upsert(SCOPE, ref, batch({name: [1.0, 0, 0, 0] for name in IDS}))
    removed = store.delete(SCOPE, ref, ["a", "%", "absent"])
    bench.expect(removed == 2, f"delete tells {removed} of 2")
    left = sorted(row.id for row in scanned(store, ref))
    bench.expect(left == sorted(set(IDS) - {"a", "%"}), "delete removed other rows as well")


@check("VEC-017")
def filtered_deletes_are_exact(bench: Bench) -> None:
    """Half of the rows, by a filter."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    rows = random_rows(bench, 30, 4)
    fields = {name: {"page": number} for number, name in enumerate(rows)}
    store.upsert(SCOPE, ref, batch(rows, fields))
    removed = store.delete_where(SCOPE, ref, Lt("page", 12))
    bench.expect(removed == 12, f"delete_where tells {removed} of 12")
    left = sorted(row.id for row in scanned(store, ref))
    bench.expect(left == sorted(rows)[12:], "delete_where removed other rows")


@check("VEC-018")
def counts_are_exact(bench: Bench) -> None:
    """After writes, replaces and deletes."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    rows = random_rows(bench, 25, 4)
    fields = {name: {"page": number % 5} for number, name in enumerate(rows)}
    store.upsert(SCOPE, ref, batch(rows, fields))
    store.upsert(SCOPE, ref, batch(rows, fields))
    store.delete(SCOPE, ref, ["r0000"])
    counts = (store.count(SCOPE, ref, None), store.count(SCOPE, ref, Eq("page", 1)))
    bench.expect(counts == (24, 5), f"counts are {counts} instead of (24, 5)")


@check("VEC-019")
def scans_are_complete(bench: Bench) -> None:
    """Every row once, in pages of several sizes."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    names = [*IDS, *(f"n{number:02}" for number in range(20))]
    store.upsert(SCOPE, ref, batch({name: [1.0, 0, 0, 0] for name in names}))
    for limit in (1, 7, 1000):
        found: list[str] = []
        after = None
        for _ in range(1000):
            page = store.scan(SCOPE, ref, after=after, limit=limit)
            bench.expect(len(page.rows) <= limit, f"a page of at most {limit} is larger")
            found += [row.id for row in page.rows]
            after = page.next_after
            if after is None:
                break
        bench.expect(found == sorted(names), f"at limit {limit} a scan is incomplete or unordered")


@check("VEC-020")
def dropped_is_gone(bench: Bench) -> None:
    """Drop or erase, make again, and use the old reference; in two versions."""
    store = bench.open()
    for version in (1, 2):
        old = store.create_index(SCOPE, definition(bench, version=version))
        _dropped_is_gone(bench, store, old, lambda ref: store.drop_index(SCOPE, ref))
        again = store.get_index(SCOPE, "main", version)
        _dropped_is_gone(bench, store, again, lambda _: store.erase(SCOPE))


def _dropped_is_gone(bench: Bench, store: Any, old: Any, end: Callable[[Any], object]) -> None:
    shape = old.definition
    store.upsert(SCOPE, old, batch({"a": [1.0, 0, 0, 0]}))
    end(old)
    end(old)
    gone = partial(store.get_index, SCOPE, "main", shape.version)
    bench.raises(NotFoundError, gone, "a dropped index")
    new = store.create_index(SCOPE, shape)
    bench.expect(store.count(SCOPE, new, None) == 0, "an index made again has old rows")
    for name, call in {
        "upsert": partial(store.upsert, SCOPE, old, batch({"a": [1.0, 0, 0, 0]})),
        "query": partial(hits, store, old, [1.0, 0, 0, 0]),
        "count": partial(store.count, SCOPE, old, None),
        "drop_index": partial(store.drop_index, SCOPE, old),
    }.items():
        bench.raises(StaleReferenceError, call, f"{name} with an old reference")
    bench.expect(gone() == new, "an old reference touched the new index")


@check("VEC-021")
def indexes_are_apart(bench: Bench) -> None:
    """The same id in two names and two versions."""
    store = bench.open()
    refs = [
        store.create_index(SCOPE, definition(bench, name=name, version=version))
        for name in ("main", "main-2", *(f"a-name-as-long-as-it-may-be-{part}" for part in "ab"))
        for version in (1, 2)
    ]
    for number, ref in enumerate(refs):
        store.upsert(SCOPE, ref, batch({"same": [float(number), 0, 0, 0]}))
    store.delete(SCOPE, refs[0], ["same"])
    for number, ref in enumerate(refs[1:], 1):
        found = store.get(SCOPE, ref, ["same"])[0]
        bench.expect(
            found is not None and bytes(found.vector) == struct.pack("<4f", number, 0, 0, 0),
            "an index shares its rows with another",
        )


@check("VEC-022")
def erase_is_complete(bench: Bench) -> None:
    """Several indexes, twice over; the scope can be used again."""
    store = bench.open()
    for version in (1, 2):
        ref = store.create_index(SCOPE, definition(bench, version=version))
        store.upsert(SCOPE, ref, batch(random_rows(bench, 8, 4)))
    count = store.erase(SCOPE)
    bench.expect(count == 16, f"erase counted {count} of 16 rows")
    bench.expect(list(store.list_indexes(SCOPE)) == [], "erase left an index")
    bench.expect(store.erase(SCOPE) == 0, "a second erase counted rows")
    ref = store.create_index(SCOPE, definition(bench))
    bench.expect(store.count(SCOPE, ref, None) == 0, "erase left rows for the next index")


@check("VEC-023")
def closed_is_closed(bench: Bench) -> None:
    """Every method, after close."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    store.close()
    store.close()
    calls: dict[str, Callable[[], object]] = {
        "create_index": lambda: store.create_index(SCOPE, definition(bench)),
        "list_indexes": lambda: store.list_indexes(SCOPE),
        "upsert": lambda: store.upsert(SCOPE, ref, batch({"a": [1.0, 0, 0, 0]})),
        "query": lambda: hits(store, ref, [1.0, 0, 0, 0]),
        "erase": lambda: store.erase(SCOPE),
    }
    for name, call in calls.items():
        bench.raises(ClosedError, call, f"{name} after close")


@check("VEC-024")
def statistics_are_own(bench: Bench) -> None:
    """Beside a larger index of the same scope and of another."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench))
    store.upsert(SCOPE, ref, batch(random_rows(bench, 5, 4)))
    before = store.statistics(SCOPE, ref)
    bench.expect(before.rows == 5, f"statistics tell {before.rows} of 5 rows")
    for scope, version in ((SCOPE, 2), (SCOPES[1], 1)):
        other = store.create_index(scope, definition(bench, version=version))
        store.upsert(scope, other, batch(random_rows(bench, 200, 4)))
    after = store.statistics(SCOPE, ref)
    bench.expect(after.rows == before.rows, "statistics count rows of others")


def scanned(store: Any, ref: Any, scope: Scope = SCOPE) -> list[Any]:
    """Every row of an index, page by page."""
    found: list[Any] = []
    after: str | None = None
    while True:
        page = store.scan(scope, ref, after=after, limit=1000)
        found += page.rows
        after = page.next_after
        if after is None:
            return found


def scoped(store: Any, bench: Bench, scope: Scope) -> Any:
    """The main index of a scope, made if it is not there."""
    return store.create_index(scope, definition(bench))
