"""Raw stores whose histories are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryVersions
from nexus_contracts.zoo._mutant import Mutant, variant_harness
from nexus_core.spi import (
    NotFoundError,
    ObjectInfo,
    ObjectVersion,
    Scope,
    StoreRole,
    VersionPage,
)


class ListsPrefix(MemoryVersions):
    """Takes the key of a history for a prefix."""

    def _keys(self, scope: Scope, key: str | None) -> list[str]:
        return [name for name in super()._keys(scope, None) if name.startswith(key or "")]


class OldestFirst(MemoryVersions):
    """Lists the history from its beginning."""

    def _keep(self, scope: Scope, key: str, version: Any) -> None:
        self.history.setdefault((scope, key), []).insert(0, version)


class SkipsBetweenPages(MemoryVersions):
    """Leaves out the first line of every page but the first."""

    def list_versions(self, *args: Any, **options: Any) -> VersionPage:
        page = super().list_versions(*args, **options)
        cut = 0 if options.get("after") is None else 1
        return attrs.evolve(page, items=page.items[cut:])


class AllAreCurrent(MemoryVersions):
    """Says of every version that it is current."""

    def _line(self, *args: Any) -> ObjectVersion:
        return attrs.evolve(super()._line(*args), current=True)


class NewestIsCurrent(MemoryVersions):
    """Says of the newest version that it is current, deleted or not."""

    def _line(self, scope: Scope, key: str, version: Any) -> ObjectVersion:
        line = super()._line(scope, key, version)
        newest = [each for each in self.history[scope, key] if each.found is not None][-1]
        return attrs.evolve(line, current=version.version_id == newest.version_id)


class ForgetsIds(MemoryVersions):
    """Gives the version's id when it is written, and another's when it is asked."""

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        first = self.history.get((scope, key), [])[:1]
        info = super().head(scope, key)
        return attrs.evolve(info, version_id=first[0].version_id if first else None)


class ReadsCurrent(MemoryVersions):
    """Opens what the key has now, whichever version is named."""

    def open_version(self, scope: Scope, key: str, version_id: str, **options: Any) -> Any:
        self._version(scope, key, version_id)
        if (scope, key) not in self.objects:
            return super().open_version(scope, key, version_id, **options)
        return self.open(scope, key, **options)


class UnknownIsCurrent(MemoryVersions):
    """Takes a version that it does not know for the current one."""

    def _version(self, scope: Scope, key: str, version_id: str) -> Any:
        try:
            return super()._version(scope, key, version_id)
        except NotFoundError:
            newest = [each for each in self.history.get((scope, key), ()) if each.found]
            if not newest:
                raise
            return newest[-1].found


class NewAttributes(MemoryVersions):
    """Keeps attributes with the key and not with the version."""

    def head_version(self, scope: Scope, key: str, version_id: str) -> ObjectInfo:
        info = super().head_version(scope, key, version_id)
        newest = [each for each in self.history[scope, key] if each.found is not None][-1]
        return attrs.evolve(info, attributes=newest.found.info.attributes)  # type: ignore[union-attr]


class RestoresInPlace(MemoryVersions):
    """Makes the old version itself the current one."""

    def restore(self, scope: Scope, key: str, version_id: str, **_: Any) -> ObjectInfo:
        found = self._version(scope, key, version_id)
        self.objects[scope, key] = found
        return found.info


class Rewinds(MemoryVersions):
    """Forgets what came after the version that it restores."""

    def restore(self, scope: Scope, key: str, version_id: str, **options: Any) -> ObjectInfo:
        found = self._version(scope, key, version_id)
        kept = self.history[scope, key]
        place = [each.found for each in kept].index(found)
        info = super().restore(scope, key, version_id, **options)
        self.history[scope, key] = [*kept[: place + 1], kept[-1]]
        return info


class RestoresBytesAlone(MemoryVersions):
    """Restores the bytes, under the attributes of the newest version."""

    def restore(self, scope: Scope, key: str, version_id: str, **options: Any) -> ObjectInfo:
        newest = [each.found for each in self.history.get((scope, key), ()) if each.found][-1:]
        found = self._version(scope, key, version_id)
        return self._write(
            scope, key, found.data, newest[0].info.attributes, if_absent=False, **options
        )


class RestoresAnyway(MemoryVersions):
    """Restores without a look at the conditions."""

    def restore(self, scope: Scope, key: str, version_id: str, **_: Any) -> ObjectInfo:
        return super().restore(scope, key, version_id)


class DeletesHistory(MemoryVersions):
    """Deletes a key with all that it was."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        super().delete(scope, key, if_match=if_match)
        self.history.pop((scope, key), None)


