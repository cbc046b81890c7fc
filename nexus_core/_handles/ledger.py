"""The scope's ledger: records in and out of the atom store, stamped and checked, with events.

The handles for assets, atoms, lineage and definitions, and the flows, speak to the atom store only
through here. A caller has been admitted and audited before; what this module adds is the stamp on
the way in, the guard on the way out, and the event that commits together with a change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, cast, final

from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import IntegrityError, InvalidArgumentError, QuotaExceededError
from nexus_core._model.filters import Filter, check_filter, filter_to_data
from nexus_core._model.ids import new_id
from nexus_core._model.records import (
    COLLECTIONS,
    Insert,
    Operation,
    Record,
    RecordFields,
    Step,
)
from nexus_core._security.guard import foreign
from nexus_core._security.permissions import Action
from nexus_core._spi.atoms import AtomBackend
from nexus_core._spi.capabilities import AtomCapabilities, StoreRole

EVENT_SCHEMA: Final = 1


@final
class Ledger:
    """Records of one scope, for one request."""

    __slots__ = ("gate",)

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    # -- writing -----------------------------------------------------------------------------

    def record(
        self,
        collection: str,
        record_id: str,
        fields: RecordFields,
        body: Mapping[str, Any],
        *,
        version: int = 1,
    ) -> Record:
        """Make a stamped record; the body becomes canonical JSON."""
        return Record(
            collection=collection,
            id=record_id,
            version=version,
            fields=fields,
            body=canonical_json(body),
            stamp=self.gate.runtime.guard.stamper(collection)(record_id),
        )

    def event(
        self,
        action: Action,
        governance: Governance,
        *,
        source_ids: Sequence[str],
        result_ids: Sequence[str],
    ) -> Insert:
        """Make the event that belongs into the same commit as the change it tells of.

        Holds ids and flags, never content; see ``docs/formats.md``.
        """
        context = self.gate.context
        event_id = new_id(self.gate.now() / 1_000_000)
        now = self.gate.now()
        fields: dict[str, str | int | float | bool] = {
            "action": action.value,
            "trace_id": context.trace_id,
            "actor": context.actor.id,
            "kind": governance.kind,
            "space": governance.space,
            "train_ok": governance.train_ok,
            "created_at": now,
        }
        if governance.subject is not None:
            fields["subject"] = governance.subject
        body = {
            "schema_version": EVENT_SCHEMA,
            "event_id": event_id,
            "time": now,
            "tenant_id": context.scope.tenant_id,
            "env": context.scope.env,
            "actor_id": context.actor.id,
            "actor_kind": context.actor.kind.value,
            "trace_id": context.trace_id,
            "request_id": context.request_id,
            "action": action.value,
            "source_ids": list(self.gate.deployment.redacted(source_ids)),
            "result_ids": list(self.gate.deployment.redacted(result_ids)),
            **governance.to_data(),
        }
        return Insert(self.record("events", event_id, fields, body))

    def commit(self, operations: Sequence[Operation]) -> Sequence[bool]:
        """Apply all operations or none; see ``AtomBackend.commit``."""

        def run(store: OpenStore) -> Sequence[bool]:
            capabilities = cast("AtomCapabilities", store.spec.capabilities)
            if len(operations) > capabilities.max_batch:
                raise InvalidArgumentError(
                    f"the batch is larger than this store's {capabilities.max_batch} operations",
                    hint="send it in smaller parts",
                )
            for operation in operations:
                record = getattr(operation, "record", None)
                if record is not None and len(record.body) > capabilities.max_body_bytes:
                    raise QuotaExceededError(
                        f"a record is larger than this store's {capabilities.max_body_bytes} bytes"
                    )
            return _backend(store).commit(self.gate.scope, operations)

        return self.gate.call(StoreRole.ATOMS, run)

    # -- reading -----------------------------------------------------------------------------

    def get(self, collection: str, ids: Sequence[str]) -> list[Record | None]:
        """Return checked records aligned with ``ids``."""

        def run(store: OpenStore) -> list[Record | None]:
            found = list(_backend(store).get(self.gate.scope, collection, ids))
            if len(found) != len(ids) or any(
                record is not None and record.id != wanted
                for record, wanted in zip(found, ids, strict=False)
            ):
                raise foreign()
            self._admit(collection, (record for record in found if record is not None))
            return found

        return self.gate.call(StoreRole.ATOMS, run) if ids else []

    def page(
        self,
        collection: str,
        where: Filter | None,
        *,
        after: str | None,
        limit: int,
    ) -> tuple[tuple[Record, ...], str | None]:
        """Return one checked page in id order, and where to continue."""

        def run(store: OpenStore) -> tuple[tuple[Record, ...], str | None]:
            checked = self._checked_filter(store, collection, where)
            page = _backend(store).query(
                self.gate.scope, collection, checked, after=after, limit=limit
            )
            self._admit(collection, page.records)
            return page.records, page.next_after

        return self.gate.call(StoreRole.ATOMS, run)

    def sealed_page(
        self, collection: str, where: Filter | None, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Record, ...], str | None]:
        """One page under a sealed cursor, which only this query in this scope accepts."""
        purpose = f"{collection}.query"
        tokens = self.gate.runtime.tokens
        now = self.gate.now()
        binding = None if where is None else filter_to_data(where)
        after = None if cursor is None else tokens.open(purpose, binding, cursor, now=now)
        records, following = self.page(collection, where, after=after, limit=limit)
        sealed = None if following is None else tokens.seal(purpose, binding, following, now=now)
        return records, sealed

    def pages(
        self, collection: str, where: Filter | None, *, size: int = 500
    ) -> Iterable[tuple[Record, ...]]:
        """Iterate all pages that match."""
        after: str | None = None
        while True:
            records, after = self.page(collection, where, after=after, limit=size)
            yield records
            if after is None:
                return

    def count(self, collection: str, where: Filter | None) -> int:
        """Count records that match, exactly."""

        def run(store: OpenStore) -> int:
            checked = self._checked_filter(store, collection, where)
            return _backend(store).count(self.gate.scope, collection, checked)

        return self.gate.call(StoreRole.ATOMS, run)

    def walk(
        self,
        start: Sequence[str],
        direction: Literal["up", "down"],
        *,
        max_depth: int,
        limit: int,
    ) -> Sequence[Step]:
        """Follow checked lineage edges."""

        def run(store: OpenStore) -> Sequence[Step]:
            steps = _backend(store).walk(
                self.gate.scope, start, direction, max_depth=max_depth, limit=limit
            )
            self._admit("edges", (step.edge for step in steps))
            return steps

        return self.gate.call(StoreRole.ATOMS, run)

    def _checked_filter(
        self, store: OpenStore, collection: str, where: Filter | None
    ) -> Filter | None:
        if where is None:
            return None
        capabilities = cast("AtomCapabilities", store.spec.capabilities)
        return check_filter(where, COLLECTIONS[collection].schema, capabilities.filter_ops)

    def _admit(self, collection: str, records: Iterable[Record]) -> None:
        stamp = self.gate.runtime.guard.stamper(collection)
        for record in records:
            if record.collection != collection or record.stamp != stamp(record.id):
                raise foreign()


def body_of(record: Record) -> dict[str, Any]:
    """Parse a record's body; raise ``IntegrityError`` where it is not what was written."""
    try:
        data = json.loads(record.body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise IntegrityError("a record's body is not what was written")
    return data


def _backend(store: OpenStore) -> AtomBackend:
    return cast("AtomBackend", store.backend)
