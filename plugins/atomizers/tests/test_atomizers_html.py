"""HTML: what a page says, block by block, and no more."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nexus_atomizers._html_tokens import Tag, tokens

from nexus_core.spi import InvalidArgumentError, Piece

Cut = Callable[..., list[Piece]]


def texts(pieces: list[Piece]) -> list[str]:
    """The texts of pieces."""
    return [piece.text for piece in pieces]


def said(source: str) -> str:
    """All text that the tokens of a source hold."""
    return "".join("" if isinstance(token, Tag) else token.text for token in tokens(source))


def test_blocks_are_pieces(cut: Cut) -> None:
    """Block elements part, inline elements do not, blanks collapse, references are decoded."""
    source = (
        "<body>loose <p>one\n  <b>t</b>wo &amp; th&#114;ee&hellip;<br> four"
        "<div>five<section>six</section>seven</div> <span>eight</span> nine"
    )
    assert texts(cut("html", source)) == [
        "loose",
        "one two & three…\nfour",
        "five",
        "six",
        "seven",
        "eight nine",
    ]


def test_what_is_not_said_is_dropped(cut: Cut) -> None:
    """Scripts, styles, templates, embedded documents, comments and declarations give no text."""
    source = (
        "<!DOCTYPE html><?xml x?><style>a{}</style><script>if (a < b) '<p>no</p>'</script>"
        "<script><!-- <script>no</script> no --></script><template><p>no<template>no</template>"
        "no</template><iframe><p>no</iframe><!-- no --><!-- no --!><!--> <![CDATA[no]]>yes"
    )
    assert texts(cut("html", source)) == ["yes"]


def test_a_heading_opens_its_section(cut: Cut) -> None:
    """A heading is the beginning of the next piece, but of no preformatted one."""
    pieces = cut("html", "<title>t</title><h1>a</h1><h2>b</h2>c<h2>d</h2><pre> e\n  f </pre><h3>g")
    assert [(p.text, p.locator.get("section"), p.locator["block"]) for p in pieces] == [
        ("t", None, "title"),
        ("a\nb\nc", "1.1", "paragraph"),
        ("d", "1.2", "heading"),
        (" e\n  f", "1.2", "code"),
        ("g", "1.2.1", "heading"),
    ]


def test_lists_and_tables_have_a_line_for_each_item(cut: Cut) -> None:
    """A list or table is one piece: items and rows are lines, cells are parted by tabs."""
    source = (
        "<ul><li>a<li>b<ol><li>c</ol></ul>"
        "<table><caption>t</caption><tr><th>k<th>v<tr><td>1<br>2<td></td><td>3</table>end"
    )
    assert texts(cut("html", source)) == ["a\nb\nc", "t\nk\tv\n1\n2\t3", "end"]


def test_a_long_list_is_cut_between_items(cut: Cut) -> None:
    """A list that is too long becomes runs of its lines."""
    items = [f"item {number}. with words" for number in range(20)]
    pieces = cut("html", "<ul><li>" + "<li>".join(items) + "</ul>", max_chars=100)
    assert "\n".join(texts(pieces)).split("\n") == items
    assert all(len(piece.text) <= 100 for piece in pieces)


def test_lines_are_those_of_the_source(cut: Cut) -> None:
    """``line`` and ``start`` are where the first character of a block stands in the file."""
    source = "<p>\n\n  one</p>\r\n<ul>\n<li>two\n<li>three\n</ul>\n&amp;\n<p>\xa0four"
    pieces = cut("html", source)
    assert [(p.locator["line"], p.locator["start"]) for p in pieces] == [
        (3, source.index("one")),
        (5, source.index("two")),
        (8, source.index("&amp;")),
        (9, source.index("\xa0four")),
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a<!-->b", "ab"),
        ("a<!--->b", "ab"),
        ("a<!-- x --!>b", "ab"),
        ("a<!-- x -- >b", "a"),
        ("a<!-- x", "a"),
        ("a</>b", "ab"),
        ("a</ x>b", "ab"),
        ("a</1>b", "ab"),
        ("a</", "a</"),
        ("a<", "a<"),
        ("a < b", "a < b"),
        ("a<1>b", "a<1>b"),
        ("a<?x>b", "ab"),
        ("a<!x>b", "ab"),
        ("a<b", "a"),
        ("a<b c='>'>d", "ad"),
        ('a<b c=">" d=x>e', "ae"),
        ("a<b c=>d", "ad"),
        ("a<b =c>d", "ad"),
        ("a<b c='d>e", "a"),
        ("a<b/>c", "ac"),
        ("<title>&lt;a</b></title>c", "<a</b>c"),
        ("<textarea><p>&amp;</textarea>b", "<p>&b"),
        ("<xmp><p>&amp;</xmp>b", "<p>&amp;b"),
        ("<style></styles>x</STYLE >b", "b"),
        ("<script></ script>x</script\n>b", "b"),
        ("<script><!--</script>b", "b"),
        ("<script><!--<script></script></script>b", "b"),
        ("<plaintext>a</plaintext>", "a</plaintext>"),
        ("&notit; &notin; &amp", "¬it; ∉ &"),
        ("&#0;&#xD800;&#x110000;&#x80;", "\ufffd\ufffd\ufffd€"),
        ("&#" + "9" * 5000 + ";", "\ufffd"),
        ("&x; & &#; &#x;", "&x; & &#; &#x;"),
    ],
)
def test_markup_is_read_as_the_standard_says(source: str, expected: str) -> None:
    """Malformed markup is read by the HTML standard's tokenizer, worked out by hand."""
    assert said(source) == expected


