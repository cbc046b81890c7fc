"""``n.vectors``: rows of locked indexes, written and asked in float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Final, final

import attrs

from nexus_core._handles.checks import MAX_PAGE, check_limit, check_many
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.fence import Fences
from nexus_core._handles.gate import Gate, Mutation
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of, by_owner
from nexus_core._handles.protection import Protection
from nexus_core._handles.rows import Hit, Rows, VectorLike, VectorRow, fence_of, vector_backend
from nexus_core._model.errors import (
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    RetentionError,
    UnsupportedError,
)
from nexus_core._model.filters import And, Eq, FieldValue, Filter, Gt, Or, check_field_value
from nexus_core._model.ids import check_id, check_name
from nexus_core._model.vectors import IndexDefinition, IndexRef, IndexState, IndexStatistics
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

MAX_QUERIES: Final = 1024
MAX_HITS: Final = 100_000


@attrs.frozen(kw_only=True)
class VectorItem:
    """One vector to be written: numbers, or a little-endian float32 buffer of the dimension.

    ``fields`` are the index's own; ``asset`` points at what it was made from.
    """

    id: str
    vector: VectorLike = attrs.field(repr=False)
    asset: str | None = None
    fields: Mapping[str, FieldValue] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class VectorsPage:
    """One page of rows in id order; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[VectorRow, ...]
    cursor: str | None


