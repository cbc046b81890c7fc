"""Backends that take a write whose condition fails for one that was made before.

What it brings is there already, so they say yes: as if its answer had been lost on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    AlreadyExistsError,
    ObjectAttributes,
    ObjectInfo,
    PreconditionFailedError,
    Scope,
)


class Lenient(MemoryRaw):
    """Says yes to a write of one kind that is refused, where it would leave what is there."""

    refusal: type[AlreadyExistsError] | type[PreconditionFailedError]

    def _write(
        self,
        scope: Scope,
        key: str,
        data: bytes,
        attributes: ObjectAttributes,
        **options: Any,
    ) -> ObjectInfo:
        try:
            return super()._write(scope, key, data, attributes, **options)
        except self.refusal:
            found = self.objects.get((scope, key))
            if found is None or (found.data, found.info.attributes) != (data, attributes):
                raise
            return found.info


class CreatesAgain(Lenient):
    """Says yes to a create of a taken key that brings what is there."""

    refusal = AlreadyExistsError


class ReplacesAgain(Lenient):
    """Says yes to a replace of a stale version that brings what is there."""

    refusal = PreconditionFailedError


class CopiesAgain(MemoryRaw):
    """Says yes to a copy that must create, onto a target that is already like it."""

    def copy(
        self, scope: Scope, source: str, target: str, attributes: ObjectAttributes, **options: Any
    ) -> ObjectInfo:
        try:
            return super().copy(scope, source, target, attributes, **options)
        except AlreadyExistsError:
            old, new = self._find(scope, source), self._find(scope, target)
            if (new.data, new.info.attributes) != (old.data, attributes):
                raise
            return new.info


class SetsAgain(MemoryRaw):
    """Says yes to a set_system that names a stale version, where it is what is said already."""

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        try:
            return super().set_system(scope, key, system, if_match=if_match)
        except PreconditionFailedError:
            found = self.objects.get((scope, key))
            if found is None or found.info.attributes.system != system:
                raise
            return found.info


class Digests(MemoryRaw):
    """Knows what every version was like."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.digests: dict[str, str] = {}

    def _write(self, *args: Any, **options: Any) -> ObjectInfo:
        info = super()._write(*args, **options)
        self.digests[info.etag] = info.sha256
        return info

    def current(self, scope: Scope, key: str, etag: str | None) -> str | None:
        """The current version, where that is like the one that is named."""
        found = self.objects.get((scope, key))
        if found is None or self.digests.get(etag or "") != found.info.sha256:
            return etag
        return found.info.etag


class DeletesAlike(Digests):
    """Deletes what is like the version that is named."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        super().delete(scope, key, if_match=self.current(scope, key, if_match))


class OpensAlike(Digests):
    """Opens what is like the version that is named."""

    def open(self, scope: Scope, key: str, *, if_match: str | None = None, **options: Any) -> Any:
        return super().open(scope, key, if_match=self.current(scope, key, if_match), **options)


MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant_of("raw-creates-again", CreatesAgain, "RAW-002", "the very bytes and attributes"),
    mutant_of("raw-replaces-again", ReplacesAgain, "RAW-003", "the very bytes and attributes"),
    mutant_of("raw-deletes-alike", DeletesAlike, "RAW-004", "that was like the current one"),
    mutant_of("raw-copies-again", CopiesAgain, "RAW-016", "the very bytes and attributes"),
    mutant_of("raw-opens-alike", OpensAlike, "RAW-017", "that was like the current one"),
    mutant_of("raw-sets-again", SetsAgain, "RAW-071", "what is there already"),
)
