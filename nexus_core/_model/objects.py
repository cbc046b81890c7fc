"""Values of the raw store: one pass of bytes, object attributes, ranges, pages."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, Literal, TypeAlias, cast, final

import attrs

from nexus_core._model.errors import (
    ChecksumMismatchError,
    InvalidArgumentError,
    QuotaExceededError,
    RangeNotSatisfiableError,
)

CHUNK: Final = 1 << 20
# A union of types would be made anew for each chunk that is looked at.
_BYTES: Final = (bytes, bytearray, memoryview)

BodySource: TypeAlias = bytes | bytearray | memoryview | BinaryIO | Iterable[bytes]


@final
class Body:
    """One pass over the bytes of an object, in chunks of at most 1 MiB, hashed as they go by.

    ``size`` is known beforehand for bytes and seekable files, else ``None``. ``sha256`` (64 hex
    digits) and ``read_size`` are right once the pass has ended; asking earlier raises. When the
    caller declared a size or checksum, the end of the pass raises ``ChecksumMismatchError`` if the
    bytes were others: a backend must not make anything visible before the pass has ended. More
    than ``limit`` bytes raise ``QuotaExceededError`` as soon as they come.
    """

    __slots__ = (
        "_done",
        "_expected",
        "_hash",
        "_limit",
        "_source",
        "_started",
        "read_size",
        "size",
    )

    def __init__(
        self,
        source: BodySource,
        *,
        sha256: str | None = None,
        size: int | None = None,
        limit: int | None = None,
    ) -> None:
        self._source = source
        self._limit = limit
        self._expected = sha256
        self._hash = hashlib.sha256()
        self._started = False
        self._done = False
        self.read_size = 0
        self.size = _known_size(source) if size is None else size

    def __iter__(self) -> Iterator[bytes]:
        self._begin()
        for chunk in _chunks(self._source):
            self._take(chunk)
            yield chunk
        self._end()

    def whole(self) -> bytes | None:
        """The whole pass at once, where the source is ``bytes``: those very bytes, not copied.

        Raises what the pass raises. ``None`` for any other source, of which nothing is read.
        """
        source = self._source
        if type(source) is not bytes:
            return None
        self._begin()
        self._take(source)
        self._end()
        return source

    def _begin(self) -> None:
        if self._started:
            raise InvalidArgumentError("a body can be read only once")
        self._started = True

    def _take(self, chunk: bytes) -> None:
        read = self.read_size = self.read_size + len(chunk)
        if self._limit is not None and read > self._limit:
            raise QuotaExceededError(f"the body is larger than the limit of {self._limit} bytes")
        if self.size is not None and read > self.size:
            raise ChecksumMismatchError("the body has another size than was declared")
        self._hash.update(chunk)

    def _end(self) -> None:
        if self.size is not None and self.size != self.read_size:
            raise ChecksumMismatchError("the body has another size than was declared")
        self._done = True
        if self._expected is not None and self._expected != self.sha256:
            raise ChecksumMismatchError("the body has another SHA-256 than was declared")

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole body as 64 lower-case hex digits."""
        if not self._done:
            raise InvalidArgumentError("the body has not been read to its end")
        return self._hash.hexdigest()


def _known_size(source: BodySource) -> int | None:
    if isinstance(source, (bytes, bytearray)):
        return len(source)
    if isinstance(source, memoryview):
        return source.nbytes
    if isinstance(source, io.IOBase) and source.seekable():
        here = source.tell()
        end = source.seek(0, io.SEEK_END)
        source.seek(here)
        return end - here
    return None


def _chunks(source: BodySource) -> Iterable[bytes]:
    """The chunks of a source; what is one already is not copied."""
    if type(source) is bytes and len(source) <= CHUNK:
        return (source,) if source else ()
    return _cut(source)


def _cut(source: BodySource) -> Iterator[bytes]:
    if isinstance(source, _BYTES):
        view = memoryview(source)
        # A view with gaps cannot be cast, and one without items neither.
        view = view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
        for start in range(0, len(view), CHUNK):
            yield bytes(view[start : start + CHUNK])
    elif hasattr(source, "read"):
        # Compared with the empty bytes: a file that would block gives None, which is not its end.
        while (chunk := cast("BinaryIO", source).read(CHUNK)) != b"":
            if not isinstance(chunk, bytes):
                raise InvalidArgumentError(
                    "the body's file gives something other than bytes",
                    hint="open it in binary mode, and blocking",
                )
            yield chunk
    else:
        for piece in source:
            if not isinstance(piece, _BYTES):
                raise InvalidArgumentError("the body yields something other than bytes")
            yield from _chunks(piece)