@final
class VectorsHandle:
    """The vectors of one scope. An index is named by ``name`` and ``version`` (the latest if not
    said)."""

    __slots__ = ("_fences", "_gate", "_ledger", "_rows")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._fences = Fences(gate)
        self._rows = Rows(gate)

    # -- indexes -----------------------------------------------------------------------------

    def indexes(self) -> list[IndexDefinition]:
        """Return the definitions of this scope's indexes by (name, version)."""
        self._gate.admit(Action.INDEX_READ)
        found = [ref.definition for ref in self._rows.refs()]
        self._gate.accessed(
            Action.INDEX_READ, StoreRole.VECTORS, [f"{d.name}@{d.version}" for d in found]
        )
        return found

    def statistics(self, index: str, *, version: int | None = None) -> IndexStatistics:
        """Return rows and bytes of one index in this scope, and of nothing else."""
        check_name(index, "the index name")
        self._gate.admit(Action.INDEX_READ, (index,))
        ref = self._rows.resolve(index, version)
        found = self._gate.call(
            StoreRole.VECTORS, lambda s: vector_backend(s).statistics(self._gate.scope, ref)
        )
        self._gate.accessed(Action.INDEX_READ, StoreRole.VECTORS, (index,))
        return found

    def activate(self, index: str, *, version: int | None = None) -> bool:
        """Let an index answer again, with the rows that it had; returns whether that was needed.

        Idempotent and durable; nothing else ever activates one. Raises ``UnsupportedError`` where
        the store has no states.
        """
        return self._set_state(index, version, IndexState.ACTIVE)

    def deactivate(self, index: str, *, version: int | None = None) -> bool:
        """Switch an index off; returns whether that changed it. Idempotent and durable.

        Its rows stay as they are. Until ``activate`` every read, write and erasure of them raises
        ``TenantInactiveError``. Raises ``UnsupportedError`` where the store has no states.
        """
        return self._set_state(index, version, IndexState.INACTIVE)

    def offload(self, index: str, *, version: int | None = None) -> bool:
        """``deactivate``, and move the index to the engine's colder storage.

        Raises ``UnsupportedError`` where the store does not declare that it can.
        """
        return self._set_state(index, version, IndexState.OFFLOADED)

    def _set_state(self, index: str, version: int | None, state: IndexState) -> bool:
        check_name(index, "the index name")
        with self._gate.mutation(Action.INDEX_STATE, StoreRole.VECTORS, (index,)) as mutation:
            if state not in self._rows.capabilities().states:
                raise UnsupportedError(f"states:{state}")
            ref = self._rows.resolve(index, version)
            changed = self._gate.call(
                StoreRole.VECTORS,
                lambda s: vector_backend(s).set_state(self._gate.scope, ref, state),
            )
            mutation.unchanged = not changed
        return changed

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
        a row whose atom or asset is here with another kind, space or subject, and one in place of
        a row that is protected (``RetentionError``); nothing is written then. A row is at least as
        protected as its atom and asset. Returns how many rows the batch had.
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
        ids = tuple(check_id(_item(item).id, "a vector id") for item in items)
        for item in items:
            if item.asset is not None:
                check_id(item.asset, "the asset id")
        if not ids:
            raise InvalidArgumentError("the batch is empty")
        self._gate.admit(Action.VECTOR_UPSERT, ids)
        maximum = self._rows.capabilities().max_batch
        if len(ids) > maximum:
            raise InvalidArgumentError(f"a batch holds at most {maximum} rows")
        ref = self._rows.resolve_or_apply(index, version)
        vectors = self._rows.pack((item.vector for item in items), ref.definition)
        owns = self._inherited(items, governance)
        fields = tuple(
            self._fields(item, own.vector_fields(), ref.definition)
            for item, own in zip(items, owns, strict=True)
        )
        with self._ledger.telling(
            Action.VECTOR_UPSERT,
            StoreRole.VECTORS,
            ids,
            kind=governance.kind,
            space=governance.space,
            admitted=True,
        ) as mutation:
            protects = any(own.protects for own in owns)
            self._fence(mutation, ref, alone=protects)
            self._ensure_free(ref, list(dict.fromkeys(ids)))
            self._rows.write(ref, ids, vectors, fields)
            sources = sorted({item.asset for item in items if item.asset is not None})
            told = reduce(Governance.tightened, owns)
            self._ledger.told(mutation, Action.VECTOR_UPSERT, [(told, sources, ids)])
        return len(ids)

    def delete(self, index: str, ids: Sequence[str], *, version: int | None = None) -> int:
        """Delete rows by id, durably; returns how many existed. Raises ``RetentionError`` if any
        is protected; nothing is deleted then."""
        check_name(index, "the index name")
        check_many(ids, "ids")
        wanted = [check_id(i, "a vector id") for i in ids]
        if not wanted:
            raise InvalidArgumentError("no ids were given")
        with self._ledger.telling(Action.VECTOR_DELETE, StoreRole.VECTORS, wanted) as mutation:
            ref = self._rows.resolve(index, version)
            self._fence(mutation, ref, alone=False)
            gone = by_owner(self._ensure_free(ref, wanted))
            deleted = self._rows.discard(ref, wanted)
            mutation.unchanged = not deleted
            self._ledger.told(mutation, Action.VECTOR_DELETE, [(own, ids, ()) for own, ids in gone])
        return deleted

    def delete_where(self, index: str, where: Filter, *, version: int | None = None) -> int:
        """Delete the rows that match; a filter is required. Returns how many.

        Raises ``RetentionError`` if any of them is protected; nothing is deleted then.
        """
        check_name(index, "the index name")
        with self._ledger.telling(Action.VECTOR_DELETE, StoreRole.VECTORS, (index,)) as mutation:
            ref = self._rows.resolve(index, version)
            self._fence(mutation, ref, alone=False)
            checked = self._rows.filter(ref, where)
            held = Or((Eq("legal_hold", value=True), Gt("retain_until", self._gate.now())))
            protected = self._rows.filter(ref, And((where, held)))

            def run(store: OpenStore) -> int:
                backend = vector_backend(store)
                if backend.count(self._gate.scope, ref, protected):
                    raise RetentionError("a hold or retention period protects some of the rows")
                return backend.delete_where(self._gate.scope, ref, checked)

            deleted = self._gate.call(StoreRole.VECTORS, run)
            mutation.unchanged = not deleted
            self._ledger.told(mutation, Action.VECTOR_DELETE, [(None, (index,), ())])
        return deleted

    def set_legal_hold(
        self,
        index: str,
        ids: Sequence[str],
        *,
        hold: bool,
        version: int | None = None,
    ) -> int:
        """Place a legal hold on rows, or lift it: idempotent, durable; returns how many it changed.
        Owners and admins only; why is the request's purpose. Capability ``round_trip`` bitexact.

        Rows are copies that can be computed again from their atoms: a hold of an atom or asset does
        not reach those that are written already. Raises ``NotFoundError`` where one of the ids is
        not here; nothing is changed then.
        """
        return self._protected(index, ids, Protection.of_hold(hold), version)

    def set_retention(
        self, index: str, ids: Sequence[str], until: int, *, version: int | None = None
    ) -> int:
        """Retain rows until then (µs since the epoch), as ``set_legal_hold`` does: a period can be
        extended, and nothing shortens it (``RetentionError``)."""
        change = Protection.of_period(until, self._gate.now())
        return self._protected(index, ids, change, version)

    def _protected(
        self, index: str, ids: Sequence[str], change: Protection, version: int | None
    ) -> int:
        check_name(index, "the index name")
        check_many(ids, "ids")
        wanted = list(dict.fromkeys(check_id(i, "a vector id") for i in ids))
        if not wanted:
            raise InvalidArgumentError("no ids were given")
        with self._ledger.telling(change.action, StoreRole.VECTORS, wanted) as mutation:
            capabilities = self._rows.capabilities()
            if len(wanted) > capabilities.max_batch:
                raise InvalidArgumentError(f"a batch holds at most {capabilities.max_batch} rows")
            if capabilities.round_trip != "bitexact":
                # What is read would be written as another vector.
                raise UnsupportedError("round_trip:bitexact")
            ref = self._rows.resolve(index, version)
            self._fence(mutation, ref, alone=True)
            found = self._rows.fetch(ref, wanted, vectors=True)
            rows = [row for row in found if row is not None]
            if len(rows) != len(wanted):
                raise NotFoundError("one of the rows is not here")
            pairs = [(row, change.upon(row.governance)) for row in rows]
            pairs = [(row, own) for row, own in pairs if own != row.governance]
            mutation.unchanged = not pairs
            mutation.ids = [row.id for row, _ in pairs]
            if pairs:
                self._rows.write(
                    ref,
                    tuple(mutation.ids),
                    self._rows.pack((_vector(row) for row, _ in pairs), ref.definition),
                    tuple({**row.stored, **own.vector_fields()} for row, own in pairs),
                )
            told = by_owner((row.id, own) for row, own in pairs)
            self._ledger.told(mutation, change.action, [(own, ids, ids) for own, ids in told])
        return len(pairs)

    # -- reading -----------------------------------------------------------------------------

    def get(
        self,
        index: str,
        ids: str | Sequence[str],
        *,
        version: int | None = None,
        include_vectors: bool = False,
    ) -> list[VectorRow | None]:
        """Return rows aligned with ``ids``, at most 10 000; ``None`` where this scope has none."""
        check_name(index, "the index name")
        check_many([ids] if isinstance(ids, str) else ids, "ids")
        wanted = [check_id(i, "a vector id") for i in ([ids] if isinstance(ids, str) else ids)]
        self._gate.admit(Action.VECTOR_GET, wanted)
        ref = self._rows.resolve(index, version)
        found = self._rows.fetch(ref, wanted, vectors=include_vectors)
        self._gate.accessed(Action.VECTOR_GET, StoreRole.VECTORS, wanted)
        return found

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
        if type(k) is int and len(vectors) * k > MAX_HITS:
            raise InvalidArgumentError(
                f"the call could give more than {MAX_HITS} hits", hint="ask for fewer, or in parts"
            )
        check_name(index, "the index name")
        self._gate.admit(Action.VECTOR_QUERY, (index,))
        ref = self._rows.resolve(index, version)
        answers = self._rows.search(
            ref,
            self._rows.pack(vectors, ref.definition),
            k=k,
            where=where,
            include=include,
            include_vectors=include_vectors,
        )
        found = [hit for hits in answers for hit in hits]
        ids = [hit.id for hit in found]
        known = [hit.row.governance for hit in found if hit.row is not None]
        self._ledger.asked(Action.VECTOR_QUERY, known, ids)
        self._gate.accessed(Action.VECTOR_QUERY, StoreRole.VECTORS, ids)
        return answers

    def count(self, index: str, where: Filter | None = None, *, version: int | None = None) -> int:
        """Count the rows that match, exactly."""
        check_name(index, "the index name")
        self._gate.admit(Action.VECTOR_COUNT, (index,))
        ref = self._rows.resolve(index, version)
        checked = None if where is None else self._rows.filter(ref, where)
        number = self._gate.call(
            StoreRole.VECTORS, lambda s: vector_backend(s).count(self._gate.scope, ref, checked)
        )
        self._gate.accessed(Action.VECTOR_COUNT, StoreRole.VECTORS, (index,))
        return number

    def scan(
        self,
        index: str,
        *,
        version: int | None = None,
        cursor: str | None = None,
        limit: int = MAX_PAGE,
        include_vectors: bool = False,
    ) -> VectorsPage:
        """Return rows in id order, a page at a time; for export and rebuild."""
        check_limit(limit)
        check_name(index, "the index name")
        self._gate.admit(Action.VECTOR_GET, (index,))
        ref = self._rows.resolve(index, version)
        binding = [ref.definition.fingerprint, ref.incarnation]
        tokens = self._gate.runtime.tokens
        now = self._gate.now()
        after = None if cursor is None else tokens.open("vectors.scan", binding, cursor, now=now)
        rows, following = self._rows.scan(ref, after, limit, vectors=include_vectors)
        self._gate.accessed(Action.VECTOR_GET, StoreRole.VECTORS, [row.id for row in rows])
        return VectorsPage(
            items=rows,
            cursor=None
            if following is None
            else tokens.seal("vectors.scan", binding, following, now=now),
        )

    # -- shapes ------------------------------------------------------------------------------

    def _fields(
        self, item: VectorItem, own: Mapping[str, FieldValue], definition: IndexDefinition
    ) -> Mapping[str, FieldValue]:
        out: dict[str, FieldValue] = dict(own)
        if item.asset is not None:
            out["asset"] = item.asset
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

    def _fence(self, mutation: Mutation, ref: IndexRef, *, alone: bool) -> None:
        """Keep the rows' protection as it is looked at now until the mutation ends."""
        (self._fences.close if alone else self._fences.share)(mutation, fence_of(ref))

    def _ensure_free(self, ref: IndexRef, ids: Sequence[str]) -> list[tuple[str, Governance]]:
        """What the rows that are here say of themselves, once none of them is protected."""
        now = self._gate.now()
        found = [row for row in self._rows.fetch(ref, ids) if row is not None]
        for row in found:
            row.governance.ensure_deletable(now)
        return [(row.id, row.governance) for row in found]

    def _inherited(self, items: Sequence[VectorItem], own: Governance) -> list[Governance]:
        """What each row says of itself: no less strict than its atom and asset that are here."""
        if not self._gate.runtime.has(StoreRole.ATOMS):
            return [own] * len(items)
        atoms = self._ledger.get("atoms", [item.id for item in items])
        named = list(dict.fromkeys(item.asset for item in items if item.asset is not None))
        assets = dict(zip(named, self._ledger.get("assets", named), strict=True))
        out: list[Governance] = []
        for item, atom in zip(items, atoms, strict=True):
            made = own
            for parent in (atom, None if item.asset is None else assets[item.asset]):
                if parent is not None:
                    governance = Governance.from_data(body_of(parent)["governance"])
                    own.require_parent(governance)
                    made = made.tightened(governance)
            out.append(made)
        return out


def _vector(row: VectorRow) -> bytes:
    if row.vector is None:
        raise IntegrityError("the store gave a row without its vector")
    return row.vector


def _item(value: object) -> VectorItem:
    if type(value) is VectorItem:
        return value
    raise InvalidArgumentError("the batch holds something that is not a VectorItem")
