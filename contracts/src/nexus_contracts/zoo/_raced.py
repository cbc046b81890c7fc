"""Backends that look before they lock, or keep outside a call what belongs to it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.memory._vectors import MemoryIndex
from nexus_contracts.zoo._mutant import Make, Mutant
from nexus_core.spi import (
    AlreadyExistsError,
    IndexDefinition,
    IndexRef,
    Insert,
    LogEntry,
    LogHead,
    ObjectInfo,
    ObjectPage,
    Operation,
    PreconditionFailedError,
    Remove,
    Require,
    Scope,
    StoreRole,
    VectorBatch,
)


class LargeLooksOutside(MemoryRaw):
    """Looks whether a key is taken before it locks, where the body is large."""

    def _write(self, scope: Scope, key: str, data: bytes, *rest: Any, **options: Any) -> ObjectInfo:
        if len(data) > 1 << 16 and options.get("if_absent"):
            taken = (scope, key) in self.objects
            if taken:
                raise AlreadyExistsError("the key is taken")
            options["if_absent"] = False
        return super()._write(scope, key, data, *rest, **options)


class CopyLooksOutside(MemoryRaw):
    """Looks whether the target of a copy is taken before it locks."""

    def copy(self, scope: Scope, source: str, target: str, *rest: Any, **options: Any) -> Any:
        if options.pop("if_absent", False) and (scope, target) in self.objects:
            raise AlreadyExistsError("the key is taken")
        return super().copy(scope, source, target, *rest, **options)


class ReplaceLooksOutside(MemoryRaw):
    """Looks at the version before it locks."""

    def _write(self, scope: Scope, key: str, *rest: Any, **options: Any) -> ObjectInfo:
        wanted = options.pop("if_match", None)
        current = self.objects.get((scope, key))
        if wanted is not None and (current is None or current.info.etag != wanted):
            raise PreconditionFailedError("the object has another version by now")
        return super()._write(scope, key, *rest, **options)


class DeleteLooksOutside(MemoryRaw):
    """Looks at the version before it locks, to delete it."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        current = self.objects.get((scope, key))
        if if_match is not None and (current is None or current.info.etag != if_match):
            raise PreconditionFailedError("the object has another version by now")
        super().delete(scope, key)


class KeysInOneList(MemoryRaw):
    """Reads the list of a scope's keys, and writes it back longer."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.keys: dict[Scope, frozenset[str]] = {}

    def _write(self, scope: Scope, key: str, *rest: Any, **options: Any) -> ObjectInfo:
        keys = self.keys.get(scope, frozenset())
        info = super()._write(scope, key, *rest, **options)
        self.keys[scope] = keys | {key}
        return info

    def list(self, scope: Scope, **options: Any) -> ObjectPage:
        page, keys = super().list(scope, **options), self.keys.get(scope, frozenset())
        return attrs.evolve(page, items=tuple(item for item in page.items if item.key in keys))


class LastFolder(MemoryRaw):
    """Locks a scope, and after a wait goes on in the folder that was opened last."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.locks: dict[Scope, threading.RLock] = {}
        self.last: Scope | None = None

    def _write(self, scope: Scope, key: str, *rest: Any, **options: Any) -> ObjectInfo:
        lock = self.locks.setdefault(scope, threading.RLock())
        if lock.acquire(blocking=False):
            self.last = scope
        else:
            lock.acquire()
            scope = self.last or scope
        try:
            return super()._write(scope, key, *rest, **options)
        finally:
            lock.release()


class EveryNinthIsLost(MemoryRaw):
    """Loses the bytes of every ninth write, whoever makes it and whatever else is under way."""

    written = 0

    def _write(self, scope: Scope, key: str, data: bytes, *rest: Any, **options: Any) -> ObjectInfo:
        self.written += 1
        kept = data if self.written % 9 else b""
        return super()._write(scope, key, kept, *rest, **options)


class InsertLooksOutside(MemoryAtoms):
    """Looks whether an id is taken before it locks, where it is the only one."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        if len(operations) == 1 and isinstance(operations[0], Insert):
            record = operations[0].record
            place = (scope, record.collection, record.id)
            if place not in self.records:
                with self.lock:
                    self.records = {**self.records, place: record}
                return [True]
        return super().commit(scope, operations)


class RequireLooksOutside(MemoryAtoms):
    """Looks at what is required before it locks."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        required = [each for each in operations if isinstance(each, Require)]
        for each in required:
            self._apply(dict(self.records), scope, each)
        rest = [each for each in operations if not isinstance(each, Require)]
        changed = iter(super().commit(scope, rest))
        return [False if isinstance(each, Require) else next(changed) for each in operations]


class DraftOutside(MemoryAtoms):
    """Makes its draft of all records before it locks."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        self.ensure_open()
        draft = dict(self.records)
        with self.lock:
            changed = [self._apply(draft, scope, operation) for operation in operations]
            self.records = draft
        return changed


class CurrentRecords(MemoryAtoms):
    """Notes the scope at which it works."""

    current: Scope

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        self.current = scope
        known = [each for each in operations if isinstance(each, Remove)]
        return super().commit(scope if known else self.current, operations)


class DefineOutside(MemoryVectors):
    """Looks for the definition before it locks."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        place = (scope, definition.name, definition.version)
        if place in self.indexes:
            return super().create_index(scope, definition)
        made = MemoryIndex(IndexRef(definition, secrets.token_hex(8)))
        with self.lock:
            self.indexes[place] = made
        return made.ref


