"""Raw objects in a dictionary."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote

import attrs

from nexus_contracts.memory._base import MemoryBase
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    NotFoundError,
    ObjectAttributes,
    ObjectEntry,
    ObjectInfo,
    ObjectPage,
    ObjectStream,
    PreconditionFailedError,
    RawBackend,
    Scope,
    SignedUrl,
    encode_object_name,
)

_CHUNK = 1 << 16


@attrs.frozen
class StoredObject:
    """One object: its physical name, what is known of it, and its bytes."""

    name: str
    info: ObjectInfo
    data: bytes


class MemoryRaw(MemoryBase, RawBackend):
    """A raw store that keeps objects in ``objects``, by scope and key."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__()
        self.now = now
        self.objects: dict[tuple[Scope, str], StoredObject] = {}
        self.signed: dict[str, tuple[SignedUrl, Scope, str]] = {}

    def put(
        self,
        scope: Scope,
        key: str,
        body: Body,
        attributes: ObjectAttributes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectInfo:
        self.ensure_open()
        data = b"".join(body)
        return self._write(scope, key, data, attributes, if_absent=if_absent, if_match=if_match)

    def _write(
        self,
        scope: Scope,
        key: str,
        data: bytes,
        attributes: ObjectAttributes,
        *,
        if_absent: bool,
        if_match: str | None = None,
    ) -> ObjectInfo:
        info = ObjectInfo(
            key=key,
            size=len(data),
            etag=secrets.token_hex(8),
            sha256=hashlib.sha256(data).hexdigest(),
            modified_at=self.now(),
            attributes=attributes,
        )
        with self.lock:
            current = self.objects.get((scope, key))
            if if_absent and current is not None:
                raise AlreadyExistsError("the key is taken")
            if if_match is not None and (current is None or current.info.etag != if_match):
                raise PreconditionFailedError("the object has another version by now")
            name = encode_object_name(scope, key)
            self.objects[scope, key] = StoredObject(name, info, data)
        return info

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        self.ensure_open()
        return self._find(scope, key).info

    def _find(self, scope: Scope, key: str) -> StoredObject:
        found = self.objects.get((scope, key))
        if found is None:
            raise NotFoundError("no such object")
        return found

    @contextmanager
    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> Iterator[ObjectStream]:
        self.ensure_open()
        found = self._find(scope, key)
        if if_match is not None and found.info.etag != if_match:
            raise PreconditionFailedError("the object has another version by now")
        start, stop = (0, len(found.data)) if range is None else range.resolve(len(found.data))
        yield ObjectStream(found.info, start, stop, chunks_of(found.data[start:stop]))

    def list(
        self,
        scope: Scope,
        *,
        prefix: str = "",
        delimiter: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        self.ensure_open()
        with self.lock:
            mine = [found for (owner, _), found in self.objects.items() if owner == scope]
        mine.sort(key=lambda found: found.info.key.encode())
        items: list[ObjectEntry] = []
        prefixes: dict[str, None] = {}
        last: str | None = None
        for found in mine:
            key = found.info.key
            if not key.startswith(prefix):
                continue
            rolled = _rolled(key, prefix, delimiter)
            shown = key if rolled is None else rolled
            if after is not None and shown.encode() <= after.encode():
                continue
            if rolled in prefixes:
                continue
            if len(items) + len(prefixes) == limit:
                return ObjectPage(items=tuple(items), prefixes=tuple(prefixes), next_after=last)
            last = shown
            if rolled is None:
                items.append(_entry(found))
            else:
                prefixes[rolled] = None
        return ObjectPage(items=tuple(items), prefixes=tuple(prefixes))

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        self.ensure_open()
        with self.lock:
            current = self.objects.get((scope, key))
            if if_match is not None and (current is None or current.info.etag != if_match):
                raise PreconditionFailedError("the object has another version by now")
            self.objects.pop((scope, key), None)

    def set_system(
        self, scope: Scope, key: str, system: Mapping[str, str], *, if_match: str
    ) -> ObjectInfo:
        self.ensure_open()
        with self.lock:
            found = self.objects.get((scope, key))
            if found is None or found.info.etag != if_match:
                raise PreconditionFailedError("the object has another version by now")
            attributes = attrs.evolve(found.info.attributes, system=dict(system))
            return self._write(scope, key, found.data, attributes, if_absent=False)

    def copy(
        self,
        scope: Scope,
        source: str,
        target: str,
        attributes: ObjectAttributes,
        *,
        if_absent: bool = False,
        if_source_match: str | None = None,
    ) -> ObjectInfo:
        self.ensure_open()
        with self.lock:
            found = self._find(scope, source)
            if if_source_match is not None and found.info.etag != if_source_match:
                raise PreconditionFailedError("the object has another version by now")
            return self._write(scope, target, found.data, attributes, if_absent=if_absent)

    def presign_get(self, scope: Scope, key: str, *, expires_in: int) -> SignedUrl:
        self.ensure_open()
        return self._signed("GET", scope, key, expires_in, {})

    def presign_put(
        self,
        scope: Scope,
        key: str,
        *,
        expires_in: int,
        size: int,
        sha256: str,
        content_type: str,
    ) -> SignedUrl:
        self.ensure_open()
        bound = {"content-length": str(size), "x-sha256": sha256, "content-type": content_type}
        return self._signed("PUT", scope, key, expires_in, bound)

    def _signed(
        self,
        method: Literal["GET", "PUT"],
        scope: Scope,
        key: str,
        expires_in: int,
        headers: Mapping[str, str],
    ) -> SignedUrl:
        path = quote(encode_object_name(scope, key))
        url = f"memory://store/{path}?signature={secrets.token_hex(16)}"
        expires_at = self.now() + expires_in * 1_000_000
        signed = SignedUrl(method=method, url=url, headers=headers, expires_at=expires_at)
        self.signed[url] = (signed, scope, key)
        return signed

    def send(
        self,
        url: str,
        data: bytes = b"",
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """What an engine does with a signed request: refuse, store the body, or give the object.

        Method and headers are those that were signed, unless given. Raises ``PermissionError`` for
        whatever was not signed, and ``NotFoundError`` for a GET of what is not there.
        """
        signed, scope, key = self._granted(url)
        self._ensure_method(signed, method or signed.method)
        self._ensure_in_time(signed)
        if (method or signed.method) == "GET":
            return self._find(scope, key).data
        self._ensure_bound(signed, data, signed.headers if headers is None else headers)
        self._receive(signed, scope, key, data)
        return b""

    def _granted(self, url: str) -> tuple[SignedUrl, Scope, str]:
        if url not in self.signed:
            raise PermissionError("nobody signed that")
        return self.signed[url]

    def _ensure_method(self, signed: SignedUrl, method: str) -> None:
        if method != signed.method:
            raise PermissionError("another method was signed")

    def _ensure_in_time(self, signed: SignedUrl) -> None:
        if self.now() > signed.expires_at:
            raise PermissionError("the signature has expired")

    def _ensure_bound(self, signed: SignedUrl, data: bytes, headers: Mapping[str, str]) -> None:
        digest = hashlib.sha256(data).hexdigest()
        sent = {**headers, "content-length": str(len(data)), "x-sha256": digest}
        if any(sent.get(name) != value for name, value in signed.headers.items()):
            raise PermissionError("the request is not the one that was signed")

    def _receive(self, signed: SignedUrl, scope: Scope, key: str, data: bytes) -> None:
        attributes = ObjectAttributes(
            content_type=signed.headers["content-type"], metadata={}, system={}
        )
        self._write(scope, key, data, attributes, if_absent=False)

    def erase(self, scope: Scope) -> int:
        self.ensure_open()
        with self.lock:
            mine = [place for place in self.objects if place[0] == scope]
            for place in mine:
                del self.objects[place]
        return len(mine)


def send_signed(backend: Any, request: SignedUrl, data: bytes) -> tuple[int, bytes]:
    """Send a signed request to a ``MemoryRaw``; gives a status as HTTP has them, and the answer."""
    try:
        found = backend.send(request.url, data, method=request.method, headers=request.headers)
    except PermissionError:
        return 403, b""
    except NotFoundError:
        return 404, b""
    return 200, found


def chunks_of(data: bytes) -> Iterator[bytes]:
    """The bytes in pieces."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def _rolled(key: str, prefix: str, delimiter: str | None) -> str | None:
    if delimiter is None:
        return None
    head, found, _ = key[len(prefix) :].partition(delimiter)
    return prefix + head + delimiter if found else None


def _entry(found: StoredObject) -> ObjectEntry:
    info = found.info
    return ObjectEntry(
        key=info.key,
        size=info.size,
        etag=info.etag,
        modified_at=info.modified_at,
        name=found.name,
    )
