"""``n.ingest``: raw artifact → asset → atoms → vectors, whole or not at all, over a kill.

The intent is durable before the first byte; every step is idempotent because every id is derived
from what it names; the last commit closes the intent. ``resume`` runs the same steps again from the
stored bytes, or undoes them where the bytes never arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import attrs

from nexus_core._flows.sources import Source, Spooled, expand, spool
from nexus_core._handles.catalogue import Asset, Catalogue
from nexus_core._handles.derivation import Derivation, MadeBy, NewAtom, check_operation
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.objects import Objects
from nexus_core._handles.rows import Rows
from nexus_core._model.errors import (
    AlreadyExistsError,
    BackendError,
    IntegrityError,
    InvalidArgumentError,
    NexusError,
    NotFoundError,
    PreconditionFailedError,
    StoreError,
    UnsupportedError,
)
from nexus_core._model.filters import And, Eq
from nexus_core._model.ids import derived_id
from nexus_core._model.keys import RESERVED_ROOT
from nexus_core._model.objects import Body, ObjectAttributes
from nexus_core._model.records import Insert, Operation, Record, Remove, Replace
from nexus_core._model.vectors import IndexRef, Vectors
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import AtomizerSpec, Embedder, Piece

BATCH: Final = 256


@attrs.frozen(kw_only=True)
class Ingested:
    """What became of one source.

    ``state`` is ``created``, ``unchanged`` (ingested before: nothing was written), ``completed``
    (an interrupted ingest was finished) or ``failed`` (``error`` has the code; nothing is left).
    """

    logical_key: str
    asset: str | None
    state: str
    atoms: int = 0
    vectors: int = 0
    error: str | None = None
    message: str | None = None


@attrs.frozen(kw_only=True)
class IngestReport:
    """What became of every source, in order."""

    items: tuple[Ingested, ...]

    def count(self, state: str) -> int:
        """How many sources ended in ``state``."""
        return sum(item.state == state for item in self.items)


@attrs.frozen(kw_only=True)
class Plan:
    """Everything that decides an ingest's result; its id is derived from all of it."""

    asset: Asset
    atomizer: AtomizerSpec
    made_by: MadeBy
    index: str
    index_version: int
    embedder: str


