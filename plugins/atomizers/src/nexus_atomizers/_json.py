"""JSON: values as they are written, cut between the members of what is too long.

Text is checked to be JSON and then never re-written: a piece is a slice of the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs

from nexus_atomizers._cut import spans, trimmed
from nexus_atomizers._parameters import max_chars, only
from nexus_atomizers._source import LINE_FEED, LineNumbers, chunks, lines, whole
from nexus_core.spi import Atomizer, InvalidArgumentError, Piece

MAX_DEPTH: Final = 64

_BLANKS: Final = re.compile(r"[ \t\n\r]*+")
# A string, or a character that has a meaning outside of strings. A string that does not end is
# met by its quote alone; the parser has refused it by then, or will.
_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)


class JsonAtomizer(Atomizer):
    """One JSON document. If it is too long, the objects and arrays in it are pieces, and runs of
    other members between them; those that are too long are cut in the same way.

    Locators: ``line`` from 1, ``start`` and ``end`` in characters.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield parts; raises ``InvalidArgumentError`` for what is not JSON or nests too deeply."""
        only(parameters, "max_chars")
        return _document(path, max_chars(parameters))


class JsonLinesAtomizer(Atomizer):
    """UTF-8 lines with one JSON value each, read one at a time; a line is a piece, or cut like a
    document if it is too long. Blank lines are passed over.

    Locators: ``line`` from 1, ``start`` and ``end`` in characters.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield values; raises ``InvalidArgumentError`` at the first line that is not JSON."""
        only(parameters, "max_chars")
        return _lines(path, max_chars(parameters))


def _document(path: Path, limit: int) -> Iterator[Piece]:
    text = whole(path)
    numbers = LineNumbers(text)
    for start, end in _parts(text, limit, first_line=1):
        yield Piece(
            text=text[start:end],
            locator={"line": numbers.at(start), "start": start, "end": end},
        )


def _lines(path: Path, limit: int) -> Iterator[Piece]:
    for line in lines(chunks(path), LINE_FEED):
        if _skip(line.text, 0) == len(line.text):
            continue
        for start, end in _parts(line.text, limit, first_line=line.number):
            yield Piece(
                text=line.text[start:end],
                locator={
                    "line": line.number,
                    "start": line.start + start,
                    "end": line.start + end,
                },
            )


def _parts(text: str, limit: int, *, first_line: int) -> Iterator[tuple[int, int]]:
    tree = _Tree(text, limit)
    _check(text, first_line)
    for start, end in tree.parts():
        yield from spans(text, start, end, limit, lines=True)


def _check(text: str, first_line: int) -> None:
    # Numbers stay text: a number of any length is JSON, and none is needed here.
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(
            f"the file is not JSON: line {first_line + error.lineno - 1}, column {error.colno}"
        ) from None
    except ValueError:
        raise InvalidArgumentError(
            f"the file is not JSON: NaN or an infinity in the value of line {first_line}"
        ) from None


def _no_number(_: str) -> NoReturn:
    raise ValueError


@attrs.define
class _Open:
    """An array or object whose end has not come: where it and its current member began, its parts
    so far (start, end, whether it stands alone), and whether the current member must."""

    start: int
    member: int
    parts: list[tuple[int, int, bool]] = attrs.field(factory=list)
    nested: bool = False


class _Tree:
    """The parts of a text that is cut as JSON, found in one pass, before it is known to be JSON.

    Of a value that fits, only its place is kept.
    """

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._open = [_Open(0, 0)]
        for token in _TOKEN.finditer(text):
            sign = token.group()
            if sign in ("[", "{"):
                self._enter(token.start())
            elif sign in ("]", "}"):
                self._leave(token.start())
            elif sign == ",":
                self._member(token.start())
            elif sign == '"':
                break  # a string without an end: not JSON, which the parser will say

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of the parts in order."""
        self._member(len(self._text))
        for start, end, _ in self._open[0].parts:
            yield start, end

    def _enter(self, start: int) -> None:
        if len(self._open) > MAX_DEPTH:
            raise InvalidArgumentError(f"the JSON is nested more than {MAX_DEPTH} levels deep")
        self._open.append(_Open(start, start + 1))

    def _leave(self, end: int) -> None:
        if len(self._open) == 1:
            return  # more ends than beginnings: not JSON either
        self._member(end)
        closed = self._open.pop()
        outer = self._open[-1]
        if end + 1 - closed.start <= self._limit:
            outer.nested = True
            return
        # Too long to be one piece. Its parts take its place, after its key if it has one.
        outer.nested = False
        self._part(outer, outer.member, closed.start)
        # Nothing that follows may be joined to what was inside.
        outer.parts.extend((start, stop, True) for start, stop, _ in closed.parts)
        outer.member = end + 1

    def _member(self, end: int) -> None:
        inner = self._open[-1]
        self._part(inner, inner.member, end)
        inner.member = end + 1
        inner.nested = False

    def _part(self, inner: _Open, start: int, end: int) -> None:
        start = _skip(self._text, start)
        end = trimmed(self._text, start, end)
        if start >= end:
            return
        if inner.parts and not inner.nested:
            first, _, nested = inner.parts[-1]
            if not nested and end - first <= self._limit:
                inner.parts[-1] = (first, end, False)
                return
        inner.parts.append((start, end, inner.nested))


def _skip(text: str, start: int) -> int:
    match = _BLANKS.match(text, start)
    assert match is not None
    return match.end()
