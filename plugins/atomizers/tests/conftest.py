"""Real files for atomizers to cut, and PDFs written by hand."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import nexus_atomizers
import pytest

from nexus_core.spi import AtomizerSpec, Piece

SPECS = {spec.name: spec for spec in nexus_atomizers.nexus_atomizer()}


@pytest.fixture(scope="session")
def specs() -> dict[str, AtomizerSpec]:
    """Everything the plugin offers, by name."""
    return SPECS


@pytest.fixture(scope="session")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Piece]]:
    """Write a file, cut it with the atomizer of that name, and return its pieces."""
    folder = tmp_path_factory.mktemp("sources")
    numbers = itertools.count()

    def run(name: str, source: str | bytes, **parameters: Any) -> list[Piece]:
        path = folder / f"{next(numbers)}"
        path.write_bytes(source.encode("utf-8") if isinstance(source, str) else source)
        try:
            return list(SPECS[name].factory().atomize(path, parameters))
        finally:
            path.unlink()

    return run


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """Write a PDF by hand: a page for each content stream, a font, and objects of one's own."""

    def write(
        contents: Sequence[bytes],
        *,
        trailer: bytes = b"",
        fonts: bytes = b"",
        resources: bytes = b"",
        extra: bytes = b"",
    ) -> bytes:
        first = 5
        pages = [first + 2 * index for index in range(len(contents))]
        kids = b" ".join(b"%d 0 R" % page for page in pages)
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
            extra or b"<< >>",
        ]
        for page, content in zip(pages, contents, strict=True):
            objects.append(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
                b"/Resources << /Font << /F1 3 0 R %s >> %s >> >>" % (page + 1, fonts, resources)
            )
            packed = zlib.compress(content, 9)
            objects.append(
                b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream"
                % (len(packed), packed)
            )
        out = bytearray(b"%PDF-1.4\n")
        offsets = []
        for number, body in enumerate(objects, start=1):
            offsets.append(len(out))
            out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        table = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
        out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, trailer)
        return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)

    return write


@pytest.fixture(scope="session")
def page() -> Callable[..., bytes]:
    """Write the drawing instructions of a page with these lines of text."""

    def draw(*lines: bytes) -> bytes:
        shown = b" ".join(b"(%s) Tj T*" % line for line in lines)
        return b"BT /F1 12 Tf 72 720 Td 14 TL " + shown + b" ET"

    return draw
