"""Checks of pages between which something changes: each shows what is there when it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._checks import raw
from nexus_contracts._checks.atom_filters import operators
from nexus_contracts._checks.atoms import insert, record
from nexus_contracts._checks.audit import append, entry
from nexus_contracts._checks.sizes_atoms import whole
from nexus_contracts._checks.vectors import batch, definition
from nexus_contracts._registry import check
from nexus_core.spi import (
    Eq,
    NotFoundError,
    Record,
    Remove,
    Replace,
    StaleReferenceError,
    VectorPage,
)

SCOPE = SCOPES[0]
LIMIT, COUNT = 4, 14


class _Shelf(Protocol):
    """Things with names and numbers, and one way of asking for them in pages.

    ``part`` is where a page holds them.
    """

    part: str

    def make(self, things: Mapping[str, int]) -> None:
        """Put them there."""

    def change(self, gone: str, name: str, number: int) -> None:
        """Take one away, and give another a number."""

    def page(self, after: str | None) -> Any:
        """A page of what comes after a name."""

    def told(self, thing: Any) -> tuple[str, int]:
        """Its name and its number."""


def _changing(bench: Bench, store: Any, shelf: _Shelf) -> None:
    """Between two pages: a change, the end of the scope, and a new beginning."""
    there = {f"n{number:02}": number for number in range(COUNT)}
    shelf.make(there)
    after = _begun(bench, shelf)
    shelf.make({"n03x": 50, "n08x": 51})
    shelf.change("n06", "n10", 52)
    del there["n06"]
    there |= {"n03x": 50, "n08x": 51, "n10": 52}
    _then(bench, shelf, after, there, "after writes and a deletion")
    after = _begun(bench, shelf)
    store.erase(SCOPE)
    _then(bench, shelf, after, {}, "after the scope was erased")
    there = {"n02": 60, "n07": 61, "n12": 62}
    shelf.make(there)
    _then(bench, shelf, after, there, "after the scope was erased and begun anew")
    store.erase(SCOPE)


def _begun(bench: Bench, shelf: _Shelf) -> str:
    after = shelf.page(None).next_after
    if after is None:
        bench.fail(f"a page of {LIMIT} says that nothing is left of {COUNT}")
    return str(after)


def _then(bench: Bench, shelf: _Shelf, after: str, there: Mapping[str, int], when: str) -> None:
    found = [shelf.told(thing) for thing in whole(shelf.page, shelf.part, after)]
    _told(bench, when, found, [pair for pair in sorted(there.items()) if pair[0] > after])


def _told(bench: Bench, when: str, found: object, wanted: object) -> None:
    bench.expect(
        found == wanted,
        f"{when} the next page shows something else than is there: keep nothing of one page for "
        f"the next\n  expected {wanted}\n  got      {found}",
    )


class _Objects:
    part = "items"

    def __init__(self, store: Any, **how: Any) -> None:
        self.store, self.ask = store, partial(store.list, SCOPE, limit=LIMIT, **how)

    def make(self, things: Mapping[str, int]) -> None:
        for name, number in things.items():
            raw.put(self.store, name, b"x" * number)

    def change(self, gone: str, name: str, number: int) -> None:
        self.store.delete(SCOPE, gone)
        self.make({name: number})

    def page(self, after: str | None) -> Any:
        return self.ask(after=after)

    def told(self, thing: Any) -> tuple[str, int]:
        return thing.key, thing.size


@check("RAW-092")
def listings_answer_from_what_is_there(bench: Bench) -> None:
    """Of all keys, and by prefix and delimiter."""
    store = bench.open()
    for how in ({}, {"prefix": "n", "delimiter": "/"}):
        _changing(bench, store, _Objects(store, **how))


class _Records:
    part = "records"

    def __init__(self, store: Any, where: Any) -> None:
        self.store, self.ask = store, partial(store.query, SCOPE, "atoms", where, limit=LIMIT)

    def make(self, things: Mapping[str, int]) -> None:
        insert(self.store, *(self.record(name, number) for name, number in things.items()))

    def change(self, gone: str, name: str, number: int) -> None:
        new = self.record(name, number, version=2)
        self.store.commit(SCOPE, [Remove("atoms", gone), Replace(new)])

    def record(self, name: str, number: int, **how: Any) -> Record:
        return record(name, body=b"%d" % number, kind="data", **how)

    def page(self, after: str | None) -> Any:
        return self.ask(after=after)

    def told(self, thing: Any) -> tuple[str, int]:
        return thing.id, int(thing.body)


@check("ATOM-093")
def queries_answer_from_what_is_there(bench: Bench) -> None:
    """Of all records, and of those that match."""
    store, matching = bench.open(), Eq("kind", "data")
    for where in (None, matching):
        if where is None or operators(where) <= bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
            _changing(bench, store, _Records(store, where))


class _Rows:
    part = "rows"

    def __init__(self, bench: Bench, store: Any) -> None:
        self.bench, self.store = bench, store

    def make(self, things: Mapping[str, int]) -> None:
        # The end of the scope takes its indexes too.
        self.ref = self.store.create_index(SCOPE, definition(self.bench, 2))
        rows = {name: [1.0, float(number)] for name, number in things.items()}
        numbers = {name: {"page": number} for name, number in things.items()}
        self.store.upsert(SCOPE, self.ref, batch(rows, numbers))

    def change(self, gone: str, name: str, number: int) -> None:
        self.store.delete(SCOPE, self.ref, [gone])
        self.make({name: number})

    def page(self, after: str | None) -> Any:
        try:
            return self.store.scan(SCOPE, self.ref, after=after, limit=LIMIT)
        except (NotFoundError, StaleReferenceError):
            return VectorPage((), None)  # the end of the scope is the end of its indexes

    def told(self, thing: Any) -> tuple[str, int]:
        return thing.id, int(thing.fields["page"])


@check("VEC-094")
def scans_answer_from_what_is_there(bench: Bench) -> None:
    """Rows of one index; the scope's end takes the index, and another takes its place."""
    store = bench.open()
    _changing(bench, store, _Rows(bench, store))


@check("AUD-092")
def reads_answer_from_what_is_there(bench: Bench) -> None:
    """Between two pages: an append, the end of the log, and a new one."""
    store = bench.open()
    first = [entry(n, operation=f"op-{n}") for n in range(COUNT)]
    later = [entry(n, operation=f"late-{n}") for n in range(COUNT, COUNT + LIMIT)]
    anew = [entry(n, operation=f"new-{n}") for n in range(LIMIT + 2)]

    def rest() -> list[Any]:
        found: list[Any] = []
        while page := list(store.read(SCOPE, LIMIT + len(found), LIMIT)):
            found += page
        return found

    append(store, *first)
    store.read(SCOPE, 0, LIMIT)
    append(store, *later)
    _told(bench, "after an append", rest(), [*first, *later][LIMIT:])
    store.read(SCOPE, 0, LIMIT)
    store.erase(SCOPE)
    _told(bench, "after the log was erased", rest(), [])
    append(store, *anew)
    _told(bench, "after the log was erased and begun anew", rest(), anew[LIMIT:])
