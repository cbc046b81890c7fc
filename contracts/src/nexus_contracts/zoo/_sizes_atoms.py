"""Atom stores that are right as long as it is little: large batches, bodies, filters and values
are cut, changed, or go to another scope."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryAtoms
from nexus_contracts.zoo._filed import filed_harness, opened
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import (
    In,
    InvalidFilterError,
    Operation,
    Or,
    QuotaExceededError,
    Record,
    RecordPage,
    Remove,
    Scope,
    Step,
    StoreRole,
)

_TENANT: Final = ("dev", "staging", "prod")


class CommitsInParts(MemoryAtoms):
    """Applies a batch by eight thousand operations."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed: list[bool] = []
        for start in range(0, len(operations), 8000):
            changed += super().commit(scope, operations[start : start + 8000])
        return changed


class GetsSome(MemoryAtoms):
    """Looks for five thousand ids, and finds none of the others."""

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        found = super().get(scope, collection, ids[:5000])
        return [*found, *[None] * len(ids[5000:])]


class ErasesSome(MemoryAtoms):
    """Erases the first thousand records of a scope."""

    def erase(self, scope: Scope) -> int:
        later = [place for place in self.records if place[0] == scope][1000:]
        kept = {place: self.records[place] for place in later}
        gone = super().erase(scope)
        self.records |= kept
        return gone


def atoms_writing(change: Any) -> Any:
    """An atom store that changes records before it keeps them."""

    class Writing(MemoryAtoms):
        def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
            given: list[Any] = [
                attrs.evolve(each, record=change(each.record)) if hasattr(each, "record") else each
                for each in operations
            ]
            return super().commit(scope, given)

    return Writing


def _cut(record: Record) -> Record:
    return attrs.evolve(record, body=record.body[: (1 << 20) - 1])


def _half(record: Record) -> Record:
    if len(record.body) > 700_000:
        raise QuotaExceededError("the body is too large")
    return record


def _indexed(record: Record) -> Record:
    # Text is what it reads a body as, and takes less of.
    if len(record.body) > 1_000_000 and record.body.endswith(b"}"):
        raise QuotaExceededError("the text is too large")
    return record


def _texts(change: Any) -> Any:
    def written(record: Record) -> Record:
        fields = {n: change(v) if isinstance(v, str) else v for n, v in record.fields.items()}
        return attrs.evolve(record, fields=fields)

    return written


def _floats(record: Record) -> Record:
    fields = {n: int(float(v)) if type(v) is int else v for n, v in record.fields.items()}
    return attrs.evolve(record, fields=fields)


class FewParameters(MemoryAtoms):
    """Leaves out the values of `in` that its engine has no parameters for."""

    def query(self, scope: Scope, collection: str, where: Any, **options: Any) -> RecordPage:
        if isinstance(where, In):
            where = In(where.field, where.values[:900])
        return super().query(scope, collection, where, **options)


class FewParts(MemoryAtoms):
    """Takes filters of a hundred parts."""

    def query(self, scope: Scope, collection: str, where: Any, **options: Any) -> RecordPage:
        if isinstance(where, Or) and len(where.parts) > 100:
            raise InvalidFilterError("the filter is too long")
        return super().query(scope, collection, where, **options)


class ShortWalks(MemoryAtoms):
    """Walks a hundred edges far."""

    def walk(
        self, scope: Scope, start: Any, direction: Any, *, max_depth: int, limit: int
    ) -> Sequence[Step]:
        return super().walk(scope, start, direction, max_depth=min(max_depth, 100), limit=limit)


class FewStarts(MemoryAtoms):
    """Walks from a thousand ids at most."""

    def walk(self, scope: Scope, start: Any, direction: Any, **options: Any) -> Sequence[Step]:
        return super().walk(scope, start[:1000], direction, **options)


class KeepsABin(MemoryAtoms):
    """Puts what is removed where no call looks, until the scope is erased."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        places = [(scope, e.collection, e.id) for e in operations if isinstance(e, Remove)]
        thrown = {place: self.records[place] for place in places if place in self.records}
        changed = super().commit(scope, operations)
        self.records |= {(scope, "bin", f"{kind}/{n}"): r for (_, kind, n), r in thrown.items()}
        return changed


class KeepsLargeBodies(MemoryAtoms):
    """Finds a large body again by id, version and length."""

    def __init__(self) -> None:
        super().__init__()
        self.large: dict[object, bytes] = {}

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        return [each and self._known(each) for each in super().get(scope, collection, ids)]

    def _known(self, record: Record) -> Record:
        if len(record.body) < 1 << 19:
            return record
        named = (record.collection, record.id, record.version, len(record.body))
        return attrs.evolve(record, body=self.large.setdefault(named, record.body))


class CrowdedErase(MemoryAtoms):
    """Erases a thousand records and more by the tenant."""

    def erase(self, scope: Scope) -> int:
        gone = super().erase(scope)
        for env in _TENANT if gone > 1000 else ():
            super().erase(Scope(scope.tenant_id, env))
        return gone


class CrowdedRemove(MemoryAtoms):
    """Removes a thousand records and more in every environment."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed = super().commit(scope, operations)
        removed = [each for each in operations if isinstance(each, Remove)]
        for env in _TENANT if len(removed) > 1000 else ():
            super().commit(Scope(scope.tenant_id, env), removed)
        return changed


