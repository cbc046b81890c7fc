"""Reads that overlap a write of the same scope: afterwards nothing is left of what was before.

A write is held up before line after line of the backend's own while everything is read, and each
read before line after line while a write is made. What the overlapping read gives may be from
before or after. Once both have returned, every read has to give what it gives where nothing
overlaps, and what a fresh opening gives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final, TypeVar

import attrs

from nexus_contracts import _hands
from nexus_contracts._bench import Bench, Place
from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._duel import SCOPE
from nexus_contracts._hands import Hand, ended, two_hands
from nexus_contracts._overlaps import Ground, Read, Write
from nexus_contracts._overlaps_atoms import AtomGround
from nexus_contracts._overlaps_audit import AuditGround
from nexus_contracts._overlaps_raw import RawGround
from nexus_contracts._overlaps_vectors import VectorGround
from nexus_contracts._registry import check
from nexus_contracts._steps import Line, Lines, thinned
from nexus_contracts._twins import parting, plain
from nexus_contracts._watch import short
from nexus_core import NexusError
from nexus_core.spi import StoreRole

T = TypeVar("T")

# Seconds for writes that are held up; the time that they keep what they change away is long.
WRITES: Final = 1.5
# Seconds for reads that are held up: between what is read and the mark of its age is one line.
READS: Final = 3.0
# Lines at which each write is held up; meetings of reads that are held up with writes; and how many
# there are at least.
LINES: Final = 6
MEETINGS: Final = 72
FEWEST: Final = 8

GROUNDS: Final[Mapping[StoreRole, Callable[[Any], Ground]]] = {
    StoreRole.RAW: RawGround,
    StoreRole.ATOMS: AtomGround,
    StoreRole.VECTORS: VectorGround,
    StoreRole.AUDIT: AuditGround,
}
Names = dict[tuple[str, Any], str]
Lists = tuple[Sequence[Line], Sequence[Line]]


@attrs.frozen
class Meeting:
    """A write, and where it or a read was held up: the read's name if it was. ``warm`` is where
    everything was read before."""

    write: Write
    line: Line
    read: str = ""
    warm: bool = False

    def words(self) -> str:
        """What was held up where."""
        file, at = self.line[0].replace("\\", "/").rpartition("/")[2], self.line[1]
        if self.read:
            return f"{self.write.words} was made while {self.read} was held up before {file}:{at}"
        return f"{self.write.words} was held up before {file}:{at} while everything was read"


@attrs.define
class Stage:
    """Where calls overlap: a store, two threads, and what each write leads to alone."""

    bench: Bench
    place: Place
    hands: tuple[Hand, Hand]
    ground: Ground
    promised: dict[str, Any] = attrs.field(factory=dict)
    patience: float = 0.01
    left: str = ""
    _opening: float = 0.0
    _since: float = attrs.field(factory=time.monotonic)

    @property
    def store(self) -> Any:
        """The store as it is open now."""
        return self.place.store

    def lines(self) -> Lines:
        """The lines of the backend's own."""
        return Lines(self.store.backend)

    # -- calls ---------------------------------------------------------------------------------

    def asked(self, read: Read, known: Any) -> Any:
        """What a read gives, or which error."""
        try:
            return read(self.store, SCOPE, known)
        except NexusError as error:
            return ("raised", type(error).__name__)

    def everything(self, known: Any, first: int = 0) -> dict[str, Any]:
        """What every read gives; they begin with one of them, and go round."""
        names = list(self.ground.reads)
        first %= len(names)
        found = {
            name: self.asked(self.ground.reads[name], known)
            for name in (*names[first:], *names[:first])
        }
        return {name: found[name] for name in names}

    def prepared(self, start: str) -> Any:
        """Bring the scope into a state; gives what is known of it."""
        left, self.left = self.left, ""
        known = self.ground.prepare(self.store, SCOPE, start, left)
        self.left = start
        return known

    def made(self, write: Write, known: Any) -> Any:
        """A write that is to be accepted; gives what it gives."""
        made, self.left = write.make(self.store, SCOPE, known), write.leaves
        return made

    # -- what comes of them --------------------------------------------------------------------

    def alone(self, write: Write) -> tuple[list[Line], list[Line]]:
        """Make a write with nothing beside it, and note what every read gives then; gives the lines
        that it ran through, those after the engine's own work apart."""
        before = self.prepared(write.start)
        made, *met = self.lines().met_apart(lambda: self.made(write, before))
        began = time.monotonic()
        self.promised[write.words] = self.compared(f"{write.words} was made alone", before, made)
        self.patience = max(self.patience, min(2 * (time.monotonic() - began), 0.25))
        return met[0], met[1]

    def compared(self, what: str, before: Any, made: Any, promised: Any = None) -> Any:
        """What every read gives now, which is what was promised if anything was, and what a fresh
        opening gives; with ETags and the like renamed."""
        known, names = self.ground.known(before, made), Names()
        plain([before, made], names)
        found = plain(self.everything(known), names)
        if promised is not None:
            self.same(what, found, promised, "where nothing overlaps")
        if self.due():
            began = time.monotonic()
            self.place.open_again()
            fresh = plain(self.everything(known), names)
            self._opening += time.monotonic() - began
            self.same(what, found, fresh, "a fresh opening")
        return found

    def due(self) -> bool:
        """Whether the store is to be opened again: always, unless that takes much of the time."""
        passed = time.monotonic() - self._since
        return self.bench.harness.survives_reopen and self._opening <= passed / 4

    def same(
        self, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any], whose: str
    ) -> None:
        """Two accounts must be the same."""
        for name in found:
            if found[name] != wanted[name]:
                where, here, there = parting(found[name], wanted[name])
                self.bench.fail(
                    f"{what}, and when both had returned {name} was left stale\n"
                    f"{f'  at {where}' + chr(10) if where else ''}"
                    f"  it gives {short(here, 300)}\n  {whose} {short(there, 300)}\n"
                    "  what a read keeps has to be dropped after the write that changes it, and be "
                    "marked with an age that was taken before it was read"
                )

    def meet(self, meeting: Meeting, number: int) -> None:
        """Have two calls overlap, and look at what is left."""
        write, read = meeting.write, meeting.read
        before = self.prepared(write.start)
        if meeting.warm:
            self.everything(before)
        make = partial(self.made, write, before)
        try:
            if read:
                asked = partial(self.asked, self.ground.reads[read], before)
                _, made = self._overlapping(asked, meeting.line, make)
            else:
                look = partial(self.everything, before, number)
                made, _ = self._overlapping(make, meeting.line, look)
        except NexusError as error:
            self.bench.fail(
                f"{meeting.words()}, and the write raised {type(error).__name__} ({error.code}), "
                "though alone it is accepted"
            )
        self.compared(meeting.words(), before, made, self.promised[write.words])

    def _overlapping(
        self, held: Callable[[], Any], line: Line, beside: Callable[[], Any]
    ) -> tuple[Any, Any]:
        """Hold one call up before a line while another is made, which may have to wait for it."""
        there, on = threading.Event(), threading.Event()

        def hold() -> None:
            there.set()
            on.wait(_hands.PATIENCE)

        first = self.hands[0].begin(partial(self.lines().held, held, line, hold))
        first.add_done_callback(lambda _: there.set())
        there.wait(_hands.PATIENCE)
        second = self.hands[1].begin(beside)
        ended(second, self.patience)
        on.set()
        for said in (first, second):
            if not ended(said, _hands.PATIENCE):
                self.bench.abandon(self.store)
                self.bench.fail("overlapping calls hang: one did not come back within a minute")
        return first.result(), second.result()


