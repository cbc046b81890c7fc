"""``n.raw``: objects under keys, for applications."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal, cast, final

import attrs

from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._model.errors import (
    ChecksumMismatchError,
    IntegrityError,
    InvalidArgumentError,
    InvalidKeyError,
    NotFoundError,
    QuotaExceededError,
    RetentionError,
)
from nexus_core._model.keys import (
    RESERVED_ROOT,
    check_prefix,
    check_user_key,
)
from nexus_core._model.objects import (
    Body,
    BodySource,
    ByteRange,
    ObjectAttributes,
    ObjectInfo,
    SignedUrl,
)
from nexus_core._security.guard import foreign
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import RawCapabilities, StoreRole
from nexus_core._spi.raw import RawBackend

DEFAULT_MAX_BYTES: Final = 64 << 20
MAX_PAGE: Final = 1000
MAX_PRESIGN_SECONDS: Final = 3600

_KIND = "raw"
_MEDIA_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(?:; ?[ -~]{1,100})?"
)
_METADATA_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_METADATA_VALUE = re.compile(r"(?:[!-~](?:[ -~]{0,1022}[!-~])?)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class RawObject:
    """One stored object. ``etag`` is opaque and changes with every write of the key; ``sha256``
    is that of the stored bytes; ``modified_at`` is in microseconds since the epoch, UTC."""

    key: str
    size: int
    etag: str
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    modified_at: int
    governance: Governance


@attrs.frozen(kw_only=True)
class RawContent:
    """An object's bytes, whole or a range, and what it is."""

    object: RawObject
    data: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class RawStream:
    """An opened object: iterate ``chunks`` inside the ``with`` block that opened it."""

    object: RawObject
    chunks: Iterator[bytes] = attrs.field(repr=False)


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

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

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
        source = Body(body, sha256=sha256, size=size)
        with self._gate.mutation(
            Action.RAW_PUT, StoreRole.RAW, (key,), kind=governance.kind, space=governance.space
        ):
            if if_match is not None:
                self._head(key).governance.ensure_deletable(self._gate.now())
            return self.store(key, source, attributes, governance, if_match=if_match)

    def head(self, key: str) -> RawObject:
        """Return what is known of an object; raises ``NotFoundError``."""
        check_user_key(key)
        return self._gate.read(
            Action.RAW_HEAD, StoreRole.RAW, self._calling(lambda b: self._fetch(b, key)), ids=(key,)
        )

    def get(
        self,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> RawContent:
        """Read an object, or a range of it, into memory; whole reads are checked by SHA-256.

        Raises ``NotFoundError``, ``RangeNotSatisfiableError``, ``PreconditionFailedError``,
        ``QuotaExceededError`` when more than ``max_bytes`` would have to be held, and
        ``IntegrityError`` when the bytes are not those that were written.
        """
        check_user_key(key)
        self._gate.admit(Action.RAW_GET, (key,))
        with self._opened(key, range, if_match) as (stream, length):
            if length > max_bytes:
                raise QuotaExceededError(
                    "the object is larger than max_bytes",
                    hint="raise max_bytes, ask for a range, or use open() to stream it",
                )
            data = b"".join(stream.chunks)
        self._gate.accessed(Action.RAW_GET, StoreRole.RAW, (key,))
        return RawContent(object=stream.object, data=data)

    @contextmanager
    def open(
        self, key: str, *, range: ByteRange | None = None, if_match: str | None = None
    ) -> Iterator[RawStream]:
        """Open an object for streaming: all chunks come from one version.

        The last chunk of a whole read is released only after the SHA-256 of all was checked.
        Raises as ``get`` does, also while iterating.
        """
        check_user_key(key)
        self._gate.admit(Action.RAW_GET, (key,))
        with self._opened(key, range, if_match) as (stream, _):
            self._gate.accessed(Action.RAW_GET, StoreRole.RAW, (key,))
            yield stream

    def get_ranges(
        self, key: str, ranges: Sequence[ByteRange], *, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[bytes]:
        """Read several ranges of one version of an object; all or none are returned."""
        check_user_key(key)
        self._gate.admit(Action.RAW_GET, (key,))
        out: list[bytes] = []
        etag: str | None = None
        for wanted in ranges:
            with self._opened(key, wanted, etag) as (stream, length):
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

        def fetch(store: OpenStore) -> RawPage:
            if delimiter is not None:
                self._gate.require(store, "delimiter")
            page = _backend(store).list(
                self._gate.scope, prefix=prefix, delimiter=delimiter, after=after, limit=limit
            )
            for item in page.items:
                self._gate.runtime.guard.admit_name(item.key, item.name)
                if not item.key.startswith(prefix):
                    raise foreign()
            if any(not rolled.startswith(prefix) for rolled in page.prefixes):
                raise foreign()
            following = page.next_after
            return RawPage(
                items=tuple(
                    RawListing(
                        key=item.key, size=item.size, etag=item.etag, modified_at=item.modified_at
                    )
                    for item in page.items
                    if not _reserved(item.key)
                ),
                prefixes=tuple(p for p in page.prefixes if not _reserved(p)),
                cursor=None
                if following is None
                else tokens.seal("raw.list", binding, following, now=self._gate.now()),
            )

        return self._gate.read(
            Action.RAW_LIST,
            StoreRole.RAW,
            fetch,
            found=lambda page: tuple(item.key for item in page.items),
        )

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete an object, durably. Idempotent: an absent key is not an error.

        Raises ``RetentionError`` for one that a hold or retention protects, and
        ``PreconditionFailedError`` unless ``if_match``, when given, is the current ETag.
        """
        check_user_key(key)
        with self._gate.mutation(Action.RAW_DELETE, StoreRole.RAW, (key,)):
            self._remove(key, if_match)

    def delete_many(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete objects by key; returns the error code of each that could not be, by key.

        Idempotent for each key. A key is never a pattern.
        """
        if isinstance(keys, str):
            raise InvalidKeyError("delete_many takes a sequence of keys, not one string")
        wanted = list(dict.fromkeys(check_user_key(key) for key in keys))
        failed: dict[str, str] = {}
        if not wanted:
            return failed
        with self._gate.mutation(Action.RAW_DELETE, StoreRole.RAW, wanted) as mutation:
            now = self._gate.now()
            free: list[str] = []
            for key in wanted:
                try:
                    self._head(key).governance.ensure_deletable(now)
                    free.append(key)
                except NotFoundError:
                    continue
                except (IntegrityError, RetentionError) as error:
                    failed[key] = error.code
            failed.update(
                self._gate.call(
                    StoreRole.RAW, lambda s: _backend(s).delete_many(self._gate.scope, free)
                )
            )
            mutation.ids = [key for key in wanted if key not in failed]
        return failed

    def copy(self, source: str, target: str, *, if_match: str | None = None) -> RawObject:
        """Copy an object inside the scope: atomic, creates ``target`` or raises
        ``AlreadyExistsError``. Kind, space, flags and metadata come along. Capability ``copy``.

        ``if_match`` names the version of ``source``. There is no way to name another scope.
        """
        check_user_key(source, what="the source key")
        check_user_key(target, what="the target key")
        with self._gate.mutation(Action.RAW_COPY, StoreRole.RAW, (source, target)):

            def run(store: OpenStore) -> RawObject:
                self._gate.require(store, "copy")
                backend = _backend(store)
                found = self._fetch_info(backend, source)
                etag = found.etag if if_match is None else if_match
                attributes = self._stamped(
                    target, found.attributes, Governance.from_strings(found.attributes.system)
                )
                info = backend.copy(
                    self._gate.scope,
                    source,
                    target,
                    attributes,
                    if_absent=True,
                    if_source_match=etag,
                )
                return self._admitted(info, target)

            return self._gate.call(StoreRole.RAW, run)

    def presign_get(self, key: str, *, expires_in: int = 300) -> SignedUrl:
        """Sign a GET of exactly this key for at most an hour. Capability ``presign_get``.

        Whoever holds the URL can read the object until it expires; it is never logged.
        """
        check_user_key(key)
        if type(expires_in) is not int or not 1 <= expires_in <= MAX_PRESIGN_SECONDS:
            raise InvalidArgumentError(f"expires_in is not 1 to {MAX_PRESIGN_SECONDS} seconds")

        def run(store: OpenStore) -> SignedUrl:
            self._gate.require(store, "presign_get")
            backend = _backend(store)
            self._fetch(backend, key)
            return backend.presign_get(self._gate.scope, key, expires_in=expires_in)

        return self._gate.read(Action.RAW_PRESIGN, StoreRole.RAW, run, ids=(key,))

    # -- for the flows beside this handle: already admitted, reserved keys allowed -------------

    def store(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        governance: Governance,
        *,
        if_match: str | None = None,
    ) -> RawObject:
        """Put under an already audited mutation; the only place that builds system metadata."""
        stamped = self._stamped(key, attributes, governance)

        def run(store: OpenStore) -> RawObject:
            capabilities = cast("RawCapabilities", store.spec.capabilities)
            self._gate.require(
                store, "conditional_create" if if_match is None else "conditional_replace"
            )
            if len(key.encode()) > capabilities.max_key_bytes:
                raise InvalidKeyError(
                    f"the key is longer than this store's {capabilities.max_key_bytes} bytes"
                )
            limit = capabilities.max_object_bytes
            if limit is not None and body.size is not None and body.size > limit:
                raise QuotaExceededError(f"the object is larger than this store's {limit} bytes")
            weight = sum(len(k) + len(v) for k, v in stamped.metadata.items())
            if weight > capabilities.max_metadata_bytes:
                raise InvalidArgumentError(
                    f"the metadata is larger than this store's {capabilities.max_metadata_bytes} "
                    "bytes"
                )
            info = _backend(store).put(
                self._gate.scope,
                key,
                body,
                stamped,
                if_absent=if_match is None,
                if_match=if_match,
            )
            if info.sha256 != body.sha256 or info.size != body.read_size:
                raise IntegrityError("the store kept other bytes than it was given")
            return self._admitted(info, key)

        return self._gate.call(StoreRole.RAW, run)

    def discard(self, key: str) -> None:
        """Delete one of the framework's own objects under an already audited mutation."""
        self._gate.call(StoreRole.RAW, lambda s: _backend(s).delete(self._gate.scope, key))

    @contextmanager
    def opened(self, key: str) -> Iterator[RawStream]:
        """Stream an object under an already audited call."""
        with self._opened(key, None, None) as (stream, _):
            yield stream

    def _head(self, key: str) -> RawObject:
        return self._gate.call(StoreRole.RAW, self._calling(lambda b: self._fetch(b, key)))

    def _remove(self, key: str, if_match: str | None) -> None:
        try:
            found = self._head(key)
        except NotFoundError:
            if if_match is None:
                return
            raise
        found.governance.ensure_deletable(self._gate.now())

        def run(store: OpenStore) -> None:
            if if_match is not None:
                self._gate.require(store, "conditional_delete")
            _backend(store).delete(self._gate.scope, key, if_match=if_match)

        self._gate.call(StoreRole.RAW, run)

    @contextmanager
    def _opened(
        self, key: str, range: ByteRange | None, if_match: str | None
    ) -> Iterator[tuple[RawStream, int]]:
        def run(store: OpenStore) -> tuple[RawStream, int]:
            if range is not None:
                self._gate.require(store, "ranges")
            manager = _backend(store).open(self._gate.scope, key, range=range, if_match=if_match)
            opened = manager.__enter__()
            managers.append(manager)
            found = self._admitted(opened.info, key)
            whole = opened.start == 0 and opened.stop == found.size
            chunks = self._checked(opened.chunks, opened.stop - opened.start, found, whole=whole)
            return RawStream(object=found, chunks=chunks), opened.stop - opened.start

        managers: list[object] = []
        try:
            yield self._gate.call(StoreRole.RAW, run)
        finally:
            for manager in managers:
                manager.__exit__(None, None, None)  # type: ignore[attr-defined]

    def _checked(
        self, chunks: Iterator[bytes], length: int, found: RawObject, *, whole: bool
    ) -> Iterator[bytes]:
        """Yield the chunks, one behind, so that nothing complete is released unchecked."""
        state = hashlib.sha256()
        seen = 0
        held: bytes | None = None
        while True:
            chunk = self._gate.call(StoreRole.RAW, lambda _: next(chunks, None))
            if chunk is None:
                break
            if held is not None:
                yield held
            held = chunk
            seen += len(chunk)
            state.update(chunk)
        if seen != length:
            raise IntegrityError("the store returned another number of bytes than it announced")
        if whole and state.hexdigest() != found.sha256:
            raise ChecksumMismatchError("the stored bytes are not those that were written")
        if held is not None:
            yield held

    def _calling(self, call: Callable[[RawBackend], RawObject]) -> Callable[[OpenStore], RawObject]:
        return lambda store: call(_backend(store))

    def _fetch(self, backend: RawBackend, key: str) -> RawObject:
        return self._admitted(backend.head(self._gate.scope, key), key)

    def _fetch_info(self, backend: RawBackend, key: str) -> ObjectInfo:
        info = backend.head(self._gate.scope, key)
        self._admitted(info, key)
        return info

    def _stamped(
        self, key: str, attributes: ObjectAttributes, governance: Governance
    ) -> ObjectAttributes:
        stamp = self._gate.runtime.guard.stamper(_KIND)(key).hex()
        return attrs.evolve(attributes, system={**governance.to_strings(), "stamp": stamp})

    def _admitted(self, info: ObjectInfo, key: str) -> RawObject:
        expected = self._gate.runtime.guard.stamper(_KIND)(key).hex()
        if info.key != key or info.attributes.system.get("stamp") != expected:
            raise foreign()
        return RawObject(
            key=key,
            size=info.size,
            etag=info.etag,
            sha256=info.sha256,
            content_type=info.attributes.content_type,
            metadata=dict(info.attributes.metadata),
            modified_at=info.modified_at,
            governance=Governance.from_strings(info.attributes.system),
        )


def _backend(store: OpenStore) -> RawBackend:
    return cast("RawBackend", store.backend)


def _reserved(key: str) -> bool:
    return key.partition("/")[0] == RESERVED_ROOT


def check_media_type(value: object) -> str:
    """Return a media type in lower case, with an optional parameter; else raise."""
    if type(value) is str and _MEDIA_TYPE.fullmatch(value) is not None:
        return value
    raise InvalidArgumentError(
        "the content type is not a lower-case type/subtype",
        hint="for example application/pdf, or text/plain; charset=utf-8",
    )


def check_metadata(value: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's metadata if every key and value survives any store's headers."""
    out: dict[str, str] = {}
    for key, text in value.items():
        if type(key) is not str or not _METADATA_KEY.fullmatch(key) or key.startswith("nexus"):
            raise InvalidArgumentError(
                "a metadata key is not usable",
                hint="match [a-z0-9][a-z0-9_-]{0,62}; 'nexus…' is reserved",
            )
        if type(text) is not str or _METADATA_VALUE.fullmatch(text) is None:
            raise InvalidArgumentError(
                f"the metadata value of {key!r} is not up to 1 KiB of printable ASCII, trimmed"
            )
        out[key] = text
    return out


def check_limit(value: object, maximum: int = MAX_PAGE) -> int:
    """Return a page size of 1 to ``maximum``; else raise ``InvalidArgumentError``."""
    if type(value) is int and 1 <= value <= maximum:
        return value
    raise InvalidArgumentError(f"the limit is not 1 to {maximum}")
