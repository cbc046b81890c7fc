"""The libraries write addresses, buckets and names to their logs; what is ours stays out of them.

Only what they would write while they work for this store is dropped: the same libraries, used by
the application itself, go on logging as they were told to.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Final

_FAMILIES: Final = frozenset(("google", "requests", "urllib3"))


class _Ours(threading.local):
    depth = 0


_ours: Final = _Ours()


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _ours.depth


_FILTER: Final = _Filter()


def listen() -> None:
    """Mind every logger that the libraries have by now. Idempotent."""
    # A filter is asked only by the logger it is on, not for that logger's children.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _FAMILIES:
            logging.getLogger(name).addFilter(_FILTER)


class Hushed:
    """A block in which the libraries write nothing to their logs, in this thread."""

    __slots__ = ()

    def __enter__(self) -> None:
        _ours.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _ours.depth -= 1