class BatchDeletesHistory(MemoryVersions):
    """Deletes several keys with all that they were."""

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        for key in keys:
            self.delete(scope, key)
            self.history.pop((scope, key), None)
        return {}


class ReadsMarkers(MemoryVersions):
    """Takes a marker for the version before it."""

    def _version(self, scope: Scope, key: str, version_id: str) -> Any:
        last = None
        for each in self.history.get((scope, key), ()):
            if each.version_id == version_id and each.found is None and last is not None:
                return last
            last = each.found or last
        return super()._version(scope, key, version_id)


class PurgesKey(MemoryVersions):
    """Purges all that a key was."""

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        every = [each.version_id for each in self.history.get((scope, key), ())]
        super().purge(scope, key, every)


class PurgesNothing(MemoryVersions):
    """Says that it has purged, and has not."""

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        self.ensure_open()


class PurgesAnyKey(MemoryVersions):
    """Purges versions by their ids, whatever key of the scope they are of."""

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        for owner, name in list(self.history):
            if owner == scope:
                super().purge(scope, name, version_ids)


class PurgesAnyScope(MemoryVersions):
    """Purges versions by key and id, whatever scope they are of."""

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        for owner, name in list(self.history):
            if owner == scope or name == key:
                super().purge(owner, name, version_ids if name == key else ())


class EraseKeepsHistory(MemoryVersions):
    """Erases what the keys have now."""

    def erase(self, scope: Scope) -> int:
        kept = dict(self.history)
        count = super().erase(scope)
        self.history = kept
        return count


class EraseKeepsDeleted(MemoryVersions):
    """Erases the history of what is there, and not of what was deleted."""

    def erase(self, scope: Scope) -> int:
        kept = {place: past for place, past in self.history.items() if place not in self.objects}
        count = super().erase(scope)
        self.history |= kept
        return count


class EraseTakesTwins(MemoryVersions):
    """Erases the history of every environment of the tenant."""

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        for place in [p for p in self.history if p[0].tenant_id == scope.tenant_id]:
            del self.history[place]
        return count


class KnowsAnyKey(MemoryVersions):
    """Finds a version of the scope by its id, whatever its key."""

    def _version(self, scope: Scope, key: str, version_id: str) -> Any:
        for owner, name in self.history:
            if owner == scope:
                for each in self.history[owner, name]:
                    if each.version_id == version_id and each.found is not None:
                        return each.found
        raise NotFoundError("no such object")


class KnowsAnyScope(MemoryVersions):
    """Finds a version of the key by its id, whatever its scope."""

    def _version(self, scope: Scope, key: str, version_id: str) -> Any:
        for owner, name in self.history:
            if name == key:
                for each in self.history[owner, name]:
                    if each.version_id == version_id and each.found is not None:
                        return each.found
        raise NotFoundError("no such object")


class TellsForeign(MemoryVersions):
    """Says when a version is another's."""

    def _version(self, scope: Scope, key: str, version_id: str) -> Any:
        every = (each.version_id for past in self.history.values() for each in past)
        if version_id in every:
            mine = (each.version_id for each in self.history.get((scope, key), ()))
            if version_id not in mine:
                raise NotFoundError("no such object for you")
        return super()._version(scope, key, version_id)


