"""Calls of several scopes at the same moment, for all four roles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_contracts._work import AuditWork, State, Work, entries_of, told, work_of
from nexus_core import NexusError, Scope
from nexus_core.spi import LogEntry, StoreRole

ROUNDS, WRITES = 5, 5


class ForgettingWork(AuditWork):
    """Appends, each third of which is the forgetting of a subject: it rewrites what is there."""

    @staticmethod
    def entry(index: int, number: int) -> LogEntry:
        tag = number.to_bytes(32, "big")
        return attrs.evolve(AuditWork.entry(index, number), subject_tag=tag)

    def write(self, store: Any, scope: Scope, number: int) -> None:
        if number % 3 == 2:
            store.erase_sealed(scope, (number - 1).to_bytes(32, "big"))
        else:
            super().write(store, scope, number)

    def after(self, state: State, number: int) -> State:
        if number % 3 != 2:
            return super().after(state, number)
        return {k: f"{v} forgotten" if v == number - 1 else v for k, v in state.items()}

    def observe(self, store: Any, scope: Scope) -> State:
        found = entries_of(store, scope, self.entry)
        head = store.head(scope)
        return {**found, "head": head and f"{head.size} {head.checkpoint.decode()}"}

    def words(self, number: int) -> str:
        return f"erase_sealed({number - 1})" if number % 3 == 2 else super().words(number)


@attrs.frozen
class Step:
    """A write of one of the scopes, by number, or with none a look at what is there."""

    scope: Scope
    number: int | None


@attrs.frozen
class Odd:
    """What a scope saw that it must not: the calls that led to it, and the words for it."""

    steps: tuple[Step, ...]
    seen: str


def work_for(bench: Bench) -> Work:
    """The writes of a role; for an audit sink that forgets, with forgetting."""
    can: Any = bench.spec.capabilities
    if bench.spec.role is StoreRole.AUDIT and can.erase_sealed:
        return ForgettingWork()
    return work_of(bench.spec.role, can)


def took(work: Work, store: Any, steps: Sequence[Step], states: dict[Scope, State]) -> Odd | None:
    """Take steps one after another, from states that are brought up to date; what is odd first."""
    for count, step in enumerate(steps, 1):
        if step.number is not None:
            states[step.scope] = work.after(states[step.scope], step.number)
        try:
            if step.number is not None:
                work.write(store, step.scope, step.number)
                continue
            found = work.observe(store, step.scope)
        except NexusError as error:
            return Odd(tuple(steps[:count]), f"raised {type(error).__name__} ({error.code})")
        if found != states[step.scope]:
            wanted = told(states[step.scope])
            return Odd(tuple(steps[:count]), f"left {told(found)} instead of {wanted}")
    return None


def replayed(bench: Bench, steps: Sequence[Step]) -> Odd | None:
    """Take steps in a store of their own, one after another."""
    work = work_for(bench)
    with bench.fresh() as store:
        states = {}
        for scope in dict.fromkeys(step.scope for step in steps):
            work.prepare(store, scope)
            states[scope] = work.observe(store, scope)
        return took(work, store, steps, states)


def smaller(bench: Bench, odd: Odd) -> Odd:
    """The same with fewer steps, as far as the bench's effort goes."""
    left, size = bench.effort // 10, max(1, len(odd.steps) // 2)
    while size and left > 0:
        for start in reversed(range(0, len(odd.steps) - 1, size)):
            fewer = (*odd.steps[:start], *odd.steps[start + size :])
            left -= len(fewer)
            found = replayed(bench, fewer) if fewer and left > 0 else None
            if found is not None:
                odd = found
        size //= 2
    return odd


def blamed(bench: Bench, odd: Odd, lives: Sequence[Sequence[Step]]) -> str:
    """Whose fault it is: that of the calls' order, where they are odd one after another too."""
    work, scope = work_for(bench), odd.steps[-1].scope
    rounds = 1 + sum(step.number is None for step in odd.steps[:-1])
    each = [(*islice(life, rounds * (WRITES + 1)),) for life in lives]
    turns = range(0, rounds * (WRITES + 1), WRITES + 1)
    others = tuple(s for turn in turns for life in each for s in life[turn : turn + WRITES + 1])
    for steps, what in ((odd.steps, "alone"), (others, "one after another")):
        again = replayed(bench, steps)
        if again is not None:
            least = smaller(bench, again)
            words = "\n".join(
                f"  in {step.scope} {'read' if step.number is None else work.words(step.number)}"
                for step in least.steps
            )
            return f"{what}, with nothing at the same moment, this {least.seen}\n{words}"
    last = [step.number for step in odd.steps if step.number is not None][-WRITES:]
    words = "; ".join(work.words(number) for number in last)
    return f"with other scopes at work at one moment, in {scope} {words} {odd.seen}"


def at_once(bench: Bench) -> None:
    """Four scopes write other values under the same ids, and read their own after every write."""
    store = bench.open()
    work = work_for(bench)
    scopes = bench.cast(4)
    began: dict[Scope, State] = {}
    lives: list[list[Step]] = []
    for which, scope in enumerate(scopes):
        work.prepare(store, scope)
        began[scope] = work.observe(store, scope)
        # Numbers of its own, so that every value tells whose it is; the same ids, in step.
        numbers = iter(range(1000 * which, 1000 * which + ROUNDS * WRITES))
        lives.append([])
        for _ in range(ROUNDS):
            lives[-1] += [Step(scope, number) for number in islice(numbers, WRITES)]
            lives[-1].append(Step(scope, None))

    def live(which: int) -> Odd | None:
        return took(work, store, lives[which], {scopes[which]: began[scopes[which]]})

    for odd in race(bench, live, len(scopes)):
        if odd is not None:
            bench.fail(blamed(bench, odd, lives))


for role in StoreRole:
    check(IDS[role].at_once)(at_once)
