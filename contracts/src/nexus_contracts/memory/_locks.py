"""Raw objects in a dictionary whose versions can be locked."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from nexus_contracts.memory._versions import MemoryVersions
from nexus_core.spi import (
    ObjectInfo,
    RetentionError,
    Scope,
)


class MemoryLocks(MemoryVersions):
    """A raw store that destroys no version while its lock lasts."""

    def set_lock(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        retain_until: int | None = None,
        legal_hold: bool | None = None,
    ) -> ObjectInfo:
        self.ensure_open()
        with self.lock:
            found = self._version(scope, key, version_id)
            said = found.info.attributes
            until = self._extended(said.retain_until, retain_until)
            hold = said.legal_hold if legal_hold is None else legal_hold
            said = attrs.evolve(said, retain_until=until, legal_hold=hold)
            made = attrs.evolve(found, info=attrs.evolve(found.info, attributes=said))
            self.history[scope, key] = [
                attrs.evolve(each, found=made) if each.version_id == version_id else each
                for each in self.history[scope, key]
            ]
            current = self.objects.get((scope, key))
            if current is not None and current.info.version_id == version_id:
                self.objects[scope, key] = made
        return made.info

    def _extended(self, there: int | None, wanted: int | None) -> int | None:
        if wanted is None or (there is not None and there > wanted):
            if wanted is not None:
                raise RetentionError("a period is only extended")
            return there
        return wanted

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        self.ensure_open()
        with self.lock:
            kept = {each.version_id for each in self.history.get((scope, key), ())}
            locked = {each for each in kept & {*version_ids} if self._locked(scope, key, each)}
            super().purge(scope, key, [each for each in version_ids if each not in locked])
        if locked:
            raise RetentionError("locks protect some of the versions", ids=(key,))

    def erase(self, scope: Scope) -> int:
        with self.lock:
            held = sorted(
                {
                    key
                    for owner, key in self.history
                    if owner == scope
                    and any(
                        self._locked(scope, key, e.version_id) for e in self.history[owner, key]
                    )
                }
            )
            if held:
                raise RetentionError("locks protect something", ids=held)
            return super().erase(scope)

    def _locked(self, scope: Scope, key: str, version_id: str) -> bool:
        """Whether a version may not be destroyed now."""
        for each in self.history[scope, key]:
            if each.version_id == version_id and each.found is not None:
                said = each.found.info.attributes
                return said.legal_hold or (said.retain_until or 0) > self.now()
        return False
