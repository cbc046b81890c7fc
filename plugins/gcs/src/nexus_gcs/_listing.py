"""Listing: the engine's own order and roll-up, from any starting point."""

from __future__ import annotations

from typing import Any, Final

from nexus_core.spi import (
    ForeignNameError,
    ObjectEntry,
    ObjectPage,
    Scope,
    decode_object_name,
    object_prefix,
)
from nexus_gcs._engine import Engine
from nexus_gcs._record import entry_of

# What the engine gives at most; one more than asked for says whether anything is left.
MAX_PAGE: Final = 1000
_NEXT: Final = "0"  # the character after the delimiter
_FIELDS: Final = "nextPageToken,prefixes,items(name,size,generation,timeCreated)"


def page(
    engine: Engine,
    scope: Scope,
    *,
    prefix: str,
    delimiter: str | None,
    after: str | None,
    limit: int,
) -> ObjectPage:
    """See ``RawBackend.list``."""
    mine = object_prefix(scope)
    first = None if after is None else mine + _resume(prefix, delimiter, after)
    low = b"" if after is None else after.encode()
    token: str | None = None
    while True:
        blobs, rolled, token = _request(
            engine,
            scope,
            prefix=mine + prefix,
            delimiter=delimiter,
            start_offset=first,
            page_size=min(limit + 2, MAX_PAGE),
            page_token=token,
        )
        shown: dict[str, ObjectEntry | None] = {}
        for blob in blobs:
            key = _key(scope, blob.name)
            if key is not None:
                shown[key] = entry_of(key, blob)
        for name in rolled:
            if name.startswith(mine):
                shown[name[len(mine) :]] = None
        order = sorted((each for each in shown if each.encode() > low), key=str.encode)
        if order or token is None:
            break
    chosen = order[:limit]
    more = token is not None or len(order) > limit
    items = tuple(entry for each in chosen if (entry := shown[each]) is not None)
    return ObjectPage(
        items=items,
        prefixes=tuple(each for each in chosen if shown[each] is None),
        next_after=chosen[-1] if more and chosen else None,
    )


def _resume(prefix: str, delimiter: str | None, after: str) -> str:
    """Where the engine is to begin: at ``after`` itself, or past all that is rolled up with it."""
    if delimiter is not None and after.startswith(prefix):
        head, found, _ = after[len(prefix) :].partition(delimiter)
        if found:
            return prefix + head + _NEXT
    return after


def _request(
    engine: Engine, scope: Scope, **bounds: Any
) -> tuple[list[Any], list[str], str | None]:
    """One page of the engine's: objects, rolled-up prefixes, and the token of the next."""

    def ask() -> tuple[list[Any], list[str], str | None]:
        found = engine.client().list_blobs(
            engine.bucket(scope),
            projection="noAcl",
            fields=_FIELDS,
            timeout=engine.timeout,
            retry=None,
            **bounds,
        )
        blobs = list(next(found.pages, ()))
        return blobs, sorted(found.prefixes), found.next_page_token

    return engine.patience.listed(ask)


def _key(scope: Scope, name: str) -> str | None:
    """The key of a listed name; ``None`` for one that the codec did not make."""
    try:
        return decode_object_name(scope, name)
    except ForeignNameError:
        return None
