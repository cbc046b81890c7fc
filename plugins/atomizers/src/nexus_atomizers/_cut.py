"""Where to cut: never beyond a size, at the best place that the second half of it has.

Nothing here asks Unicode's tables or the locale: a cut falls at the same character on every
interpreter, because it is part of what makes an atom's identity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from nexus_atomizers._source import BLANKS, NEWLINE

_BLANK: Final = f"[{BLANKS}]"
_INDENT: Final = "[" + "".join(c for c in BLANKS if c not in "\r\n") + "]"
_END: Final = r"(?>\r\n?|\n)"

# A line end, and another with nothing but blanks between.
BLANK_LINE: Final = re.compile(f"{_END}{_INDENT}*+{_END}")
LEADING_BLANKS: Final = re.compile(f"{_BLANK}*+")
_LEADING_LINES: Final = re.compile(f"(?:{_INDENT}*+{_END})*+")
_SENTENCE: Final = re.compile(rf"[.!?…][)\]\"'”’»]*+(?={_BLANK})|[。！？]")
_ANY_BLANK: Final = re.compile(_BLANK)
# Marks that belong to the character before them: accents, variation selectors, skin tones, and
# the joiner, which binds on both sides.
_JOINER: Final = "\u200d"
_MARK: Final = re.compile("[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\u200d]")
_MAX_MARKS: Final = 16


def boundary(window: str, limit: int, *, lines: bool = False) -> int:
    """Return where to end a piece: an index of ``window`` from 1 to ``limit``.

    ``window`` is longer than ``limit``. Before a blank line if there is one, else after a sentence,
    before a line end, before a blank; with ``lines`` line ends come before sentences.
    """
    reach = window[: limit + 1]
    half = limit // 2
    sentence_first = (BLANK_LINE, _SENTENCE, NEWLINE, _ANY_BLANK)
    for place in (BLANK_LINE, NEWLINE, _SENTENCE, _ANY_BLANK) if lines else sentence_first:
        ends = place is _SENTENCE
        cuts = [m.end() if ends else m.start() for m in place.finditer(reach, half)]
        if cut := max((cut for cut in cuts if cut <= limit), default=0):
            return cut
    return _between_characters(window, limit)


def _between_characters(window: str, limit: int) -> int:
    cut = limit
    while limit - cut < _MAX_MARKS and (_MARK.match(window, cut) or window[cut - 1] == _JOINER):
        cut -= 1
    return cut if limit - cut < _MAX_MARKS else limit


def spans(
    text: str, start: int, end: int, limit: int, *, lines: bool = False
) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the pieces of ``text[start:end]``; only blanks fall between them.

    With ``lines`` a piece keeps the indentation of its first line.
    """
    leading = _LEADING_LINES if lines else LEADING_BLANKS
    end = trimmed(text, start, end)
    while (start := min(skipped(leading, text, start), end)) < end:
        if end - start <= limit:
            yield start, end
            return
        cut = start + boundary(text[start : start + limit + 1], limit, lines=lines)
        if (stop := trimmed(text, start, cut)) > start:
            yield start, stop
        start = cut


def trimmed(text: str, start: int, end: int) -> int:
    """Return ``end`` without the blanks before it."""
    while end > start and text[end - 1] in BLANKS:
        end -= 1
    return end


def skipped(leading: re.Pattern[str], text: str, start: int) -> int:
    """Return where the text goes on after what is left out at ``start``."""
    match = leading.match(text, start)
    return start if match is None else match.end()


def packed(edges: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Join neighbours while they fit: yield (start, end) of runs between ascending ``edges``.

    A part that is longer than ``limit`` by itself is a run of its own.
    """
    start = edges[0]
    for index in range(1, len(edges)):
        last = index == len(edges) - 1
        if last or edges[index + 1] - start > limit:
            yield start, edges[index]
            start = edges[index]
