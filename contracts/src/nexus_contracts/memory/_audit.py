"""Audit logs in lists."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from nexus_contracts.memory._base import MemoryBase
from nexus_core.spi import AuditBackend, LogEntry, LogHead, PreconditionFailedError, Scope


class MemoryLog:
    """One scope's log: entries, and every head it had."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.heads: list[LogHead] = []


class MemoryAudit(MemoryBase, AuditBackend):
    """An audit sink that keeps logs in ``logs``, by scope."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[Scope, MemoryLog] = {}

    def head(self, scope: Scope) -> LogHead | None:
        self.ensure_open()
        log = self.logs.get(scope)
        return log.heads[-1] if log is not None and log.heads else None

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.ensure_open()
        with self.lock:
            log = self.logs.setdefault(scope, MemoryLog())
            if len(log.entries) != expected_size:
                raise PreconditionFailedError("the log has another size by now")
            log.entries.extend(entries)
            log.heads.append(head)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        self.ensure_open()
        log = self.logs.get(scope)
        return () if log is None else tuple(log.entries[start : start + limit])

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        self.ensure_open()
        log = self.logs.get(scope)
        heads = [] if log is None else [head for head in log.heads if head.size > after_size]
        return [head.checkpoint for head in heads[:limit]]

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        self.ensure_open()
        log = self.logs.get(scope)
        entries = [] if log is None else log.entries
        answered = {entry.operation for entry in entries if entry.phase == "outcome"}
        found = [
            entry
            for entry in entries
            if entry.phase == "intent"
            and entry.recorded_at < before
            and entry.operation not in answered
        ]
        return sorted(found, key=lambda entry: entry.recorded_at)[:limit]

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        self.ensure_open()
        changed = 0
        with self.lock:
            log = self.logs.get(scope)
            for place, entry in enumerate([] if log is None else log.entries):
                if log is not None and entry.subject_tag == subject_tag:
                    log.entries[place] = attrs.evolve(
                        entry, salt=None, sealed=None, subject_tag=None
                    )
                    changed += 1
        return changed

    def erase(self, scope: Scope) -> int:
        self.ensure_open()
        with self.lock:
            log = self.logs.pop(scope, None)
        return 0 if log is None else len(log.entries)
