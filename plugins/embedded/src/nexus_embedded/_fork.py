"""A gate that every call passes, so that a fork finds the store at rest.

SQLite keeps a list of the files that a process holds locks on. A forked child inherits the list
but not the locks: a connection it opens to one of those files believes itself locked when it is
not, and what it commits can be lost. It is not enough that the child leaves the parent's
connections alone; there must be none at the moment of the fork.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final
from weakref import WeakSet

from nexus_core.spi import ClosedError


class ForkGate:
    """Counts the calls inside; a fork waits until there are none, then has ``rest`` called.

    A context manager for the length of a call; not to be nested. A fork waits for ``patience``
    seconds at most; after that, and after a fork that Python was not told of, the gate refuses
    the child's calls with ``ClosedError``.
    """

    def __init__(self, rest: Callable[[], None], patience: float) -> None:
        self._rest = rest
        self._patience = patience
        self._turn = threading.Condition()
        self._inside = 0
        self._forks = 0
        self._rested = False
        self._process = os.getpid()
        _gates.add(self)

    def __enter__(self) -> None:
        with self._turn:
            while self._forks:
                self._turn.wait()
            if self._process != os.getpid():
                raise ClosedError(
                    "the store was open in the parent of this process",
                    hint="open it after forking, or start processes by spawn",
                )
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._turn:
            self._inside -= 1
            if self._forks:
                self._turn.notify_all()

    def before(self) -> None:
        """Let nobody in, wait until all are out, and hold the gate across the fork."""
        self._turn.acquire()
        self._forks += 1
        deadline = time.monotonic() + self._patience
        while self._inside and (left := deadline - time.monotonic()) > 0:
            self._turn.wait(left)
        self._rested = not self._inside
        if self._rested:
            self._rest()

    def after_in_parent(self) -> None:
        """Let the calls in again."""
        self._forks -= 1
        self._turn.notify_all()
        self._turn.release()

    def after_in_child(self) -> None:
        """Begin anew, if the store was at rest."""
        self._forks = 0
        if self._rested:
            self._process = os.getpid()
        self._turn.release()


_gates: Final[WeakSet[ForkGate]] = WeakSet()
# Each forking thread holds its own: two threads may fork at once.
_held = threading.local()


def _before() -> None:
    _held.gates = list(_gates)
    for gate in _held.gates:
        gate.before()


def _after_in_parent() -> None:
    for gate in reversed(_held.__dict__.pop("gates", [])):
        gate.after_in_parent()


def _after_in_child() -> None:
    for gate in reversed(_held.__dict__.pop("gates", [])):
        gate.after_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
