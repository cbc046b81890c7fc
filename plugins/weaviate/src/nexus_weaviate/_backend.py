"""The vector store: indexes and rows of many scopes, each in native tenants of its own."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from typing import Final, final

from nexus_core.spi import (
    BackendError,
    Filter,
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    IndexState,
    IndexStatistics,
    IntegrityError,
    InvalidVectorError,
    NotFoundError,
    Outcome,
    PartialWriteError,
    Problem,
    Scope,
    StaleReferenceError,
    StoredHit,
    StoredVector,
    StoreError,
    TenantInactiveError,
    UnavailableError,
    UnsupportedError,
    VectorBackend,
    VectorBatch,
    VectorPage,
    Vectors,
)
from nexus_weaviate import _place
from nexus_weaviate._engine import Engine, unprovisioned
from nexus_weaviate._errors import absent
from nexus_weaviate._filters import compiled
from nexus_weaviate._indexes import Claim, Indexes, inactive, make, status, switch, unmake
from nexus_weaviate._names import index_collection, new_incarnation, rows_collection, shard_of
from nexus_weaviate._nearest import Measured, nearest
from nexus_weaviate._rows import objects_of, packed
from nexus_weaviate._schema import ensure_collection, is_there, rows_schema
from nexus_weaviate._shard import Shard

# How often, and for how many seconds at most, makers of one index step back for each other.
_ATTEMPTS: Final = 10
# After this many of them, who still has not come to an end will not.
_PATIENCE: Final = 7
_PAUSE: Final = 0.05


@final
class WeaviateVectors(VectorBackend):
    """Exact search in Weaviate.

    A data call goes straight to the native tenant of its index's life, and fails where that is not
    there; only then is the scope's list asked why. Reads see every write that has returned. A write
    whose connection breaks has the outcome ``UNKNOWN``; nothing is repeated. No call makes
    a native tenant but ``create_index``, and none activates one but ``set_state``.
    """

    def __init__(self, engine: Engine, prefix: str) -> None:
        self._engine = engine
        self._prefix = prefix

    def check(self) -> Sequence[Problem]:
        return _place.problems(self._engine, self._prefix)

    def close(self) -> None:
        self._engine.close()

    # -- indexes -----------------------------------------------------------------------------

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        indexes = self._indexes(scope)
        self._require_place(scope)
        indexes.ensure()
        for attempt in range(_ATTEMPTS):
            claims = indexes.at(definition.name, definition.version)
            # Who drops an index, or made one, may have been stopped before the end.
            dead = "leaving" if attempt < _PATIENCE else "making"
            for claim in claims:
                if claim.state in ("leaving", dead):
                    self._withdraw(indexes, claim)
            if taken := [claim for claim in claims if claim.state == "made"]:
                with contextlib.suppress(NotFoundError, StaleReferenceError):
                    return self._taken(scope, taken[0], definition)
            elif not claims and (ref := self._claimed(indexes, definition)) is not None:
                return ref
            time.sleep(random.uniform(0.0, _PAUSE * 2 ** min(attempt, 6)))  # noqa: S311  # no secret
        raise UnavailableError(
            "others are making an index of this name and version",
            hint="try again",
            outcome=Outcome.NOT_APPLIED,
        )

    def _taken(self, scope: Scope, claim: Claim, definition: IndexDefinition) -> IndexRef:
        expected, actual = claim.ref.definition.fingerprint, definition.fingerprint
        if expected != actual:
            raise IndexLockedError(expected=expected, actual=actual)
        self._require_shard(scope, claim.ref)
        return claim.ref

    def _claimed(self, indexes: Indexes, definition: IndexDefinition) -> IndexRef | None:
        """Make an index where there is none; ``None`` after stepping back for another maker."""
        scope, ref = indexes.scope, IndexRef(definition, new_incarnation())
        shard = self._shard(scope, ref)
        ensure_collection(self._engine, rows_schema(shard.collection, definition))
        make(self._engine, shard.collection, shard.name)
        try:
            indexes.put(Claim(ref, "making"))
            if len(indexes.at(definition.name, definition.version)) == 1:
                indexes.put(Claim(ref, "made"))
                # Whoever took this maker for stopped has removed the shard.
                if status(self._engine, shard.collection, shard.name):
                    return ref
        except NotFoundError:  # the scope was erased meanwhile
            indexes.ensure()
        self._withdraw(indexes, Claim(ref))
        return None

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        return self._current(scope, name, version).ref

    def list_indexes(self, scope: Scope) -> Sequence[IndexRef]:
        try:
            claims = self._indexes(scope).all()
        except NotFoundError:
            return ()
        return tuple(claim.ref for claim in claims if claim.state == "made")

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        indexes = self._indexes(scope)
        try:
            claims = indexes.at(ref.definition.name, ref.definition.version)
        except NotFoundError:
            return
        mine = [claim for claim in claims if claim.ref.incarnation == ref.incarnation]
        for claim in mine:
            self._withdraw(indexes, claim)
        if not mine and any(claim.state == "made" for claim in claims):
            raise _stale()

    def set_state(self, scope: Scope, ref: IndexRef, state: IndexState) -> bool:
        if state is IndexState.OFFLOADED:
            raise UnsupportedError(f"states:{state}")
        shard = self._shard(scope, ref)
        active = status(self._engine, shard.collection, shard.name)
        if not active:
            self._require_current(scope, ref)
        if active is None:
            raise _gone()
        wanted = state is IndexState.ACTIVE
        if active is wanted:
            return False
        switch(self._engine, shard.collection, shard.name, active=wanted)
        # One that somebody offloaded comes back in the server's own time.
        if wanted and not status(self._engine, shard.collection, shard.name):
            raise UnavailableError(
                "the server has not brought the index back yet",
                hint="try again",
                outcome=Outcome.UNKNOWN,
            )
        return True

    def erase(self, scope: Scope) -> int:
        indexes = self._indexes(scope)
        try:
            claims = indexes.all()
        except NotFoundError:
            return 0
        rows = sum(self._count_if_there(scope, claim) for claim in claims)
        indexes.put(*(Claim(claim.ref, "leaving") for claim in claims))
        for claim in claims:
            shard = self._shard(scope, claim.ref)
            unmake(self._engine, shard.collection, shard.name)
        indexes.forget()
        return rows

    def _count_if_there(self, scope: Scope, claim: Claim) -> int:
        try:
            return self.count(scope, claim.ref, None)
        except (NotFoundError, IntegrityError, TenantInactiveError):
            return 0

    def _withdraw(self, indexes: Indexes, claim: Claim) -> None:
        """End a life of an index, whoever began to."""
        indexes.put(Claim(claim.ref, "leaving"))
        shard = self._shard(indexes.scope, claim.ref)
        unmake(self._engine, shard.collection, shard.name)
        indexes.remove(claim)

    # -- rows --------------------------------------------------------------------------------

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        _require_dimension(batch.vectors, ref)
        with self._rows(scope, ref, writing=True) as shard:
            shard.write(objects_of(ref.definition, batch))

    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Sequence[StoredVector | None]:
        with self._rows(scope, ref) as shard:
            found = {row_id: row.stored() for row_id, row in shard.by_id(ids).items()}
        return [found.get(row_id) for row_id in ids]

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        with self._rows(scope, ref, writing=True) as shard:
            return shard.delete(ids)

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        with self._rows(scope, ref, writing=True) as shard:
            return shard.delete_where(compiled(where))

    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        with self._rows(scope, ref) as shard:
            return shard.count(None if where is None else compiled(where))

    def scan(
        self, scope: Scope, ref: IndexRef, *, after: str | None = None, limit: int = 1000
    ) -> VectorPage:
        rows: list[StoredVector] = []
        last = after
        with self._rows(scope, ref) as shard:
            # One more than asked for tells whether there is a next page.
            while len(rows) <= limit and (page := shard.page(last, limit + 1 - len(rows))):
                rows += (row.stored() for row in page)
                last = page[-1].id
        more = len(rows) > limit
        return VectorPage(tuple(rows[:limit]), rows[limit - 1].id if more else None)

    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        rows = self.count(scope, ref, None)
        return IndexStatistics(rows=rows, bytes=rows * 4 * ref.definition.dimension)

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
        _require_dimension(queries, ref)
        chosen = None if where is None else compiled(where)
        with self._rows(scope, ref) as shard:
            largest = shard.largest() if ref.definition.metric == "dot" else 0.0
            return [
                [
                    _hit(measured, fields=include_fields, vector=include_vectors)
                    for measured in nearest(shard, query, k, chosen, largest)
                ]
                for query in queries
            ]

    # -- places ------------------------------------------------------------------------------

    def _indexes(self, scope: Scope) -> Indexes:
        return Indexes(self._engine, self._prefix, scope)

    def _shard(self, scope: Scope, ref: IndexRef) -> Shard:
        collection = rows_collection(self._prefix, scope.env, ref.definition.fingerprint)
        return Shard(self._engine, collection, shard_of(scope, ref.incarnation), ref.definition)

    def _require_place(self, scope: Scope) -> None:
        if not is_there(self._engine, index_collection(self._prefix, scope.env)):
            raise unprovisioned()

    def _current(self, scope: Scope, name: str, version: int) -> Claim:
        claims = self._indexes(scope).at(name, version)
        made = [claim for claim in claims if claim.state == "made"]
        if not made:
            raise absent()
        return made[0]

    @contextlib.contextmanager
    def _rows(self, scope: Scope, ref: IndexRef, *, writing: bool = False) -> Iterator[Shard]:
        """The rows of an index; what the server refuses is looked into."""
        if writing:
            # A server that makes collections of what it is sent must not be sent anything.
            self._require_shard(scope, ref)
        try:
            yield self._shard(scope, ref)
        except (BackendError, PartialWriteError) as error:
            # An index that is switched off in the middle of a write may have taken part of it.
            known = Outcome.UNKNOWN if writing else Outcome.NOT_APPLIED
            self._require_shard(scope, ref, error, known)
            raise

    def _require_shard(
        self,
        scope: Scope,
        ref: IndexRef,
        after: StoreError | None = None,
        known: Outcome = Outcome.NOT_APPLIED,
    ) -> None:
        """Raise what stands against a call on an index, if anything does."""
        shard = self._shard(scope, ref)
        state = status(self._engine, shard.collection, shard.name)
        if state:
            return
        self._require_current(scope, ref, after)
        raise (_gone() if state is None else inactive(known)) from after

    def _require_current(
        self, scope: Scope, ref: IndexRef, after: StoreError | None = None
    ) -> None:
        claim = self._current(scope, ref.definition.name, ref.definition.version)
        if claim.ref.incarnation != ref.incarnation:
            raise _stale() from after


def _stale() -> StaleReferenceError:
    return StaleReferenceError("the index was dropped and made again", hint="look it up again")


def _gone() -> IntegrityError:
    return IntegrityError(
        "the rows of the index are gone from the server",
        hint="restore them from a backup, or drop the index",
    )


def _require_dimension(vectors: Vectors, ref: IndexRef) -> None:
    if vectors.dimension != ref.definition.dimension:
        raise InvalidVectorError("the vectors have another dimension than the index")


def _hit(measured: Measured, *, fields: bool, vector: bool) -> StoredHit:
    distance, row_id, row = measured
    return StoredHit(
        row_id,
        distance,
        row.stamp,
        row.fields if fields else None,
        packed(row.vector) if vector else None,
    )
