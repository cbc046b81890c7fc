"""Plain text: paragraphs between blank lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nexus_atomizers._paragraphs import paragraphs
from nexus_atomizers._parameters import max_chars, only
from nexus_atomizers._source import chunks
from nexus_core.spi import Atomizer, Piece


class TextAtomizer(Atomizer):
    """UTF-8 text. Every character that is no blank is in exactly one piece; nothing is read ahead.

    Locators: ``line`` from 1, ``start`` and ``end`` in characters.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield paragraphs; raises ``InvalidArgumentError`` where the file is not UTF-8 text."""
        only(parameters, "max_chars")
        return _pieces(path, max_chars(parameters))


def _pieces(path: Path, limit: int) -> Iterator[Piece]:
    for paragraph in paragraphs(chunks(path), limit):
        yield Piece(
            text=paragraph.text,
            locator={
                "line": paragraph.line,
                "start": paragraph.start,
                "end": paragraph.start + len(paragraph.text),
            },
        )
