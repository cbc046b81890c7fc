"""``n.raw``: objects under keys, for applications."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, Literal, final

import attrs

from nexus_core._handles.checks import MAX_PAGE, check_limit, check_many
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.history import (
    History,
    RawVersion,
    RawVersionPage,
    check_version_id,
)
from nexus_core._handles.ledger import Ledger, by_owner
from nexus_core._handles.objects import (
    Objects,
    RawObject,
    RawStream,
    check_media_type,
    check_metadata,
    object_of,
    raw_backend,
)
from nexus_core._handles.protection import Protecting, Protection
from nexus_core._handles.uploads import PresignedUpload, Uploads
from nexus_core._model.errors import (
    InvalidArgumentError,
    InvalidKeyError,
    NotFoundError,
    PreconditionFailedError,
    QuotaExceededError,
)
from nexus_core._model.keys import RESERVED_ROOT, check_prefix, check_user_key
from nexus_core._model.objects import Body, BodySource, ByteRange, ObjectAttributes, SignedUrl
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

DEFAULT_MAX_BYTES: Final = 64 << 20
MAX_PRESIGN_SECONDS: Final = 3600

_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class RawContent:
    """An object's bytes, whole or a range, and what it is."""

    object: RawObject
    data: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class RawListing:
    """One line of a listing; ``head`` tells the rest."""

    key: str
    size: int
    etag: str
    modified_at: int


