"""Markdown: slices of the source by block, headings with what they open."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from nexus_core.spi import Piece

Cut = Callable[..., list[Piece]]

SIGNS = ("# h", "## h2\n", "- a", "  - b", "1. x", "> q", "```", "~~~", "    code", "***", "---")
MORE = ("| a | b |", "|---|---|", "<div>", "</div>", "[x]: y", "===", "word word. more", "a", ". ")
SPACES = ("\n", "\n\n", "\r\n", "\t", "  ", "\xa0", "\n")
FRAGMENTS = st.lists(st.sampled_from((*SIGNS, *MORE, *SPACES)), max_size=60)
SIZES = st.integers(100, 160)
BREAKS = re.compile(r"[\s*_-]*")


@given(FRAGMENTS.map("".join), SIZES)
def test_every_word_is_in_exactly_one_piece(cut: Cut, text: str, size: int) -> None:
    """Pieces are slices in order; between them are blanks and thematic breaks, nothing else."""
    after = 0
    for piece in cut("markdown", text, max_chars=size):
        start, end = int(piece.locator["start"]), int(piece.locator["end"])
        assert text[start:end] == piece.text
        assert 1 <= len(piece.text) <= size
        assert start >= after
        assert BREAKS.fullmatch(text, after, start)
        assert piece.locator["line"] == len(re.findall(r"\r\n?|\n", text[:start])) + 1
        after = end
    assert BREAKS.fullmatch(text, after)


def test_headings_open_the_block_that_follows(cut: Cut) -> None:
    """A heading, and those right above it, are the beginning of the next piece."""
    pieces = cut("markdown", "# One\n\ntext\n\nmore\n\nTwo\n---\n### Three\n- a\n- b\n")
    assert [(piece.text, piece.locator["block"]) for piece in pieces] == [
        ("# One\n\ntext", "paragraph"),
        ("more", "paragraph"),
        ("Two\n---\n### Three\n- a\n- b", "list"),
    ]


def test_sections_are_numbers_by_the_outline(cut: Cut) -> None:
    """``section`` counts headings below the one above; levels that are left out do not count."""
    source = "zero\n\n# a\n\nx\n\n### b\n\nx\n\n## c\n\nx\n\n# d\n\nx\n\n## e\n\nx\n\n## f\n"
    places = [
        (piece.locator.get("section"), piece.locator.get("level"))
        for piece in cut("markdown", source)
    ]
    assert places == [
        (None, None),
        ("1", 1),
        ("1.1", 3),
        ("1.2", 2),
        ("2", 1),
        ("2.1", 2),
        ("2.2", 2),
    ]


def test_code_is_verbatim_and_stands_alone(cut: Cut) -> None:
    """Code keeps its fences, blank lines and indentation; a heading before it is its own piece."""
    fenced = "```py\ndef f():\n\n    return '# no heading'\n```"
    indented = "    first\n\n      second"
    pieces = cut("markdown", f"# h\n\n{fenced}\n\ntext\n\n{indented}\n")
    assert [piece.text for piece in pieces] == ["# h", fenced, "text", indented]
    assert [piece.locator["block"] for piece in pieces] == ["heading", "code", "paragraph", "code"]


def test_long_code_is_cut_between_lines(cut: Cut) -> None:
    """Code that is too long is cut at line ends, and the next piece keeps its indentation."""
    lines = [f"    line {number}. and more" for number in range(20)]
    pieces = cut("markdown", "\n".join(lines), max_chars=100)
    assert "\n".join(piece.text for piece in pieces) == "\n".join(lines)


def test_a_list_is_one_piece_or_runs_of_items(cut: Cut) -> None:
    """A list that fits is whole; one that does not is cut between items, then inside of them."""
    items = [f"- item {number}\n  goes on" for number in range(12)]
    (whole,) = cut("markdown", "\n".join(items[:4]))
    assert whole.text == "\n".join(items[:4])
    pieces = cut("markdown", "\n".join(items), max_chars=100)
    assert all(piece.text.startswith("- item") for piece in pieces)
    assert "\n".join(piece.text for piece in pieces) == "\n".join(items)
    nested = "- outer\n" + "\n".join(f"  - inner {number} and so on" for number in range(9))
    inner = cut("markdown", nested, max_chars=100)
    assert all(re.match(r"(  )?- (outer|inner)", piece.text) for piece in inner)


def test_tables_quotes_and_definitions_are_kept(cut: Cut) -> None:
    """Tables are tables, quotes keep their signs, and the definition of a link is no less text."""
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    pieces = cut("markdown", f"{table}\n\n> said\n> so\n\n[x]: http://example.org\n\n***\n")
    assert [(piece.text, piece.locator["block"]) for piece in pieces] == [
        (table, "table"),
        ("> said\n> so", "quote"),
        ("[x]: http://example.org", "paragraph"),
    ]


def test_front_matter_is_a_piece_and_no_heading(cut: Cut) -> None:
    """Metadata between fences at the very beginning is not taken for Markdown."""
    pieces = cut("markdown", "---\ntitle: x\n# no heading\n---\ntext\n\n---\na: b\n---\n")
    assert [(piece.text, piece.locator["block"]) for piece in pieces] == [
        ("---\ntitle: x\n# no heading\n---", "front_matter"),
        ("text", "paragraph"),
        ("a: b\n---", "heading"),
    ]
    assert pieces[1].locator["line"] == 5
    for source in ("---\n\ntext\n---\n", "---\ntext\n", "----\na: b\n----\n"):
        assert all(p.locator["block"] != "front_matter" for p in cut("markdown", source))


def test_hostile_markdown_ends(cut: Cut) -> None:
    """Depth and repetition cost no more than time in proportion, and lose nothing."""
    for source in (
        ">" * 50_000,
        "- " * 50_000 + "x",
        "[" * 50_000,
        "* * " * 10_000 + "x",
        "\t" * 50_000,
    ):
        pieces = cut("markdown", source)
        kept = "".join(piece.text for piece in pieces)
        assert re.sub(r"\s", "", kept) == re.sub(r"\s", "", source)
