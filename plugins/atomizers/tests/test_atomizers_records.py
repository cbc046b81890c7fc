"""CSV, JSON and JSON Lines: values as they are written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nexus_atomizers import _source

from nexus_core.spi import InvalidArgumentError, Piece

Cut = Callable[..., list[Piece]]

CELLS = st.text(alphabet='ab",;|\t\r\n é\u2028', max_size=12)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=12)
DELIMITERS = st.sampled_from([",", ";", "\t", "|"])


def check_places(source: str, pieces: list[Piece]) -> None:
    """Offsets give exactly the piece, in order."""
    after = 0
    for piece in pieces:
        start, end = int(piece.locator["start"]), int(piece.locator["end"])
        assert source[start:end] == piece.text != ""
        assert start >= after
        after = end


@given(ROWS, DELIMITERS, st.sampled_from(["\r\n", "\n"]))
def test_rows_are_those_of_the_csv_module(
    cut: Cut, rows: list[list[str]], delimiter: str, end: str
) -> None:
    """Each row that the standard library writes is one piece, which it reads back as that row."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    pieces = cut("csv", out.getvalue(), delimiter=delimiter)
    check_places(out.getvalue(), pieces)
    read = [
        next(csv.reader(io.StringIO(piece.text, newline=""), delimiter=delimiter))
        for piece in pieces
    ]
    written = csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=delimiter)
    assert [row for row in read if "".join(row).strip()] == [
        row for row in written if "".join(row).strip()
    ]


@given(st.text(alphabet='a",\n', max_size=40))
def test_any_quotes_are_read_like_by_the_csv_module(cut: Cut, source: str) -> None:
    """Stray quotes mean what the standard library takes them for; one left open is refused."""
    *expected, last = csv.reader(io.StringIO(f"{source}\nend", newline=""))
    if last != ["end"]:
        with pytest.raises(InvalidArgumentError, match="not closed"):
            cut("csv", source)
        return
    pieces = cut("csv", source)
    rows = [next(csv.reader(io.StringIO(piece.text, newline=""))) for piece in pieces]
    assert rows == [row for row in expected if row]


def test_rows_and_lines(cut: Cut) -> None:
    """Rows count from 1 without blank lines, lines are those of the file, nothing is re-written."""
    source = 'name,"said"\r\n\r\nx,"one\r\ntwo, ""three"""\r5" pipe,\n'
    pieces = cut("csv", source)
    assert [(p.text, p.locator["row"], p.locator["line"]) for p in pieces] == [
        ('name,"said"', 1, 1),
        ('x,"one\r\ntwo, ""three"""', 2, 3),
        ('5" pipe,', 3, 5),
    ]
    check_places(source, pieces)


