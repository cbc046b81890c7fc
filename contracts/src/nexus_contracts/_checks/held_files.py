"""The check that another program is at a store's SQLite files: it reads, or it writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.hurt import HURT
from nexus_contracts._checks.crashes import Seen, judged, settled
from nexus_contracts._hands import Hand, StuckError
from nexus_contracts._harness import Namespace
from nexus_contracts._registry import check
from nexus_contracts._work import OTHER, SCOPE, Ahead, State, Work, work_of
from nexus_core import NexusError, Scope
from nexus_core.spi import StoreError, StoreRole

MAGIC: Final = b"SQLite format 3\0"
# How a program holds a file: for as long as its transaction is open, nobody can commit, where the
# store has no log ahead of writing; or nobody can begin to write.
HOLDS: Final = {
    "reads": ("BEGIN", "SELECT count(*) FROM sqlite_master"),
    "holds the lock of": ("BEGIN IMMEDIATE",),
}
# Seconds: more than any store should wait for a lock.
PATIENCE: Final = 180.0
TRIES: Final = 4


def files_of(namespace: Namespace) -> list[Path]:
    """Every SQLite file below a store's place."""
    found = []
    for path in sorted(each for each in namespace.path.rglob("*") if each.is_file()):
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                found.append(path)
    return found


@contextmanager
def held(files: Sequence[Path], statements: tuple[str, ...]) -> Iterator[None]:
    """Be the other program, at all of the files, until the block ends."""
    with ExitStack() as open_:
        for path in files:
            other = open_.enter_context(
                closing(sqlite3.connect(path, timeout=5, isolation_level=None))
            )
            for statement in statements:
                other.execute(statement).fetchall()
        yield


# Whose write it was, which, and the outcome that was told; none if it returned.
Written = tuple[Scope, int, str]


@attrs.define
class Beside:
    """A store whose files are held, another opening that looks, and what is to be in it.

    All calls of the first are made by one thread, which may have a connection of its own.
    """

    bench: Bench
    work: Work
    store: Any
    clean: Any
    hand: Hand
    ahead: Ahead
    states: dict[Scope, State] = attrs.field(factory=dict)
    number: int = 0

    def write(self, scope: Scope, what: str) -> Written:
        """Make the next write; gives its number and the outcome that is told, if it raised."""
        number, outcome = self.number, ""
        self.number += 1
        try:
            self.hand.make(partial(self.work.write, self.ahead, scope, number), PATIENCE)
        except StoreError as error:
            outcome = error.outcome.value
        except StuckError:
            self.bench.abandon(self.store)
            self.bench.fail(f"{what}, a write does not come back; give the store a time-out")
        return scope, number, outcome

    def see(self, scope: Scope, what: str) -> State:
        """What the other opening sees."""
        try:
            return self.work.observe(self.clean, scope)
        except NexusError as error:
            self.bench.fail(
                f"{what}, another opening cannot read: {type(error).__name__}: a transaction that "
                "was refused is still open"
            )

    def judge(self, written: Written, what: str) -> None:
        """Hold what is there against what was told of a write."""
        scope, number, outcome = written
        seen = Seen(self.states[scope], self.see(scope, what), number, what)
        self.states[scope] = judged(self.bench, self.work, seen, outcome)

    def goes_on(self, scope: Scope, what: str) -> None:
        """The file is free: a scope writes, and nothing else changes."""
        for _ in range(TRIES):
            self.ahead.look(scope)
            written = self.write(scope, what)
            self.judge(written, what)
            self.stands(what)
            if not written[2]:
                return
        self.bench.fail(f"{what}, a write of {scope} is still refused")

    def stands(self, what: str) -> None:
        """Everything is as it was."""
        for scope, state in self.states.items():
            settled(self.bench, self.work, Seen(state, self.see(scope, what), None, what))


def held_by_another_program(bench: Bench) -> None:
    """Writes of two scopes while another program is at the files, and after it."""
    namespace = bench.provisioned()
    work = work_of(bench.spec.role, bench.spec.capabilities)
    with ExitStack() as open_:
        settings = None
        if bench.harness.faults is not None:
            injector = open_.enter_context(closing(bench.harness.faults()))
            settings = injector.settings(namespace)
        store = bench.watched(bench.harness.build(namespace, bench.clock, settings))
        hand = Hand()
        open_.callback(hand.rest)
        for scope in (SCOPE, OTHER):
            hand.make(partial(work.prepare, store, scope), PATIENCE)
            hand.make(partial(work.write, store, scope, 0), PATIENCE)
        files = files_of(namespace)
        bench.figures["files_held"] = len(files)
        if not files:
            return
        clean = bench.open(namespace)
        ahead = Ahead(store, clean, bench.spec.role)
        beside = Beside(bench, work, store, clean, hand, ahead, number=1)
        beside.states = {scope: work.observe(clean, scope) for scope in (SCOPE, OTHER)}
        refused = 0
        for verb, those in (("reads", (SCOPE, OTHER)), *((verb, (SCOPE,)) for verb in HOLDS)):
            refused += _held(beside, files, verb, those)
        bench.figures["refused_while_held"] = refused
        bench.release(clean)
        beside.clean = bench.open(namespace)
        beside.stands("when the store was opened again")


def _held(beside: Beside, files: Sequence[Path], verb: str, those: Sequence[Scope]) -> int:
    """Hold the files while some write, and let go; gives how many writes were refused meanwhile."""
    what = f"while another program {verb} the store's file"
    for scope in (SCOPE, OTHER):
        beside.ahead.look(scope)
    with held(files, HOLDS[verb]):
        written = [beside.write(scope, what) for scope in those]
    for each in written:
        beside.judge(each, what)
    what = f"after another program {verb} the store's file"
    for scope in (OTHER, SCOPE):
        beside.goes_on(scope, what)
    return sum(bool(outcome) for *_, outcome in written)


for _role in StoreRole:
    check(HURT[_role].held)(held_by_another_program)
