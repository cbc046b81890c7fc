"""The relay of one scope: from the outbox to exporters, each event at least once, in order.

Events are committed with their change, by many writers at once, so their ids say nothing safe about
what may still appear below them. The relay first *numbers* what is there: one commit takes events
out of the outbox and puts them back under a gapless sequence, with the scope's counter as its
precondition, so that relays which run at once agree on one order. Then it delivers from where each
exporter stands, and moves that position on by compare-and-set after delivery. Whoever is killed in
between leaves the position where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, cast, final

import attrs

from nexus_core._events.event import DatasetEvent
from nexus_core._events.exporter import EventExporter
from nexus_core._handles.gate import Gate
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._model.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidArgumentError,
    NexusError,
    PreconditionFailedError,
    UnavailableError,
)
from nexus_core._model.filters import And, Eq
from nexus_core._model.ids import derived_id
from nexus_core._model.records import Insert, Operation, Record, Remove, Replace
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import AtomCapabilities, StoreRole

logger: Final = logging.getLogger("nexus")

# Numbered events sort after all others: ids of new ones are hexadecimal.
_MARK: Final = "s"
_DIGITS: Final = 16
_NUMBERED_AT_ONCE: Final = 500
_TRIES: Final = 8


@attrs.frozen(kw_only=True)
class ParkedEvent:
    """An event that an exporter will never take, or that could not be read; put aside, not lost."""

    exporter: str
    event_id: str
    sequence: int
    error: str
    parked_at: int


@attrs.frozen(kw_only=True)
class Relayed:
    """What became of one exporter in one run.

    ``position`` is the sequence number that everything up to was delivered or parked; ``error`` the
    code of what stopped it, ``None`` where nothing did.
    """

    exporter: str
    delivered: int
    position: int
    parked: tuple[ParkedEvent, ...]
    error: str | None = None
    message: str | None = None


@attrs.frozen(kw_only=True)
class RelayReport:
    """What one run of the relay did in one scope."""

    exporters: tuple[Relayed, ...]

    @property
    def ok(self) -> bool:
        """Whether every exporter has everything, and nothing had to be put aside."""
        return all(each.error is None and not each.parked for each in self.exporters)


@final
class Relaying:
    """Relays the events of one scope, for a request that is admitted."""

    __slots__ = ("_gate", "_ledger")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)

    def run(self, exporters: Mapping[str, EventExporter], batch: int) -> RelayReport:
        """Number what is new, then deliver to each exporter; one's failure stops only that one."""
        self._number()
        return RelayReport(
            exporters=tuple(
                self._relay(name, exporter, batch) for name, exporter in exporters.items()
            )
        )

    # -- numbering ---------------------------------------------------------------------------

    def _number(self) -> None:
        store = self._gate.runtime.store(StoreRole.ATOMS)
        most = cast("AtomCapabilities", store.spec.capabilities).max_batch
        size = max(1, min(_NUMBERED_AT_ONCE, (most - 1) // 2))
        lost = 0
        while lost < _TRIES:
            records, following = self._ledger.page("events", None, after=None, limit=size)
            fresh = [record for record in records if not record.id.startswith(_MARK)]
            if following is not None and len(fresh) == len(records):
                # What was made in the last millisecond of a page may go on in the next one.
                last = fresh[-1].id[:13] if fresh else ""
                fresh = [record for record in fresh if record.id[:13] != last] or fresh
            if not fresh:
                return
            fresh.sort(key=lambda record: (record.fields["created_at"], record.id))
            try:
                self._ledger.commit(self._numbering(fresh))
            except (AlreadyExistsError, PreconditionFailedError):
                # Another relay has numbered them in this moment.
                lost += 1
        raise UnavailableError("other relays keep numbering the events of this scope")

    def _numbering(self, fresh: Sequence[Record]) -> list[Operation]:
        stamp = self._gate.runtime.guard.stamper("events")
        counter, count = self._state("numbered", "")
        operations: list[Operation] = [self._moved("numbered", "", counter, count + len(fresh))]
        for number, record in enumerate(fresh, count + 1):
            name = _numbered(number)
            # The body goes over as it is, so that one which cannot be read is still reported.
            moved = attrs.evolve(record, id=name, version=1, stamp=stamp(name))
            operations += [Remove("events", record.id, record.version), Insert(moved)]
        return operations

    # -- delivering --------------------------------------------------------------------------

    def _relay(self, name: str, exporter: EventExporter, batch: int) -> Relayed:
        delivered = 0
        parked: list[ParkedEvent] = []
        position = 0
        error: str | None = None
        message: str | None = None
        try:
            while True:
                _, position = self._state("position", name)
                records, _ = self._ledger.page(
                    "events", None, after=_numbered(position), limit=batch
                )
                if not records:
                    break
                events, aside = self._deliver(name, exporter, records)
                if self._advance(name, position, records, aside):
                    delivered += events
                    parked += aside
                    position = _number_of(records[-1])
        except NexusError as failure:
            error, message = failure.code, str(failure)
        except Exception as failure:  # noqa: BLE001  # an exporter's own code fails as it likes
            logger.error("exporter %s: %s", name, type(failure).__name__)
            error, message = "exporter.failed", f"the exporter failed with {type(failure).__name__}"
        return Relayed(
            exporter=name,
            delivered=delivered,
            position=position,
            parked=tuple(parked),
            error=error,
            message=message,
        )

    def _deliver(
        self, name: str, exporter: EventExporter, records: Sequence[Record]
    ) -> tuple[int, list[ParkedEvent]]:
        """Deliver a batch; gives how many events arrived, and those that never will."""
        events: list[DatasetEvent] = []
        aside: list[ParkedEvent] = []
        for record in records:
            try:
                events.append(self._event_of(record))
            except IntegrityError as error:
                aside.append(self._parked(name, record.id, _number_of(record), error))
        # Nothing leaves before it is on record that it does.
        ids = [event.event_id for event in events]
        self._gate.accessed(Action.EVENTS_RELAY, StoreRole.ATOMS, (f"exporter:{name}", *ids))
        if not events:
            return 0, aside
        try:
            exporter.export(events)
        except InvalidArgumentError:
            return self._one_by_one(name, exporter, events, aside)
        return len(events), aside

    def _one_by_one(
        self,
        name: str,
        exporter: EventExporter,
        events: Sequence[DatasetEvent],
        aside: list[ParkedEvent],
    ) -> tuple[int, list[ParkedEvent]]:
        """Find out which event it is that the destination will not take."""
        arrived = 0
        for event in events:
            try:
                exporter.export([event])
            except InvalidArgumentError as error:
                assert event.sequence is not None
                aside.append(self._parked(name, event.event_id, event.sequence, error))
            else:
                arrived += 1
        return arrived, aside

    def _advance(
        self, name: str, position: int, records: Sequence[Record], aside: Sequence[ParkedEvent]
    ) -> bool:
        """Move the position past a batch; ``False`` where another relay has moved it before."""
        state, current = self._state("position", name)
        if current != position:
            return False
        moved = self._moved("position", name, state, _number_of(records[-1]))
        parking = [self._parking(each) for each in aside]
        try:
            self._ledger.commit([moved, *parking])
        except (AlreadyExistsError, PreconditionFailedError):
            return False
        for each in aside:
            self._gate.record(
                "event", Action.EVENTS_RELAY, each.error, ids=(each.event_id,), role=StoreRole.ATOMS
            )
        return True

    # -- events ------------------------------------------------------------------------------

    def page(
        self, after: str | None, limit: int
    ) -> tuple[list[DatasetEvent], list[str], str | None]:
        """One page of events in the order of their records, the ids of those that cannot be read,
        and where to continue. Events that no relay has numbered come first."""
        records, following = self._ledger.page("events", None, after=after, limit=limit)
        events: list[DatasetEvent] = []
        broken: list[str] = []
        for record in records:
            try:
                events.append(self._event_of(record))
            except IntegrityError:
                broken.append(record.id)
        return events, broken, following

    def parked(self) -> list[ParkedEvent]:
        """Every event that was put aside, by exporter and sequence."""
        where = And((Eq("type", "parked"), Eq("state", "open")))
        found = [
            ParkedEvent(parked_at=int(record.fields["updated_at"]), **body_of(record))
            for page in self._ledger.pages("intents", where)
            for record in page
        ]
        return sorted(found, key=lambda each: (each.exporter, each.sequence))

    def _event_of(self, record: Record) -> DatasetEvent:
        number = _number_of(record) if record.id.startswith(_MARK) else None
        event = DatasetEvent.from_body(body_of(record), number)
        # Once more: it may have been written before a redactor was configured.
        redacted = self._gate.deployment.redacted
        return attrs.evolve(
            event, source_ids=redacted(event.source_ids), result_ids=redacted(event.result_ids)
        )

    def _parked(
        self, exporter: str, event_id: str, sequence: int, error: NexusError
    ) -> ParkedEvent:
        return ParkedEvent(
            exporter=exporter,
            event_id=event_id,
            sequence=sequence,
            error=error.code,
            parked_at=self._gate.now(),
        )

    def _parking(self, parked: ParkedEvent) -> Insert:
        fields: dict[str, str | int | float | bool] = {
            "type": "parked",
            "state": "open",
            "target": parked.event_id,
            "created_at": parked.parked_at,
            "updated_at": parked.parked_at,
        }
        body = attrs.asdict(parked, filter=lambda field, _: field.name != "parked_at")
        place = derived_id("prk", self._gate.scope, parked.exporter, str(parked.sequence))
        return Insert(self._ledger.record("intents", place, fields, body), if_exists="keep")

    # -- positions ---------------------------------------------------------------------------

    def _state(self, what: str, exporter: str) -> tuple[Record | None, int]:
        place = derived_id("rly", self._gate.scope, what, exporter)
        record = self._ledger.get("intents", [place])[0]
        return record, 0 if record is None else int(body_of(record)["at"])

    def _moved(self, what: str, exporter: str, old: Record | None, to: int) -> Operation:
        now = self._gate.now()
        fields: dict[str, str | int | float | bool] = {
            "type": "relay",
            "state": what,
            "created_at": now if old is None else int(old.fields["created_at"]),
            "updated_at": now,
        }
        place = derived_id("rly", self._gate.scope, what, exporter)
        version = 1 if old is None else old.version + 1
        body = {"exporter": exporter, "at": to}
        record = self._ledger.record("intents", place, fields, body, version=version)
        return Insert(record) if old is None else Replace(record)


def _numbered(number: int) -> str:
    return f"{_MARK}{number:0{_DIGITS}d}"


def _number_of(record: Record) -> int:
    return int(record.id.removeprefix(_MARK))
