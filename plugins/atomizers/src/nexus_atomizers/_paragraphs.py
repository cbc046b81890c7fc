"""Paragraphs of a stream of text: parted by blank lines, cut where they are too long.

What a piece is depends on the next ``limit + LOOKAHEAD`` characters and on nothing else: neither
on the chunks in which the text arrives nor on how much there is of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from nexus_atomizers._cut import BLANK_LINE, LEADING_BLANKS, boundary, skipped
from nexus_atomizers._source import BLANKS, line_ends

LOOKAHEAD: Final = 64


@attrs.frozen
class Paragraph:
    """A piece of running text, the offset of its first character, and its line from 1."""

    text: str
    start: int
    line: int


def paragraphs(source: Iterable[str], limit: int) -> Iterator[Paragraph]:
    """Yield the paragraphs of a text that comes in chunks; holds little more than one of both."""
    cursor = _Cursor(iter(source))
    while cursor.skip_blanks():
        ahead = cursor.peek(limit + LOOKAHEAD)
        blank_line = BLANK_LINE.search(ahead)
        if blank_line is not None and blank_line.start() <= limit:
            cut = blank_line.start()
        elif len(ahead.rstrip(BLANKS)) <= limit and len(ahead) < limit + LOOKAHEAD:
            cut = len(ahead)
        else:
            cut = boundary(ahead, limit)
        yield Paragraph(ahead[:cut].rstrip(BLANKS), cursor.offset, cursor.line)
        cursor.advance(cut)


class _Cursor:
    """A place in a text of which only a part is in memory."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._buffer = ""
        self._position = 0
        self._after_return = False
        self.offset = 0
        self.line = 1

    def peek(self, count: int) -> str:
        """The next ``count`` characters, fewer only at the end of the text."""
        while len(self._buffer) - self._position < count and self._fill():
            pass
        return self._buffer[self._position : self._position + count]

    def advance(self, count: int) -> None:
        """Go on by characters that have been seen."""
        passed = self._buffer[self._position : self._position + count]
        if not passed:
            return
        # CR LF is one line end, also where a chunk or a piece ends between the two.
        self.line += line_ends(passed) - (self._after_return and passed.startswith("\n"))
        self._after_return = passed.endswith("\r")
        self.offset += count
        self._position += count

    def skip_blanks(self) -> bool:
        """Go on to the next character that is no blank; ``False`` where there is none."""
        while True:
            self.advance(skipped(LEADING_BLANKS, self._buffer, self._position) - self._position)
            if self._position < len(self._buffer):
                return True
            if not self._fill():
                return False

    def _fill(self) -> bool:
        chunk = next(self._source, "")
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        return bool(chunk)
