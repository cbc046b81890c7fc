"""What goes by obstore, and what it is worth: nothing is taken on trust that the reference way
checks.

Each function answers ``None`` where obstore cannot say or show all that is needed; the caller then
goes the reference way, by the client library, which also finds the words for most refusals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from nexus_core.spi import ByteRange, ChecksumMismatchError, IntegrityError, Outcome, StoreError
from nexus_gcs._engine import Engine, Target
from nexus_gcs._failures import Failure, Kind, not_found, translate
from nexus_gcs._record import MD5, WRITE, Found, Sealed, told
from nexus_gcs._wire import Answer, Wire

# The most that one request asks for.
WINDOW: Final = 8 << 20


@attrs.frozen
class Begun:
    """A read whose first request has been answered with bytes from ``start`` on."""

    found: Found
    start: int
    data: bytes = attrs.field(repr=False)


def create(engine: Engine, target: Target, sealed: Sealed, data: bytes) -> Found | None:
    """Make an object where none is, and see that the engine has the bytes that were sent.

    Raises ``Failure``; and ``ChecksumMismatchError`` where it has others, once they are gone.
    """
    wire = engine.wire(target.name)
    if wire is None or MD5 not in sealed.metadata:
        return None
    headers = {**sealed.metadata, "Content-Type": sealed.content_type}
    try:
        generation, etag = wire.create(target.bucket.name, target.name, data, headers)
    except Failure as failure:
        # The library's session has a way out where a token ended before its time.
        if failure.kind is not Kind.UNKNOWN_KEYS:
            raise
        return None

    def seen(etag: str) -> Found | None:
        return told(
            target.key,
            target.name,
            sealed.metadata,
            generation=generation,
            size=len(data),
            content_type=sealed.content_type,
            etag=etag,
            versions=engine.config.versions,
        )

    if etag != sealed.metadata[MD5]:
        # It is no digest where keys are the customer's, for one: then it says nothing.
        _verify(engine, target, sealed, generation)
    return seen(sealed.metadata[MD5])


def _verify(engine: Engine, target: Target, sealed: Sealed, generation: int) -> None:
    """Have the engine's own checksum of what was made, and remove it if that is not ours."""

    def ask() -> Any:
        blob = target.blob(generation)
        blob.reload(projection="noAcl", timeout=engine.timeout, retry=None)
        return blob

    def remove() -> None:
        target.blob(generation).delete(
            if_generation_match=generation, timeout=engine.timeout, retry=None
        )

    blob = _unless_gone(engine, ask)
    if blob is None or blob.crc32c == sealed.crc32c:
        # Where it is gone, somebody has seen and replaced or deleted it.
        return
    if (blob.metadata or {}).get(WRITE) != sealed.write:
        # What answered was no answer to our request.
        raise Failure(Kind.STRANGE)
    _unless_gone(engine, remove)
    raise ChecksumMismatchError(
        "the bytes changed on their way to the engine", outcome=Outcome.NOT_APPLIED
    )


def _unless_gone(engine: Engine, request: Callable[[], Any]) -> Any:
    """What is known of a generation that was made, ``None`` if it is there no more."""
    try:
        return engine.patience.repeat(request)
    except Failure as failure:
        status, gone = failure.status, failure.kind in (Kind.ABSENT, Kind.CONDITION)
    if gone:
        return None
    # It was made; what became of it is not known.
    raise Failure(Kind.BUSY, status)


def look(engine: Engine, target: Target) -> Found | None:
    """What is known of the current generation; raises errors of the tree."""
    wire = _telling(engine, target)
    if wire is None:
        return None
    answer = _asked(engine, lambda: wire.look(target.bucket.name, target.name))
    return None if answer is None else _described(engine, target, answer)


def begin(engine: Engine, target: Target, range: ByteRange | None) -> Begun | None:
    """The current generation and the first of its bytes that are asked for; raises errors of the
    tree."""
    wire = _telling(engine, target)
    span = _span(range)
    if wire is None or span is None:
        return None
    answer = _asked(engine, lambda: wire.read(target.bucket.name, target.name, span))
    found = None if answer is None else _described(engine, target, answer)
    if answer is None or found is None:
        return None
    start, stop = ByteRange(0).resolve(answer.size) if range is None else range.resolve(answer.size)
    if (answer.start, len(answer.data)) != (start, min(stop - start, WINDOW)):
        raise IntegrityError("the engine gave other bytes than was asked for")
    return Begun(found, start, answer.data)


def window(engine: Engine, target: Target, generation: int, start: int, stop: int) -> bytes | None:
    """Bytes of one generation; raises ``Failure``, with the kind ABSENT where it is gone."""
    wire = engine.wire(target.name)
    if wire is None:
        return None
    try:
        answer = engine.patience.repeat(
            lambda: wire.read(target.bucket.name, target.name, (start, stop), generation)
        )
    except Failure as failure:
        if failure.passes or failure.kind is Kind.ABSENT:
            raise
        return None
    if (answer.generation, answer.start) != (generation, start):
        raise IntegrityError("the engine gave other bytes than was asked for")
    return answer.data


def _telling(engine: Engine, target: Target) -> Wire | None:
    """The fast road, where there is one and its answers tell all: of locks they tell nothing."""
    return None if engine.config.object_lock is not None else engine.wire(target.name)


def _asked(engine: Engine, request: Callable[[], Answer]) -> Answer | None:
    error: StoreError
    try:
        return engine.patience.repeat(request)
    except Failure as failure:
        if failure.kind is Kind.ABSENT:
            error = not_found()
        elif failure.passes:
            error = translate(failure, Outcome.NOT_APPLIED)
        else:
            return None
    raise error


def _described(engine: Engine, target: Target, answer: Answer) -> Found | None:
    return told(
        target.key,
        target.name,
        answer.metadata,
        generation=answer.generation,
        size=answer.size,
        content_type=answer.content_type,
        etag=answer.etag,
        versions=engine.config.versions,
    )


def _span(range: ByteRange | None) -> tuple[int, int] | int | None:
    """The first bytes of a range as one request asks for them."""
    if range is None:
        return 0, WINDOW
    if range.start < 0:
        return -range.start if range.stop is None and -range.start <= WINDOW else None
    stop = range.start + WINDOW if range.stop is None else min(range.stop, range.start + WINDOW)
    return (range.start, stop) if stop > range.start else None
