"""Histories, in buckets that keep versions: listed, read, brought back, destroyed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import attrs

from nexus_core.spi import (
    ByteRange,
    ForeignNameError,
    ObjectStream,
    ObjectVersion,
    Scope,
    StoreError,
    VersionPage,
    decode_object_name,
    encode_object_name,
    object_prefix,
)
from nexus_s3 import _read
from nexus_s3._delete import delete_versions
from nexus_s3._engine import Patience, Target
from nexus_s3._failures import Failure, Kind, not_found, translate
from nexus_s3._listing import listed
from nexus_s3._record import Found, found

_PAGE: Final = 1000


@attrs.frozen(kw_only=True)
class Place:
    """Where a scope's histories are; ``root`` is what all of the store's names begin with."""

    client: Any = attrs.field(repr=False, eq=False)
    bucket: str = attrs.field(repr=False)
    root: str = attrs.field(repr=False)
    scope: Scope


def page(
    patience: Patience,
    place: Place,
    key: str | None,
    *,
    after: tuple[str, str] | None,
    limit: int,
) -> VersionPage:
    """See ``RawBackend.list_versions``.

    A key's own name comes before all others that begin with it, so its history ends where another
    name begins. Versions come in the engine's order; markers are put among them by their times,
    which on some engines are whole seconds.
    """
    home = place.root + object_prefix(place.scope)
    asked: dict[str, Any] = {"Bucket": place.bucket, "Prefix": home, "MaxKeys": min(limit, _PAGE)}
    if key is not None:
        asked["Prefix"] = place.root + encode_object_name(place.scope, key)
    if after is not None:
        asked["KeyMarker"] = place.root + encode_object_name(place.scope, after[0])
        asked["VersionIdMarker"] = after[1]
    while True:
        answer = patience.told(partial(listed, place.client, "list_object_versions", **asked))
        lines = _ordered([*_lines(answer, "Versions"), *_lines(answer, "DeleteMarkers")])
        shown = tuple(each for each in (_told(place, one) for one in lines) if each is not None)
        mine = tuple(each for each in shown if key in (None, each.key))
        following = _following(answer, lines)
        if not answer.get("IsTruncated") or (len(mine) < len(lines) and key is not None):
            return VersionPage(items=mine)
        if mine:
            last = key_of(place, following[0])
            if last is not None:
                return VersionPage(items=mine, next_after=(last, following[1]))
        # Names that no key could have made end the page: go on where they end.
        asked["KeyMarker"], asked["VersionIdMarker"] = following


def _following(
    answer: Mapping[str, Any], lines: list[tuple[bool, Mapping[str, Any]]]
) -> tuple[str, str]:
    """Name and version with which a page ended.

    The name is that of the line which has the version: in an answer that encodes names, some
    engines leave the one that says where to go on as it is.
    """
    version = str(answer.get("NextVersionIdMarker") or "")
    ends = [str(each["Key"]) for _, each in lines if each.get("VersionId") == version]
    if not ends:
        if answer.get("IsTruncated"):
            raise translate(Failure(Kind.STRANGE))
        return "", ""
    return max(ends, key=str.encode), version


def _lines(answer: Mapping[str, Any], kind: str) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    return ((kind == "DeleteMarkers", each) for each in answer.get(kind) or ())


def _ordered(
    lines: list[tuple[bool, Mapping[str, Any]]],
) -> list[tuple[bool, Mapping[str, Any]]]:
    """Versions and markers in one order; versions keep theirs, for times may be equal."""

    def place(line: tuple[bool, Mapping[str, Any]]) -> tuple[bytes, bool, float]:
        _, each = line
        return (
            str(each["Key"]).encode(),
            not each.get("IsLatest"),
            -each["LastModified"].timestamp(),
        )

    return sorted(lines, key=place)


def key_of(place: Place, physical: str) -> str | None:
    """The key of a listed name, ``None`` for one that no key could have made."""
    home = place.root + object_prefix(place.scope)
    if not physical.startswith(home):
        raise ForeignNameError("the engine listed a name outside the scope")
    try:
        return decode_object_name(place.scope, physical[len(place.root) :])
    except ForeignNameError:
        return None


def _told(place: Place, line: tuple[bool, Mapping[str, Any]]) -> ObjectVersion | None:
    marker, each = line
    physical = str(each["Key"])
    key = key_of(place, physical)
    if key is None:
        return None
    return ObjectVersion(
        key=key,
        version_id=str(each.get("VersionId") or "null"),
        size=0 if marker else int(each["Size"]),
        modified_at=int(each["LastModified"].timestamp() * 1_000_000),
        current=bool(each.get("IsLatest")) and not marker,
        marker=marker,
        name=physical[len(place.root) :],
    )


def history(patience: Patience, place: Place, key: str) -> list[ObjectVersion]:
    """All lines of a key's history."""
    lines: list[ObjectVersion] = []
    after: tuple[str, str] | None = None
    while True:
        found = page(patience, place, key, after=after, limit=_PAGE)
        lines += found.items
        after = found.next_after
        if after is None:
            return lines


