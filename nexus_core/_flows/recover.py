"""``n.recover``: finish or undo what a killed process left open, and settle its records.

Idempotent. What is younger than ``older_than`` is left alone, because its process may be alive;
running twice, or beside a live writer, writes nothing twice, since every step is idempotent.
"""

from __future__ import annotations

from typing import Final, cast, final

import attrs

from nexus_core._audit import AuditRecord, ErasedRecord, decode
from nexus_core._flows.ingest import Ingested, IngestFlow
from nexus_core._flows.intents import Intents
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.erasing import Erasing, Erasure
from nexus_core._handles.fence import Fences
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import UNSPECIFIED, Ledger, body_of
from nexus_core._handles.objects import Objects
from nexus_core._handles.uploads import Uploads
from nexus_core._model.audit import LogEntry
from nexus_core._model.errors import ClosedError, InvalidArgumentError, StoreError
from nexus_core._model.records import Insert, Operation, Record
from nexus_core._security.permissions import Action
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.capabilities import AuditCapabilities, RawCapabilities, StoreRole

_PAGE = 500

# What tells of itself outside the transaction of its effect; see ``Ledger.told``.
UNTOLD: Final = frozenset(
    action.value
    for action in (
        Action.RAW_PUT,
        Action.RAW_COPY,
        Action.RAW_DELETE,
        Action.RAW_REGISTER,
        Action.RAW_RESTORE,
        Action.VECTOR_UPSERT,
        Action.VECTOR_DELETE,
        # Of records in the ledger too: their event has the id by which it would be told again.
        Action.HOLD_SET,
        Action.HOLD_LIFT,
        Action.RETENTION_EXTEND,
    )
)


@attrs.frozen(kw_only=True)
class Recovery:
    """What recovery did: the ingests it completed or undid, the erasures it finished, the audit
    records it settled, and the abandoned uploads it removed."""

    ingests: tuple[Ingested, ...]
    settled: int
    uploads: int = 0
    erasures: tuple[Erasure, ...] = ()


@final
class RecoverFlow:
    """Recovers one scope, for one request."""

    __slots__ = ("_gate", "_ingest", "_intents", "_ledger")

    def __init__(self, gate: Gate, ingest: IngestFlow) -> None:
        self._gate = gate
        self._ingest = ingest
        self._intents = Intents(gate)
        self._ledger = Ledger(gate)

    def run(self, *, older_than: float | None) -> Recovery:
        """See ``Request.recover``."""
        if older_than is None:
            older_than = self._gate.deployment.config.recovery_after_seconds
        if type(older_than) not in (int, float) or not 0 <= older_than < float("inf"):
            raise InvalidArgumentError("older_than is not a number of seconds")
        self._gate.admit(Action.RECOVER)
        before = self._gate.now() - int(older_than * 1_000_000)
        done: list[Ingested] = []
        erased: list[Erasure] = []
        if self._gate.runtime.has(StoreRole.ATOMS):
            Fences(self._gate).sweep(before)
            erasing = Erasing(self._gate)
            erased = [erasing.resume(intent) for intent in list(erasing.pending(before=before))]
            for intent in list(self._intents.pending(before=before)):
                done.append(self._resume(intent))
        return Recovery(
            ingests=tuple(done),
            erasures=tuple(erased),
            uploads=self._sweep(),
            settled=self._settle(before),
        )

    def _sweep(self) -> int:
        """Delete what was uploaded and never registered, once nothing can register it any more."""
        runtime = self._gate.runtime
        if not runtime.has(StoreRole.RAW):
            return 0
        if not cast("RawCapabilities", runtime.store(StoreRole.RAW).spec.capabilities).presign_put:
            return 0
        with self._gate.mutation(Action.RECOVER, StoreRole.RAW, (), admitted=True) as mutation:
            removed = Uploads(self._gate, Objects(self._gate)).sweep()
            mutation.unchanged = not removed
        return removed

    def _resume(self, intent: Record) -> Ingested:
        """Resume one ingest; what cannot be resumed now stays pending and holds up no other."""
        target = str(intent.fields.get("target", intent.id))
        try:
            with self._gate.mutation(
                Action.RECOVER, StoreRole.ATOMS, (target,), admitted=True
            ) as mutation:
                mutation.begun = True
                return self._ingest.resume(intent)
        except StoreError as error:
            if error.retryable or isinstance(error, ClosedError):
                raise
            return Ingested(
                logical_key=body_of(intent)["asset"]["logical_key"],
                asset=target,
                state="pending",
                error=error.code,
                message=str(error),
            )

    def _event_of(self, intent: AuditRecord) -> Insert:
        """What a killed call had no time to tell: that it may have happened, to these ids."""
        own = Governance(
            kind=intent.kind or UNSPECIFIED,
            space=intent.space or UNSPECIFIED,
            subject=intent.subject,
        )
        return self._ledger.event(
            Action(intent.action),
            own,
            source_ids=intent.ids,
            result_ids=(),
            event_id=intent.operation,
            outcome="unknown",
        )

    def _settle(self, before: int) -> int:
        """Answer every old intent that has no outcome: nobody knows it any more."""

        def unsettled(store: OpenStore) -> list[LogEntry]:
            backend = cast("AuditBackend", store.backend)
            size = min(_PAGE, cast("AuditCapabilities", store.spec.capabilities).max_batch)
            return list(backend.unsettled(self._gate.scope, before, size))

        settled = 0
        while entries := self._gate.call(StoreRole.AUDIT, unsettled):
            records = []
            untold: list[Operation] = []
            for entry in entries:
                record = decode(entry, self._gate.scope)
                if isinstance(record, ErasedRecord):
                    record = self._gate.bare_intent(record)
                elif record.action in UNTOLD:
                    untold.append(self._event_of(record))
                records.append(
                    record.settled("recovered", at=self._gate.now(), details={"reason": "unknown"})
                )
            if untold and self._gate.runtime.has(StoreRole.ATOMS):
                self._ledger.commit(untold)
            self._gate.append(records)
            settled += len(records)
        if settled:
            self._gate.record("event", Action.RECOVER, "ok", role=StoreRole.AUDIT)
        return settled
