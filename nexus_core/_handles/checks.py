"""Small checks of arguments that several handles share."""

from __future__ import annotations

from typing import Final

from nexus_core._model.errors import InvalidArgumentError

MAX_PAGE: Final = 1000


def check_limit(value: object, maximum: int = MAX_PAGE) -> int:
    """Return a page size of 1 to ``maximum``; else raise ``InvalidArgumentError``."""
    if type(value) is int and 1 <= value <= maximum:
        return value
    raise InvalidArgumentError(f"the limit is not 1 to {maximum}")
