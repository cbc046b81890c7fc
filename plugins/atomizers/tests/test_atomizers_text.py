"""Plain text: nothing lost, exact offsets, the same cuts however the text arrives."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nexus_atomizers import _source
from nexus_atomizers._paragraphs import paragraphs

from nexus_core.spi import AtomizerSpec, Piece

Cut = Callable[..., list[Piece]]

WORDS = st.sampled_from(
    ["a", "word", "sentence.", "Ende!", "e\u0301", "\u0301", "👍🏽", "\u200d", "中文。", "x" * 130]
)
GAPS = st.sampled_from(["", " ", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\n \t\n", "\xa0", "\f"])
TEXTS = st.lists(st.tuples(WORDS, GAPS), max_size=60).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)
SIZES = st.integers(100, 160)


def without_blanks(text: str) -> str:
    """What is left of a text when every blank is gone."""
    return "".join(text.split())


@given(TEXTS, SIZES)
def test_nothing_but_blanks_is_lost(cut: Cut, text: str, size: int) -> None:
    """The pieces one after the other are the text, but for blanks between them."""
    pieces = cut("text", text, max_chars=size)
    assert without_blanks("".join(piece.text for piece in pieces)) == without_blanks(text)


@given(TEXTS, SIZES)
def test_locators_point_at_the_source(cut: Cut, text: str, size: int) -> None:
    """``start`` and ``end`` give exactly the piece, in order, and ``line`` is where it begins."""
    after = 0
    for piece in cut("text", text, max_chars=size):
        start, end = int(piece.locator["start"]), int(piece.locator["end"])
        assert text[start:end] == piece.text
        assert start >= after
        after = end
        before = io.StringIO(text[:start], newline=None).read()
        assert piece.locator["line"] == before.count("\n") + 1


@given(TEXTS, SIZES)
def test_pieces_fit_and_neither_begin_nor_end_with_a_blank(cut: Cut, text: str, size: int) -> None:
    """A piece has one to ``max_chars`` characters, and no blank line inside of it."""
    for piece in cut("text", text, max_chars=size):
        assert 1 <= len(piece.text) <= size
        assert piece.text == piece.text.strip()
        lines = io.StringIO(piece.text, newline=None).read().split("\n")
        assert all(line.strip() for line in lines)


@given(TEXTS, SIZES, st.integers(1, 40))
def test_chunks_do_not_show(text: str, size: int, chunk: int) -> None:
    """The cuts depend on the text alone, not on the chunks in which it arrives."""
    parts = [text[start : start + chunk] for start in range(0, len(text), chunk)]
    assert list(paragraphs(parts, size)) == list(paragraphs([text] if text else [], size))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_bytes_arrive_in_any_chunks(chunk: int, cut: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """A character or line end that is split between two reads is read as one."""
    text = "Straße, 中文 und 👍🏽\r\n\r\nzweite\rdritte\n\n" * 9
    expected = cut("text", text, max_chars=100)
    monkeypatch.setattr(_source, "CHUNK_BYTES", chunk)
    assert cut("text", text, max_chars=100) == expected


def test_paragraphs_are_parted_by_blank_lines_only(cut: Cut) -> None:
    """A line end alone does not part; a line of blanks does."""
    pieces = cut("text", "one\ntwo\n\nthree\r\n \t\r\nfour\n\n\n\n  five  ")
    assert [piece.text for piece in pieces] == ["one\ntwo", "three", "four", "five"]


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\n   \n", "\r\r"])
def test_a_paragraph_that_just_fits_is_whole(end: str, cut: Cut) -> None:
    """A paragraph of exactly ``max_chars`` is one piece, whatever line ends follow it."""
    text = "word. " * 16 + "word"
    assert len(text) == 100
    pieces = cut("text", f"{text}{end}y", max_chars=100)
    assert [piece.text for piece in pieces] == [text, "y"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a" * 60 + ". " + "b" * 30 + " " + "c" * 40, "a" * 60 + "."),
        ("a" * 60 + '." ' + "b" * 30 + " " + "c" * 40, "a" * 60 + '."'),
        ("a" * 60 + "\n" + "b" * 30 + " " + "c" * 40, "a" * 60),
        ("a" * 60 + " " + "b" * 30 + " " + "c" * 40, "a" * 60 + " " + "b" * 30),
        ("a" * 20 + ". " + "b" * 200, "a" * 20 + ". " + "b" * 78),
        ("一" * 70 + "。" + "二" * 60, "一" * 70 + "。"),
        ("a" * 99 + "e\u0301\u0301" + "b" * 60, "a" * 99),
        ("a" * 98 + "👩\u200d👩" + "b" * 60, "a" * 98),
        ("\u0301" * 300, "\u0301" * 100),
    ],
)
def test_a_long_paragraph_is_cut_at_the_best_place(cut: Cut, text: str, first: str) -> None:
    """After a sentence, else at a line end, else at a blank, else between two characters; only the
    second half of a piece is looked at."""
    assert cut("text", text, max_chars=100)[0].text == first


def test_nothing_is_cut_from_nothing(cut: Cut) -> None:
    """An empty file, and one of blanks, has no pieces."""
    assert cut("text", "") == cut("text", " \n\t\r\n" * 1000) == []


def test_a_file_is_not_read_ahead(
    tmp_path: Path, specs: dict[str, AtomizerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first piece is there before the rest of the file has been read, or even is text."""
    monkeypatch.setattr(_source, "CHUNK_BYTES", 4096)
    for name, line in (("text", b"para\n\n"), ("csv", b"a,b\n"), ("jsonl", b'{"a": 1}\n')):
        path = tmp_path / name
        path.write_bytes(line * 100_000 + b"\xff")
        pieces = specs[name].factory().atomize(path, {})
        assert next(pieces).text == line.decode().strip()
        pieces.close()  # type: ignore[attr-defined]  # a generator, which closes its file
