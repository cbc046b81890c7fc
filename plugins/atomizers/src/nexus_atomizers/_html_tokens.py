"""Tags and text of HTML, as the HTML standard's tokenizer finds them, in one pass.

The standard library's parser changes its mind about malformed markup with patch releases of
Python, and a tree built by the standard's rules can be thousands of times the size of a hostile
source. Pieces need neither attributes nor a tree, so this reads tags and text only, in time and
memory that are proportional to the source. Three things are simpler than in a browser: scripting is
off; ``svg`` and ``math`` have no rules of their own; attributes are passed over.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

import attrs

_SPACE: Final = r"[\t\n\f\r ]"
# A name that is not followed by "=" has no value; a quote that is opened must be closed, or the
# tag, and with it the file, has no end.
_VALUE: Final = r"(?:\"[^\"]*+\"|'[^']*+'|(?![\"'])[^\t\n\f\r >]*+)"
_ATTRIBUTES: Final = (
    r"(?:[\t\n\f\r /]++|[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rf"(?:{_SPACE}*+={_SPACE}*+{_VALUE}|(?!{_SPACE}*+=)))*+"
)
_TAG: Final = re.compile(rf"<(/?)([A-Za-z][^\t\n\f\r />]*+){_ATTRIBUTES}>")
_TAG_BEGINS: Final = re.compile(r"</?[A-Za-z]")
_COMMENT_ENDS: Final = re.compile(r"--!?>")

_ENDED: Final = r"(?=[\t\n\f\r />])"
_SCRIPT: Final = re.compile(rf"<!(?=--)|-->|<(/?)script{_ENDED}", re.IGNORECASE)
_DROPPED: Final = frozenset(("iframe", "noembed", "noframes", "script", "style"))
_RAW: Final = frozenset(("xmp",))
_ESCAPABLE: Final = frozenset(("textarea", "title"))

_REFERENCE: Final = re.compile(r"&(?:#[0-9]++;?|#[xX][0-9a-fA-F]++;?|[A-Za-z][A-Za-z0-9]{0,31}+;?)")
# More digits than any character has, leading zeros allowed for.
_MAX_REFERENCE: Final = 40


@attrs.frozen
class Text:
    """Characters, references decoded, and the offset where their source begins."""

    text: str
    start: int


@attrs.frozen
class Tag:
    """The beginning or the end of an element."""

    name: str
    ends: bool
    start: int


def tokens(source: str) -> Iterator[Tag | Text]:
    """Yield tags and text in order; what scripts, styles and embedded documents hold is left out.

    Never fails: there is no text that is not HTML.
    """
    position = 0
    while position < len(source):
        tag = source.find("<", position)
        if tag < 0:
            tag = len(source)
        if tag > position:
            yield Text(_decoded(source[position:tag]), position)
        if tag == len(source):
            return
        if _TAG_BEGINS.match(source, tag):
            match = _TAG.match(source, tag)
            if match is None:
                return
            name = _lower(match[2])
            yield Tag(name, bool(match[1]), tag)
            position = match.end()
            if not match[1]:
                end = _content_ends(source, name, position)
                if end > position and name not in _DROPPED:
                    text = source[position:end]
                    yield Text(_decoded(text) if name in _ESCAPABLE else text, position)
                position = end
            continue
        position = _markup_ends(source, tag)
        if position == tag + 1:
            yield Text("<", tag)


def _markup_ends(source: str, start: int) -> int:
    """Return where a comment or declaration ends; ``start + 1`` if it is a mere "<"."""
    if source.startswith("<!--", start):
        if source.startswith((">", "->"), start + 4):
            return source.index(">", start) + 1
        end = _COMMENT_ENDS.search(source, start + 4)
        return len(source) if end is None else end.end()
    if source.startswith(("<!", "<?"), start) or (
        source.startswith("</", start) and start + 2 < len(source)
    ):
        end_bracket = source.find(">", start)
        return len(source) if end_bracket < 0 else end_bracket + 1
    return start + 1


def _content_ends(source: str, name: str, start: int) -> int:
    """Return where the end tag of an element begins that can hold no tags; else ``start``."""
    if name == "plaintext":
        return len(source)
    if name == "script":
        return _script_ends(source, start)
    if name not in _DROPPED and name not in _RAW and name not in _ESCAPABLE:
        return start
    end = re.compile(rf"</{name}{_ENDED}", re.IGNORECASE).search(source, start)
    return len(source) if end is None else end.start()


def _script_ends(source: str, start: int) -> int:
    """A script may hide a whole script element, its end tag included, in a comment."""
    commented = hidden = False
    for event in _SCRIPT.finditer(source, start):
        sign = event.group()
        if sign == "<!":
            commented = True
        elif sign == "-->":
            commented = hidden = False
        elif not event[1]:
            hidden = commented
        elif not hidden:
            return event.start()
        else:
            hidden = False
    return len(source)


def _decoded(text: str) -> str:
    return _REFERENCE.sub(_character, text) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    reference = match.group()
    return html.unescape(reference) if len(reference) <= _MAX_REFERENCE else "\ufffd"


def _lower(name: str) -> str:
    # Tag names are folded in ASCII only: "K" as the Kelvin sign is another name.
    return name.lower() if name.isascii() else name
