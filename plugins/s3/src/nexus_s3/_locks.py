"""What the engine's own locks keep from being deleted, whoever set them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from nexus_core.spi import Outcome, RetentionError
from nexus_s3._engine import Patience, call
from nexus_s3._failures import Failure, Kind

_NAMED: Final = 100
_LOCKS: Final[dict[str, Callable[[Any], bool]]] = {
    "get_object_legal_hold": lambda said: (said.get("LegalHold") or {}).get("Status") == "ON",
    "get_object_retention": lambda said: bool((said.get("Retention") or {}).get("RetainUntilDate")),
}


def reasons(
    patience: Patience, client: Any, bucket: str, refused: Sequence[tuple[str, str | None, Kind]]
) -> list[tuple[str, Kind]]:
    """Why versions were not destroyed: engines say "forbidden" of what is locked as well."""
    told: list[tuple[str, Kind]] = []
    for number, (name, version, kind) in enumerate(refused):
        asked = kind is Kind.DENIED and version is not None and number < _NAMED
        locked = asked and _is_locked(patience, client, bucket, name, version)
        told.append((name, Kind.RETAINED if locked else kind))
    return told


def _is_locked(
    patience: Patience, client: Any, bucket: str, name: str, version: str | None
) -> bool:
    for operation, holds in _LOCKS.items():
        place = {"Bucket": bucket, "Key": name, "VersionId": version}
        try:
            said = patience.repeat(lambda: call(client, operation, **place))  # noqa: B023
        except Failure:
            continue
        if holds(said):
            return True
    return False


def retained(keys: Sequence[str]) -> RetentionError:
    """The error for what stays because of a lock, by its keys; the rest may be gone."""
    ids = tuple(dict.fromkeys(keys))
    return RetentionError(
        f"the engine's own lock protects versions under {len(ids)} keys; others may be gone",
        hint="do it again when the locks have ended",
        ids=ids[:_NAMED],
        outcome=Outcome.UNKNOWN,
    )