def test_an_open_quote_is_refused_at_its_line(cut: Cut) -> None:
    """A quote that is not closed is no row, and the error says where it began, not what it says."""
    with pytest.raises(InvalidArgumentError, match="begins in line 3 is not closed") as caught:
        cut("csv", 'a,b\nc,d\ne,"Rumpelstilzchen\ng,h\n')
    assert "Rumpel" not in str(caught.value)


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_record_is_bounded(name: str, cut: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record without an end is refused, not collected."""
    monkeypatch.setattr(_source, "MAX_RECORD_CHARS", 1000)
    monkeypatch.setattr("nexus_atomizers._csv.MAX_RECORD_CHARS", 1000)
    monkeypatch.setattr(_source, "CHUNK_BYTES", 64)
    with pytest.raises(InvalidArgumentError, match="begins in line 2 is longer than 1000"):
        cut(name, '"a"\n"' + "x" * 5000)
    if name == "csv":
        with pytest.raises(InvalidArgumentError, match="begins in line 2 is longer than 1000"):
            cut(name, '"a"\n"' + "x\n" * 5000)


def test_long_rows_are_cut(cut: Cut) -> None:
    """A row that does not fit becomes several pieces of the same row."""
    source = "a,b\n" + " ".join(["word"] * 60) + ",x\nc,d\n"
    pieces = cut("csv", source, max_chars=100)
    check_places(source, pieces)
    assert [piece.locator["row"] for piece in pieces] == [1, 2, 2, 2, 2, 3]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=60,
)


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.integers(100, 150))
def test_parts_of_a_document_lose_only_its_signs(
    cut: Cut, value: Any, indent: int | None, ascii_only: bool, size: int
) -> None:
    """Pieces of JSON are slices, they fit, and between them stand brackets, commas and blanks."""
    source = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    pieces = cut("json", source, max_chars=size)
    check_places(source, pieces)
    assert all(len(piece.text) <= size for piece in pieces)
    after = 0
    for start, end in [
        *((p.locator["start"], p.locator["end"]) for p in pieces),
        (len(source),) * 2,
    ]:
        between = source[after : int(start)]
        assert not set(between) - set("[]{}, \t\r\n\f\v\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000")
        after = int(end)


def test_what_fits_is_whole_and_what_does_not_is_cut_by_members(cut: Cut) -> None:
    """Objects and arrays inside of a value that is too long are pieces of their own; other members
    are joined, and a key stays where its value was."""
    items = [{"id": number, "text": "hello world " * 4} for number in range(3)]
    document = {"name": "n", "kind": 1, "items": items, "last": 2, "after": None}
    source = json.dumps(document)
    assert [piece.text for piece in cut("json", source)] == [source]
    assert [piece.text for piece in cut("json", source, max_chars=100)] == [
        '"name": "n", "kind": 1, "items":',
        *(json.dumps(item) for item in items),
        '"last": 2, "after": null',
    ]


def test_lines_of_json(cut: Cut) -> None:
    """Each line is a piece as it is written; blank lines are passed over."""
    source = '{"a":  1}\r\n\n  [1, 2]  \n"text \\ud800"\nnull\n1e999\n' + "7" * 5000
    pieces = cut("jsonl", source, max_chars=16_000)
    check_places(source, pieces)
    expected = ['{"a":  1}', "[1, 2]", '"text \\ud800"', "null", "1e999", "7" * 5000]
    assert [piece.text for piece in pieces] == expected
    assert [piece.locator["line"] for piece in pieces] == [1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("name", ["json", "jsonl"])
@pytest.mark.parametrize(
    "wrong",
    [
        "{", "}", "[1,]", "{'a': 1}", "[1] [2]", '"a', '"\\x"', '"\t"', "01", "nul", "[NaN]",
        "-Infinity", " \ufeff1", '{"a" 1}', "[1,2", "]]", '"' + '\\"' * 50_000, '\\"' * 50_000,
        "\x0c", "[1]]",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(name: str, wrong: str, cut: Cut) -> None:
    """Only JSON is JSON; the error says where it stops to be, and none of it."""
    with pytest.raises(InvalidArgumentError, match=r"the file is not JSON: .*line 1"):
        cut(name, wrong)


def test_the_line_of_a_mistake_is_told(cut: Cut) -> None:
    """A mistake is found by its line in the file."""
    with pytest.raises(InvalidArgumentError, match="line 3, column 9"):
        cut("jsonl", '{"a": 1}\n\n{"a": 1 "Rumpelstilzchen"}\n')
    with pytest.raises(InvalidArgumentError, match="line 3, column 2"):
        cut("json", "[\n1,\n x\n]")


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_depth_is_bounded(name: str, cut: Cut) -> None:
    """Sixty-four levels are read, sixty-five are refused, and a million do no harm."""
    assert cut(name, "[" * 64 + "]" * 64)
    for depth in (65, 1_000_000):
        with pytest.raises(InvalidArgumentError, match="nested more than 64 levels"):
            cut(name, '[{"a":' * (depth // 2) + "[" * (depth % 2))


def test_brackets_in_strings_are_words(cut: Cut) -> None:
    """What looks like structure inside of a string is none."""
    value = {"a": '[{,}] \\ " ' * 30, "b": ['"]', "[" * 200]}
    source = json.dumps(value)
    pieces = cut("json", source, max_chars=100)
    check_places(source, pieces)
    kept = "".join("".join(piece.text.split()) for piece in pieces)
    assert kept.count("[") >= source.count("[") - 2


def test_order_of_cutting_does_not_matter(cut: Cut) -> None:
    """Equal bytes give equal pieces, whatever was cut before by the same process."""
    sources = {"csv": "a,b\n" * 9, "json": "[1, 2]", "jsonl": "1\n2\n", "text": "a\n\nb"}
    first = {name: cut(name, source) for name, source in sources.items()}
    for name in (*reversed(sources), *sources):
        assert cut(name, sources[name]) == first[name]
