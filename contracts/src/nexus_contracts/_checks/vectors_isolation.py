"""Checks of isolation, hygiene and durability in the vector store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from nexus_contracts._bench import SCOPES, SUBJECTS, Bench
from nexus_contracts._checks.common import (
    broken_settings_are_reported,
    errors_are_clean,
    ready_check_is_silent,
    survives_reopening,
    unprovisioned_is_refused,
)
from nexus_contracts._checks.held_alike import stays
from nexus_contracts._checks.vectors import (
    batch,
    definition,
    hits,
    one,
    random_rows,
    scanned,
    scoped,
)
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, interference, interleaved
from nexus_core import Scope, VectorItem
from nexus_core.spi import Eq, Ge, IndexLockedError, Ne, NotFoundError, Or, StaleReferenceError

check("CFG-301")(ready_check_is_silent)
check("CFG-302")(unprovisioned_is_refused)
check("CFG-303")(broken_settings_are_reported)

SHARED_IDS = ("a", "A", "a_", "b", "c")
VERBS = (
    "upsert", "upsert", "upsert", "get", "query", "query", "filter", "delete", "delete_where",
    "count", "scan", "statistics", "list", "define",
)  # fmt: skip


def stream_of(bench: Bench, scope: Scope, length: int) -> list[Call]:
    """One scope's calls: every verb over few shared ids and nearly equal vectors."""
    rng = bench.random
    calls = [Call(scope, "create_index", (definition(bench, 2),))]
    for _ in range(length):
        verb = rng.choice(VERBS)
        row = [rng.choice((0.0, 0.5, 1.0)), rng.choice((1.0, 1.001))]
        page = rng.randint(0, 2)
        where = rng.choice((Eq("page", page), Ne("page", page), Or((Ge("page", 1), Eq("page", 0)))))
        if verb == "upsert":
            names = rng.sample(SHARED_IDS, 2)
            rows = {name: [row[0] + rng.random() * 1e-3, row[1]] for name in names}
            written = batch(rows, {name: {"page": page} for name in names})
            calls.append(Call(scope, "upsert", (written,)))
        elif verb == "query":
            options = {"k": rng.randint(1, 7), "include_fields": True}
            calls.append(Call(scope, "query", (one(row),), options))
        elif verb == "filter":
            calls.append(Call(scope, "query", (one(row),), {"k": 3, "where": where}))
        elif verb == "delete":
            calls.append(Call(scope, "delete", ([rng.choice(SHARED_IDS)],)))
        elif verb == "delete_where":
            calls.append(Call(scope, "delete_where", (Eq("page", page),)))
        elif verb == "get":
            calls.append(Call(scope, "get", (list(SHARED_IDS),)))
        elif verb == "count":
            calls.append(Call(scope, "count", (rng.choice((None, where)),)))
        elif verb == "define":
            shape = definition(
                bench, 2, version=rng.randint(1, 2), embedder=f"e@{rng.randint(1, 2)}"
            )
            calls.append(Call(scope, "create_index", (shape,)))
        elif verb == "list":
            calls.append(Call(scope, "list_indexes"))
        else:
            calls.append(Call(scope, verb))
    return calls


def act(backend: Any, call: Call, _results: Mapping[int, Any]) -> Any:
    """Perform a call of the vector SPI on the scope's main index."""
    if call.method in ("create_index", "list_indexes"):
        return getattr(backend, call.method)(call.scope, *call.args)
    ref = backend.get_index(call.scope, "main", 1)
    if call.method == "query":
        options = dict(call.kwargs)
        return backend.query(call.scope, ref, call.args[0], options.pop("k"), **options)
    return getattr(backend, call.method)(call.scope, ref, *call.args, **call.kwargs)


@check("TEN-301")
def vectors_two_run(bench: Bench) -> None:
    """Two-run over all verbs, for several subjects among adversarial twins."""
    for subject in SUBJECTS:
        scopes = bench.cast(subject=subject)
        mixed, _places = interleaved(
            bench.random, [stream_of(bench, scope, 24) for scope in scopes]
        )
        interference(bench, mixed, scopes[0], how=act)


