"""Audit sinks that are right as long as logs are short, and their bytes are not looked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryAudit
from nexus_contracts.zoo._filed import filed_harness, opened
from nexus_contracts.zoo._mutant import Mutant
from nexus_contracts.zoo._neighbours import renamed
from nexus_contracts.zoo._sizes_raw import hashed
from nexus_core.spi import Backend, LogEntry, LogHead, Runtime, Scope, StoreRole


class CutBeforeOrder(MemoryAudit):
    """Takes the first open intents of the log, and orders those by their age."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        every = sorted(super().unsettled(scope, before, 1 << 30), key=lambda each: each.index)
        return sorted(every[:limit], key=lambda each: each.recorded_at)


class LastThousand(MemoryAudit):
    """Looks for open intents among the last thousand entries."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        last = len(self.logs[scope].entries) if scope in self.logs else 0
        every = super().unsettled(scope, before, 1 << 30)
        return [each for each in every if each.index >= last - 1000][:limit]


class HundredCheckpoints(MemoryAudit):
    """Gives a hundred checkpoints, and none of later heads."""

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        first = super().checkpoints(scope, 0, 100)
        wanted = super().checkpoints(scope, after_size, limit)
        return [each for each in wanted if each in first]


class ForgetsHundred(MemoryAudit):
    """Forgets a hundred entries of a subject."""

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        log = self.logs.get(scope)
        own = [e for e in log.entries if e.subject_tag == subject_tag] if log else []
        changed = super().erase_sealed(scope, subject_tag)
        if log is not None:
            for each in own[100:]:
                log.entries[each.index] = each
        return min(changed, 100)


class ShortTags(MemoryAudit):
    """Knows subjects by the first half of their tags."""

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        log = self.logs.get(scope)
        tags = {e.subject_tag for e in log.entries if e.subject_tag} if log else set()
        near = [tag for tag in tags if tag[:16] == subject_tag[:16]]
        return sum(super(ShortTags, self).erase_sealed(scope, tag) for tag in near)


class EmptyIsAbsent(MemoryAudit):
    """Takes an empty sealed part for none."""

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        found = super().read(scope, start, limit)
        return [attrs.evolve(each, sealed=each.sealed or None) for each in found]


class LargeOnce(MemoryAudit):
    """Keeps large sealed parts once, by their size and where they begin."""

    def __init__(self) -> None:
        super().__init__()
        self.large: dict[Any, bytes] = {}

    def mark(self, each: LogEntry) -> Any:
        """What two parts have in common that are taken for one."""
        sealed = each.sealed or b""
        return sealed[:4096], len(sealed)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        found = super().read(scope, start, limit)
        return [
            attrs.evolve(each, sealed=self.large.setdefault(self.mark(each), each.sealed))
            if each.sealed and len(each.sealed) >= 1 << 16
            else each
            for each in found
        ]


class LargeByOperation(LargeOnce):
    """Keeps large sealed parts by their operation."""

    def mark(self, each: LogEntry) -> Any:
        return each.operation, each.index, len(each.sealed or b"")


class RemembersCheckpoints(MemoryAudit):
    """Remembers checkpoints by their size, over the end of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[Scope, int], bytes] = {}

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        log = self.logs.get(scope)
        heads = [head for head in log.heads if head.size > after_size] if log else []
        return [self.known.setdefault((scope, h.size), h.checkpoint) for h in heads[:limit]]


class RemembersOutcomes(MemoryAudit):
    """Remembers what was settled, over the end of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.settled: set[tuple[Scope, str]] = set()

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        super().append(scope, size, entries, head)
        self.settled |= {(scope, each.operation) for each in entries if each.phase == "outcome"}

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        found = super().unsettled(scope, before, 1 << 30)
        return [each for each in found if (scope, each.operation) not in self.settled][:limit]


class EndsAtThousand(MemoryAudit):
    """Reads the first thousand and twenty entries of a log."""

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        return super().read(scope, start, max(0, min(limit, 1020 - start)))


class AbroadFromThousand(MemoryAudit):
    """Finds what comes after a thousand entries in any log of the tenant."""

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        for owner in sorted(self.logs, key=str) if start >= 1000 else ():
            if owner.tenant_id == scope.tenant_id and len(self.logs[owner].entries) > start:
                return super().read(owner, start, limit)
        return super().read(scope, start, limit)


class EmptyErases(MemoryAudit):
    """Erases the tenant where the scope has nothing."""

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        for owner in list(self.logs) if not count else ():
            if owner.tenant_id == scope.tenant_id:
                super().erase(owner)
        return count


def marking(_config: object, runtime: Runtime) -> Backend:
    """Open a sink in a file that keeps beside it what it forgets, as if it were marked."""
    made: Any = opened(StoreRole.AUDIT, "whole", None, runtime)
    forget = made.erase_sealed

    def mark(scope: Scope, subject_tag: bytes) -> int:
        made.load()
        log = made.logs.get(scope)
        own = [e.sealed for e in log.entries if e.subject_tag == subject_tag] if log else []
        changed: int = forget(scope, subject_tag)
        runtime.base.joinpath("marked").write_bytes(b"\n".join(each for each in own if each))
        return changed

    made.erase_sealed = mark
    backend: Backend = made
    return backend


def _m(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    return Mutant(
        name=f"audit-{name}",
        role=StoreRole.AUDIT,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda _runtime: kind(),
    )


_FILED: Final = filed_harness(StoreRole.AUDIT, marking)

MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("cut-before-order", CutBeforeOrder, "AUD-040", "of the oldest"),
    _m("last-thousand", LastThousand, "AUD-040", "of the oldest"),
    _m("hundred-checkpoints", HundredCheckpoints, "AUD-041", "100 of 260 checkpoints"),
    _m("forgets-hundred", ForgetsHundred, "AUD-042", "erase_sealed of"),
    _m("short-tags", ShortTags, "AUD-042", "another tag that is alike"),
    _m("empty-is-absent", EmptyIsAbsent, "AUD-043", "sealed part of 0 bytes"),
    _m("large-once", LargeOnce, "AUD-043", "came back changed"),
    _m("remembers-checkpoints", RemembersCheckpoints, "AUD-044", "another log's checkpoints"),
    _m("remembers-outcomes", RemembersOutcomes, "AUD-044", "another log's open intents"),
    Mutant(
        name="audit-marks-forgotten",
        role=StoreRole.AUDIT,
        what="Marks what it is to forget.",
        killed_by="AUD-045",
        says="still hold",
        make=partial(marking, None),
        harness={"spec": _FILED.spec, "back_door": _FILED.back_door, "survives_reopen": True},
    ),
    _m("ends-at-thousand", EndsAtThousand, "AUD-046", "are missing"),
    _m("large-by-operation", LargeByOperation, "TEN-430", "other entries than its own"),
    _m("abroad-from-thousand", AbroadFromThousand, "TEN-430", "other entries than its own"),
    _m("empty-erases", EmptyErases, "TEN-431", "which has nothing"),
    attrs.evolve(
        _m("hashed-tenants", renamed(StoreRole.AUDIT, hashed), "TEN-432", "hashed to few bytes"),
        what="Keeps tenants by twelve bits of a checksum of their names.",
    ),
)