def chosen(lists: Sequence[Sequence[T]], most: int) -> list[T]:
    """At most so many, of the first list before the second, and so on; evenly of the last."""
    found: list[T] = []
    for each in lists:
        found += thinned(each, most - len(found))
    return found


def moved(lines: Sequence[Line], which: int, count: int) -> list[Line]:
    """The same, beginning elsewhere for each of several."""
    start = len(lines) * which // count
    return [*lines[start:], *lines[:start]]


def held_writes(stage: Stage, met: Sequence[Lists], most: int) -> list[Meeting]:
    """Each write at so many of its lines; writes that share lines take different ones. Every other
    time everything was read before."""
    rows = []
    for which, (write, (after, others)) in enumerate(zip(stage.ground.writes, met, strict=True)):
        lines = chosen([moved(after, which, len(met)), moved(others, which, len(met))], most)
        rows.append(
            [
                Meeting(write, line, warm=(which + place) % 2 == 1)
                for place, line in enumerate(lines)
            ]
        )
    return [each for each in chain.from_iterable(zip_longest(*rows)) if each is not None]


def held_reads(stage: Stage, most: int) -> list[Meeting]:
    """Each read at its lines, with writes that take turns: those after the engine's own work, then
    those that no read before it has met, then the others; then all again with the next writes."""
    ground, seen = stage.ground, set[Line]()
    apart: list[tuple[str, Line]] = []
    own: list[tuple[str, Line]] = []
    shared: list[tuple[str, Line]] = []
    # On a slow engine finding the lines would take as long as holding up a read at them.
    for start in ("full", "empty")[: 1 + (most > FEWEST)]:
        for name, read in ground.reads.items():
            known = stage.prepared(start)
            _, after, others = stage.lines().met_apart(partial(stage.asked, read, known))
            fresh = {*after, *others} - seen
            for line in (*after, *others):
                if start == "empty" and line not in fresh:
                    continue
                kept = apart if line in after else own if line in fresh else shared
                kept.append((name, line))
            seen |= fresh
    writes, places = ground.writes, chosen([apart, own, shared], most)
    return [
        Meeting(writes[(number + turn) % len(writes)], line, name)
        for turn in range(max(1, min(len(writes), most // max(1, len(places)))))
        for number, (name, line) in enumerate(places)
    ]


def leaves_nothing_stale(bench: Bench) -> None:
    """Writes held up while everything is read, and reads held up while something is written."""
    ground = GROUNDS[bench.spec.role](bench.spec.capabilities)
    with bench.fresh_place() as place, two_hands() as hands:
        stage = Stage(bench, place, hands, ground)
        began = time.monotonic()
        met = [stage.alone(write) for write in ground.writes]
        took = max((time.monotonic() - began) / len(met), 1e-6)
        most = min(LINES, max(FEWEST, int(WRITES / took)) // len(met))
        overlapped(stage, held_writes(stage, met, max(1, most)), WRITES, "held_writes")
        most = min(MEETINGS, max(FEWEST, int(READS / took)))
        overlapped(stage, held_reads(stage, most), READS, "held_reads")


def overlapped(stage: Stage, meetings: Sequence[Meeting], budget: float, figure: str) -> None:
    """Have all of these, or as many as there is time for."""
    began = time.monotonic()
    for number, meeting in enumerate(meetings):
        if time.monotonic() - began > budget and number >= FEWEST:
            break
        stage.meet(meeting, number)
        stage.bench.figures[figure] = number + 1


for _role in StoreRole:
    check(RACED[_role].stale)(leaves_nothing_stale)
