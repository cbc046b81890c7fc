"""Parameters of an atomizer, checked: nothing unknown, nothing out of range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_core.spi import InvalidArgumentError

DEFAULT_MAX_CHARS: Final = 2000
MIN_MAX_CHARS: Final = 100
# Four bytes for each character at the worst: such a piece still is one atom of 64 KiB.
MAX_MAX_CHARS: Final = 16_000
DELIMITERS: Final = (",", ";", "\t", "|")


def only(parameters: Mapping[str, Any], *known: str) -> None:
    """Raise ``InvalidArgumentError`` if there is a parameter that is not one of ``known``."""
    if not parameters.keys() <= set(known):
        raise InvalidArgumentError(
            "there is an unknown parameter",
            hint=f"this atomizer takes {', '.join(known)}",
        )


def max_chars(parameters: Mapping[str, Any]) -> int:
    """The size that no piece exceeds, in characters."""
    value = parameters.get("max_chars", DEFAULT_MAX_CHARS)
    if type(value) is int and MIN_MAX_CHARS <= value <= MAX_MAX_CHARS:
        return value
    raise InvalidArgumentError(
        "the parameter max_chars is not usable",
        hint=f"give a whole number from {MIN_MAX_CHARS} to {MAX_MAX_CHARS}",
    )


def delimiter(parameters: Mapping[str, Any]) -> str:
    """The character between two fields."""
    value = parameters.get("delimiter", ",")
    if type(value) is str and value in DELIMITERS:
        return value
    raise InvalidArgumentError(
        "the parameter delimiter is not usable",
        hint="give a comma, a semicolon, a tab or a vertical bar",
    )
