"""Calls of several scopes at the same moment, for all four roles."""

from __future__ import annotations

from itertools import islice
from typing import Any

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_contracts._work import AuditWork, State, told, work_of
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
        found: State = {}
        entries: list[LogEntry] = []
        while page := store.read(scope, len(entries), 1000):
            entries += page
        for index, each in enumerate(entries):
            number = int(each.operation)
            whole = self.entry(index, number)
            forgotten = attrs.evolve(whole, salt=None, sealed=None, subject_tag=None)
            names = {whole: number, forgotten: f"{number} forgotten"}
            found[f"{index:06}"] = names.get(each, "damaged")
        head = store.head(scope)
        return {**found, "head": head and f"{head.size} {head.checkpoint.decode()}"}

    def words(self, number: int) -> str:
        return f"erase_sealed({number - 1})" if number % 3 == 2 else super().words(number)


def at_once(bench: Bench) -> None:
    """Four scopes write other values under the same ids, and read their own after every write."""
    store = bench.open()
    can: Any = bench.spec.capabilities
    work = work_of(bench.spec.role, can)
    if bench.spec.role is StoreRole.AUDIT and can.erase_sealed:
        work = ForgettingWork()
    scopes = bench.cast(4)
    began: list[State] = []
    for scope in scopes:
        work.prepare(store, scope)
        began.append(work.observe(store, scope))

    def live(which: int) -> str | None:
        scope, state = scopes[which], began[which]
        # Numbers of its own, so that every value tells whose it is; the same ids, in step.
        numbers = iter(range(1000 * which, 1000 * which + ROUNDS * WRITES))
        for _ in range(ROUNDS):
            some = [*islice(numbers, WRITES)]
            for number in some:
                state = work.after(state, number)
            try:
                for number in some:
                    work.write(store, scope, number)
                found = work.observe(store, scope)
            except NexusError as error:
                seen = f"raised {type(error).__name__} ({error.code})"
            else:
                seen = "" if found == state else f"left {told(found)} instead of {told(state)}"
            if seen:
                words = "; ".join(work.words(number) for number in some)
                return f"with other scopes at work, in {scope} {words} {seen}"
        return None

    for wrong in race(bench, live, len(scopes)):
        bench.expect(wrong is None, str(wrong))


for role in StoreRole:
    check(IDS[role].at_once)(at_once)
