"""Values of fields as texts that Weaviate compares as the filter tree does.

Weaviate trims texts, folds some of them, holds integers as float64 on the way in, and compares no
integer with a fraction. It compares short texts of digits and letters byte by byte, and exactly. So
every value becomes such a text: equal texts are equal values, and the order of texts is that of
numbers.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from nexus_core.spi import FieldValue

_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


def text_term(value: str) -> str:
    """A string: its UTF-8 bytes in hexadecimal, so that prefixes stay prefixes."""
    return "s" + value.encode("utf-8").hex()


def number_term(value: float) -> str:
    """An integer of 64 bits or a finite float, equal and ordered as the numbers are.

    The next float64 that is not greater, in an order-preserving spelling of its bits, and what an
    integer is more than that, which is less than 2**11.
    """
    below = float(value)
    if below > value:
        below = math.nextafter(below, -math.inf)
    rest = int(value) - int(below) if isinstance(value, int) else 0
    # Adding zero makes the negative zero positive.
    (bits,) = struct.unpack(">Q", struct.pack(">d", below + 0.0))
    ordered = bits ^ _ALL if bits & _SIGN else bits | _SIGN
    return f"n{ordered:016x}{rest:03x}"


def term(value: str | float | bool) -> str:  # a value of a field
    """The text of one value."""
    if isinstance(value, bool):
        return "b1" if value else "b0"
    return text_term(value) if isinstance(value, str) else number_term(value)


def terms_of(value: FieldValue) -> str | list[str]:
    """The text of a field's value, or the texts of a list's items, each once."""
    if isinstance(value, tuple):
        return sorted({text_term(item) for item in value})
    return term(value)
