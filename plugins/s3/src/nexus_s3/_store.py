"""The backend: what the SPI asks for, handed to the module that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import cast, final

import attrs

from nexus_core.spi import (
    Body,
    ByteRange,
    ClosedError,
    ConfigurationError,
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
    encode_object_name,
    object_prefix,
)
from nexus_s3 import _delete, _listing, _locking, _read, _versions
from nexus_s3._config import AWS, S3Config
from nexus_s3._copy import Copier
from nexus_s3._engine import Patience, Target, scope_client
from nexus_s3._parts import Parts
from nexus_s3._presign import Binding, Signer
from nexus_s3._provision import check
from nexus_s3._session import Clients
from nexus_s3._spool import Spool
from nexus_s3._turns import Turns
from nexus_s3._write import ABSENT, FREE, Condition, Writer, expected


@final
class S3Store(RawBackend):
    """Objects in one bucket for all scopes, or in one for each.

    ``runtime.proofs`` is what was proved of the engine (``_prove``); what is not proved is done in
    the way that every engine keeps, and what is disproved is refused.
    """

    def __init__(self, config: S3Config, runtime: Runtime) -> None:
        proofs = runtime.proofs
        self._config = config
        self._proofs = proofs
        self._now = runtime.now
        self._closed = False
        self._lock_mode = config.lock_mode
        self._clients = Clients(config, runtime)
        self._patience = Patience(config.attempts)
        self._spool = Spool(runtime.path(config.spool), config.spool_bytes)
        conditions_on_parts = proofs.get("multipart_conditions") is True
        self._turns = Turns()
        self._parts = Parts(
            self._patience,
            runtime.now,
            workers=config.part_workers,
            part_bytes=config.part_bytes,
            abandoned_seconds=config.abandoned_hours * 3600,
            with_checksum=proofs.get("checksum_sha256") is True,
        )
        self._writer = Writer(
            self._patience,
            self._parts,
            runtime.now,
            multipart_from=config.multipart_from,
            conditions_on_parts=conditions_on_parts,
            locks_on_parts=proofs.get("multipart_locks") is True,
            # Harmless where nothing is known yet: who does not know the header ignores it.
            with_checksum=proofs.get("checksum_sha256") is not False,
        )
        self._copier = Copier(
            self._patience,
            self._writer,
            self._parts,
            self._spool,
            by_engine=conditions_on_parts and proofs.get("copy_source_match") is True,
        )

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
        """Reads the whole body into the spool before anything is sent."""
        if if_absent:
            self._honoured("conditional_create")
        if if_match is not None:
            self._honoured("conditional_replace")
        target = self._target(scope, key)
        with self._spool.filled(body) as spooled:
            if spooled.size >= self._config.multipart_from:
                home = self._config.prefix + object_prefix(scope)
                self._parts.sweep(target.client, target.bucket, home)
            if if_match is None:
                condition = ABSENT if if_absent else FREE
                return self._writer.write(target, spooled, attributes, condition)
            # From the look at the present object to the write: other processes are kept out
            # by the engine's ETag alone, this one's threads in any case.
            with self._turns.at(target.bucket, target.name):
                present = expected(self._patience, target, if_match)
                condition = Condition(if_absent=if_absent, expected=present)
                return self._writer.write(target, spooled, attributes, condition)

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        return _read.head(self._patience, self._target(scope, key)).info

    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> AbstractContextManager[ObjectStream]:
        if range is not None:
            self._honoured("ranges")
        return _read.opened(self._patience, self._target(scope, key), range, if_match)

    def list(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        delimiter: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        """The ``etag`` of a line is the engine's own, which equal bytes share, and
        ``modified_at`` the engine's clock's."""
        home = self._target(scope, "-")
        return _listing.page(
            self._patience,
            home.client,
            home.bucket,
            self._config.prefix,
            scope,
            prefix=prefix,
            delimiter=delimiter,
            after=after,
            limit=limit,
        )

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        if if_match is not None:
            self._honoured("conditional_delete")
        _delete.delete(self._patience, self._target(scope, key), if_match)

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        """Up to a thousand keys take one request."""
        home = self._target(scope, "-")
        names = {key: self._config.prefix + encode_object_name(scope, key) for key in keys}
        return _delete.delete_many(self._patience, home.client, home.bucket, names)

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
        if if_absent:
            self._honoured("conditional_create")
        return self._copier.copy(
            self._target(scope, source),
            self._target(scope, target),
            attributes,
            if_absent=if_absent,
            if_source_match=if_source_match,
        )

    def presign_get(self, scope: Scope, key: str, *, expires_in: int) -> SignedUrl:
        self._honoured("presign_get")
        expires_at = self._now() + expires_in * 1_000_000
        url = self._signer(scope, key, expires_in).get(expires_in)
        return SignedUrl(method="GET", url=url, headers={}, expires_at=expires_at)

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
        self._honoured("presign_put")
        expires_at = self._now() + expires_in * 1_000_000
        attributes = ObjectAttributes(content_type=content_type, metadata={}, system={})
        usual = "checksum" if self._config.endpoint == AWS else "payload"
        url, headers = self._signer(scope, key, expires_in).put(
            expires_in,
            size=size,
            sha256=sha256,
            content_type=content_type,
            metadata=self._writer.sealed(sha256, attributes).header(),
            binding=cast("Binding", self._proofs.get("presign_put_by", usual)),
        )
        return SignedUrl(method="PUT", url=url, headers=headers, expires_at=expires_at)

    def list_versions(
        self,
        scope: Scope,
        key: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        return _versions.page(self._patience, self._past(scope), key, after=after, limit=limit)

    def head_version(self, scope: Scope, key: str, version_id: str) -> ObjectInfo:
        self._honoured("versions")
        return _versions.look(self._patience, self._target(scope, key), version_id).info

    def open_version(
        self, scope: Scope, key: str, version_id: str, *, range: ByteRange | None = None
    ) -> AbstractContextManager[ObjectStream]:
        self._honoured("versions")
        return _versions.opened(self._patience, self._target(scope, key), version_id, range)

    def restore(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectInfo:
        self._honoured("versions")
        if if_absent:
            self._honoured("conditional_create")
        target = self._target(scope, key)
        old = _versions.look(self._patience, target, version_id)
        source = attrs.evolve(target, version=version_id)
        with ExitStack() as stack:
            present = None
            if if_match is not None:
                self._honoured("conditional_replace")
                stack.enter_context(self._turns.at(target.bucket, target.name))
                present = expected(self._patience, target, if_match)
            condition = Condition(if_absent=if_absent, expected=present)
            return self._copier.carried(source, old, target, old.info.attributes, condition)

    def set_lock(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        retain_until: int | None = None,
        legal_hold: bool | None = None,
    ) -> ObjectInfo:
        self._honoured("object_lock")
        if self._config.object_lock is None:
            raise UnsupportedError("object_lock")
        target = self._target(scope, key)
        return _locking.set_lock(
            self._patience,
            attrs.evolve(target, version=version_id),
            lambda: _versions.look(self._patience, target, version_id).info,
            retain_until=retain_until,
            legal_hold=legal_hold,
        )

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        _versions.purge(self._patience, self._past(scope), key, version_ids)

    def erase(self, scope: Scope) -> int:
        """With the store's own credentials, also where scopes have sessions: not every engine lets
        a session see its unfinished uploads."""
        place = _versions.Place(
            client=self._clients.own(),
            bucket=self._bucket(scope),
            root=self._config.prefix,
            scope=scope,
        )
        return _delete.erase(
            self._patience,
            place.client,
            place.bucket,
            place.root + object_prefix(scope),
            partial(_versions.key_of, place),
        )

    def check(self) -> Sequence[Problem]:
        self._ready()
        return check(self._config, self._clients, self._spool.folder, self._patience)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._parts.close()
            self._clients.close()

    def _ready(self) -> None:
        if self._closed:
            raise ClosedError("the store is closed")

    def _honoured(self, capability: str) -> None:
        """Refuse what the engine is known not to honour, should the core ever let it through."""
        if self._proofs.get(capability) is False:
            raise UnsupportedError(capability)

    def _bucket(self, scope: Scope) -> str:
        self._ready()
        bucket = self._config.bucket_of(scope)
        if bucket is None:
            raise ConfigurationError(
                [
                    Problem(
                        path="buckets",
                        what="this scope has no bucket",
                        fix='add "tenant/env" = "bucket", then run `nexus init`',
                        code="store.bucket",
                    )
                ]
            )
        return bucket

    def _past(self, scope: Scope) -> _versions.Place:
        self._honoured("versions")
        home = self._target(scope, "-")
        return _versions.Place(
            client=home.client, bucket=home.bucket, root=self._config.prefix, scope=scope
        )

    def _target(self, scope: Scope, key: str) -> Target:
        bucket = self._bucket(scope)
        name = self._config.prefix + encode_object_name(scope, key)
        client = scope_client(self._clients.of, scope)
        return Target(client, bucket, name, key, None, self._lock_mode)

    def _signer(self, scope: Scope, key: str, seconds: int) -> Signer:
        bucket = self._bucket(scope)
        client, held = scope_client(lambda each: self._clients.signing(each, seconds), scope)
        return Signer(
            client=client,
            credentials=held,
            bucket=bucket,
            name=self._config.prefix + encode_object_name(scope, key),
            region=self._config.region,
        )
