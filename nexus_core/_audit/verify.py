"""Verifying a scope's log: every entry, every checkpoint, and the end.

What one record can be caught at is in the record: its number, its commitment, what the sink keeps
beside it. What it cannot, since whoever edits a leaf can make a new commitment for it, is caught
by the first signed checkpoint behind it; that leaves the records between two checkpoints in doubt.
The rules are written down in ``docs/formats.md`` so that anyone can check the same and get the
same answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias, final

import attrs

from nexus_core._audit.checkpoint import Checkpoint, origin_of
from nexus_core._audit.leaf import OpenPart, check_entry
from nexus_core._audit.merkle import Edge, leaf_hash
from nexus_core._audit.note import Verifier
from nexus_core._audit.pages import PAGE, Snapshot
from nexus_core._model.audit import LogEntry, LogHead
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core._model.scope import Scope
from nexus_core._spi.audit import AuditBackend

Rollback: TypeAlias = Literal["checked", "not checked", "detected"]

MAX_FINDINGS: Final = 100


@attrs.frozen
class Finding:
    """One thing wrong with a log; ``index`` is the record's where it concerns one."""

    what: str
    index: int | None = None

    def __str__(self) -> str:
        return self.what


@attrs.frozen(kw_only=True)
class VerificationReport:
    """What the verification of one log found.

    ``first_bad`` is the first record that is wrong by itself or missing, or else the first one
    that no genuine checkpoint vouches for. The first record that was tampered with is certainly in
    ``bad_range``, which has one element wherever the records were appended one by one. Both are
    ``None`` where no record is in doubt, which alone does not make the report ``ok``. At most 100
    ``findings`` are listed of ``finding_count``. ``rollback`` says whether the log still begins as
    the trusted checkpoint says; without one it is not checked. ``unsettled`` intents have no
    outcome, which is for recovery to mend and no fault of the log.
    """

    size: int
    root: str
    first_bad: int | None
    bad_range: tuple[int, int] | None
    findings: tuple[Finding, ...]
    finding_count: int
    erased: int
    unsettled: int
    rollback: Rollback
    checkpoint: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing at all was found."""
        return not self.finding_count

    def raise_for_findings(self) -> None:
        """Raise ``AuditVerificationError`` with the first bad index, unless nothing was found."""
        if not self.ok:
            raise AuditVerificationError(str(self.findings[0]), index=self.first_bad)


def verify(
    backend: AuditBackend,
    scope: Scope,
    verifier: Verifier,
    *,
    trusted_checkpoint: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerificationReport:
    """Check a scope's whole log as it stands now, in O(log n) memory. Writes nothing.

    ``trusted_checkpoint`` is one that was kept elsewhere, cosigned or not. ``progress`` is called
    now and then with how many entries are checked and how many there are. Raises only what the
    sink raises; what is wrong with the log is in the report.
    """
    if verifier.name != origin_of(scope):
        raise InvalidArgumentError("the verifier key belongs to another log")
    walk = _Walk(Snapshot(backend, scope, verifier), verifier, trusted_checkpoint)
    return walk.run(progress)


@final
class _Walk:
    def __init__(self, snapshot: Snapshot, verifier: Verifier, trusted: bytes | None) -> None:
        self._snapshot = snapshot
        self._verifier = verifier
        self._findings: list[Finding] = []
        self._finding_count = 0
        self._edge = Edge()
        # The first record that is bad by itself; the largest size that a checkpoint vouches for
        # before the first one whose root is another; and that one's size.
        self._bad: int | None = None
        self._proved = 0
        self._broken: int | None = None
        # Where the current batch begins; unknown after an entry that could not be read.
        self._base: int | None = None
        self._checkpoint_size = 0
        self._last_note: bytes | None = None
        self._erased = 0
        self._unsettled: set[str] = set()
        self._trusted = self._open_trusted(trusted)
        self._rollback: Rollback = "not checked" if self._trusted is None else "checked"

    def run(self, progress: Callable[[int, int], None] | None) -> VerificationReport:
        size = self._snapshot.size
        checkpoints = self._genuine_checkpoints()
        pending = next(checkpoints, None)
        for entry in self._snapshot.entries():
            position = self._edge.size
            if position >= size:
                self._found("there are records behind the end of the log", position)
                break
            self._check_entry(entry, position)
            self._edge.append(leaf_hash(entry.leaf))
            self._compare(self._trusted, trusted=True)
            if pending is not None and pending.size == self._edge.size:
                self._compare(pending)
                self._checkpoint_size = pending.size
                pending = next(checkpoints, None)
            if progress is not None and self._edge.size % PAGE == 0:
                progress(self._edge.size, size)
        if self._edge.size < size:
            self._found("records are missing", self._edge.size)
        rest = itertools.chain(() if pending is None else (pending,), checkpoints)
        if max((checkpoint.size for checkpoint in rest), default=0) > size:
            self._found("a checkpoint is newer than the end of the log", size)
        self._check_head(self._snapshot.head)
        self._check_rollback()
        if progress is not None:
            progress(self._edge.size, size)
        return self._report()

    def _open_trusted(self, note: bytes | None) -> Checkpoint | None:
        if note is None:
            return None
        try:
            return Checkpoint.open(note, self._verifier)
        except AuditVerificationError as error:
            self._found(f"the trusted checkpoint: {error.message}")
            return None

    def _genuine_checkpoints(self) -> Iterator[Checkpoint]:
        last = 0
        for note in self._snapshot.checkpoints():
            try:
                checkpoint = Checkpoint.open(note, self._verifier, bare=True)
            except AuditVerificationError as error:
                self._found(f"a stored checkpoint: {error.message}")
                continue
            if checkpoint.size <= last:
                self._found("a stored checkpoint is repeated or out of order")
                continue
            last, self._last_note = checkpoint.size, note
            yield checkpoint

    def _check_entry(self, entry: LogEntry, position: int) -> None:
        try:
            part = check_entry(entry, position, self._verifier.name)
            self._check_base(part)
        except AuditVerificationError as error:
            self._found(error.message, position)
            self._base = None
            return
        if entry.sealed is None:
            self._erased += 1
        if part.phase == "intent":
            self._unsettled.add(part.operation)
        elif part.phase == "outcome":
            self._unsettled.discard(part.operation)

    def _check_base(self, part: OpenPart) -> None:
        # Every batch begins behind a checkpoint, so that none can be taken away unnoticed.
        if part.base == part.index:
            if self._checkpoint_size != part.base:
                self._found(f"the checkpoint of size {part.base} is missing or false")
        elif part.base > part.index or self._base not in (part.base, None):
            raise AuditVerificationError(
                f"audit record {part.index} was tampered with: it belongs to another batch"
            )
        self._base = part.base

    def _compare(self, checkpoint: Checkpoint | None, *, trusted: bool = False) -> None:
        if checkpoint is None or checkpoint.size != self._edge.size:
            return
        if self._edge.root() == checkpoint.root:
            if not trusted and self._broken is None:
                self._proved = checkpoint.size
        elif trusted:
            self._rollback = "detected"
            self._found(f"the first {checkpoint.size} records are not those once signed for")
        elif self._broken is None:
            self._broken = checkpoint.size
            self._found(f"records {self._proved} to {checkpoint.size - 1} are not those signed for")

    def _check_head(self, head: LogHead | None) -> None:
        if head is None:
            if self._last_note is not None:
                self._found("the log has checkpoints and no end")
            return
        end = self._snapshot.end
        if end is None:
            self._found("the checkpoint at the end of the log is false")
        else:
            self._compare(end)
        try:
            edge = Edge.from_bytes(head.size, head.edge)
        except AuditVerificationError:
            edge = None
        if edge is None or end is None or (edge.size, edge.root()) != (end.size, end.root):
            self._found("the end of the log is not what its checkpoint says")
        if self._last_note != head.checkpoint:
            self._found("the last stored checkpoint is not that of the end")

    def _check_rollback(self) -> None:
        if self._trusted is not None and self._trusted.size > self._edge.size:
            self._rollback = "detected"
            self._found(
                f"the log once had {self._trusted.size} records and was cut", self._edge.size
            )

    def _found(self, what: str, index: int | None = None) -> None:
        self._finding_count += 1
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(what, index))
        if index is not None and (self._bad is None or index < self._bad):
            self._bad = index

    def _report(self) -> VerificationReport:
        first_bad, bad_range = self._bad, None
        if self._broken is not None and (first_bad is None or first_bad >= self._broken):
            first_bad, bad_range = self._proved, (self._proved, self._broken)
        elif first_bad is not None:
            bad_range = (min(self._proved, first_bad), first_bad + 1)
        head = self._snapshot.head
        return VerificationReport(
            size=self._edge.size,
            root=self._edge.root().hex(),
            first_bad=first_bad,
            bad_range=bad_range,
            findings=tuple(self._findings),
            finding_count=self._finding_count,
            erased=self._erased,
            unsettled=len(self._unsettled),
            rollback=self._rollback,
            checkpoint=None if head is None else head.checkpoint.decode("utf-8", "replace"),
        )
