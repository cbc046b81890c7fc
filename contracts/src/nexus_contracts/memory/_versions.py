"""Raw objects in a dictionary that forgets nothing until it is told to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from nexus_contracts.memory._raw import MemoryRaw, StoredObject, chunks_of
from nexus_core.spi import (
    ByteRange,
    NotFoundError,
    ObjectInfo,
    ObjectStream,
    ObjectVersion,
    Scope,
    VersionPage,
    encode_object_name,
)


@attrs.frozen
class StoredVersion:
    """One version, or with nothing ``found`` the marker of a deletion."""

    version_id: str
    at: int
    found: StoredObject | None


class MemoryVersions(MemoryRaw):
    """A raw store that keeps every version in ``history``, by scope and key, oldest first."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.history: dict[tuple[Scope, str], list[StoredVersion]] = {}

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> ObjectInfo:
        with self.lock:
            info = super()._write(scope, key, *args, **options)
            info = attrs.evolve(info, version_id=secrets.token_hex(8))
            found = attrs.evolve(self.objects[scope, key], info=info)
            self.objects[scope, key] = found
            self._keep(scope, key, StoredVersion(str(info.version_id), info.modified_at, found))
        return info

    def _keep(self, scope: Scope, key: str, version: StoredVersion) -> None:
        self.history.setdefault((scope, key), []).append(version)

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        with self.lock:
            was_there = (scope, key) in self.objects
            super().delete(scope, key, if_match=if_match)
            if was_there:
                self._keep(scope, key, StoredVersion(secrets.token_hex(8), self.now(), None))

    def list_versions(
        self,
        scope: Scope,
        key: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        self.ensure_open()
        with self.lock:
            lines = [
                self._line(scope, name, each)
                for name in sorted(self._keys(scope, key), key=str.encode)
                for each in reversed(self.history[scope, name])
            ]
        places = [(line.key, line.version_id) for line in lines]
        start = 0
        if after in places:
            start = places.index(after) + 1
        elif after is not None:
            # Purged since: what is left of that key was newer, or comes with the next listing.
            start = sum(key.encode() <= after[0].encode() for key, _ in places)
        shown = tuple(lines[start : start + limit])
        more = start + limit < len(lines)
        return VersionPage(items=shown, next_after=places[start + limit - 1] if more else None)

    def _keys(self, scope: Scope, key: str | None) -> list[str]:
        """The keys of which a history is asked for."""
        return [name for owner, name in self.history if owner == scope and key in (None, name)]

    def _line(self, scope: Scope, key: str, version: StoredVersion) -> ObjectVersion:
        current = self.objects.get((scope, key))
        return ObjectVersion(
            key=key,
            version_id=version.version_id,
            size=0 if version.found is None else version.found.info.size,
            modified_at=version.at,
            current=current is not None and current.info.version_id == version.version_id,
            marker=version.found is None,
            name=encode_object_name(scope, key),
        )

    def _version(self, scope: Scope, key: str, version_id: str) -> StoredObject:
        for each in self.history.get((scope, key), ()):
            if each.version_id == version_id and each.found is not None:
                return each.found
        raise NotFoundError("no such object")

    def head_version(self, scope: Scope, key: str, version_id: str) -> ObjectInfo:
        self.ensure_open()
        return self._version(scope, key, version_id).info

    @contextmanager
    def open_version(
        self, scope: Scope, key: str, version_id: str, *, range: ByteRange | None = None
    ) -> Iterator[ObjectStream]:
        self.ensure_open()
        found = self._version(scope, key, version_id)
        start, stop = (0, len(found.data)) if range is None else range.resolve(len(found.data))
        yield ObjectStream(found.info, start, stop, chunks_of(found.data[start:stop]))

    def restore(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectInfo:
        self.ensure_open()
        with self.lock:
            found = self._version(scope, key, version_id)
            attributes = found.info.attributes
            return self._write(
                scope, key, found.data, attributes, if_absent=if_absent, if_match=if_match
            )

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        self.ensure_open()
        with self.lock:
            kept = self.history.pop((scope, key), [])
            left = [each for each in kept if each.version_id not in version_ids]
            if left:
                self.history[scope, key] = left

    def erase(self, scope: Scope) -> int:
        with self.lock:
            count = super().erase(scope)
            for place in [each for each in self.history if each[0] == scope]:
                del self.history[place]
        return count
