"""Threads that append, and what the tests ask of the log afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from nexus_core._audit import verify
from nexus_core.spi import LogEntry, LogHead, Scope

from .making import SCOPE, verifier
from .sink import MemorySink


def valid(sink: MemorySink, size: int) -> bool:
    report = verify(sink, SCOPE, verifier())
    return report.ok and report.size == size


def operations(sink: MemorySink) -> list[str]:
    return [entry.operation for entry in sink.of(SCOPE).entries]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread to get where it is going; a deadlock fails loudly."""
    for _ in range(20_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("the other thread never got there")


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


class HeldSink(MemorySink):
    """Holds every append until it is let go, and tells how large the batches were."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.batches: list[int] = []

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.arrived.release()
        assert self.let_go.acquire(timeout=60)
        self.batches.append(len(entries))
        super().append(scope, expected_size, entries, head)
