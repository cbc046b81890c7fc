"""What a store keeps of an object's past: its versions, one of which can be made the object again.

``n.raw`` and erasure share it. Who comes here is admitted and audited; what a store tells of a
history is checked like everything else that it tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, cast, final

import attrs

from nexus_core._handles.checks import MAX_PAGE
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.objects import Objects, RawObject, raw_backend
from nexus_core._model.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionFailedError,
)
from nexus_core._model.objects import ObjectVersion, VersionPage
from nexus_core._security.guard import foreign
from nexus_core._spi.capabilities import RawCapabilities, StoreRole

# How often a restoration looks again at a key that is written under its eyes.
_TRIES: Final = 5
_LONGEST: Final = 1024


@attrs.frozen(kw_only=True)
class RawVersion:
    """One line of an object's history.

    ``current`` is what the key has now; after a deletion no line is. A ``marker`` is the note that
    some engines make of a deletion, and holds nothing.
    """

    version_id: str
    size: int
    modified_at: int
    current: bool
    marker: bool


@attrs.frozen(kw_only=True)
class RawVersionPage:
    """One page of a history, newest first; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[RawVersion, ...]
    cursor: str | None


@final
class History:
    """Versions of one scope's objects, for one request."""

    __slots__ = ("_gate", "_objects")

    def __init__(self, gate: Gate, objects: Objects) -> None:
        self._gate = gate
        self._objects = objects

    @property
    def kept(self) -> bool:
        """Whether there is a raw store that lets its versions be reached."""
        if not self._gate.runtime.has(StoreRole.RAW):
            return False
        return self._capabilities().versions

    def _capabilities(self) -> RawCapabilities:
        store = self._gate.runtime.store(StoreRole.RAW)
        return cast("RawCapabilities", store.spec.capabilities)

    def page(self, key: str | None, *, after: tuple[str, str] | None, limit: int) -> VersionPage:
        """One page of a key's history, or of every key's, each line proved to be this scope's."""

        def run(store: OpenStore) -> VersionPage:
            self._gate.require(store, "versions")
            page = raw_backend(store).list_versions(self._gate.scope, key, after=after, limit=limit)
            for item in page.items:
                self._gate.runtime.guard.admit_name(item.key, item.name)
                if key not in (None, item.key):
                    raise foreign()
            return page

        return self._gate.call(StoreRole.RAW, run)

    def of_every_key(self) -> Iterator[tuple[str, list[ObjectVersion]]]:
        """Every key that has a history, with all of it."""

        def lines() -> Iterator[ObjectVersion]:
            after: tuple[str, str] | None = None
            while True:
                page = self.page(None, after=after, limit=MAX_PAGE)
                yield from page.items
                after = page.next_after
                if after is None:
                    return

        for key, versions in groupby(lines(), key=lambda each: each.key):
            yield key, list(versions)

    def purge(self, key: str, version_ids: Sequence[str]) -> None:
        """Destroy versions and markers for good; see ``RawBackend.purge``."""

        def run(store: OpenStore) -> None:
            self._gate.require(store, "versions")
            raw_backend(store).purge(self._gate.scope, key, version_ids)

        if version_ids:
            self._gate.call(StoreRole.RAW, run)

    def forget(self, key: str) -> None:
        """Destroy all that is kept of a key that is deleted; its markers last."""
        after: tuple[str, str] | None = None
        lines: list[ObjectVersion] = []
        while True:
            page = self.page(key, after=after, limit=MAX_PAGE)
            lines += [each for each in page.items if not each.current]
            after = page.next_after
            if after is None:
                break
        self.purge(key, [each.version_id for each in lines if not each.marker])
        self.purge(key, [each.version_id for each in lines if each.marker])

    def restore(self, key: str, version_id: str, if_match: str | None) -> RawObject:
        """Make a version the object again, unless what the key has now is protected.

        Where the store keeps conditions, exactly what was looked at is replaced.
        """
        wanted = self._objects.info(key, version_id)
        for _ in range(_TRIES):
            condition = self._condition(key, if_match)
            try:
                made = self._gate.call(
                    StoreRole.RAW,
                    lambda store, said=condition: self._objects.admitted(  # type: ignore[misc]
                        raw_backend(store).restore(self._gate.scope, key, version_id, **said), key
                    ),
                )
            except (AlreadyExistsError, PreconditionFailedError):
                if if_match is not None:
                    raise
                # Written since it was looked at: what is there now may be protected.
                continue
            if (made.size, made.sha256) != (wanted.size, wanted.sha256):
                raise IntegrityError("the store restored other bytes than the version's")
            return made
        raise PreconditionFailedError("the object keeps being replaced", hint="try again later")

    def _condition(self, key: str, if_match: str | None) -> dict[str, Any]:
        """What must still hold of the key when a version takes its place."""
        store = self._gate.runtime.store(StoreRole.RAW)
        if if_match is not None:
            self._gate.require(store, "conditional_replace")
        try:
            present = self._objects.head(key)
        except NotFoundError:
            if if_match is not None:
                raise PreconditionFailedError("there is no object under this key") from None
            return {"if_absent": True} if self._capabilities().conditional_create else {}
        present.governance.ensure_deletable(self._gate.now())
        if if_match not in (None, present.etag):
            raise PreconditionFailedError("the object has another version by now")
        return {"if_match": present.etag} if self._capabilities().conditional_replace else {}


def check_version_id(value: object) -> str:
    """Return what could be a version's id; raise ``InvalidArgumentError`` for anything else."""
    if (
        type(value) is str
        and 0 < len(value) <= _LONGEST
        and value.isascii()
        and value.isprintable()
    ):
        return value
    raise InvalidArgumentError("version_id is not the id of a version", hint="see n.raw.versions")
