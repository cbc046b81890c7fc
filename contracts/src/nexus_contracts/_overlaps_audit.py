"""The ground of audit sinks: a log that grows and forgets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nexus_contracts._overlaps import Plain, Read, Write
from nexus_core import Scope
from nexus_core.spi import LogEntry, LogHead

# Of the entries that are there before.
_PHASES: Final = ("intent", "event", "intent")
_AFTER: Final = ("outcome", "intent", "event", "event", "outcome")


def _tag(index: int) -> bytes:
    return hashlib.sha256(str(index % 3).encode()).digest()


def _entry(index: int, phase: Any) -> LogEntry:
    return LogEntry(
        index=index,
        leaf=f"leaf {index}".encode(),
        salt=bytes(32),
        sealed=b"sealed",
        subject_tag=_tag(index),
        operation=f"operation {index % 3}",
        phase=phase,
        recorded_at=index,
    )


def _append(store: Any, scope: Scope, known: int, phases: Sequence[str]) -> None:
    entries = [_entry(known + place, phase) for place, phase in enumerate(phases)]
    size = known + len(entries)
    head = LogHead(size=size, edge=bytes([size]) * 32, checkpoint=f"checkpoint {size}".encode())
    store.append(scope, known, entries, head)


def _appending(phases: Sequence[str]) -> Read:
    return lambda store, scope, known: _append(store, scope, known, phases)


class AuditGround(Plain):
    """Appends, the forgetting of a subject, and the erasure."""

    def __init__(self, capabilities: Any) -> None:
        several = _AFTER[: min(len(_AFTER), capabilities.max_batch)]
        self._before = _PHASES[: min(len(_PHASES), capabilities.max_batch)]
        usable = (
            (True, Write("append(1 entry), the first", "empty", "", _appending(["intent"]))),
            (True, Write("append(1 entry)", "full", "", _appending(["outcome"]))),
            (
                capabilities.erase_sealed,
                Write(
                    "erase_sealed()",
                    "full",
                    "",
                    lambda store, scope, _: store.erase_sealed(scope, _tag(0)),
                ),
            ),
            (True, Write("erase()", "full", "empty", lambda store, scope, _: store.erase(scope))),
            (True, Write(f"append({len(several)} entries)", "full", "", _appending(several))),
        )
        self.writes: Sequence[Write] = [write for able, write in usable if able]
        self.reads: Mapping[str, Read] = {
            "read": lambda store, scope, _: store.read(scope, 0, 1000),
            "head": lambda store, scope, _: store.head(scope),
            "unsettled": lambda store, scope, _: store.unsettled(scope, 1 << 40, 100),
            "checkpoints": lambda store, scope, _: store.checkpoints(scope, 0, 1000),
            "read of one": lambda store, scope, _: store.read(scope, 0, 1),
            "read from the end": lambda store, scope, known: store.read(scope, known, 100),
            "checkpoints from the end": lambda store, scope, known: store.checkpoints(
                scope, known, 100
            ),
        }

    def prepare(self, store: Any, scope: Scope, start: str, left: str) -> int:
        """An empty log, or one of some entries; gives its size."""
        if start == "empty" or left != "empty":
            store.erase(scope)
        if start == "empty":
            return 0
        _append(store, scope, 0, self._before)
        return len(self._before)
