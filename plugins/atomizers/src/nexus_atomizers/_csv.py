"""Comma-separated values: rows, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from nexus_atomizers._cut import spans
from nexus_atomizers._parameters import delimiter, max_chars, only
from nexus_atomizers._source import (
    BLANKS,
    MAX_RECORD_CHARS,
    NEWLINE,
    Line,
    LineNumbers,
    chunks,
    lines,
    too_long,
)
from nexus_core.spi import Atomizer, InvalidArgumentError, Piece

# From inside a quoted field to its end: a doubled quote is part of the value.
_TO_QUOTE: Final = re.compile(r'[^"]*+(?:""[^"]*+)*+"')


class CsvAtomizer(Atomizer):
    """UTF-8 rows, each a piece, in the source's own words: quotes and delimiters stay, and a header
    is the first row. A row that is too long is cut. Rows are not compared: any number of fields.

    Locators: ``row`` from 1 (blank lines are no rows), ``line``, ``start`` and ``end``.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield rows; raises ``InvalidArgumentError`` for a quote that is not closed."""
        only(parameters, "max_chars", "delimiter")
        return _pieces(path, max_chars(parameters), delimiter(parameters))


def _pieces(path: Path, limit: int, separator: str) -> Iterator[Piece]:
    for number, record in enumerate(_records(lines(chunks(path), NEWLINE), separator), start=1):
        numbers = LineNumbers(record.text, record.number)
        for start, end in _cut(record.text, limit):
            yield Piece(
                text=record.text[start:end],
                locator={
                    "row": number,
                    "line": numbers.at(start),
                    "start": record.start + start,
                    "end": record.start + end,
                },
            )


def _cut(row: str, limit: int) -> Iterator[tuple[int, int]]:
    # A blank at the end of a row can be an empty field.
    end = len(row.rstrip("\r\n"))
    if end <= limit:
        yield 0, end
    else:
        yield from spans(row, 0, end, limit)


def _records(source: Iterator[Line], separator: str) -> Iterator[Line]:
    quotes = _Quotes(separator)
    parts: list[str] = []
    size = 0
    first: Line | None = None
    for line in source:
        if first is None:
            if not line.text.strip(BLANKS):
                continue
            first = line
        parts.append(line.text)
        size += len(line.text)
        if size > MAX_RECORD_CHARS:
            too_long(first.number)
        if not quotes.open_after(line.text):
            yield attrs.evolve(first, text="".join(parts))
            parts, size, first = [], 0, None
    if first is not None:
        raise InvalidArgumentError(
            f"the file is not CSV: a quote in the row that begins in line {first.number} is not "
            "closed"
        )


class _Quotes:
    """Whether a line ends inside a quoted field. Quotes count only where a field begins."""

    def __init__(self, separator: str) -> None:
        self._separator = separator
        self._inside = False

    def open_after(self, line: str) -> bool:
        if not self._inside and '"' not in line:
            return False
        position = 0
        if not self._inside and line.startswith('"'):
            self._inside = True
            position = 1
        while True:
            if self._inside:
                closing = _TO_QUOTE.match(line, position)
                if closing is None:
                    return True
                self._inside = False
                position = closing.end()
            position = line.find(self._separator, position) + 1
            if position == 0:
                return False
            if line.startswith('"', position):
                self._inside = True
                position += 1
