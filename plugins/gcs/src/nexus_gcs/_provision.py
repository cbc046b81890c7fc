"""Buckets: what must hold of them, and making those that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nexus_core.spi import ConfigurationError, Outcome, Problem, Runtime, StoreError
from nexus_gcs import _locking
from nexus_gcs._config import GcsConfig
from nexus_gcs._engine import Engine, once
from nexus_gcs._failures import Failure, Kind, translate

# What the store does with objects; the last only to write its own work anew.
NEEDED: Final = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
# What setting a lock takes beside.
LOCKING: Final = ("storage.objects.setRetention", "storage.objects.update")
_STAGED_DAYS: Final = 8


def check(engine: Engine) -> Sequence[Problem]:
    """Everything that is wrong with the buckets; writes nothing."""
    engine.ready()
    problems: list[Problem] = []
    for path, name in engine.config.all_buckets.items():
        problems += _faults(engine, path, name)
    return problems


def _faults(engine: Engine, path: str, name: str) -> list[Problem]:
    try:
        bucket = _look(engine, name)
        held = _held(engine, bucket)
    except Failure as failure:
        return [_unusable(engine, path, name, failure)]
    except StoreError as error:
        return [Problem(path="identity", what=error.message, fix=error.hint or "see the docs")]
    problems = []
    if missing := sorted(_needed(engine) - held):
        role = "User" if engine.config.object_lock is None else "Admin"
        problems.append(
            Problem(
                path=path,
                what=f"the credentials lack {', '.join(missing)} on the bucket {name}",
                fix=f"grant the role Storage Object {role}, or one that has them",
            )
        )
    if bool(bucket.versioning_enabled) is not engine.config.versions:
        problems.append(_other_versioning(name, wanted=engine.config.versions))
    if engine.config.object_lock is not None and (problem := _locking.fault(name, bucket)):
        problems.append(problem)
    if not engine.config.accept_recoverable and (kept := _kept(bucket)):
        problems.append(
            Problem(
                path=path,
                what=f"the bucket {name} {kept}, so that an erased scope is not gone",
                fix="switch that off on the bucket, or set accept_recoverable = true",
            )
        )
    return problems


def _needed(engine: Engine) -> set[str]:
    return {*NEEDED, *(() if engine.config.object_lock is None else LOCKING)}


def _held(engine: Engine, bucket: Any) -> set[str]:
    """The permissions of the store's identity on a bucket, of those that it needs."""
    # Nobody has none of his own, and emulators that ask nobody who he is may not know the question.
    if engine.config.identity == "anonymous":
        return _needed(engine)
    asked = sorted(_needed(engine))
    return set(
        engine.patience.repeat(
            lambda: bucket.test_iam_permissions(asked, timeout=engine.timeout, retry=None)
        )
    )


def _other_versioning(name: str, *, wanted: bool) -> Problem:
    if wanted:
        what = f"the bucket {name} keeps no old versions"
        fix = "switch its object versioning on, or set versions = false"
    else:
        what = (
            f"the bucket {name} keeps old versions, of which erasing a subject would know nothing"
        )
        fix = "set versions = true, or switch its object versioning off"
    return Problem(path="versions", what=what, fix=fix)


def _look(engine: Engine, name: str) -> Any:
    """The bucket as the engine describes it; raises ``Failure``."""

    def ask() -> Any:
        bucket = engine.client().bucket(name)
        bucket.reload(projection="noAcl", timeout=engine.timeout, retry=None)
        return bucket

    return engine.patience.repeat(ask)


def _kept(bucket: Any) -> str:
    """How the bucket keeps what was deleted; empty if it does not."""
    soft = getattr(bucket, "soft_delete_policy", None)
    if soft is not None and int(soft.retention_duration_seconds or 0):
        return "keeps deleted objects (soft delete)"
    if bucket.retention_period:
        return "has a retention policy"
    if bucket.default_event_based_hold:
        return "holds every new object (default event-based hold)"
    return ""


def _unusable(engine: Engine, path: str, name: str, failure: Failure) -> Problem:
    match failure.kind:
        case Kind.ABSENT | Kind.NO_BUCKET:
            return Problem(
                path=path,
                what=f"the bucket {name} does not exist",
                fix="run `nexus init`, or create it",
            )
        case Kind.DENIED:
            return Problem(
                path=path,
                what=f"the credentials may not look at the bucket {name}",
                fix="grant the role Storage Legacy Bucket Reader, or storage.buckets.get",
            )
        case Kind.UNKNOWN_KEYS:
            return Problem(
                path="key" if engine.config.identity == "key" else "identity",
                what="the engine refused the credentials",
                fix="name a key that is valid",
            )
        case _:
            return Problem(
                path="endpoint",
                what=f"{engine.config.address}: {translate(failure).message}",
                fix="name an address that answers as GCS does, or wait until it does",
            )


def provision(config: GcsConfig, runtime: Runtime) -> Sequence[str]:
    """Create the buckets that are not there; leave those that are as they are. Idempotent."""
    engine = Engine(config, runtime)
    try:
        made = [
            f"bucket {name}"
            for path, name in config.all_buckets.items()
            if _provisioned(engine, path, name)
        ]
        problems = check(engine)
    finally:
        engine.close()
    if problems:
        raise ConfigurationError(problems)
    return made


def _provisioned(engine: Engine, path: str, name: str) -> bool:
    try:
        _look(engine, name)
    except Failure as failed:
        missing = failed
    else:
        return False
    if missing.kind not in (Kind.ABSENT, Kind.NO_BUCKET):
        raise ConfigurationError([_unusable(engine, path, name, missing)])
    location = engine.config.location
    if location is None:
        what = f"says nowhere to create the bucket {name}"
        raise ConfigurationError([Problem(path="location", what=what, fix="name a location")])
    turn = 0
    while True:
        try:
            once(lambda: _create(engine, name, location))
        except Failure as failed:
            failure = failed
        else:
            return True
        if failure.kind is Kind.CONFLICT:
            return _exists_after_all(engine, path, name)
        if not failure.passes or not engine.patience.pause(turn, failure):
            raise translate(failure, Outcome.UNKNOWN if failure.in_doubt else None)
        turn += 1


def _exists_after_all(engine: Engine, path: str, name: str) -> bool:
    """Made by another process meanwhile, by ourselves without an answer, or somebody else's."""
    try:
        _look(engine, name)
    except Failure:
        what = f"the bucket name {name} is taken, and not by this project"
        raise ConfigurationError([Problem(path=path, what=what, fix="choose another")]) from None
    return False


def _create(engine: Engine, name: str, location: str) -> None:
    from google.cloud.storage import constants  # type: ignore[import-untyped]

    bucket = engine.client().bucket(name)
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = constants.PUBLIC_ACCESS_PREVENTION_ENFORCED
    bucket.soft_delete_policy.retention_duration_seconds = 0
    if engine.config.versions:
        bucket.versioning_enabled = True
    # What a killed writer left between its upload and its putting in place.
    bucket.add_lifecycle_delete_rule(age=_STAGED_DAYS, matches_prefix=["nexus-staging/"])
    bucket.create(
        client=engine.client(),
        project=engine.config.project,
        location=location,
        enable_object_retention=engine.config.object_lock is not None,
        timeout=engine.timeout,
        retry=None,
    )
