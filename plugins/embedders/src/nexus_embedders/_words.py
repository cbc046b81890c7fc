"""Words of a text, the same on every Python.

Which characters are letters, and how they fold, comes from the Unicode 3.2 tables that every Python
keeps for internet names; for characters of that version folding never changes. What is younger than
that is a letter and folds to itself, but for signs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import chain, pairwise
from typing import Final
from unicodedata import ucd_3_2_0

# Marks that writers of a language leave out or put in as they like: accents, points, vocalisation.
_LEFT_OUT: Final = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670"
    "\u200b-\u200f\u2060\u3099\u309a\ufe00-\ufe0f\ufeff]"
)
# Blocks of punctuation, currencies, symbols and pictures, of which many are younger.
_SIGNS: Final = (
    range(0x2000, 0x2070),
    range(0x20A0, 0x20D0),
    range(0x2190, 0x2C00),
    range(0x2E00, 0x2E80),
    range(0x1F000, 0x1FB00),
)
_SYLLABLES: Final = range(0xAC00, 0xD7A4)
_FULL_WIDTH: Final = range(0xFF01, 0xFF5F)

# Scripts that put no blank between words: a word is taken to be a character, and two neighbours.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


@cache
def folding() -> Mapping[int, str | None]:
    """What ``str.translate`` makes of a character: folded letters, a blank for what parts words.

    Characters that are not in it stay as they are.
    """
    table: dict[int, str | None] = dict.fromkeys(chain(*_SIGNS), " ")
    for code in range(0x10000):
        character = chr(code)
        category = ucd_3_2_0.category(character)
        if _LEFT_OUT.match(character):
            table[code] = None
        elif category == "Cn":
            continue
        elif code in _FULL_WIDTH:
            folded = _folded(chr(code - 0xFEE0))
            table[code] = folded if folded.isalnum() else " "
        elif category[0] not in "LMN":
            table[code] = " "
        elif code not in _SYLLABLES and (folded := _folded(character)) != character:
            table[code] = folded
    return table


def _folded(character: str) -> str:
    bare = _LEFT_OUT.sub("", ucd_3_2_0.normalize("NFD", character))
    return _LEFT_OUT.sub("", bare.casefold())


def words(text: str) -> tuple[list[str], list[str]]:
    """Return the words of a text, folded: no case, no accents.

    First those that blanks and signs part, in order; then, for scripts without blanks, each
    character and each two that stand together.
    """
    parted: list[str] = []
    dense: list[str] = []
    for word in text.translate(folding()).split(" "):
        if word.isascii():
            if word:
                parted.append(word)
            continue
        for run in _UNSPACED.findall(word):
            dense.extend(run)
            dense.extend(first + second for first, second in pairwise(run))
        parted.extend(part for part in _UNSPACED.split(word) if part)
    return parted, dense
