"""Two threads that make the calls of a schedule, so that one that does not return is seen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

# Seconds. Longer than any call takes that is not stuck.
PATIENCE: Final = 60.0


class StuckError(Exception):
    """A call does not return."""


class Hand:
    """A thread that makes one call at a time."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        # Nobody waits at the end for one that is stuck.
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (call := self._asked.get()) is not None:
            answer: tuple[Any, BaseException | None]
            try:
                answer = call(), None
            except BaseException as error:  # noqa: BLE001  # whoever asked gets it
                answer = None, error
            self._answered.put(answer)

    def make(self, call: Callable[[], Any], patience: float) -> Any:
        """Make a call; raises what it raises, or ``StuckError``."""
        self._asked.put(call)
        try:
            answer, error = self._answered.get(timeout=patience)
        except queue.Empty:
            raise StuckError from None
        if error is not None:
            raise error
        return answer

    def rest(self) -> None:
        """End the thread once it has nothing to do."""
        self._asked.put(None)


@contextmanager
def two_hands() -> Iterator[tuple[Hand, Hand]]:
    """A pair of them."""
    hands = Hand(), Hand()
    try:
        yield hands
    finally:
        for each in hands:
            each.rest()
