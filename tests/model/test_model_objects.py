"""Bodies are read once and verified, and ranges hold exactly the bytes that they say."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.errors import (
    ChecksumMismatchError,
    InvalidArgumentError,
    QuotaExceededError,
    RangeNotSatisfiableError,
)
from nexus_core._model.objects import CHUNK, Body, ByteRange

DATA = bytes(range(256)) * 10_000  # two chunks and a half


class Pipe(io.RawIOBase):
    """A file that cannot seek, and gives few bytes at a time."""

    def __init__(self, data: bytes, *, end: bytes | None = b"") -> None:
        self._rest = data
        self._end = end

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes | None:
        size = min(size, 65_537)
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk or self._end


SOURCES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "file": io.BytesIO,
    "pieces": lambda data: [data[at : at + 70_001] for at in range(0, len(data), 70_001)],
    "generator": lambda data: (data[at : at + 9999] for at in range(0, len(data), 9999)),
    "one-huge-piece": lambda data: [data],
    "empty-pieces": lambda data: [b"", data, b"", bytearray(), memoryview(b"")],
    "pipe": Pipe,
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, len(DATA)])
def test_a_body_gives_its_bytes_in_chunks(kind: str, size: int) -> None:
    """Whatever it comes from, a body gives all its bytes in chunks of at most 1 MiB, and a hash."""
    data = DATA[:size]
    body = Body(SOURCES[kind](data))
    chunks = list(body)
    assert b"".join(chunks) == data
    assert all(type(chunk) is bytes and 1 <= len(chunk) <= CHUNK for chunk in chunks)
    assert body.read_size == size
    assert body.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("kind", SOURCES)
def test_size_is_known_where_it_can_be(kind: str) -> None:
    """The size is known beforehand for bytes and seekable files, and for nothing else."""
    known = kind in ("bytes", "bytearray", "memoryview", "file")
    assert Body(SOURCES[kind](DATA)).size == (len(DATA) if known else None)
    assert Body(SOURCES[kind](DATA), size=len(DATA)).size == len(DATA)


def test_a_file_is_read_from_where_it_stands(tmp_path: Path) -> None:
    """A file's bytes are those from its position on, and asking for the size does not move it."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        file.seek(1000)
        body = Body(file)
        assert file.tell() == 1000
        assert body.size == len(DATA) - 1000
        assert b"".join(body) == DATA[1000:]


def test_a_real_pipe_can_be_stored() -> None:
    """The reading end of a pipe is a body of unknown size."""
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as file:
        body = Body(file)
        assert body.size is None
        assert b"".join(body) == b"through a pipe"


def test_views_of_every_shape_are_their_bytes() -> None:
    """A view with gaps, several dimensions or wider items counts as the bytes that it shows."""
    gaps = memoryview(DATA)[::3]
    wide = memoryview(DATA).cast("I")
    table = memoryview(DATA[:600]).cast("B", (20, 30))
    for view in (gaps, wide, table):
        body = Body(view)
        assert body.size == view.nbytes
        assert b"".join(body) == view.tobytes()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_body_is_read_once(kind: str) -> None:
    """A second pass over a body is refused, whether or not the first came to its end."""
    for steps in (0, 1, 99):
        body = Body(SOURCES[kind](DATA))
        first = iter(body)
        for _ in range(1 + steps):
            next(first, b"")
        with pytest.raises(InvalidArgumentError):
            list(body)


def test_the_hash_is_not_there_before_the_end() -> None:
    """The checksum of a body that was not read, or not to its end, cannot be asked for."""
    body = Body(DATA)
    with pytest.raises(InvalidArgumentError):
        _ = body.sha256
    for _ in zip(body, range(1), strict=False):
        with pytest.raises(InvalidArgumentError):
            _ = body.sha256


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("wrong", [-1, 1, -len(DATA)])
def test_another_size_than_declared_is_an_error(kind: str, wrong: int) -> None:
    """A body that is longer or shorter than was declared fails when its end is reached."""
    body = Body(SOURCES[kind](DATA), size=len(DATA) + wrong)
    with pytest.raises(ChecksumMismatchError):
        list(body)
    with pytest.raises(InvalidArgumentError):
        _ = body.sha256


@pytest.mark.parametrize("kind", SOURCES)
def test_another_checksum_than_declared_is_an_error(kind: str) -> None:
    """A body with another SHA-256 than declared fails at its end; with the right one it passes."""
    right = hashlib.sha256(DATA).hexdigest()
    assert b"".join(Body(SOURCES[kind](DATA), sha256=right, size=len(DATA))) == DATA
    for wrong in (hashlib.sha256(DATA[1:]).hexdigest(), right[:-1], "", right + "0"):
        with pytest.raises(ChecksumMismatchError):
            list(Body(SOURCES[kind](DATA), sha256=wrong))


