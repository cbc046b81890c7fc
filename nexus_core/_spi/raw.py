"""The raw store role: immutable-by-default objects under keys, streamed and checksummed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import attrs

from nexus_core._model.errors import (
    ChecksumMismatchError,
    IntegrityError,
    NotFoundError,
    PreconditionFailedError,
    StoreError,
    UnsupportedError,
)
from nexus_core._model.objects import (
    Body,
    ByteRange,
    ObjectAttributes,
    ObjectInfo,
    ObjectPage,
    SignedUrl,
    VersionPage,
)
from nexus_core._model.scope import Scope
from nexus_core._spi.backend import Backend


@attrs.frozen
class ObjectStream:
    """An opened object: what it is, where the bytes begin, and the bytes.

    ``chunks`` yields exactly ``stop - start`` bytes of one pinned version, or raises
    ``IntegrityError`` or ``PreconditionFailedError``; it never mixes two versions.
    """

    info: ObjectInfo
    start: int
    stop: int
    chunks: Iterator[bytes]


class RawBackend(Backend):
    """Objects under keys. Keys, prefixes and attributes have passed the core's grammar.

    What is always promised: a ``put`` is atomic (readers see the old object, the new one, never a
    part; a body that raises leaves nothing), durable when it returns, and bytes, attributes and
    SHA-256 become visible together. Listing is complete and in UTF-8 byte order of the keys.
    """

    @abstractmethod
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
        """Store an object atomically and durably; return what was stored.

        Iterates ``body`` exactly once, to its end, before anything is visible; the iteration may
        raise (``ChecksumMismatchError`` among others), and then nothing is. It may call this store
        for another scope, in the same thread: hold nothing meanwhile that such a call waits for.

        With ``if_absent`` raises ``AlreadyExistsError`` when the key is taken; with ``if_match``
        raises ``PreconditionFailedError`` unless the current ETag is that one (also when there is
        none). Exactly one of several racing conditional writers succeeds.
        """

    @abstractmethod
    def head(self, scope: Scope, key: str) -> ObjectInfo:
        """Return what is known of an object; raise ``NotFoundError`` when there is none."""

    @abstractmethod
    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> AbstractContextManager[ObjectStream]:
        """Open one version of an object for reading; all chunks come from that version.

        Raises ``NotFoundError``, ``RangeNotSatisfiableError`` (see ``ByteRange.resolve``), or
        ``PreconditionFailedError`` when the current ETag is not ``if_match``.
        """

    @abstractmethod
    def list(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        delimiter: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        """List keys that begin with ``prefix`` and come after ``after``, in UTF-8 byte order.

        With ``delimiter`` (only ``"/"``), keys that have it past the prefix are rolled up into
        ``prefixes``, which count towards ``limit`` and sort among the keys. Pages may be short;
        ``next_after`` says where to continue and is ``None`` only when nothing is left.
        """

    @abstractmethod
    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        """Delete an object. Idempotent: an absent key is not an error.

        With ``if_match``, raises ``PreconditionFailedError`` unless that is the current ETag.
        """

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        """Delete every key; return the error code of each that could not be, empty if none.

        Never interprets a key as a pattern. This default deletes them one by one.
        """
        failed: dict[str, str] = {}
        for key in keys:
            try:
                self.delete(scope, key)
            except StoreError as error:
                failed[key] = error.code
        return failed

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        """Replace the system metadata of an object, atomically and durably; return what it is now.

        Bytes, SHA-256, content type, metadata and the engine's own lock stay as they are; the ETag
        becomes another, and where versions are kept there may be a new one. Raises
        ``PreconditionFailedError`` unless the current ETag is ``if_match``, also where there is no
        object. Exactly one of several racing writers that name one ETag succeeds, ``put`` among
        them. Only for stores with ``conditional_replace``. This default writes the whole object
        anew.
        """
        failure: StoreError
        try:
            with self.open(scope, key, if_match=if_match) as stream:
                found = stream.info
                body = Body(stream.chunks, sha256=found.sha256, size=found.size)
                attributes = attrs.evolve(found.attributes, system=dict(system))
                return self.put(scope, key, body, attributes, if_match=if_match)
        except NotFoundError:
            failure = PreconditionFailedError("there is no object under this key")
        except ChecksumMismatchError:
            failure = IntegrityError("the stored bytes are not those that were written")
        raise failure

    def set_lock(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        retain_until: int | None = None,
        legal_hold: bool | None = None,
    ) -> ObjectInfo:
        """Set the engine's own lock of one version, current or not; durable when it returns.
        Capability ``object_lock``, which takes ``versions``.

        What is not said stays as it is. ``retain_until`` (µs) may be rounded up by the engine, at
        most by a second; a time before the one that the version has raises ``RetentionError``.
        Raises ``NotFoundError`` as ``head_version``.

        A store with the capability gives an object the lock in its ``ObjectAttributes`` by the very
        request that makes it (``put``, ``copy``, ``restore``), tells the engine's own in
        ``ObjectInfo``, and destroys nothing that is locked: ``purge`` and ``erase`` raise
        ``RetentionError``; ``put`` and ``delete`` do, or leave the version in the history.
        """
        raise UnsupportedError("object_lock")

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
        """Copy inside the scope, atomically, with new attributes. Capability ``copy``."""
        raise UnsupportedError("copy")

    def presign_get(self, scope: Scope, key: str, *, expires_in: int) -> SignedUrl:
        """Sign a GET of exactly this key for ``expires_in`` seconds. Capability ``presign_get``."""
        raise UnsupportedError("presign_get")

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
        """Sign a PUT that binds key, size, SHA-256 and type. Capability ``presign_put``.

        The engine itself refuses a request that differs in one of them, and one after
        ``expires_in`` seconds. What was uploaded is an object like any other: ``head``, ``open``,
        ``copy`` and ``list`` know it, with the SHA-256 of its stored bytes, the content type, and
        no metadata and no system metadata. ``copy`` gives it the attributes that it is told.
        """
        raise UnsupportedError("presign_put")

    # -- capability ``versions``: every write and deletion leaves what was there in a history -----

    def list_versions(
        self,
        scope: Scope,
        key: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        """List the history of a key, or of every key that has one, also where it is deleted.

        Keys in UTF-8 byte order, the versions of each newest first; a marker's place among versions
        of the same second is the engine's affair. ``after`` is the ``next_after`` of an earlier
        page; pages may be short.
        """
        raise UnsupportedError("versions")

    def head_version(self, scope: Scope, key: str, version_id: str) -> ObjectInfo:
        """Return what is known of one version, current or not.

        Raises ``NotFoundError`` for a marker, and for whatever is no version of this key of this
        scope: another's id, one that was purged, any text.
        """
        raise UnsupportedError("versions")

    def open_version(
        self, scope: Scope, key: str, version_id: str, *, range: ByteRange | None = None
    ) -> AbstractContextManager[ObjectStream]:
        """Open one version for reading; see ``open`` and ``head_version``."""
        raise UnsupportedError("versions")

    def restore(
        self,
        scope: Scope,
        key: str,
        version_id: str,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectInfo:
        """Make an old version the object again, atomically: a new version with its bytes, SHA-256
        and attributes. Takes nothing from the history.

        The conditions are those of ``put``, on what the key has now. Raises as ``head_version``.
        """
        raise UnsupportedError("versions")

    def purge(self, scope: Scope, key: str, version_ids: Sequence[str]) -> None:
        """Destroy these versions and markers of a key for good. Idempotent: what is not a version
        of this key of this scope is passed over.

        Not for the current version, nor for a deletion's marker before the versions it covers:
        engines differ in what the key has then. Raises ``RetentionError``, with the key as its
        ``ids``, for what the engine's own lock protects.
        """
        raise UnsupportedError("versions")

    @abstractmethod
    def erase(self, scope: Scope) -> int:
        """Delete everything the scope has, versions and unfinished uploads too; count objects.

        Idempotent. When it returns nothing of the scope is readable, and no other scope changed.
        Where the engine's own lock protects something it raises ``RetentionError``, whose ``ids``
        are keys; other things may be gone.
        """
