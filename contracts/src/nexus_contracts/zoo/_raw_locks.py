"""Raw stores that change what is said of an object, or lock it, wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryLocks, MemoryRaw
from nexus_contracts.zoo._mutant import Mutant, variant_harness
from nexus_core.spi import (
    Body,
    NotFoundError,
    ObjectInfo,
    RawBackend,
    RetentionError,
    Scope,
    StoreRole,
)


class TellsOnly(MemoryRaw):
    """Says that system metadata was replaced, and keeps the old."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        before = self.objects.get((scope, key))
        info = super().set_system(scope, key, system, if_match=if_match)
        assert before is not None
        said = attrs.evolve(info, attributes=before.info.attributes)
        self.objects[scope, key] = attrs.evolve(before, info=said)
        return info


class MergesSystem(MemoryRaw):
    """Adds to the system metadata, and takes nothing away."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        found = self.objects.get((scope, key))
        before = {} if found is None else found.info.attributes.system
        return super().set_system(scope, key, {**before, **system}, if_match=if_match)


class LosesMetadata(MemoryRaw):
    """Replaces the caller's metadata with the system's."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        info = super().set_system(scope, key, system, if_match=if_match)
        bare = attrs.evolve(info, attributes=attrs.evolve(info.attributes, metadata={}))
        self.objects[scope, key] = attrs.evolve(self.objects[scope, key], info=bare)
        return bare


class CutsBytes(MemoryRaw):
    """Writes the first block anew."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        with self.open(scope, key, if_match=if_match) as stream:
            said = attrs.evolve(stream.info.attributes, system=dict(system))
            data = next(stream.chunks, b"")
        return self.put(scope, key, Body(data), said, if_match=if_match)


class AnyVersion(MemoryRaw):
    """Replaces system metadata whichever version was named."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        found = self.objects.get((scope, key))
        etag = if_match if found is None else found.info.etag
        return super().set_system(scope, key, system, if_match=etag)


class KeepsETag(MemoryRaw):
    """Replaces system metadata in place, under the ETag that it had."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        info = super().set_system(scope, key, system, if_match=if_match)
        same = attrs.evolve(info, etag=if_match)
        self.objects[scope, key] = attrs.evolve(self.objects[scope, key], info=same)
        return same


class LooksThenChanges(MemoryRaw):
    """Looks at the version, and changes whatever is there by then."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        found = self.objects.get((scope, key))
        if found is None or found.info.etag != if_match:
            return super().set_system(scope, key, system, if_match=if_match)
        said = attrs.evolve(found.info.attributes, system=dict(system))
        return self._write(scope, key, found.data, said, if_absent=False)


class PutsUnlocked(MemoryLocks):
    """Forgets the lock that an object is put with."""

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        plain = attrs.evolve(attributes, retain_until=None, legal_hold=False)
        return super().put(scope, key, body, plain, **options)


class CopiesUnlocked(MemoryLocks):
    """Forgets the lock that a copy is made with."""

    def copy(
        self, scope: Scope, source: str, target: str, attributes: Any, **options: Any
    ) -> ObjectInfo:
        plain = attrs.evolve(attributes, retain_until=None, legal_hold=False)
        return super().copy(scope, source, target, plain, **options)


class CopiesTheLock(MemoryLocks):
    """Gives a copy the lock of its source."""

    def copy(
        self, scope: Scope, source: str, target: str, attributes: Any, **options: Any
    ) -> ObjectInfo:
        there = self._find(scope, source).info.attributes
        same = attrs.evolve(
            attributes, retain_until=there.retain_until, legal_hold=there.legal_hold
        )
        return super().copy(scope, source, target, same, **options)


class HoldsOnly(MemoryLocks):
    """Takes a hold and drops the period."""

    def _write(self, scope: Scope, key: str, data: bytes, attributes: Any, **options: Any) -> Any:
        attributes = attrs.evolve(attributes, retain_until=None)
        return super()._write(scope, key, data, attributes, **options)


class RestoresUnlocked(MemoryLocks):
    """Makes an old version the object again without its lock."""

    def restore(self, scope: Scope, key: str, version_id: str, **options: Any) -> ObjectInfo:
        made = super().restore(scope, key, version_id, **options)
        return self.set_lock(scope, key, str(made.version_id), legal_hold=False)


class LocksTheCurrent(MemoryLocks):
    """Locks what the key has now, whichever version is named."""

    def set_lock(self, scope: Scope, key: str, version_id: str, **wish: Any) -> ObjectInfo:
        self._version(scope, key, version_id)
        return super().set_lock(scope, key, str(self.head(scope, key).version_id), **wish)


class LocksOfAnyKey(MemoryLocks):
    """Finds a version to lock under any key of any scope."""

    def set_lock(self, scope: Scope, key: str, version_id: str, **wish: Any) -> ObjectInfo:
        for (owner, name), past in self.history.items():
            if any(each.version_id == version_id for each in past):
                return super().set_lock(owner, name, version_id, **wish)
        return super().set_lock(scope, key, version_id, **wish)


class NeverLifts(MemoryLocks):
    """Takes a hold and never gives it back."""

    def set_lock(self, *place: Any, legal_hold: bool | None = None, **wish: Any) -> ObjectInfo:
        return super().set_lock(*place, legal_hold=legal_hold or None, **wish)


class OneWish(MemoryLocks):
    """Takes what was not said for no."""

    def set_lock(self, *place: Any, legal_hold: bool | None = None, **wish: Any) -> ObjectInfo:
        return super().set_lock(*place, legal_hold=bool(legal_hold), **wish)


