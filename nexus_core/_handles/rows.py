"""Indexes and rows of one scope, for whoever is already admitted and audited.

``n.vectors`` and the flows share it: definitions are applied, rows stamped and checked here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn, cast, final

import attrs

from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._model.canonical import frame
from nexus_core._model.errors import (
    IndexLockedError,
    InvalidArgumentError,
    InvalidVectorError,
    NotFoundError,
    UnsupportedError,
)
from nexus_core._model.filters import FieldValue, Filter, check_filter
from nexus_core._model.ids import check_name, derived_id
from nexus_core._model.records import Insert, Replace
from nexus_core._model.vectors import (
    SYSTEM_FIELDS,
    IndexDefinition,
    IndexRef,
    StoredHit,
    VectorBatch,
    Vectors,
)
from nexus_core._security.guard import foreign
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole, VectorCapabilities
from nexus_core._spi.vectors import VectorBackend

VectorLike = Sequence[float] | bytes | memoryview


@attrs.frozen
class VectorRow:
    """One stored vector; ``vector`` is a float32 buffer where it was asked for.

    ``stored`` holds the system's fields and the index's own; the properties tell them apart.
    """

    id: str
    stored: Mapping[str, FieldValue] = attrs.field(repr=False)
    vector: bytes | None = attrs.field(default=None, repr=False)

    @property
    def asset(self) -> str | None:
        """What it was made from, where that was said."""
        asset = self.stored.get("asset")
        return None if asset is None else str(asset)

    @property
    def fields(self) -> dict[str, FieldValue]:
        """The fields that the index declares."""
        return {name: value for name, value in self.stored.items() if name not in SYSTEM_FIELDS}

    @property
    def governance(self) -> Governance:
        """Kind, space, subject, flags and retention."""
        return Governance.from_vector_fields(self.stored)


@attrs.frozen(kw_only=True)
class Hit:
    """One answer: the id and its exact distance under the index's metric; smaller is nearer."""

    id: str
    distance: float
    row: VectorRow | None = None


