"""Faulty and unusual audit sinks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryAudit
from nexus_contracts.zoo._mutant import Mutant, careless_mutants, vacant_mutants, variant_harness
from nexus_core.spi import (
    LogEntry,
    LogHead,
    PreconditionFailedError,
    Problem,
    Runtime,
    Scope,
    StoreRole,
)


class OneLogForAll(MemoryAudit):
    """Keeps one log for all scopes."""

    def head(self, scope: Scope) -> LogHead | None:
        return super().head(Scope("all", "dev"))

    def append(self, scope: Scope, *args: Any) -> None:
        super().append(Scope("all", "dev"), *args)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        return super().read(Scope("all", "dev"), start, limit)


class IgnoresEnv(MemoryAudit):
    """Keeps one log for all environments of a tenant."""

    def head(self, scope: Scope) -> LogHead | None:
        return super().head(Scope(scope.tenant_id, "dev"))

    def append(self, scope: Scope, *args: Any) -> None:
        super().append(Scope(scope.tenant_id, "dev"), *args)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        return super().read(Scope(scope.tenant_id, "dev"), start, limit)


class UnscopedIntents(MemoryAudit):
    """Looks for open intents in every log."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        found: list[LogEntry] = []
        for each in sorted(self.logs):
            found += super().unsettled(each, before, limit)
        return found[:limit]


class SharedOperations(MemoryAudit):
    """Takes another scope's outcome for the answer to an intent."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        answered = {
            e.operation for log in self.logs.values() for e in log.entries if e.phase == "outcome"
        }
        return [e for e in super().unsettled(scope, before, limit) if e.operation not in answered]


class UnscopedForgetting(MemoryAudit):
    """Forgets a tag in every log."""

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        changed = super().erase_sealed(scope, subject_tag)
        for other in [each for each in self.logs if each != scope]:
            super().erase_sealed(other, subject_tag)
        return changed


class PrefixErase(MemoryAudit):
    """Erases every tenant whose id begins with the tenant's."""

    def erase(self, scope: Scope) -> int:
        for other in [s for s in self.logs if s.tenant_id.startswith(scope.tenant_id)]:
            if other != scope:
                super().erase(other)
        return super().erase(scope)


class Contagious(MemoryAudit):
    """Refuses everybody after one scope's append was refused."""

    sick = False

    def append(self, scope: Scope, *args: Any) -> None:
        if self.sick:
            raise PreconditionFailedError("the log has another size by now")
        try:
            super().append(scope, *args)
        except PreconditionFailedError:
            self.sick = True
            raise


class TrimsLeaves(MemoryAudit):
    """Keeps leaves as text."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        kept = [attrs.evolve(e, leaf=e.leaf.decode("utf-8", "ignore").encode()) for e in entries]
        super().append(scope, size, kept, head)


class NewestFirst(MemoryAudit):
    """Reads backwards."""

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        return list(super().read(scope, start, limit))[::-1]


class StaleHead(MemoryAudit):
    """Gives the head before the last."""

    def head(self, scope: Scope) -> LogHead | None:
        log = self.logs.get(scope)
        super().head(scope)
        return None if log is None or not log.heads else log.heads[max(0, len(log.heads) - 2)]


class AppendsAnyway(MemoryAudit):
    """Appends wherever the writer believes the end to be."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        current = self.head(scope)
        super().append(scope, 0 if current is None else current.size, entries, head)


class ChecksThenAppends(MemoryAudit):
    """Reads the size, and appends a moment later, without a lock."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        log = self.logs.get(scope)
        if (0 if log is None else len(log.entries)) != size:
            raise PreconditionFailedError("the log has another size by now")
        here = 0 if log is None else len(log.entries)
        super().append(scope, here if log is None else len(log.entries), entries, head)


class LastCheckpointOnly(MemoryAudit):
    """Keeps the last checkpoint and no other."""

    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        return list(super().checkpoints(scope, after_size, 10**6))[-1:]


class ForgetsYoung(MemoryAudit):
    """Gives intents of any age for open."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        return super().unsettled(scope, 2**62, limit)


class ErasesLeaves(MemoryAudit):
    """Erases a subject's entries with their leaves."""

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        log = self.logs.get(scope)
        if log is not None:
            log.entries[:] = [
                attrs.evolve(e, leaf=b"") if e.subject_tag == subject_tag else e
                for e in log.entries
            ]
        return super().erase_sealed(scope, subject_tag)


class KeepsTags(MemoryAudit):
    """Leaves the tag of an erased subject."""

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        changed = super().erase_sealed(scope, subject_tag)
        log = self.logs.get(scope)
        for place, e in enumerate([] if log is None else log.entries):
            if log is not None and e.sealed is None:
                log.entries[place] = attrs.evolve(e, subject_tag=subject_tag)
        return changed


