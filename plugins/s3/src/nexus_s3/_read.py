"""Reading one version of an object, to its end or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from nexus_core.spi import (
    ByteRange,
    ClosedError,
    IntegrityError,
    ObjectStream,
    PreconditionFailedError,
    StoreError,
)
from nexus_s3._engine import Patience, Target
from nexus_s3._failures import Failure, Kind, classify, not_found, translate
from nexus_s3._hush import OURS
from nexus_s3._look import is_unlisted, look
from nexus_s3._record import Found, found, parts_of
from nexus_s3._write import mismatch

CHUNK: Final = 1 << 20
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def opened(
    patience: Patience,
    target: Target,
    range: ByteRange | None,
    if_match: str | None,
) -> AbstractContextManager[ObjectStream]:
    """See ``RawBackend.open``. A connection that breaks is taken up again where it broke, on the
    same version or with an error."""
    return _Stream(patience, target, range, if_match)


def _asked(
    patience: Patience, target: Target, range: ByteRange | None, if_match: str | None
) -> Any:
    wanted: dict[str, str] = {}
    if if_match is not None:
        named = parts_of(if_match)
        wanted["IfMatch"] = "0" if named is None else named[0]
    if range is not None:
        wanted["Range"] = _asked_range(range)
    error: StoreError
    try:
        return patience.repeat(lambda: target.call("get_object", **wanted))
    except Failure as failure:
        if failure.kind is Kind.CONDITION:
            error = mismatch()
        elif failure.kind is Kind.DENIED and is_unlisted(patience, target):
            error = not_found()
        else:
            error = translate(failure)
    raise error


def _asked_range(range: ByteRange) -> str:
    if range.start < 0:
        return f"bytes={range.start}"
    # Beyond what HTTP can say, the range is asked for from its start and refused on the answer.
    stop = "" if range.stop is None or range.stop <= range.start else range.stop - 1
    return f"bytes={range.start}-{stop}"


class _Stream:
    """The bytes of one version, over as many connections as it takes; entered once."""

    __slots__ = (
        "_body",
        "_closed",
        "_found",
        "_if_match",
        "_patience",
        "_position",
        "_range",
        "_stop",
        "_target",
    )
    _body: Any
    _found: Found

    def __init__(
        self, patience: Patience, target: Target, range: ByteRange | None, if_match: str | None
    ) -> None:
        self._patience = patience
        self._target = target
        self._range = range
        self._if_match = if_match
        self._closed = False

    def __enter__(self) -> ObjectStream:
        response = _asked(self._patience, self._target, self._range, self._if_match)
        self._body = response["Body"]
        try:
            start = self._check(response)
        except BaseException:
            self._close()
            raise
        return ObjectStream(self._found.info, start, self._stop, self._chunks())

    def __exit__(self, *_: object) -> None:
        self._close()

    def _check(self, response: Any) -> int:
        """See that the answer is what was asked for, and where it begins; raises an error of the
        tree."""
        length = int(response.get("ContentLength") or 0)
        if self._range is None:
            start, stop, size = 0, length, length
            if response.get("ContentRange"):
                raise _other_range()
        else:
            if not length and not response.get("ContentRange"):
                # Some engines answer so where there is no byte that a range could hold.
                self._range.resolve(0)
            start, stop, size = _content_range(response)
            if stop - start != length or (start, stop) != self._range.resolve(size):
                raise _other_range()
        self._found = found(self._target, response, size)
        if self._if_match is not None and not _is(self._found, self._if_match):
            raise mismatch()
        self._position, self._stop = start, stop
        return start

    def _chunks(self) -> Iterator[bytes]:
        """The bytes from start to stop."""
        turn = 0
        while self._position < self._stop:
            if self._closed:
                raise ClosedError("the stream was read after the block that opened it")
            try:
                chunk = self._read()
            except Failure as failure:
                if not failure.passes or not self._patience.pause(turn):
                    error = translate(failure)
                    raise error from None
                turn += 1
                self._resume()
                continue
            self._position += len(chunk)
            yield chunk

    def _read(self) -> bytes:
        failure: Failure
        try:
            left = self._stop - self._position
            # What ``Hushed`` does, in place: every chunk goes through here.
            OURS.depth += 1
            try:
                chunk = self._body.read(min(CHUNK, left))
            finally:
                OURS.depth -= 1
            if chunk and len(chunk) <= left:
                return bytes(chunk)
            failure = Failure(Kind.LOST)
        except Exception as error:  # noqa: BLE001  # the library leaks urllib3's and http's
            failure = classify(error)
            if failure.kind is Kind.STRANGE:
                failure = Failure(Kind.LOST)
        raise failure

    def _resume(self) -> None:
        """Ask for the rest of the same version."""
        self._body.close()
        asked = {"Range": f"bytes={self._position}-{self._stop - 1}", "IfMatch": self._found.etag}
        if self._found.info.version_id is not None:
            asked["VersionId"] = self._found.info.version_id
        error: StoreError
        try:
            response = self._patience.repeat(lambda: self._target.call("get_object", **asked))
        except Failure as failure:
            gone = failure.kind in (Kind.CONDITION, Kind.ABSENT)
            error = _changed() if gone else translate(failure)
            raise error from None
        self._body = response["Body"]
        start, stop, size = _content_range(response)
        again = found(self._target, response, size)
        if again.write != self._found.write:
            raise _changed()
        if (start, stop, size) != (self._position, self._stop, self._found.info.size):
            raise _other_range()

    def _close(self) -> None:
        """Give the connection up. Idempotent."""
        self._closed = True
        self._body.close()


def head(patience: Patience, target: Target) -> Found:
    """See ``RawBackend.head``."""
    present = look(patience, target)
    if present is None:
        raise not_found()
    return present


def _is(present: Found, if_match: str) -> bool:
    named = parts_of(if_match)
    return named is not None and present.etag == named[0] and named[1] in (None, present.write)


def _content_range(response: Any) -> tuple[int, int, int]:
    said = _CONTENT_RANGE.fullmatch(str(response.get("ContentRange") or ""))
    if said is None:
        raise _other_range()
    first, last, size = (int(each) for each in said.groups())
    return first, last + 1, size


def _other_range() -> IntegrityError:
    return IntegrityError("the engine answered with another range than it was asked for")


def _changed() -> PreconditionFailedError:
    return PreconditionFailedError("the object was replaced or deleted while it was being read")
