"""Bodies on their way: hashed and on bounded disk before the first byte of them is sent.

A file of the spool has no name, so a process that is killed leaves nothing; the kernel frees it.
"""

from __future__ import annotations

import io
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import attrs

from nexus_core.spi import Body, Outcome, QuotaExceededError, StoreError, UnavailableError

_IN_MEMORY: Final = 1 << 20


class Window(io.RawIOBase):
    """A part of a spooled body as a file to read from, without a position that others share."""

    def __init__(self, source: bytes | int, start: int, length: int) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def __len__(self) -> int:
        return self._length

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        begin = self._start + self._position
        if isinstance(self._source, bytes):
            data = self._source[begin : begin + wanted]
        else:
            data = os.pread(self._source, wanted, begin)
        self._position += len(data)
        return data

    def buffer(self) -> bytes | memoryview | mmap.mmap:
        """All of it, whatever was read: memory as it is, and a file as memory that it backs."""
        if isinstance(self._source, bytes):
            return memoryview(self._source)[self._start : self._start + self._length]
        if self._start or not self._length:
            return os.pread(self._source, self._length, self._start)
        return mmap.mmap(self._source, self._length, access=mmap.ACCESS_READ)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


# Never changed once made; to be frozen would double what making one costs.
@attrs.define
class Spooled:
    """A whole body: its size, its SHA-256, and windows on it."""

    source: bytes | int = attrs.field(repr=False)
    size: int
    sha256: str

    def whole(self) -> bytes | Window:
        """All of it, for one request. A small one as bytes, which cost less than a file of them;
        larger ones the SDK would copy."""
        if isinstance(self.source, bytes) and self.size <= _IN_MEMORY:
            return self.source
        return self.window()

    def window(self, start: int = 0, length: int | None = None) -> Window:
        """The bytes from ``start``, all or ``length`` of them."""
        return Window(self.source, start, self.size - start if length is None else length)


class Spool:
    """The folder, and how much of it is in use. Safe for threads."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()

    def filled(self, body: Body) -> AbstractContextManager[Spooled]:
        """Read a body to its end and hold it for the block; raises what the body raises.

        Raises ``QuotaExceededError`` where it does not fit, ``UnavailableError`` without a folder.
        """
        return _Filled(self, body)

    @contextmanager
    def on_disk(self, head: bytes, rest: Iterator[bytes], body: Body) -> Iterator[Spooled]:
        """The same for a body that is too large for memory, of which the head was read."""
        taken = 0
        try:
            with self._file() as file:
                taken += self._put(file, head)
                for chunk in rest:
                    taken += self._put(file, chunk)
                yield Spooled(file, taken, body.sha256)
        finally:
            with self._lock:
                self._used -= taken

    @contextmanager
    def _file(self) -> Iterator[int]:
        error: StoreError | None = None
        try:
            file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
        except OSError as failure:
            error = _failed(failure)
        if error is not None:
            raise error
        with file:
            yield file.fileno()

    def _put(self, file: int, chunk: bytes) -> int:
        with self._lock:
            if self._used + len(chunk) > self._limit:
                raise QuotaExceededError(
                    "what is being written does not fit into the store's spool",
                    hint="write less at once, or raise spool_bytes",
                )
            self._used += len(chunk)
        done = 0
        error: StoreError | None = None
        try:
            while done < len(chunk):
                done += os.write(file, memoryview(chunk)[done:])
        except OSError as failure:
            error = _failed(failure)
        if error is not None:
            with self._lock:
                self._used -= len(chunk)
            raise error
        return len(chunk)


class _Filled:
    """One body that is held: in memory where it is small, else on disk."""

    __slots__ = ("_body", "_disk", "_spool")

    def __init__(self, spool: Spool, body: Body) -> None:
        self._spool = spool
        self._body = body
        self._disk: AbstractContextManager[Spooled] | None = None

    def __enter__(self) -> Spooled:
        held = self._body.whole()
        if held is not None:
            # They are in the caller's memory already, and nobody can change them.
            return Spooled(held, len(held), self._body.sha256)
        head: list[bytes] = []
        size = 0
        chunks = iter(self._body)
        for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if size > _IN_MEMORY:
                disk = self._spool.on_disk(b"".join(head), chunks, self._body)
                spooled = disk.__enter__()
                self._disk = disk
                return spooled
        return Spooled(b"".join(head), size, self._body.sha256)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._disk is not None:
            self._disk.__exit__(kind, error, traceback)


def _failed(error: OSError) -> StoreError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return QuotaExceededError("the store's spool has no room for the object")
    return UnavailableError(
        "the store's spool cannot be written to",
        hint="`nexus doctor` names the folder",
        outcome=Outcome.NOT_APPLIED,
    )
