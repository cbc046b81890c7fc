"""One dataset event: who did what to which data, by ids and flags, never content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from nexus_core._model.errors import IntegrityError


@attrs.frozen(kw_only=True)
class DatasetEvent:
    """What happened to data of one scope.

    ``event_id`` is what a consumer recognises a repetition by. ``sequence`` counts a scope's events
    from 1 in the order in which they are delivered, ``None`` until a relay has numbered it.
    ``outcome`` is ``ok``, or ``unknown`` where a kill left open whether it happened. ``kind`` and
    ``space`` are ``unspecified`` where the event is about more than one, or none.
    """

    schema_version: int
    event_id: str
    sequence: int | None
    time: int
    tenant_id: str
    env: str
    actor_id: str
    actor_kind: str
    trace_id: str
    request_id: str
    action: str
    outcome: str
    source_ids: tuple[str, ...]
    result_ids: tuple[str, ...]
    kind: str
    space: str
    subject: str | None
    pii_flags: tuple[str, ...]
    train_ok: bool

    def to_data(self) -> dict[str, Any]:
        """Plain JSON data, one member for each attribute."""
        return attrs.asdict(self, value_serializer=lambda _, __, v: list(v) if _is_many(v) else v)

    @classmethod
    def from_body(cls, body: Mapping[str, Any], sequence: int | None) -> DatasetEvent:
        """Read an event back from its record's body; raises ``IntegrityError``."""
        names = [field.name for field in attrs.fields(cls) if field.name != "sequence"]
        if not body.keys() >= set(names):
            raise _spoilt()
        values: dict[str, Any] = {name: body[name] for name in names}
        for name in _MANY:
            if not isinstance(values[name], list):
                raise _spoilt()
            values[name] = tuple(values[name])
        texts = [values[name] for name in _TEXTS] + [
            text for many in _MANY for text in values[many]
        ]
        if not all(type(text) is str for text in texts) or type(values["time"]) is not int:
            raise _spoilt()
        return cls(sequence=sequence, **values)


_MANY = ("source_ids", "result_ids", "pii_flags")
_TEXTS = ("event_id", "tenant_id", "env", "actor_id", "actor_kind", "trace_id", "action", "outcome")


def _spoilt() -> IntegrityError:
    return IntegrityError("an event's record is not what was written")


def _is_many(value: object) -> bool:
    return isinstance(value, tuple)
