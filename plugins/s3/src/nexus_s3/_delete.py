"""Deleting: one key, many, and everything that a scope has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from nexus_core.spi import (
    Outcome,
    PartialWriteError,
    StoreError,
    UnavailableError,
)
from nexus_s3._engine import Patience, Target, call
from nexus_s3._failures import Failure, Kind, classify_code, translate
from nexus_s3._listing import listed
from nexus_s3._locks import reasons, retained
from nexus_s3._parts import abort, uploads
from nexus_s3._write import expected, mismatch

_BATCH: Final = 1000
# What no XML can hold, and so no request that names many keys.
_UNWRITABLE: Final = re.compile("[\ufffe\uffff]")
# How often a scope is gone through: others may be writing to it while it is erased.
_ROUNDS: Final = 5


def delete(patience: Patience, target: Target, if_match: str | None) -> None:
    """See ``RawBackend.delete``."""
    if if_match is None:
        try:
            patience.repeat(lambda: target.call("delete_object"))
        except Failure as failure:
            if failure.kind is not Kind.ABSENT:
                error = translate(failure)
                raise error from None
        return
    _delete_version(patience, target, if_match)


def _delete_version(patience: Patience, target: Target, if_match: str) -> None:
    present = expected(patience, target, if_match)
    doubt = False
    turn = 0
    while True:
        error: StoreError
        try:
            target.call("delete_object", IfMatch=present.etag)
            return
        except Failure as failure:
            refused = failure.kind in (Kind.CONDITION, Kind.ABSENT)
            if refused and doubt and failure.kind is Kind.ABSENT:
                # Gone, by our own request whose answer was lost or by somebody's after it.
                return
            doubt = doubt or failure.in_doubt
            if refused:
                error = mismatch(Outcome.UNKNOWN if doubt else Outcome.NOT_APPLIED)
            elif failure.passes and patience.pause(turn):
                turn += 1
                continue
            else:
                error = translate(failure, Outcome.UNKNOWN if doubt else None)
        raise error


def delete_many(
    patience: Patience, client: Any, bucket: str, names: Mapping[str, str]
) -> dict[str, str]:
    """Delete the objects of ``names`` (physical names by key); see ``RawBackend.delete_many``."""
    failed: dict[str, str] = {}
    keys = list(names)
    back = {name: key for key, name in names.items()}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        try:
            refused = _batch(patience, client, bucket, [{"Key": names[key]} for key in batch])
        except Failure as failure:
            failed |= dict.fromkeys(batch, translate(failure).code)
            continue
        for name, kind in refused:
            if kind is not Kind.ABSENT and name in back:
                failed[back[name]] = translate(Failure(kind)).code
    return failed


def delete_versions(
    patience: Patience,
    client: Any,
    bucket: str,
    objects: Sequence[Mapping[str, str]],
    key_of: Callable[[str], str | None],
) -> None:
    """Destroy versions, by physical name and id; ``key_of`` gives a name's key.

    Raises ``Failure``; ``RetentionError`` for what the engine's own lock protects, and
    ``PartialWriteError`` for what it refuses to destroy otherwise.
    """
    for start in range(0, len(objects), _BATCH):
        refused = [
            (name, kind)
            for name, kind in _batch(patience, client, bucket, objects[start : start + _BATCH])
            if kind is not Kind.ABSENT
        ]
        if any(kind is Kind.RETAINED for _, kind in refused):
            raise retained([key_of(name) or "" for name, kind in refused if kind is Kind.RETAINED])
        if refused:
            raise PartialWriteError(
                {str(n): translate(Failure(kind)).code for n, (_, kind) in enumerate(refused)},
                hint="see what the store's credentials may do with versions",
            )


def _batch(
    patience: Patience, client: Any, bucket: str, objects: Sequence[Mapping[str, str]]
) -> list[tuple[str, Kind]]:
    """Delete up to a thousand versions; give those that the engine refused, and why."""
    written = [each for each in objects if not _UNWRITABLE.search(each["Key"])]
    singly = [each for each in objects if _UNWRITABLE.search(each["Key"])]
    refused: list[tuple[str, str | None, Kind]] = []
    if written:
        named = {"Objects": written, "Quiet": True}
        try:
            answer = patience.repeat(
                lambda: call(client, "delete_objects", Bucket=bucket, Delete=named)
            )
        except Failure as failure:
            # Some engines allow it only to who may delete everything in the bucket.
            if failure.kind is not Kind.DENIED:
                raise
            singly = list(objects)
        else:
            refused += [
                (str(each.get("Key")), each.get("VersionId"), classify_code(each.get("Code")))
                for each in answer.get("Errors") or ()
            ]
    for each in singly:
        try:
            patience.repeat(partial(call, client, "delete_object", Bucket=bucket, **each))
        except Failure as failure:
            refused.append((each["Key"], each.get("VersionId"), failure.kind))
    return reasons(patience, client, bucket, refused)


def erase(
    patience: Patience,
    client: Any,
    bucket: str,
    home: str,
    key_of: Callable[[str], str | None] = lambda _: None,
) -> int:
    """Delete every version, marker and upload below ``home``; count the objects there were.

    Raises ``RetentionError`` or ``PartialWriteError`` for what the engine refuses to delete; see
    ``delete_versions``. Raises ``UnavailableError`` where others write faster than it deletes.
    """
    error: StoreError
    try:
        return _erase(patience, client, bucket, home, key_of)
    except Failure as failure:
        error = translate(failure)
    raise error


def _erase(
    patience: Patience, client: Any, bucket: str, home: str, key_of: Callable[[str], str | None]
) -> int:
    count = 0
    for _ in range(_ROUNDS):
        clean = True
        for name, upload, _begun in uploads(patience, client, bucket, home):
            clean = False
            abort(Target(client, bucket, name), upload)
        for objects, current in _versions(patience, client, bucket, home):
            clean = False
            delete_versions(patience, client, bucket, objects, key_of)
            count += current
        if clean:
            return count
    raise UnavailableError("the scope is being written to while it is erased")


def _versions(
    patience: Patience, client: Any, bucket: str, home: str
) -> Iterator[tuple[list[dict[str, str]], int]]:
    """Pages of versions and markers below a prefix, and how many of them are current objects.

    Each page begins at the start: what was there before has been deleted.
    """
    while True:
        answer = patience.repeat(
            lambda: listed(
                client, "list_object_versions", Bucket=bucket, Prefix=home, MaxKeys=_BATCH
            )
        )
        versions = [each for each in answer.get("Versions") or () if _below(each, home)]
        markers = [each for each in answer.get("DeleteMarkers") or () if _below(each, home)]
        objects = [
            {"Key": each["Key"], "VersionId": each.get("VersionId") or "null"}
            for each in (*versions, *markers)
        ]
        if not objects:
            return
        yield objects, sum(1 for each in versions if each.get("IsLatest", True))


def _below(each: Mapping[str, Any], home: str) -> bool:
    return str(each["Key"]).startswith(home)
