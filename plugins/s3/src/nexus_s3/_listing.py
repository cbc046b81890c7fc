"""Listing the keys of a scope, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nexus_core.spi import (
    ForeignNameError,
    IntegrityError,
    ObjectEntry,
    ObjectPage,
    Scope,
    decode_object_name,
    object_prefix,
)
from nexus_s3._engine import Patience, call
from nexus_s3._record import bare


def page(
    patience: Patience,
    client: Any,
    bucket: str,
    root: str,
    scope: Scope,
    *,
    prefix: str,
    delimiter: str | None,
    after: str | None,
    limit: int,
) -> ObjectPage:
    """See ``RawBackend.list``. ``root`` is what all of the store's names begin with.

    An engine may give a rolled-up prefix once more after it was named as the starting point, and
    names that no key could have made (a folder's marker) are left out; a page that is empty
    because of that is followed by the next.
    """
    home = root + object_prefix(scope)
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": home + prefix, "MaxKeys": limit}
    if delimiter is not None:
        asked["Delimiter"] = delimiter
    if after is not None:
        asked["StartAfter"] = home + after
    while True:
        answer = patience.told(lambda: call(client, "list_objects_v2", **asked.copy()))
        items = tuple(_entries(answer.get("Contents") or (), root, home, scope, after))
        prefixes = tuple(_rolled(answer.get("CommonPrefixes") or (), home, after))
        more = bool(answer.get("IsTruncated"))
        if items or prefixes or not more:
            break
        following = answer.get("NextContinuationToken")
        if not following or following == asked.get("ContinuationToken"):
            raise IntegrityError("the engine's listing does not move on")
        asked["ContinuationToken"] = following
        asked.pop("StartAfter", None)
    shown = [item.key for item in items] + list(prefixes)
    return ObjectPage(
        items=items,
        prefixes=prefixes,
        next_after=max(shown, key=str.encode) if more and shown else None,
    )


def _entries(
    contents: Iterable[Mapping[str, Any]], root: str, home: str, scope: Scope, after: str | None
) -> Iterable[ObjectEntry]:
    for item in contents:
        physical = str(item["Key"])
        if not physical.startswith(home):
            raise ForeignNameError("the engine listed a name outside the scope")
        name = physical[len(root) :]
        try:
            key = decode_object_name(scope, name)
        except ForeignNameError:
            continue
        if after is not None and key.encode() <= after.encode():
            continue
        yield ObjectEntry(
            key=key,
            size=int(item["Size"]),
            etag=bare(item.get("ETag")),
            modified_at=int(item["LastModified"].timestamp() * 1_000_000),
            name=name,
        )


def _rolled(prefixes: Iterable[Mapping[str, Any]], home: str, after: str | None) -> Iterable[str]:
    for each in prefixes:
        physical = str(each["Prefix"])
        if not physical.startswith(home):
            raise ForeignNameError("the engine listed a name outside the scope")
        rolled = physical[len(home) :]
        if after is None or rolled.encode() > after.encode():
            yield rolled
