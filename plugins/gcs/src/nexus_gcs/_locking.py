"""The engine's own locks, a temporary hold and a period for each object: as requests say them, as
descriptions tell them, and set later.

The client library sends a period with whatever makes an object, a hold with a rewrite alone. What
is held is neither deleted nor replaced; what has a period can still be made an old version
(cloud.google.com/storage/docs/object-holds and .../object-lock).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import attrs

from nexus_core.spi import (
    ObjectAttributes,
    ObjectInfo,
    Outcome,
    Problem,
    RetentionError,
    UnavailableError,
    UnsupportedError,
)
from nexus_gcs._engine import Engine, once
from nexus_gcs._failures import Failure, Kind, translate

_SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCKED: Final = "Locked"
# How often a change looks at a lock that others change too.
_ROUNDS: Final = 32


def rounded(attributes: ObjectAttributes, now: int, mode: str | None) -> ObjectAttributes:
    """Attributes with the lock that the engine will keep: periods in whole seconds, and none that
    is over, which it refuses. Raises ``UnsupportedError`` where the settings use no lock."""
    until = attributes.retain_until
    if mode is None and (attributes.legal_hold or until is not None):
        raise UnsupportedError("object_lock")
    if until is None:
        return attributes
    return attrs.evolve(attributes, retain_until=up(until) if until > now else None)


def onto(blob: Any, attributes: ObjectAttributes, mode: str | None) -> None:
    """Give a handle the lock of what is to be made."""
    if attributes.legal_hold:
        blob.temporary_hold = True
    if attributes.retain_until is not None:
        _retain(blob, attributes.retain_until, mode)


def told(blob: Any) -> dict[str, Any]:
    """The lock that a description tells."""
    until = blob.retention.retain_until_time
    return {
        "retain_until": None if until is None else (until - _EPOCH) // timedelta(microseconds=1),
        "legal_hold": bool(blob.temporary_hold),
    }


def set_lock(
    engine: Engine,
    look: Callable[[], tuple[Any, ObjectInfo]],
    *,
    retain_until: int | None,
    legal_hold: bool | None,
) -> ObjectInfo:
    """See ``RawBackend.set_lock``. One request sets both, on what was looked at and nothing else,
    until a look tells what was asked for: no two who change a lock undo each other's."""
    turn = 0
    for _ in range(_ROUNDS):
        blob, info = look()
        locks = _changed(blob, info.attributes, engine.config.lock_mode, retain_until, legal_hold)
        if locks is None:
            return info
        try:
            once(partial(_patch, engine, blob, override=locks))
        except Failure as failed:
            failure = failed
        else:
            continue
        # Changed or gone meanwhile: the next look tells.
        if failure.kind in (Kind.ABSENT, Kind.CONDITION):
            continue
        if not failure.passes or not engine.patience.pause(turn, failure):
            raise translate(failure)
        turn += 1
    raise UnavailableError("others keep changing the lock", outcome=Outcome.UNKNOWN)


def _changed(
    blob: Any,
    there: ObjectAttributes,
    mode: str | None,
    retain_until: int | None,
    legal_hold: bool | None,
) -> bool | None:
    """Give a handle what is to be another than it is; ``None`` if nothing is, and else whether a
    period is to be locked that is not, which must be asked for by name."""
    override = None
    if legal_hold not in (None, there.legal_hold):
        blob.temporary_hold = legal_hold
        override = False
    if retain_until is None or up(retain_until) == there.retain_until:
        return override
    if there.retain_until is not None and up(retain_until) < there.retain_until:
        raise RetentionError("a period is only extended", outcome=Outcome.NOT_APPLIED)
    before = blob.retention.mode
    wanted = _LOCKED if before == _LOCKED else mode
    _retain(blob, up(retain_until), wanted)
    return before not in (None, wanted)


def _patch(engine: Engine, blob: Any, *, override: bool) -> None:
    blob.patch(
        if_metageneration_match=blob.metageneration,
        override_unlocked_retention=override,
        timeout=engine.timeout,
        retry=None,
    )


def _retain(blob: Any, until: int, mode: str | None) -> None:
    period = blob.retention
    period.mode = mode
    period.retain_until_time = _EPOCH + timedelta(microseconds=until)


def up(micros: int) -> int:
    """The end of the second."""
    return -(-micros // _SECOND) * _SECOND


def fault(name: str, bucket: Any) -> Problem | None:
    """What is wrong with a bucket where the settings use the engine's locks."""
    if bucket.object_retention_mode != "Enabled":
        return Problem(
            path="object_lock",
            what=f"the bucket {name} was made without object retention",
            fix="name a bucket that was made with it, or leave the setting out",
        )
    if bucket.default_event_based_hold:
        return Problem(
            path="object_lock",
            what=f"the bucket {name} holds every new object, beside which there is no period",
            fix="switch its default event-based hold off, or leave the setting out",
        )
    return None
