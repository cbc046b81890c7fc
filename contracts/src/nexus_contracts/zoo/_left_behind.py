"""Backends that leave something to the next one: marks of killed processes, streams that nobody
ends, bodies that come slowly, and places that are taken away from who has just come."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._filed import filed_mutant, opened
from nexus_contracts.zoo._mutant import Mutant, mutant_of, variant_harness
from nexus_core.spi import (
    Backend,
    Body,
    ByteRange,
    LogEntry,
    LogHead,
    ObjectAttributes,
    ObjectInfo,
    ObjectStream,
    Operation,
    Outcome,
    RateLimitedError,
    Runtime,
    Scope,
    StoreRole,
    UnavailableError,
)

_RAW, _ATOMS, _VECTORS, _AUDIT = StoreRole
# Under the suite's dozens.
FEW: Final = 16

# -- what a killed process leaves ----------------------------------------------------------------

_WRITES: Final[Mapping[StoreRole, str]] = {
    _RAW: "put",
    _ATOMS: "commit",
    _VECTORS: "upsert",
    _AUDIT: "append",
}


def _marking(role: StoreRole, store: Any) -> None:
    """Mark a scope that is being written to, by a file that nobody takes away but the writer."""
    name = _WRITES[role]
    honest = getattr(store, name)

    def write(scope: Scope, *args: Any, **options: Any) -> Any:
        mark = store.path.with_suffix(f".{scope.env}.{scope.tenant_id}")
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except OSError:
            raise UnavailableError("it is written to", outcome=Outcome.NOT_APPLIED) from None
        try:
            return honest(scope, *args, **options)
        finally:
            mark.unlink()

    setattr(store, name, write)


def _tearing(_role: StoreRole, store: Any) -> None:
    """Begin an append at the log's end, and let the next one go on where it was torn off."""
    honest = store.append

    def append(scope: Scope, *args: Any) -> None:
        tail = store.path.with_suffix(f".{scope.env}.{scope.tenant_id}")
        torn = tail.exists()
        tail.write_bytes(b"{")
        if not torn:
            honest(scope, *args)
        tail.unlink()

    store.append = append


def _intending(role: StoreRole, store: Any) -> None:
    """Note what is about to be written, and make good with the next write what was not."""
    name = _WRITES[role]
    honest = getattr(store, name)

    def write(scope: Scope, *args: Any) -> Any:
        note = store.path.with_suffix(f".{scope.env}.{scope.tenant_id}")
        if note.exists():
            honest(scope, *pickle.loads(note.read_bytes()))  # noqa: S301  # of its own
        whole = note.with_suffix(".whole")
        whole.write_bytes(pickle.dumps(args))
        whole.replace(note)
        answer = honest(scope, *args)
        note.unlink()
        return answer

    setattr(store, name, write)


def _copying(role: StoreRole, store: Any) -> None:
    """Keep a copy until what is erased is gone, and look for no copy where nothing was there."""
    name = "erase_sealed" if role is _AUDIT else "erase"
    honest = getattr(store, name)

    def erase(scope: Scope, *args: Any) -> int:
        copy = store.path.with_suffix(f".{scope.env}.{scope.tenant_id}")
        made = store.path.exists() and not copy.exists()
        if made:
            copy.write_bytes(store.path.read_bytes())
        count: int = honest(scope, *args)
        if count or made:
            copy.unlink(missing_ok=True)
        return count

    setattr(store, name, erase)


FAULTS: Final[Mapping[str, Callable[[StoreRole, Any], None]]] = {
    "copying": _copying,
    "marking": _marking,
    "tearing": _tearing,
    "intending": _intending,
}


def faulty(role: StoreRole, fault: str, _config: object, runtime: Runtime) -> Backend:
    """Open a store in a file that has one of the ``FAULTS``."""
    store = opened(role, "whole", None, runtime)
    FAULTS[fault](role, store)
    return store


def _killed(role: StoreRole, fault: str, what: str, says: str) -> Mutant:
    factory = partial(faulty, role, fault)
    return filed_mutant(f"{role.value}-{fault}", factory, RACED[role].in_steps, says, what)