@final
class Rows:
    """Vector rows of one scope, for one request."""

    __slots__ = ("_gate", "_ledger")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)

    # -- indexes -----------------------------------------------------------------------------

    def refs(self) -> list[IndexRef]:
        """All indexes of the scope by (name, version)."""
        found = self._gate.call(
            StoreRole.VECTORS, lambda s: list(vector_backend(s).list_indexes(self._gate.scope))
        )
        self._admit(found)
        return found

    def _admit(self, refs: Sequence[IndexRef]) -> None:
        """Refuse an index that this scope's own stamped records do not name.

        A reference carries no stamp itself, so what proves it is the record that was made before
        the index was. A scope without a ledger has no such records.
        """
        if not self._gate.runtime.has(StoreRole.ATOMS):
            return
        known = self._gate.runtime.indexes
        fresh = [d for d in (ref.definition for ref in refs) if known.get((d.name, d.version)) != d]
        if not fresh:
            return
        records = self._ledger.get("definitions", [self._record_id(each) for each in fresh])

        def run(_: OpenStore) -> None:
            for definition, record in zip(fresh, records, strict=True):
                if record is None or body_of(record)["fingerprint"] != definition.fingerprint:
                    raise foreign()
                known[definition.name, definition.version] = definition

        self._gate.call(StoreRole.VECTORS, run)

    def resolve(self, index: str, version: int | None) -> IndexRef:
        """Find an index, the latest version if none is said; raises ``NotFoundError``."""
        check_name(index, "the index name")
        if version is not None:
            wanted = version
            if type(version) is not int or version < 1:
                raise InvalidArgumentError("the index version is not a positive integer")
            found = self._gate.call(
                StoreRole.VECTORS,
                lambda s: vector_backend(s).get_index(self._gate.scope, index, wanted),
            )
            if (found.definition.name, found.definition.version) != (index, wanted):
                self._gate.call(StoreRole.VECTORS, lambda _: _refuse())
            self._admit([found])
            return found
        own = [ref for ref in self.refs() if ref.definition.name == index]
        if not own:
            raise NotFoundError(
                "no such index in this scope",
                hint="define it: `nexus index define`, or [[indexes]] and a first write",
            )
        return max(own, key=lambda ref: ref.definition.version)

    def resolve_or_apply(self, index: str, version: int | None) -> IndexRef:
        """Find an index to write to, applying the operator's definition of it at first use.

        Where the configuration declares a later version than the scope has, that one is applied.
        The application is audited, and the definition is locked from then on: another one under
        the same name and version raises ``IndexLockedError``.
        """
        declared = self._declared(check_name(index, "the index name"), version)
        if declared is None:
            return self.resolve(index, version)
        own = {ref.definition.version: ref for ref in self.refs() if ref.definition.name == index}
        if version is None and own and max(own) > declared.version:
            return own[max(own)]
        current = own.get(declared.version)
        if current is None:
            return self.define(declared)
        if current.definition.fingerprint != declared.fingerprint:
            raise IndexLockedError(
                expected=current.definition.fingerprint, actual=declared.fingerprint
            )
        return current

    def _declared(self, index: str, version: int | None) -> IndexDefinition | None:
        matching = [
            definition
            for definition in self._gate.deployment.config.indexes
            if definition.name == index and version in (None, definition.version)
        ]
        return max(matching, key=lambda d: d.version) if matching else None

    def define(self, definition: IndexDefinition) -> IndexRef:
        """Make an index in this scope: audited, durable, idempotent for the same definition."""
        name = f"{definition.name}@{definition.version}"

        def run(store: OpenStore) -> IndexRef:
            capabilities = _capabilities(store)
            if definition.metric not in capabilities.metrics:
                raise UnsupportedError(f"metric:{definition.metric}")
            if definition.dimension > capabilities.max_dimension:
                raise UnsupportedError(f"dimension:{definition.dimension}")
            return vector_backend(store).create_index(self._gate.scope, definition)

        with self._gate.mutation(
            Action.DEFINITION_APPLY, StoreRole.VECTORS, (name,), admitted=True
        ):
            self._note(definition)
            return self._gate.call(StoreRole.VECTORS, run)

    def _note(self, definition: IndexDefinition) -> None:
        """Put on record that the scope has an index, before it has: see ``_admit``.

        A record of another definition is replaced where the index was never made, and refused
        where it was.
        """
        if not self._gate.runtime.has(StoreRole.ATOMS):
            return
        place = self._record_id(definition)
        old = self._ledger.get("definitions", [place])[0]
        fingerprint = definition.fingerprint
        if old is not None and body_of(old)["fingerprint"] == fingerprint:
            return
        if old is not None:
            taken = [
                ref.definition
                for ref in self.refs()
                if (ref.definition.name, ref.definition.version)
                == (definition.name, definition.version)
            ]
            if taken:
                raise IndexLockedError(expected=taken[0].fingerprint, actual=fingerprint)
        now = self._gate.now()
        fields: dict[str, str | int | float | bool] = {
            "type": "made",
            "name": definition.name,
            "state": "made",
            "created_at": now,
            "updated_at": now,
        }
        version = 1 if old is None else old.version + 1
        record = self._ledger.record(
            "definitions",
            place,
            fields,
            {"definition": definition.to_data(), "fingerprint": fingerprint},
            version=version,
        )
        self._ledger.commit([Insert(record) if old is None else Replace(record)])

    def _record_id(self, definition: IndexDefinition) -> str:
        version = str(definition.version)
        return derived_id("idx", self._gate.scope, definition.name, version)

    # -- rows --------------------------------------------------------------------------------

    def capabilities(self) -> VectorCapabilities:
        """What the routed store declares."""
        return _capabilities(self._gate.runtime.store(StoreRole.VECTORS))

    def write(
        self,
        ref: IndexRef,
        ids: tuple[str, ...],
        vectors: Vectors,
        fields: tuple[Mapping[str, FieldValue], ...],
    ) -> None:
        """Write stamped rows under an already audited mutation."""
        vectors.check(ref.definition)
        stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))
        batch = VectorBatch(ids, vectors, fields, tuple(map(stamp, ids)))
        self._gate.call(
            StoreRole.VECTORS, lambda s: vector_backend(s).upsert(self._gate.scope, ref, batch)
        )

    def scan(
        self, ref: IndexRef, after: str | None, limit: int, *, vectors: bool
    ) -> tuple[tuple[VectorRow, ...], str | None]:
        """One checked page of rows in id order, and where to continue."""
        stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))

        def run(store: OpenStore) -> tuple[tuple[VectorRow, ...], str | None]:
            page = vector_backend(store).scan(self._gate.scope, ref, after=after, limit=limit)
            if any(row.stamp != stamp(row.id) for row in page.rows):
                raise foreign()
            rows = tuple(
                VectorRow(row.id, row.fields, row.vector if vectors else None) for row in page.rows
            )
            return rows, page.next_after

        return self._gate.call(StoreRole.VECTORS, run)

    def discard(self, ref: IndexRef, ids: Sequence[str]) -> int:
        """Delete rows by id; returns how many existed."""
        return self._gate.call(
            StoreRole.VECTORS, lambda s: vector_backend(s).delete(self._gate.scope, ref, ids)
        )

    def search(
        self,
        ref: IndexRef,
        queries: Vectors,
        *,
        k: int,
        where: Filter | None,
        include: bool,
        include_vectors: bool = False,
    ) -> list[list[Hit]]:
        """The nearest rows for each query, checked."""
        maximum = self.capabilities().max_k
        if type(k) is not int or not 1 <= k <= maximum:
            raise InvalidArgumentError(f"k is not 1 to {maximum}")
        queries.check(ref.definition)
        checked = None if where is None else self.filter(ref, where)
        stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))

        def run(store: OpenStore) -> list[list[Hit]]:
            answers = vector_backend(store).query(
                self._gate.scope,
                ref,
                queries,
                k,
                where=checked,
                include_fields=include or include_vectors,
                include_vectors=include_vectors,
            )
            if len(answers) != len(queries):
                raise foreign()
            return [[_hit(hit, stamp(hit.id)) for hit in hits] for hits in answers]

        return self._gate.call(StoreRole.VECTORS, run)

    def fetch(
        self, ref: IndexRef, ids: Sequence[str], *, vectors: bool = False
    ) -> list[VectorRow | None]:
        """Rows aligned with ``ids``, checked."""
        stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))

        def run(store: OpenStore) -> list[VectorRow | None]:
            found = list(vector_backend(store).get(self._gate.scope, ref, ids))
            if len(found) != len(ids) or any(
                row is not None and (row.id != wanted or row.stamp != stamp(wanted))
                for row, wanted in zip(found, ids, strict=False)
            ):
                raise foreign()
            return [
                None
                if row is None
                else VectorRow(row.id, row.fields, row.vector if vectors else None)
                for row in found
            ]

        return self._gate.call(StoreRole.VECTORS, run)

    def filter(self, ref: IndexRef, where: Filter) -> Filter:
        """Check a filter against the index's fields and the store's operators."""
        return check_filter(where, ref.schema, self.capabilities().filter_ops)

    def pack(self, vectors: Iterable[VectorLike], definition: IndexDefinition) -> Vectors:
        """Pack what a caller gave into one checked buffer."""
        rows = list(vectors)
        stride = 4 * definition.dimension
        if all(isinstance(row, bytes | memoryview) for row in rows):
            buffers = [memoryview(cast("bytes", row)).cast("B") for row in rows]
            if any(len(buffer) != stride for buffer in buffers):
                raise InvalidVectorError(
                    "a vector has another dimension than the index, which has "
                    f"{definition.dimension}"
                )
            packed = Vectors.from_buffer(b"".join(buffers), definition.dimension)
        elif any(isinstance(row, bytes | memoryview) for row in rows):
            raise InvalidVectorError("the batch mixes buffers and sequences of numbers")
        else:
            packed = Vectors.from_rows(cast("list[Sequence[float]]", rows), definition.dimension)
        packed.check(definition)
        return packed


def _hit(hit: StoredHit, stamp: bytes) -> Hit:
    if hit.stamp != stamp:
        raise foreign()
    row = None if hit.fields is None else VectorRow(hit.id, hit.fields, hit.vector)
    return Hit(id=hit.id, distance=hit.distance, row=row)


def _refuse() -> NoReturn:
    raise foreign()


def stamp_kind(ref: IndexRef) -> str:
    """Kind of record that a row's stamp is over: the index by name and version."""
    definition = ref.definition
    return frame("vector", definition.name, str(definition.version)).hex()


def fence_of(ref: IndexRef) -> str:
    """What the fence around an index's rows is called."""
    return f"rows/{ref.definition.name}@{ref.definition.version}"


def vector_backend(store: OpenStore) -> VectorBackend:
    """The backend of a vector store."""
    return cast("VectorBackend", store.backend)


def _capabilities(store: OpenStore) -> VectorCapabilities:
    return cast("VectorCapabilities", store.spec.capabilities)
