"""Large calls of one scope that are held up line by line, while another scope makes its own.

What is kept for large answers alone (a block, a buffer, a temporary table) is used by no small one,
so that calls about a few things never meet in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._hands import PATIENCE, Hand, ended, two_hands
from nexus_contracts._steps import Line, Lines, thinned, where
from nexus_contracts._twins import parting, plain
from nexus_contracts._watch import short
from nexus_core import NexusError

Make = Callable[[], Any]

# Lines of each call at which it is held up.
LINES: Final = 60
# How long the other is waited for, where it may have to wait for the first: so many times what it
# takes alone, and seconds; and how often that is found out.
TIMES: Final = 5
MOMENTS: Final = (0.1, 0.5)
WAITS: Final = 8


@attrs.frozen
class Large:
    """A call of one scope, and one of another that comes meanwhile."""

    mine: Make
    theirs: Make


def _answer(call: Make) -> Any:
    try:
        return plain(call(), {})
    except NexusError as error:
        return ("raised", type(error).__name__, error.code)


@attrs.frozen
class Meetings:
    """A call by its name, what it and the other give alone, and how long the other takes."""

    bench: Bench
    store: Any
    hands: tuple[Hand, Hand]
    name: str
    large: Large
    alone: tuple[Any, Any]
    moment: float

    def wrong(self, at: Sequence[Line]) -> str | None:
        """What is wrong with the answers, in words, where it is held up at each of those lines."""
        name, bench = self.name, self.bench
        when = f"{name} was held up before " + (where(at[0]) if len(at) == 1 else "line after line")
        answers: list[Future[Any]] = []
        waits: list[Line] = []

        def meet(line: Line) -> None:
            # One that waits still is let be, until it has gone on.
            if line in at and len(waits) < WAITS and all(each.done() for each in answers[-1:]):
                answers.append(self.hands[1].begin(partial(_answer, self.large.theirs)))
                if not ended(answers[-1], self.moment):
                    waits.append(line)

        lines = Lines(self.store.backend)
        mine = self.hands[0].begin(partial(lines.each, partial(_answer, self.large.mine), meet))
        for said in (mine, *answers) if ended(mine, PATIENCE) else (mine,):
            if not ended(said, PATIENCE):
                bench.abandon(self.store)
                bench.fail(f"{when}, and a call never came back")
        bench.figures["nested"] = bench.figures.get("nested", 0) + len(answers)
        pairs = [("it", mine, self.alone[0])]
        pairs += [("the other", each, self.alone[1]) for each in answers]
        for who, said, wanted in pairs:
            if (found := said.result()) != wanted:
                place, here, there = parting(found, wanted)
                return (
                    f"{when} while another scope asked the same, and {who} was answered otherwise "
                    f"than alone\n  at {place}\n"
                    f"  beside {short(here, 300)}\n  alone  {short(there, 300)}"
                )
        return None


def nested(bench: Bench, store: Any, calls: Mapping[str, Large]) -> None:
    """Hold each up at lines of the backend's own, and have the other made to its end at each; the
    answers have to be those that each gets alone."""
    lines = Lines(store.backend)
    with two_hands() as hands:
        for name, large in calls.items():
            mine, met = lines.met(partial(_answer, large.mine))
            began = time.monotonic()
            alone = mine, _answer(large.theirs)
            moment = min(max(MOMENTS[0], TIMES * (time.monotonic() - began)), MOMENTS[1])
            meetings = Meetings(bench, store, hands, name, large, alone, moment)
            chosen = thinned(met, LINES)
            wrong = meetings.wrong(chosen)
            if wrong is not None:
                bench.fail(_narrowed(meetings, chosen, wrong))


def _narrowed(meetings: Meetings, lines: Sequence[Line], wrong: str) -> str:
    """The same with fewer lines, down to the one at which it was."""
    while len(lines) > 1 and meetings.bench.effort:
        middle = len(lines) // 2
        for half in (lines[:middle], lines[middle:]):
            found = meetings.wrong(half)
            if found is not None:
                lines, wrong = half, found
                break
        else:
            break
    return wrong
