"""Reading files as text: strict, bounded, in chunks where the format allows.

Offsets count characters of the decoded text, a byte order mark not among them. What is wrong with
a file is said with its place in bytes or lines, never with what stands there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import attrs

from nexus_core.spi import InvalidArgumentError, NotFoundError, UnavailableError

CHUNK_BYTES: Final = 1 << 20
# A format that cannot be read in part is refused above its limit: parsed, it needs many times as
# much, for Markdown some hundreds of times.
MAX_WHOLE_BYTES: Final = 16 << 20
MAX_MARKDOWN_BYTES: Final = 4 << 20
# One line or record is held in memory as a whole.
MAX_RECORD_CHARS: Final = 4 << 20

NEWLINE: Final = re.compile(r"\r\n?|\n")
LINE_FEED: Final = re.compile(r"\n")

# Spelled out, because what Unicode counts as a blank belongs to the interpreter's version.
BLANKS: Final = (
    " \t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; what the system says of it goes no further."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise NotFoundError("the file to be cut is not there") from None
    except OSError:
        raise UnavailableError("the file to be cut cannot be read") from None


def chunks(path: Path) -> Iterator[str]:
    """Yield the text of a UTF-8 file piecemeal.

    Raises ``InvalidArgumentError`` with the byte offset of the first byte that is not UTF-8, or
    that is NUL.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    with opened(path) as file:
        offset = 0
        while True:
            data = file.read(CHUNK_BYTES)
            if offset == 0 and data.startswith(codecs.BOM_UTF8):
                data = data[len(codecs.BOM_UTF8) :]
                offset = len(codecs.BOM_UTF8)
            _refuse_nul(data, offset)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                _not_utf8(offset - pending + error.start)
            if text:
                yield text
            if not data:
                return
            offset += len(data)


def whole_bytes(path: Path, limit: int = MAX_WHOLE_BYTES) -> bytes:
    """Return a file's bytes; raises ``InvalidArgumentError`` when there are too many."""
    with opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidArgumentError(
            f"the file is longer than {limit} bytes, the most that is read of this format"
        )
    return data


def whole(path: Path, limit: int = MAX_WHOLE_BYTES) -> str:
    """Return a UTF-8 file's text; raises ``InvalidArgumentError`` as ``chunks`` does."""
    return decode(whole_bytes(path, limit))


def decode(data: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark, strictly."""
    _refuse_nul(data, 0)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        _not_utf8(error.start)


def _refuse_nul(data: bytes, offset: int) -> None:
    position = data.find(b"\0")
    if position >= 0:
        raise InvalidArgumentError(f"the file is not text: byte {offset + position} is NUL")


def _not_utf8(offset: int) -> NoReturn:
    raise InvalidArgumentError(
        f"the file is not UTF-8: byte {offset} does not decode",
        hint="convert it to UTF-8 before it is stored",
    ) from None


@attrs.frozen
class Line:
    """A line with its end, its number from 1, and the offset of its first character."""

    text: str
    number: int
    start: int


def lines(source: Iterable[str], ends: re.Pattern[str]) -> Iterator[Line]:
    """Cut text into lines, whatever chunks it comes in.

    Raises ``InvalidArgumentError`` for a line that is longer than a record may be.
    """
    buffer = ""
    number = 1
    offset = 0
    for chunk in source:
        buffer += chunk
        position = 0
        for end in ends.finditer(buffer):
            if end.group() == "\r" and end.end() == len(buffer):
                break  # the second half of CR LF may be in the next chunk
            yield Line(buffer[position : end.end()], number, offset + position)
            position = end.end()
            number += 1
        buffer = buffer[position:]
        offset += position
        if len(buffer) > MAX_RECORD_CHARS:
            too_long(number)
    if buffer:
        yield Line(buffer, number, offset)


def too_long(line: int) -> NoReturn:
    """Refuse a record that does not end."""
    raise InvalidArgumentError(
        f"the record that begins in line {line} is longer than {MAX_RECORD_CHARS} characters"
    )


def line_ends(text: str, start: int = 0, end: int | None = None) -> int:
    """Count the line ends in a stretch that does not begin or end between CR and LF."""
    stretch = (start, len(text) if end is None else end)
    return text.count("\n", *stretch) + text.count("\r", *stretch) - text.count("\r\n", *stretch)


class LineNumbers:
    """Line numbers of ascending offsets of one text, each stretch counted once."""

    def __init__(self, text: str, first: int = 1) -> None:
        self._text = text
        self._line = first
        self._offset = 0

    def at(self, offset: int) -> int:
        """The line of the character at ``offset``, which is not before the last one asked for."""
        self._line += line_ends(self._text, self._offset, offset)
        self._offset = offset
        return self._line