class KeepsHead(MemoryAudit):
    """Erases the entries and keeps the head."""

    def erase(self, scope: Scope) -> int:
        log = self.logs.get(scope)
        if log is None:
            return 0
        count, log.entries = len(log.entries), []
        return count


class HalfBatches(MemoryAudit):
    """Keeps at most five hundred entries of a batch."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        super().append(scope, size, entries[:500], head)


class Truncates(MemoryAudit):
    """Keeps at most sixty-four kilobytes of a sealed part."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        kept = [
            attrs.evolve(e, sealed=None if e.sealed is None else e.sealed[:65536]) for e in entries
        ]
        super().append(scope, size, kept, head)


class SwallowsOutcomes(MemoryAudit):
    """Says that outcomes are kept, and drops the failed ones."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        if any(e.phase == "denied" for e in entries):
            return
        super().append(scope, size, entries, head)


class OpenAfterClose(MemoryAudit):
    """Goes on after it was closed."""

    def ensure_open(self) -> None:
        return


class NoisyCheck(MemoryAudit):
    """Finds fault with itself."""

    def check(self) -> Sequence[Problem]:
        return [Problem(path="", what="something", fix="nothing")]


class ForeignError(MemoryAudit):
    """Raises what its list raises."""

    def append(self, *args: Any) -> None:
        try:
            super().append(*args)
        except PreconditionFailedError:
            raise IndexError("append") from None


class SwallowsFailures(MemoryAudit):
    """Hides that it cannot write."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "append":

            def hushed(*args: Any) -> None:
                with suppress(Exception):
                    value(*args)

            value = _Hushed(value, hushed)
        super().__setattr__(name, value)


class _Hushed:
    """A call that never fails."""

    def __init__(self, _loud: Any, quiet: Any) -> None:
        self.quiet = quiet

    def __call__(self, *args: Any) -> None:
        self.quiet(*args)


class SmallPages(MemoryAudit):
    """Gives at most three entries a page, or a hundred where more than that are asked for."""

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        return super().read(scope, start, min(limit, 3 if limit <= 100 else 100))


class Slow(MemoryAudit):
    """Takes its time."""

    def head(self, scope: Scope) -> LogHead | None:
        time.sleep(0.0002)
        return super().head(scope)


def _m(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    def make(_runtime: Runtime) -> Any:
        return kind()

    return Mutant(
        name=f"audit-{name}",
        role=StoreRole.AUDIT,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=make,
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("one-log-for-all", OneLogForAll, "TEN-401", "could tell"),
    _m("ignores-env", IgnoresEnv, "TEN-401", "could tell"),
    _m("unscoped-intents", UnscopedIntents, "TEN-401", "could tell"),
    _m("shared-operations", SharedOperations, "TEN-401", "could tell"),
    _m("unscoped-forgetting", UnscopedForgetting, "TEN-402", "erase_sealed in"),
    _m("prefix-erase", PrefixErase, "TEN-402", "erase in"),
    _m("contagious", Contagious, "TEN-403", "another size"),
    _m("trims-leaves", TrimsLeaves, "AUD-001", "changed"),
    _m("newest-first", NewestFirst, "AUD-001", "changed"),
    _m("stale-head", StaleHead, "AUD-002", "not the last"),
    _m("appends-anyway", AppendsAnyway, "AUD-003", "an append to size"),
    _m("checks-then-appends", ChecksThenAppends, "AUD-004", " won"),
    _m("last-checkpoint-only", LastCheckpointOnly, "AUD-005", "not all there"),
    _m("forgets-young", ForgetsYoung, "AUD-006", "open intents are"),
    _m("erases-leaves", ErasesLeaves, "AUD-007", "changed a leaf"),
    _m("keeps-tags", KeepsTags, "AUD-007", "left something"),
    _m("keeps-head", KeepsHead, "AUD-008", "left something"),
    _m("half-batches", HalfBatches, "AUD-009", "not appended whole"),
    _m("truncates", Truncates, "AUD-012", "changed"),
    _m("swallows-denials", SwallowsOutcomes, "AUD-011", "lost records"),
    _m("open-after-close", OpenAfterClose, "AUD-010", "after close"),
    _m("noisy-check", NoisyCheck, "CFG-401", "ready store"),
    _m("foreign-error", ForeignError, "SEC-401", "outside the error tree"),
    _m("swallows-failures", SwallowsFailures, "CFG-404", "went through"),
    *vacant_mutants(
        StoreRole.AUDIT,
        "audit",
        "AUD-001",
        "AuditBackend.append",
        "AuditBackend.read must return Sequence[LogEntry]",
    ),
    *careless_mutants(StoreRole.AUDIT, "audit", ("CFG-402", "CFG-403", "DUR-401")),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    "audit-small-pages": variant_harness(StoreRole.AUDIT, lambda _: SmallPages()),
    "audit-slow": variant_harness(StoreRole.AUDIT, lambda _: Slow()),
    "audit-small-batches": variant_harness(StoreRole.AUDIT, capabilities={"max_batch": 20}),
}
