"""The check of index states: what is switched off stays off, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._checks.vectors import batch, definition, hits, random_rows, scanned
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import Eq, IndexRef, IndexState, NotFoundError, Outcome, TenantInactiveError

SCOPE, TWIN = SCOPES[0], SCOPES[1]


@check("VEC-028")
def asleep_stays_asleep(bench: Bench) -> None:
    """Every verb, twice over, in every declared state that is not active, beside a sibling and a
    twin that go on."""
    declared = bench.spec.capabilities.states  # type: ignore[union-attr]
    for state in (IndexState.INACTIVE, IndexState.OFFLOADED):
        if state in declared:
            _sleeps(bench, state)


def _sleeps(bench: Bench, state: IndexState) -> None:
    store = bench.open()
    rows = random_rows(bench, 12, 4)
    fields = {name: {"page": number} for number, name in enumerate(rows)}
    places: list[tuple[Scope, IndexRef]] = []
    for owner, version in ((SCOPE, 1), (SCOPE, 2), (TWIN, 1)):
        made = store.create_index(owner, definition(bench, version=version))
        store.upsert(owner, made, batch(rows, fields))
        places.append((owner, made))
    ref, sibling = places[0][1], places[1][1]
    before = _rows(store, ref)
    what = f"an index that is {state}"

    _switch(bench, store, ref, state)
    for _ in range(2):
        for name, call in _calls(store, ref).items():
            error = bench.raises(TenantInactiveError, call, f"{name} of {what}")
            bench.expect(
                error.outcome is Outcome.NOT_APPLIED,
                f"{name} of {what} tells the outcome {error.outcome}",
            )
    for owner, other in places[1:]:
        try:
            found = store.count(owner, other, None)
        except TenantInactiveError:
            bench.fail("another index was switched off with it")
        bench.expect(found == len(rows), "another index lost rows when one was switched off")
    listed = [each.definition.version for each in store.list_indexes(SCOPE)]
    bench.expect(listed == [1, 2], f"{what} is not listed")

    _switch(bench, store, ref, IndexState.ACTIVE)
    bench.expect(_rows(store, ref) == before, f"{what} came back with other rows")

    store.set_state(SCOPE, ref, state)
    store.drop_index(SCOPE, ref)
    gone = partial(store.get_index, SCOPE, "main", 1)
    bench.raises(NotFoundError, gone, f"{what} and was dropped")
    store.set_state(SCOPE, sibling, state)
    store.erase(SCOPE)
    bench.expect(list(store.list_indexes(SCOPE)) == [], f"erase left {what}")
    bench.expect(
        store.count(TWIN, places[2][1], None) == len(rows), "erase took another scope's rows"
    )


def _rows(store: Any, ref: IndexRef) -> list[object]:
    return [
        (row.id, bytes(row.vector), dict(row.fields), bytes(row.stamp))
        for row in scanned(store, ref, SCOPE)
    ]


def _switch(bench: Bench, store: Any, ref: IndexRef, state: IndexState) -> None:
    told = [store.set_state(SCOPE, ref, state) for _ in range(2)]
    bench.expect(
        told == [True, False], f"making an index {state} twice tells {told}, not [True, False]"
    )


def _calls(store: Any, ref: IndexRef) -> dict[str, Callable[[], object]]:
    near = [1.0, 0, 0, 0]
    return {
        "get": lambda: store.get(SCOPE, ref, ["r0001"]),
        "query": lambda: hits(store, ref, near, scope=SCOPE),
        "count": lambda: store.count(SCOPE, ref, None),
        "scan": lambda: store.scan(SCOPE, ref),
        "statistics": lambda: store.statistics(SCOPE, ref),
        "upsert": lambda: store.upsert(SCOPE, ref, batch({"new": near})),
        "delete": lambda: store.delete(SCOPE, ref, ["r0001"]),
        "delete_where": lambda: store.delete_where(SCOPE, ref, Eq("page", 2)),
    }
