"""The survey of the audit sink."""

from __future__ import annotations

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._checks.audit import entry, head
from nexus_contracts._registry import check
from nexus_contracts._survey import WORDS, Script, survey
from nexus_contracts._twins import perform
from nexus_core import Scope
from nexus_core.spi import LogEntry, Phase, StoreRole

TAGS = (b"x" * 32, b"y" * 32, None)
PHASES: tuple[Phase, ...] = ("intent", "intent", "access", "outcome")
SIZE = 24


class AuditLand:
    """Logs of one size with the same operations, tags and leaves, and other contents and heads."""

    def _entry(self, place: int, index: int, turn: int) -> LogEntry:
        phase = PHASES[(index + place + turn) % len(PHASES)]
        operation = f"op{index // 2 % 9}"
        # Later scopes in the list stamp later times, earlier ones write again when those have.
        at = 1000 * place + index
        new = entry(index, operation=operation, phase=phase, at=at, tag=TAGS[index % 3])
        return attrs.evolve(new, sealed=f"{WORDS[place % 3]} {index} {turn}".encode())

    def _append(
        self, script: Script, place: int, scope: Scope, start: int, count: int, *, turn: int = 0
    ) -> None:
        entries = [self._entry(place, index, turn) for index in range(start, start + count)]
        end = start + count
        script.add(scope, "append", start, entries, head(end, f"of {place} in {turn}"))

    def load(self, script: Script, place: int, scope: Scope, turn: int = 0) -> None:
        """Some batches."""
        for start in range(0, SIZE, 4):
            self._append(script, place, scope, start, 4, turn=turn)

    def bulk(self, script: Script, scope: Scope) -> None:
        """A longer log."""
        for start in range(SIZE, 600, 96):
            self._append(script, 2, scope, start, 96)

    def ask(self, script: Script, place: int, scope: Scope) -> None:
        """The head; pages from every place, of every size."""
        script.add(scope, "head")
        for start in (0, 1, 7, SIZE - 1, SIZE, SIZE + 1, 500):
            for limit in (1, 5, 1000):
                script.add(scope, "read", start, limit)
                script.add(scope, "checkpoints", start, limit)
        for before in (0, 5, 1010, 4000, 2**50):
            for limit in (1, 3, 1000):
                script.add(scope, "unsettled", before, limit)

    def change(self, script: Script, place: int, scope: Scope) -> None:
        """Appends at the end, behind it and past it; a subject forgotten."""
        self._append(script, place, scope, SIZE - 4, 4)
        self._append(script, place, scope, SIZE + 4, 4)
        self._append(script, place, scope, 596, 4)
        self._append(script, place, scope, SIZE, 1)
        script.add(scope, "head")
        script.add(scope, "erase_sealed", TAGS[place % 2])
        script.add(scope, "erase_sealed", TAGS[place % 2])
        script.add(scope, "erase_sealed", b"z" * 32)

    def ravage(self, script: Script, place: int, scope: Scope) -> None:
        """Every subject, and then all."""
        for tag in TAGS[:2]:
            script.add(scope, "erase_sealed", tag)
        script.add(scope, "erase")
        script.add(scope, "head")
        self._append(script, place, scope, 0, 3)


@check(IDS[StoreRole.AUDIT].survey)
def audit_survey(bench: Bench) -> None:
    """Every page, limit and time, and appends that are refused."""
    survey(bench, AuditLand(), perform)
