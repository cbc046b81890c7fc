"""The raw store: what the SPI asks for, each verb in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import final

from nexus_core.spi import (
    Body,
    ByteRange,
    ObjectAttributes,
    ObjectInfo,
    ObjectPage,
    ObjectStream,
    Problem,
    RawBackend,
    Runtime,
    Scope,
    SignedUrl,
    UnsupportedError,
    VersionPage,
)
from nexus_gcs import (
    _copy,
    _delete,
    _fast,
    _listing,
    _provision,
    _read,
    _signing,
    _versions,
    _write,
)
from nexus_gcs._config import GcsConfig
from nexus_gcs._engine import Engine
from nexus_gcs._failures import not_found


@final
class GcsStore(RawBackend):
    """Objects in one bucket for all scopes, or in one for each."""

    def __init__(self, config: GcsConfig, runtime: Runtime) -> None:
        self._engine = Engine(config, runtime)

    def put(
        self,
        scope: Scope,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectInfo:
        target = self._engine.target(scope, key)
        condition = _write.Condition.of(target, if_absent=if_absent, if_match=if_match)
        return _write.put(
            self._engine, scope, target, body, attributes=attributes, condition=condition
        )

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        target = self._engine.target(scope, key)
        current = _fast.look(self._engine, target) or _write.find(self._engine, target)
        if current is None:
            raise not_found()
        return current.info

    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> AbstractContextManager[ObjectStream]:
        target = self._engine.target(scope, key)
        return _read.opened(self._engine, target, range, if_match)

    def list(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        delimiter: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        return _listing.page(
            self._engine, scope, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        _delete.delete(self._engine, self._engine.target(scope, key), if_match)

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        """Several at once; each key has an answer of its own."""
        targets = [self._engine.target(scope, key) for key in dict.fromkeys(keys)]
        return _delete.delete_many(self._engine, targets)

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        """The engine rewrites the object over itself; no byte comes here."""
        return _copy.set_system(self._engine, self._engine.target(scope, key), system, if_match)

    def copy(
        self,
        scope: Scope,
        source: str,
        target: str,
        attributes: ObjectAttributes,
        *,
        if_absent: bool = False,
        if_source_match: str | None = None,
    ) -> ObjectInfo:
        return _copy.copy(
            self._engine,
            self._engine.target(scope, source),
            self._engine.target(scope, target),
            attributes,
            if_absent=if_absent,
            if_source_match=if_source_match,
        )

    def presign_get(self, scope: Scope, key: str, *, expires_in: int) -> SignedUrl:
        target = self._engine.target(scope, key)
        return _signing.sign_get(self._engine, target, expires_in)

    def presign_put(
        self,
        scope: Scope,
        key: str,
        *,
        expires_in: int,
        size: int,
        sha256: str,
        content_type: str,
    ) -> SignedUrl:
        return _signing.sign_put(
            self._engine,
            self._engine.target(scope, key),
            expires_in=expires_in,
            size=size,
            sha256=sha256,
            content_type=content_type,
        )

    def list_versions(
        self,
        scope: Scope,
        key: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        self._keeping()
        return _versions.page(self._engine, scope, key, after=after, limit=limit)

    def head_version(self, scope: Scope, key: str, version_id: str) -> ObjectInfo:
        self._keeping()
        return _versions.look(self._engine, self._engine.target(scope, key), version_id).info

    def open_version(
        self, scope: Scope, key: str, version_id: str, *, range: ByteRange | None = None
    ) -> AbstractContextManager[ObjectStream]:
        self._keeping()
        return _versions.opened(self._engine, self._engine.target(scope, key), version_id, range)

    def restore(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectInfo:
        self._keeping()
        target = self._engine.target(scope, key)
        return _versions.restore(
            self._engine, target, version_id, if_absent=if_absent, if_match=if_match
        )

    def set_lock(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        retain_until: int | None = None,
        legal_hold: bool | None = None,
    ) -> ObjectInfo:
        if self._engine.config.object_lock is None:
            raise UnsupportedError("object_lock")
        target = self._engine.target(scope, key)
        return _versions.set_lock(self._engine, target, version_id, retain_until, legal_hold)

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        self._keeping()
        _versions.purge(self._engine, scope, self._engine.target(scope, key), version_ids)

    def _keeping(self) -> None:
        """Refuse what the settings do not ask for, should the core ever let it through."""
        if not self._engine.config.versions:
            raise UnsupportedError("versions")

    def erase(self, scope: Scope) -> int:
        return _delete.erase(self._engine, scope)

    def check(self) -> Sequence[Problem]:
        return _provision.check(self._engine)

    def close(self) -> None:
        self._engine.close()
