"""Buckets and the spool: making them, and saying what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nexus_core.spi import ConfigurationError, Problem, Runtime
from nexus_s3 import _keeping, _locking
from nexus_s3._config import AWS, S3Config
from nexus_s3._engine import Patience, call
from nexus_s3._failures import Failure, Kind
from nexus_s3._session import Clients

_FAULTS = {
    Kind.ABSENT: ("the bucket {} does not exist", "create it, or let `nexus init` do it"),
    Kind.DENIED: (
        "the bucket {} is refused to the store's credentials",
        "see that it is yours, and allow them s3:ListBucket and all that objects need",
    ),
    Kind.UNKNOWN_KEYS: (
        "the engine refuses the store's credentials (asked for the bucket {})",
        "see access_key, secret_key and region, and this machine's clock",
    ),
    Kind.UNREACHABLE: (
        "the engine cannot be reached (asked for the bucket {})",
        "see endpoint, the network between, and ca_bundle",
    ),
}
_OTHER = (
    "the engine does not answer as S3 would (asked for the bucket {})",
    "see endpoint and region, and whether the engine is well",
)


def check(config: S3Config, clients: Clients, spool: Path, patience: Patience) -> Sequence[Problem]:
    """Everything that is wrong; nothing is written."""
    return [*_spool_faults(spool), *_bucket_faults(config, clients, patience)]


def _spool_faults(spool: Path) -> Iterator[Problem]:
    effective = os.access in os.supports_effective_ids
    if not spool.is_dir():
        what, fix = f"the folder {spool} does not exist", "let `nexus init` make it"
    elif not os.access(spool, os.W_OK | os.X_OK, effective_ids=effective):
        what, fix = f"the folder {spool} cannot be written to", "give it to the program's user"
    else:
        return
    yield Problem(path="spool", what=what, fix=fix)


def _bucket_faults(config: S3Config, clients: Clients, patience: Patience) -> Iterator[Problem]:
    for setting, bucket in config.all_buckets.items():
        fault = _fault(clients.own(), bucket, patience)
        if fault is not None:
            what, fix = _FAULTS.get(fault, _OTHER)
            yield Problem(path=setting, what=what.format(bucket), fix=fix)
            if fault in (Kind.UNKNOWN_KEYS, Kind.UNREACHABLE):
                return
            continue
        for wrong in (_keeping.fault, _locking.fault):
            problem = wrong(config, clients.own(), bucket, patience)
            if problem is not None:
                yield problem


def _fault(client: Any, bucket: str, patience: Patience) -> Kind | None:
    """What keeps a bucket from being used, ``None`` if nothing is seen."""
    try:
        patience.repeat(lambda: call(client, "head_bucket", Bucket=bucket))
    except Failure as failure:
        # An answer to HEAD has no text, so that wrong keys look like missing rights.
        if failure.kind is Kind.DENIED:
            return _listed(client, bucket, patience)
        return failure.kind
    return None


def _listed(client: Any, bucket: str, patience: Patience) -> Kind:
    try:
        patience.repeat(lambda: call(client, "list_objects_v2", Bucket=bucket, MaxKeys=1))
    except Failure as failure:
        return failure.kind
    return Kind.DENIED


def provision(config: S3Config, runtime: Runtime) -> list[str]:
    """Make the spool and every bucket that is not there; say what was made.

    Idempotent. Raises ``ConfigurationError`` for what cannot be made or used.
    """
    made: list[str] = []
    spool = runtime.path(config.spool)
    if not spool.is_dir():
        reason = None
        try:
            spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror
        if reason is not None:
            what = f"the folder {spool} cannot be made: {reason}"
            raise ConfigurationError(
                [Problem(path="spool", what=what, fix="name another, or let this user write there")]
            )
        made.append(f"folder {spool}")
    clients = Clients(config, runtime)
    patience = Patience(config.attempts)
    try:
        for bucket in config.all_buckets.values():
            if _fault(clients.own(), bucket, patience) in (Kind.ABSENT, Kind.NO_BUCKET):
                _create(config, clients.own(), bucket, patience)
                made.append(f"bucket {bucket}")
        problems = check(config, clients, spool, patience)
    finally:
        clients.close()
    if problems:
        raise ConfigurationError(problems)
    return made


def _create(config: S3Config, client: Any, bucket: str, patience: Patience) -> None:
    where: dict[str, Any] = {}
    if config.endpoint == AWS and config.region != "us-east-1":
        where["CreateBucketConfiguration"] = {"LocationConstraint": config.region}
    if config.object_lock is not None:
        where["ObjectLockEnabledForBucket"] = True
    try:
        patience.repeat(lambda: call(client, "create_bucket", Bucket=bucket, **where))
        if config.versions:
            _keeping.keep(client, bucket, patience)
        return
    except Failure as failure:
        # Others may have made it at the same time, or it is somebody else's: the check says which.
        if failure.kind is Kind.CONFLICT:
            return
        what, fix = _FAULTS.get(failure.kind, _OTHER)
    setting = next(name for name, each in config.all_buckets.items() if each == bucket)
    raise ConfigurationError(
        [Problem(path=setting, what=f"cannot be made: {what.format(bucket)}", fix=fix)]
    )
