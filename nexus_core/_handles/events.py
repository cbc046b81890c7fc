"""``n.events``: what happened to the data of a scope, for whoever has to know elsewhere."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from typing import Final, final

import attrs

from nexus_core._events.event import DatasetEvent
from nexus_core._events.exporter import EventExporter
from nexus_core._handles.checks import MAX_PAGE, check_limit
from nexus_core._handles.gate import Gate
from nexus_core._handles.relaying import ParkedEvent, Relaying, RelayReport
from nexus_core._model.errors import InvalidArgumentError
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

_EXPORTER: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@attrs.frozen(kw_only=True)
class EventPage:
    """One page of events; ``broken`` are ids of records that cannot be read; ``cursor`` is ``None``
    when nothing is left."""

    items: tuple[DatasetEvent, ...]
    broken: tuple[str, ...]
    cursor: str | None


@final
class EventsHandle:
    """The dataset events of one scope. They are written with the change they tell of; nothing on
    the way of a request carries them anywhere."""

    __slots__ = ("_gate", "_relaying")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._relaying = Relaying(gate)

    def list(self, *, cursor: str | None = None, limit: int = 100) -> EventPage:
        """Return events, a page at a time: first those that no relay has numbered yet, by id, then
        the others in the order of their delivery."""
        check_limit(limit)
        self._gate.admit(Action.EVENTS_READ)
        tokens = self._gate.runtime.tokens
        now = self._gate.now()
        after = None if cursor is None else tokens.open("events.list", None, cursor, now=now)
        items, broken, following = self._relaying.page(after, limit)
        ids = [event.event_id for event in items]
        self._gate.accessed(Action.EVENTS_READ, StoreRole.ATOMS, ids)
        return EventPage(
            items=tuple(items),
            broken=tuple(broken),
            cursor=None
            if following is None
            else tokens.seal("events.list", None, following, now=now),
        )

    def parked(self) -> builtins.list[ParkedEvent]:
        """Return the events that an exporter will never take, or that could not be read."""
        self._gate.admit(Action.EVENTS_READ)
        found = self._relaying.parked()
        ids = [each.event_id for each in found]
        self._gate.accessed(Action.EVENTS_READ, StoreRole.ATOMS, ids)
        return found

    def relay(self, exporters: Mapping[str, EventExporter], *, batch: int = 100) -> RelayReport:
        """Deliver this scope's events to each exporter, from where it stands to the end; blocking.

        Each event at least once and in one order, which all relays agree on, also over a kill: an
        exporter's position is durable in the ledger, under its name, and moves after delivery. Safe
        with several relays at once; what two of them deliver twice has the same ``event_id``. An
        exporter that fails stops where it stands and says so in the report, and touches no other.
        An event that it will never take, or that cannot be read, is put aside, reported and
        recorded, and the rest goes on.
        """
        check_limit(batch)
        for name, exporter in exporters.items():
            if type(name) is not str or _EXPORTER.fullmatch(name) is None:
                raise InvalidArgumentError("an exporter's name does not match [a-z][a-z0-9_]{0,31}")
            if not isinstance(exporter, EventExporter):
                raise InvalidArgumentError("an EventExporter is required")
        self._gate.admit(Action.EVENTS_RELAY)
        return self._relaying.run(exporters, min(batch, MAX_PAGE))
