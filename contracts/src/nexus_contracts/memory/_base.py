"""What the four have in common: one lock, and a door that stays shut once closed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nexus_core.spi import ClosedError, Problem


class MemoryBase:
    """A lock and a closed flag."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._closed = False

    def check(self) -> Sequence[Problem]:
        """Always ready."""
        self.ensure_open()
        return ()

    def close(self) -> None:
        """Refuse every later call. Idempotent."""
        self._closed = True

    def ensure_open(self) -> None:
        """Raise ``ClosedError`` after ``close``."""
        if self._closed:
            raise ClosedError("this store is closed")
