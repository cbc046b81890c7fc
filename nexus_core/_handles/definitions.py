"""``n.definitions``: the Strategy Lock. A definition is proposed, approved by somebody else, and
applied exactly once, in its window; an edit voids the approval.

A proposal is one versioned record in the ledger, moved on by compare-and-set, so two callers never
both move it. Every step is audited.
"""

from __future__ import annotations

import builtins
import hashlib
from typing import Any, Final, final

import attrs

from nexus_core._handles.gate import Gate
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.rows import Rows
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    NotFoundError,
    Outcome,
    PreconditionFailedError,
    StoreError,
)
from nexus_core._model.filters import Eq
from nexus_core._model.ids import check_id, new_id
from nexus_core._model.records import Insert, Record, Replace
from nexus_core._model.vectors import IndexDefinition
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

DEFAULT_WINDOW: Final = 7 * 24 * 3600 * 1_000_000
MAX_WINDOW: Final = 90 * 24 * 3600 * 1_000_000


@attrs.frozen(kw_only=True)
class Proposal:
    """A proposed index definition and how far it has come.

    ``hash`` is what an approval approves; ``state`` is proposed, approved, applying (begun, and to
    be applied again if that was interrupted) or applied.
    """

    id: str
    version: int
    definition: IndexDefinition
    hash: str
    state: str
    proposed_by: str
    approved_by: str | None
    valid_until: int
    created_at: int