def rows_of(store: Any, scope: Scope, ref: Any) -> list[tuple[str, bytes]]:
    """Everything in one index; nothing where the index is gone."""
    try:
        return [(row.id, bytes(row.vector)) for row in scanned(store, ref, scope)]
    except NotFoundError:
        return []


@check("TEN-302")
def vectors_twins_outlive(bench: Bench) -> None:
    """Every twin keeps every row while one scope deletes, drops and is erased; also what
    two hold in the same bytes."""
    store = bench.open()
    scopes = bench.cast(6)
    refs = {scope: scoped(store, bench, scope) for scope in scopes}
    for scope in scopes:
        rows = random_rows(bench, 12, 4)
        store.upsert(scope, refs[scope], batch(rows, {name: {"page": 1} for name in rows}))
    before = {scope: rows_of(store, scope, refs[scope]) for scope in scopes[1:]}
    subject = scopes[0]
    steps: dict[str, Callable[[], object]] = {
        "delete": lambda: store.delete(subject, refs[subject], ["r0001", "r0002"]),
        "delete_where": lambda: store.delete_where(subject, refs[subject], Eq("page", 1)),
        "drop_index": lambda: store.drop_index(subject, refs[subject]),
        "erase": lambda: store.erase(subject),
    }
    for name, step in steps.items():
        step()
        for scope in scopes[1:]:
            bench.expect(
                rows_of(store, scope, refs[scope]) == before[scope],
                f"{name} in {subject} took rows from {scope}",
            )
    if bench.spec.capabilities.session_reads:  # type: ignore[union-attr]
        stays(bench)


@check("TEN-303")
def vectors_ids_are_per_scope(bench: Bench) -> None:
    """One id and one index name in many scopes, with other definitions in some."""
    store = bench.open()
    scopes = bench.cast(5)
    refs = {}
    for number, scope in enumerate(scopes):
        try:
            refs[scope] = store.create_index(scope, definition(bench, 2 + number))
        except IndexLockedError:
            bench.fail(f"{scope} cannot define an index because of another scope's definition")
        row = [float(number + 1)] * (2 + number)
        store.upsert(scope, refs[scope], batch({"same": row}))
    for number, scope in enumerate(scopes):
        found = store.get(scope, refs[scope], ["same"])[0]
        bench.expect(
            found is not None and len(found.vector) == 4 * (2 + number),
            f"{scope} lost its row to a scope that has the same id",
        )
    stranger = Scope(scopes[0].tenant_id, "staging")
    for scope, ref in refs.items():
        _refused_to(bench, store, stranger, ref)
        bench.expect(
            store.count(scope, ref, None) == 1, f"{stranger} reached {scope} by its reference"
        )
    store.delete(scopes[0], refs[scopes[0]], ["same"])
    for scope in scopes[1:]:
        bench.expect(
            store.count(scope, refs[scope], None) == 1, f"{scopes[0]} deleted {scope}'s row"
        )


def _refused_to(bench: Bench, store: Any, stranger: Scope, ref: Any) -> None:
    """Every call on an index of another scope, with its own reference."""
    row = [1.0] * ref.definition.dimension
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(stranger, ref, ["same"]),
        "query": lambda: store.query(stranger, ref, one(row), 1),
        "count": lambda: store.count(stranger, ref, None),
        "scan": lambda: store.scan(stranger, ref),
        "statistics": lambda: store.statistics(stranger, ref),
        "upsert": lambda: store.upsert(stranger, ref, batch({"same": row})),
        "delete": lambda: store.delete(stranger, ref, ["same"]),
        "delete_where": lambda: store.delete_where(stranger, ref, Eq("kind", "data")),
    }
    for name, call in calls.items():
        with suppress(NotFoundError, StaleReferenceError):
            call()
            bench.fail(f"{name} in {stranger} took the reference of another scope's index")
    with suppress(StaleReferenceError):
        store.drop_index(stranger, ref)


