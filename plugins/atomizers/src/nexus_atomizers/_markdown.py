"""Markdown: the document's blocks, as they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from markdown_it import MarkdownIt

from nexus_atomizers._cut import packed, spans, trimmed
from nexus_atomizers._parameters import max_chars, only
from nexus_atomizers._sections import Sections
from nexus_atomizers._source import BLANKS, MAX_MARKDOWN_BYTES, NEWLINE, LineNumbers, whole
from nexus_core.spi import Atomizer, InvalidArgumentError, Piece

_KINDS: Final[Mapping[str, str]] = {
    "blockquote_open": "quote",
    "bullet_list_open": "list",
    "code_block": "code",
    "fence": "code",
    "heading_open": "heading",
    "html_block": "html",
    "list_item_open": "list",
    "ordered_list_open": "list",
    "paragraph_open": "paragraph",
    "table_open": "table",
}
_BY_LINES: Final = frozenset(("code", "front_matter", "html", "list", "table"))
# Cut between the blocks in them; what is in a table or a paragraph is no block.
_CONTAINERS: Final = frozenset(("document", "list", "quote"))
_FENCE: Final = "---"
_FENCE_ENDS: Final = ("---", "...")
_MAX_FRONT_MATTER_LINES: Final = 1000


class MarkdownAtomizer(Atomizer):
    """CommonMark with tables. Every piece is a slice of the source, markup and all; every character
    that is no blank is in exactly one, but for thematic breaks.

    A heading is the beginning of the piece that it opens, unless that is code. A list is one piece
    if it fits, else runs of its items. Code is verbatim. Front matter is a piece.

    Locators: ``block`` (what it is), ``line`` from 1, ``start`` and ``end`` in characters, and the
    ``section`` it is in, by numbers, with the ``level`` of the section's heading.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield blocks; raises ``InvalidArgumentError`` where the file is not UTF-8 text."""
        only(parameters, "max_chars")
        return _pieces(path, max_chars(parameters))


@attrs.define
class _Block:
    """A block by its kind, the offsets where it begins and ends, and what it contains."""

    kind: str
    start: int
    end: int
    level: int = 0
    children: list[_Block] = attrs.field(factory=list)


def _pieces(path: Path, limit: int) -> Iterator[Piece]:
    text = whole(path, MAX_MARKDOWN_BYTES)
    numbers = LineNumbers(text)
    sections = Sections()

    def cut(block: _Block) -> Iterator[Piece]:
        for start, end in _spans(text, block, limit):
            yield Piece(
                text=text[start:end],
                locator={
                    "block": block.kind,
                    "line": numbers.at(start),
                    "start": start,
                    "end": end,
                    **sections.locator(),
                },
            )

    heading: _Block | None = None
    for block in _blocks(text):
        if block.kind == "heading":
            sections.enter(block.level)
            heading = block if heading is None else _joined(heading, block)
            continue
        if heading is not None:
            if block.kind == "code":
                yield from cut(heading)
            else:
                block = _joined(heading, block)  # noqa: PLW2901  the heading opens the block
            heading = None
        yield from cut(block)
    if heading is not None:
        yield from cut(heading)


def _joined(heading: _Block, block: _Block) -> _Block:
    return attrs.evolve(block, start=heading.start)


def _spans(text: str, block: _Block, limit: int) -> Iterator[tuple[int, int]]:
    by_lines = block.kind in _BY_LINES
    end = trimmed(text, block.start, block.end)
    if end - block.start <= limit or not block.children:
        yield from spans(text, block.start, end, limit, lines=by_lines)
        return
    # Before the first of them there may be a heading, which is no child.
    inner = {child.start: child for child in reversed(block.children)}
    for start, stop in packed([*sorted({block.start, *inner}), end], limit):
        child = inner.get(start)
        if child is None or trimmed(text, start, stop) - start <= limit:
            yield from spans(text, start, stop, limit, lines=by_lines)
        else:
            yield from _spans(text, attrs.evolve(child, end=stop), limit)


def _blocks(text: str) -> Iterator[_Block]:
    """Yield the top-level blocks but thematic breaks; each goes on to where the next begins."""
    starts = [0, *(end.end() for end in NEWLINE.finditer(text)), len(text)]
    front = _front_matter(text, starts)
    if front:
        yield _Block("front_matter", 0, starts[front])
    # Blank lines in its place keep the numbers of the others.
    body = "\n" * front + text[starts[front] :]
    try:
        tokens = _parser().parse(body)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  no file is known to make the parser raise
        raise InvalidArgumentError("the file cannot be read as Markdown") from None
    top = _Block("document", 0, len(text))
    open_blocks = [top]
    for token in tokens:
        if token.nesting < 0:
            open_blocks.pop()
            continue
        first, last = token.map or (0, 0)
        block = _Block(
            _KINDS.get(token.type, token.type),
            starts[first],
            starts[last],
            int(token.tag[1:]) if token.type == "heading_open" else 0,
        )
        if open_blocks[-1].kind in _CONTAINERS and token.map is not None:
            open_blocks[-1].children.append(block)
        if token.nesting > 0:
            open_blocks.append(block)
    ends = [*(block.start for block in top.children[1:]), len(text)]
    for block, end in zip(top.children, ends, strict=False):
        if block.kind != "hr":
            yield attrs.evolve(block, end=end)


def _parser() -> MarkdownIt:
    # A link's definition would give no block, and its words be lost; and what is inside of a block
    # is nobody's business here.
    parser = MarkdownIt("commonmark").enable("table").disable("reference")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _front_matter(text: str, starts: Sequence[int]) -> int:
    """Return how many lines at the beginning are metadata between fences, the fences included."""

    def line(index: int) -> str:
        return text[starts[index] : starts[index + 1]].rstrip(BLANKS)

    count = len(starts) - 1
    if count < 2 or line(0) != _FENCE or not line(1):
        return 0
    for index in range(1, min(count, _MAX_FRONT_MATTER_LINES)):
        if line(index) in _FENCE_ENDS:
            return index + 1
    return 0