@final
class DefinitionsHandle:
    """Governed definitions of one scope."""

    __slots__ = ("_gate", "_ledger", "_rows")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._rows = Rows(gate)

    def propose(self, definition: IndexDefinition, *, window: int = DEFAULT_WINDOW) -> Proposal:
        """Propose an index: durable; nothing is defined until it is approved and applied.

        ``window`` is how long it may be applied, in microseconds, at most 90 days.
        """
        if type(definition) is not IndexDefinition:
            raise InvalidArgumentError("an IndexDefinition is required")
        if type(window) is not int or not 0 < window <= MAX_WINDOW:
            raise InvalidArgumentError("the window is not between 1 µs and 90 days")
        now = self._gate.now()
        proposal = Proposal(
            id=new_id(now / 1_000_000),
            version=1,
            definition=definition,
            hash=definition_hash(definition, now + window),
            state="proposed",
            proposed_by=self._gate.context.actor.id,
            approved_by=None,
            valid_until=now + window,
            created_at=now,
        )
        with self._gate.mutation(Action.DEFINITION_PROPOSE, StoreRole.ATOMS, (proposal.id,)):
            told = self._ledger.event(
                Action.DEFINITION_PROPOSE, None, source_ids=(), result_ids=(proposal.id,)
            )
            self._ledger.commit([Insert(self._record(proposal)), told])
        return proposal

    def revise(self, proposal_id: str, definition: IndexDefinition) -> Proposal:
        """Change a proposal that is not applied yet; any approval of it is void."""
        if type(definition) is not IndexDefinition:
            raise InvalidArgumentError("an IndexDefinition is required")
        return self._move(
            Action.DEFINITION_PROPOSE,
            proposal_id,
            lambda old: attrs.evolve(
                old,
                definition=definition,
                hash=definition_hash(definition, old.valid_until),
                state="proposed",
                proposed_by=self._gate.context.actor.id,
                approved_by=None,
            ),
        )

    def approve(self, proposal_id: str, *, hash: str) -> Proposal:
        """Approve exactly the proposal that hashes to ``hash``.

        Only an owner or admin other than the proposer can (``AccessDeniedError``); a proposal that
        was edited since it was read no longer has that hash (``PreconditionFailedError``).
        """

        def approved(old: Proposal) -> Proposal:
            if old.proposed_by == self._gate.context.actor.id:
                raise AccessDeniedError(
                    "definition.approve: nobody approves their own proposal",
                    hint="ask another owner or admin",
                )
            if old.hash != hash or old.state != "proposed":
                raise PreconditionFailedError("the proposal is not the one that was read")
            return attrs.evolve(old, state="approved", approved_by=self._gate.context.actor.id)

        return self._move(Action.DEFINITION_APPROVE, proposal_id, approved)

    def apply(self, proposal_id: str) -> Proposal:
        """Apply an approved proposal inside its window: define the index, exactly once.

        Raises ``PreconditionFailedError`` when it is not approved, was edited, or its window has
        passed. Applying again what this call has applied is refused as well.
        """

        check_id(proposal_id, "the proposal id")
        action = Action.DEFINITION_APPLY
        with self._gate.mutation(action, StoreRole.ATOMS, (proposal_id,)) as mutation:
            old = self._read(proposal_id)
            # Moved on before anything is made: whoever else applies or revises it now is refused.
            # One that is found like this was interrupted, and making an index is idempotent.
            applying = old if old.state == "applying" else self._begun(old)
            mutation.begun = True
            try:
                self._rows.define(applying.definition)
            except StoreError as error:
                if error.outcome is Outcome.NOT_APPLIED:
                    back = attrs.evolve(applying, state="approved", version=applying.version + 1)
                    self._ledger.commit([Replace(self._record(back))])
                    mutation.begun = False
                raise
            applied = attrs.evolve(applying, state="applied", version=applying.version + 1)
            told = self._ledger.event(
                action, None, source_ids=(proposal_id,), result_ids=(proposal_id,)
            )
            self._ledger.commit([Replace(self._record(applied)), told])
        return applied

    def _begun(self, old: Proposal) -> Proposal:
        if old.state != "approved":
            raise PreconditionFailedError("the proposal is not approved, or applied already")
        if old.hash != definition_hash(old.definition, old.valid_until):
            raise PreconditionFailedError("the proposal changed after its approval")
        if self._gate.now() > old.valid_until:
            raise PreconditionFailedError("the proposal's window has passed")
        applying = attrs.evolve(old, state="applying", version=old.version + 1)
        self._ledger.commit([Replace(self._record(applying))])
        return applying

    def get(self, proposal_id: str) -> Proposal:
        """Return a proposal; raises ``NotFoundError``."""
        check_id(proposal_id, "the proposal id")
        self._gate.admit(Action.DEFINITION_READ, (proposal_id,))
        found = self._read(proposal_id)
        self._gate.accessed(Action.DEFINITION_READ, StoreRole.ATOMS, (proposal_id,))
        return found

    def list(self) -> builtins.list[Proposal]:
        """Return all proposals of this scope, oldest first."""
        self._gate.admit(Action.DEFINITION_READ)
        found = [
            proposal_of(record)
            for page in self._ledger.pages("definitions", Eq("type", "index"))
            for record in page
        ]
        self._gate.accessed(Action.DEFINITION_READ, StoreRole.ATOMS, [p.id for p in found])
        return found

    def _read(self, proposal_id: str) -> Proposal:
        record = self._ledger.get("definitions", [proposal_id])[0]
        if record is None or record.fields["type"] != "index":
            raise NotFoundError("no such proposal")
        return proposal_of(record)

    def _move(self, action: Action, proposal_id: str, step: Any) -> Proposal:
        check_id(proposal_id, "the proposal id")
        with self._gate.mutation(action, StoreRole.ATOMS, (proposal_id,)):
            old = self._read(proposal_id)
            if old.state in ("applying", "applied"):
                raise PreconditionFailedError("the proposal is applied already")
            new: Proposal = attrs.evolve(step(old), version=old.version + 1)
            told = self._ledger.event(
                action, None, source_ids=(proposal_id,), result_ids=(proposal_id,)
            )
            self._ledger.commit([Replace(self._record(new)), told])
        return new

    def _record(self, proposal: Proposal) -> Record:
        fields: dict[str, str | int | float | bool] = {
            "type": "index",
            "name": proposal.definition.name,
            "state": proposal.state,
            "created_at": proposal.created_at,
            "updated_at": self._gate.now(),
        }
        body = {
            "definition": proposal.definition.to_data(),
            "hash": proposal.hash,
            "state": proposal.state,
            "proposed_by": proposal.proposed_by,
            "approved_by": proposal.approved_by,
            "valid_until": proposal.valid_until,
            "created_at": proposal.created_at,
        }
        return self._ledger.record(
            "definitions", proposal.id, fields, body, version=proposal.version
        )


def definition_hash(definition: IndexDefinition, valid_until: int) -> str:
    """SHA-256 of what an approval covers: the definition and the end of its window."""
    return hashlib.sha256(canonical_json([definition.to_data(), valid_until])).hexdigest()


def proposal_of(record: Record) -> Proposal:
    """Read a proposal back from its record."""
    body = body_of(record)
    return Proposal(
        id=record.id,
        version=record.version,
        definition=IndexDefinition.from_data(body["definition"]),
        hash=body["hash"],
        state=body["state"],
        proposed_by=body["proposed_by"],
        approved_by=body["approved_by"],
        valid_until=body["valid_until"],
        created_at=body["created_at"],
    )
