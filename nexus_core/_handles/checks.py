"""Small checks of arguments that several handles share."""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

from nexus_core._model.errors import InvalidArgumentError

MAX_PAGE: Final = 1000
MAX_MANY: Final = 10_000


def check_limit(value: object, maximum: int = MAX_PAGE) -> int:
    """Return a page size of 1 to ``maximum``; else raise ``InvalidArgumentError``."""
    if type(value) is int and 1 <= value <= maximum:
        return value
    raise InvalidArgumentError(f"the limit is not 1 to {maximum}")


def check_many(value: Sized, what: str) -> None:
    """Refuse more than ``MAX_MANY`` in one call (``InvalidArgumentError``)."""
    if len(value) > MAX_MANY:
        raise InvalidArgumentError(
            f"a call takes at most {MAX_MANY} {what}", hint="send them in smaller parts"
        )