class CountsForAll(MemoryVersions):
    """Says how large a history all scopes have together."""

    def _line(self, scope: Scope, key: str, version: Any) -> ObjectVersion:
        line = super()._line(scope, key, version)
        return attrs.evolve(line, size=line.size + sum(map(len, self.history.values())))


def _m(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    return Mutant(
        name=f"raw-{name}",
        role=StoreRole.RAW,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda runtime: kind(runtime.now),
        capabilities={"versions": True},
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("lists-versions-by-prefix", ListsPrefix, "RAW-040", "names another key"),
    _m("oldest-version-first", OldestFirst, "RAW-040", "newest first"),
    _m("skips-versions-between-pages", SkipsBetweenPages, "RAW-040", "newest first"),
    _m("all-versions-are-current", AllAreCurrent, "RAW-040", "versions are current"),
    _m("forgets-version-ids", ForgetsIds, "RAW-040", "another version than its put"),
    _m("reads-the-current-version", ReadsCurrent, "RAW-041", "by its id, a version"),
    _m("unknown-version-is-current", UnknownIsCurrent, "RAW-041", "nobody's version"),
    _m("attributes-by-key", NewAttributes, "RAW-041", "describes another version"),
    _m("restores-in-place", RestoresInPlace, "RAW-042", "made no new version"),
    _m("restore-rewinds", Rewinds, "RAW-042", "took something from the history"),
    _m("restores-bytes-alone", RestoresBytesAlone, "RAW-042", "describe what it restored"),
    _m("restores-anyway", RestoresAnyway, "RAW-042", "which does not hold"),
    _m("deletes-history", DeletesHistory, "RAW-043", "took some of its versions"),
    _m("batch-deletes-history", BatchDeletesHistory, "RAW-043", "took some of its versions"),
    _m("newest-is-current", NewestIsCurrent, "RAW-043", "is current"),
    _m("reads-markers", ReadsMarkers, "RAW-043", "use of a marker"),
    _m("purges-the-key", PurgesKey, "RAW-044", "another history"),
    _m("purges-nothing", PurgesNothing, "RAW-044", "another history"),
    _m("purges-any-key", PurgesAnyKey, "RAW-044", "another history"),
    _m("erase-keeps-history", EraseKeepsHistory, "RAW-045", "something of the history"),
    _m("erase-keeps-deleted", EraseKeepsDeleted, "RAW-045", "something of the history"),
    _m("erase-takes-twins", EraseTakesTwins, "RAW-045", "took from"),
    _m("knows-versions-of-any-key", KnowsAnyKey, "TEN-111", "the version"),
    _m("knows-versions-of-any-scope", KnowsAnyScope, "TEN-111", "the version"),
    _m("tells-foreign-versions", TellsForeign, "TEN-111", "told from nobody's"),
    _m("purges-any-scope", PurgesAnyScope, "TEN-111", "changed the history"),
    _m("counts-versions-for-all", CountsForAll, "TEN-111", "could tell"),
)


class FewerLines(MemoryVersions):
    """Gives at most two lines of a history a page, whatever was asked for."""

    def list_versions(self, *args: Any, limit: int = 1000, **options: Any) -> VersionPage:
        return super().list_versions(*args, limit=min(limit, 2), **options)


class NoMarkers(MemoryVersions):
    """Makes no note of a deletion."""

    def _keep(self, scope: Scope, key: str, version: Any) -> None:
        if version.found is not None:
            super()._keep(scope, key, version)


def _legal(kind: Any) -> BackendHarness:
    return variant_harness(StoreRole.RAW, lambda r: kind(r.now), {"versions": True})


LEGAL: Final[Mapping[str, BackendHarness]] = {
    "raw-versions": _legal(MemoryVersions),
    "raw-versions-in-short-pages": _legal(FewerLines),
    "raw-versions-without-markers": _legal(NoMarkers),
}
