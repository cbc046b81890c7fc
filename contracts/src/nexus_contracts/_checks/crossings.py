"""Calls of two scopes that overlap and of which neither lies within the other.

One is held up before a line of the backend's own; another scope's begins and is held up as well;
the first goes on to its end, and then the second. Each has to give what it gives alone, and leave
what it leaves alone. At no line of any call may what the process has once be another than before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.crossed import CROSSED
from nexus_contracts._crossings import GROUNDS, SCOPES, Ground
from nexus_contracts._hands import PATIENCE, Hand, ended, stand, two_hands
from nexus_contracts._registry import check
from nexus_contracts._steps import Line, Lines, halved, thinned, where
from nexus_contracts._surroundings import moved, surroundings, unusual
from nexus_contracts._twins import parting, plain
from nexus_contracts._watch import short
from nexus_core import NexusError, Scope
from nexus_core.spi import StoreRole

# Seconds, in all and of this process's own work, until the meetings that are left are let be: of
# reads, of all, and of writes; and how many there are of each at least.
WAITED: Final = 2.0
WORKED: Final = 0.6
FEWEST: Final = 16
# Lines of each call at which both are held up; and meetings of calls of two kinds, at any lines.
LINES: Final = 24
MIXED: Final = 24
WHY: Final = (
    ": it is the same for all calls of all scopes at that moment, and who puts it back puts back "
    "what another has set"
)


def _reached(there: threading.Event, _said: object) -> None:
    there.set()


@attrs.frozen
class Part:
    """One of the two calls, and the line before which it is held up."""

    scope: Scope
    name: str
    line: Line

    def words(self) -> str:
        """The call, and where it stood."""
        return f"{self.name} in {self.scope} was held up before {where(self.line)}"


Pair = tuple[Part, Part]


@attrs.define
class Stage:
    """Where calls cross: a store, two threads, and what each call gives and leaves alone."""

    bench: Bench
    store: Any
    hands: tuple[Hand, Hand]
    ground: Ground
    before: Mapping[str, Any]
    alone: dict[tuple[Scope, str], Any] = attrs.field(factory=dict)
    met: dict[str, Sequence[Line]] = attrs.field(factory=dict)
    took: dict[str, float] = attrs.field(factory=dict)
    _known: dict[Scope, Any] = attrs.field(factory=dict)

    def prepared(self, scope: Scope) -> Any:
        """What is known of a scope in its state, which is made again where a write has left it."""
        if scope not in self._known:
            self._known[scope] = self.ground.prepare(self.store, scope)
        return self._known[scope]

    def make(self, scope: Scope, name: str) -> Any:
        """Make a call; gives what it gives, or which error."""
        known = self._known[scope]
        try:
            if name in self.ground.reads:
                return self.ground.reads[name](self.store, scope, known)
            return self.ground.writes[name](self.store, scope, known)
        except NexusError as error:
            return ("raised", type(error).__name__, error.code)

    def told(self, scope: Scope, name: str, answer: Any) -> list[Any]:
        """The answer and, after a write, all that is there; opaque values renamed."""
        left = None
        if name in self.ground.writes:
            left = self.ground.look(self.store, scope)
            del self._known[scope]
        names: dict[tuple[str, Any], str] = {}
        return [plain(answer, names), plain(left, names)]

    def learn(self, scope: Scope, name: str) -> None:
        """Make a call alone; note the lines that it runs through, and look around at each."""
        self.prepared(scope)
        met, changed = list[Line](), list[str]()

        def see(line: Line) -> None:
            met.append(line)
            if not changed and (other := moved(self.before, surroundings())):
                changed.append(f"at {where(line)} of {name} {other} of the process was another")

        began = time.monotonic()
        answer = self.lines().each(partial(self.make, scope, name), see)
        took = time.monotonic() - began
        self.took[name] = min(took, self.took.get(name, took))
        self.bench.expect(not changed, f"{''.join(changed)}{WHY}")
        self.unmoved(f"{name} in {scope}")
        self.met.setdefault(name, met)
        self.alone[scope, name] = self.told(scope, name, answer)

    def lines(self) -> Lines:
        """The lines of the backend's own."""
        return Lines(self.store.backend)

    def unmoved(self, after: str) -> None:
        """The process is as it was."""
        changed = moved(self.before, surroundings())
        self.bench.expect(
            not changed,
            f"{after}, and {changed} of the process was changed{WHY}",
        )

    def meet(self, pair: Pair) -> None:
        """Have two calls cross, and hold what they give and leave against what they do alone."""
        for part in pair:
            self.prepared(part.scope)
        answers = self._crossing(pair)
        for part, answer in zip(pair, answers, strict=True):
            found = self.told(part.scope, part.name, answer)
            wanted = self.alone[part.scope, part.name]
            if found == wanted:
                continue
            what = "gave" if found[0] != wanted[0] else "left"
            place, here, there = parting(found, wanted)
            self.bench.fail(
                f"{'; then '.join(each.words() for each in pair)}; the first ended, and then the "
                f"second; and {part.name} in {part.scope} {what} something else than alone\n"
                f"  at {place}\n  beside {short(here, 300)}\n  alone  {short(there, 300)}"
            )

    def _crossing(self, pair: Pair) -> list[Any]:
        """Hold up both, one after the other; let them go on in the same order."""
        # The one may have to wait for the other, and is not waited for much longer than it takes.
        patience = min(max(0.005, 2 * max(self.took[part.name] for part in pair)), 0.25)
        begun: list[Future[Any]] = []
        gates = [(threading.Event(), threading.Event()) for _ in pair]
        for hand, part, (there, on) in zip(self.hands, pair, gates, strict=True):
            call = partial(self.make, part.scope, part.name)
            hold = partial(stand, there, on)
            said = hand.begin(partial(self.lines().held, call, part.line, hold))
            said.add_done_callback(partial(_reached, there))
            there.wait(patience if begun else PATIENCE)
            begun.append(said)
        for said, (_, on) in zip(begun, gates, strict=True):
            on.set()
            ended(said, patience)
        for said in begun:
            if not ended(said, PATIENCE):
                self.bench.abandon(self.store)
                self.bench.fail(
                    f"{'; then '.join(each.words() for each in pair)}; and one never came back"
                )
        self.unmoved(" and ".join(f"{each.name} in {each.scope} were made" for each in pair))
        return [each.result() for each in begun]


