"""Intents of ingest: what a run is going to do, durable before it does it.

An intent is one record in the ledger, opened, then closed as done or undone, by compare-and-set.
It holds everything that another process needs to finish the run or to take it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, final

import attrs

from nexus_core._flows.tools import atomizer_for
from nexus_core._handles.catalogue import Asset
from nexus_core._handles.derivation import MadeBy, check_operation
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._model.errors import (
    Outcome,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from nexus_core._model.filters import And, Eq, Or
from nexus_core._model.ids import derived_id
from nexus_core._model.records import Insert, Operation, Record, Remove, Replace, Require
from nexus_core._security.permissions import Action
from nexus_core._spi.spec import AtomizerSpec


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
class Intents:
    """Ingest intents of one scope, for one request."""

    __slots__ = ("_gate", "_ledger")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)

    def find(self, plan: Plan) -> Record | None:
        """The intent of a plan, if there ever was one."""
        return self._ledger.get("intents", [self._id(plan)])[0]

    def open(self, plan: Plan, found: Record | None) -> Record:
        """Make the intent durable, or take up the one that is open."""
        if found is not None and found.fields["state"] == "open":
            return found
        intent_id = self._id(plan)
        version = 1 if found is None else found.version + 1
        intent = self._record(intent_id, plan, "open", version=version)
        operation = Insert(intent, if_exists="keep") if found is None else Replace(intent)
        sweep = self._sweep_id(plan)
        try:
            self._ledger.commit([Require("intents", sweep, present=False), operation])
        except PreconditionFailedError:
            if self._ledger.get("intents", [sweep])[0] is None:
                raise
            raise _being_swept() from None
        # Somebody else may have opened it in the same moment; theirs serves as well.
        current = self._ledger.get("intents", [intent_id])[0]
        if current is None:
            raise PreconditionFailedError("the intent was removed while it was being opened")
        return current

    def done(self, intent: Record, plan: Plan, counts: tuple[int, int]) -> Record:
        """Close an intent with how many atoms and vectors it made, together with its event."""
        closed = self._record(intent.id, plan, "done", version=intent.version + 1, counts=counts)
        event = self._ledger.event(
            Action.INGEST,
            plan.asset.governance,
            source_ids=[plan.asset.id],
            result_ids=[intent.id],
        )
        try:
            self._ledger.commit([Replace(closed), Remove("intents", self._sweep_id(plan)), event])
        except PreconditionFailedError:
            current = self._ledger.get("intents", [intent.id])[0]
            if current is None or current.fields["state"] != "done":
                raise
            return current
        return closed

    def undone(self, intent: Record, plan: Plan) -> list[Operation]:
        """The operations that close an intent whose work was taken back."""
        closed = self._record(intent.id, plan, "undone", version=intent.version + 1)
        return [Replace(closed), Remove("intents", self._sweep_id(plan))]

    def pending(self, *, before: int) -> Iterator[Record]:
        """Intents that were opened before ``before`` (µs) and never closed."""
        where = And((Eq("type", "ingest"), Eq("state", "open")))
        for page in self._ledger.pages("intents", where):
            yield from (record for record in page if int(record.fields["updated_at"]) < before)

    def begin_sweep(self, plan: Plan, intent: Record) -> None:
        """Have an asset to oneself for taking its ingest back: none of it begins until then.

        One that had begun is found by ``standing_beside``. Raises ``UnavailableError`` while
        another ingest of the asset is taken back.
        """
        now = self._gate.now()
        fields: dict[str, str | int | float | bool] = {
            "type": "sweep",
            "state": "open",
            "target": plan.asset.id,
            "created_at": now,
            "updated_at": now,
        }
        if plan.asset.governance.subject is not None:
            fields["subject"] = plan.asset.governance.subject
        place = self._sweep_id(plan)
        record = self._ledger.record("intents", place, fields, {"intent": intent.id})
        self._ledger.commit([Insert(record, if_exists="keep")])
        current = self._ledger.get("intents", [place])[0]
        if current is None or body_of(current)["intent"] != intent.id:
            raise _being_swept()

    def _sweep_id(self, plan: Plan) -> str:
        return derived_id("swp", self._gate.scope, plan.asset.id)

    def standing_beside(self, plan: Plan, intent: Record) -> list[Mapping[str, Any]]:
        """Bodies of the other intents of the same asset that are completed or under way."""
        states = Or((Eq("state", "open"), Eq("state", "done")))
        where = And((Eq("type", "ingest"), Eq("target", plan.asset.id), states))
        pages = self._ledger.pages("intents", where)
        return [body_of(record) for page in pages for record in page if record.id != intent.id]

    def plan_of(self, intent: Record) -> Plan:
        """Read the plan back; raises ``UnsupportedError`` where its atomizer is not configured."""
        body = body_of(intent)
        asset = Asset(**body["asset"], governance=Governance.from_data(body["governance"]))
        atomizer = atomizer_for(self._gate, asset.content_type)
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

    def _id(self, plan: Plan) -> str:
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

    def _record(
        self,
        intent_id: str,
        plan: Plan,
        state: Literal["open", "done", "undone"],
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


def _not_governance(attribute: attrs.Attribute[Any], _: Any) -> bool:
    return attribute.name != "governance"


def _being_swept() -> UnavailableError:
    return UnavailableError(
        "an ingest of the same document is being taken back",
        hint="try again in a moment; after a kill, run `nexus recover`",
        outcome=Outcome.NOT_APPLIED,
    )