class DefineTwice(MemoryVectors):
    """Locks what is defined, and makes anew what it had not seen before it locked."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        place = (scope, definition.name, definition.version)
        seen = place in self.indexes
        with self.lock:
            ref = super().create_index(scope, definition)
            if not seen:
                ref = IndexRef(definition, secrets.token_hex(8))
                self.indexes[place] = MemoryIndex(ref)
        return ref


class UpsertByName(MemoryVectors):
    """Looks at the incarnation before it locks, and then goes by the name."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        self._index(scope, ref)
        name, version = ref.definition.name, ref.definition.version
        with self.lock:
            super().upsert(scope, self.get_index(scope, name, version), batch)


class RowsOutside(MemoryVectors):
    """Reads all rows before an upsert, and writes them back after it."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        rows = dict(self._index(scope, ref).rows)
        super().upsert(scope, ref, batch)
        with self.lock:
            own = self._index(scope, ref)
            own.rows = {**rows, **{name: own.rows[name] for name in batch.ids}}


class CurrentRows(MemoryVectors):
    """Notes the scope at which it works."""

    current: tuple[Scope, IndexRef]

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        self.current = (scope, ref)
        self._index(scope, ref)
        super().upsert(*self.current, batch)


class LongLooksOutside(MemoryAudit):
    """Looks at the size before it locks, where the batch is long."""

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        if len(entries) > 32:
            if len(self.read(scope, 0, 1 << 30)) != expected_size:
                raise PreconditionFailedError("the log has another size by now")
            with self.lock:
                expected_size = len(self.read(scope, 0, 1 << 30))
                super().append(scope, expected_size, entries, head)
            return
        super().append(scope, expected_size, entries, head)


class ForgetOutside(MemoryAudit):
    """Reads the log before it forgets, and writes it back."""

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        log = self.logs.get(scope)
        kept = [] if log is None else list(log.entries)
        changed = super().erase_sealed(scope, subject_tag)
        if log is not None:
            log.entries[:] = log.entries[: len(kept)]
        return changed


class CurrentLog(MemoryAudit):
    """Notes the scope at which it works."""

    current: Scope

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.current = scope
        self.ensure_open()
        super().append(self.current, expected_size, entries, head)


def _of(kind: Any, role: StoreRole) -> Make:
    return lambda runtime: kind(*([runtime.now] if role is StoreRole.RAW else []))


def _m(role: StoreRole, name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    return Mutant(
        name=f"{role.value}-{name}",
        role=role,
        what=kind.__doc__,
        killed_by=killed_by,
        says=says,
        make=_of(kind, role),
    )


_BOTH: Final = "both of 2 racing calls won"
_RAW, _ATOMS, _VECTORS, _AUDIT = StoreRole

MUTANTS: Final[tuple[Mutant, ...]] = (
    _m(_RAW, "large-create-looks-outside", LargeLooksOutside, "RAW-022", _BOTH),
    _m(_RAW, "copy-looks-outside", CopyLooksOutside, "RAW-022", _BOTH),
    _m(_RAW, "replace-looks-outside", ReplaceLooksOutside, "RAW-050", _BOTH),
    _m(_RAW, "delete-looks-outside", DeleteLooksOutside, "RAW-051", _BOTH),
    _m(_RAW, "keys-in-one-list", KeysInOneList, RACED[_RAW].beside, "is listed"),
    _m(_RAW, "last-folder", LastFolder, RACED[_RAW].waiting, "is listed"),
    _m(_RAW, "every-ninth-lost", EveryNinthIsLost, IDS[_RAW].at_once, "nothing at the same moment"),
    _m(_ATOMS, "insert-looks-outside", InsertLooksOutside, "ATOM-040", _BOTH),
    _m(_ATOMS, "require-looks-outside", RequireLooksOutside, "ATOM-041", _BOTH),
    _m(_ATOMS, "draft-outside", DraftOutside, RACED[_ATOMS].beside, "is found"),
    _m(_ATOMS, "current-scope", CurrentRecords, RACED[_ATOMS].waiting, "is found"),
    _m(_VECTORS, "define-outside", DefineOutside, "VEC-040", _BOTH),
    _m(_VECTORS, "define-twice", DefineTwice, "VEC-040", "made two indexes"),
    _m(_VECTORS, "upsert-by-name", UpsertByName, "VEC-041", "made after it"),
    _m(_VECTORS, "rows-outside", RowsOutside, RACED[_VECTORS].beside, "is found"),
    _m(_VECTORS, "current-scope", CurrentRows, RACED[_VECTORS].waiting, "is found"),
    _m(_AUDIT, "long-append-looks-outside", LongLooksOutside, "AUD-004", _BOTH),
    _m(_AUDIT, "forget-outside", ForgetOutside, RACED[_AUDIT].beside, "the log ends with"),
    _m(_AUDIT, "current-scope", CurrentLog, RACED[_AUDIT].waiting, "is there"),
)
