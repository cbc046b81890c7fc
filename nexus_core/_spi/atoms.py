"""The atom store role: the scope's ledger of records, changed only by all-or-nothing commits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

from nexus_core._model.filters import Filter
from nexus_core._model.records import Operation, Record, RecordPage, Step
from nexus_core._model.scope import Scope
from nexus_core._spi.backend import Backend


class AtomBackend(Backend):
    """Records in the collections of ``COLLECTIONS``, identified by (scope, collection, id).

    Filters have been checked against the collection's schema and the declared operators.
    """

    @abstractmethod
    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        """Apply every operation, or none. Atomic, serialisable with respect to its preconditions,
        and durable when it returns.

        Operations act in order and see one another's effects. Returns, aligned with them, whether
        each changed something (``Require`` never does; ``Insert(keep)`` of an id that is taken and
        ``Remove`` of an absent one do not).

        Raises ``AlreadyExistsError`` (``Insert``) or ``PreconditionFailedError`` (the others);
        nothing was written then. When the outcome of the commit itself cannot be known, raises an
        error whose ``outcome`` is ``UNKNOWN``.
        """

    @abstractmethod
    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        """Return records aligned with ``ids``; ``None`` where the scope has none."""

    @abstractmethod
    def query(
        self,
        scope: Scope,
        collection: str,
        where: Filter | None,
        *,
        after: str | None = None,
        limit: int = 1000,
    ) -> RecordPage:
        """Return records that match, in ascending id order (by byte), after the id ``after``.

        Pages may be short; ``next_after`` is ``None`` only when nothing is left.
        """

    @abstractmethod
    def count(self, scope: Scope, collection: str, where: Filter | None) -> int:
        """Count records that match, exactly."""

    @abstractmethod
    def walk(
        self,
        scope: Scope,
        start: Sequence[str],
        direction: Literal["up", "down"],
        *,
        max_depth: int,
        limit: int,
    ) -> Sequence[Step]:
        """Follow the records of ``edges`` from the start ids to parents (up) or children (down).

        Each edge is given once, at its smallest depth, in order of (depth, edge id), at most
        ``limit`` of them. A cycle does not loop.
        """

    @abstractmethod
    def erase(self, scope: Scope) -> int:
        """Delete every record of the scope, and of no other. Idempotent; returns how many."""