class Shortens(MemoryLocks):
    """Shortens a period as it is told."""

    def _extended(self, there: int | None, wanted: int | None) -> int | None:
        return there if wanted is None else wanted


class PurgesLocked(MemoryLocks):
    """Keeps a lock from being passed over by erasing, but not by purging."""

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        super(MemoryLocks, self).purge(scope, key, version_ids)


class ErasesLocked(MemoryLocks):
    """Erases what is locked with everything else."""

    def erase(self, scope: Scope) -> int:
        return super(MemoryLocks, self).erase(scope)


class ReplacesLocked(MemoryLocks):
    """Has a put take the place of a locked version in the history too."""

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> ObjectInfo:
        before = self.objects.get((scope, key))
        info = super()._write(scope, key, *args, **options)
        if before is not None and before.info.attributes.legal_hold:
            self.history[scope, key] = self.history[scope, key][-1:]
        return info


class NamesNoKey(MemoryLocks):
    """Says that something is locked, and not what."""

    def erase(self, scope: Scope) -> int:
        try:
            return super().erase(scope)
        except RetentionError:
            raise RetentionError("something is locked") from None


class LocksEverywhere(MemoryLocks):
    """Erases nobody while anybody has something locked."""

    def erase(self, scope: Scope) -> int:
        for owner, key in self.history:
            for each in self.history[owner, key]:
                if self._locked(owner, key, each.version_id):
                    raise RetentionError("something is locked", ids=(key,))
        return super().erase(scope)


def _m(name: str, kind: Any, killed_by: str, says: str, **capabilities: bool) -> Mutant:
    return Mutant(
        name=f"raw-{name}",
        role=StoreRole.RAW,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda runtime: kind(runtime.now),
        capabilities=capabilities,
    )


def _l(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    return _m(name, kind, killed_by, says, versions=True, object_lock=True)


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("tells-new-system", TellsOnly, "RAW-070", "another object than head"),
    _m("merges-system", MergesSystem, "RAW-070", "not what it was replaced by"),
    _m("loses-metadata", LosesMetadata, "RAW-070", "changed something else"),
    _m("set-system-cuts", CutsBytes, "RAW-070", "changed something else"),
    _m("sets-system-of-any", AnyVersion, "RAW-071", "names a stale version"),
    _m("set-system-keeps-etag", KeepsETag, "RAW-071", "left the ETag as it was"),
    _m("looks-then-sets-system", LooksThenChanges, "RAW-072", "who named the same version"),
    _l("puts-unlocked", PutsUnlocked, "RAW-073", "the lock that it was given"),
    _l("copies-unlocked", CopiesUnlocked, "RAW-073", "the lock that it was given"),
    _l("copies-the-lock", CopiesTheLock, "RAW-073", "the lock that it was given"),
    _l("holds-only", HoldsOnly, "RAW-073", "the lock that it was given"),
    _l("restores-unlocked", RestoresUnlocked, "RAW-073", "restore of"),
    _l("locks-the-current", LocksTheCurrent, "RAW-074", "an old version"),
    _l("locks-of-any-key", LocksOfAnyKey, "RAW-074", "no version of the key"),
    _l("never-lifts", NeverLifts, "RAW-074", "the lock that it was given"),
    _l("unsaid-is-no", OneWish, "RAW-074", "the lock that it was given"),
    _l("shortens", Shortens, "RAW-074", "a shorter period"),
    _l("purges-locked", PurgesLocked, "RAW-075", "purge of a locked version"),
    _l("erases-locked", ErasesLocked, "RAW-075", "erase of a scope with a locked version"),
    _l("replaces-locked", ReplacesLocked, "RAW-075", "not what it was after a put"),
    _l("names-no-locked-key", NamesNoKey, "RAW-075", "does not name the key"),
    _l("locks-everywhere", LocksEverywhere, "RAW-075", "erase"),
)


class RefusesToReplace(MemoryLocks):
    """Neither replaces nor deletes what is locked, as some engines do."""

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> Any:
        with self.lock:
            self._refuse(scope, key)
            return super()._write(scope, key, *args, **options)

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        with self.lock:
            self._refuse(scope, key)
            super().delete(scope, key, if_match=if_match)

    def _refuse(self, scope: Scope, key: str) -> None:
        try:
            version = str(self.head(scope, key).version_id)
        except NotFoundError:
            return
        if self._locked(scope, key, version):
            raise RetentionError("it is locked", ids=(key,))


class WholeSeconds(MemoryLocks):
    """Rounds a period up to a whole second."""

    def _write(self, scope: Scope, key: str, data: bytes, attributes: Any, **options: Any) -> Any:
        until = attributes.retain_until
        if until is not None:
            attributes = attrs.evolve(attributes, retain_until=-(-until // 1_000_000) * 1_000_000)
        return super()._write(scope, key, data, attributes, **options)

    def _extended(self, there: int | None, wanted: int | None) -> int | None:
        whole = None if wanted is None else -(-wanted // 1_000_000) * 1_000_000
        return super()._extended(there, whole)


class WritesAnew(MemoryRaw):
    """Changes system metadata in the interface's own way."""

    set_system = RawBackend.set_system


def _locking(kind: Any) -> BackendHarness:
    declared = {"versions": True, "object_lock": True}
    return variant_harness(StoreRole.RAW, lambda r: kind(r.now), declared)


LEGAL: Final[Mapping[str, BackendHarness]] = {
    "raw-locks": _locking(MemoryLocks),
    "raw-locks-refuse-to-replace": _locking(RefusesToReplace),
    "raw-locks-by-the-second": _locking(WholeSeconds),
    "raw-set-system-by-default": variant_harness(StoreRole.RAW, lambda r: WritesAnew(r.now)),
}
