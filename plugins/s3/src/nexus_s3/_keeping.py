"""Whether a bucket keeps old versions: what it says of itself, and what a trial shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nexus_core.spi import Problem
from nexus_s3._config import S3Config
from nexus_s3._engine import Patience, Target, call, given
from nexus_s3._failures import Failure, Kind, translate

_OLD: Final = b"nexus probe, old version"
_NEW: Final = b"nexus probe, new version"


def fault(config: S3Config, client: Any, bucket: str, patience: Patience) -> Problem | None:
    """What is wrong with a bucket that keeps versions, or does not, against the settings.

    An engine that does not know the question keeps none.
    """
    try:
        answer = patience.repeat(lambda: call(client, "get_bucket_versioning", Bucket=bucket))
        status = str(answer.get("Status") or "")
    except Failure as failure:
        if not config.versions:
            return None
        return Problem(
            path="versions",
            what=f"the bucket {bucket} does not tell whether it keeps old versions: "
            f"{translate(failure).message}",
            fix="allow the credentials s3:GetBucketVersioning, or set versions = false",
        )
    if config.versions and status != "Enabled":
        return Problem(
            path="versions",
            what=f"the bucket {bucket} keeps no old versions",
            fix="switch its versioning on, or set versions = false",
        )
    if not config.versions and status:
        return Problem(
            path="versions",
            what=f"the bucket {bucket} keeps old versions, or did, of which erasing a subject "
            "would know nothing",
            fix="set versions = true and have its versioning on, or name another bucket",
        )
    return None


def keep(client: Any, bucket: str, patience: Patience) -> None:
    """Have a new bucket keep versions; raises ``Failure``."""
    said = {"Status": "Enabled"}
    patience.repeat(
        lambda: call(client, "put_bucket_versioning", Bucket=bucket, VersioningConfiguration=said)
    )


def keeps_versions(target: Target, do: Callable[..., Any]) -> bool:
    """Whether old versions are listed, read and destroyed by their ids, over a deletion.

    ``do`` sends a request about the target; raises ``Failure``.
    """
    first = do(target, "put_object", Body=_OLD).get("VersionId")
    second = do(target, "put_object", Body=_NEW).get("VersionId")
    do(target, "delete_object")
    if not first or not second or first == second:
        return False
    if _listed(target) != [second, first] or _read(target, do, first) != _OLD:
        return False
    if _read(target, do, first[:-1] + ("1" if first[-1] == "0" else "0")) is not None:
        return False
    do(target, "delete_object", VersionId=second)
    return (
        _listed(target) == [first]
        and _read(target, do, second) is None
        and _read(target, do, first) == _OLD
        and _read(target, do, None) is None
    )


def _listed(target: Target) -> list[str]:
    answer = call(target.client, "list_object_versions", Bucket=target.bucket, Prefix=target.name)
    return [given(each, "VersionId") for each in answer.get("Versions") or ()]


def _read(target: Target, do: Callable[..., Any], version: str | None) -> bytes | None:
    pinned = {} if version is None else {"VersionId": version}
    try:
        with do(target, "get_object", **pinned)["Body"] as body:
            return bytes(body.read())
    except Failure as failure:
        if failure.kind is Kind.ABSENT or failure.status in (400, 405):
            return None
        raise