@attrs.frozen(kw_only=True)
class RawPage:
    """One page of a listing in UTF-8 byte order; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[RawListing, ...]
    prefixes: tuple[str, ...]
    cursor: str | None


@final
class RawHandle:
    """Objects of one scope. Made by ``Nexus.request``; every call is admitted and audited."""

    __slots__ = ("_gate", "_history", "_ledger", "_objects", "_uploads")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._objects = Objects(gate)
        self._history = History(gate, self._objects)
        self._uploads = Uploads(gate, self._objects)

    def put(
        self,
        key: str,
        body: BodySource,
        *,
        kind: str,
        space: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
        retain_until: int | None = None,
        legal_hold: bool = False,
        size: int | None = None,
        sha256: str | None = None,
        if_match: str | None = None,
    ) -> RawObject:
        """Store an object: atomic, durable when it returns, checksummed end to end.

        Creates by default: a key that is taken raises ``AlreadyExistsError``. With ``if_match`` it
        replaces exactly that version, else ``PreconditionFailedError``. ``body`` is bytes, a binary
        file, or an iterable of bytes of any length; if it raises, nothing is stored. A declared
        ``size`` or ``sha256`` (64 hex digits) that turns out wrong raises
        ``ChecksumMismatchError`` and nothing is stored.
        """
        check_user_key(key)
        governance = Governance.build(
            self._gate.context,
            self._gate.deployment.config.kinds,
            kind=kind,
            space=space,
            pii_flags=pii_flags,
            train_ok=train_ok,
            retain_until=retain_until,
            legal_hold=legal_hold,
        )
        attributes = ObjectAttributes(
            content_type=check_media_type(content_type),
            metadata=check_metadata({} if metadata is None else metadata),
            system={},
        )
        if sha256 is not None and (type(sha256) is not str or not _SHA256.fullmatch(sha256)):
            raise InvalidArgumentError("sha256 is not 64 lower-case hex digits")
        if size is not None and (type(size) is not int or size < 0):
            raise InvalidArgumentError("size is not a number of bytes")
        limit = self._gate.deployment.config.limits.max_object_bytes
        source = Body(body, sha256=sha256, size=size, limit=limit)
        with self._ledger.telling(
            Action.RAW_PUT, StoreRole.RAW, (key,), kind=governance.kind, space=governance.space
        ) as mutation:
            if if_match is not None:
                store = self._gate.runtime.store(StoreRole.RAW)
                self._gate.require(store, "conditional_replace")
                found = self._objects.head(key)
                found.governance.ensure_deletable(self._gate.now())
                if found.etag != if_match:
                    raise PreconditionFailedError("the object has another version by now")
            stored = self._objects.store(key, source, attributes, governance, if_match=if_match)
            self._ledger.told(mutation, Action.RAW_PUT, [(governance, (), (key,))])
        return stored

    def head(self, key: str, *, version_id: str | None = None) -> RawObject:
        """Return what is known of an object, or of one version of it; raises ``NotFoundError``.

        A version takes the permission for ``versions``, and the capability.
        """
        action, ids = self._asked(Action.RAW_HEAD, key, version_id)
        try:
            found = object_of(self._objects.info(key, version_id))
        except NotFoundError as error:
            self._gate.missed(action, StoreRole.RAW, ids, error)
            raise
        self._gate.accessed(action, StoreRole.RAW, ids)
        return found

    def get(
        self,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
        version_id: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> RawContent:
        """Read an object, or a range of it, into memory; whole reads are checked by SHA-256.

        With ``version_id`` reads that version, current or not, as ``head`` does. Raises
        ``NotFoundError``, ``RangeNotSatisfiableError``, ``PreconditionFailedError``,
        ``QuotaExceededError`` when more than ``max_bytes`` would have to be held, and
        ``IntegrityError`` when the bytes are not those that were written.
        """
        action, ids = self._asked(Action.RAW_GET, key, version_id, if_match)
        with (
            self._gate.reading(action, StoreRole.RAW, ids),
            self._objects.opened(key, range=range, if_match=if_match, version_id=version_id) as (
                stream,
                length,
            ),
        ):
            if length > max_bytes:
                raise QuotaExceededError(
                    "the object is larger than max_bytes",
                    hint="raise max_bytes, ask for a range, or use open() to stream it",
                )
            data = b"".join(stream.chunks)
        self._gate.accessed(action, StoreRole.RAW, ids)
        return RawContent(object=stream.object, data=data)

    @contextmanager
    def open(
        self,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
        version_id: str | None = None,
    ) -> Iterator[RawStream]:
        """Open an object for streaming: all chunks come from one version.

        The last chunk of a whole read is released only after the SHA-256 of all was checked.
        Raises as ``get`` does, also while iterating.
        """
        action, ids = self._asked(Action.RAW_GET, key, version_id, if_match)
        with ExitStack() as stack:
            with self._gate.reading(action, StoreRole.RAW, ids):
                opened = self._objects.opened(
                    key, range=range, if_match=if_match, version_id=version_id
                )
                stream, _ = stack.enter_context(opened)
            self._gate.accessed(action, StoreRole.RAW, ids)
            yield attrs.evolve(stream, chunks=self._while_alive(stream.chunks))

    def _asked(
        self, action: Action, key: str, version_id: str | None, if_match: str | None = None
    ) -> tuple[Action, tuple[str, ...]]:
        """Admit a read; gives the action that it is, and the ids for the trail."""
        check_user_key(key)
        ids: tuple[str, ...] = (key,)
        if version_id is not None:
            if if_match is not None:
                raise InvalidArgumentError("name a version by version_id or by if_match, not both")
            action, ids = Action.RAW_VERSIONS, (key, check_version_id(version_id))
        self._gate.admit(action, ids)
        return action, ids

    def _while_alive(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        self._gate.ensure_alive()
        for chunk in chunks:
            yield chunk
            self._gate.ensure_alive()

    def get_ranges(
        self, key: str, ranges: Sequence[ByteRange], *, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> builtins.list[bytes]:
        """Read several ranges of one version of an object; all or none are returned. At most
        10 000 a call."""
        check_user_key(key)
        check_many(ranges, "ranges")
        self._gate.admit(Action.RAW_GET, (key,))
        out: list[bytes] = []
        etag: str | None = None
        with self._gate.reading(Action.RAW_GET, StoreRole.RAW, (key,)):
            for wanted in ranges:
                with self._objects.opened(key, range=wanted, if_match=etag) as (stream, length):
                    etag = stream.object.etag
                    max_bytes -= length
                    if max_bytes < 0:
                        raise QuotaExceededError("the ranges hold more than max_bytes")
                    out.append(b"".join(stream.chunks))
        self._gate.accessed(Action.RAW_GET, StoreRole.RAW, (key,))
        return out

    def list(
        self,
        prefix: str = "",
        *,
        delimiter: Literal["/"] | None = None,
        cursor: str | None = None,
        limit: int = MAX_PAGE,
    ) -> RawPage:
        """List keys that begin with ``prefix``, in UTF-8 byte order, a page at a time.

        With ``delimiter`` keys are rolled up into ``prefixes``. Continue with the page's
        ``cursor``, which only this listing in this scope accepts (``InvalidTokenError``).
        """
        check_prefix(prefix)
        check_limit(limit)
        if delimiter not in (None, "/"):
            raise InvalidArgumentError("the delimiter is '/' or None")
        binding = [prefix, delimiter]
        tokens = self._gate.runtime.tokens
        after = (
            None
            if cursor is None
            else tokens.open("raw.list", binding, cursor, now=self._gate.now())
        )
        self._gate.admit(Action.RAW_LIST)
        page = self._objects.page(prefix, delimiter, after=after, limit=limit)
        items = tuple(
            RawListing(key=item.key, size=item.size, etag=item.etag, modified_at=item.modified_at)
            for item in page.items
            if not _reserved(item.key)
        )
        self._gate.accessed(Action.RAW_LIST, StoreRole.RAW, [item.key for item in items])
        following = page.next_after
        return RawPage(
            items=items,
            prefixes=tuple(p for p in page.prefixes if not _reserved(p)),
            cursor=None
            if following is None
            else tokens.seal("raw.list", binding, following, now=self._gate.now()),
        )

    def versions(
        self, key: str, *, cursor: str | None = None, limit: int = MAX_PAGE
    ) -> RawVersionPage:
        """List the history of a key, newest first, also where it is deleted. Capability
        ``versions``.

        Empty for a key that has none. Continue with the page's ``cursor``, which only this key in
        this scope accepts (``InvalidTokenError``).
        """
        check_user_key(key)
        check_limit(limit)
        tokens = self._gate.runtime.tokens
        after = (
            None
            if cursor is None
            else (key, tokens.open("raw.versions", [key], cursor, now=self._gate.now()))
        )
        self._gate.admit(Action.RAW_VERSIONS, (key,))
        page = self._history.page(key, after=after, limit=limit)
        self._gate.accessed(Action.RAW_VERSIONS, StoreRole.RAW, (key,))
        following = page.next_after
        return RawVersionPage(
            items=tuple(
                RawVersion(
                    version_id=each.version_id,
                    size=each.size,
                    modified_at=each.modified_at,
                    current=each.current,
                    marker=each.marker,
                )
                for each in page.items
            ),
            cursor=None
            if following is None
            else tokens.seal("raw.versions", [key], following[1], now=self._gate.now()),
        )

    def restore(self, key: str, version_id: str, *, if_match: str | None = None) -> RawObject:
        """Make an old version the object again: atomic, a new version with its bytes, metadata and
        governance. Takes nothing from the history. Capability ``versions``.

        Raises ``NotFoundError`` for what is no version of this key, ``RetentionError`` where what
        the key has now is protected, and ``PreconditionFailedError`` unless ``if_match``, when
        given, is its ETag.
        """
        check_user_key(key)
        ids = (key, check_version_id(version_id))
        with self._ledger.telling(Action.RAW_RESTORE, StoreRole.RAW, ids) as mutation:
            made = self._history.restore(key, version_id, if_match)
            told = [(made.governance, (key,), (key,))]
            self._ledger.told(mutation, Action.RAW_RESTORE, told)
        return made

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete an object, durably. Idempotent: an absent key is not an error.

        Raises ``RetentionError`` for one that a hold or retention protects, and
        ``PreconditionFailedError`` unless ``if_match``, when given, is the current ETag.
        """
        check_user_key(key)
        with self._ledger.telling(Action.RAW_DELETE, StoreRole.RAW, (key,)) as mutation:
            gone = self._objects.remove(key, if_match)
            if gone is None:
                mutation.unchanged = True
            else:
                self._ledger.told(mutation, Action.RAW_DELETE, [(gone, (key,), ())])

    def delete_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete objects by key; returns the error code of each that could not be, by key.

        Idempotent for each key. A key is never a pattern. At most 10 000 a call.
        """
        if isinstance(keys, str):
            raise InvalidKeyError("delete_many takes a sequence of keys, not one string")
        check_many(keys, "keys")
        wanted = list(dict.fromkeys(check_user_key(key) for key in keys))
        failed: dict[str, str] = {}
        if not wanted:
            return failed
        with self._ledger.telling(Action.RAW_DELETE, StoreRole.RAW, wanted) as mutation:
            gone, refused = self._objects.remove_many(wanted)
            failed.update(refused)
            mutation.ids = [key for key in wanted if key not in failed]
            mutation.unchanged = not gone
            self._ledger.told(
                mutation, Action.RAW_DELETE, [(own, keys, ()) for own, keys in by_owner(gone)]
            )
        return failed

    def set_legal_hold(
        self, key: str, *, hold: bool, if_match: str | None = None, version_id: str | None = None
    ) -> RawObject:
        """Place a legal hold on an object, or lift it: atomic, durable, idempotent. Owners and
        admins only; why is the request's purpose. Capability ``conditional_replace``.

        Bytes and metadata stay, the ETag becomes another where the engine has no lock of its own.
        Raises ``NotFoundError``, and ``PreconditionFailedError`` unless ``if_match``, when given,
        is the current ETag. ``version_id`` names an old version. Capability ``object_lock``.
        """
        return self._protected(key, Protection.of_hold(hold), if_match, version_id)

    def set_retention(
        self, key: str, until: int, *, if_match: str | None = None, version_id: str | None = None
    ) -> RawObject:
        """Retain an object until then (µs since the epoch), as ``set_legal_hold`` does: a period
        can be extended, and nothing shortens it (``RetentionError``)."""
        change = Protection.of_period(until, self._gate.now())
        return self._protected(key, change, if_match, version_id)

    def _protected(
        self, key: str, change: Protection, if_match: str | None, version_id: str | None
    ) -> RawObject:
        ids: tuple[str, ...] = (check_user_key(key),)
        if version_id is not None:
            if if_match is not None:
                raise InvalidArgumentError("name a version by version_id or by if_match, not both")
            ids += (check_version_id(version_id),)
        with self._ledger.telling(change.action, StoreRole.RAW, ids) as mutation:
            if version_id is not None:
                self._gate.require(self._gate.runtime.store(StoreRole.RAW), "object_lock")
            protecting = Protecting(self._gate)
            made, needed = protecting.object(key, change, if_match, version_id)
            mutation.unchanged = not needed
            self._ledger.told(mutation, change.action, [(made.governance, (key,), (key,))])
        return made

    def copy(self, source: str, target: str, *, if_match: str | None = None) -> RawObject:
        """Copy an object inside the scope: atomic, creates ``target`` or raises
        ``AlreadyExistsError``. Kind, space, flags and metadata come along. Capability ``copy``.

        ``if_match`` names the version of ``source``. There is no way to name another scope.
        """
        check_user_key(source, what="the source key")
        check_user_key(target, what="the target key")
        with self._ledger.telling(Action.RAW_COPY, StoreRole.RAW, (source, target)) as mutation:
            info = self._objects.info(source)
            governance = object_of(info).governance
            attributes = self._objects.stamped(target, info.attributes, governance)

            def run(store: OpenStore) -> RawObject:
                self._gate.require(store, "copy")
                copied = raw_backend(store).copy(
                    self._gate.scope,
                    source,
                    target,
                    attributes,
                    if_absent=True,
                    if_source_match=info.etag if if_match is None else if_match,
                )
                return self._objects.admitted(copied, target)

            made = self._gate.call(StoreRole.RAW, run)
            told = [(governance, (source,), (target,))]
            self._ledger.told(mutation, Action.RAW_COPY, told)
        return made

    def presign_get(self, key: str, *, expires_in: int = 300) -> SignedUrl:
        """Sign a GET of exactly this key for at most an hour. Capability ``presign_get``.

        Whoever holds the URL can read the object until it expires; it is never logged.
        """
        check_user_key(key)
        check_expiry(expires_in)
        self._gate.admit(Action.RAW_PRESIGN, (key,))
        with self._gate.reading(Action.RAW_PRESIGN, StoreRole.RAW, (key,)):
            self._objects.head(key)

        def run(store: OpenStore) -> SignedUrl:
            self._gate.require(store, "presign_get")
            return raw_backend(store).presign_get(self._gate.scope, key, expires_in=expires_in)

        signed = self._gate.call(StoreRole.RAW, run)
        self._gate.accessed(Action.RAW_PRESIGN, StoreRole.RAW, (key,))
        return signed

    def presign_put(
        self,
        key: str,
        *,
        kind: str,
        space: str,
        size: int,
        sha256: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
        retain_until: int | None = None,
        legal_hold: bool = False,
        expires_in: int = 300,
    ) -> PresignedUpload:
        """Sign one upload of exactly these bytes for at most an hour; ``register`` makes it an
        object. Capabilities ``presign_put``, ``copy``, ``conditional_create``.

        The upload goes to a staging place that nothing reads, so whoever holds the URL can neither
        see nor change an object, not even while it is valid. The ticket holds the key and all that
        is said here, sealed; it is good for a day, in this scope and for this subject. Nothing is
        stored yet, and a key that is taken shows only when the upload is registered.
        """
        check_user_key(key)
        check_expiry(expires_in)
        governance = Governance.build(
            self._gate.context,
            self._gate.deployment.config.kinds,
            kind=kind,
            space=space,
            pii_flags=pii_flags,
            train_ok=train_ok,
            retain_until=retain_until,
            legal_hold=legal_hold,
        )
        attributes = ObjectAttributes(
            content_type=check_media_type(content_type),
            metadata=check_metadata({} if metadata is None else metadata),
            system={},
        )
        if type(sha256) is not str or not _SHA256.fullmatch(sha256):
            raise InvalidArgumentError("sha256 is not 64 lower-case hex digits")
        if type(size) is not int or size < 0:
            raise InvalidArgumentError("size is not a number of bytes")
        self._gate.admit(Action.RAW_PRESIGN, (key,))
        if size > self._gate.deployment.config.limits.max_object_bytes:
            raise QuotaExceededError("the object is larger than this deployment takes")
        made = self._uploads.sign(
            key, attributes, governance, size=size, sha256=sha256, expires_in=expires_in
        )
        self._gate.accessed(Action.RAW_PRESIGN, StoreRole.RAW, (key,))
        return made

    def register(self, ticket: str) -> RawObject:
        """Make what was uploaded under a ticket the object that the ticket says: atomic, durable.

        Size and SHA-256 of the stored bytes are verified first, and exactly the version that was
        verified is copied into place. Idempotent. Raises ``NotFoundError`` where nothing was
        uploaded, ``ChecksumMismatchError`` where it was something else, ``AlreadyExistsError``
        where the key is taken by another object, and ``InvalidTokenError``.
        """
        self._gate.admit(Action.RAW_REGISTER)
        upload = self._uploads.open(ticket)
        with self._ledger.telling(
            Action.RAW_REGISTER,
            StoreRole.RAW,
            (upload.key,),
            kind=upload.governance.kind,
            space=upload.governance.space,
            admitted=True,
        ) as mutation:
            registered, mutation.unchanged = self._uploads.register(upload)
            told = [(upload.governance, (), (upload.key,))]
            self._ledger.told(mutation, Action.RAW_REGISTER, told)
        return registered


def check_expiry(value: object) -> int:
    """Return how long a URL is good for, in seconds; raise for none or more than an hour."""
    if type(value) is int and 1 <= value <= MAX_PRESIGN_SECONDS:
        return value
    raise InvalidArgumentError(f"expires_in is not 1 to {MAX_PRESIGN_SECONDS} seconds")


def _reserved(key: str) -> bool:
    return key.partition("/")[0] == RESERVED_ROOT
