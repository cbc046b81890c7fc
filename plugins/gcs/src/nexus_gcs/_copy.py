"""Copying inside a scope, and over itself: the engine rewrites one generation, no byte comes
here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from nexus_core.spi import ObjectAttributes, ObjectInfo, Outcome, StoreError, UnavailableError
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, Kind, not_found
from nexus_gcs._record import Found
from nexus_gcs._write import Condition, find, resealed, rewriting, settle, stale

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
        sealed = resealed(engine, attributes, current.info.sha256, current.crc32c)
        rewrite = rewriting(engine, target, source.blob(current.generation), sealed)

        def send(
            replaced: int, generation: int = current.generation, rewrite: Any = rewrite
        ) -> Found:
            try:
                made: Found = once(lambda: rewrite(replaced))
                return made
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


def set_system(
    engine: Engine, target: Target, system: Mapping[str, str], if_match: str
) -> ObjectInfo:
    """See ``RawBackend.set_system``: a new generation of the same bytes."""
    condition = Condition.of(target, if_absent=False, if_match=if_match)
    current = find(engine, target)
    if current is None or current.generation != condition.generation:
        raise stale()
    attributes = attrs.evolve(current.info.attributes, system=dict(system))
    sealed = resealed(engine, attributes, current.info.sha256, current.crc32c)
    # Where nothing old is kept, the source is gone as soon as another version is current.
    rewrite = rewriting(engine, target, target.blob(current.generation), sealed, past=True)

    def send(replaced: int) -> Found:
        try:
            return once(lambda: rewrite(replaced))
        except Failure as failed:
            failure = failed
        raise Failure(Kind.CONDITION, failure.status) if failure.kind is Kind.ABSENT else failure

    return settle(engine, target, condition, sealed, send)