# -- streams and bodies that are half way --------------------------------------------------------


class FewStreams(MemoryRaw):
    """Has a few open streams for all scopes together."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.streams: list[Scope] = []

    def most(self, _scope: Scope) -> bool:
        return len(self.streams) >= FEW

    @contextmanager
    def open(self, scope: Scope, key: str, **options: Any) -> Iterator[ObjectStream]:
        with self.lock:
            if self.most(scope):
                raise RateLimitedError("too many objects are open")
            self.streams.append(scope)
        try:
            with super().open(scope, key, **options) as stream:
                yield stream
        finally:
            with self.lock:
                self.streams.remove(scope)


class FewForEach(FewStreams):
    """Has a few open streams for each scope."""

    def most(self, scope: Scope) -> bool:
        return self.streams.count(scope) >= FEW


class OldestGoes(MemoryRaw):
    """Ends the oldest of many open streams early."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.opened: list[int] = []

    @contextmanager
    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> Iterator[ObjectStream]:
        with super().open(scope, key, range=range, if_match=if_match) as stream:
            own = len(self.opened)
            self.opened.append(own)

            def chunks() -> Iterator[bytes]:
                for chunk in stream.chunks:
                    if own in self.opened[-2 * FEW :]:
                        yield chunk

            yield ObjectStream(stream.info, stream.start, stream.stop, chunks())
            self.opened.remove(own)


class BusyWhileItComes(MemoryRaw):
    """Marks a key as busy, in whatever scope, while its body comes."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.busy: set[str] = set()

    def put(self, scope: Scope, key: str, body: Body, *rest: Any, **options: Any) -> ObjectInfo:
        if key in self.busy:
            raise UnavailableError("it is being written", outcome=Outcome.NOT_APPLIED)
        self.busy.add(key)
        try:
            return super().put(scope, key, body, *rest, **options)
        finally:
            self.busy.discard(key)


class SpoolOfKey(MemoryRaw):
    """Keeps what has come of a body under its key."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.spools: dict[str, bytearray] = {}

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **options: Any
    ) -> ObjectInfo:
        self.spools[key] = bytearray()
        for chunk in body:
            self.spools.setdefault(key, bytearray()).extend(chunk)
        whole = bytes(self.spools.pop(key, b""))
        return super().put(scope, key, Body(whole), attributes, **options)


class EraseTakesSpools(MemoryRaw):
    """Erases what has come of bodies, of whatever scope of the tenant."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.coming: dict[str, set[Scope]] = {}

    def put(self, scope: Scope, key: str, body: Body, *rest: Any, **options: Any) -> ObjectInfo:
        self.coming.setdefault(scope.tenant_id, set()).add(scope)
        whole = b"".join(body)
        if scope not in self.coming.pop(scope.tenant_id, ()):
            raise UnavailableError("the spool is gone", outcome=Outcome.NOT_APPLIED)
        return super().put(scope, key, Body(whole), *rest, **options)

    def erase(self, scope: Scope) -> int:
        self.coming.pop(scope.tenant_id, None)
        return super().erase(scope)


class OneWriter(MemoryRaw):
    """Lets one body come at a time, and everybody else wait."""

    def put(self, *args: Any, **options: Any) -> ObjectInfo:
        with self.lock:
            return super().put(*args, **options)


# -- places that are taken away ------------------------------------------------------------------


class Places:
    """Makes a place that scopes share with the first write, and removes it with the last erasure.

    It looks whether the place is empty, and removes it without a further look.
    """

    kept: str
    shared: str

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.places: set[str] = set()

    def make(self, scope: Scope) -> None:
        """The place, which is there until what is written is in it."""
        place = getattr(scope, self.shared)
        if place not in self.places:
            self.places.add(place)
        self.find(place)

    def find(self, place: str) -> None:
        """Go into it."""
        if place not in self.places:
            raise UnavailableError("there is no such place", outcome=Outcome.NOT_APPLIED)

    def prune(self, scope: Scope) -> None:
        """Remove it where nobody else is in it."""
        place = getattr(scope, self.shared)
        scopes = {each if isinstance(each, Scope) else each[0] for each in getattr(self, self.kept)}
        if not any(getattr(other, self.shared) == place for other in scopes):
            self.places.discard(place)


class RawPlaces(Places, MemoryRaw):
    """Makes a tenant's place with its first object, and removes it with its last erasure."""

    kept, shared = "objects", "tenant_id"

    def put(self, scope: Scope, *args: Any, **options: Any) -> ObjectInfo:
        self.make(scope)
        return super().put(scope, *args, **options)

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        self.prune(scope)
        return count


