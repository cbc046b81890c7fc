"""Reads an engine's listing in one pass, in place of the client library's parser.

The library builds a tree of the whole page and walks it by its description of the service, which
is most of what a listing costs. Neighbours get the same words as from the library, and whatever is
not plainly a listing goes to the library as it came.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from xml.parsers.expat import ExpatError, ParserCreate

from botocore.utils import parse_timestamp  # type: ignore[import-untyped]

_SAID: Final = frozenset(("NextContinuationToken", "EncodingType"))
_ROOT: Final = "ListBucketResult"
_OK: Final = 200


def read_listing(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Handles the library's event ``before-parse``: takes the body, leaves what it says."""
    if response_dict.get("status_code") != _OK:
        return
    reader = _Reader()
    try:
        customized_response_dict.update(reader.read(response_dict["body"]))
    except (ExpatError, ValueError, KeyError, TypeError):
        customized_response_dict.clear()
    else:
        response_dict["body"] = b""


class _Reader:
    """The handlers of one parse. Depth 1 is the page, 2 its parts, 3 what is said of a part."""

    def __init__(self) -> None:
        self.depth = 0
        self.text = ""
        self.fields: dict[str, str] = {}
        self.said: dict[str, Any] = {}
        self.contents: list[dict[str, Any]] = []
        self.prefixes: list[dict[str, Any]] = []

    def read(self, body: bytes) -> dict[str, Any]:
        """What the page says. Raises what a body that is no such page leads to."""
        parser = ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.Parse(body, True)  # noqa: FBT003  # positional in the standard library
        lists = {"Contents": self.contents, "CommonPrefixes": self.prefixes}
        return {**self.said, **{name: lines for name, lines in lists.items() if lines}}

    def _data(self, data: str) -> None:
        self.text += data

    def _start(self, name: str, _: dict[str, str]) -> None:
        self.depth += 1
        self.text = ""
        if self.depth == 2:
            self.fields = {}
        elif self.depth == 1 and name != _ROOT:
            raise ValueError(name)

    def _end(self, name: str) -> None:
        depth = self.depth
        self.depth = depth - 1
        if depth == 3:
            self.fields[name] = self.text
        elif depth == 2:
            if name == "Contents":
                of = self.fields
                self.contents.append(
                    {
                        "Key": of["Key"],
                        "Size": int(of["Size"]),
                        "ETag": of["ETag"],
                        "LastModified": moment(of["LastModified"]),
                    }
                )
            elif name == "CommonPrefixes":
                self.prefixes.append({"Prefix": self.fields["Prefix"]})
            elif name == "IsTruncated":
                self.said[name] = {"true": True, "false": False}[self.text]
            elif name in _SAID:
                self.said[name] = self.text


def moment(said: Any) -> Any:
    """A time as S3 writes it, and by the library's own guess where it is written otherwise."""
    if isinstance(said, str) and "T" in said[10:11]:
        with suppress(ValueError):
            found = datetime.fromisoformat(said)
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return parse_timestamp(said)
