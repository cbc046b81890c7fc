"""The scope's ledger: records in and out of the atom store, stamped and checked, with events.

The handles for assets, atoms, lineage and definitions, and the flows, speak to the atom store only
through here. A caller has been admitted and audited before; what this module adds is the stamp on
the way in, the guard on the way out, and the event that commits together with a change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, Final, Literal, TypeAlias, cast, final

from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate, Mutation
from nexus_core._handles.governance import Governance
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    IntegrityError,
    InvalidArgumentError,
    NexusError,
    Outcome,
    QuotaExceededError,
    StoreError,
)
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
UNSPECIFIED: Final = "unspecified"

# Ids that one event holds at most; a call with more gives several events.
_IDS: Final = 500

Telling: TypeAlias = tuple[Governance | None, Sequence[str], Sequence[str]]


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
        governance: Governance | None,
        *,
        source_ids: Sequence[str],
        result_ids: Sequence[str],
        event_id: str | None = None,
        outcome: Literal["ok", "unknown"] = "ok",
    ) -> Insert:
        """Make the event that belongs into the same commit as the change it tells of.

        Holds ids and flags, never content; see ``docs/formats.md``. Without governance kind and
        space are ``unspecified`` and nothing may be trained on. With an id of its own it is left
        alone where it is there already.
        """
        context = self.gate.context
        if governance is None:
            governance = Governance(kind=UNSPECIFIED, space=UNSPECIFIED, subject=context.subject)
        known = event_id is not None
        event_id = new_id(self.gate.now() / 1_000_000) if event_id is None else event_id
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
            "outcome": outcome,
            "source_ids": list(self.gate.deployment.redacted(source_ids)),
            "result_ids": list(self.gate.deployment.redacted(result_ids)),
            **governance.to_data(),
        }
        made = self.record("events", event_id, fields, body)
        return Insert(made, if_exists="keep" if known else "fail")

    @contextmanager
    def telling(
        self,
        action: Action,
        role: StoreRole,
        ids: Sequence[str],
        *,
        kind: str | None = None,
        space: str | None = None,
        admitted: bool = False,
    ) -> Iterator[Mutation]:
        """``Gate.mutation`` for an effect in another store, which ``told`` tells of.

        One whose outcome nobody knows is told of as such; where that cannot be, the intent is left
        without an outcome, and recovery tells of it.
        """
        with self.gate.mutation(
            action, role, ids, kind=kind, space=space, admitted=admitted
        ) as mutation:
            try:
                yield mutation
            except BaseException as error:
                known = isinstance(error, NexusError) and (
                    not isinstance(error, StoreError) or error.outcome is not Outcome.UNKNOWN
                )
                if not known and self.gate.runtime.has(StoreRole.ATOMS):
                    own = Governance(
                        kind=kind or UNSPECIFIED,
                        space=space or UNSPECIFIED,
                        subject=self.gate.context.subject,
                    )
                    self._doubt(mutation, action, own, ids)
                raise

    def _doubt(
        self, mutation: Mutation, action: Action, own: Governance, ids: Sequence[str]
    ) -> None:
        try:
            event = self.event(
                action,
                own,
                source_ids=ids[:_IDS],
                result_ids=(),
                event_id=mutation.operation,
                outcome="unknown",
            )
            self.commit([event])
        except NexusError:
            mutation.unsettled = True

    def told(self, mutation: Mutation, action: Action, telling: Iterable[Telling]) -> None:
        """Have a mutation of another store told of, between its effect and its outcome record.

        The stores share no transaction: the audit intent is what guarantees the event. Where a
        kill or a failure comes between, the intent has no outcome, and recovery tells of it under
        the same event id.
        """
        if not self.gate.runtime.has(StoreRole.ATOMS):
            return
        parts = [
            (governance, sources[start : start + _IDS], results[start : start + _IDS])
            for governance, sources, results in telling
            for start in range(0, max(len(sources), len(results), 1), _IDS)
        ]

        def tell() -> None:
            events = [
                self.event(
                    action,
                    governance,
                    source_ids=sources,
                    result_ids=results,
                    event_id=mutation.operation if position == 0 else None,
                )
                for position, (governance, sources, results) in enumerate(parts)
            ]
            self.commit([*events, *mutation.closing])

        mutation.tell = tell if parts else None

    def asked(self, action: Action, governance: Iterable[Governance], ids: Sequence[str]) -> None:
        """Tell of a query, durably, before its answer is released: what was found, never why."""
        if not self.gate.runtime.has(StoreRole.ATOMS):
            return
        found = list(governance)
        told = None
        if found:
            strictest = reduce(Governance.tightened, found)
            alike = len({(own.kind, own.space) for own in found}) == 1
            told = Governance(
                kind=strictest.kind if alike else UNSPECIFIED,
                space=strictest.space if alike else UNSPECIFIED,
                subject=self.gate.context.subject,
                pii_flags=strictest.pii_flags,
            )
        self.commit(
            [
                self.event(action, told, source_ids=(), result_ids=ids[start : start + _IDS])
                for start in range(0, max(len(ids), 1), _IDS)
            ]
        )

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


def by_owner(
    things: Iterable[tuple[str, Governance]],
) -> list[tuple[Governance, list[str]]]:
    """Ids with their governance, sorted into one lot for each kind, space and subject."""
    lots: dict[tuple[str, str, str | None], tuple[Governance, list[str]]] = {}
    for thing, own in things:
        place = (own.kind, own.space, own.subject)
        strictest, ids = lots.get(place, (own, []))
        ids.append(thing)
        lots[place] = (strictest.tightened(own), ids)
    return list(lots.values())


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
