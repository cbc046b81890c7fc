"""Leaders and followers that are killed or interrupted leave nobody waiting and the log valid."""

from __future__ import annotations

import itertools
import linecache
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import pytest

from nexus_core._audit import log as log_module
from nexus_core._model.errors import Outcome, StoreError
from nexus_core.spi import LogEntry, LogHead, Scope

from .making import open_log, record
from .running import HeldSink, joined, operations, started, until, valid
from .sink import MemorySink


class Killed(BaseException):
    """Stands for KeyboardInterrupt, which only a main thread gets."""


def test_a_killed_leader_leaves_nobody_waiting() -> None:
    """A leader killed in the sink takes nobody along: its followers hear, the others go on."""

    class Deadly(HeldSink):
        deadly = True

        def append(
            self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
        ) -> None:
            super().append(scope, expected_size, entries, head)
            if len(entries) > 1 and self.deadly:
                self.deadly = False
                raise Killed

    sink = Deadly()
    log = open_log(sink)
    seen: list[BaseException | range] = []

    def work() -> None:
        try:
            seen.append(log.append([record()]))
        except BaseException as error:  # noqa: BLE001 - the subject of the test
            seen.append(error)

    leader = started(work)
    assert sink.arrived.acquire(timeout=60)
    followers = [started(work) for _ in range(5)]
    until(lambda: len(log._waiting) == 5)
    for _ in range(9):
        sink.let_go.release()
    joined(leader, *followers)
    kinds = sorted(type(answer).__name__ for answer in seen)
    assert kinds == ["Killed", *["UnavailableError"] * 4, "range"]
    unknown = [answer.outcome for answer in seen if isinstance(answer, StoreError)]
    assert unknown == [Outcome.UNKNOWN] * 4
    assert log.append([record()]) == range(6, 7)
    assert valid(sink, 7)


def test_a_leader_may_be_killed_at_any_line() -> None:
    """Wherever in the log's own code a leader is killed, whoever waits with it gets an answer,
    the next one can append, and the log is valid."""
    killed = 0
    for line in itertools.count(1):
        sink = MemorySink()
        log = open_log(sink)
        follower = log_module._Ticket([log._draft(record())])
        log._waiting.append(follower)
        try:
            killing(line, lambda log=log: log.append([record()]))  # type: ignore[misc]
        except Killed:
            killed += 1
        else:
            break
        log._settle(follower)
        assert follower.settled
        assert follower.error is None or follower.error.code == "store.unavailable"
        stored = len(operations(sink))
        assert log.append([record()]) == range(stored, stored + 1)
        assert valid(sink, stored + 1)
    assert killed > 60


def killing(line: int, work: Callable[[], object]) -> None:
    """Do the work and raise ``Killed`` at the n-th line that it runs in the log's module.

    Not on a line that only takes or leaves a lock: there the interpreter looks at no signal, so
    that no real interrupt can come between a lock and its release either.
    """
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != log_module.__file__:
            return None
        if event == "line" and "with self._" not in linecache.getline(
            frame.f_code.co_filename, frame.f_lineno
        ):
            count += 1
            if count == line:
                sys.settrace(None)
                raise Killed
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, also in a run that was started in the background and told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_follower_withdraws() -> None:
    """A follower that is interrupted while it waits leaves no record and holds nobody up."""
    sink = HeldSink()
    log = open_log(sink)
    leader = started(lambda: log.append([record()]))
    assert sink.arrived.acquire(timeout=60)

    def interrupt() -> None:
        until(lambda: len(log._waiting) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = started(interrupt)
    with pytest.raises(KeyboardInterrupt):
        log.append([record(operation="withdrawn")])
    assert log._waiting == []
    others = [started(lambda: log.append([record()])) for _ in range(3)]
    until(lambda: len(log._waiting) == 3)
    for _ in range(2):
        sink.let_go.release()
    joined(interrupter, leader, *others)
    assert "withdrawn" not in operations(sink)
    assert valid(sink, 4)
