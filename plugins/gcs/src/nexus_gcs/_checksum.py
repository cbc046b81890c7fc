"""CRC32C, which the engine computes too and compares with what it is told."""

from __future__ import annotations

import base64

import google_crc32c


def extended(value: int, data: bytes) -> int:
    """The checksum of what had ``value``, followed by ``data``; that of nothing is 0."""
    return int(google_crc32c.extend(value, data))


def spelt(value: int) -> str:
    """The checksum as the engine writes it."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()
