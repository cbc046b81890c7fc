"""Deleting: one object, many, or everything that a scope has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from nexus_core.spi import (
    ForeignNameError,
    Outcome,
    RetentionError,
    Scope,
    StoreError,
    UnavailableError,
    decode_object_name,
    object_prefix,
)
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, Kind, translate
from nexus_gcs._record import generation_of
from nexus_gcs._stage import staging_prefix
from nexus_gcs._write import stale

_ROUNDS: Final = 32
_NAMED: Final = 100
_FIELDS: Final = "nextPageToken,items(name,generation)"


def delete(engine: Engine, target: Target, if_match: str | None) -> None:
    """See ``RawBackend.delete``."""
    if if_match is not None:
        generation = generation_of(target.name, if_match)
        if generation is None or not _gone(engine, target, generation):
            raise stale()
        return
    for _ in range(_ROUNDS):
        current = _generation(engine, target)
        if current is None or _gone(engine, target, current):
            return
    raise UnavailableError("others keep writing this key", outcome=Outcome.NOT_APPLIED)


def _generation(engine: Engine, target: Target) -> int | None:
    """The current generation, whoever wrote it."""

    def look() -> Any:
        blob = target.blob()
        blob.reload(projection="noAcl", timeout=engine.timeout, retry=None)
        return blob.generation

    try:
        found = engine.patience.repeat(look)
    except Failure as failure:
        if failure.kind is Kind.ABSENT:
            return None
        error = translate(failure, Outcome.NOT_APPLIED)
    else:
        return int(found or 0)
    raise error


def _gone(engine: Engine, target: Target, generation: int) -> bool:
    """Delete one generation if it is current; ``False`` if it was not.

    Where an answer was lost and the generation is gone, it was us who deleted it: nobody else's
    deletion or replacement of it can be told apart from ours by anyone.
    """
    doubt = False
    turn = 0
    while True:
        try:
            once(
                lambda: target.blob().delete(
                    if_generation_match=generation, timeout=engine.timeout, retry=None
                )
            )
        except Failure as failed:
            failure = failed
        else:
            return True
        if failure.kind in (Kind.ABSENT, Kind.CONDITION):
            return doubt
        doubt = doubt or failure.in_doubt
        if not failure.passes or not engine.patience.pause(turn, failure):
            raise translate(failure, Outcome.UNKNOWN if doubt else None)
        turn += 1


def delete_many(engine: Engine, targets: Sequence[Target]) -> Mapping[str, str]:
    """See ``RawBackend.delete_many``; several at once."""

    def work(target: Target) -> str:
        try:
            delete(engine, target, None)
        except StoreError as error:
            return error.code
        return ""

    codes = _several(engine, work, targets)
    return {target.key: code for target, code in zip(targets, codes, strict=True) if code}


def _several(engine: Engine, work: Callable[[Any], Any], things: Iterable[Any]) -> Sequence[Any]:
    with ThreadPoolExecutor(engine.config.delete_workers) as pool:
        return list(pool.map(work, things))


def erase(engine: Engine, scope: Scope) -> int:
    """See ``RawBackend.erase``: live generations, older ones, and what was on its way."""
    bucket = engine.bucket(scope)
    mine = object_prefix(scope)
    count = _emptied(engine, scope, bucket, mine, versions=False)
    _emptied(engine, scope, bucket, mine, versions=True)
    _emptied(engine, scope, bucket, staging_prefix(scope), versions=True)
    return count


def _emptied(engine: Engine, scope: Scope, bucket: Any, prefix: str, *, versions: bool) -> int:
    """Destroy page after page until a listing is empty; count what was destroyed.

    Raises ``RetentionError`` for what a hold or a retention period of the engine's keeps, once
    everything else of its page is gone.
    """
    count = 0
    while named := _generations(engine, bucket, prefix, versions=versions):
        gone = _several(engine, lambda each: destroy(engine, bucket, *each), named)
        if not all(gone):
            names = (name for (name, _), done in zip(named, gone, strict=True) if not done)
            raise retained([key_of(scope, name) or "" for name in names])
        count += len(named)
    return count


def key_of(scope: Scope, name: str) -> str | None:
    """The key of a listed name; ``None`` for one that the codec did not make."""
    try:
        return decode_object_name(scope, name)
    except ForeignNameError:
        return None


def retained(keys: Sequence[str]) -> RetentionError:
    """The error for what stays because of a lock, by its keys; the rest may be gone."""
    ids = tuple(dict.fromkeys(keys))
    return RetentionError(
        f"the engine's own lock protects versions under {len(ids)} keys; others may be gone",
        hint="do it again when the locks have ended",
        ids=ids[:_NAMED],
        outcome=Outcome.UNKNOWN,
    )


def _generations(
    engine: Engine, bucket: Any, prefix: str, *, versions: bool
) -> list[tuple[str, int]]:
    """Name and generation of up to a page of what is there."""

    def ask() -> list[tuple[str, int]]:
        found = engine.client().list_blobs(
            bucket,
            prefix=prefix,
            versions=versions or None,
            page_size=1000,
            projection="noAcl",
            fields=_FIELDS,
            timeout=engine.timeout,
            retry=None,
        )
        # A page may be empty although others follow.
        pages = ([(each.name, int(each.generation)) for each in page] for page in found.pages)
        return next((page for page in pages if page), [])

    return engine.patience.listed(ask)


def destroy(engine: Engine, bucket: Any, name: str, generation: int) -> bool:
    """Destroy one generation for good, current or not; absent is fine. ``False`` where a lock of
    the engine's keeps it."""

    def request() -> None:
        # Naming the generation is the condition; a precondition would be one on the current one.
        bucket.blob(name, generation=generation).delete(timeout=engine.timeout, retry=None)

    failure: Failure | None = None
    try:
        engine.patience.repeat(request)
    except Failure as failed:
        failure = failed
    if failure is not None and failure.kind not in (Kind.ABSENT, Kind.RETAINED):
        raise translate(failure, Outcome.UNKNOWN)
    return failure is None or failure.kind is Kind.ABSENT
