"""Backends in which a call that failed, or was cut short, is not over: the next one meets it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.refused import REFUSED
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._harness import FolderBackDoor
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    Insert,
    LogEntry,
    LogHead,
    NotFoundError,
    ObjectStream,
    Operation,
    Outcome,
    PreconditionFailedError,
    Require,
    Runtime,
    Scope,
    StaleReferenceError,
    Step,
    StoreError,
    StoreRole,
    UnavailableError,
    VectorBatch,
)

_RAW, _ATOMS, _VECTORS, _AUDIT = StoreRole


# -- raw ------------------------------------------------------------------------------------------


class Busy(MemoryRaw):
    """Marks a key while it is written, and leaves the mark when the body raises."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.busy: set[Any] = set()

    def mark(self, scope: Scope, key: str) -> Any:
        """What is marked."""
        return scope, key

    def put(self, scope: Scope, key: str, body: Body, *args: Any, **options: Any) -> Any:
        mark = self.mark(scope, key)
        if mark in self.busy:
            raise UnavailableError("it is being written", outcome=Outcome.NOT_APPLIED)
        self.busy.add(mark)
        try:
            info = super().put(scope, key, body, *args, **options)
        except StoreError:
            # Not for what the body itself raises.
            self.busy.discard(mark)
            raise
        self.busy.discard(mark)
        return info


class BusyForAll(Busy):
    """The same, but the mark has no tenant."""

    def mark(self, scope: Scope, key: str) -> Any:
        return scope.env, key


class HeldLock(MemoryRaw):
    """Keeps the lock when a body raises, which nobody notices who is in the same thread."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.writing = threading.RLock()

    def put(self, scope: Scope, key: str, body: Body, *args: Any, **options: Any) -> Any:
        if not self.writing.acquire(timeout=0.05):
            raise UnavailableError("the store is busy", outcome=Outcome.NOT_APPLIED)
        data = b"".join(body)
        self.writing.release()
        return super().put(scope, key, Body(data), *args, **options)


class OneSpool(MemoryRaw):
    """Collects bodies in one buffer, which a body that raises does not empty."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.spool = bytearray()

    def put(self, scope: Scope, key: str, body: Body, *args: Any, **options: Any) -> Any:
        for chunk in body:
            self.spool += chunk
        data, self.spool = bytes(self.spool), bytearray()
        return super().put(scope, key, Body(data), *args, **options)


class LateMetadata(MemoryRaw):
    """Keeps the attributes of a put whose condition failed for the next put of that key."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.late: dict[tuple[Scope, str], Any] = {}

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        given = self.late.pop((scope, key), attributes)
        try:
            return super().put(scope, key, body, given, **options)
        except PreconditionFailedError:
            self.late[scope, key] = attributes
            raise


class HalfRead(MemoryRaw):
    """Goes on where a reader stopped half-way through an object of the same key."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.position: dict[str, int] = {}

    @contextmanager
    def open(self, scope: Scope, key: str, **options: Any) -> Iterator[ObjectStream]:
        with super().open(scope, key, **options) as stream:
            yield attrs.evolve(stream, chunks=self._from(key, stream))

    def _from(self, key: str, stream: ObjectStream) -> Iterator[bytes]:
        data = b"".join(stream.chunks)
        start = self.position.pop(key, 0)
        for place in range(start, len(data), 1 << 15):
            self.position[key] = place + (1 << 15)
            yield data[place : place + (1 << 15)]
        self.position.pop(key, None)


class KeptSpool(MemoryRaw):
    """Collects bodies in a file, which a body that raises leaves there."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.now)
        self.folder = runtime.base

    def put(self, scope: Scope, key: str, body: Body, *args: Any, **options: Any) -> Any:
        spool = self.folder / f"spool-{self.now()}"
        with spool.open("wb") as file:
            for chunk in body:
                file.write(chunk)
        data = Body(spool.read_bytes())
        spool.unlink()
        return super().put(scope, key, data, *args, **options)


# -- atoms ----------------------------------------------------------------------------------------


class UndoesElsewhere(MemoryAtoms):
    """Undoes the inserts of a commit that failed, in all environments of the tenant."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        try:
            return super().commit(scope, operations)
        except StoreError:
            for each in operations:
                if isinstance(each, Insert) and each.if_exists != "keep":
                    self._undo(scope, each)
            raise

    def _undo(self, scope: Scope, each: Insert) -> None:
        for owner, collection, name in list(self.records):
            own = owner == scope or owner.tenant_id != scope.tenant_id
            if not own and (collection, name) == (each.record.collection, each.record.id):
                del self.records[owner, collection, name]


