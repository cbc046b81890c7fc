"""The engine's own object lock: as requests say it, as answers tell it, set later, and tried.

A period is in whole seconds on the wire, rounded up. Who may not see the lock of an object is told
of none, which is why the trial looks before it trusts.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from nexus_core.spi import (
    ObjectAttributes,
    ObjectInfo,
    Outcome,
    Problem,
    RetentionError,
    StoreError,
    UnsupportedError,
)
from nexus_s3._config import S3Config
from nexus_s3._engine import Patience, Target, call, given
from nexus_s3._failures import Failure, Kind, translate

_SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HELD: Final = b"nexus probe, held"
# How long the trial's own period lasts, in seconds: it is waited for, so that nothing stays.
_TRIAL: Final = 3


def rounded(attributes: ObjectAttributes, now: int) -> ObjectAttributes:
    """Attributes with the period that the engine will keep: whole seconds, and none that is over,
    which engines refuse."""
    until = attributes.retain_until
    if until is None:
        return attributes
    return attrs.evolve(attributes, retain_until=_up(until) if until > now else None)


def said(attributes: ObjectAttributes, mode: str | None) -> dict[str, Any]:
    """The lock of an object, as the request that makes it says it."""
    if mode is None:
        if attributes.legal_hold or attributes.retain_until is not None:
            raise UnsupportedError("object_lock")
        return {}
    asked: dict[str, Any] = {}
    if attributes.legal_hold:
        asked["ObjectLockLegalHoldStatus"] = "ON"
    if attributes.retain_until is not None:
        asked["ObjectLockMode"] = mode
        asked["ObjectLockRetainUntilDate"] = _moment(attributes.retain_until)
    return asked


def told(response: Mapping[str, Any]) -> dict[str, Any]:
    """The lock that a description tells."""
    until = response.get("ObjectLockRetainUntilDate")
    period = isinstance(until, datetime) and bool(response.get("ObjectLockMode"))
    return {
        "retain_until": _micros(until) if period and isinstance(until, datetime) else None,
        "legal_hold": response.get("ObjectLockLegalHoldStatus") == "ON",
    }


def set_lock(
    patience: Patience,
    pinned: Target,
    look: Callable[[], ObjectInfo],
    *,
    retain_until: int | None,
    legal_hold: bool | None,
) -> ObjectInfo:
    """See ``RawBackend.set_lock``. The period goes first; what is said twice does no harm."""
    there = look().attributes
    before = there.retain_until
    if retain_until is not None:
        wanted = _up(retain_until)
        if before is not None and wanted < before:
            raise RetentionError("a period is only extended", outcome=Outcome.NOT_APPLIED)
        if wanted != before:
            period = {"Mode": pinned.lock, "RetainUntilDate": _moment(wanted)}
            _sent(patience, pinned, "put_object_retention", Retention=period)
    if legal_hold is not None and legal_hold != there.legal_hold:
        status = {"Status": "ON" if legal_hold else "OFF"}
        _sent(patience, pinned, "put_object_legal_hold", LegalHold=status)
    return look()


def _sent(patience: Patience, pinned: Target, operation: str, **asked: Any) -> None:
    error: StoreError
    try:
        patience.repeat(lambda: pinned.call(operation, **asked))
        return
    except Failure as failure:
        error = translate(failure)
    raise error


def fault(config: S3Config, client: Any, bucket: str, patience: Patience) -> Problem | None:
    """What is wrong with a bucket that has no object lock where the settings use it."""
    if config.object_lock is None:
        return None
    try:
        answer = patience.repeat(
            lambda: call(client, "get_object_lock_configuration", Bucket=bucket)
        )
    except Failure as failure:
        if failure.kind is Kind.DENIED:
            return Problem(
                path="object_lock",
                what=f"the bucket {bucket} does not tell whether it has object lock",
                fix="allow the credentials s3:GetBucketObjectLockConfiguration",
            )
        answer = {}
    there = (answer.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled")
    if there == "Enabled":
        return None
    return Problem(
        path="object_lock",
        what=f"the bucket {bucket} was made without object lock",
        fix="name a bucket that was made with it, or leave the setting out",
    )


def locks(target: Target, do: Callable[..., Any], mode: str) -> bool:
    """Whether a version that is made locked, or locked later, is told so and not destroyed.

    ``do`` sends a request about the target; raises ``Failure``.
    """
    # Where objects are locked, some engines take no body without a digest that all know.
    digest = base64.b64encode(hashlib.md5(_HELD, usedforsecurity=False).digest()).decode()
    asked = {"Body": _HELD, "ContentMD5": digest, "ObjectLockLegalHoldStatus": "ON"}
    held = do(target, "put_object", **asked)
    version = given(held, "VersionId")
    kept = _told(target, do, version)["legal_hold"] and _refused(target, do, version)
    do(target, "put_object_legal_hold", VersionId=version, LegalHold={"Status": "OFF"})
    lifted = not _told(target, do, version)["legal_hold"]
    until = _up(_micros(do(target, "head_object")["LastModified"])) + _TRIAL * _SECOND
    period = {"Mode": mode, "RetainUntilDate": _moment(until)}
    do(target, "put_object_retention", VersionId=version, Retention=period)
    try:
        retained = _told(target, do, version)["retain_until"] == until
        return kept and lifted and retained and _refused(target, do, version)
    finally:
        with suppress(Failure):
            for _ in range(_TRIAL + 2):
                time.sleep(1)
                if not _refused(target, do, version):
                    break


def _told(target: Target, do: Callable[..., Any], version: str) -> dict[str, Any]:
    return told(do(target, "head_object", VersionId=version))


def _refused(target: Target, do: Callable[..., Any], version: str) -> bool:
    try:
        do(target, "delete_object", VersionId=version)
    except Failure as failure:
        if failure.passes:
            raise
        return True
    return False


def _up(micros: int) -> int:
    return -(-micros // _SECOND) * _SECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _micros(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)