class CrowdedPage(MemoryAtoms):
    """Fills pages of more than a thousand from every environment."""

    def query(self, scope: Scope, collection: str, where: Any, **options: Any) -> RecordPage:
        own = super().query(scope, collection, where, **options)
        if options.get("limit", 1000) <= 1000:
            return own
        found: dict[str, Record] = {}
        for env in _TENANT:
            other = Scope(scope.tenant_id, env)
            page = super().query(other, collection, where, **options)
            found |= {each.id: each for each in page.records}
        return attrs.evolve(own, records=tuple(found[name] for name in sorted(found)))


class CrowdedWalk(MemoryAtoms):
    """Walks from five hundred ids and more through every environment."""

    def walk(self, scope: Scope, start: Any, direction: Any, **options: Any) -> Sequence[Step]:
        envs = (scope.env,) if len(start) < 500 else _TENANT
        walks = [
            super(CrowdedWalk, self).walk(Scope(scope.tenant_id, env), start, direction, **options)
            for env in envs
        ]
        met = sorted((s for walk in walks for s in walk), key=lambda s: (s.depth, s.edge.id))
        return met[: options["limit"]]


def _m(name: str, killed_by: str, says: str, kind: Any, what: str = "") -> Mutant:
    return Mutant(
        name=f"atoms-{name}",
        role=StoreRole.ATOMS,
        what=what or (kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda _: kind(),
    )


def _w(name: str, killed_by: str, says: str, change: Any, what: str) -> Mutant:
    return _m(name, killed_by, says, atoms_writing(change), what)


def in_a_file(role: StoreRole, name: str, killed_by: str, says: str, kind: type) -> Mutant:
    """A mutant whose memory is in a file, where the back door sees it."""
    factory = partial(opened, role, "whole", base=kind)
    made = filed_harness(role, factory)
    return Mutant(
        name=f"{role}-{name}",
        role=role,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda runtime: factory(None, runtime),
        harness={
            "spec": made.spec,
            "back_door": made.back_door,
            "faults": made.faults,
            "survives_reopen": True,
        },
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("commits-in-parts", "ATOM-060", "failed, and left", CommitsInParts),
    _m("gets-some", "ATOM-060", "5000 get no record", GetsSome),
    _m("erases-some", "ATOM-060", "erase left records", ErasesSome),
    _w("cuts-bodies", "ATOM-061", "another from byte 1048575", _cut, "Cuts a byte of a full body."),
    _w("takes-half", "ATOM-061", "is refused", _half, "Refuses bodies that it declares to take."),
    _w("reads-bodies", "ATOM-065", "is refused", _indexed, "Takes less of what looks like text."),
    _w("floats", "ATOM-062", "of a field comes back as", _floats, "Keeps integers as floats."),
    _w(
        *("composes", "ATOM-062", "of a field comes back as"),
        _texts(partial(unicodedata.normalize, "NFC")),
        "Composes texts.",
    ),
    _w(
        *("cuts-texts", "ATOM-062", "of a field comes back as"),
        _texts(lambda text: text.encode()[:1023].decode(errors="ignore")),
        "Cuts texts after 1023 bytes.",
    ),
    _m("few-parameters", "ATOM-063", "a filter by In as large as may be finds", FewParameters),
    _m("few-parts", "ATOM-063", "a filter by Or as large as may be is refused", FewParts),
    _m("short-walks", "ATOM-064", "down a chain met 100", ShortWalks),
    _m("few-starts", "ATOM-064", "a walk up from 10000 ids", FewStarts),
    in_a_file(StoreRole.ATOMS, "keeps-a-bin", "ATOM-066", "still hold what is gone", KeepsABin),
    _m("keeps-large-bodies", "TEN-230", "reads another body of", KeepsLargeBodies),
    _m("crowded-erase", "TEN-231", "took records from", CrowdedErase),
    _m("crowded-remove", "TEN-231", "took records from", CrowdedRemove),
    _m("crowded-page", "TEN-231", "records of other scopes", CrowdedPage),
    _m("crowded-walk", "TEN-231", "edges of other scopes", CrowdedWalk),
)
