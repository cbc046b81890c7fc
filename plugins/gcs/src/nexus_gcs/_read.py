"""Reading: one generation, in windows, each by a request of its own that can be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nexus_core.spi import (
    ByteRange,
    ChecksumMismatchError,
    ClosedError,
    IntegrityError,
    ObjectStream,
    Outcome,
    StoreError,
)
from nexus_gcs import _fast
from nexus_gcs._checksum import extended, spelt
from nexus_gcs._engine import Engine, Target
from nexus_gcs._failures import Failure, Kind, not_found, translate
from nexus_gcs._record import Found
from nexus_gcs._write import find, stale


@contextmanager
def opened(
    engine: Engine, target: Target, range: ByteRange | None, if_match: str | None
) -> Iterator[ObjectStream]:
    """See ``RawBackend.open``."""
    begun = _fast.begin(engine, target, range)
    current = find(engine, target) if begun is None else begun.found
    if current is None:
        raise not_found()
    if if_match not in (None, current.info.etag):
        raise stale()
    first = b"" if begun is None else begun.data
    with streamed(engine, target, current, range, first=first) as stream:
        yield stream


@contextmanager
def streamed(
    engine: Engine,
    target: Target,
    current: Found,
    range: ByteRange | None,
    *,
    first: bytes = b"",
) -> Iterator[ObjectStream]:
    """The bytes of the generation that was found, of which the ``first`` may be here already."""
    info = current.info
    start, stop = (0, info.size) if range is None else range.resolve(info.size)
    ended = False

    def alive() -> None:
        engine.ready()
        if ended:
            raise ClosedError("the stream was read after the block that opened it")

    def chunks() -> Iterator[bytes]:
        checksum = 0
        for window in windows(engine, target, current, start, stop, first=first):
            alive()
            checksum = extended(checksum, window)
            yield window
            alive()
        if (start, stop) == (0, info.size) and spelt(checksum) != current.crc32c:
            raise ChecksumMismatchError("the bytes read are not those that are stored")

    try:
        yield ObjectStream(info, start, stop, chunks())
    finally:
        ended = True


def windows(
    engine: Engine, target: Target, current: Found, start: int, stop: int, *, first: bytes = b""
) -> Iterator[bytes]:
    """The bytes of one generation from start to stop; raises where it is there no more."""
    while start < stop:
        end = min(stop, start + _fast.WINDOW)
        window = first or _window(engine, target, current.generation, start, end)
        first = b""
        if len(window) != end - start:
            raise IntegrityError("the engine gave another number of bytes than was asked for")
        yield window
        start = end


def _window(engine: Engine, target: Target, generation: int, start: int, stop: int) -> bytes:
    error: StoreError
    try:
        carried = _fast.window(engine, target, generation, start, stop)
        if carried is not None:
            return carried
        return engine.patience.repeat(
            lambda: bytes(
                target.blob(generation).download_as_bytes(
                    start=start,
                    end=stop - 1,
                    raw_download=True,
                    checksum=None,
                    timeout=engine.timeout,
                    retry=None,
                )
            )
        )
    except Failure as failure:
        gone = failure.kind in (Kind.ABSENT, Kind.CONDITION)
        short = failure.kind is Kind.RANGE
        error = translate(failure, Outcome.NOT_APPLIED)
    if gone:
        raise stale()
    if short:
        raise IntegrityError("the stored object ends before its last byte")
    raise error
