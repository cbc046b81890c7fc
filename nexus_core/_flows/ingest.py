"""``n.ingest``: raw artifact → asset → atoms → vectors, whole or not at all, over a kill.

The intent is durable before the first byte; every step is idempotent because every id is derived
from what it names; the last commit closes the intent. ``resume`` runs the same steps again from the
stored bytes, or undoes them where the bytes never arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import attrs

from nexus_core._flows.intents import Intents, Plan
from nexus_core._flows.sources import Source, Spooled, expand, spool
from nexus_core._flows.tools import atomizer_for, chosen_index, embed, embedder_for, guarded
from nexus_core._handles.catalogue import Catalogue
from nexus_core._handles.derivation import Derivation, NewAtom, check_operation
from nexus_core._handles.fence import Fences
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.objects import Objects
from nexus_core._handles.rows import Rows, fence_of
from nexus_core._model.errors import (
    AlreadyExistsError,
    BackendError,
    ClosedError,
    ContextMismatchError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    Outcome,
    PreconditionFailedError,
    StoreError,
)
from nexus_core._model.filters import And, Eq
from nexus_core._model.keys import RESERVED_ROOT
from nexus_core._model.objects import Body, ObjectAttributes
from nexus_core._model.records import Operation, Record, Remove
from nexus_core._model.vectors import IndexRef, Vectors
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import AtomizerSpec, Embedder, Piece

BATCH: Final = 256

# How often one ingest begins again after a recovery undid it under its hands.
_TAKEN_FOR_DEAD: Final = 3


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


@final
class IngestFlow:
    """Ingests into one scope, for one request."""

    __slots__ = (
        "_catalogue",
        "_derivation",
        "_fences",
        "_gate",
        "_intents",
        "_ledger",
        "_objects",
        "_rows",
    )

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._objects = Objects(gate)
        self._catalogue = Catalogue(gate)
        self._derivation = Derivation(gate, self._objects)
        self._rows = Rows(gate)
        self._intents = Intents(gate)
        self._fences = Fences(gate)

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
        embedder_for(self._gate, ref.definition.embedder)
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
            atomizer = atomizer_for(self._gate, source.content_type)
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
        except (StoreError, ContextMismatchError) as error:
            # A source that cannot be read or cut is that source's failure; a store that is down
            # is everybody's, and what stands has not failed.
            if isinstance(error, StoreError) and (
                error.retryable
                or error.outcome is Outcome.APPLIED
                or isinstance(error, BackendError | ClosedError)
            ):
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
        found = self._intents.find(plan)
        plan = self._agreed(plan, found)
        if found is not None and found.fields["state"] == "done":
            self._gate.accessed(Action.INGEST, StoreRole.ATOMS, (plan.asset.id,))
            return self._result(plan, "unchanged", found)
        governance = plan.asset.governance
        with self._gate.mutation(
            Action.INGEST,
            StoreRole.ATOMS,
            (plan.asset.id,),
            kind=governance.kind,
            space=governance.space,
        ) as mutation:
            intent = self._intents.open(plan, found)
            mutation.begun = True
            try:
                closed = self._run_steps(plan, intent, ref, spooled)
            except InvalidArgumentError:
                self._undo(plan, intent)
                mutation.begun = False
                raise
        state = "created" if found is None or found.fields["state"] != "open" else "completed"
        return self._result(plan, state, closed)

    def _agreed(self, plan: Plan, found: Record | None) -> Plan:
        """The plan as it fits what is here of its asset; refuses one that asks for more."""
        record = self._ledger.get("assets", [plan.asset.id])[0]
        if record is None and found is not None and found.fields["state"] == "open":
            record = found
        if record is None:
            return plan
        stored = Governance.from_data(body_of(record)["governance"])
        plan.asset.governance.ensure_kept_by(stored)
        return attrs.evolve(plan, asset=attrs.evolve(plan.asset, governance=stored))

    def _run_steps(self, plan: Plan, intent: Record, ref: IndexRef, spooled: Spooled) -> Record:
        """All steps, and again where a recovery took us for dead and undid them meanwhile."""
        for _ in range(_TAKEN_FOR_DEAD):
            self._store_bytes(plan, spooled)
            counts = self._derive(plan, ref, spooled.path)
            try:
                return self._intents.done(intent, plan, counts)
            except PreconditionFailedError:
                intent = self._intents.open(plan, self._intents.find(plan))
        raise PreconditionFailedError(
            "recovery keeps undoing this ingest while it runs",
            hint="raise [recovery] after_seconds above the time that one source takes",
        )

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
        embedder = embedder_for(self._gate, plan.embedder)
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
        protects = plan.asset.governance.protects
        with self._fences.around(fence_of(ref), alone=protects):
            self._rows.write(
                ref, tuple(key for key, _ in rows), packed, tuple(fields for _ in rows)
            )
        return len(rows)

    def _result(self, plan: Plan, state: str, intent: Record) -> Ingested:
        body = body_of(intent)
        return Ingested(
            logical_key=plan.asset.logical_key,
            asset=plan.asset.id,
            state=state,
            atoms=body["atoms"],
            vectors=body["vectors"],
        )

    # -- after a kill ------------------------------------------------------------------------

    def resume(self, intent: Record) -> Ingested:
        """Complete an interrupted ingest from the stored bytes, or undo it where it cannot be.

        The caller has admitted and audits it.
        """
        plan = self._intents.plan_of(intent)
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
        return self._result(plan, "completed", self._intents.done(intent, plan, counts))

    def _undo(self, plan: Plan, intent: Record) -> None:
        """Remove what this ingest alone has written; nothing of it was ever acknowledged.

        Atoms that an ingest into another index has as well stay, be it completed or under way, and
        so do the asset and its bytes where any other ingest has them. None begins meanwhile.
        """
        self._intents.begin_sweep(plan, intent)
        beside = self._intents.standing_beside(plan, intent)
        made_by = plan.made_by
        shared = any(
            (body["operation"], body["operation_version"]) == (made_by.operation, made_by.version)
            and body["parameters"] == made_by.parameters
            for body in beside
        )
        self._undo_atoms(plan, keep=shared)
        closing = self._intents.undone(intent, plan)
        if not beside:
            self._objects.erase([plan.asset.object_key])
            closing = [*closing, Remove("assets", plan.asset.id)]
        self._ledger.commit(closing)

    def _undo_atoms(self, plan: Plan, *, keep: bool) -> None:
        ref = self._rows.resolve(plan.index, plan.index_version)
        mine = And(
            (
                Eq("asset", plan.asset.id),
                Eq("operation", plan.made_by.operation),
                Eq("operation_version", plan.made_by.version),
            )
        )
        for page in list(self._ledger.pages("atoms", mine)):
            own = [r for r in page if body_of(r)["parameters"] == plan.made_by.parameters]
            if not own:
                continue
            self._rows.discard(ref, [record.id for record in own])
            if not keep:
                # Texts first: once the records are gone nothing tells of them any more.
                self._derivation.discard_texts(own)
                removals = [step for r in own for step in self._derivation.removals(r)]
                self._ledger.commit(removals)
