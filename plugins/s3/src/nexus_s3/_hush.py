"""The client library writes bodies, keys and headers to its logs; what is ours stays out of them.

Only what it would write while it works for this store is dropped: the same library, used by the
application itself, goes on logging as it was told to.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Final

_FAMILIES: Final = frozenset(("boto3", "botocore", "s3transfer", "urllib3"))


class _Ours(threading.local):
    depth = 0


OURS: Final = _Ours()


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not OURS.depth


_FILTER: Final = _Filter()


def listen() -> None:
    """Mind every logger that the library has by now. Idempotent."""
    # A filter is asked only by the logger it is on, not for that logger's children.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _FAMILIES:
            logging.getLogger(name).addFilter(_FILTER)


class Hushed:
    """A block in which the library writes nothing to its logs, in this thread."""

    __slots__ = ()

    def __enter__(self) -> None:
        OURS.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        OURS.depth -= 1
