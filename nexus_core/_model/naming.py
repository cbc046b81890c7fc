"""The naming codec: distinct scopes and keys never share a physical name.

Backends build every physical name here and read it back here, so that one injectivity proof
serves them all. ``encode_*`` and ``decode_*`` are exact inverses; ``decode_*`` refuses any name
that ``encode_*`` would not have produced, which is how a planted or foreign name is recognised.

Three grammars are offered:

* *object names* for stores whose names are case-sensitive byte strings (S3, GCS): readable,
  ``v1/<env>/<tenant>/<key>``;
* *path parts* for file systems: lower-case ASCII that stays distinct under case folding, with no
  reserved device name, no leading or trailing dot and at most 200 characters a part;
* *hashed names* for engines with a tighter grammar: ``<prefix><52 base32 characters>``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

from nexus_core._model.canonical import digest
from nexus_core._model.errors import IntegrityError, NexusError
from nexus_core._model.keys import check_key
from nexus_core._model.scope import Scope

LAYOUT: Final = "v1"
MAX_PART: Final = 200

# `~` introduces an escape: `~hh` is one byte; `~_` ends every chunk of a long segment but its last.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.")
_ESCAPES = tuple(chr(byte) if chr(byte) in _PLAIN else f"~{byte:02x}" for byte in range(256))
_MORE = "~_"
_TOKEN = re.compile(r"~[0-9a-f]{2}|[a-z0-9_.-]")
# Windows reserves these whatever extension follows; its other devices hold characters that are
# escaped anyway.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789"}
)
_LONGEST_DEVICE = 4


class ForeignNameError(IntegrityError):
    """A physical name that this codec did not make."""

    code = "store.foreign_name"


def encode_object_name(scope: Scope, key: str) -> str:
    """Name of an object in a case-sensitive flat store: ``v1/<env>/<tenant>/<key>``."""
    return object_prefix(scope) + key


def object_prefix(scope: Scope) -> str:
    """The prefix that all of a scope's object names share, and no other scope's do."""
    return f"{LAYOUT}/{scope.env}/{scope.tenant_id}/"


def decode_object_name(scope: Scope, name: str) -> str:
    """Read the key back; raise ``ForeignNameError`` if the name is not of this scope."""
    prefix = object_prefix(scope)
    if not name.startswith(prefix):
        raise ForeignNameError("an object name lies outside the scope that was asked for")
    try:
        return check_key(name[len(prefix) :])
    except NexusError:
        raise ForeignNameError("an object name is not one that the codec makes") from None


def encode_scope_parts(scope: Scope) -> tuple[str, ...]:
    """Path parts of a scope: layout version, environment, tenant (escaped where a device name)."""
    return (LAYOUT, scope.env, *encode_segment(scope.tenant_id))


def encode_key_parts(key: str) -> tuple[str, ...]:
    """Path parts of a key, a segment at a time; long segments take several parts."""
    return tuple(part for segment in key.split("/") for part in encode_segment(segment))


def encode_segment(segment: str) -> tuple[str, ...]:
    """Encode one key segment as one or more path parts; see ``decode_segment``."""
    tokens = [_ESCAPES[byte] for byte in segment.encode("utf-8")]
    if tokens[-1] == ".":
        tokens[-1] = "~2e"
    parts: list[str] = []
    room = MAX_PART - len(_MORE)
    current = ""
    for position, token in enumerate(tokens):
        if len(current) + len(token) > room:
            parts.append(current + _MORE)
            current = ""
        current += token if current else _first(tokens, position)
    parts.append(current)
    return tuple(parts)


def _first(tokens: Sequence[str], position: int) -> str:
    """The token that begins a part, escaped where the part would be hidden or name a device."""
    ahead = "".join(tokens[position : position + _LONGEST_DEVICE + 1])
    if ahead[0] == "." or ahead.partition(".")[0] in _DEVICES:
        return f"~{ord(ahead[0]):02x}"
    return tokens[position]


def is_continued(part: str) -> bool:
    """Whether a path part is a chunk that further parts of the same segment follow."""
    return part.endswith(_MORE)


def decode_part(part: str) -> bytes:
    """Bytes of one path part; raise ``ForeignNameError`` where it cannot be one.

    A part decodes on its own, but only ``decode_segment`` proves that it was made by the codec.
    """
    body = part[: -len(_MORE)] if is_continued(part) else part
    out = bytearray()
    position = 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        if match is None:
            raise ForeignNameError("a path part is not one that the codec makes")
        token = match.group()
        out.append(int(token[1:], 16) if token[0] == "~" else ord(token))
        position = match.end()
    return bytes(out)


def decode_segment(parts: Sequence[str]) -> str:
    """Inverse of ``encode_segment``; raise ``ForeignNameError`` for anything it does not make."""
    try:
        segment = b"".join(decode_part(part) for part in parts).decode("utf-8")
    except UnicodeDecodeError:
        raise ForeignNameError("a path part is not one that the codec makes") from None
    if not segment or encode_segment(segment) != tuple(parts):
        raise ForeignNameError("a path part is not one that the codec makes")
    return segment


def decode_key_parts(parts: Sequence[str]) -> str:
    """Inverse of ``encode_key_parts``."""
    segments: list[str] = []
    chunk: list[str] = []
    for part in parts:
        chunk.append(part)
        if not is_continued(part):
            segments.append(decode_segment(chunk))
            chunk = []
    if chunk:
        raise ForeignNameError("a path ends in the middle of a segment")
    key = "/".join(segments)
    try:
        return check_key(key)
    except NexusError:
        raise ForeignNameError("a path is not one that the codec makes") from None


def hashed_name(prefix: str, *parts: str) -> str:
    """``prefix`` and 52 base32 characters (SHA-256 of the framed parts), letters first.

    Collision-resistant rather than invertible; whoever uses it stores the parts beside the name.
    """
    value = base64.b32encode(digest("nexus/name/v1", *parts)).decode().rstrip("=").lower()
    return prefix + value
