"""PDF: paragraphs by page, and no way for a file to do harm."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable

import pytest
from nexus_atomizers import _pdf
from pypdf import PdfReader, PdfWriter

from nexus_core.spi import InvalidArgumentError, Piece

Cut = Callable[..., list[Piece]]
Pdf = Callable[..., bytes]
Page = Callable[..., bytes]
SECRET = b"Rumpelstilzchen"


def test_pages_and_places(cut: Cut, pdf: Pdf, page: Page) -> None:
    """A page's text is cut into paragraphs, with the page's number from 1 and a place on it."""
    source = pdf([page(b"Hello world.", b"Second line."), page(), page(b"Third page.")])
    assert [(piece.text, dict(piece.locator)) for piece in cut("pdf", source)] == [
        ("Hello world.\nSecond line.", {"page": 1, "start": 0, "end": 25}),
        ("Third page.", {"page": 3, "start": 0, "end": 11}),
    ]


def test_a_long_page_is_cut(cut: Cut, pdf: Pdf, page: Page) -> None:
    """Pieces fit, and together are the page's words."""
    lines = [b"Line %d of the page." % number for number in range(30)]
    pieces = cut("pdf", pdf([page(*lines)]), max_chars=100)
    assert all(len(piece.text) <= 100 for piece in pieces)
    assert " ".join(piece.text for piece in pieces).split() == b" ".join(lines).decode().split()


def test_a_file_of_another_writer_is_read(cut: Cut, pdf: Pdf, page: Page) -> None:
    """A file that pypdf has re-written, with object streams left to it, gives the same pieces."""
    source = pdf([page(b"One."), page(b"Two.")])
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(source)))
    out = io.BytesIO()
    writer.write(out)
    assert cut("pdf", out.getvalue()) == cut("pdf", source) != []


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
@pytest.mark.parametrize("password", ["", "open sesame"])
def test_an_encrypted_file_is_refused(
    algorithm: str, password: str, cut: Cut, pdf: Pdf, page: Page
) -> None:
    """Encryption is not undone, with or without a password to open the file."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf([page(b"One.")]))))
    writer.encrypt(password, "owner", algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    with pytest.raises(InvalidArgumentError, match="encrypted"):
        cut("pdf", out.getvalue())


def test_a_broken_file_is_refused_quietly(
    cut: Cut,
    pdf: Pdf,
    page: Page,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever is cut off or changed, there are pieces or one error, and no log, warning or text of
    the file."""
    source = pdf([page(SECRET * 3), page(SECRET)])
    broken = [source[:length] for length in range(0, len(source), 37)]
    broken += [source.replace(b"/Pages", b"/Pagez"), source.replace(b"/Root", b"/Toor")]
    broken += [source.replace(b"obj", b"jbo"), source.replace(b"/F1 3", b"/F1 9"), b"%PDF-1.7\n"]
    broken += [source.replace(b"/Length", b"/Lengthy"), source[::-1], b"", SECRET]
    broken += [source[:at] + b"\xff" + source[at + 1 :] for at in range(0, len(source), 23)]
    refused = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in broken:
            try:
                cut("pdf", data)
            except InvalidArgumentError as error:
                refused.append(str(error))
    assert len(refused) > 10
    assert SECRET.decode() not in "".join(refused)
    assert [record for record in caplog.records if record.name.startswith("pypdf")] == []
    assert capfd.readouterr() == ("", "")


def test_a_bomb_is_refused(cut: Cut, pdf: Pdf) -> None:
    """A stream that unpacks to more than the limit is not unpacked."""
    bomb = pdf([b" " * 100_000_000])
    assert len(bomb) < 200_000
    with pytest.raises(InvalidArgumentError, match="page 1 of the PDF cannot be read"):
        cut("pdf", bomb)


def test_many_bombs_are_refused(
    cut: Cut, pdf: Pdf, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all pages draw together is limited, and the page is named at which it is too much."""
    monkeypatch.setattr(_pdf, "MAX_DRAWN_BYTES", 1000)
    content = page(b"x" * 300)
    assert len(cut("pdf", pdf([content] * 2))) == 2
    with pytest.raises(InvalidArgumentError, match="draws too much, up to its page 3"):
        cut("pdf", pdf([content] * 5))


def test_forms_are_read_and_limited(cut: Cut, pdf: Pdf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in a form counts as often as it is drawn; nothing is left out without a word."""
    text = b"BT /F1 12 Tf 72 720 Td (inside) Tj ET"
    form = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] /Length %d "
        b"/Resources << /Font << /F1 3 0 R >> >> >>\nstream\n%s\nendstream" % (len(text), text)
    )
    resources = b"/XObject << /X 4 0 R >>"

    def draws(times: int) -> bytes:
        return pdf([b"/X Do " * times], resources=resources, extra=form)

    assert "".join(piece.text for piece in cut("pdf", draws(3))).count("inside") == 3
    monkeypatch.setattr(_pdf, "MAX_FORMS_ON_PAGE", 10)
    assert "".join(piece.text for piece in cut("pdf", draws(10))).count("inside") == 10
    with pytest.raises(InvalidArgumentError, match="draws too much"):
        cut("pdf", draws(11))
    monkeypatch.setattr(_pdf, "MAX_FORMS_ON_PAGE", 5000)
    monkeypatch.setattr(_pdf, "MAX_DRAWN_BYTES", 400)
    with pytest.raises(InvalidArgumentError, match="draws too much"):
        cut("pdf", draws(20))


def test_pages_are_limited(cut: Cut, pdf: Pdf, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with too many pages is refused before the first of them is read."""
    monkeypatch.setattr(_pdf, "MAX_PAGES", 3)
    assert len(cut("pdf", pdf([page(b"x")] * 3))) == 3
    with pytest.raises(InvalidArgumentError, match="more than 3 pages"):
        cut("pdf", pdf([page(b"x")] * 4))


@pytest.mark.parametrize("opened", [b"[", b"<</a ", b"(", b"q "])
def test_deep_nesting_ends(opened: bytes, cut: Cut, pdf: Pdf, page: Page) -> None:
    """Depth exhausts neither the stack nor the clock: what is before it is read, or the page is
    refused."""
    source = pdf([page(b"before") + opened * 50_000])
    with contextlib.suppress(InvalidArgumentError):
        assert cut("pdf", source)[0].text == "before"


def test_what_is_no_character_is_replaced(cut: Cut, pdf: Pdf) -> None:
    """A font that maps to surrogates or NUL gives text that every store takes."""
    cmap = (
        b"/CIDInit /ProcSet findresource begin\nbegincmap\n1 begincodespacerange\n<00> <FF>\n"
        b"endcodespacerange\n3 beginbfchar\n<41> <0000>\n<42> <D800>\n<43> <0043>\n"
        b"endbfchar\nendcmap\n"
    )
    extra = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(cmap), cmap)
    font = b"/F2 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 4 0 R >>"
    source = pdf([b"BT /F2 12 Tf 72 720 Td (CABC) Tj ET"], fonts=font, extra=extra)
    (piece,) = cut("pdf", source)
    assert piece.text.encode("utf-8")
    assert piece.text.startswith("C\ufffd")
    assert "\0" not in piece.text
