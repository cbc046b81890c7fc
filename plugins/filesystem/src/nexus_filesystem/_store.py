"""The raw store: what the SPI asks for, each verb in a few lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final, final

from nexus_core.spi import (
    Body,
    ByteRange,
    ChecksumMismatchError,
    ClosedError,
    IntegrityError,
    ObjectAttributes,
    ObjectInfo,
    ObjectPage,
    ObjectStream,
    Problem,
    RawBackend,
    Scope,
)
from nexus_filesystem import _delete, _erase, _layout, _write
from nexus_filesystem._errors import Translated
from nexus_filesystem._listing import Listing
from nexus_filesystem._record import Record, find
from nexus_filesystem._slot import Condition, Slot, mismatch
from nexus_filesystem._tree import environment, home, scope_name

CHUNK: Final = 1 << 20


@final
class FilesystemStore(RawBackend):
    """Objects as files below ``root``.

    Holds no descriptor between calls, so threads, forked children and ``close`` cannot disturb
    each other; an object that was opened for reading is read to its end even after ``close``.
    """

    def __init__(self, root: Path, now: Callable[[], int]) -> None:
        self._root = root.absolute()
        self._now = now
        self._closed = False

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
        self._ready()
        return _write.put(
            self._root,
            Slot.of(scope, key),
            body,
            attributes,
            condition=Condition(if_absent=if_absent, if_match=if_match),
            now=self._now,
        )

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        self._ready()
        with Translated():
            descriptor, record = self._find(scope, key)
            os.close(descriptor)
        return record.info

    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> AbstractContextManager[ObjectStream]:
        self._ready()
        return self._opened(scope, key, range, if_match)

    @contextmanager
    def _opened(
        self, scope: Scope, key: str, range: ByteRange | None, if_match: str | None
    ) -> Iterator[ObjectStream]:
        with Translated():
            descriptor, record = self._find(scope, key)
        with FileIO(descriptor) as file:
            info = record.info
            if if_match not in (None, info.etag):
                raise mismatch()
            start, stop = (0, info.size) if range is None else range.resolve(info.size)
            yield ObjectStream(info, start, stop, _chunks(file, record.offset, start, stop))

    def list(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        delimiter: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        self._ready()
        with Translated(), home(self._root, scope) as mine:
            if mine is None:
                return ObjectPage(items=())
            return Listing(
                directory=mine.directory,
                scope=scope,
                prefix=prefix.encode("utf-8"),
                after=(after or "").encode("utf-8"),
                delimited=delimiter is not None,
            ).page(limit)

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        self._ready()
        _delete.delete(self._root, Slot.of(scope, key), Condition(if_match=if_match))

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
        """Verifies the SHA-256 of what it copies; a damaged source raises ``IntegrityError``."""
        with self.open(scope, source, if_match=if_source_match) as stream:
            body = Body(stream.chunks, sha256=stream.info.sha256, size=stream.info.size)
            try:
                return self.put(scope, target, body, attributes, if_absent=if_absent)
            except ChecksumMismatchError:
                pass
        raise IntegrityError("the source's bytes are not what was written; nothing was copied")

    def erase(self, scope: Scope) -> int:
        self._ready()
        return _erase.erase(self._root, scope)

    def check(self) -> Sequence[Problem]:
        self._ready()
        return _layout.check(self._root)

    def close(self) -> None:
        self._closed = True

    def _ready(self) -> None:
        if self._closed:
            raise ClosedError("the store is closed")

    def _find(self, scope: Scope, key: str) -> tuple[int, Record]:
        path = f"{scope_name(scope)}/{Slot.of(scope, key).path}"
        with environment(self._root, scope) as around:
            return find(around, path, scope, key)


def _chunks(file: FileIO, offset: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from start to stop, by offset: a forked child may read the same file."""
    while start < stop:
        if file.closed:
            raise ClosedError("the stream was read after the block that opened it")
        with Translated():
            chunk = os.pread(file.fileno(), min(CHUNK, stop - start), offset + start)
        if not chunk:
            raise IntegrityError("the stored object ends before its last byte")
        start += len(chunk)
        yield chunk
