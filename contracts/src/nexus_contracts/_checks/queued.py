"""Writes of several scopes that wait for one that is held up, and of which one is refused.

Those who wait may be written together, for what takes the time is the same for one and for many.
Then what is undone for the one that is refused must not be another's, who is told that it stands;
nor may the refusal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._duel import SCOPE, Duel
from nexus_contracts._duels import meeting, refusal
from nexus_contracts._hands import PATIENCE, Hand, ended, stand
from nexus_contracts._steps import Line, Lines, halved, thinned, where
from nexus_core import NexusError, Scope

# Who waits, in the order in which they come.
WAITING: Final = (Scope("t10", "dev"), Scope("t1", "prod"), Scope("t-1", "prod"))
# Lines at which the first is held up; seconds until those that are left are let be; and how many
# there are at least: one for each place in which the refused one may stand.
LINES: Final = 12
BUDGET: Final = 1.0
FEWEST: Final = len(WAITING)


@attrs.frozen
class Write:
    """A write of one scope, and whether it is one that is refused."""

    duel: Duel
    scope: Scope
    place: str
    refused: bool
    known: Any

    def act(self, store: Any) -> str:
        """Make it."""
        return self.duel.act(store, self.scope, self.place, 0, self.known)


@attrs.frozen
class Queue:
    """A store at which writes wait."""

    bench: Bench
    store: Any
    hands: Sequence[Hand]
    accepts: Duel
    refuses: Duel

    def writes(self, place: str, refused: int) -> list[Write]:
        """One of the first scope, and those that will wait, of which one is to be refused."""
        found = []
        for number, scope in enumerate((SCOPE, *WAITING)):
            duel = self.refuses if number == refused else self.accepts
            known = duel.ready(self.store, scope, place)
            found.append(Write(duel, scope, place, number == refused, known))
        return found

    def meet(self, place: str, line: Line, refused: int, moment: float) -> None:
        """Hold the first up before a line until the others have come; look at what stands."""
        writes = self.writes(place, refused)
        begun = self._begun(writes, line, moment)
        order = "the first of them", "between two others", "the last"
        when = (
            f"one write was held up before {where(line)}, and those of three other scopes came "
            f"meanwhile, of which one was to be refused, {order[refused - 1]}"
        )
        for said in begun:
            if not ended(said, PATIENCE):
                self.bench.abandon(self.store)
                self.bench.fail(f"one did not come back within a minute; {when}")
        for write, said in zip(writes, begun, strict=True):
            self._judge(write, said, when)

    def _begun(self, writes: Sequence[Write], line: Line, moment: float) -> list[Future[Any]]:
        there, on = threading.Event(), threading.Event()
        first, *others = (partial(write.act, self.store) for write in writes)
        held = partial(Lines(self.store.backend).held, first, line, partial(stand, there, on))
        begun = [self.hands[0].begin(held)]
        begun[0].add_done_callback(lambda _: there.set())
        there.wait(PATIENCE)
        for hand, act in zip(self.hands[1:], others, strict=True):
            begun.append(hand.begin(act))
            # Whoever has to wait is in the queue by then.
            ended(begun[-1], moment)
        on.set()
        return begun

    def _judge(self, write: Write, said: Future[Any], when: str) -> None:
        try:
            answer = said.result()
        except NexusError as error:
            self.bench.fail(
                f"a write of {write.scope} raised {type(error).__name__} ({error.code}), as "
                f"it does not alone; {when}"
            )
        wanted = "lost" if write.refused else "won"
        self.bench.expect(
            answer == wanted, f"a write of {write.scope} {answer}, as it does not alone; {when}"
        )
        wrong = write.duel.wrong(self.store, write.scope, write.place, (answer, "lost"))
        told = "refused, and left something" if write.refused else "acknowledged, and not kept"
        self.bench.expect(not wrong, f"{told}: {wrong}; {when}")


def beside_refused(bench: Bench) -> None:
    """One write held up before line after line while others come: one of them is refused, first,
    between the others or last."""
    role, can = bench.spec.role, bench.spec.capabilities
    hands = [Hand() for _ in (SCOPE, *WAITING)]
    try:
        with bench.fresh() as store:
            _all_wait(Queue(bench, store, hands, meeting(role, can), refusal(role, can)))
    finally:
        for hand in hands:
            hand.rest()


def _all_wait(queue: Queue) -> None:
    store = queue.store
    for scope in (SCOPE, *WAITING):
        queue.accepts.prepare(store, scope, "q0")
    first, *_ = queue.writes("q0", 1)
    began = time.monotonic()
    _, met = Lines(store.backend).met(partial(first.act, store))
    moment = min(max(0.005, 2 * (time.monotonic() - began)), 0.1)
    began = time.monotonic()
    for number, line in enumerate(halved(thinned(met, LINES))):
        if number >= FEWEST and time.monotonic() - began > BUDGET:
            break
        queue.meet(f"q{number + 1}", line, FEWEST - number % FEWEST, moment)
        queue.bench.figures["waits_beside_refused"] = number + 1