def look(patience: Patience, target: Target, version_id: str) -> Found:
    """What is known of one version; see ``RawBackend.head_version``."""
    error: StoreError
    pinned = attrs.evolve(target, version=version_id)
    try:
        response = patience.repeat(lambda: pinned.call("head_object"))
    except Failure as failure:
        error = _refusal(patience, pinned, failure)
    else:
        if str(response.get("VersionId")) == version_id:
            seen = found(target, response, int(response.get("ContentLength") or 0))
            return attrs.evolve(seen, info=attrs.evolve(seen.info, version_id=version_id))
        error = not_found()
    raise error


def _refusal(patience: Patience, pinned: Target, failure: Failure) -> StoreError:
    """Why a version is not given. An answer to HEAD has no text, so that it is asked once more."""
    if failure.kind is Kind.ABSENT:
        return not_found()
    if failure.kind in (Kind.STRANGE, Kind.DENIED):
        try:
            patience.repeat(lambda: pinned.call("get_object", Range="bytes=0-0"))["Body"].close()
        except Failure as again:
            # A marker cannot be got (405), a text that no engine gave out is no argument (400).
            if again.kind is Kind.ABSENT or again.status in (400, 405):
                absent = again.kind in (Kind.ABSENT, Kind.STRANGE)
                return not_found() if absent else translate(again)
            failure = again
    if failure.kind is Kind.DENIED and _unlisted(patience, pinned):
        return not_found()
    return translate(failure)


def _unlisted(patience: Patience, pinned: Target) -> bool:
    """Whether a version that may not be looked at is not there at all; see ``_look``."""
    try:
        answer = patience.repeat(
            lambda: listed(
                pinned.client, "list_object_versions", Bucket=pinned.bucket, Prefix=pinned.name
            )
        )
    except Failure:
        return False
    return not any(
        (each["Key"], each.get("VersionId")) == (pinned.name, pinned.version)
        for each in answer.get("Versions") or ()
    )


@contextmanager
def opened(
    patience: Patience, target: Target, version_id: str, range: ByteRange | None
) -> Iterator[ObjectStream]:
    """See ``RawBackend.open_version``."""
    seen = look(patience, target, version_id)
    pinned = attrs.evolve(target, version=version_id)
    with _read.opened(patience, pinned, range, seen.info.etag) as stream:
        yield attrs.evolve(stream, info=attrs.evolve(stream.info, version_id=version_id))


def purge(patience: Patience, place: Place, key: str, version_ids: Sequence[str]) -> None:
    """See ``RawBackend.purge``. Only what the key's history names is sent to the engine."""
    doomed = [
        {"Key": place.root + each.name, "VersionId": each.version_id}
        for each in history(patience, place, key)
        if each.version_id in version_ids
    ]
    error: StoreError
    try:
        delete_versions(patience, place.client, place.bucket, doomed, lambda _: key)
        return
    except Failure as failure:
        error = translate(failure)
    raise error
