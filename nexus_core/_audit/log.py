"""Appending to one scope's log: group commit by leader and followers, by compare-and-set.

Whoever finds the turn free takes it and commits at once whatever is waiting, their own records and
others'; those who come meanwhile share the next commit. There is no delay to gather more, no
thread and nothing to shut down.
"""

from __future__ import annotations

import contextlib
import copy
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, final

import attrs

from nexus_core._audit.checkpoint import Checkpoint, Signer, origin_of
from nexus_core._audit.leaf import SALT_BYTES, encode_leaf, seal
from nexus_core._audit.merkle import Edge, leaf_hash
from nexus_core._audit.note import Verifier
from nexus_core._audit.record import AuditRecord
from nexus_core._model.audit import LogEntry, LogHead
from nexus_core._model.errors import (
    AuditVerificationError,
    BackendError,
    InvalidArgumentError,
    NexusError,
    Outcome,
    PreconditionFailedError,
    StoreError,
    UnavailableError,
)
from nexus_core._model.scope import Scope
from nexus_core._spi.audit import AuditBackend

ATTEMPTS: Final = 32
# Followers are woken; this is for the case that the leader was killed before it could.
_LOOK_UP: Final = 1.0
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05


def now_us() -> int:
    """The time in µs since 1970."""
    return time.time_ns() // 1000


@attrs.frozen
class _Draft:
    """A record with everything but its place in the log."""

    record: AuditRecord
    at: int
    sealed: bytes
    salt: bytes


@final
class _Ticket:
    """One caller's records and, once they are settled, what became of them."""

    __slots__ = ("_bell", "drafts", "error", "first", "settled")

    def __init__(self, drafts: list[_Draft]) -> None:
        self.drafts = drafts
        self.first = 0
        self.error: NexusError | None = None
        self.settled = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def settle(self, first: int, error: NexusError | None = None) -> None:
        if not self.settled:
            self.first, self.error, self.settled = first, error, True
        self.ring()

    def ring(self) -> None:
        # Rung twice before it was heard once: a lock that is free already says so by raising.
        with contextlib.suppress(RuntimeError):
            self._bell.release()

    def wait(self) -> None:
        self._bell.acquire(timeout=_LOOK_UP)

    def answer(self) -> range:
        if self.error is not None:
            # A copy for each caller: one exception raised in two threads mixes their tracebacks.
            raise copy.copy(self.error) from None
        return range(self.first, self.first + len(self.drafts))


