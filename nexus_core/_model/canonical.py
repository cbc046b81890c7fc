"""Canonical bytes: one JSON spelling for each value, and length-framed tuples for hashing.

Two values that are equal have equal bytes and two that differ have different bytes; everything
that is hashed, signed or compared goes through here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def canonical_json(value: Any) -> bytes:
    """Serialise to UTF-8 JSON with sorted keys, no blanks, and neither NaN nor infinities.

    Raises ``ValueError`` for a value without one canonical form.
    """
    return _ENCODER.encode(value).encode("utf-8")


def frame(*parts: str | bytes) -> bytes:
    """Join parts so that no two different tuples give the same bytes (4-byte lengths)."""
    out = bytearray()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        out += struct.pack(">I", len(data))
        out += data
    return bytes(out)


def digest(*parts: str | bytes) -> bytes:
    """SHA-256 of the framed parts."""
    return hashlib.sha256(frame(*parts)).digest()
