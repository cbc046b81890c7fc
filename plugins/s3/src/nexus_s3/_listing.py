"""Listing the keys of a scope, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

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
from nexus_s3._failures import Failure, Kind
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

    Some engines give the starting point itself once more, a key or a rolled-up prefix, so one name
    more than is wanted is asked for. Names that no key could have made (a folder's marker) are left
    out; a page that is empty because of that is followed by the next.
    """
    home = root + object_prefix(scope)
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": home + prefix, "MaxKeys": limit + 1}
    if delimiter is not None:
        asked["Delimiter"] = delimiter
    if after is not None:
        asked["StartAfter"] = home + after
    while True:
        answer = patience.told(partial(listed, client, "list_objects_v2", **asked))
        items = {
            each.key: each
            for each in _entries(answer.get("Contents") or (), root, home, scope, after)
        }
        prefixes = set(_rolled(answer.get("CommonPrefixes") or (), home, after))
        more = bool(answer.get("IsTruncated"))
        if items or prefixes or not more:
            break
        following = answer.get("NextContinuationToken")
        if not following or following == asked.get("ContinuationToken"):
            raise IntegrityError("the engine's listing does not move on")
        asked["ContinuationToken"] = following
        asked.pop("StartAfter", None)
    found = sorted((*items, *prefixes), key=str.encode)
    shown = found[:limit]
    return ObjectPage(
        items=tuple(items[name] for name in shown if name in items),
        prefixes=tuple(name for name in shown if name in prefixes),
        next_after=shown[-1] if shown and (more or len(found) > limit) else None,
    )


def listed(client: Any, operation: str, **asked: Any) -> Mapping[str, Any]:
    """One page of the engine's listing of objects or of versions; raises ``Failure``.

    Names come as they are, because an engine that encodes them may compare encoded ones with a
    starting point that is not. The few characters that XML cannot hold make that unreadable, and
    then they are asked for in the encoded form.
    """
    answer: Mapping[str, Any]
    try:
        answer = call(client, operation, **asked)
    except Failure as failure:
        # The library makes a failure of the engine's out of an answer that it cannot read.
        if failure.kind not in (Kind.STRANGE, Kind.BUSY):
            raise
    else:
        return answer
    answer = call(client, operation, EncodingType="url", **asked)
    if answer.get("EncodingType") != "url":
        raise Failure(Kind.STRANGE)
    lines = {
        kind: [{**each, "Key": unquote_plus(each["Key"])} for each in answer.get(kind) or ()]
        for kind in ("Contents", "Versions", "DeleteMarkers")
    }
    rolled = [
        {"Prefix": unquote_plus(each["Prefix"])} for each in answer.get("CommonPrefixes") or ()
    ]
    return {**answer, **lines, "CommonPrefixes": rolled}


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
