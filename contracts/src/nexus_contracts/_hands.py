"""Threads that make the calls of a schedule, so that one that does not return is seen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as waited_for
from contextlib import contextmanager
from typing import Any, Final

# Seconds. Longer than any call takes that is not stuck.
PATIENCE: Final = 60.0


class StuckError(Exception):
    """A call does not return."""


class Hand:
    """A thread that makes one call at a time."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._asked = queue.SimpleQueue()
        # An executor of the library's would wait at the end for one that is stuck.
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            call, said = asked
            try:
                said.set_result(call())
            except BaseException as error:  # noqa: BLE001  # whoever asked gets it
                said.set_exception(error)

    def begin(self, call: Callable[[], Any]) -> Future[Any]:
        """Have a call made; what it gives or raises is told by the future."""
        said: Future[Any] = Future()
        self._asked.put((call, said))
        return said

    def make(self, call: Callable[[], Any], patience: float) -> Any:
        """Make a call; raises what it raises, or ``StuckError``."""
        said = self.begin(call)
        if not ended(said, patience):
            raise StuckError
        return said.result()

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


def stand(there: threading.Event, on: threading.Event) -> None:
    """Say that one is there, and wait until one may go on."""
    there.set()
    on.wait(PATIENCE)


def ended(said: Future[Any], patience: float) -> bool:
    """Whether a call returns or raises within so many seconds. What it raises may be a timeout of
    its own, so that no exception can tell."""
    return said in waited_for((said,), patience).done


def aside(call: Callable[[], Any]) -> Future[Any]:
    """Have one call made by a thread of its own."""
    hand = Hand()
    said = hand.begin(call)
    hand.rest()
    return said
