"""Turns at a name, for engines whose own conditions cannot tell equal bytes apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.define
class _Turn:
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    users: int = 0


class Turns:
    """A lock for each name that somebody is at. No two names share one."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._lock = threading.Lock()

    @contextmanager
    def at(self, bucket: str, name: str) -> Iterator[None]:
        """Wait for one's turn at a name, and keep it for the block."""
        with self._lock:
            turn = self._turns.setdefault((bucket, name), _Turn())
            turn.users += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.users -= 1
                if not turn.users:
                    del self._turns[bucket, name]