@attrs.frozen
class ByteRange:
    """A range of bytes: ``ByteRange(start, stop)``, ``ByteRange(start)`` or ``ByteRange.last(n)``.

    ``stop`` is exclusive and truncated at the end of the object. An empty range, one that starts
    at or past the end, and any range of an empty object are not satisfiable.
    """

    start: int
    stop: int | None = None

    @classmethod
    def last(cls, count: int) -> ByteRange:
        """The last ``count`` bytes (all of them when the object is shorter)."""
        if count <= 0:
            raise RangeNotSatisfiableError("a suffix range needs at least one byte")
        return cls(-count)

    def resolve(self, size: int) -> tuple[int, int]:
        """Concrete ``(start, stop)`` inside an object; raises ``RangeNotSatisfiableError``."""
        start = max(size + self.start, 0) if self.start < 0 else self.start
        stop = size if self.stop is None else min(self.stop, size)
        if start >= size or stop <= start or (self.start < 0 and self.stop is not None):
            raise RangeNotSatisfiableError("the range holds no byte of the object")
        return start, stop


@attrs.frozen(kw_only=True)
class ObjectAttributes:
    """What is stored with an object's bytes, atomically with them.

    ``metadata`` is the caller's; ``system`` is the core's own (stamp, kind, space, flags) and is
    stored and returned verbatim, out of the caller's reach. ``retain_until`` (µs since the epoch)
    and ``legal_hold`` are the engine's own lock: said only to a store with the capability
    ``object_lock``, and read back from the engine.
    """

    content_type: str
    metadata: Mapping[str, str] = attrs.field(repr=False)
    system: Mapping[str, str] = attrs.field(repr=False)
    retain_until: int | None = None
    legal_hold: bool = False


@attrs.frozen(kw_only=True)
class ObjectInfo:
    """What a raw backend knows of one stored object.

    ``etag`` is an opaque token that changes with every write of the key; ``sha256`` is that of the
    stored bytes; ``modified_at`` is in microseconds since the epoch, UTC. ``version_id`` names the
    version that is described; a store with the capability ``versions`` always gives it.
    """

    key: str
    size: int
    etag: str
    sha256: str
    modified_at: int
    attributes: ObjectAttributes
    version_id: str | None = None


@attrs.frozen(kw_only=True)
class ObjectEntry:
    """One line of a listing.

    ``name`` is the evidence: the physical name as the engine itself listed it, relative to the
    store's root or bucket, in the codec's object or path form (path parts joined by ``/``). The
    core compares it with what the codec makes of the scope and ``key``; a backend that composes
    it from what it was asked for instead of passing on what it found proves nothing.
    """

    key: str
    size: int
    etag: str
    modified_at: int
    name: str


@attrs.frozen(kw_only=True)
class ObjectPage:
    """One page of a listing in UTF-8 byte order; ``next_after`` is ``None`` on the last page.

    ``prefixes`` are rolled-up key prefixes, each ending with the delimiter.
    """

    items: tuple[ObjectEntry, ...]
    prefixes: tuple[str, ...] = ()
    next_after: str | None = None


@attrs.frozen(kw_only=True)
class ObjectVersion:
    """One line of a key's history.

    ``version_id`` is opaque and good for this key of this scope alone. ``current`` is the version
    that the key has now; after a deletion no line is. A ``marker`` is the note that some engines
    make of a deletion: it has no bytes, and is neither read nor restored. ``name`` is the evidence,
    as in ``ObjectEntry``.
    """

    key: str
    version_id: str
    size: int
    modified_at: int
    current: bool
    marker: bool
    name: str


@attrs.frozen(kw_only=True)
class VersionPage:
    """One page of a history; ``next_after``, the key and version id of its last line, is ``None``
    on the last page."""

    items: tuple[ObjectVersion, ...]
    next_after: tuple[str, str] | None = None


@attrs.frozen(kw_only=True)
class SignedUrl:
    """A presigned request: exactly this method, URL and headers, until ``expires_at`` (µs)."""

    method: Literal["GET", "PUT"]
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    expires_at: int
