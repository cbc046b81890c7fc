"""An audit sink in memory, with back doors: honest in front, at the tests' mercy behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import attrs

from nexus_core.spi import (
    AuditBackend,
    LogEntry,
    LogHead,
    PreconditionFailedError,
    Problem,
    Scope,
)


@attrs.define
class Stored:
    """What the sink holds of one scope; tests write to it directly."""

    entries: list[LogEntry] = attrs.field(factory=list)
    checkpoints: list[tuple[int, bytes]] = attrs.field(factory=list)
    head: LogHead | None = None

    def copy(self) -> Stored:
        return Stored(list(self.entries), list(self.checkpoints), self.head)


class MemorySink(AuditBackend):
    """Keeps lists under one lock; reads come in pages of at most ``page``."""

    def __init__(self, page: int = 1000) -> None:
        self.logs: dict[Scope, Stored] = {}
        self.page = page
        self.appends = 0
        self._lock = threading.Lock()

    def of(self, scope: Scope) -> Stored:
        return self.logs.setdefault(scope, Stored())

    def check(self) -> Sequence[Problem]:
        return ()

    def close(self) -> None:
        return None

    def head(self, scope: Scope) -> LogHead | None:
        with self._lock:
            return self.of(scope).head

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        with self._lock:
            log = self.of(scope)
            if (0 if log.head is None else log.head.size) != expected_size:
                raise PreconditionFailedError("the log has another size")
            self.appends += 1
            log.entries.extend(entries)
            log.checkpoints.append((head.size, head.checkpoint))
            log.head = head

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        with self._lock:
            return self.of(scope).entries[start : start + min(limit, self.page)]

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        with self._lock:
            found = [note for size, note in self.of(scope).checkpoints if size > after_size]
            return found[: min(limit, self.page)]

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        with self._lock:
            entries = self.of(scope).entries
            done = {entry.operation for entry in entries if entry.phase == "outcome"}
            return [
                entry
                for entry in entries
                if entry.phase == "intent"
                and entry.recorded_at < before
                and entry.operation not in done
            ][:limit]

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        with self._lock:
            log = self.of(scope)
            hit = [i for i, e in enumerate(log.entries) if e.subject_tag == subject_tag]
            for i in hit:
                log.entries[i] = attrs.evolve(
                    log.entries[i], salt=None, sealed=None, subject_tag=None
                )
            return len(hit)

    def erase(self, scope: Scope) -> int:
        with self._lock:
            return len(self.logs.pop(scope, Stored()).entries)
