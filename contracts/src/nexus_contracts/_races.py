"""Races that happen: threads are preempted at random lines of the backend's own code.

Plain threads almost never interleave inside a short critical section. A trace function that sleeps
for some microseconds at random lines of frames outside the suite makes them do so often; backends
across a network interleave by themselves.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

from nexus_contracts._bench import Bench

T = TypeVar("T")

_SUITE: Final = str(Path(__file__).parent)
_SUBJECTS: Final = (str(Path(__file__).parent / "memory"), str(Path(__file__).parent / "zoo"))
# Also the client libraries of engines across a network: they are long, and none of a backend's own.
_SKIPPED: Final = (
    *("threading.py", "random.py", "<frozen", "attr/", "nexus_core/_model"),
    *("botocore/", "urllib3/", "/http/", "/email/"),
)


def race(bench: Bench, work: Callable[[int], T], racers: int) -> list[T]:
    """Run ``work(0) … work(racers - 1)`` at once, each preempted at random; return the answers.

    Raises what the first failing racer raised.
    """
    gate = threading.Barrier(racers)
    answers: list[Any] = [None] * racers
    failures: list[BaseException] = []
    seeds = [bench.random.random() for _ in range(racers)]

    def run(which: int) -> None:
        trace = _preempting(random.Random(seeds[which]))  # noqa: S311  # reproducible, not secret
        gate.wait(30)
        sys.settrace(trace)
        try:
            answers[which] = work(which)
        except BaseException as error:  # noqa: BLE001  # handed to the caller below
            failures.append(error)
        finally:
            sys.settrace(None)

    threads = [threading.Thread(target=run, args=(which,), daemon=True) for which in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if any(thread.is_alive() for thread in threads):
        bench.fail("racing calls hang: none came back within a minute")
    if failures:
        raise failures[0]
    return answers


def _preempting(rng: random.Random) -> Callable[[FrameType, str, Any], Any]:
    def in_subject(frame: FrameType) -> bool:
        name = frame.f_code.co_filename
        if name.startswith(_SUITE):
            return name.startswith(_SUBJECTS)
        return not any(part in name for part in _SKIPPED)

    slept: Counter[tuple[CodeType, int]] = Counter()
    total = 0

    def line(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal total
        here = (frame.f_code, frame.f_lineno)
        # Less in loops over many rows, and after so much in all, or it would take minutes.
        often = slept[here] < 40 and total < 2500
        if event == "line" and rng.random() < (0.25 if often else 0.005):
            slept[here] += 1
            total += 1
            time.sleep(rng.random() * 0.0005)
        return line

    def call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return line if in_subject(frame) else None

    return call