@final
class IngestFlow:
    """Ingests into one scope, for one request."""

    __slots__ = ("_catalogue", "_derivation", "_gate", "_ledger", "_objects", "_rows")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._objects = Objects(gate)
        self._catalogue = Catalogue(gate)
        self._derivation = Derivation(gate, self._objects)
        self._rows = Rows(gate)

    def run(
        self,
        what: Source | str | Path | Iterable[Source | str | Path],
        *,
        kind: str,
        space: str,
        index: str | None = None,
        index_version: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
        retain_until: int | None = None,
        legal_hold: bool = False,
        progress: Callable[[Ingested], None] | None = None,
    ) -> IngestReport:
        """Ingest every source; see ``Request.ingest``."""
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
        self._gate.admit(Action.INGEST)
        for role in (StoreRole.RAW, StoreRole.ATOMS, StoreRole.VECTORS):
            self._gate.runtime.store(role)
        ref = self._rows.resolve_or_apply(*chosen_index(self._gate, index, index_version))
        self._embedder(ref.definition.embedder)
        done: list[Ingested] = []
        for source in expand(what):
            item = self._one(source, governance, ref, {} if parameters is None else parameters)
            done.append(item)
            if progress is not None:
                progress(item)
        return IngestReport(items=tuple(done))

    def _one(
        self,
        source: Source,
        governance: Governance,
        ref: IndexRef,
        parameters: Mapping[str, Any],
    ) -> Ingested:
        try:
            atomizer = self._atomizer(source.content_type)
            limit = self._gate.deployment.config.limits.max_object_bytes
            with spool(source.body, max_bytes=limit) as spooled:
                plan = self._plan(
                    source,
                    spooled,
                    governance=governance,
                    ref=ref,
                    atomizer=atomizer,
                    parameters=parameters,
                )
                return self._execute(plan, ref, spooled)
        except StoreError as error:
            # A source that cannot be read or cut is that source's failure; a store that is down
            # is everybody's.
            if error.retryable or isinstance(error, BackendError):
                raise
            return Ingested(
                logical_key=source.logical_key,
                asset=None,
                state="failed",
                error=error.code,
                message=str(error),
            )

    def _plan(
        self,
        source: Source,
        spooled: Spooled,
        *,
        governance: Governance,
        ref: IndexRef,
        atomizer: AtomizerSpec,
        parameters: Mapping[str, Any],
    ) -> Plan:
        asset = self._catalogue.build(
            logical_key=source.logical_key,
            object_key="",
            sha256=spooled.sha256,
            size=spooled.size,
            content_type=source.content_type,
            governance=governance,
        )
        merged = {**atomizer.parameters, **parameters}
        return Plan(
            asset=attrs.evolve(asset, object_key=f"{RESERVED_ROOT}/assets/{asset.id}"),
            atomizer=atomizer,
            made_by=check_operation(atomizer.name, atomizer.version, merged),
            index=ref.definition.name,
            index_version=ref.definition.version,
            embedder=ref.definition.embedder,
        )

    # -- the steps ---------------------------------------------------------------------------

    def _execute(self, plan: Plan, ref: IndexRef, spooled: Spooled) -> Ingested:
        intent_id = self._intent_id(plan)
        found = self._ledger.get("intents", [intent_id])[0]
        if found is not None and found.fields["state"] == "done":
            self._gate.accessed(Action.INGEST, StoreRole.ATOMS, (plan.asset.id,))
            return self._result(plan, "unchanged", body_of(found))
        governance = plan.asset.governance
        with self._gate.mutation(
            Action.INGEST,
            StoreRole.ATOMS,
            (plan.asset.id,),
            kind=governance.kind,
            space=governance.space,
        ):
            intent = self._open_intent(intent_id, plan, found)
            try:
                self._store_bytes(plan, spooled)
                counts = self._derive(plan, ref, spooled.path)
            except InvalidArgumentError:
                self._undo(plan, intent)
                raise
            closed = self._close_intent(intent, plan, counts)
        state = "created" if found is None or found.fields["state"] != "open" else "completed"
        return self._result(plan, state, body_of(closed))

    def _store_bytes(self, plan: Plan, spooled: Spooled) -> None:
        spooled.file.seek(0)
        attributes = ObjectAttributes(content_type=plan.asset.content_type, metadata={}, system={})
        body = Body(spooled.file, sha256=plan.asset.sha256, size=plan.asset.size)
        try:
            self._objects.store(plan.asset.object_key, body, attributes, plan.asset.governance)
        except AlreadyExistsError:
            # The key is derived from the SHA-256, so these are our bytes, from a run before.
            self._require_stored(plan)

    def _require_stored(self, plan: Plan) -> None:
        with self._objects.opened(plan.asset.object_key) as (stream, _):
            if stream.object.sha256 != plan.asset.sha256:
                raise IntegrityError("the stored asset has other bytes than its id says")

    def _derive(self, plan: Plan, ref: IndexRef, path: Path) -> tuple[int, int]:
        embedder = self._embedder(plan.embedder)
        worker = plan.atomizer.factory()
        atoms = vectors = 0
        first: list[Operation] = [
            self._catalogue.insertion(plan.asset),
            self._ledger.event(
                Action.ASSET_PUT,
                plan.asset.governance,
                source_ids=[],
                result_ids=[plan.asset.id],
            ),
        ]
        if self._ledger.get("assets", [plan.asset.id])[0] is not None:
            first = []
        pieces = enumerate(guarded(worker.atomize(path, plan.made_by.parameters)))
        while batch := list(islice(pieces, BATCH)):
            ids = self._write_atoms(plan, batch, first)
            first = []
            vectors += self._write_vectors(plan, ref, embedder, ids, batch)
            atoms += len(batch)
        if first:
            self._ledger.commit(first)
        return atoms, vectors

    def _write_atoms(
        self, plan: Plan, batch: Sequence[tuple[int, Piece]], first: Sequence[Operation]
    ) -> list[str]:
        ids = [
            self._derivation.derive(plan.asset.id, plan.made_by, position) for position, _ in batch
        ]
        present = self._ledger.get("atoms", ids)
        fresh = [
            (key, NewAtom(position=position, text=piece.text, locator=piece.locator))
            for key, (position, piece), record in zip(ids, batch, present, strict=True)
            if record is None
        ]
        operations = list(first)
        if fresh:
            operations += self._derivation.insertions(
                fresh,
                asset=plan.asset.id,
                parent=plan.asset.id,
                made_by=plan.made_by,
                governance=plan.asset.governance,
                action=Action.ATOM_PUT,
            )
        if operations:
            self._ledger.commit(operations)
        return ids

    def _write_vectors(
        self,
        plan: Plan,
        ref: IndexRef,
        embedder: Embedder,
        ids: Sequence[str],
        batch: Sequence[tuple[int, Piece]],
    ) -> int:
        made = embed(embedder, [piece.text for _, piece in batch])
        rows = [
            (key, made.data[start : start + 4 * made.dimension])
            for key, start in zip(ids, range(0, len(made.data), 4 * made.dimension), strict=True)
        ]
        # A text with nothing to embed has no vector: no index holds a zero under cosine.
        rows = [(key, row) for key, row in rows if any(row)]
        if not rows:
            return 0
        fields = {**plan.asset.governance.vector_fields(), "asset": plan.asset.id}
        packed = Vectors.from_buffer(b"".join(row for _, row in rows), made.dimension)
        self._rows.write(ref, tuple(key for key, _ in rows), packed, tuple(fields for _ in rows))
        return len(rows)

    # -- the intent --------------------------------------------------------------------------

    def _intent_id(self, plan: Plan) -> str:
        made_by = plan.made_by
        return derived_id(
            "ing",
            self._gate.scope,
            plan.asset.id,
            made_by.operation,
            made_by.version,
            made_by.canonical,
            plan.index,
            str(plan.index_version),
            plan.embedder,
        )

    def _open_intent(self, intent_id: str, plan: Plan, found: Record | None) -> Record:
        if found is not None and found.fields["state"] == "open":
            return found
        intent = self._intent_record(
            intent_id, plan, "open", version=1 if found is None else found.version + 1
        )
        operation = Insert(intent, if_exists="keep") if found is None else Replace(intent)
        self._ledger.commit([operation])
        # Somebody else may have opened it in the same moment; theirs serves as well.
        current = self._ledger.get("intents", [intent_id])[0]
        if current is None:
            raise PreconditionFailedError("the intent was removed while it was being opened")
        return current

    def _close_intent(self, intent: Record, plan: Plan, counts: tuple[int, int]) -> Record:
        closed = self._intent_record(
            intent.id, plan, "done", version=intent.version + 1, counts=counts
        )
        event = self._ledger.event(
            Action.INGEST,
            plan.asset.governance,
            source_ids=[plan.asset.id],
            result_ids=[intent.id],
        )
        try:
            self._ledger.commit([Replace(closed), event])
        except PreconditionFailedError:
            current = self._ledger.get("intents", [intent.id])[0]
            if current is None or current.fields["state"] != "done":
                raise
            return current
        return closed

    def _intent_record(
        self,
        intent_id: str,
        plan: Plan,
        state: str,
        *,
        version: int,
        counts: tuple[int, int] = (0, 0),
    ) -> Record:
        asset = plan.asset
        fields: dict[str, str | int | float | bool] = {
            "type": "ingest",
            "state": state,
            "target": asset.id,
            "created_at": asset.created_at,
            "updated_at": self._gate.now(),
        }
        if asset.governance.subject is not None:
            fields["subject"] = asset.governance.subject
        body = {
            "asset": attrs.asdict(asset, recurse=False, filter=_not_governance),
            "governance": asset.governance.to_data(),
            "operation": plan.made_by.operation,
            "operation_version": plan.made_by.version,
            "parameters": plan.made_by.parameters,
            "index": plan.index,
            "index_version": plan.index_version,
            "embedder": plan.embedder,
            "atoms": counts[0],
            "vectors": counts[1],
        }
        return self._ledger.record("intents", intent_id, fields, body, version=version)

    def _result(self, plan: Plan, state: str, body: Mapping[str, Any]) -> Ingested:
        return Ingested(
            logical_key=plan.asset.logical_key,
            asset=plan.asset.id,
            state=state,
            atoms=body["atoms"],
            vectors=body["vectors"],
        )

    # -- after a kill ------------------------------------------------------------------------

    def pending(self, *, before: int) -> Iterator[Record]:
        """Intents of ingests that were opened before ``before`` (µs) and never closed."""
        where = And((Eq("type", "ingest"), Eq("state", "open")))
        for page in self._ledger.pages("intents", where):
            yield from (record for record in page if int(record.fields["updated_at"]) < before)

    def resume(self, intent: Record) -> Ingested:
        """Complete an interrupted ingest from the stored bytes, or undo it where they are absent.

        The caller has admitted and audits it.
        """
        body = body_of(intent)
        plan = self._plan_of(body)
        ref = self._rows.resolve(plan.index, plan.index_version)
        limit = self._gate.deployment.config.limits.max_object_bytes
        try:
            with (
                self._objects.opened(plan.asset.object_key) as (stream, _),
                spool(stream.chunks, max_bytes=limit) as spooled,
            ):
                counts = self._derive(plan, ref, spooled.path)
        except (NotFoundError, InvalidArgumentError) as error:
            self._undo(plan, intent)
            return Ingested(
                logical_key=plan.asset.logical_key, asset=None, state="undone", error=error.code
            )
        closed = self._close_intent(intent, plan, counts)
        return self._result(plan, "completed", body_of(closed))

    def _plan_of(self, body: Mapping[str, Any]) -> Plan:
        asset = Asset(**body["asset"], governance=Governance.from_data(body["governance"]))
        atomizer = self._atomizer(asset.content_type)
        if (atomizer.name, atomizer.version) != (body["operation"], body["operation_version"]):
            raise UnsupportedError(
                f"atomizer:{body['operation']}@{body['operation_version']}",
                hint="configure the atomizer that began this ingest, recover, then change it",
            )
        return Plan(
            asset=asset,
            atomizer=atomizer,
            made_by=check_operation(atomizer.name, atomizer.version, body["parameters"]),
            index=body["index"],
            index_version=body["index_version"],
            embedder=body["embedder"],
        )

    def _undo(self, plan: Plan, intent: Record) -> None:
        """Remove what this ingest has written; nothing of it was ever acknowledged."""
        made_by = plan.made_by
        mine = And(
            (
                Eq("asset", plan.asset.id),
                Eq("operation", made_by.operation),
                Eq("operation_version", made_by.version),
            )
        )
        ref = self._rows.resolve(plan.index, plan.index_version)
        for page in list(self._ledger.pages("atoms", mine)):
            ids = [record.id for record in page]
            if not ids:
                continue
            self._rows.discard(ref, ids)
            self._ledger.commit([step for r in page for step in self._derivation.removals(r)])
            self._derivation.discard_texts(page)
        shared = self._ledger.count(
            "intents", And((Eq("target", plan.asset.id), Eq("state", "done")))
        )
        closing: list[Operation] = [
            Replace(self._intent_record(intent.id, plan, "undone", version=intent.version + 1))
        ]
        if not shared:
            self._objects.discard([plan.asset.object_key])
            closing.append(Remove("assets", plan.asset.id))
        self._ledger.commit(closing)

    # -- tools -------------------------------------------------------------------------------

    def _atomizer(self, content_type: str) -> AtomizerSpec:
        spec = self._gate.deployment.atomizers.get(content_type.partition(";")[0].strip())
        if spec is None:
            raise UnsupportedError(
                f"media type {content_type.partition(';')[0]}",
                hint="configure an atomizer for it under [ingest.atomizers]",
            )
        return spec

    def _embedder(self, name: str) -> Embedder:
        embedder = self._gate.deployment.embedders.get(name)
        if embedder is None:
            raise UnsupportedError(
                f"embedder:{name}", hint="configure it under [embedders], or use another index"
            )
        return embedder


