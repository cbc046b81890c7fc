"""The vector store: indexes and rows of many scopes, each in a database of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np

from nexus_core.spi import (
    ClosedError,
    Filter,
    IndexDefinition,
    IndexRef,
    IndexStatistics,
    IntegrityError,
    InvalidVectorError,
    NotFoundError,
    Outcome,
    Problem,
    Scope,
    StoredHit,
    StoredVector,
    StoreError,
    VectorBackend,
    VectorBatch,
    VectorPage,
    Vectors,
)
from nexus_embedded import _layout, _parts, _rows
from nexus_embedded._cache import MatrixCache
from nexus_embedded._database import Handle
from nexus_embedded._errors import from_sqlite, translated
from nexus_embedded._fork import ForkGate
from nexus_embedded._kernel import Product
from nexus_embedded._lookups import Lookups
from nexus_embedded._matrix import View
from nexus_embedded._nearest import Neighbours, nearest
from nexus_embedded._parts import Part
from nexus_embedded._pool import READ, WRITE, Pool, drop
from nexus_embedded._terms import matching


@final
class EmbeddedVectors(VectorBackend):
    """Exact search over one SQLite database for each scope.

    Every call is one transaction: a read sees one moment of its scope, a write happens as a whole
    and is on disk when it returns. Calls of one scope read at once and write one after another;
    calls of different scopes share nothing that either could wait for or see. Any number of
    threads and processes may use one root.
    """

    def __init__(
        self,
        root: Path,
        *,
        cache_bytes: int,
        busy_timeout: float,
        connections: int,
        product: Product | None,
    ) -> None:
        self._root = root.absolute()
        self._pool = Pool(self._root, busy_timeout=busy_timeout, limit=connections)
        self._gate = ForkGate(self._pool.release, patience=busy_timeout)
        self._cache = MatrixCache(cache_bytes, coded=product is not None)
        self._product = product

    def check(self) -> Sequence[Problem]:
        return _layout.problems(self._root)

    def close(self) -> None:
        # A child that the gate refuses has nothing of its own to close.
        with contextlib.suppress(ClosedError), self._gate:
            self._pool.close()
            self._cache.clear()

    # -- indexes -----------------------------------------------------------------------------

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        while True:
            try:
                with self._transaction(scope, WRITE) as db:
                    return _parts.add_part(db, definition).ref
            except NotFoundError:
                with self._gate, translated():
                    self._pool.create(scope)

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        with self._transaction(scope, READ) as db:
            return _parts.find_part(db, name, version).ref

    def list_indexes(self, scope: Scope) -> Sequence[IndexRef]:
        try:
            with self._transaction(scope, READ) as db:
                return tuple(part.ref for part in _parts.all_parts(db))
        except NotFoundError:
            return ()

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        try:
            with self._transaction(scope, WRITE) as db:
                part = _parts.require_part(db, ref)
                _parts.remove_part(db, part)
                self._cache.forget(scope, part)
        except NotFoundError:
            return

    # -- rows --------------------------------------------------------------------------------

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        with self._transaction(scope, WRITE) as db:
            part = _parts.require_part(db, ref)
            _require_dimension(batch.vectors, part)
            _rows.put_rows(db, part, batch)

    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Sequence[StoredVector | None]:
        with self._transaction(scope, READ) as db:
            return _rows.get_rows(db, _parts.require_part(db, ref), ids)

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        with self._transaction(scope, WRITE) as db:
            return _rows.delete_by_id(db, _parts.require_part(db, ref), ids)

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        with self._transaction(scope, WRITE) as db:
            part = _parts.require_part(db, ref)
            return _rows.delete_matching(db, part, matching(db, part, where))

    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        with self._transaction(scope, READ) as db:
            part = _parts.require_part(db, ref)
            return part.rows if where is None else matching(db, part, where).count(part.rows)

    def scan(
        self, scope: Scope, ref: IndexRef, *, after: str | None = None, limit: int = 1000
    ) -> VectorPage:
        with self._transaction(scope, READ) as db:
            return _rows.page_of_rows(db, _parts.require_part(db, ref), after, limit)

    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        with self._transaction(scope, READ) as db:
            part = _parts.require_part(db, ref)
            return IndexStatistics(rows=part.rows, bytes=_rows.size_of_rows(db, part))

    def erase(self, scope: Scope) -> int:
        with self._gate, translated():
            rows = self._pool.erase(scope)
            self._cache.forget(scope)
        return rows

    # -- nearest -----------------------------------------------------------------------------

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
        with self._transaction(scope, READ) as db:
            part, view, lookups = self._view(db, scope, ref)
            _require_dimension(queries, part)
            chosen = None if where is None else matching(db, part, where, lookups)
            rows = np.frombuffer(queries.data, "<f4").astype(np.float32, copy=False)
            rows = rows.reshape(-1, queries.dimension)
            return [
                _hits(db, part, view, found, k, fields=include_fields, vectors=include_vectors)
                for found in nearest(
                    view, part.definition.metric, rows, k, matching=chosen, product=self._product
                )
            ]

    def _view(
        self, db: sqlite3.Connection, scope: Scope, ref: IndexRef
    ) -> tuple[Part, View, Lookups]:
        part = _parts.require_part(db, ref)
        matrix = self._cache.matrix(scope, part)
        with matrix.lock:
            if matrix.ahead_of(part):
                # Another thread has seen a later commit; what it saw is visible to a transaction
                # that begins now.
                db.execute("COMMIT")
                db.execute(READ)
                part = _parts.require_part(db, ref)
            view = matrix.view(db, part)
        self._cache.settle(scope, part)
        return part, view, matrix.lookups

    @contextlib.contextmanager
    def _transaction(self, scope: Scope, begin: str) -> Iterator[sqlite3.Connection]:
        with self._gate, translated():
            try:
                handle = self._pool.take(scope, begin)
            except NotFoundError:
                self._cache.forget(scope)  # erased, perhaps by another process
                raise
            try:
                yield handle.db
            except StoreError:
                self._undo(scope, handle)
                raise
            except BaseException:
                drop(handle)
                raise
            try:
                handle.db.execute("COMMIT")
            except sqlite3.Error as error:
                drop(handle)
                raise from_sqlite(error, Outcome.UNKNOWN) from None
            self._pool.give(scope, handle)

    def _undo(self, scope: Scope, handle: Handle) -> None:
        try:
            handle.db.rollback()
        except sqlite3.Error:
            drop(handle)
        else:
            self._pool.give(scope, handle)


def _require_dimension(vectors: Vectors, part: Part) -> None:
    if vectors.dimension != part.definition.dimension:
        raise InvalidVectorError("the vectors have another dimension than the index")


def _hits(
    db: sqlite3.Connection,
    part: Part,
    view: View,
    found: Neighbours,
    k: int,
    *,
    fields: bool,
    vectors: bool,
) -> list[StoredHit]:
    positions = found.positions.tolist()
    numbers = view.numbers[found.positions].tolist()
    labels = _rows.labels_of(db, part, numbers, fields=fields)
    if len(labels) != len(numbers):
        raise IntegrityError("the index does not have the rows that it counts")
    ordered = sorted(
        (distance, labels[number].id, number, position)
        for distance, number, position in zip(
            found.distances.tolist(), numbers, positions, strict=True
        )
    )
    return [
        StoredHit(
            row_id,
            distance,
            labels[number].stamp,
            labels[number].fields,
            view.rows[position].astype("<f4").tobytes() if vectors else None,
        )
        for distance, row_id, number, position in ordered[:k]
    ]