class Oracle(HTMLParser):
    """The standard library's view of a well-formed page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


WELL_FORMED = st.recursive(
    st.sampled_from(
        ["word", " ", "\n", "a &amp; b", "&#65;", "é", "1 &lt; 2", "<br>", "<!-- c -->"]
    ),
    lambda inner: st.tuples(
        st.sampled_from(["p", "b", "div", "h1", "li", "td", "SPAN", "x-y"]),
        st.sampled_from(["", " a", ' a="1>2"', " a='\"'", " a = b c", "\n"]),
        st.lists(inner, max_size=5).map("".join),
    ).map(lambda parts: f"<{parts[0]}{parts[1]}>{parts[2]}</{parts[0]}>"),
    max_leaves=30,
)


@given(WELL_FORMED)
def test_well_formed_markup_is_read_like_by_the_standard_library(source: str) -> None:
    """On what is well-formed, tags and text are those that ``html.parser`` finds."""
    oracle = Oracle()
    oracle.feed(source)
    oracle.close()
    seen = [
        f"<{'/' * token.ends}{token.name}>" if isinstance(token, Tag) else token.text
        for token in tokens(source)
    ]
    assert "".join(seen) == "".join(oracle.seen)


@given(st.text(alphabet="<>/!-?&#;ab=\"' \n", max_size=80), st.integers(100, 200))
def test_any_text_is_html(cut: Cut, source: str, size: int) -> None:
    """No text is refused, and no piece is empty or too long."""
    for piece in cut("html", source, max_chars=size):
        assert 1 <= len(piece.text) <= size


def test_a_declared_charset_is_believed_only_where_utf_8_fails(cut: Cut) -> None:
    """UTF-8 first; else the charset of a ``meta`` element, which must be known and kept."""
    latin = '<meta http-equiv=x content="text/html; charset=ISO-8859-1"><p>caf\xe9 \x93q\x94'
    assert texts(cut("html", latin.encode("latin-1"))) == ["café “q”"]
    assert texts(cut("html", latin)) == ["café \x93q\x94"]
    russian = '<meta charset="koi8-r"><p>привет'
    assert texts(cut("html", russian.encode("koi8-r"))) == ["привет"]
    for source in (b"<p>\xe9", b"<meta charset=x-none><p>\xe9", b"<!-- " + b"x" * 1024 + b"\xe9"):
        with pytest.raises(InvalidArgumentError, match=f"byte {source.index(0xE9)} "):
            cut("html", source)
    undefined = b"<meta charset=windows-1252>\x81"
    with pytest.raises(InvalidArgumentError, match="charset that it declares: byte 27"):
        cut("html", undefined)


def test_hostile_html_takes_time_and_memory_in_proportion(cut: Cut) -> None:
    """What makes a tree of elements explode is nothing to a reader that builds none."""
    fonts = "".join(f"<font size={number}>" for number in range(2000)) + "<p>x" * 2000
    assert "".join(texts(cut("html", fonts))) == "x" * 2000
    for source in ("<div>" * 200_000, "<!---->" * 200_000, "<a b='" * 100_000, "<table>" * 100_000):
        assert cut("html", source) == []
