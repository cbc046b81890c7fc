"""Copying inside a scope: the engine rewrites one generation, no byte comes here."""

from __future__ import annotations

from typing import Any, Final

from nexus_core.spi import ObjectAttributes, ObjectInfo, Outcome, StoreError, UnavailableError
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, Kind, not_found
from nexus_gcs._record import Sealed
from nexus_gcs._write import Condition, find, rewriting, settle, stale

# How often a copy without a condition on its source follows those who write it.
_ROUNDS: Final = 8


class _Moved(Exception):  # never leaves this module
    """The source has another version by now."""


def copy(
    engine: Engine,
    source: Target,
    target: Target,
    attributes: ObjectAttributes,
    *,
    if_absent: bool,
    if_source_match: str | None,
) -> ObjectInfo:
    """See ``RawBackend.copy``."""
    condition = Condition(0, creates=True) if if_absent else Condition(None)
    for _ in range(_ROUNDS):
        current = find(engine, source)
        if current is None:
            raise not_found()
        if if_source_match not in (None, current.info.etag):
            raise stale()
        sealed = Sealed.of(attributes, current.info.sha256, current.crc32c)
        rewrite = rewriting(engine, target, source.blob(current.generation), sealed)

        def send(
            replaced: int, generation: int = current.generation, rewrite: Any = rewrite
        ) -> Any:
            try:
                return once(lambda: rewrite(replaced))
            except Failure as failed:
                failure = failed
            if failure.kind not in (Kind.ABSENT, Kind.CONDITION):
                raise failure
            # The engine does not say which of the two conditions did not hold.
            found = find(engine, source)
            if found is None or found.generation != generation:
                raise _Moved
            raise Failure(Kind.CONDITION, failure.status)

        error: StoreError
        try:
            return settle(engine, target, condition, sealed, send)
        except _Moved:
            error = stale()
        if if_source_match is not None:
            raise error
    raise UnavailableError("others keep writing the source", outcome=Outcome.NOT_APPLIED)
