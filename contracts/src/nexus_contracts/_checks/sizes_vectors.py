"""Checks of a vector store at its largest, and of values as they were given.

Where the interface states no limit, there is none up to what the core sends in one call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._checks.atom_filters import operators
from nexus_contracts._checks.canaries import canaries, places
from nexus_contracts._checks.sizes_atoms import (
    CROWD,
    INTEGERS,
    MANY,
    PAGE,
    TEXTS,
    VALUES,
    long_text,
    numbered,
    parts,
    taken,
    whole,
)
from nexus_contracts._checks.vectors import FIELDS, batch, definition, distance, hits, single
from nexus_contracts._registry import check
from nexus_core import Scope, VectorItem
from nexus_core.spi import (
    And,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    IndexDefinition,
    InvalidArgumentError,
    Lt,
    Ne,
    Not,
    Or,
    VectorBatch,
    Vectors,
)

SCOPE, TWIN = SCOPES[0], SCOPES[1]
# What the core sends at most in one call, and how many hits it asks for at most.
QUERIES: Final = 1024
HITS: Final = 100_000
LARGEST_DIMENSION: Final = 65_536
DIMENSIONS: Final = (255, 256, 257, 1024, 1536, 3072)
FLOATS: Final = (
    0.0, 0.1, 1 / 3, -2.5, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-300, 1e16, 1e22, 1e300,
    1.7976931348623157e308, -1.7976931348623157e308, 9007199254740993.0, 0.30000000000000004,
)  # fmt: skip
LISTS: Final[tuple[tuple[str, ...], ...]] = (
    (), ("",), ("a", "b"), ("b", "a"), ("a", "a"), ("a,b",), ("[]",), ("\xe9", "e\u0301"),
    ("x" * 1024,), tuple(f"t{number}" for number in range(100)),
)  # fmt: skip


def most(bench: Bench) -> int:
    """How many rows an upsert may have."""
    declared: int = bench.spec.capabilities.max_batch  # type: ignore[union-attr]
    return min(declared, MANY)


def batches(
    bench: Bench,
    rows: Mapping[str, Sequence[float]],
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[VectorBatch]:
    """Rows in batches as large as may be."""
    for names in parts(list(rows), most(bench)):
        yield batch({name: rows[name] for name in names}, fields)


def pages(store: Any, ref: Any, limit: int, scope: Scope = SCOPE) -> Iterator[Any]:
    """Every row, in pages of that size."""
    return whole(lambda after: store.scan(scope, ref, after=after, limit=limit), "rows")


@check("VEC-060")
def largest_batches_are_whole(bench: Bench) -> None:
    """As many rows as are declared in one upsert, as many ids in one call, as many hits in one
    answer; more than a thousand deleted by ids and by a filter."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench, 2))
    names = numbered(most(bench))
    rows = {name: [1.0 + number % 97, 1.0 + number // 97] for number, name in enumerate(names)}
    fields = {name: {"page": number % 4} for number, name in enumerate(names)}
    what = f"an upsert of {len(names)} rows, which is what may be sent,"
    taken(bench, what, partial(store.upsert, SCOPE, ref, batch(rows, fields)))
    count = store.count(SCOPE, ref, None)
    bench.expect(count == len(names), f"{what} leaves {count}")
    asked = [names[-1 - number % len(names)] for number in range(MANY)]
    found = store.get(SCOPE, ref, asked)
    wrong = sum(
        each is None
        or (each.id, tuple(Vectors.from_buffer(each.vector, 2).row(0))) != (name, tuple(rows[name]))
        for each, name in zip(found, asked, strict=True)
    )
    bench.expect(not wrong, f"of {MANY} ids asked for in one call, {wrong} get no row or another's")
    k = min(bench.spec.capabilities.max_k, HITS)  # type: ignore[union-attr]
    answer = taken(bench, f"k = {k}", partial(hits, store, ref, [1.0, 1.0], k))
    bench.expect(
        len(answer) == len({hit.id for hit in answer}) == min(k, len(names)),
        f"k = {k} over {len(names)} rows gave {len(answer)} hits",
    )
    order = [(hit.distance, hit.id) for hit in answer]
    bench.expect(order == sorted(order), f"{k} hits are not sorted by (distance, id)")
    bench.expect(
        [row.id for row in pages(store, ref, PAGE)] == names, f"pages of {PAGE} miss or repeat rows"
    )
    gone = [name for number, name in enumerate(names) if number % 4 == 0]
    removed = store.delete(SCOPE, ref, gone)
    bench.expect(removed == len(gone), f"delete tells {removed} of {len(gone)}")
    removed, wanted = store.delete_where(SCOPE, ref, Ge("page", 2)), 0
    wanted = sum(number % 4 > 1 for number in range(len(names)))
    bench.expect(removed == wanted, f"delete_where tells {removed} of {wanted}")
    left = [name for number, name in enumerate(names) if number % 4 == 1]
    found = [row.id for row in pages(store, ref, PAGE)]
    bench.expect(found == left, f"deleting thousands left {len(found)} rows of {len(left)}")
    erased = store.erase(SCOPE)
    bench.expect(erased == len(left), f"erase counted {erased} of {len(left)} rows")


class _Broken(Mapping[str, Any]):
    """Fields that cannot be read: a fault in the middle of a write that is under way."""

    def __getitem__(self, name: str) -> Any:
        raise InvalidArgumentError("these fields cannot be read")

    def __iter__(self) -> Iterator[str]:
        raise InvalidArgumentError("these fields cannot be read")

    def __len__(self) -> int:
        return 1

    def items(self) -> Any:
        """No more than by name."""
        return iter(self)


@check("VEC-061")
def upserts_are_atomic(bench: Bench) -> None:
    """A large batch whose last row, or a row in the middle, cannot be read; the same, whole."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench, 2))
    names = numbered(min(CROWD, most(bench)))
    old = {name: [1.0, 1.0] for name in names[::100]}
    store.upsert(SCOPE, ref, batch(old, {name: {"page": 1} for name in old}))
    new = batch({name: [2.0, 1.0] for name in names}, {name: {"page": 2} for name in names})
    for place in (len(names) - 1, len(names) // 2):
        broken = [*new.fields[:place], _Broken(), *new.fields[place + 1 :]]
        call = partial(store.upsert, SCOPE, ref, attrs.evolve(new, fields=tuple(broken)))
        bench.raises(InvalidArgumentError, call, f"an upsert whose row {place} cannot be read")
        found = list(pages(store, ref, PAGE))
        bench.expect(
            [(row.id, row.fields.get("page")) for row in found] == [(name, 1) for name in old],
            f"an upsert of {len(names)} rows that failed at row {place} was applied in part: "
            f"{sum(row.fields.get('page') == 2 for row in found)} rows are there",
        )
    store.upsert(SCOPE, ref, new)
    count = store.count(SCOPE, ref, Eq("page", 2))
    bench.expect(count == len(names), f"an upsert of {len(names)} rows leaves {count}")


def dimensions(bench: Bench) -> list[int]:
    """Usual dimensions, and the declared one."""
    largest = min(bench.spec.capabilities.max_dimension, LARGEST_DIMENSION)  # type: ignore[union-attr]
    return sorted({each for each in DIMENSIONS if each < largest} | {largest})


def wide(bench: Bench, dimension: int) -> list[float]:
    """A row of numbers in which every place is another."""
    return [single(bench.random.gauss(0, 1)) for _ in range(dimension)]


@check("VEC-062")
def dimensions_are_served(bench: Bench) -> None:
    """Indexes of usual dimensions and of the declared one: rows come back, and distances hold."""
    store = bench.open()
    exact = bench.spec.capabilities.round_trip == "bitexact"  # type: ignore[union-attr]
    for dimension in dimensions(bench):
        what = f"the dimension {dimension}, of the {dimensions(bench)[-1]} that may be,"
        shape = definition(bench, dimension, name=f"d{dimension}")
        ref = taken(bench, what, partial(store.create_index, SCOPE, shape))
        rows = {name: wide(bench, dimension) for name in "abc"}
        written = batch(rows)
        taken(bench, what, partial(store.upsert, SCOPE, ref, written))
        for number, row in enumerate(store.get(SCOPE, ref, list(rows)) if exact else ()):
            data = bytes(written.vectors.data[number * 4 * dimension :][: 4 * dimension])
            bench.expect(
                row is not None and bytes(row.vector) == data,
                f"in {what} a vector comes back otherwise than it was written",
            )
        query = wide(bench, dimension)
        for hit in hits(store, ref, query, 3):
            wanted = distance(shape.metric, query, rows[hit.id])
            bound = 1e-4 * max(1.0, math.hypot(*query) * math.hypot(*rows[hit.id]))
            bench.expect(
                abs(hit.distance - wanted) <= bound,
                f"in {what} a distance is {hit.distance!r} instead of {wanted!r}",
            )
        nearest = hits(store, ref, rows["b"], 3)[0].id
        bench.expect(
            shape.metric == "dot" or nearest == "b",
            f"in {what} a row is not the nearest to itself",
        )


def many(rows: Sequence[Sequence[float]], count: int) -> Vectors:
    """That many queries, the same few over and over."""
    return Vectors.from_rows([rows[n % len(rows)] for n in range(count)], len(rows[0]))


@check("VEC-063")
def many_queries_are_single_ones(bench: Bench) -> None:
    """As many queries as the core sends in one call, each held against the same query alone; beside
    a twin whose rows are nearer, so that no number of queries is too large for its wall."""
    store = bench.open()
    shape = definition(bench, 3)
    ref, twin = store.create_index(SCOPE, shape), store.create_index(TWIN, shape)
    rows = {name: wide(bench, 3) for name in numbered(40)}
    asked = [wide(bench, 3) for _ in range(8)]
    store.upsert(SCOPE, ref, batch(rows, {name: {"page": n % 2} for n, name in enumerate(rows)}))
    store.upsert(
        TWIN, twin, batch(dict(zip(rows, asked, strict=False)), {n: {"page": 1} for n in rows})
    )
    for where, count in ((None, QUERIES), (Eq("page", 1), 3 * len(asked))):
        alone = [
            [(hit.id, hit.distance) for hit in hits(store, ref, row, 5, where=where)]
            for row in asked
        ]
        what = f"{count} queries in one call"
        ask = partial(store.query, SCOPE, ref, many(asked, count), 5, where=where)
        for number, answer in enumerate(taken(bench, what, ask)):
            bench.expect(
                [(hit.id, hit.distance) for hit in answer] == alone[number % len(asked)],
                f"of {what}, number {number} is answered otherwise than alone",
            )


@check("VEC-064")
def values_come_back(bench: Bench) -> None:
    """Integers and floats to their ends, texts and lists that something folds, cuts or drops."""
    store = bench.open()
    shape = definition(bench, 2, fields={**FIELDS, "score": "float"})
    ref = store.create_index(SCOPE, shape)
    values: list[tuple[str, Any]] = [
        *(("page", value) for value in INTEGERS),
        *(("score", value) for value in FLOATS),
        *(("label", value) for value in TEXTS),
        *(("tags", value) for value in LISTS),
        *(("good", value) for value in (True, False)),
    ]
    names = numbered(len(values))
    fields = {name: {field: value} for name, (field, value) in zip(names, values, strict=True)}
    for some in batches(bench, {name: [1.0, 2.0] for name in names}, fields):
        store.upsert(SCOPE, ref, some)
    scanned = list(pages(store, ref, PAGE))
    asked = hits(store, ref, [1.0, 2.0], len(names), include_fields=True)
    for each in (*store.get(SCOPE, ref, names), *scanned, *asked):
        bench.expect(each is not None, "a row with an unusual value is lost")
        for name, value in fields[each.id].items():
            given = each.fields.get(name)
            bench.expect(
                type(given) is type(value) and given == value,
                f"the value {value!r} of a field comes back as {given!r}",
            )
        strange = sorted({*each.fields} - {"kind", *fields[each.id]})
        bench.expect(not strange, f"a row has fields that it was not given: {strange}")
    for where, wanted in _telling(values, names):
        if operators(where) <= bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
            found = [row.id for row in hits(store, ref, [1.0, 2.0], len(names), where=where)]
            odd = [fields[name] for name in sorted({*found} ^ {*wanted})[:1]]
            bench.expect(sorted(found) == wanted, f"{where} is wrong about {odd}")


def _telling(
    values: Sequence[tuple[str, Any]], names: Sequence[str]
) -> list[tuple[Filter, list[str]]]:
    """Filters with the rows that they find, by Python's own comparisons."""

    def of(field: str) -> Iterator[tuple[str, Any]]:
        for name, (owner, value) in zip(names, values, strict=True):
            if owner == field:
                yield name, value

    near = (2**53, 2**53 + 1, 2**60 + 1, 2**63 - 1, -(2**63), float(2**53))
    found: list[tuple[Filter, list[str]]] = []
    for value in near:
        found.append((Eq("page", value), [n for n, held in of("page") if held == value]))
        found.append((Gt("page", value), [n for n, held in of("page") if held > value]))
        found.append((Lt("page", value), [n for n, held in of("page") if held < value]))
    for value in (0.0, -0.0, 5e-324, 0.1, 1e300, 1.7976931348623157e308, 9007199254740992):
        found.append((Eq("score", value), [n for n, held in of("score") if held == value]))
        found.append((Gt("score", value), [n for n, held in of("score") if held > value]))
    for text in TEXTS:
        found.append((Eq("label", text), [n for n, held in of("label") if held == text]))
    found.append((In("label", TEXTS), [n for n, _ in of("label")]))
    for text in ("", "a", "a,b", "[]", "\xe9", "t99", "x" * 1024):
        matching = [n for n, held in of("tags") if text in held]
        found += [
            (ContainsAny("tags", (text,)), matching),
            (ContainsAll("tags", (text,)), matching),
        ]
    found.append((Exists("tags"), [n for n, _ in of("tags")]))
    for truth in (True, False):
        found.append((Eq("good", value=truth), [n for n, held in of("good") if held is truth]))
    return found


def long_filters(rows: Sequence[int]) -> list[tuple[Filter, list[int]]]:
    """Filters as large as they may be, over rows whose ``page`` is their number, whose ``label`` is
    long and whose ``tags`` hold it too; with the numbers that match."""
    some = [number for number in rows if number % 3]
    filler = VALUES - len(some)
    long = [long_text(number) for number in some]
    missing = [long_text(-number) for number in range(1, filler + 1)]
    deep: Filter = Eq("page", some[0])
    for _ in range(7):
        deep = Not(deep)
    rest = [number for number in rows if number not in some]
    return [
        (In("page", (*range(-filler, 0), *some)), some),
        (In("label", (*long, *missing)), some),
        (ContainsAny("tags", (*missing, *long)), some),
        (Or(tuple(Eq("page", n) for n in (*range(len(some) - 255, 0), *some))), some),
        (And(tuple(Ne("page", n) for n in (*some, *range(len(some) - 255, 0)))), rest),
        (deep, [n for n in rows if n != some[0]]),
    ]


@check("VEC-065")
def filters_and_fields_may_be_large(bench: Bench) -> None:
    """As many values, parts, and levels, and as long texts as the core lets through; an index of
    many fields with long names."""
    store = bench.open()
    ref = store.create_index(SCOPE, definition(bench, 2))
    rows = range(60)
    fields = {
        f"r{n:02}": {"page": n, "label": long_text(n), "tags": (long_text(n), "x")} for n in rows
    }
    store.upsert(SCOPE, ref, batch({name: [1.0, 2.0] for name in fields}, fields))
    for where, matching in long_filters(rows):
        if operators(where) <= bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
            what = f"a filter by {type(where).__name__} as large as may be"
            found = taken(bench, what, partial(hits, store, ref, [1.0, 2.0], 60, where=where))
            bench.expect(
                sorted(hit.id for hit in found) == [f"r{n:02}" for n in matching],
                f"{what} finds {len(found)} rows",
            )
    names = [f"{'f' * 60}{number:03}" for number in range(64)]
    shape = definition(bench, 2, name="fields", fields=dict.fromkeys(names, "int"))
    ref = taken(bench, "an index of 64 fields", partial(store.create_index, SCOPE, shape))
    held = {name: {field: n for n, field in enumerate(names)} for name in ("a", "b")}
    held["b"][names[-1]] = -1
    store.upsert(SCOPE, ref, batch({"a": [1.0, 2.0], "b": [1.0, 2.0]}, held))
    for row in store.get(SCOPE, ref, ["a", "b"]):
        bench.expect(
            row is not None and dict(row.fields) == {"kind": "data", **held[row.id]},
            "of 64 fields some come back otherwise",
        )
    found = [hit.id for hit in hits(store, ref, [1.0, 2.0], 2, where=Eq(names[-1], 63))]
    bench.expect(found == ["a"], f"a filter by the last of 64 fields finds {found}")


@check("VEC-066")
def deleted_is_gone(bench: Bench) -> None:
    """Deletion by id and by filter, replacement, and a dropped index; close; the back door."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    store = bench.open(namespace)
    main = store.create_index(SCOPE, definition(bench))
    other = store.create_index(SCOPE, definition(bench, name="other"))
    kept, *gone = canaries(bench, [SCOPE] * 5)
    by_id, by_filter, replaced, dropped = gone
    for own in (kept, *gone):
        held = {own.name: {"label": own.value, "tags": (own.meta,)}}
        written = batch({own.name: [1.0, 0.0, 0.0, 0.0]}, held)
        store.upsert(SCOPE, other if own is dropped else main, written)
    stored = places(door.snapshot(), by_id.told)
    store.delete(SCOPE, main, [by_id.name])
    store.delete_where(SCOPE, main, Eq("label", by_filter.value))
    store.upsert(SCOPE, main, batch({replaced.name: [0.0, 1.0, 0.0, 0.0]}))
    store.drop_index(SCOPE, other)
    store.close()
    found = door.snapshot()
    for own, how in zip(
        gone, ("delete", "delete_where", "a replacement", "drop_index"), strict=True
    ):
        left = places(found, (own.value, own.meta) if own is replaced else own.told)
        bench.expect(
            not left,
            f"after {how} and close {len(left)} places below the store still hold what is gone",
        )
    bench.expect(places(found, kept.told) or not stored, "a delete took what another row held")


@check("VEC-067")
def more_than_declared_is_refused(bench: Bench) -> None:
    """Through the core: the declared dimension and k, one hit more, and one row more than may be in
    a batch."""
    can: Any = bench.spec.capabilities
    metric = definition(bench).metric
    dimension = dimensions(bench)[-1]
    shapes = [
        IndexDefinition(name=name, version=1, dimension=size, metric=metric, embedder="e@1")
        for name, size in (("wide", dimension), ("main", 2))
    ]
    with (
        bench.nexus(bench.open(), indexes=shapes) as nexus,
        nexus.request(bench.context(SCOPE)) as n,
    ):
        row = wide(bench, dimension)
        own: dict[str, Any] = {"kind": "data", "space": "s"}
        what = f"a vector of the {dimension} dimensions that are declared"
        put = partial(n.vectors.upsert, "wide", [VectorItem(id="a", vector=row)], **own)
        taken(bench, what, put)
        k = min(can.max_k, HITS)
        found = taken(bench, f"k = {k}", partial(n.vectors.query, "wide", row, k=k, include=True))
        bench.expect([hit.id for hit in found] == ["a"], f"{what} is not found again")
        n.vectors.upsert("main", [VectorItem(id="a", vector=[1.0, 2.0])], **own)
        refused: list[Callable[[], object]] = [
            partial(n.vectors.query, "wide", row, k=can.max_k + 1)
        ]
        if can.max_batch <= MANY:
            many = [VectorItem(id=name, vector=[1.0, 2.0]) for name in numbered(can.max_batch + 1)]
            refused.append(partial(n.vectors.upsert, "main", many, **own))
        for call in refused:
            bench.raises(InvalidArgumentError, call, "what is more than the store declares")
        bench.expect(n.vectors.count("main") == 1, "a batch that was refused left rows")
