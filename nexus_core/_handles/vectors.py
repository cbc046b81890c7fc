"""``n.vectors``: rows of locked indexes, written and asked in float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast, final

import attrs

from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.raw import check_limit
from nexus_core._model.canonical import frame
from nexus_core._model.errors import (
    IndexLockedError,
    InvalidArgumentError,
    InvalidVectorError,
    NotFoundError,
    RetentionError,
    UnsupportedError,
)
from nexus_core._model.filters import (
    And,
    Eq,
    FieldValue,
    Filter,
    Gt,
    Or,
    check_field_value,
    check_filter,
)
from nexus_core._model.ids import check_id, check_name
from nexus_core._model.vectors import (
    SYSTEM_FIELDS,
    IndexDefinition,
    IndexRef,
    IndexStatistics,
    StoredHit,
    VectorBatch,
    Vectors,
)
from nexus_core._security.guard import foreign
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole, VectorCapabilities
from nexus_core._spi.vectors import VectorBackend

MAX_QUERIES: Final = 1024

VectorLike = Sequence[float] | bytes | memoryview


@attrs.frozen(kw_only=True)
class VectorItem:
    """One vector to be written: numbers, or a little-endian float32 buffer of the dimension.

    ``fields`` are the index's own; ``asset`` points at what it was made from.
    """

    id: str
    vector: VectorLike = attrs.field(repr=False)
    asset: str | None = None
    fields: Mapping[str, FieldValue] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class VectorRow:
    """One stored vector; ``vector`` is a float32 buffer where it was asked for."""

    id: str
    asset: str | None
    fields: Mapping[str, FieldValue]
    governance: Governance
    vector: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Hit:
    """One answer: the id and its exact distance under the index's metric; smaller is nearer."""

    id: str
    distance: float
    row: VectorRow | None = None