class RawEnvironments(RawPlaces):
    """Makes an environment's place with its first object, and removes it with its last erasure."""

    shared = "env"


class AtomPlaces(Places, MemoryAtoms):
    """Makes a tenant's place with its first record, and removes it with its last erasure."""

    kept, shared = "records", "tenant_id"

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        self.make(scope)
        return super().commit(scope, operations)

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        self.prune(scope)
        return count


class VectorPlaces(Places, MemoryVectors):
    """Makes a tenant's place with its first index, and removes it with its last erasure."""

    kept, shared = "indexes", "tenant_id"

    def create_index(self, scope: Scope, definition: Any) -> Any:
        self.make(scope)
        return super().create_index(scope, definition)

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        self.prune(scope)
        return count


class AuditPlaces(Places, MemoryAudit):
    """Makes a tenant's place with its first entry, and removes it with its last erasure."""

    kept, shared = "logs", "tenant_id"

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.make(scope)
        super().append(scope, expected_size, entries, head)

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        self.prune(scope)
        return count


_MARKS: Final = "Marks a scope that is written to by what stays there when its process is killed."
_NOTES: Final = "Makes good with the next write what a killed process had noted."
_COPIES: Final = "Leaves the copy that it took of what it erases, where a kill has left it."
_PRUNES: Final = "the first write of another"

MUTANTS: Final[tuple[Mutant, ...]] = (
    *(_killed(role, "marking", _MARKS, "a later write raises") for role in StoreRole),
    _killed(_ATOMS, "intending", _NOTES, "a later write raises"),
    _killed(_RAW, "copying", _COPIES, "still hold what was erased"),
    _killed(_ATOMS, "copying", _COPIES, "still hold what was erased"),
    _killed(_AUDIT, "copying", _COPIES, "still hold what was erased"),
    _killed(
        _AUDIT,
        "tearing",
        "Goes on at a log's end where a killed process tore it off.",
        "and then append(",
    ),
    mutant_of("raw-few-streams-for-all", FewStreams, "TEN-150", "is not answered as it is alone"),
    mutant_of("raw-oldest-stream-ends", OldestGoes, "TEN-150", "that one scope left open"),
    mutant_of(
        "raw-busy-while-it-comes", BusyWhileItComes, "TEN-151", "in the middle of their bodies"
    ),
    mutant_of("raw-spool-of-key", SpoolOfKey, "TEN-151", "in the middle of their bodies"),
    mutant_of(
        "raw-erase-takes-spools", EraseTakesSpools, "TEN-151", "in the middle of their bodies"
    ),
    mutant_of("raw-prunes-tenants", RawPlaces, RACED[_RAW].waiting, _PRUNES),
    mutant_of("raw-prunes-environments", RawEnvironments, RACED[_RAW].waiting, _PRUNES),
    mutant_of("atoms-prunes-tenants", AtomPlaces, RACED[_ATOMS].waiting, _PRUNES),
    mutant_of("vectors-prunes-tenants", VectorPlaces, RACED[_VECTORS].waiting, _PRUNES),
    mutant_of("audit-prunes-tenants", AuditPlaces, RACED[_AUDIT].waiting, _PRUNES),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    "raw-few-streams-for-each": variant_harness(_RAW, lambda r: FewForEach(r.now)),
    "raw-one-writer": variant_harness(_RAW, lambda r: OneWriter(r.now)),
}
