"""The check that makes what lies between a store and its engine fail, in every way there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench, Indeterminate
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._checks.crashes import Seen, judged, settled
from nexus_contracts._hands import Hand, StuckError
from nexus_contracts._registry import check
from nexus_contracts._work import OTHER, SCOPE, Ahead, State, Work, told, work_of
from nexus_contracts.faults import Fault, FaultInjector, FaultKind
from nexus_core import NexusError, Scope
from nexus_core.spi import NotFoundError, StoreError, StoreRole

PATIENCE: Final = 120
TRIES: Final = 4
# What is let through before, until there is nothing left to strike.
_BYTES: Final = (0, 1, 20, 200, 1000, 4000, 20_000, 60_000)
_FEW: Final = (0,)
_STEPS: Final = {
    FaultKind.LATENCY: _FEW,
    FaultKind.REFUSED: _FEW,
    FaultKind.BLACKHOLE: (0, 1, 2),
    FaultKind.CUT_REQUEST: _BYTES,
    FaultKind.CUT_RESPONSE: _BYTES,
    FaultKind.LOST_RESPONSE: tuple(range(12)),
    FaultKind.BUSY: (0, 1, 2),
    FaultKind.THROTTLED: (0, 1, 2),
    FaultKind.IO_ERROR: tuple(range(60)),
    FaultKind.NO_SPACE: tuple(range(60)),
}
_OFTEN: Final = {FaultKind.LATENCY: (None,), FaultKind.BLACKHOLE: (None,)}


@attrs.define
class Trial:
    """Two backends on one store, a clean one and one whose road can fail, and what has come of it.

    ``number`` is the next write's; ``state`` what the clean one sees.
    """

    bench: Bench
    work: Work
    clean: Any
    faulty: Any
    injector: FaultInjector
    state: State
    other: State
    hand: Hand
    number: int = 1
    struck: int = 0

    def write(self, fault: Fault) -> bool:
        """Write under a fault and look at the truth; then write without. Whether it struck."""
        number, what = self.number, f"the fault {fault.words()}"
        with self.injector.inject(fault) as strikes:
            outcome = self._outcome(self.faulty, SCOPE, what)
        self._untouched(what)
        seen = Seen(self.state, self.look(), number, what)
        self.state = judged(self.bench, self.work, seen, outcome)
        self._goes_on(OTHER, what)
        self._goes_on(SCOPE, what)
        self.struck += strikes.count
        return strikes.count > 0

    def _outcome(self, store: Any, scope: Scope, what: str) -> str:
        """Make the next write; the outcome that is told, if it raised."""
        number = self.number
        self.number += 1
        try:
            self.patiently(partial(self.work.write, store, scope, number), what)
        except StoreError as error:
            return error.outcome.value
        return ""

    def read(self, fault: Fault) -> None:
        """Read under a fault: the truth, or an error that does not claim an absence."""
        what = f"the fault {fault.words()}"
        with self.injector.inject(fault):
            try:
                found = self.patiently(lambda: self.work.observe(self.faulty, SCOPE), what)
            except NotFoundError:
                self.bench.fail(f"under {what} a read says that there is nothing")
            except StoreError:
                found = self.state
        self.bench.expect(
            found == self.state,
            f"under {what} a read gave something else than is there\n"
            f"  expected {told(self.state)}\n  got      {told(found)}",
        )
        self._goes_on(SCOPE, what)

    def look(self) -> State:
        """What the clean backend sees."""
        return self.work.observe(self.clean, SCOPE)

    def _untouched(self, what: str) -> None:
        self.bench.expect(
            self.work.observe(self.clean, OTHER) == self.other,
            f"under {what} a write in {SCOPE} changed {OTHER}",
        )

    def _goes_on(self, scope: Scope, what: str) -> None:
        """Without the fault a scope's writes succeed again, and change nothing of the other's; a
        connection that died may cost a try or two.

        Nothing is read before the first: a transaction that was left open would be read away.
        """
        role = self.bench.spec.role
        for _ in range(TRIES):
            ahead = Ahead(self.faulty, self.clean, role)
            ahead.look(scope)
            number, end = self.number, f"the end of {what}"
            outcome = self._outcome(ahead, scope, what)
            before = self.state if scope == SCOPE else self.other
            found = self.work.observe(self.clean, scope)
            after = judged(self.bench, self.work, Seen(before, found, number, end), outcome)
            if scope == SCOPE:
                self.state = after
                self._untouched(end)
            else:
                self.other = after
                self.bench.expect(
                    self.look() == self.state,
                    f"after {end} a write in {OTHER} changed {SCOPE}: what a failure left open is "
                    "another's to finish",
                )
            if not outcome:
                return
        self.bench.fail(f"after the end of {what} the store does not recover: {outcome}")

    def patiently(self, call: Any, what: str) -> Any:
        """Make a call that must come back, always in one thread, which may have a connection of its
        own; raises what it raises."""
        try:
            return self.hand.make(call, PATIENCE)
        except StuckError:
            self.bench.fail(f"under {what} a call does not come back; give the store a time-out")


def faults_are_told_truly(bench: Bench) -> None:
    """Every fault that the harness offers, at every point of a write and of a read."""
    assert bench.harness.faults is not None
    namespace = bench.provisioned()
    work = work_of(bench.spec.role, bench.spec.capabilities)
    hand = Hand()
    with ExitStack() as open_:
        injector = open_.enter_context(closing(bench.harness.faults()))
        open_.callback(hand.rest)
        clean, faulty = bench.open(namespace), bench.disturbed(namespace, injector)
        for scope in (SCOPE, OTHER):
            work.prepare(clean, scope)
            work.write(clean, scope, 0)
        trial = Trial(
            bench,
            work,
            clean,
            faulty,
            injector,
            work.observe(clean, SCOPE),
            work.observe(clean, OTHER),
            hand,
        )
        # Connections are made and statements prepared before anything fails.
        settled(bench, work, Seen(trial.state, work.observe(faulty, SCOPE), None, "no fault"))
        for kind in sorted(injector.kinds):
            before = trial.struck
            for fault in _faults(kind):
                trial.read(fault)
                if not trial.write(fault) and fault.times is None and kind is not FaultKind.REFUSED:
                    break
            bench.figures[f"strikes_{kind}"] = trial.struck - before
        _close(bench, faulty)
    idle = sorted(kind for kind in injector.kinds if not bench.figures[f"strikes_{kind}"])
    if idle:
        raise Indeterminate(f"the injector offers {', '.join(idle)}, which never struck")


def _faults(kind: FaultKind) -> Iterator[Fault]:
    for after in _STEPS[kind]:
        for times in _OFTEN.get(kind, (1, None)):
            yield Fault(kind, after=after, times=times)


def _close(bench: Bench, store: Any) -> None:
    try:
        store.close()
    except NexusError as error:
        bench.fail(f"close raised {type(error).__name__}")


for _role in StoreRole:
    check(IDS[_role].faults)(faults_are_told_truly)
