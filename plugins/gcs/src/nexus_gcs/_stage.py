"""Bytes on their way: a body larger than one request, under a staging name that nothing reads.

It goes there by one resumable session, chunk after chunk, so that memory holds one chunk and a
broken connection costs one. The engine shows nothing of a session that was not finished, and
forgets it after a week; ours are cancelled as soon as the body raises.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from nexus_core.spi import (
    ChecksumMismatchError,
    ClosedError,
    IntegrityError,
    Outcome,
    Scope,
    StoreError,
    UnavailableError,
)
from nexus_gcs._checksum import extended, spelt
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, Kind, refused, translate

# Up to here a body is sent by one request; also the size of a chunk, which the engine wants to be a
# multiple of 256 KiB.
INLINE: Final = 8 << 20
_ROOT: Final = "nexus-staging"
_RANGE: Final = re.compile(r"bytes=0-([0-9]{1,15})")
_MORE: Final = 308


def staging_prefix(scope: Scope) -> str:
    """The prefix of what a scope's writers have not put in place yet; no object's name has it."""
    return f"{_ROOT}/{scope.env}/{scope.tenant_id}/"


@contextmanager
def staged(
    engine: Engine, scope: Scope, target: Target, chunks: Iterator[bytes]
) -> Iterator[tuple[Any, str]]:
    """Upload a body and verify its checksum; give a handle of it, and the checksum.

    It is deleted when the block ends. Whatever raises here has changed no object.
    """
    place = Target(target.bucket, staging_prefix(scope) + secrets.token_hex(16), target.key)
    upload = _Upload(engine, place)
    summed = _Sum(chunks)
    try:
        for offset, piece, last in _pieces(iter(summed)):
            upload.send(offset, piece, last=last)
    except BaseException:
        upload.cancel()
        raise
    generation, stored = upload.result()
    source = place.blob(generation)
    try:
        if stored != spelt(summed.value):
            raise ChecksumMismatchError("the bytes changed on their way to the engine")
        yield source, stored
    finally:
        with suppress(Failure, StoreError):
            once(
                # Named, for where versions are kept it would stay as an old one otherwise.
                lambda: place.blob(generation).delete(
                    if_generation_match=generation, timeout=engine.timeout, retry=None
                )
            )


def _pieces(chunks: Iterator[bytes]) -> Iterator[tuple[int, memoryview, bool]]:
    """Offset, bytes and whether they are the last: all of one size but the last. Each piece is good
    until the next is asked for."""
    piece = memoryview(bytearray(INLINE))
    filled = offset = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            # Something must be left for the last piece, which says how long all is.
            if filled == INLINE:
                yield offset, piece, False
                offset += INLINE
                filled = 0
            part = rest[: INLINE - filled]
            piece[filled : filled + len(part)] = part
            filled += len(part)
            rest = rest[len(part) :]
    yield offset, piece[:filled], True


class _Sum:
    """The checksum of chunks that go by."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.value = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.value = extended(self.value, chunk)
            yield chunk


class _Upload:
    """One resumable session."""

    def __init__(self, engine: Engine, place: Target) -> None:
        self._engine = engine
        self._place = place
        self._address: str | None = None
        self._made: dict[str, Any] | None = None

    def send(self, offset: int, piece: memoryview, *, last: bool) -> None:
        """Send a piece until the engine has all of it; raises an error of the tree."""
        if self._address is None:
            self._address = self._engine.patience.told(self._begin, Outcome.NOT_APPLIED)
        end = offset + len(piece)
        there = offset
        turn = 0
        while self._made is None and (there < end or last):
            total = str(end) if last else "*"
            failure = Failure(Kind.BUSY)
            before = there
            try:
                there = once(partial(self._put, piece[there - offset :], there, total))
            except Failure as failed:
                failure = failed
            if there > before or self._made is not None:
                turn = 0
                continue
            # Refused, lost, or taken without keeping any of it.
            if not failure.passes or not self._engine.patience.pause(turn, failure):
                raise self._failed(failure)
            turn += 1
            there = self._ask(total)
        if there < offset or there > end:
            raise IntegrityError("the engine lost a part of an upload, or made one up")

    def _begin(self) -> str:
        return str(
            self._place.blob().create_resumable_upload_session(
                content_type="application/octet-stream",
                if_generation_match=0,
                checksum=None,
                timeout=self._engine.timeout,
                retry=None,
            )
        )

    def _put(self, data: memoryview, start: int, total: str) -> int:
        span = f"{start}-{start + len(data) - 1}" if data else "*"
        return self._request(data, f"bytes {span}/{total}")

    def _ask(self, total: str) -> int:
        """How much the engine has, where an answer was lost."""
        try:
            return self._engine.patience.repeat(
                lambda: self._request(memoryview(b""), f"bytes */{total}")
            )
        except Failure as failure:
            error = self._failed(failure)
        raise error

    def _request(self, data: memoryview, span: str) -> int:
        """One request of the session; return how many bytes the engine has from the first on."""
        answer = self._engine.session().put(
            self._address,
            data=data,
            headers={"Content-Range": span},
            timeout=self._engine.timeout,
            allow_redirects=False,
        )
        if answer.status_code in (200, 201):
            made: dict[str, Any] = answer.json()
            self._made = made
            return int(made["size"])
        if answer.status_code != _MORE:
            raise refused(answer.status_code, answer)
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        return 0 if match is None else int(match[1]) + 1

    def _failed(self, failure: Failure) -> StoreError:
        if failure.kind is Kind.ABSENT:
            return UnavailableError(
                "the engine has given up the upload", outcome=Outcome.NOT_APPLIED
            )
        # Whatever became of the bytes, they are no object's yet.
        return translate(failure, Outcome.NOT_APPLIED)

    def result(self) -> tuple[int, str]:
        """Generation and checksum of what was made."""
        made = self._made or {}
        try:
            return int(made["generation"]), str(made["crc32c"])
        except (KeyError, TypeError, ValueError):
            pass
        raise IntegrityError("the engine described an upload without its generation or checksum")

    def cancel(self) -> None:
        """Tell the engine to forget what it has; without effect if it does not listen."""
        if self._address is not None and self._made is None:
            address = self._address
            with suppress(Failure, ClosedError):
                once(lambda: self._engine.session().delete(address, timeout=self._engine.timeout))
