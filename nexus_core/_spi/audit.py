"""The audit sink role: an append-only log for each scope, advanced by compare-and-set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from nexus_core._model.audit import LogEntry, LogHead
from nexus_core._model.scope import Scope
from nexus_core._spi.backend import Backend


class AuditBackend(Backend):
    """Logs of opaque entries. The core builds the tree, signs heads and verifies; the sink keeps
    bytes, in order, for each scope on its own: no counter, lock or link is shared by two scopes.
    """

    @abstractmethod
    def head(self, scope: Scope) -> LogHead | None:
        """Return the log's current head, or ``None`` before the first entry."""

    @abstractmethod
    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        """Append entries and move the head, atomically and durably, if the log has
        ``expected_size`` entries; else raise ``PreconditionFailedError`` and write nothing.

        ``entries`` are numbered from ``expected_size``; ``head.size`` is the size afterwards.
        """

    @abstractmethod
    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        """Return entries from index ``start`` in order, fewer than ``limit`` only at the end or
        where the engine's page is smaller; empty past the end."""

    @abstractmethod
    def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
        """Return the checkpoints of heads larger than ``after_size``, in order of size."""

    @abstractmethod
    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        """Return intents recorded before ``before`` (µs) whose operation has no outcome: the oldest
        by ``recorded_at``, then by ``index``, in this order, and at most ``limit``."""

    @abstractmethod
    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        """Forget ``salt``, ``sealed`` and ``subject_tag`` of the entries with this tag, durably.

        The leaves stay. Idempotent; returns how many entries changed.
        """

    @abstractmethod
    def erase(self, scope: Scope) -> int:
        """Delete the scope's whole log; returns how many entries. For off-boarding a tenant."""
