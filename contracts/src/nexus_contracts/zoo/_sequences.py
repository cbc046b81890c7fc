"""Backends whose fault shows in no answer to one call: only after several, or in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.shared import IDS
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import (
    Filter,
    IndexRef,
    Insert,
    ObjectInfo,
    Operation,
    Record,
    Remove,
    Scope,
    StoreRole,
)


class RemembersMetadata(MemoryRaw):
    """Gives a key that was deleted and is made again the attributes it had at first."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.first: dict[tuple[Scope, str], Any] = {}
        self.gone: set[tuple[Scope, str]] = set()

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        if (scope, key) in self.objects:
            self.gone.add((scope, key))
        super().delete(scope, key, if_match=if_match)

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **options: Any) -> ObjectInfo:
        first = self.first.setdefault((scope, key), args[0])
        again = (scope, key) in self.gone and (scope, key) not in self.objects
        return super()._write(scope, key, data, first if again else args[0], **options)


class Resurrects(MemoryAtoms):
    """Brings a record that was removed back when its id is inserted again."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: dict[tuple[Scope, str], Record] = {}

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        for each in operations:
            if isinstance(each, Remove):
                (old,) = super().get(scope, each.collection, [each.id])
                if old is not None:
                    self.removed[scope, each.id] = old
        back = [
            attrs.evolve(each, record=self.removed.pop((scope, each.record.id), each.record))
            if isinstance(each, Insert)
            else each
            for each in operations
        ]
        return super().commit(scope, back)


class StaleFields(MemoryVectors):
    """Filters a row that was deleted and came back by the fields that it had before."""

    def __init__(self) -> None:
        super().__init__()
        self.old: dict[tuple[Scope, str], Any] = {}

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        for row in super().get(scope, ref, ids):
            if row is not None:
                self.old[scope, row.id] = row.fields
        return super().delete(scope, ref, ids)

    @contextmanager
    def _before(self, scope: Scope, ref: IndexRef) -> Iterator[None]:
        index = self._index(scope, ref)
        kept = dict(index.rows)
        for name, row in kept.items():
            index.rows[name] = attrs.evolve(row, fields=self.old.get((scope, name), row.fields))
        try:
            yield
        finally:
            index.rows.update(kept)

    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        with self._before(scope, ref):
            return super().count(scope, ref, where)

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
        with self._before(scope, ref):
            return super().query(scope, ref, *args, **options)


class DropsSuccessor(MemoryVectors):
    """Drops whatever has the name of the index that a reference was to."""

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        for current in super().list_indexes(scope):
            if current.definition == ref.definition:
                super().drop_index(scope, current)


class ForgetsOnce(MemoryAudit):
    """Forgets a subject once, and takes what came after for forgotten too."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: set[tuple[Scope, bytes]] = set()

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        if (scope, subject_tag) in self.forgotten:
            return 0
        changed = super().erase_sealed(scope, subject_tag)
        if changed:
            self.forgotten.add((scope, subject_tag))
        return changed


def whispering(role: StoreRole, method: str) -> Any:
    """The role's memory, which writes the details of what it is given to the log."""
    base = {
        StoreRole.RAW: MemoryRaw,
        StoreRole.ATOMS: MemoryAtoms,
        StoreRole.VECTORS: MemoryVectors,
        StoreRole.AUDIT: MemoryAudit,
    }[role]

    def call(self: Any, scope: Scope, *args: Any, **options: Any) -> Any:
        logging.getLogger("store").debug("writing for %s: %r", scope, _details(args))
        return getattr(base, method)(self, scope, *args, **options)

    doc = "Writes what it is given to the log, in details that are seldom shown."
    return type("Whispering", (base,), {method: call, "__doc__": doc})


def _details(value: Any) -> Any:
    """What is in a value, also where its representation hides it."""
    if isinstance(value, list | tuple):
        return [_details(each) for each in value]
    if attrs.has(type(value)):
        return [_details(getattr(value, each.name)) for each in attrs.fields(type(value))]
    return dict(value) if isinstance(value, Mapping) else value


def _m(
    role: StoreRole, name: str, kind: Any, killed_by: str, says: str = "The smallest schedule"
) -> Mutant:
    clock = role is StoreRole.RAW
    return Mutant(
        name=f"{role.value}-{name}",
        role=role,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=(lambda runtime: kind(runtime.now)) if clock else (lambda _: kind()),
    )


WRITES: Final = {
    StoreRole.RAW: "put",
    StoreRole.ATOMS: "commit",
    StoreRole.VECTORS: "upsert",
    StoreRole.AUDIT: "append",
}

MUTANTS: Final[tuple[Mutant, ...]] = (
    _m(StoreRole.RAW, "remembers-metadata", RemembersMetadata, "RAW-027"),
    _m(StoreRole.ATOMS, "resurrects", Resurrects, "ATOM-023"),
    _m(StoreRole.VECTORS, "stale-fields", StaleFields, "VEC-025"),
    _m(
        StoreRole.VECTORS,
        "drops-successor",
        DropsSuccessor,
        "VEC-020",
        "drop_index with an old reference",
    ),
    _m(StoreRole.AUDIT, "forgets-once", ForgetsOnce, "AUD-013"),
    *(
        _m(role, "whispers", whispering(role, method), IDS[role].canaries, "found in the log")
        for role, method in WRITES.items()
    ),
)
