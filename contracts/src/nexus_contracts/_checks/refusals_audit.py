"""What an audit sink may refuse: appends behind the end of a log and past it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks import audit
from nexus_contracts._checks.refusals import SOME, Trials, Way, cut
from nexus_core import Scope
from nexus_core.spi import LogEntry, Phase

PHASES: Final[tuple[Phase, ...]] = ("outcome", "intent")


class AuditRefusals:
    """Logs of several lengths, each with intents that nothing settles."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        self.forgets: bool = can.erase_sealed
        self.many = min(can.max_batch, SOME)
        self.size: dict[Scope, int] = {}
        self.ways: Sequence[Way] = (
            self._at(lambda _: 0),
            self._at(lambda size: size - 1),
            self._at(lambda size: size + 1),
            self._at(lambda size: size + 500),
            self._many,
            self._in_vain,
            cut("read", 0, 1),
            cut("checkpoints", 0, 1),
            cut("unsettled", 2**50, 1),
        )

    @staticmethod
    def _tag(text: str) -> bytes:
        return text.encode()[-32:].rjust(32)

    def own_tag(self, scope: Scope) -> bytes:
        """The subject of the entries that the scope's own appends make."""
        return self._tag(f"own {scope.tenant_id[:9]}")

    def _entries(self, start: int, count: int, text: str) -> list[LogEntry]:
        # Those of them that settle what is open, and those that are open for ever.
        made = [
            audit.entry(
                start + place,
                operation=("open", text)[place % 2],
                phase=PHASES[place % 2],
                at=place,
                tag=self._tag(text),
                leaf=text.encode(),
            )
            for place in range(count)
        ]
        return [attrs.evolve(each, sealed=text.encode() * 9) for each in made]

    def _refused(self, script: Trials, scope: Scope, start: int, count: int, text: str) -> None:
        entries = self._entries(start, count, text)
        script.refuse(scope, "append", start, entries, audit.head(start + count, text))

    def _at(self, start: Callable[[int], int]) -> Way:
        def way(script: Trials, scope: Scope, thing: str) -> None:
            for count in (1, 4):
                self._refused(script, scope, start(self.size[scope]), count, thing)

        return way

    def _many(self, script: Trials, scope: Scope, thing: str) -> None:
        self._refused(script, scope, self.size[scope] - 2, self.many, thing)
        self._refused(script, scope, self.size[scope] + 2, self.many, thing)

    def _in_vain(self, script: Trials, scope: Scope, thing: str) -> None:
        if self.forgets:
            script.cut_short(scope, "erase_sealed", self._tag(thing))
        script.cut_short(scope, "unsettled", 0, 1)
        script.cut_short(scope, "read", 500, 1)
        script.cut_short(scope, "checkpoints", 500, 1)

    def _append(self, script: Trials, scope: Scope, operations: Sequence[str]) -> None:
        start = self.size.get(scope, 0)
        tag = self.own_tag(scope)
        new = [
            audit.entry(start + place, operation=each, phase="intent", at=start, tag=tag)
            for place, each in enumerate(operations)
        ]
        self.size[scope] = start + len(new)
        mark = f"of {scope} at {start}"
        script.add(scope, "append", start, new, audit.head(self.size[scope], mark))

    def load(self, script: Trials, scope: Scope, *, refuser: bool) -> None:
        """Open intents; logs of several lengths, and one that is as long as the refused one's."""
        for number in range(3):
            self._append(script, scope, ["open", f"open {number}"])
        if refuser or len(self.size) == 1:
            self._append(script, scope, ["more", "and more"])

    def look(self, script: Trials, scope: Scope, thing: str) -> None:
        """The head, the end, and what is not settled."""
        script.add(scope, "head")
        script.add(scope, "read", max(0, self.size[scope] - 3), 100)
        script.add(scope, "unsettled", 2**50, 1000)
        script.add(scope, "checkpoints", 0, 1000)

    def write(self, script: Trials, scope: Scope, thing: str) -> None:
        """Two batches."""
        self._append(script, scope, [f"after {len(thing)}"])
        self._append(script, scope, ["then", "another"])

    def everything(self, script: Trials, scope: Scope) -> None:
        """The whole log."""
        script.add(scope, "head")
        script.add(scope, "read", 0, 1000)
        script.add(scope, "checkpoints", 0, 1000)
        script.add(scope, "unsettled", 2**50, 1000)

    def end(self, script: Trials, scope: Scope) -> None:
        """The erasure, after which a log is as long as one that was never begun."""
        script.add(scope, "erase")
        self.size[scope] = 0