@final
class ScopeLog:
    """The end of one scope's log, shared by all threads of a process.

    ``config_hash`` is the SHA-256 of the scope's own view of the configuration, which every
    checkpoint carries; ``max_batch`` is the sink's capability of that name; ``now`` gives µs
    since 1970. Other processes may append to the same log. Not for use across a fork.
    """

    def __init__(
        self,
        backend: AuditBackend,
        scope: Scope,
        signer: Signer,
        *,
        config_hash: bytes,
        max_batch: int = 1000,
        now: Callable[[], int] = now_us,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._origin = origin_of(scope)
        if signer.verifier.name != self._origin:
            raise InvalidArgumentError("the signer belongs to another scope")
        self._backend = backend
        self._scope = scope
        self._signer = signer
        self._config_hash = config_hash
        self._max_batch = max_batch
        self._now = now
        self._sleep = sleep
        self._turn = threading.Lock()
        self._queue = threading.Lock()
        self._waiting: list[_Ticket] = []
        # Only touched by whoever has the turn.
        self._edge: Edge | None = None
        self._seen = Edge()
        self._checkpoint: bytes | None = None

    def append(self, records: Sequence[AuditRecord]) -> range:
        """Append the records together, in order, and return their indexes.

        Blocks until they are durable. All or nothing: one call's records are in one commit.
        Raises ``InvalidArgumentError`` for more than ``max_batch`` records; what the sink raised,
        with its outcome, to every caller whose records were in that commit, ``UNKNOWN`` where it
        could not be found out; ``AuditVerificationError`` if the log's end is not what this
        scope's key signed, and then nothing is written.
        """
        if len(records) > self._max_batch:
            raise InvalidArgumentError(
                f"more than {self._max_batch} audit records in one call",
                hint="append them in several calls",
            )
        ticket = _Ticket([self._draft(record) for record in records])
        if not ticket.drafts:
            return range(0)
        with self._queue:
            self._waiting.append(ticket)
        self._settle(ticket)
        return ticket.answer()

    def checkpoint(self) -> bytes | None:
        """Read the log's end from the sink and return its checkpoint, once it has proved genuine.

        ``None`` for an empty log. This is what to keep elsewhere against rollback. Raises
        ``AuditVerificationError`` if the end is not what this scope's key signed.
        """
        try:
            with self._turn:
                self._load()
                return self._checkpoint
        finally:
            self._call_next()

    def _draft(self, record: AuditRecord) -> _Draft:
        if record.index is not None:
            raise InvalidArgumentError("the audit record was read from a log; make a new one")
        at = self._now() if record.at is None else record.at
        return _Draft(record, at, seal(record), secrets.token_bytes(SALT_BYTES))

    def _settle(self, ticket: _Ticket) -> None:
        """Return when the ticket is settled, by this thread or another."""
        try:
            while not ticket.settled:
                if self._turn.locked():
                    # Whoever has the turn settles this ticket or rings for it afterwards.
                    ticket.wait()
                    continue
                with self._turn:
                    if not ticket.settled:
                        self._lead(ticket)
                self._call_next()
        except BaseException:
            self._withdraw(ticket)
            raise

    def _lead(self, own: _Ticket) -> None:
        batch = self._take()
        if not batch:
            # A leader that was killed between two instructions left this one behind. Nobody else
            # has the turn, so nothing is going to happen to it any more.
            own.settle(0, _interrupted())
            return
        try:
            first = self._commit([draft for ticket in batch for draft in ticket.drafts])
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, each caller hears of it
            answer = error if isinstance(error, NexusError) else _unmapped()
            for ticket in batch:
                ticket.settle(0, answer)
        except BaseException:
            for ticket in batch:
                ticket.settle(0, _interrupted())
            raise
        else:
            for ticket in batch:
                ticket.settle(first)
                first += len(ticket.drafts)

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        room = self._max_batch
        with self._queue:
            for ticket in self._waiting:
                room -= len(ticket.drafts)
                if room < 0:
                    break
                batch.append(ticket)
            del self._waiting[: len(batch)]
        return batch

    def _call_next(self) -> None:
        with self._queue:
            if self._waiting:
                self._waiting[0].ring()

    def _withdraw(self, ticket: _Ticket) -> None:
        # An interrupted caller goes away: what nobody has taken up yet shall not be written, and
        # if it was this caller's turn to lead, somebody else must.
        with self._queue:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        self._call_next()

    def _commit(self, drafts: list[_Draft]) -> int:
        pause = _FIRST_PAUSE
        for _ in range(ATTEMPTS):
            edge = self._end()
            # Forgotten while it is uncertain: whatever interrupts us, the next one reads it anew.
            self._edge = None
            entries, after, head = self._build(edge, drafts)
            try:
                self._backend.append(self._scope, edge.size, entries, head)
            except Exception as error:  # noqa: BLE001 - a sink may raise anything; see _resolve
                if not self._resolve(entries, error):
                    self._sleep(pause * secrets.randbelow(1000) / 1000)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
            self._edge = self._seen = after
            self._checkpoint = head.checkpoint
            return edge.size
        raise UnavailableError(
            "the audit log is being written to by too many others",
            hint="try again; give the scope fewer writing processes",
            outcome=Outcome.NOT_APPLIED,
        )

    def _resolve(self, entries: list[LogEntry], error: Exception) -> bool:
        """Whether the entries are in the log all the same. ``False``: they are not and never will
        be, because the log has moved on; raises ``error`` where it must be reported.

        A sink whose transport repeats a request reports its own first success as a failed
        precondition, so that error is looked into as well.
        """
        conflict = isinstance(error, PreconditionFailedError)
        if isinstance(error, StoreError) and error.outcome is Outcome.NOT_APPLIED and not conflict:
            raise error
        first = entries[0]
        try:
            head = self._backend.head(self._scope)
            moved = head is not None and head.size > first.index
            found = self._backend.read(self._scope, first.index, 1) if moved else ()
        except Exception:  # noqa: BLE001 - looking failed, so nothing is known
            raise (_lost() if conflict else error) from None
        if moved:
            return bool(found) and found[0].leaf == first.leaf
        if conflict:
            return False
        raise error

    def _build(self, edge: Edge, drafts: list[_Draft]) -> tuple[list[LogEntry], Edge, LogHead]:
        base, after = edge.size, edge.copy()
        entries = []
        for index, draft in enumerate(drafts, base):
            record = draft.record
            leaf = encode_leaf(
                record,
                draft.sealed,
                draft.salt,
                origin=self._origin,
                index=index,
                base=base,
                at=draft.at,
            )
            after.append(leaf_hash(leaf))
            entries.append(
                LogEntry(
                    index=index,
                    leaf=leaf,
                    salt=draft.salt,
                    sealed=draft.sealed,
                    subject_tag=record.subject_tag,
                    operation=record.operation,
                    phase=record.phase,
                    recorded_at=draft.at,
                )
            )
        checkpoint = self._signer.checkpoint(after.size, after.root(), self._config_hash)
        return (
            entries,
            after,
            LogHead(size=after.size, edge=after.to_bytes(), checkpoint=checkpoint),
        )

    def _end(self) -> Edge:
        if self._edge is not None:
            return self._edge
        try:
            return self._load()
        except StoreError as error:
            # Reading failed, and nothing has been sent: that much is known.
            error.outcome = Outcome.NOT_APPLIED
            raise
        except NexusError:
            raise
        except Exception:  # noqa: BLE001 - a sink may raise anything
            raise _unmapped(Outcome.NOT_APPLIED) from None

    def _load(self) -> Edge:
        head = self._backend.head(self._scope)
        edge = Edge() if head is None else check_head(head, self._signer.verifier)
        if edge.size < self._seen.size or (
            edge.size == self._seen.size and edge.root() != self._seen.root()
        ):
            raise AuditVerificationError(
                "the audit log has lost records that this process has seen in it",
                index=edge.size,
                hint="the sink was restored or rolled back; run `nexus audit verify`",
            )
        self._seen = edge
        self._checkpoint = None if head is None else head.checkpoint
        return edge


def check_head(head: LogHead, verifier: Verifier) -> Edge:
    """Return the edge of a head whose checkpoint is genuine and says the same as its edge.

    Raises ``AuditVerificationError``.
    """
    checkpoint = Checkpoint.open(head.checkpoint, verifier, bare=True)
    edge = Edge.from_bytes(head.size, head.edge)
    if (checkpoint.size, checkpoint.root) != (edge.size, edge.root()):
        raise AuditVerificationError(
            "the end of the audit log is not what its checkpoint says",
            hint="run `nexus audit verify`",
        )
    return edge


def _interrupted() -> NexusError:
    return UnavailableError("the commit of the audit record was interrupted")


def _lost() -> NexusError:
    return UnavailableError("the audit log could not be read after a conflict")


def _unmapped(outcome: Outcome = Outcome.UNKNOWN) -> NexusError:
    return BackendError("the audit sink raised an error outside the error tree", outcome=outcome)
