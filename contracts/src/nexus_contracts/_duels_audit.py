"""Duels of audit sinks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import attrs

from nexus_contracts._duel import Alone, Answers, one_wins, outcome
from nexus_core import Scope
from nexus_core.spi import (
    LogEntry,
    LogHead,
    PreconditionFailedError,
)


def _entry(index: int, mark: str, tag: bytes | None = None) -> LogEntry:
    return LogEntry(
        index=index,
        leaf=f"leaf {index}".encode(),
        salt=bytes(32),
        sealed=b"s",
        subject_tag=tag,
        operation=mark,
        phase="event",
        recorded_at=0,
    )


def _size(store: Any, scope: Scope) -> int:
    current = store.head(scope)
    return 0 if current is None else int(current.size)


def _from(store: Any, scope: Scope, start: int) -> list[LogEntry]:
    """Every entry from there on, in pages as short as the store likes."""
    found: list[LogEntry] = []
    while page := store.read(scope, start + len(found), 1000):
        found += page
    return found


def _append(store: Any, scope: Scope, size: int, entries: Sequence[LogEntry], mark: str) -> None:
    end = size + len(entries)
    store.append(
        scope, size, entries, LogHead(size=end, edge=bytes(32), checkpoint=f"{mark} {end}".encode())
    )


@attrs.frozen
class Append(Alone):
    """Two appends to one size."""

    count: int
    about = "append"

    @property
    def title(self) -> str:
        """The call."""
        return f"append of {self.count} to one size"

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """The size."""
        return _size(store, scope)

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Append to it."""
        mark = f"{scope.tenant_id} {place} {side}"
        entries = [_entry(known + number, mark) for number in range(self.count)]
        return outcome(lambda: _append(store, scope, known, entries, mark), PreconditionFailedError)

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """One append, and its entries and head."""
        if bad := one_wins(answers):
            return bad
        mark = f"{scope.tenant_id} {place} {answers.index('won')}"
        head = store.head(scope)
        tail = _from(store, scope, head.size - self.count)
        marks = [(each.index, each.operation) for each in tail]
        wanted = [(head.size - self.count + number, mark) for number in range(self.count)]
        right = marks == wanted and head.checkpoint == f"{mark} {head.size}".encode()
        return "" if right else "the log is not the winner's"


def _tag(place: str) -> bytes:
    return hashlib.sha256(place.encode()).digest()


class ForgetBeside(Alone):
    """An append, and the forgetting of an entry that was there before."""

    about = "beside"
    title = "append and erase_sealed"
    symmetric = False

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """The entry."""
        size = _size(store, scope)
        _append(store, scope, size, [_entry(size, place, _tag(place))], place)

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """The size."""
        return _size(store, scope)

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Append, or forget."""
        if side == 0:
            return outcome(
                lambda: _append(store, scope, known, [_entry(known, f"{place} new")], place)
            )
        return "won" if store.erase_sealed(scope, _tag(place)) == 1 else "lost"

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """What was appended is there, what was to be forgotten is not."""
        if answers != ("won", "won"):
            return f"beside one another they {answers[0]} and {answers[1]}"
        size = _size(store, scope)
        tail = _from(store, scope, size - 2)
        marks = [(each.operation, each.sealed) for each in tail]
        wanted = [(place, None), (f"{place} new", b"s")]
        return "" if marks == wanted else f"the log ends with {[mark for mark, _ in marks]}"


class AppendBeside(Append):
    """An append that may meet another: for who waits."""

    about = "meeting"

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """What was acknowledged is at the end of the log, in one order or the other."""
        own = f"{scope.tenant_id} {place}"
        won = [f"{own} {side}" for side in (0, 1) if answers[side] == "won"]
        size = _size(store, scope)
        held = [each.operation for each in _from(store, scope, 0)]
        tail = sorted(held[len(held) - len(won) :])
        right = tail == sorted(won) and len(held) == size
        return "" if right else f"of the appends {won} in {scope} {tail} is there"


class AppendRefused(AppendBeside):
    """An append to a size that the log does not have."""

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """Another size."""
        return super().ready(store, scope, place) + 1