def test_a_source_that_fails_fails_the_body() -> None:
    """What a source raises on the way reaches the reader, and no checksum is given."""

    def broken() -> Iterator[bytes]:
        yield b"a"
        raise OSError("the disk is gone")

    body = Body(broken())
    with pytest.raises(OSError, match="the disk is gone"):
        list(body)
    with pytest.raises(InvalidArgumentError):
        _ = body.sha256


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda: io.StringIO("text"), id="text-file"),
        pytest.param(lambda: io.StringIO(""), id="empty-text-file"),
        pytest.param(lambda: Pipe(b"begin", end=None), id="would-block"),
        pytest.param(lambda: "text", id="str"),
        pytest.param(lambda: [b"a", "b"], id="text-piece"),
        pytest.param(lambda: [b"a", 1], id="int-piece"),
        pytest.param(lambda: [b"a", None], id="none-piece"),
        pytest.param(lambda: [[b"a"]], id="nested-pieces"),
    ],
)
def test_what_is_not_bytes_is_refused(source: Callable[[], Any]) -> None:
    """Text, other pieces, and a file that has nothing yet are refused, never cut short silently."""
    with pytest.raises(InvalidArgumentError):
        list(Body(source()))


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_bytes_are_read_at_once(size: int) -> None:
    """The pass over bytes can be made at once: it gives those very bytes, hashed and counted."""
    data = DATA[:size]
    body = Body(data, size=size, sha256=hashlib.sha256(data).hexdigest(), limit=size)
    assert body.whole() is data
    assert (body.sha256, body.read_size) == (hashlib.sha256(data).hexdigest(), size)
    with pytest.raises(InvalidArgumentError):
        body.whole()
    with pytest.raises(InvalidArgumentError):
        list(body)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "bytes"])
def test_only_bytes_are_read_at_once(kind: str) -> None:
    """Of what is not bytes, or could change, nothing is read at once, and the pass is still due."""
    body = Body(SOURCES[kind](DATA))
    assert body.whole() is None
    assert b"".join(body) == DATA


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"size": 4}, ChecksumMismatchError),
        ({"size": 6}, ChecksumMismatchError),
        ({"sha256": "0" * 64}, ChecksumMismatchError),
        ({"limit": 4}, QuotaExceededError),
    ],
)
def test_what_is_read_at_once_is_verified(wrong: Any, error: type[Exception]) -> None:
    """Another size or checksum than was declared, or too much, is an error at once."""
    body = Body(b"bytes", **wrong)
    with pytest.raises(error):
        body.whole()


def test_a_body_does_not_change_with_its_source() -> None:
    """Every chunk is a copy: a buffer that is overwritten later leaves what was given as it was."""
    buffer = bytearray(DATA)
    body = Body(buffer)
    chunks = []
    for chunk in body:
        chunks.append(chunk)
        start = sum(map(len, chunks)) - len(chunk)
        buffer[start : start + len(chunk)] = bytes(len(chunk))
    assert b"".join(chunks) == DATA
    assert body.sha256 == hashlib.sha256(DATA).hexdigest()


# start, stop, size of the object, and the bytes that answer; None where no byte does.
RANGES: list[tuple[int, int | None, int, tuple[int, int] | None]] = [
    (0, None, 10, (0, 10)),
    (0, 1, 10, (0, 1)),
    (0, 10, 10, (0, 10)),
    (0, 11, 10, (0, 10)),
    (9, None, 10, (9, 10)),
    (9, 10, 10, (9, 10)),
    (9, 99, 10, (9, 10)),
    (10, None, 10, None),
    (10, 11, 10, None),
    (11, None, 10, None),
    (5, 5, 10, None),
    (5, 4, 10, None),
    (0, 0, 10, None),
    (0, None, 0, None),
    (0, 1, 0, None),
    (0, None, 1, (0, 1)),
    (0, -1, 10, None),
    (5, -1, 10, None),
    (-1, None, 10, (9, 10)),
    (-10, None, 10, (0, 10)),
    (-11, None, 10, (0, 10)),
    (-1, None, 0, None),
    (-1, None, 1, (0, 1)),
    (-5, 8, 10, None),
    (-5, -1, 10, None),
    (2**63, None, 10, None),
    (0, 2**63, 10, (0, 10)),
]


@pytest.mark.parametrize(("start", "stop", "size", "answer"), RANGES)
def test_range_table(
    start: int, stop: int | None, size: int, answer: tuple[int, int] | None
) -> None:
    """Each range resolves to the bytes of the table, or is refused where the table has none."""
    if answer is None:
        with pytest.raises(RangeNotSatisfiableError):
            ByteRange(start, stop).resolve(size)
    else:
        assert ByteRange(start, stop).resolve(size) == answer


@given(st.integers(-30, 30), st.none() | st.integers(-30, 30), st.integers(0, 25))
def test_a_range_is_what_counting_gives(start: int, stop: int | None, size: int) -> None:
    """A range resolves to exactly the positions that belong to it, counted one by one."""
    if start < 0:
        wanted = [at for at in range(size) if stop is None and at >= size + start]
    else:
        wanted = [at for at in range(size) if at >= start and (stop is None or at < stop)]
    if wanted:
        assert ByteRange(start, stop).resolve(size) == (wanted[0], wanted[-1] + 1)
    else:
        with pytest.raises(RangeNotSatisfiableError):
            ByteRange(start, stop).resolve(size)


def test_last_bytes() -> None:
    """The last bytes of an object are counted from its end, and there must be at least one."""
    assert ByteRange.last(3).resolve(10) == (7, 10)
    assert ByteRange.last(99).resolve(10) == (0, 10)
    for count in (0, -1):
        with pytest.raises(RangeNotSatisfiableError):
            ByteRange.last(count)
