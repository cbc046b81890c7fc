"""Checks that a vector store keeps scopes apart where there is much: wide vectors, many queries,
thousands of rows, and every name that an index may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from nexus_contracts._bench import Bench
from nexus_contracts._checks.sizes_atoms import CROWD, MANY, PAGE, numbered
from nexus_contracts._checks.sizes_vectors import batches, dimensions, many, pages, wide
from nexus_contracts._checks.vectors import FIELDS, batch, definition, hits, single
from nexus_contracts._nested import Large, nested
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import Eq, IndexLockedError, NotFoundError, Vectors


@check("TEN-330")
def wide_and_many_are_apart(bench: Bench) -> None:
    """Narrow and wide vectors, few queries in a call and many, among scopes whose rows under the
    same ids are nearer."""
    store = bench.open()
    scopes = bench.cast(3)
    largest = dimensions(bench)[-1]
    # What begins at some width is there at the largest.
    for dimension in sorted({3, min(257, largest), largest}):
        shape = definition(bench, dimension, name=f"d{dimension}")
        refs = {scope: store.create_index(scope, shape) for scope in scopes}
        base = wide(bench, dimension)
        rows = {
            scope: {f"r{n}": [v + place + n / 8 for v in base] for n in range(3)}
            for place, scope in enumerate(scopes)
        }
        for scope in scopes:
            store.upsert(scope, refs[scope], batch(rows[scope]))
        for place, scope in enumerate(scopes[:2]):
            others = [scopes[1 - place], scopes[2]]
            asked = [*rows[others[0]].values(), *rows[others[1]].values()]
            queries = many(asked, 130 if dimension == 3 else len(asked))
            own = {name: tuple(map(single, row)) for name, row in rows[scope].items()}
            ref = refs[scope]
            for number, answer in enumerate(
                store.query(scope, ref, queries, 9, include_vectors=True)
            ):
                what = f"query {number} of {len(queries)} of dimension {dimension} in {scope}"
                _own_hits(bench, answer, own, what)
            held = {row.id for row in pages(store, ref, PAGE, scope)}
            bench.expect(held == set(own), f"a scan in dimension {dimension} is not of {scope}")


def _own_hits(
    bench: Bench, answer: Sequence[Any], own: Mapping[str, tuple[float, ...]], what: str
) -> None:
    exact = bench.spec.capabilities.round_trip == "bitexact"  # type: ignore[union-attr]
    bench.expect(
        sorted(hit.id for hit in answer) == sorted(own), f"{what} is answered with other rows"
    )
    for hit in answer if exact else ():
        vector = tuple(Vectors.from_buffer(hit.vector, len(own[hit.id])).row(0))
        bench.expect(vector == own[hit.id], f"{what} is answered with a row of another scope")


@check("TEN-331")
def crowds_are_apart(bench: Bench) -> None:
    """Thousands of rows under ids that all have: asked for, deleted and erased in one."""
    store = bench.open()
    scopes = bench.cast(3)
    shape = definition(bench, 2)
    refs = {scope: store.create_index(scope, shape) for scope in scopes}
    names = numbered(CROWD)
    for place, scope in enumerate(scopes):
        rows = {name: [1.0 + place, 1.0 + number] for number, name in enumerate(names)}
        fields = {
            name: {"page": place, "good": number % 2 == 0} for number, name in enumerate(names)
        }
        for some in batches(bench, rows, fields):
            store.upsert(scope, refs[scope], some)
    subject, *others = scopes
    k = min(bench.spec.capabilities.max_k, CROWD)  # type: ignore[union-attr]
    _all_own(bench, store, refs[subject], subject, (names, k))
    nested(bench, store, _large(store, (subject, refs[subject]), (others[0], refs[others[0]]), k))
    half = CROWD // 2 + 50
    steps = (
        (f"deleting {half} ids", partial(store.delete, subject, refs[subject], names[:half])),
        (
            f"deleting {CROWD - half} rows by a filter",
            partial(store.delete_where, subject, refs[subject], Eq("page", 0)),
        ),
        (f"erasing {CROWD} rows", partial(store.erase, subject)),
    )
    for what, step in steps:
        if what.startswith("erasing"):
            again = {name: [1.0, 1.0] for name in names}
            for some in batches(bench, again):
                store.upsert(subject, refs[subject], some)
        step()
        for place, scope in enumerate(others, 1):
            try:
                kept = store.count(scope, refs[scope], Eq("page", place))
                found = store.get(scope, refs[scope], names)
            except NotFoundError:
                bench.fail(f"{what} in {subject} took rows from {scope}, and their index")
            bench.expect(kept == CROWD, f"{what} in {subject} took rows from {scope}")
            bench.expect(
                all(row is not None and row.fields.get("page") == place for row in found),
                f"{what} in {subject} changed rows of {scope}",
            )


def _large(
    store: Any, mine: tuple[Scope, Any], theirs: tuple[Scope, Any], k: int
) -> Mapping[str, Large]:
    """Calls that look at every row, of two scopes that ask alike."""
    names, where = numbered(CROWD), Eq("good", value=True)
    query = partial(hits, store, include_fields=True)
    calls: Mapping[str, Callable[[Scope, Any], Any]] = {
        "query": lambda scope, ref: query(ref, [2.0, 5.0], k, scope=scope),
        "query by a filter": lambda scope, ref: query(ref, [2.0, 5.0], 9, where=where, scope=scope),
        "get": lambda scope, ref: store.get(scope, ref, names),
        "scan": lambda scope, ref: store.scan(scope, ref, limit=PAGE),
        "count": lambda scope, ref: store.count(scope, ref, where),
    }
    return {
        name: Large(partial(call, *mine), partial(call, *theirs)) for name, call in calls.items()
    }


def _all_own(
    bench: Bench, store: Any, ref: Any, scope: Scope, wanted: tuple[Sequence[str], int]
) -> None:
    names, k = wanted
    found = {
        f"{len(names)} ids": store.get(scope, ref, names),
        f"pages of {PAGE}": list(pages(store, ref, PAGE, scope)),
        "one long page": list(pages(store, ref, MANY, scope)),
    }
    for what, rows in found.items():
        bench.expect(
            [row and row.id for row in rows] == list(names)
            and all(row.fields.get("page") == 0 for row in rows),
            f"asked for {what}, {scope} gets other rows than its own",
        )
    for where in (None, Eq("good", value=True)):
        matching = len(names) if where is None else len(names[::2])
        answer = hits(store, ref, [2.0, 5.0], k, where=where, scope=scope, include_fields=True)
        bench.expect(
            len(answer) == min(k, matching) and all(hit.fields.get("page") == 0 for hit in answer),
            f"asked for the {k} nearest, {scope} gets {len(answer)} hits, or other scopes' rows",
        )


@check("TEN-332")
def definitions_are_apart(bench: Bench) -> None:
    """Names and versions that all scopes have, short and long, small and large, defined otherwise
    in each."""
    store = bench.open()
    scopes = bench.cast(3)
    long = "n" * 62
    named = [("main", 1), ("main", 2), ("main", 2**31 - 1), (f"{long}a", 1), (f"{long}b", 2)]
    made: dict[tuple[Scope, str, int], Any] = {}
    for name, version in named:
        for place, scope in enumerate(scopes):
            own = {**FIELDS, "own": ("int", "str", "float")[place]}
            shape = definition(bench, 2, name=name, version=version, fields=own)
            try:
                made[scope, name, version] = store.create_index(scope, shape)
            except IndexLockedError:
                bench.fail(
                    f"{scope} cannot define version {version} of an index because another scope "
                    "has defined it otherwise"
                )
    for number, ((scope, _, _), ref) in enumerate(made.items()):
        store.upsert(scope, ref, batch({"same": [1.0, float(number)]}))
    for number, ((scope, name, version), ref) in enumerate(made.items()):
        bench.expect(
            store.get_index(scope, name, version) == ref,
            f"version {version} of an index of {scope} is another's definition",
        )
        found = hits(store, ref, [1.0, 1.0], 9, scope=scope, include_vectors=True)
        _own_hits(
            bench, found, {"same": (1.0, float(number))}, f"a query of version {version} in {scope}"
        )
    for scope in scopes:
        listed = [each.definition for each in store.list_indexes(scope)]
        wanted = [made[scope, name, version].definition for name, version in named]
        bench.expect(listed == wanted, f"{scope} is shown other indexes than it has")
    subject, *others = scopes
    for (scope, _, _), ref in made.items():
        if scope == subject:
            store.drop_index(scope, ref)
    for (scope, _, version), ref in made.items():
        bench.expect(
            scope not in others or store.count(scope, ref, None) == 1,
            f"dropping version {version} in {subject} took rows from {scope}",
        )