def chosen_index(gate: Gate, index: str | None, version: int | None) -> tuple[str, int | None]:
    """The index that a caller named, else the one the configuration says is for ingest."""
    if index is not None:
        return index, version
    chosen = gate.deployment.config.ingest_index
    if chosen is None:
        raise InvalidArgumentError(
            "no index was named, and the configuration names none for ingest",
            hint="pass index=…, or set `index` under [ingest]",
        )
    return chosen


def guarded(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Pieces of an atomizer; whatever else it raises becomes an error that shows no content."""
    while True:
        failure: NexusError
        try:
            piece = next(pieces, None)
        except NexusError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # a parser's own exception may quote the text
            failure = BackendError(f"the atomizer failed with {type(error).__name__}")
        else:
            if piece is None:
                return
            yield piece
            continue
        failure.__cause__ = failure.__context__ = None
        raise failure


def embed(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors for texts, one each; whatever an embedder raises shows no content."""
    failure: NexusError
    try:
        made = embedder.embed(texts)
    except NexusError as error:
        failure = error
    except Exception as error:  # noqa: BLE001  # a model's own exception may quote the text
        failure = BackendError(f"the embedder failed with {type(error).__name__}")
    else:
        if len(made) == len(texts) and made.dimension == embedder.dimension:
            return made
        failure = BackendError("the embedder returned another number or shape of vectors")
    failure.__cause__ = failure.__context__ = None
    raise failure


def _not_governance(attribute: attrs.Attribute[Any], _: Any) -> bool:
    return attribute.name != "governance"
