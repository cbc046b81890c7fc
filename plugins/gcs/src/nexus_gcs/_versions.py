"""Histories, in buckets that keep versions: a version is a generation, bound to its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby
from typing import Any, Final

from nexus_core.spi import (
    ByteRange,
    IntegrityError,
    ObjectInfo,
    ObjectStream,
    ObjectVersion,
    Outcome,
    Scope,
    StoreError,
    VersionPage,
    encode_object_name,
    object_prefix,
)
from nexus_gcs import _locking
from nexus_gcs._delete import destroy, key_of, retained
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, Kind, not_found, translate
from nexus_gcs._read import streamed
from nexus_gcs._record import Found, entry_of, generation_of
from nexus_gcs._write import Condition, described, resealed, rewriting, settle

_PAGE: Final = 1000
_FIELDS: Final = "nextPageToken,items(name,size,generation,timeCreated,timeDeleted)"


def page(
    engine: Engine,
    scope: Scope,
    key: str | None,
    *,
    after: tuple[str, str] | None,
    limit: int,
) -> VersionPage:
    """See ``RawBackend.list_versions``. The engine lists the oldest first, so that a name's whole
    history is read for any part of it."""
    prefix = object_prefix(scope) if key is None else encode_object_name(scope, key)
    first, before = prefix, None
    if after is not None:
        first = encode_object_name(scope, after[0])
        before = generation_of(first, after[1])
    lines: list[ObjectVersion] = []
    for name, generations in _histories(engine, scope, prefix, first):
        owner = key_of(scope, name)
        if key is not None and owner != key:
            break
        for each in reversed(generations):
            passed = name == first and before is not None and int(each.generation) >= before
            if owner is None or passed:
                continue
            if len(lines) == limit:
                last = lines[-1]
                return VersionPage(items=tuple(lines), next_after=(last.key, last.version_id))
            lines.append(_line(owner, each))
    return VersionPage(items=tuple(lines))


def _histories(
    engine: Engine, scope: Scope, prefix: str, first: str
) -> Iterator[tuple[str, list[Any]]]:
    """Each name from ``first`` on, with its generations, oldest first."""
    for name, generations in groupby(_every(engine, scope, prefix, first), lambda each: each.name):
        yield name, sorted(generations, key=lambda each: int(each.generation))


def _every(engine: Engine, scope: Scope, prefix: str, first: str) -> Iterator[Any]:
    token: str | None = None
    while True:
        blobs, token = engine.patience.listed(
            partial(_page, engine, scope, prefix=prefix, start_offset=first, page_token=token)
        )
        yield from blobs
        if token is None:
            return


def _page(engine: Engine, scope: Scope, **bounds: Any) -> tuple[list[Any], str | None]:
    listed = engine.client().list_blobs(
        engine.bucket(scope),
        versions=True,
        page_size=_PAGE,
        projection="noAcl",
        fields=_FIELDS,
        timeout=engine.timeout,
        retry=None,
        **bounds,
    )
    return list(next(listed.pages, ())), listed.next_page_token


def _line(key: str, blob: Any) -> ObjectVersion:
    entry = entry_of(key, blob)
    return ObjectVersion(
        key=key,
        version_id=entry.etag,
        size=entry.size,
        modified_at=entry.modified_at,
        current=blob.time_deleted is None,
        marker=False,
        name=entry.name,
    )


def look(engine: Engine, target: Target, version_id: str) -> Found:
    """What is known of one version; see ``RawBackend.head_version``."""
    return _looked(engine, target, version_id)[1]


def set_lock(
    engine: Engine, target: Target, version_id: str, until: int | None, hold: bool | None
) -> ObjectInfo:
    """See ``RawBackend.set_lock``."""

    def there() -> tuple[Any, ObjectInfo]:
        blob, seen = _looked(engine, target, version_id)
        return blob, seen.info

    return _locking.set_lock(engine, there, retain_until=until, legal_hold=hold)


def _looked(engine: Engine, target: Target, version_id: str) -> tuple[Any, Found]:
    """The engine's description of one version, and what it says."""
    engine.ready()
    generation = generation_of(target.name, version_id)
    if generation is None:
        raise not_found()

    def ask() -> Any:
        blob = target.blob(generation)
        blob.reload(projection="noAcl", timeout=engine.timeout, retry=None)
        return blob

    error: StoreError
    try:
        blob = engine.patience.repeat(ask)
    except Failure as failure:
        # A number that is too large to be a generation is no argument.
        absent = failure.kind is Kind.ABSENT or failure.status == 400
        error = not_found() if absent else translate(failure, Outcome.NOT_APPLIED)
    else:
        seen = described(engine, target, blob)
        if seen.generation != generation:
            raise IntegrityError("the engine described another generation than it was asked for")
        return blob, seen
    raise error


def opened(
    engine: Engine, target: Target, version_id: str, range: ByteRange | None
) -> AbstractContextManager[ObjectStream]:
    """See ``RawBackend.open_version``."""
    return streamed(engine, target, look(engine, target, version_id), range)


def restore(
    engine: Engine,
    target: Target,
    version_id: str,
    *,
    if_absent: bool,
    if_match: str | None,
) -> ObjectInfo:
    """See ``RawBackend.restore``: the engine rewrites the generation over its own name."""
    old = look(engine, target, version_id)
    condition = Condition.of(target, if_absent=if_absent, if_match=if_match)
    sealed = resealed(engine, old.info.attributes, old.info.sha256, old.crc32c)
    rewrite = rewriting(engine, target, target.blob(old.generation), sealed, past=True)
    return settle(
        engine, target, condition, sealed, lambda replaced: once(lambda: rewrite(replaced))
    )


def purge(engine: Engine, scope: Scope, target: Target, version_ids: Sequence[str]) -> None:
    """See ``RawBackend.purge``."""
    generations = (generation_of(target.name, each) for each in version_ids)
    bucket = engine.bucket(scope)
    gone = [destroy(engine, bucket, target.name, each) for each in generations if each is not None]
    if not all(gone):
        raise retained([target.key])
