"""PDF: the text of each page, cut into paragraphs.

How a page's drawing instructions become text is pypdf's work. It is quiet here: what it would log
may quote the file. Its limits hold, and tighter ones where a page has no need of more.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from pypdf import PageObject, PdfReader, apply_configuration
from pypdf.generic import EncodedStreamObject, StreamObject

from nexus_atomizers._paragraphs import paragraphs
from nexus_atomizers._parameters import max_chars, only
from nexus_atomizers._source import opened
from nexus_core.spi import Atomizer, InvalidArgumentError, Piece

MAX_PAGES: Final = 10_000
MAX_STREAM_BYTES: Final = 16 << 20
# Drawing instructions that are read, unpacked, over the whole file; a form as often as it is drawn.
# Time is in proportion to them. A page with dense text has some ten thousands of bytes.
MAX_DRAWN_BYTES: Final = 128 << 20
MAX_FORMS_ON_PAGE: Final = 5_000

_LIMITS: Final[Mapping[str, Any]] = {
    "maximum_declared_stream_length": 4 * MAX_STREAM_BYTES,
    "array_based_stream_maximum_output_length": MAX_STREAM_BYTES,
    "lzw_maximum_output_length": MAX_STREAM_BYTES,
    "run_length_maximum_output_length": MAX_STREAM_BYTES,
    "zlib_maximum_output_length": MAX_STREAM_BYTES,
    "zlib_maximum_recovery_input_length": 1_000_000,
    "stream_parsing_work_maximum_count": 2_000_000,
    # Beyond its own limit pypdf would leave forms out without a word.
    "xform_maximum_invocations_per_extraction": MAX_FORMS_ON_PAGE + 1,
    "page_tree_maximum_entries": 10 * MAX_PAGES,
    # Images hold no text, and no other program is called for them.
    "jbig2dec_binary": None,
}
# What a broken font makes of a character may be none, and no store takes it.
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")

logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)


class PdfAtomizer(Atomizer):
    """Paragraphs of each page, in the order in which the page draws them. A scanned page has no
    text and gives no piece. Encrypted files are refused, also those that open without a password.

    Locators: ``page`` from 1, ``start`` and ``end`` in characters of the page's text.
    """

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield paragraphs; raises ``InvalidArgumentError`` for a file that is broken, encrypted,
        or draws more than the limits allow."""
        only(parameters, "max_chars")
        return _pieces(path, max_chars(parameters))


def _pieces(path: Path, limit: int) -> Iterator[Piece]:
    with opened(path) as file:
        document = _Document(file)
        for number in range(document.count):
            for paragraph in paragraphs([document.text(number)], limit):
                yield Piece(
                    text=paragraph.text,
                    locator={
                        "page": number + 1,
                        "start": paragraph.start,
                        "end": paragraph.start + len(paragraph.text),
                    },
                )


class _Document:
    """A file that pypdf has read the structure of."""

    def __init__(self, file: BinaryIO) -> None:
        self._drawn = 0
        self._forms = 0
        try:
            with apply_configuration(**_LIMITS):
                self._reader = PdfReader(file, strict=False)
                encrypted = self._reader.is_encrypted
                self.count = 0 if encrypted else len(self._reader.pages)
        except (MemoryError, OSError):
            raise
        except Exception:  # noqa: BLE001  a broken file makes pypdf raise anything
            raise InvalidArgumentError("the file cannot be read as a PDF") from None
        if encrypted:
            raise InvalidArgumentError(
                "the PDF is encrypted", hint="store a copy without encryption"
            )
        if self.count > MAX_PAGES:
            raise InvalidArgumentError(f"the PDF has more than {MAX_PAGES} pages")

    def text(self, index: int) -> str:
        """Return the text of a page."""
        text: str | None
        try:
            with apply_configuration(**_LIMITS):
                text = self._extracted(self._reader.pages[index])
        except (MemoryError, OSError):
            raise
        except Exception:  # noqa: BLE001  the same
            text = None
        # Asked here, because pypdf passes over what is raised inside of a form.
        if self._drawn > MAX_DRAWN_BYTES or self._forms > MAX_FORMS_ON_PAGE:
            raise InvalidArgumentError(f"the PDF draws too much, up to its page {index + 1}")
        if text is None:
            raise InvalidArgumentError(f"page {index + 1} of the PDF cannot be read")
        # pypdf would keep every stream that it has unpacked.
        self._reader.resolved_objects.clear()
        return _NO_TEXT.sub("\ufffd", text)

    def _extracted(self, page: PageObject) -> str:
        extract_form = page.extract_xform_text

        def bounded(form: EncodedStreamObject, *args: Any, **options: Any) -> str:
            self._forms += 1
            self._draw(form)
            return extract_form(form, *args, **options)

        self._forms = 0
        # Forms are read through this method of the page, and by no other way.
        page.extract_xform_text = bounded  # type: ignore[method-assign, assignment]
        contents = page.get_contents()
        if contents is not None:
            self._draw(contents)
        return page.extract_text()

    def _draw(self, stream: StreamObject) -> None:
        self._drawn += len(stream.get_data())
        if self._drawn > MAX_DRAWN_BYTES or self._forms > MAX_FORMS_ON_PAGE:
            raise _TooMuchError


class _TooMuchError(Exception):
    pass
