"""The pieces of a sample of each format, by their SHA-256.

A piece's text and place decide an atom's identity. If one of these digests changes, equal bytes no
longer give equal atoms: give the atomizer a new version and put the new digest beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest

from nexus_core.spi import AtomizerSpec, Piece

Cut = Callable[..., list[Piece]]

# Letters that are younger than the Unicode tables of the oldest Python, and blanks of all kinds.
UNICODE = (
    "\U0001e4d0\u1c89 \u2ffc\u0cf3\xa0\u2003x\u2028\u3000\u180e\ufeff\u200b. Ⅷ ǅ ß ﬁ é e\u0301"
)
PROSE = (
    "Call me Ishmael. Some years ago—never mind how long precisely—having little or no money in my "
    'purse, I "thought I would sail about a little." And so on! Is it? 中文句子。第二句。\n'
) * 4

TEXT = f"{PROSE}\r\n \t\r\n{UNICODE}\n\n\n{'x' * 250} {UNICODE}\r\rlast\fpage"

MARKDOWN = f"""---
title: sample
---
Setext {UNICODE}
======

{PROSE}
### Third *level*
1. one
   - nested {UNICODE}

     > quoted in a list
2. two
{"".join(f"3. item {number}{chr(10)}" for number in range(20))}
~~~sh
# not a heading
  {UNICODE}
~~~

| a | b |
|:--|--:|
| 1 | {UNICODE} |

[ref]: <http://example.org> "title"
***
<div>
*html*
</div>

\tindented code

#No heading
> lazy
quote
## End ##
"""

HTML = f"""<!doctype html><html><head><title>T &amp; {UNICODE}</title><style>x</style></head>
<body><!-- no --!><h1>One</h1>{PROSE}<p>para<br>{UNICODE}&nbsp;&#x1F600;&notit;&#128;</p>
<ul><li>a<li>b<ol><li>c</ol><li>{PROSE}</ul><pre>
  keep   {UNICODE}
</pre><h3>Three</h3><table><tr><th>k<th>v<tr><td>1<td>2</table><script>if (a<b) "</p>"</script>
<template><p>no</template><div>un<b>closed <a href='x>y'>link</div><svg><title>s</title></svg></i>
"""

CSV = f'id,text\r\n1,"{PROSE}""q"" {UNICODE}"\r\n\r\n2,5" pipe\r3,{UNICODE}\n'

JSON = json.dumps(
    {"name": UNICODE, "list": [{"id": n, "t": PROSE[:80]} for n in range(5)], "n": [1] * 80},
    indent=1,
    ensure_ascii=False,
)

JSONL = f'{{"a": {json.dumps(UNICODE)}}}\r\n\n[1.50, 1e400, -0]\n{json.dumps([PROSE, [PROSE]])}\n'

GOLDEN = {
    ("text", "1"): (TEXT, "13968bf1371d355e34ff496be104859fc0dfb38128972eaf66fce6de3635aa81"),
    ("markdown", "1"): (
        MARKDOWN,
        "5d8a33b7ff671e347157be1f04757ba4641b7cac5cec42b0cca9d710fc7e0cee",
    ),
    ("html", "1"): (HTML, "19cc25852168213a90ea7cbffb4416d26bb38aa9b83d596cb5b4277a1c0bd0a3"),
    ("csv", "1"): (CSV, "412805909654e963b41fd34f103c845a6a9b103dde7b9e64ad61b73357fc30ee"),
    ("json", "1"): (JSON, "bb555d9e4dc6ad1056d9cffef3f48fae369f74fa1acb98546a23169d19cb5ca6"),
    ("jsonl", "1"): (JSONL, "6193b1d5e91a67b9bb0313b6d90dd2bc0d140120a24fe53fba104c7533706bf2"),
}
PDF_DIGEST = "e412b79386bb1ba8c5e6406c72002a21bcedfbd508a1ee0a9f72eeeb628842bb"


def digest(pieces: list[Piece]) -> str:
    """SHA-256 of texts and locators, in order."""
    rows = [[piece.text, dict(piece.locator)] for piece in pieces]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode("ascii")).hexdigest()


@pytest.mark.parametrize(("name", "version"), GOLDEN, ids="-".join)
def test_pieces_are_those_of_the_version(
    name: str, version: str, cut: Cut, specs: dict[str, AtomizerSpec]
) -> None:
    """A version of an atomizer cuts its sample into the same pieces on every Python."""
    source, expected = GOLDEN[name, version]
    assert specs[name].version == version
    pieces = [*cut(name, source), *cut(name, source, max_chars=100)]
    assert len(pieces) > 5
    assert digest(pieces) == expected


def test_pieces_of_a_pdf_are_those_of_the_version(
    cut: Cut, pdf: Callable[..., bytes], page: Callable[..., bytes], specs: dict[str, AtomizerSpec]
) -> None:
    """The same for a PDF; here a new release of pypdf may be the reason too."""
    lines = [b"Line %d with an umlaut: \\344, and \\(brackets\\)." % number for number in range(60)]
    kerned = b"BT /F1 12 Tf 72 720 Td [(K) 80 (erned) -400 (words)] TJ 0 -40 Td (far below) Tj ET"
    source = pdf([page(*lines), page(), kerned])
    assert specs["pdf"].version == "1"
    pieces = [*cut("pdf", source), *cut("pdf", source, max_chars=100)]
    assert len(pieces) > 5
    assert digest(pieces) == PDF_DIGEST