@attrs.frozen(kw_only=True)
class VectorsPage:
    """One page of rows in id order; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[VectorRow, ...]
    cursor: str | None


@final
class VectorsHandle:
    """The vectors of one scope. An index is named by ``name`` and ``version`` (the latest if not
    said)."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    # -- indexes -----------------------------------------------------------------------------

    def indexes(self) -> list[IndexDefinition]:
        """Return the definitions of this scope's indexes by (name, version)."""
        return self._gate.read(
            Action.INDEX_READ, StoreRole.VECTORS, lambda s: [r.definition for r in self._refs(s)]
        )

    def statistics(self, index: str, *, version: int | None = None) -> IndexStatistics:
        """Return rows and bytes of one index in this scope, and of nothing else."""
        return self._gate.read(
            Action.INDEX_READ,
            StoreRole.VECTORS,
            lambda s: _backend(s).statistics(self._gate.scope, self._ref(s, index, version)),
            ids=(index,),
        )

    # -- writing -----------------------------------------------------------------------------

    def upsert(
        self,
        index: str,
        items: Sequence[VectorItem],
        *,
        kind: str,
        space: str,
        version: int | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
        retain_until: int | None = None,
        legal_hold: bool = False,
    ) -> int:
        """Write rows, replacing those with the same ids as a whole; durable when it returns.

        Atomic where the store declares it, else ``PartialWriteError`` names what was not written.
        Refuses NaN, infinities, another dimension, a zero vector under cosine, undeclared fields,
        and a row whose atom exists here with another kind or space; nothing is written then.
        Returns how many rows the batch had.
        """
        governance = Governance.build(
            self._gate.context,
            self._gate.deployment.config.kinds,
            kind=kind,
            space=space,
            pii_flags=pii_flags,
            train_ok=train_ok,
            retain_until=retain_until,
            legal_hold=legal_hold,
        )
        ids = [check_id(_item(item).id, "a vector id") for item in items]
        if not ids:
            raise InvalidArgumentError("the batch is empty")
        self._gate.admit(Action.VECTOR_UPSERT, ids)
        ref, capabilities = self.resolve(index, version, bootstrap=True)
        if len(ids) > capabilities.max_batch:
            raise InvalidArgumentError(f"a batch holds at most {capabilities.max_batch} rows")
        vectors = self.pack((item.vector for item in items), ref.definition)
        own = governance.vector_fields()
        fields = tuple(self._fields(item, own, ref.definition) for item in items)
        self._require_atoms_agree(ids, governance)
        with self._gate.mutation(
            Action.VECTOR_UPSERT,
            StoreRole.VECTORS,
            ids,
            kind=governance.kind,
            space=governance.space,
            admitted=True,
        ):
            self.write(ref, tuple(ids), vectors, fields)
        return len(ids)

    def delete(self, index: str, ids: Sequence[str], *, version: int | None = None) -> int:
        """Delete rows by id, durably; returns how many existed. Raises ``RetentionError`` if any
        is protected; nothing is deleted then."""
        wanted = [check_id(i, "a vector id") for i in ids]
        if not wanted:
            raise InvalidArgumentError("no ids were given")
        with self._gate.mutation(Action.VECTOR_DELETE, StoreRole.VECTORS, wanted):

            def run(store: OpenStore) -> int:
                ref = self._ref(store, index, version)
                now = self._gate.now()
                for row in self._rows(store, ref, wanted, vectors=False):
                    if row is not None:
                        row.governance.ensure_deletable(now)
                return _backend(store).delete(self._gate.scope, ref, wanted)

            return self._gate.call(StoreRole.VECTORS, run)

    def delete_where(self, index: str, where: Filter, *, version: int | None = None) -> int:
        """Delete the rows that match; a filter is required. Returns how many.

        Raises ``RetentionError`` if any of them is protected; nothing is deleted then.
        """
        with self._gate.mutation(Action.VECTOR_DELETE, StoreRole.VECTORS, (index,)):

            def run(store: OpenStore) -> int:
                ref = self._ref(store, index, version)
                checked = self._filter(store, ref, where)
                held = Or((Eq("legal_hold", value=True), Gt("retain_until", self._gate.now())))
                both = self._filter(store, ref, And((where, held)))
                backend = _backend(store)
                if backend.count(self._gate.scope, ref, both):
                    raise RetentionError("a hold or retention period protects some of the rows")
                return backend.delete_where(self._gate.scope, ref, checked)

            return self._gate.call(StoreRole.VECTORS, run)

    # -- reading -----------------------------------------------------------------------------

    def get(
        self,
        index: str,
        ids: str | Sequence[str],
        *,
        version: int | None = None,
        include_vectors: bool = False,
    ) -> list[VectorRow | None]:
        """Return rows aligned with ``ids``; ``None`` where this scope has none."""
        wanted = [check_id(i, "a vector id") for i in ([ids] if isinstance(ids, str) else ids)]
        return self._gate.read(
            Action.VECTOR_GET,
            StoreRole.VECTORS,
            lambda s: self._rows(s, self._ref(s, index, version), wanted, vectors=include_vectors),
            ids=wanted,
        )

    def query(
        self,
        index: str,
        vector: VectorLike,
        *,
        k: int = 10,
        where: Filter | None = None,
        version: int | None = None,
        include: bool = False,
        include_vectors: bool = False,
    ) -> list[Hit]:
        """Return the ``min(k, rows that match)`` nearest rows, by (distance, id).

        Distances are the metric's exact definition. ``include`` brings fields along,
        ``include_vectors`` the vectors too.
        """
        return self.query_many(
            index,
            [vector],
            k=k,
            where=where,
            version=version,
            include=include,
            include_vectors=include_vectors,
        )[0]

    def query_many(
        self,
        index: str,
        vectors: Sequence[VectorLike],
        *,
        k: int = 10,
        where: Filter | None = None,
        version: int | None = None,
        include: bool = False,
        include_vectors: bool = False,
    ) -> list[list[Hit]]:
        """Answer several queries at once, each exactly as ``query`` would alone."""
        if not 1 <= len(vectors) <= MAX_QUERIES:
            raise InvalidArgumentError(f"a call holds 1 to {MAX_QUERIES} queries")

        def run(store: OpenStore) -> list[list[Hit]]:
            ref = self._ref(store, index, version)
            packed = self.pack(vectors, ref.definition)
            return self.search(
                store, ref, packed, k, where, include=include, include_vectors=include_vectors
            )

        return self._gate.read(
            Action.VECTOR_QUERY,
            StoreRole.VECTORS,
            run,
            found=lambda answers: [hit.id for hits in answers for hit in hits],
        )

    def count(self, index: str, where: Filter | None = None, *, version: int | None = None) -> int:
        """Count the rows that match, exactly."""

        def run(store: OpenStore) -> int:
            ref = self._ref(store, index, version)
            checked = None if where is None else self._filter(store, ref, where)
            return _backend(store).count(self._gate.scope, ref, checked)

        return self._gate.read(Action.VECTOR_COUNT, StoreRole.VECTORS, run, ids=(index,))

    def scan(
        self,
        index: str,
        *,
        version: int | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        include_vectors: bool = False,
    ) -> VectorsPage:
        """Return rows in id order, a page at a time; for export and rebuild."""
        check_limit(limit)
        tokens = self._gate.runtime.tokens

        def run(store: OpenStore) -> VectorsPage:
            ref = self._ref(store, index, version)
            binding = [ref.definition.fingerprint, ref.incarnation]
            now = self._gate.now()
            after = (
                None if cursor is None else tokens.open("vectors.scan", binding, cursor, now=now)
            )
            page = _backend(store).scan(self._gate.scope, ref, after=after, limit=limit)
            stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))
            if any(row.stamp != stamp(row.id) for row in page.rows):
                raise foreign()
            return VectorsPage(
                items=tuple(
                    _row(row.id, row.fields, row.vector if include_vectors else None)
                    for row in page.rows
                ),
                cursor=None
                if page.next_after is None
                else tokens.seal("vectors.scan", binding, page.next_after, now=now),
            )

        return self._gate.read(
            Action.VECTOR_GET,
            StoreRole.VECTORS,
            run,
            found=lambda page: [row.id for row in page.items],
        )

    # -- for the flows beside this handle: already admitted and audited ------------------------

    def resolve(
        self, index: str, version: int | None, *, bootstrap: bool = False
    ) -> tuple[IndexRef, VectorCapabilities]:
        """Find an index; with ``bootstrap``, apply the operator's definition of it at first use.

        The application of a bootstrap definition is audited, and it is locked from then on.
        """
        store = self._gate.runtime.store(StoreRole.VECTORS)
        capabilities = cast("VectorCapabilities", store.spec.capabilities)
        declared = self._declared(index, version) if bootstrap else None
        try:
            ref = self._gate.call(
                StoreRole.VECTORS,
                lambda s: self._ref(s, index, version if declared is None else declared.version),
            )
        except NotFoundError:
            if declared is None:
                raise
        else:
            if declared is not None and declared.fingerprint != ref.definition.fingerprint:
                raise IndexLockedError(
                    expected=declared.fingerprint, actual=ref.definition.fingerprint
                )
            return ref, capabilities
        return self.define(declared), capabilities

    def define(self, definition: IndexDefinition) -> IndexRef:
        """Make an index in this scope: audited, durable, idempotent for the same definition."""
        name = f"{definition.name}@{definition.version}"

        def run(store: OpenStore) -> IndexRef:
            capabilities = cast("VectorCapabilities", store.spec.capabilities)
            if definition.metric not in capabilities.metrics:
                raise UnsupportedError(f"metric:{definition.metric}")
            if definition.dimension > capabilities.max_dimension:
                raise UnsupportedError(f"dimension:{definition.dimension}")
            return _backend(store).create_index(self._gate.scope, definition)

        with self._gate.mutation(
            Action.DEFINITION_APPLY, StoreRole.VECTORS, (name,), admitted=True
        ):
            return self._gate.call(StoreRole.VECTORS, run)

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
            StoreRole.VECTORS, lambda s: _backend(s).upsert(self._gate.scope, ref, batch)
        )

    def discard(self, ref: IndexRef, ids: Sequence[str]) -> None:
        """Delete rows by id under an already audited mutation."""
        self._gate.call(StoreRole.VECTORS, lambda s: _backend(s).delete(self._gate.scope, ref, ids))

    def search(
        self,
        store: OpenStore,
        ref: IndexRef,
        queries: Vectors,
        k: int,
        where: Filter | None,
        *,
        include: bool,
        include_vectors: bool = False,
    ) -> list[list[Hit]]:
        """Query and check what came back, inside an already admitted call."""
        capabilities = cast("VectorCapabilities", store.spec.capabilities)
        if type(k) is not int or not 1 <= k <= capabilities.max_k:
            raise InvalidArgumentError(f"k is not 1 to {capabilities.max_k}")
        queries.check(ref.definition)
        checked = None if where is None else self._filter(store, ref, where)
        answers = _backend(store).query(
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
        stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))
        return [[self._hit(hit, stamp(hit.id)) for hit in hits] for hits in answers]

    # -- shapes ------------------------------------------------------------------------------

    @staticmethod
    def _hit(hit: StoredHit, stamp: bytes) -> Hit:
        if hit.stamp != stamp:
            raise foreign()
        row = None
        if hit.fields is not None:
            row = _row(hit.id, hit.fields, hit.vector)
        return Hit(id=hit.id, distance=hit.distance, row=row)

    def _rows(
        self, store: OpenStore, ref: IndexRef, ids: Sequence[str], *, vectors: bool
    ) -> list[VectorRow | None]:
        found = list(_backend(store).get(self._gate.scope, ref, ids))
        stamp = self._gate.runtime.guard.stamper(stamp_kind(ref))
        if len(found) != len(ids) or any(
            row is not None and (row.id != wanted or row.stamp != stamp(wanted))
            for row, wanted in zip(found, ids, strict=False)
        ):
            raise foreign()
        return [
            None if row is None else _row(row.id, row.fields, row.vector if vectors else None)
            for row in found
        ]

    def _refs(self, store: OpenStore) -> list[IndexRef]:
        return list(_backend(store).list_indexes(self._gate.scope))

    def _ref(self, store: OpenStore, index: str, version: int | None) -> IndexRef:
        check_name(index, "the index name")
        if version is not None:
            if type(version) is not int or version < 1:
                raise InvalidArgumentError("the index version is not a positive integer")
            return _backend(store).get_index(self._gate.scope, index, version)
        own = [ref for ref in self._refs(store) if ref.definition.name == index]
        if not own:
            raise NotFoundError(
                "no such index in this scope",
                hint="define it: `nexus index define`, or [[indexes]] and a first write",
            )
        return max(own, key=lambda ref: ref.definition.version)

    def _declared(self, index: str, version: int | None) -> IndexDefinition | None:
        matching = [
            definition
            for definition in self._gate.deployment.config.indexes
            if definition.name == index and version in (None, definition.version)
        ]
        return max(matching, key=lambda d: d.version) if matching else None

    def pack(self, vectors: Iterable[VectorLike], definition: IndexDefinition) -> Vectors:
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

    def _fields(
        self, item: VectorItem, own: Mapping[str, FieldValue], definition: IndexDefinition
    ) -> Mapping[str, FieldValue]:
        out: dict[str, FieldValue] = dict(own)
        if item.asset is not None:
            out["asset"] = check_id(item.asset, "the asset id")
        for name, value in item.fields.items():
            kind = definition.fields.get(name)
            if kind is None:
                raise InvalidArgumentError(
                    "a row has a field that the index does not declare",
                    hint=f"declared: {', '.join(sorted(definition.fields)) or 'none'}",
                )
            check_field_value(value, kind, name)
            out[name] = value
        return out

    def _filter(self, store: OpenStore, ref: IndexRef, where: Filter) -> Filter:
        capabilities = cast("VectorCapabilities", store.spec.capabilities)
        return check_filter(where, ref.schema, capabilities.filter_ops)

    def _require_atoms_agree(self, ids: Sequence[str], governance: Governance) -> None:
        if not self._gate.runtime.has(StoreRole.ATOMS):
            return
        for record in Ledger(self._gate).get("atoms", ids):
            if record is not None:
                governance.require_parent(Governance.from_data(body_of(record)["governance"]))


def stamp_kind(ref: IndexRef) -> str:
    """Kind of record that a row's stamp is over: the index by name and version."""
    definition = ref.definition
    return frame("vector", definition.name, str(definition.version)).hex()


def _backend(store: OpenStore) -> VectorBackend:
    return cast("VectorBackend", store.backend)


def _item(value: object) -> VectorItem:
    if type(value) is VectorItem:
        return value
    raise InvalidArgumentError("the batch holds something that is not a VectorItem")


def _row(row_id: str, fields: Mapping[str, FieldValue], vector: bytes | None) -> VectorRow:
    asset: Any = fields.get("asset")
    return VectorRow(
        id=row_id,
        asset=asset,
        fields={name: value for name, value in fields.items() if name not in SYSTEM_FIELDS},
        governance=Governance.from_vector_fields(fields),
        vector=vector,
    )
