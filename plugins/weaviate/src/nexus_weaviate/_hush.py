"""No log of ours names the server, a collection or a tenant.

The libraries below log addresses and paths of what they send. While one of our calls runs in a
thread they log nothing in it; what they do for others, in the application itself, they log as they
were told to.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Final

_LOUD: Final = ("authlib", "grpc", "httpcore", "httpx", "weaviate-client")


class _Here(threading.local):
    depth = 0


_HERE: Final = _Here()


class _Hush(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _HERE.depth


_HUSH: Final = _Hush()


def install() -> None:
    """Put the filter on every logger of the libraries, once they are imported; idempotent."""
    # A logger's filters do not see what those below it log.
    for name in (*_LOUD, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LOUD:
            logging.getLogger(name).addFilter(_HUSH)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Let the libraries log nothing in this thread."""
    _HERE.depth += 1
    try:
        yield
    finally:
        _HERE.depth -= 1