class CachedIds(MemoryAtoms):
    """Remembers the ids of a commit as taken until the next one that succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[Any] = set()

    def place(self, scope: Scope, each: Insert) -> Any:
        """Under what an id is remembered."""
        return scope, each.record.collection, each.record.id

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        new = [self.place(scope, each) for each in operations if isinstance(each, Insert)]
        if self.taken.intersection(new):
            raise AlreadyExistsError("the id is taken")
        self.taken.update(new)
        done = super().commit(scope, operations)
        self.taken.clear()
        return done


class CachedIdsOfAll(CachedIds):
    """The same, but without the scope."""

    def place(self, scope: Scope, each: Insert) -> Any:
        return each.record.collection, each.record.id


class StaysRequired(MemoryAtoms):
    """Requires what a commit required that failed of the next one too."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[Operation] = []

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        left, self.left = self.left, []
        try:
            return super().commit(scope, [*operations, *left])[: len(operations)]
        except PreconditionFailedError:
            self.left = [each for each in operations if isinstance(each, Require)]
            raise


class CutWalk(MemoryAtoms):
    """Leaves out of a walk what one before it gave that was cut short by its limit."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def walk(self, scope: Scope, *args: Any, limit: int, **options: Any) -> Sequence[Step]:
        found = super().walk(scope, *args, limit=10_000, **options)
        fresh = [step for step in found if step.edge.id not in self.seen]
        self.seen = {step.edge.id for step in found[:limit]} if len(found) > limit else set()
        return fresh[:limit]


# -- vectors --------------------------------------------------------------------------------------


class LateRows(MemoryVectors):
    """Writes the rows of an upsert that was refused with the next one to an index of the name."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[Any, VectorBatch] = {}

    def name(self, scope: Scope, ref: IndexRef) -> Any:
        """Under what rows wait."""
        return ref.definition.name, ref.definition.version

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        name = self.name(scope, ref)
        try:
            self._index(scope, ref)
        except (NotFoundError, StaleReferenceError):
            self.late[name] = batch
            raise
        if name in self.late:
            super().upsert(scope, ref, self.late.pop(name))
        super().upsert(scope, ref, batch)


class LateRowsOfOne(LateRows):
    """The same, but each scope's rows wait for itself."""

    def name(self, scope: Scope, ref: IndexRef) -> Any:
        return scope, ref.definition.name


class LateDeletion(MemoryVectors):
    """Deletes with the next upsert to the name what could not be deleted from an index that was
    gone."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[str, Sequence[str]] = {}

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        try:
            return super().delete(scope, ref, ids)
        except StoreError:
            self.late[ref.definition.name] = ids
            raise

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        super().upsert(scope, ref, batch)
        super().delete(scope, ref, self.late.pop(ref.definition.name, ()))


class RefusedShape(MemoryVectors):
    """Shows the definition that was refused when the index is asked for next."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: dict[Any, IndexDefinition] = {}

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        try:
            return super().create_index(scope, definition)
        except IndexLockedError:
            self.tried[scope, definition.name] = definition
            raise

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        ref = super().get_index(scope, name, version)
        return attrs.evolve(ref, definition=self.tried.pop((scope, name), ref.definition))


# -- audit ----------------------------------------------------------------------------------------


