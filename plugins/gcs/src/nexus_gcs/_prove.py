"""What only writes can tell of an endpoint: whether it keeps the conditions that it says yes to.

Writes in the scope of a reserved tenant alone, under names of its own, and removes what it wrote.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import attrs

from nexus_core.spi import (
    ENVIRONMENTS,
    AlreadyExistsError,
    Body,
    ByteRange,
    ConfigurationError,
    ObjectAttributes,
    PreconditionFailedError,
    Problem,
    Proof,
    RetentionError,
    Runtime,
    Scope,
    SignedUrl,
    StoreError,
)
from nexus_gcs._config import GcsConfig
from nexus_gcs._engine import once
from nexus_gcs._failures import Failure
from nexus_gcs._locking import up
from nexus_gcs._session import Identity
from nexus_gcs._store import GcsStore

_TENANT: Final = "t_probe_a"
_TYPE: Final = "application/octet-stream"
_OLD: Final = b"nexus probe, old"
_NEW: Final = b"nexus probe, new"
_SAID: Final = ObjectAttributes(content_type=_TYPE, metadata={}, system={"probe": "1"})
# How long the trial's own period lasts, in seconds: it is waited for, so that nothing stays.
_TRIAL: Final = 3


def prove(config: GcsConfig, runtime: Runtime) -> Mapping[str, Proof]:
    """Try every promise that depends on the endpoint; ``True`` where it was seen to be kept.

    Raises ``ConfigurationError`` where there is no place to try, and the error of a store that
    cannot be written to at all.
    """
    scope = _scope(config)
    store = GcsStore(config, runtime)
    try:
        probe = _Probe(store, scope, config, Identity.of(config, runtime), runtime)
        try:
            return {
                "reachable": probe.reachable(),
                "conditional_create": _holds(probe.creates_once),
                "conditional_replace": _holds(probe.replaces_the_named),
                "conditional_delete": _holds(probe.deletes_the_named),
                "ranges": _holds(probe.gives_ranges),
                "copy": _holds(probe.copies),
                "versions": config.versions and _holds(probe.keeps_versions),
                "object_lock": config.object_lock is not None and _holds(probe.locks),
                "presign_get": config.identity == "key" and _holds(probe.signs_reads),
                "presign_put": config.identity == "key" and _holds(probe.signs_writes),
            }
        finally:
            probe.clean()
    finally:
        store.close()


def _scope(config: GcsConfig) -> Scope:
    for env in ENVIRONMENTS:
        scope = Scope(_TENANT, env)
        if config.bucket_of(scope) is not None:
            return scope
    what = f"names no bucket for the doctor's own scope {_TENANT}/dev"
    raise ConfigurationError([Problem(path="buckets", what=what, fix="add one")])


def _holds(trial: Callable[[], bool]) -> bool:
    try:
        return trial()
    except (StoreError, Failure):
        return False


class _Probe:
    def __init__(
        self, store: GcsStore, scope: Scope, config: GcsConfig, who: Identity, runtime: Runtime
    ) -> None:
        self._store = store
        self._scope = scope
        self._stem = f"_nexus/probe/{secrets.token_hex(8)}"
        self._timeout = (config.connect_seconds, config.read_seconds)
        self._bare = who.bare_session()
        self._versions = config.versions
        self._now = runtime.now
        self._made: list[str] = []

    def clean(self) -> None:
        """Remove what was written, as far as the endpoint does that."""
        self._bare.close()
        for key in self._made:
            with suppress(StoreError):
                self._store.delete(self._scope, key)
                if self._versions:
                    self._store.purge(self._scope, key, self._history(key))

    def _key(self, name: str) -> str:
        key = f"{self._stem}/{name}"
        self._made.append(key)
        return key

    def _put(
        self, key: str, data: bytes, attributes: ObjectAttributes = _SAID, **condition: Any
    ) -> Any:
        return self._store.put(self._scope, key, Body(data), attributes, **condition)

    def _get(self, key: str, wanted: ByteRange | None = None) -> bytes:
        with self._store.open(self._scope, key, range=wanted) as stream:
            return b"".join(stream.chunks)

    def reachable(self) -> bool:
        """A listing; raises where even that fails."""
        self._store.list(self._scope, limit=1)
        return True

    def creates_once(self) -> bool:
        key = self._key("create")
        self._put(key, _OLD, if_absent=True)
        refused = _raises(AlreadyExistsError, lambda: self._put(key, _NEW, if_absent=True))
        return refused and self._get(key) == _OLD

    def replaces_the_named(self) -> bool:
        key = self._key("replace")
        first = self._put(key, _OLD)
        second = self._put(key, _NEW, if_match=first.etag)
        refused = _raises(
            PreconditionFailedError, lambda: self._put(key, _OLD, if_match=first.etag)
        )
        return refused and first.etag != second.etag and self._get(key) == _NEW

    def deletes_the_named(self) -> bool:
        key = self._key("delete")
        first = self._put(key, _OLD)
        second = self._put(key, _NEW)
        refused = _raises(
            PreconditionFailedError,
            lambda: self._store.delete(self._scope, key, if_match=first.etag),
        )
        if not refused or self._get(key) != _NEW:
            return False
        self._store.delete(self._scope, key, if_match=second.etag)
        return not self._store.list(self._scope, prefix=key).items

    def gives_ranges(self) -> bool:
        key = self._key("ranges")
        self._put(key, _OLD)
        table = (
            (ByteRange(0, 1), _OLD[:1]),
            (ByteRange(3, 7), _OLD[3:7]),
            (ByteRange.last(2), _OLD[-2:]),
        )
        return all(self._get(key, wanted) == data for wanted, data in table)

    def copies(self) -> bool:
        source, target = self._key("copy"), self._key("copied")
        attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={"probe": "2"})
        self._put(source, _OLD)
        made = self._store.copy(self._scope, source, target, attributes, if_absent=True)
        refused = _raises(
            AlreadyExistsError,
            lambda: self._store.copy(self._scope, source, target, attributes, if_absent=True),
        )
        return refused and made.attributes == attributes and self._get(target) == _OLD

    def _history(self, key: str) -> list[str]:
        return [each.version_id for each in self._store.list_versions(self._scope, key).items]

    def keeps_versions(self) -> bool:
        key = self._key("versions")
        made = [self._put(key, data).version_id for data in (_OLD, _NEW)]
        self._store.delete(self._scope, key)
        if self._history(key) != made[::-1]:
            return False
        self._store.restore(self._scope, key, made[0], if_absent=True)
        self._store.purge(self._scope, key, made[1:])
        history = self._store.list_versions(self._scope, key).items
        return (
            self._get(key) == _OLD
            and len(history) == 2
            and [each.current for each in history] == [True, False]
            and history[1].version_id == made[0]
        )

    def locks(self) -> bool:
        """Whether what is made locked, or locked later, is told so and not destroyed."""
        held, plain, kept = self._key("held"), self._key("plain"), self._key("kept")
        version = self._put(held, _OLD, attrs.evolve(_SAID, legal_hold=True)).version_id
        if not self._store.head(self._scope, held).attributes.legal_hold:
            return False
        stays = self._stays(held, version)
        self._store.set_lock(self._scope, held, version, legal_hold=False)
        self._store.purge(self._scope, held, [version])
        lifted = not self._history(held)
        versions = {plain: self._put(plain, _OLD).version_id}
        # By the engine's clock: a period that ends by another's might be over, or last.
        (line,) = self._store.list(self._scope, prefix=plain).items
        until = up(line.modified_at) + _TRIAL * 1_000_000
        self._store.set_lock(self._scope, plain, versions[plain], retain_until=until)
        if until > self._now():
            said = attrs.evolve(_SAID, retain_until=until)
            versions[kept] = self._put(kept, _OLD, said).version_id
        try:
            return (
                stays
                and lifted
                and all(
                    self._store.head(self._scope, key).attributes.retain_until == until
                    and self._stays(key, each)
                    for key, each in versions.items()
                )
            )
        finally:
            for _ in range(_TRIAL + 2):
                time.sleep(1)
                if not any(self._stays(key, each) for key, each in versions.items()):
                    break

    def _stays(self, key: str, version: str) -> bool:
        return _raises(RetentionError, lambda: self._store.purge(self._scope, key, [version]))

    def signs_reads(self) -> bool:
        key, other = self._key("read"), self._key("other")
        self._put(key, _OLD)
        self._put(other, _NEW)
        signed = self._store.presign_get(self._scope, key, expires_in=60)
        astray = signed.url.replace(f"{self._stem}/read", f"{self._stem}/other")
        return (
            self._send(signed) == (200, _OLD)
            and astray != signed.url
            and self._send(signed, url=astray)[0] >= 400
        )

    def signs_writes(self) -> bool:
        key = self._key("write")
        signed = self._store.presign_put(
            self._scope,
            key,
            expires_in=60,
            size=len(_OLD),
            sha256=hashlib.sha256(_OLD).hexdigest(),
            content_type=_TYPE,
        )
        wrong = (
            self._send(signed, _NEW)[0],
            self._send(signed, _OLD + b"x")[0],
            self._send(signed, _OLD, {"Content-Type": "text/html"})[0],
            self._send(signed, _OLD, url=signed.url.replace("/write?", "/wrote?"))[0],
        )
        self._made.append(f"{self._stem}/wrote")
        if min(wrong) < 400 or self._send(signed, _OLD)[0] != 200:
            return False
        info = self._store.head(self._scope, key)
        return info.sha256 == hashlib.sha256(_OLD).hexdigest() and self._get(key) == _OLD

    def _send(
        self,
        signed: SignedUrl,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> tuple[int, bytes]:
        answer = once(
            lambda: self._bare.request(
                signed.method,
                url or signed.url,
                data=data,
                headers={**signed.headers, **(headers or {})},
                timeout=self._timeout,
                allow_redirects=False,
            )
        )
        return int(answer.status_code), bytes(answer.content)


def _raises(kind: type[StoreError], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    except StoreError:
        return False
    return False
