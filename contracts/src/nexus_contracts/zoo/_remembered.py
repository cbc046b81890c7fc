"""Backends in one file that remember what they read until they write themselves: what others write
they do not see, or they lose what they write upon it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from nexus_contracts._catalogue.remembered import REMEMBERED
from nexus_contracts.memory import MemoryVectors
from nexus_contracts.memory._vectors import MemoryIndex
from nexus_contracts.zoo._filed import filed_mutant, opened
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import (
    Backend,
    IndexRef,
    LogEntry,
    LogHead,
    NotFoundError,
    Runtime,
    Scope,
    StaleReferenceError,
    StoreRole,
)

Known = dict[Hashable, Any]

_RAW, _ATOMS, _VECTORS, _AUDIT = StoreRole

# For each place what is listed there: one process's, whoever of it has the place open.
_LISTINGS: Final[dict[str, Known]] = {}


def _remembering(store: Any, read: str, writes: str, known: Known) -> None:
    """Answer a read as it was answered before, until this store writes."""
    honest = getattr(store, read)

    def recall(scope: Scope, *args: Any, **options: Any) -> Any:
        place = f"{scope} {args} {options}"
        if place not in known:
            known[place] = honest(scope, *args, **options)
        return known[place]

    setattr(store, read, recall)
    for name in writes.split():
        setattr(store, name, partial(_forgetting, getattr(store, name), known))


def _forgetting(write: Callable[..., Any], known: Known, *args: Any, **options: Any) -> Any:
    known.clear()
    try:
        return write(*args, **options)
    finally:
        known.clear()


def _heads(store: Any) -> None:
    _remembering(store, "head", "put set_system delete copy erase", {})


def _listings(store: Any) -> None:
    known = _LISTINGS.setdefault(str(store.path), {})
    _remembering(store, "list", "put set_system delete copy erase", known)


def _lineage(store: Any) -> None:
    _remembering(store, "walk", "commit erase", {})


def _presence(store: Any) -> None:
    """Answer for records that were read as they were, until this store commits."""
    _remembering(store, "get", "commit erase", {})


class IncarnationsKnown(MemoryVectors):
    """Looks an incarnation up once: whether one that it knows is still there it does not ask."""

    def __init__(self) -> None:
        super().__init__()
        self.living: dict[tuple[Scope, str], MemoryIndex] = {}

    def _any_index(self, scope: Scope, ref: IndexRef) -> MemoryIndex:
        place = (scope, ref.incarnation)
        try:
            self.living[place] = super()._any_index(scope, ref)
        except (NotFoundError, StaleReferenceError):
            if place not in self.living:
                raise
        return self.living[place]

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        self.living.clear()
        super().drop_index(scope, ref)

    def erase(self, scope: Scope) -> int:
        self.living.clear()
        return super().erase(scope)


def _descriptor(store: Any) -> None:
    """Go on in the file that this store wrote last, though another is in its place."""
    honest = store.append
    written: list[Any] = []

    def append(scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        store.load()
        elsewhere = bool(written) and written != [store.known]
        if elsewhere:
            store.save = lambda: None
        try:
            honest(scope, size, entries, head)
        finally:
            vars(store).pop("save", None)
        if elsewhere:
            store.known = None
        else:
            written[:] = [store.known]

    def anew(rewrite: Callable[..., Any], *args: Any) -> Any:
        written.clear()
        return rewrite(*args)

    store.append = append
    for name in ("erase_sealed", "erase"):
        setattr(store, name, partial(anew, getattr(store, name)))


FAULTS: Final[Mapping[str, Callable[[Any], None]]] = {
    "heads-remembered": _heads,
    "listings-remembered": _listings,
    "lineage-remembered": _lineage,
    "records-remembered": _presence,
    "descriptor-kept": _descriptor,
}
BASES: Final = {"incarnations-remembered": IncarnationsKnown}


def faulty(role: StoreRole, fault: str, _config: object, runtime: Runtime) -> Backend:
    """Open a store in a file that has one of the ``FAULTS``, or one of the ``BASES``."""
    store = opened(role, "whole", None, runtime, base=BASES.get(fault))
    FAULTS.get(fault, lambda _: None)(store)
    return store


def _m(role: StoreRole, fault: str, what: str, says: str) -> Mutant:
    factory = partial(faulty, role, fault)
    return filed_mutant(f"{role.value}-{fault}", factory, REMEMBERED[role], says, what)


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m(_RAW, "heads-remembered", "Keeps heads until it writes itself.", "was asked t/dev: head("),
    _m(
        _RAW,
        "listings-remembered",
        "Keeps listings until some opening in its process writes.",
        "process had made",
    ),
    _m(
        _ATOMS,
        "lineage-remembered",
        "Keeps walks until it commits itself.",
        "was asked t/dev: walk(",
    ),
    _m(
        _ATOMS,
        "records-remembered",
        "Keeps records until it commits itself.",
        "was asked t/dev: get(",
    ),
    _m(
        _VECTORS,
        "incarnations-remembered",
        "Looks an index up once, and writes to it when another has dropped it.",
        "<the reference of main>",
    ),
    _m(
        _AUDIT,
        "descriptor-kept",
        "Appends to the file that it knows, when another has taken its place.",
        "had made t/dev: append(",
    ),
)
