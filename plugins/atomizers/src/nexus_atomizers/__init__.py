"""Atomizers that cut files by their structure: paragraphs, sections, rows, pages, values.

Each one is deterministic, keeps the source's own words, and interprets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, cast

from nexus_core.spi import Atomizer, AtomizerSpec, hookimpl

__all__ = ["nexus_atomizer"]

_CUT: Final[Mapping[str, Any]] = {"max_chars": 2000}


def _lazily(module: str, name: str) -> Callable[[], Atomizer]:
    # A parser is imported only when the configuration uses its atomizer.
    def build() -> Atomizer:
        return cast("Atomizer", getattr(import_module(f"{__name__}.{module}"), name)())

    return build


@hookimpl
def nexus_atomizer() -> Sequence[AtomizerSpec]:
    """Offer ``text``, ``markdown``, ``html``, ``pdf``, ``csv``, ``json`` and ``jsonl``."""
    return (
        AtomizerSpec(
            name="text",
            version="1",
            summary="paragraphs of plain text",
            media_types=("text/plain",),
            factory=_lazily("_text", "TextAtomizer"),
            parameters=_CUT,
        ),
        AtomizerSpec(
            name="markdown",
            version="1",
            summary="blocks of Markdown, each heading with the block that it opens",
            media_types=("text/markdown",),
            factory=_lazily("_markdown", "MarkdownAtomizer"),
            parameters=_CUT,
        ),
        AtomizerSpec(
            name="html",
            version="1",
            summary="blocks of the text of a web page, without scripts and styles",
            media_types=("text/html",),
            factory=_lazily("_html", "HtmlAtomizer"),
            parameters=_CUT,
        ),
        AtomizerSpec(
            name="pdf",
            version="1",
            summary="paragraphs of each page of a PDF",
            media_types=("application/pdf",),
            factory=_lazily("_pdf", "PdfAtomizer"),
            parameters=_CUT,
        ),
        AtomizerSpec(
            name="csv",
            version="1",
            summary="rows of comma-separated values",
            media_types=("text/csv",),
            factory=_lazily("_csv", "CsvAtomizer"),
            parameters={**_CUT, "delimiter": ","},
        ),
        AtomizerSpec(
            name="json",
            version="1",
            summary="parts of one JSON document",
            media_types=("application/json",),
            factory=_lazily("_json", "JsonAtomizer"),
            parameters=_CUT,
        ),
        AtomizerSpec(
            name="jsonl",
            version="1",
            summary="values of JSON Lines, one to a line",
            media_types=("application/jsonl", "application/x-ndjson"),
            factory=_lazily("_json", "JsonLinesAtomizer"),
            parameters=_CUT,
        ),
    )
