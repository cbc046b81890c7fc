"""The vector store role: locked indexes of one scope, written and asked in float32 buffers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from nexus_core._model.errors import UnsupportedError
from nexus_core._model.filters import Filter
from nexus_core._model.scope import Scope
from nexus_core._model.vectors import (
    IndexDefinition,
    IndexRef,
    IndexState,
    IndexStatistics,
    StoredHit,
    StoredVector,
    VectorBatch,
    VectorPage,
    Vectors,
)
from nexus_core._spi.backend import Backend


class VectorBackend(Backend):
    """Indexes belong to a scope. A row is identified by (scope, index name, version, id).

    Vectors and filters have been checked against the definition. Only ``create_index`` makes an
    index; data calls with a reference whose incarnation is not the current one raise
    ``StaleReferenceError``, and ``NotFoundError`` where no index has its name and version. While an
    index is not active they raise ``TenantInactiveError``, change nothing and never activate it; it
    is still listed, dropped and erased like any other.

    The buffers that rows and queries come in are the caller's again, to be used for something else,
    once the call has returned: what is kept of them is copied.
    """

    @abstractmethod
    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        """Make an index, durably; idempotent for the same fingerprint.

        Raises ``IndexLockedError`` when the name and version are taken by another definition in
        this scope. Other scopes' definitions never matter.
        """

    @abstractmethod
    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        """Return the reference to an index; raise ``NotFoundError``. Never creates."""

    @abstractmethod
    def list_indexes(self, scope: Scope) -> Sequence[IndexRef]:
        """The scope's indexes by (name, version)."""

    @abstractmethod
    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        """Delete an index and its rows; when it returns none is readable.

        Idempotent: an index that is gone is not an error. Where another incarnation has taken the
        name and version since, raises ``StaleReferenceError`` and deletes nothing.
        """

    @abstractmethod
    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        """Write rows, replacing those with the same id as a whole; the last of duplicates wins.

        All or nothing where ``atomic_batch`` is declared, else ``PartialWriteError`` names what
        was not written. Durable when it returns.
        """

    @abstractmethod
    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Sequence[StoredVector | None]:
        """Return rows aligned with ``ids``; ``None`` where the scope has none."""

    @abstractmethod
    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        """Delete rows by id; returns how many of them existed."""

    @abstractmethod
    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        """Delete the rows that match; returns how many."""

    @abstractmethod
    def query(
        self,
        scope: Scope,
        ref: IndexRef,
        queries: Vectors,
        k: int,
        *,
        where: Filter | None = None,
        include_fields: bool = False,
        include_vectors: bool = False,
    ) -> Sequence[Sequence[StoredHit]]:
        """The ``k`` nearest rows for each query, sorted by (distance, id).

        Each answer has exactly ``min(k, rows that match)`` hits. Distances are the definition's,
        computed in float64 (``exact``), and the same whether queries come alone or together.
        """

    @abstractmethod
    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        """Count rows that match, exactly."""

    @abstractmethod
    def scan(
        self, scope: Scope, ref: IndexRef, *, after: str | None = None, limit: int = 1000
    ) -> VectorPage:
        """Return rows in ascending id order (by byte), after the id ``after``."""

    @abstractmethod
    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        """Size of this index in this scope only."""

    def set_state(self, scope: Scope, ref: IndexRef, state: IndexState) -> bool:
        """Put an index in a state, durably; returns whether that changed it. Capability ``states``.

        Idempotent. Rows stay as they are, and every other index, of whatever scope, in its state.
        An index that is active when this returns answers.
        """
        raise UnsupportedError(f"states:{state}")

    @abstractmethod
    def erase(self, scope: Scope) -> int:
        """Delete all indexes and rows of the scope, and of no other; returns how many rows.

        Rows of an index that is not active need not be in the number.
        """