@check("TEN-304")
def neighbours_do_not_change(bench: Bench) -> None:
    """Ten rows of one tenant beside a thousand of another's that are nearer; with a control."""
    store = bench.open()
    subject, other = bench.cast(2)
    shape = definition(bench, 8)
    mine, theirs = store.create_index(subject, shape), store.create_index(other, shape)
    rows = random_rows(bench, 10, 8)
    store.upsert(subject, mine, batch(rows))
    queries = [[value + bench.random.gauss(0, 0.1) for value in row] for row in rows.values()]

    def answers() -> list[Any]:
        return [
            [(h.id, h.distance) for h in hits(store, mine, q, 10, scope=subject)] for q in queries
        ]

    alone = answers()
    control = sum(a != b for a, b in zip(alone, answers(), strict=True))
    nearer = {
        f"{name}-{number}": [value + bench.random.gauss(0, 1e-3) for value in query]
        for number in range(100)
        for name, query in zip(rows, queries, strict=True)
    }
    store.upsert(other, theirs, batch(nearer))
    beside = answers()
    changed = sum(a != b for a, b in zip(alone, beside, strict=True))
    bench.figures |= {"neighbours_changed": changed, "neighbours_control": control}
    bench.expect(control == 0, "the same queries answer otherwise when nothing has changed")
    bench.expect(
        changed == 0, f"{changed} of 10 answers changed when another tenant brought its data"
    )


@check("TEN-305")
def vectors_scopes_through_the_core(bench: Bench) -> None:
    """The same ids in two scopes, through the handles."""
    scopes = bench.cast(2)
    with bench.nexus(bench.open(), indexes=[definition(bench, 2)]) as nexus:
        for number, scope in enumerate(scopes):
            with nexus.request(bench.context(scope)) as n:
                items = [
                    VectorItem(id=f"v{i}", vector=[float(number + 1), float(i)]) for i in range(4)
                ]
                n.vectors.upsert("main", items, kind="data", space="s")
        for number, scope in enumerate(scopes):
            with nexus.request(bench.context(scope)) as n:
                found = n.vectors.query(
                    "main", [float(2 - number), 1.0], k=10, include_vectors=True
                )
                first = {h.row.vector[:4] for h in found if h.row is not None and h.row.vector}
                bench.expect(len(found) == 4, f"{scope} got {len(found)} hits for its 4 rows")
                bench.expect(len(first) == 1, f"{scope} got another scope's rows")
                bench.expect(n.vectors.count("main") == 4, f"{scope} counts other rows")
                bench.expect(n.audit.verify().ok, "the trail does not verify")


@check("SEC-301")
def vectors_errors_are_clean(bench: Bench) -> None:
    """Failing calls of the vector store."""

    def failing(store: Any) -> list[Callable[[], object]]:
        ref = scoped(store, bench, SCOPES[0])
        return [
            lambda: store.get_index(SCOPES[0], "absent", 1),
            lambda: store.create_index(SCOPES[0], definition(bench, 9)),
            lambda: hits(store, ref, [1.0, 0, 0, 0], scope=SCOPES[1]),
            lambda: store.drop_index(SCOPES[0], ref),
            lambda: store.count(SCOPES[0], ref, None),
            store.close,
            lambda: store.list_indexes(SCOPES[0]),
        ]

    errors_are_clean(bench, failing)


@check("DUR-301")
def vectors_survive_reopening(bench: Bench) -> None:
    """Indexes and rows, over closing and opening."""

    def write(store: Any) -> None:
        store.upsert(SCOPES[0], scoped(store, bench, SCOPES[0]), batch(random_rows(bench, 9, 4)))

    def seen(store: Any) -> object:
        ref = store.get_index(SCOPES[0], "main", 1)
        nearest = [(hit.id, hit.distance) for hit in hits(store, ref, [1.0, 0, 0, 0])]
        return ref, rows_of(store, SCOPES[0], ref), nearest

    survives_reopening(bench, write, seen)
