"""Canonical bytes: one JSON spelling for each value, and length-framed tuples for hashing.

Two values that are the same have the same bytes and two that differ have different bytes, as JSON
sees them: ``1``, ``1.0`` and ``true`` are three values, a tuple is a list, and text is its UTF-8.
Everything that is hashed, signed or compared goes through here.
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
    try:
        text = _ENCODER.encode(value)
        _check_keys(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no canonical form: {error}") from None
    return text.encode("utf-8")


def _check_keys(value: object) -> None:
    # The encoder spells the keys 1 and "1" alike, so that two values would have the same bytes.
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys must be text")
        for inner in value.values():
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


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
