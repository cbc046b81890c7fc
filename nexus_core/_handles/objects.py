"""Objects of one scope, for whoever is already admitted and audited.

``n.raw`` and the flows share it: stamps and system metadata are made and checked here and nowhere
else, and keys under the reserved root are allowed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, Literal, cast, final

import attrs

from nexus_core._handles.checks import MAX_PAGE
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._model.errors import (
    ChecksumMismatchError,
    ClosedError,
    IntegrityError,
    InvalidArgumentError,
    InvalidKeyError,
    NexusError,
    NotFoundError,
    PreconditionFailedError,
    QuotaExceededError,
    StoreError,
    UnavailableError,
)
from nexus_core._model.objects import Body, ByteRange, ObjectAttributes, ObjectInfo, ObjectPage
from nexus_core._security.guard import foreign
from nexus_core._spi.capabilities import RawCapabilities, StoreRole
from nexus_core._spi.raw import ObjectStream, RawBackend

_STAMP_KIND: Final = "raw"

# How often a deletion looks again at an object that was replaced under its eyes.
_TRIES: Final = 5
_MEDIA_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(?:; ?[ -~]{1,100})?"
)
_METADATA_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_METADATA_VALUE = re.compile(r"(?:[!-~](?:[ -~]{0,1022}[!-~])?)?")


@attrs.frozen(kw_only=True)
class RawObject:
    """One stored object. ``etag`` is opaque and changes with every write of the key; ``sha256``
    is that of the stored bytes; ``modified_at`` is in microseconds since the epoch, UTC.
    ``version_id`` names this version where the store keeps old ones."""

    key: str
    size: int
    etag: str
    sha256: str
    content_type: str
    metadata: Mapping[str, str] = attrs.field(repr=False)
    modified_at: int
    governance: Governance
    version_id: str | None = None


@attrs.frozen(kw_only=True)
class RawStream:
    """An opened object: iterate ``chunks`` inside the ``with`` block that opened it."""

    object: RawObject
    chunks: Iterator[bytes] = attrs.field(repr=False)


@final
class Objects:
    """Objects of one scope, for one request."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def store(
        self,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        governance: Governance,
        *,
        if_match: str | None = None,
    ) -> RawObject:
        """Store an object; creates, or replaces the version ``if_match``."""
        stamped = self.stamped(key, attributes, governance)

        def run(store: OpenStore) -> RawObject:
            self._gate.require(
                store, "conditional_create" if if_match is None else "conditional_replace"
            )
            ensure_fits(store, key, attributes, body.size)
            info = raw_backend(store).put(
                self._gate.scope,
                key,
                body,
                stamped,
                if_absent=if_match is None,
                if_match=if_match,
            )
            if info.sha256 != body.sha256 or info.size != body.read_size:
                raise IntegrityError("the store kept other bytes than it was given")
            return self.admitted(info, key)

        return self._gate.call(StoreRole.RAW, run)

    def head(self, key: str) -> RawObject:
        """Return what is known of an object; raises ``NotFoundError``."""
        return object_of(self.info(key))

    def info(self, key: str, version_id: str | None = None) -> ObjectInfo:
        """Return what the backend says of an object, or of one version of it, once it has proved
        to be this scope's."""

        def run(store: OpenStore) -> ObjectInfo:
            if version_id is None:
                info = raw_backend(store).head(self._gate.scope, key)
            else:
                self._gate.require(store, "versions")
                info = raw_backend(store).head_version(self._gate.scope, key, version_id)
            self._prove(info, key, version_id)
            return info

        return self._gate.call(StoreRole.RAW, run)

    def remove(self, key: str, if_match: str | None) -> Governance | None:
        """Delete an object that nothing protects; gives what it said of itself, ``None`` if absent.

        Where the store can tell versions apart, exactly the version that was looked at is deleted.
        Absent is fine unless ``if_match`` is given.
        """
        store = self._gate.runtime.store(StoreRole.RAW)
        if if_match is not None:
            self._gate.require(store, "conditional_delete")
        pinned = cast("RawCapabilities", store.spec.capabilities).conditional_delete
        for _ in range(_TRIES):
            try:
                found = self.head(key)
            except NotFoundError:
                if if_match is None:
                    return None
                raise
            found.governance.ensure_deletable(self._gate.now())
            wanted = if_match if if_match is not None else found.etag if pinned else None
            if wanted is not None and wanted != found.etag:
                raise PreconditionFailedError("the object has another version by now")
            try:
                self._delete(key, wanted)
            except PreconditionFailedError:
                if if_match is not None:
                    raise
                # Replaced since it was looked at: what is there now may be protected.
                continue
            return found.governance
        raise PreconditionFailedError("the object keeps being replaced", hint="try again later")

    def remove_many(
        self, keys: Sequence[str]
    ) -> tuple[list[tuple[str, Governance]], dict[str, str]]:
        """Delete objects that nothing protects; gives what went, and the code of each refusal.

        Where the store cannot tell versions apart they are deleted in one call, and what replaces
        one of them in that moment goes as well.
        """
        store = self._gate.runtime.store(StoreRole.RAW)
        pinned = cast("RawCapabilities", store.spec.capabilities).conditional_delete
        gone: list[tuple[str, Governance]] = []
        refused: dict[str, str] = {}
        for key in keys:
            try:
                if pinned:
                    own = self.remove(key, None)
                else:
                    own = self.head(key).governance
                    own.ensure_deletable(self._gate.now())
            except NotFoundError:
                continue
            except StoreError as error:
                if error.retryable and not gone and not refused:
                    raise
                refused[key] = error.code
            else:
                gone += [] if own is None else [(key, own)]
        if not pinned and gone:
            refused |= self.discard([key for key, _ in gone])
        return [(key, own) for key, own in gone if key not in refused], refused

    def _delete(self, key: str, etag: str | None) -> None:
        self._gate.call(
            StoreRole.RAW,
            lambda s: raw_backend(s).delete(self._gate.scope, key, if_match=etag),
        )

    def discard(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Delete objects whatever they are; returns the error code of each that could not be."""
        return self._gate.call(
            StoreRole.RAW, lambda s: raw_backend(s).delete_many(self._gate.scope, keys)
        )

    def erase(self, keys: Sequence[str]) -> None:
        """Delete objects whatever they are, all of them; raises ``UnavailableError`` otherwise."""
        if keys and (failed := self.discard(keys)):
            raise UnavailableError(
                f"{len(failed)} stored objects could not be deleted", hint="do it again later"
            )

    def keys(self, prefix: str) -> list[str]:
        """Keys that begin with ``prefix``, each proved to be this scope's."""
        found: list[str] = []
        after: str | None = None
        while True:
            page = self.page(prefix, None, after=after, limit=MAX_PAGE)
            found += [item.key for item in page.items]
            after = page.next_after
            if after is None:
                return found

    def page(
        self, prefix: str, delimiter: Literal["/"] | None, *, after: str | None, limit: int
    ) -> ObjectPage:
        """One page of a listing, each line of it proved to be this scope's."""

        def run(store: OpenStore) -> ObjectPage:
            if delimiter is not None:
                self._gate.require(store, "delimiter")
            page = raw_backend(store).list(
                self._gate.scope, prefix=prefix, delimiter=delimiter, after=after, limit=limit
            )
            for item in page.items:
                self._gate.runtime.guard.admit_name(item.key, item.name)
                if not item.key.startswith(prefix):
                    raise foreign()
            if any(not rolled.startswith(prefix) for rolled in page.prefixes):
                raise foreign()
            return page

        return self._gate.call(StoreRole.RAW, run)

    @contextmanager
    def opened(
        self,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
        version_id: str | None = None,
    ) -> Iterator[tuple[RawStream, int]]:
        """Open one version of an object; gives the stream and its length in bytes."""
        ended = False
        managers: list[AbstractContextManager[ObjectStream]] = []

        def run(store: OpenStore) -> ObjectStream:
            if range is not None:
                self._gate.require(store, "ranges")
            backend, scope = raw_backend(store), self._gate.scope
            if version_id is None:
                manager = backend.open(scope, key, range=range, if_match=if_match)
            else:
                self._gate.require(store, "versions")
                manager = backend.open_version(scope, key, version_id, range=range)
            opened = manager.__enter__()
            managers.append(manager)
            return opened

        def leave(_: OpenStore) -> None:
            # Told of no error and asked for no opinion: a backend could suppress what went wrong.
            for manager in managers:
                manager.__exit__(None, None, None)

        def ensure_inside() -> None:
            if ended:
                raise ClosedError("the stream has ended", hint="read it inside its `with` block")

        store = self._gate.runtime.store(StoreRole.RAW)
        try:
            opened = self._gate.call(StoreRole.RAW, run)
            found = self._gate.call(
                StoreRole.RAW, lambda _: self.admitted(opened.info, key, version_id)
            )
            expected = (0, found.size) if range is None else range.resolve(found.size)
            if (opened.start, opened.stop) != expected:
                raise IntegrityError("the store opened another range than it was asked for")
            length = opened.stop - opened.start
            chunks = self._checked(
                opened.chunks, length, found, ensure_inside, whole=length == found.size
            )
            yield RawStream(object=found, chunks=chunks), length
        except BaseException:
            with suppress(NexusError):
                self._gate.attempt(store, leave)
            raise
        else:
            self._gate.attempt(store, leave)
        finally:
            ended = True

    def _checked(
        self,
        chunks: Iterator[bytes],
        length: int,
        found: RawObject,
        ensure_inside: Callable[[], None],
        *,
        whole: bool,
    ) -> Iterator[bytes]:
        """Yield the chunks, one behind, so that nothing complete is released unchecked."""
        state = hashlib.sha256()
        seen = 0
        held: bytes | None = None
        while True:
            ensure_inside()
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

    def stamped(
        self, key: str, attributes: ObjectAttributes, governance: Governance
    ) -> ObjectAttributes:
        """Attributes with the system metadata of an object under ``key``.

        Where the engine has a lock of its own, that alone says what protects the object.
        """
        stamp = self._gate.runtime.guard.stamper(_STAMP_KIND)(key).hex()
        store = self._gate.runtime.store(StoreRole.RAW)
        lock: dict[str, Any] = {"retain_until": None, "legal_hold": False}
        if cast("RawCapabilities", store.spec.capabilities).object_lock:
            there = {name: getattr(governance, name) for name in lock}
            governance, lock = attrs.evolve(governance, **lock), there
        system = {**governance.to_strings(), "stamp": stamp}
        return attrs.evolve(attributes, system=system, **lock)

    def admitted(self, info: ObjectInfo, key: str, version_id: str | None = None) -> RawObject:
        """Read an object's description back, once its stamp proves it is this scope's ``key``."""
        self._prove(info, key, version_id)
        return object_of(info)

    def _prove(self, info: ObjectInfo, key: str, version_id: str | None = None) -> None:
        if version_id not in (None, info.version_id):
            raise IntegrityError("the store gave another version than it was asked for")
        expected = self._gate.runtime.guard.stamper(_STAMP_KIND)(key).hex()
        if info.key != key or info.attributes.system.get("stamp") != expected:
            raise foreign()


def object_of(info: ObjectInfo) -> RawObject:
    """What an application is told of an object: protected as it says of itself, or its engine."""
    own = Governance.from_strings(info.attributes.system)
    engine = attrs.evolve(
        own, retain_until=info.attributes.retain_until, legal_hold=info.attributes.legal_hold
    )
    return RawObject(
        key=info.key,
        size=info.size,
        etag=info.etag,
        sha256=info.sha256,
        content_type=info.attributes.content_type,
        metadata=dict(info.attributes.metadata),
        modified_at=info.modified_at,
        governance=own.tightened(engine),
        version_id=info.version_id,
    )


def raw_backend(store: OpenStore) -> RawBackend:
    """The backend of a raw store."""
    return cast("RawBackend", store.backend)


def ensure_fits(store: OpenStore, key: str, attributes: ObjectAttributes, size: int | None) -> None:
    """Refuse a key, metadata or a size that the store does not take, before it hears of them."""
    capabilities = cast("RawCapabilities", store.spec.capabilities)
    if len(key.encode()) > capabilities.max_key_bytes:
        raise InvalidKeyError(
            f"the key is longer than this store's {capabilities.max_key_bytes} bytes"
        )
    limit = capabilities.max_object_bytes
    if limit is not None and size is not None and size > limit:
        raise QuotaExceededError(f"the object is larger than this store's {limit} bytes")
    weight = sum(len(key) + len(value) for key, value in attributes.metadata.items())
    if weight > capabilities.max_metadata_bytes:
        raise InvalidArgumentError(
            f"the metadata is larger than this store's {capabilities.max_metadata_bytes} bytes"
        )


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