def alike(lines: Mapping[str, Sequence[Line]]) -> list[Pair]:
    """Each call beside its like, both before the same line, at every line in turn."""
    first, *others = SCOPES
    rows = [
        [
            (Part(first, name, line), Part(others[(which + place) % 2], name, line))
            for place, line in enumerate(halved(thinned(met, LINES)))
        ]
        for which, (name, met) in enumerate(lines.items())
    ]
    return [each for each in chain.from_iterable(zip_longest(*rows)) if each is not None]


def mixed(bench: Bench, lines: Mapping[str, Sequence[Line]]) -> list[Pair]:
    """Calls of two kinds, at lines that the run's seed chooses."""
    first, *others = SCOPES
    found = []
    for place in range(MIXED):
        left, right = bench.random.sample(list(lines), 2)
        one, other = (bench.random.choice(lines[name]) for name in (left, right))
        found.append((Part(first, left, one), Part(others[place % 2], right, other)))
    return found


def crossed(bench: Bench) -> None:
    """Every call beside its like in another scope, and beside others, neither within the other."""
    ground, elsewhere = GROUNDS[bench.spec.role](bench), bench.namespace().path
    with unusual(elsewhere) as before, bench.fresh_place() as place, two_hands() as hands:
        _all_cross(Stage(bench, place.store, hands, ground, before))


def _all_cross(stage: Stage) -> None:
    stage.unmoved("the store was opened")
    for name in (*stage.ground.reads, *stage.ground.writes):
        for scope in SCOPES:
            stage.learn(scope, name)
    # A call that runs through no line of the backend's own cannot be held up.
    lines = {name: met for name, met in stage.met.items() if met}
    reads = {name: met for name, met in lines.items() if name in stage.ground.reads}
    writes = {name: met for name, met in lines.items() if name in stage.ground.writes}
    # Reads need nothing made again, so that there is time for all of them.
    for part in (alike(reads), mixed(stage.bench, lines), alike(writes)):
        began, worked = time.monotonic(), time.process_time()
        for number, pair in enumerate(part):
            late = time.monotonic() - began > WAITED or time.process_time() - worked > WORKED
            if number >= FEWEST and late:
                break
            stage.meet(pair)
            stage.bench.figures["crossings"] = stage.bench.figures.get("crossings", 0) + 1


for _role in StoreRole:
    check(CROSSED[_role].crossing)(crossed)