class KeptHead(MemoryAudit):
    """Keeps the head that a conflict was about for the tenant's next question."""

    def __init__(self) -> None:
        super().__init__()
        self.hint: dict[str, LogHead] = {}

    def append(self, scope: Scope, *args: Any) -> None:
        try:
            super().append(scope, *args)
        except PreconditionFailedError:
            current = super().head(scope)
            if current is not None:
                self.hint[scope.tenant_id] = current
            raise

    def head(self, scope: Scope) -> LogHead | None:
        return self.hint.pop(scope.tenant_id, None) or super().head(scope)


class LateEntries(MemoryAudit):
    """Writes the entries of an append that was refused with the next one of the scope."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[Scope, Sequence[LogEntry]] = {}

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        try:
            super().append(scope, expected_size, entries, head)
        except PreconditionFailedError:
            self.late[scope] = entries
            raise
        self.logs[scope].entries += self.late.pop(scope, ())


class SettledByAttempt(MemoryAudit):
    """Takes an operation as settled whose outcome was refused."""

    def __init__(self) -> None:
        super().__init__()
        self.settled: set[tuple[str, str]] = set()

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.settled.update((scope.env, e.operation) for e in entries if e.phase == "outcome")
        super().append(scope, expected_size, entries, head)

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        found = super().unsettled(scope, before, limit)
        return [each for each in found if (scope.env, each.operation) not in self.settled]


class CutPage(MemoryAudit):
    """Begins the next page where one that was cut short by its limit had ended."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: dict[Scope, bytes] = {}

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        found = super().checkpoints(scope, after_size, 10_000)
        last = self.cut.pop(scope, None)
        if last in found:
            found = found[found.index(last) + 1 :]
        if len(found) > limit:
            self.cut[scope] = found[limit - 1]
        return found[:limit]


def _m(role: StoreRole, name: str, kind: Any, *, here: bool, what: str | None = None) -> Mutant:
    """A mutant that meets its fault in the scope that was refused, or in another."""

    def make(runtime: Runtime) -> Any:
        return kind(runtime.now) if issubclass(kind, MemoryRaw) else kind()

    return Mutant(
        name=f"{role}-{name}",
        role=role,
        what=what or (kind.__doc__ or "").strip().replace("\n    ", " "),
        killed_by=REFUSED[role].here if here else REFUSED[role].elsewhere,
        says="What a call left behind",
        make=make,
    )


_FOR_ALL: Final = "Leaves a mark that has no tenant when the body raises."

MUTANTS: Final[tuple[Mutant, ...]] = (
    _m(_RAW, "busy-left", Busy, here=True),
    _m(_RAW, "busy-left-for-all", BusyForAll, here=False, what=_FOR_ALL),
    _m(_RAW, "held-lock", HeldLock, here=True),
    _m(_RAW, "one-spool", OneSpool, here=False),
    _m(_RAW, "late-metadata", LateMetadata, here=True),
    _m(_RAW, "half-read", HalfRead, here=False),
    attrs.evolve(
        _m(_RAW, "kept-spool", KeptSpool, here=True),
        make=KeptSpool,
        killed_by=IDS[_RAW].erased,
        says="what was refused",
        harness={"back_door": lambda namespace: FolderBackDoor(namespace.path)},
    ),
    _m(_ATOMS, "undoes-elsewhere", UndoesElsewhere, here=False),
    _m(_ATOMS, "cached-ids", CachedIds, here=True),
    _m(_ATOMS, "cached-ids-of-all", CachedIdsOfAll, here=False, what="Remembers them for all."),
    _m(_ATOMS, "stays-required", StaysRequired, here=True),
    _m(_ATOMS, "cut-walk", CutWalk, here=True),
    _m(_VECTORS, "late-rows", LateRows, here=False),
    _m(_VECTORS, "late-rows-own", LateRowsOfOne, here=True, what="Writes a scope's own rows late."),
    _m(_VECTORS, "late-deletion", LateDeletion, here=False),
    _m(_VECTORS, "refused-shape", RefusedShape, here=True),
    _m(_AUDIT, "kept-head", KeptHead, here=False),
    _m(_AUDIT, "late-entries", LateEntries, here=True),
    _m(_AUDIT, "settled-by-attempt", SettledByAttempt, here=False),
    _m(_AUDIT, "cut-page", CutPage, here=True),
)
