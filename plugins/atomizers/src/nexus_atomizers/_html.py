"""HTML: the text of a page, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from nexus_atomizers._cut import packed, skipped, spans
from nexus_atomizers._html_charset import decoded
from nexus_atomizers._html_tokens import Tag, Text, tokens
from nexus_atomizers._parameters import max_chars, only
from nexus_atomizers._sections import Sections
from nexus_atomizers._source import BLANKS, NEWLINE, LineNumbers, whole_bytes
from nexus_core.spi import Atomizer, Piece

_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_GROUPS: Final = {
    **dict.fromkeys(("dir", "dl", "menu", "ol", "ul"), "list"),
    "table": "table",
}
_VERBATIM: Final = frozenset(("listing", "plaintext", "pre", "textarea", "xmp"))
# fmt: off
_BLOCKS: Final = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details",
    "dialog", "div", "dt", "fieldset", "figcaption", "figure", "footer", "form", "head", "header",
    "hgroup", "hr", "html", "legend", "li", "main", "nav", "optgroup", "option", "p", "search",
    "section", "select", "summary", "tbody", "tfoot", "thead", "title", "tr",
    *_HEADINGS, *_GROUPS, *_VERBATIM,
))
# fmt: on

_SPACES: Final = re.compile(r"[\t\n\f\r ]+")
_LEADING: Final = re.compile(r"[\t\n\f\r ]*+")
_SPACE_RUN: Final = re.compile(r" +")
_AROUND_BREAK: Final = re.compile(r" *\n *")


class HtmlAtomizer(Atomizer):
    """What a page says, without markup, scripts, styles and templates; references are decoded and
    blanks collapsed as a browser does, nothing else is changed. UTF-8, or the charset that a
    ``meta`` element declares.

    A block (paragraph, division, ...) is a piece; a heading is the beginning of the piece that it
    opens, unless that is preformatted. A list or table is one piece if it fits, a line for each
    item or row and a tab between cells, else runs of its lines. What attributes say, and what is
    hidden by style, is not considered.

    Locators: ``block`` (what it is), ``line`` from 1 and ``start`` in characters where its source
    begins, and the ``section`` it is in, by numbers, with the ``level`` of the section's heading.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield blocks; raises ``InvalidArgumentError`` for a charset that is not known or not
        kept."""
        only(parameters, "max_chars")
        return _pieces(path, max_chars(parameters))


@attrs.frozen
class _Line:
    text: str
    number: int
    start: int


@attrs.frozen
class _Block:
    kind: str
    lines: tuple[_Line, ...]
    level: int = 0


def _pieces(path: Path, limit: int) -> Iterator[Piece]:
    sections = Sections()
    heading: tuple[_Line, ...] = ()
    for block in _Page(decoded(whole_bytes(path))).blocks():
        if block.kind == "heading":
            sections.enter(block.level)
            heading += block.lines
            continue
        if heading and block.kind in ("code", "title"):
            yield from _cut(_Block("heading", heading), limit, sections)
        elif heading:
            block = attrs.evolve(block, lines=heading + block.lines)  # noqa: PLW2901  it opens it
        heading = ()
        yield from _cut(block, limit, sections)
    if heading:
        yield from _cut(_Block("heading", heading), limit, sections)


def _cut(block: _Block, limit: int, sections: Sections) -> Iterator[Piece]:
    text = "\n".join(line.text for line in block.lines)
    at = {0: block.lines[0]}
    offset = 0
    for line, following in zip(block.lines, block.lines[1:], strict=False):
        offset += len(line.text) + 1
        at[offset] = following
    # A paragraph's own text is cut by sentences, a list or table between its lines.
    by_lines = block.kind != "paragraph"
    edges = [*at, len(text)] if by_lines else [0, len(text)]
    for start, end in packed(edges, limit):
        line = at[start]
        for first, last in spans(text, start, end, limit, lines=by_lines):
            yield Piece(
                text=text[first:last],
                locator={
                    "block": block.kind,
                    "line": line.number,
                    "start": line.start,
                    **sections.locator(),
                },
            )


class _Page:
    """Turns tags and text into blocks, as they come."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._numbers = LineNumbers(source)
        self._cells: list[str] = []
        self._text: list[str] = []
        self._start: int | None = None
        self._group: list[_Line] = []
        self._groups: list[str] = []
        self._verbatim = 0
        self._templates = 0
        self._heading = 0
        self._title = False

    def blocks(self) -> Iterator[_Block]:
        for token in tokens(self._source):
            if isinstance(token, Text):
                if not self._templates:
                    self._add(token)
            elif token.name == "template":
                self._templates = max(0, self._templates + (-1 if token.ends else 1))
            elif not self._templates:
                yield from self._turn(token)
        yield from self._flush()
        yield from self._flush_group()

    def _add(self, token: Text) -> None:
        text = token.text
        text = NEWLINE.sub("\n", text) if self._verbatim else _SPACES.sub(" ", text)
        if self._start is None:
            if not text.strip(BLANKS):
                if self._verbatim:
                    self._text.append(text)
                return
            self._start = skipped(_LEADING, self._source, token.start)
        self._text.append(text)

    def _turn(self, tag: Tag) -> Iterator[_Block]:
        name = tag.name
        if name == "br":
            self._text.append("\n")
        elif name in ("td", "th"):
            self._end_cell()
        elif name in _BLOCKS:
            yield from self._flush()
            if name in _GROUPS:
                yield from self._turn_group(tag)
            elif name in _HEADINGS:
                self._heading = 0 if tag.ends else _HEADINGS[name]
            elif name == "title":
                self._title = not tag.ends
            elif name in _VERBATIM:
                self._verbatim = max(0, self._verbatim + (-1 if tag.ends else 1))

    def _turn_group(self, tag: Tag) -> Iterator[_Block]:
        if not tag.ends:
            if not self._groups:
                yield from self._flush_group()
            self._groups.append(_GROUPS[tag.name])
        elif self._groups:
            if len(self._groups) == 1:
                yield from self._flush_group()
            self._groups.pop()

    def _end_cell(self) -> None:
        text = "".join(self._text)
        if not self._verbatim:
            text = _AROUND_BREAK.sub("\n", _SPACE_RUN.sub(" ", text))
        self._text.clear()
        text = text.strip("\n") if self._verbatim else text.strip(BLANKS)
        if text.strip(BLANKS):
            self._cells.append(text)

    def _flush(self) -> Iterator[_Block]:
        self._end_cell()
        text = "\t".join(self._cells)
        self._cells.clear()
        start, self._start = self._start, None
        if not text or start is None:
            return
        line = _Line(text, self._numbers.at(start), start)
        if self._heading:
            yield from self._flush_group()
            yield _Block("heading", (line,), self._heading)
            self._heading = 0
        elif self._groups:
            self._group.append(line)
        else:
            kind = "title" if self._title else "code" if self._verbatim else "paragraph"
            yield _Block(kind, (line,))

    def _flush_group(self) -> Iterator[_Block]:
        if self._group:
            yield _Block(self._groups[0], tuple(self._group))
            self._group.clear()
