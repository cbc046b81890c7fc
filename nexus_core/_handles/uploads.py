"""Presigned uploads: bytes that go past the core, and are let in only as what was announced.

An upload lands under a staging key of the reserved root, which no handle reads. Its ticket is a
sealed token that holds everything decided when it was signed, so nothing is kept between the two
calls, and the URL can write nothing but the staging key however long it stays valid.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final, final

import attrs

from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.history import History
from nexus_core._handles.objects import Objects, RawObject, ensure_fits, raw_backend
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    AlreadyExistsError,
    ChecksumMismatchError,
    ContextMismatchError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    StoreError,
)
from nexus_core._model.ids import new_id
from nexus_core._model.keys import RESERVED_ROOT
from nexus_core._model.objects import ObjectAttributes, ObjectInfo, SignedUrl
from nexus_core._security.guard import foreign
from nexus_core._security.tokens import MAX_TOKEN, TOKEN_LIFETIME
from nexus_core._spi.capabilities import StoreRole

STAGING: Final = f"{RESERVED_ROOT}/uploads/"
_PURPOSE: Final = "raw.upload"


@attrs.frozen(kw_only=True)
class PresignedUpload:
    """Where to send the bytes, and the ticket that makes them an object once they are there.

    Whoever holds ``url`` can upload; whoever holds ``ticket`` and may register can finish it.
    """

    url: SignedUrl
    ticket: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Upload:
    """What a ticket says."""

    key: str
    staging: str
    size: int
    sha256: str
    attributes: ObjectAttributes
    governance: Governance


@final
class Uploads:
    """Presigned uploads of one scope, for whoever is already admitted and audited."""

    __slots__ = ("_gate", "_objects")

    def __init__(self, gate: Gate, objects: Objects) -> None:
        self._gate = gate
        self._objects = objects

    def sign(
        self,
        key: str,
        attributes: ObjectAttributes,
        governance: Governance,
        *,
        size: int,
        sha256: str,
        expires_in: int,
    ) -> PresignedUpload:
        """Sign an upload to a staging key of its own, and seal what it is to become."""
        now = self._gate.now()
        staging = staging_of(self._gate, governance.subject) + new_id(now / 1_000_000)

        def run(store: OpenStore) -> SignedUrl:
            for capability in ("presign_put", "copy", "conditional_create"):
                self._gate.require(store, capability)
            ensure_fits(store, key, attributes, size)
            return raw_backend(store).presign_put(
                self._gate.scope,
                staging,
                expires_in=expires_in,
                size=size,
                sha256=sha256,
                content_type=attributes.content_type,
            )

        url = self._gate.call(StoreRole.RAW, run)
        if url.method != "PUT":
            raise IntegrityError("the store signed something other than an upload")
        said = {
            "key": key,
            "staging": staging,
            "size": size,
            "sha256": sha256,
            "content_type": attributes.content_type,
            "metadata": dict(attributes.metadata),
            "governance": governance.to_data(),
        }
        text = canonical_json(said).decode("utf-8")
        ticket = self._gate.runtime.tokens.seal(_PURPOSE, None, text, now=now)
        if len(ticket) > MAX_TOKEN:
            raise InvalidArgumentError("the key and the metadata are too much for a ticket")
        return PresignedUpload(url=url, ticket=ticket)

    def open(self, ticket: str) -> Upload:
        """Read a ticket of this scope and this request's subject; raises otherwise."""
        text = self._gate.runtime.tokens.open(_PURPOSE, None, ticket, now=self._gate.now())
        said: dict[str, Any] = json.loads(text)
        governance = Governance.from_data(said["governance"])
        if governance.subject != self._gate.context.subject:
            raise ContextMismatchError(["subject"], hint="act with the subject that it was for")
        return Upload(
            key=said["key"],
            staging=said["staging"],
            size=said["size"],
            sha256=said["sha256"],
            attributes=ObjectAttributes(
                content_type=said["content_type"], metadata=said["metadata"], system={}
            ),
            governance=governance,
        )

    def register(self, upload: Upload) -> tuple[RawObject, bool]:
        """Verify an upload and copy it into place; gives whether it was there already."""
        try:
            found = self._uploaded(upload)
        except NotFoundError:
            # Registered before, by a call whose answer was lost, or never uploaded.
            return self._placed(upload), True
        stamped = self._objects.stamped(upload.key, upload.attributes, upload.governance)

        def run(store: OpenStore) -> RawObject:
            for capability in ("copy", "conditional_create"):
                self._gate.require(store, capability)
            info = raw_backend(store).copy(
                self._gate.scope,
                upload.staging,
                upload.key,
                stamped,
                if_absent=True,
                if_source_match=found.etag,
            )
            return self._objects.admitted(info, upload.key)

        try:
            made, unchanged = self._gate.call(StoreRole.RAW, run), False
        except AlreadyExistsError:
            made, unchanged = self._placed(upload), True
        if (made.size, made.sha256) != (upload.size, upload.sha256):
            raise IntegrityError("the store copied other bytes than were verified")
        self._drop([upload.staging])
        return made, unchanged

    def _uploaded(self, upload: Upload) -> ObjectInfo:
        def run(store: OpenStore) -> ObjectInfo:
            info = raw_backend(store).head(self._gate.scope, upload.staging)
            # It has no stamp, since nobody of ours wrote it: that it holds the announced bytes
            # is what proves that it is the upload.
            if info.key != upload.staging:
                raise foreign()
            return info

        found = self._gate.call(StoreRole.RAW, run)
        if (found.size, found.sha256) != (upload.size, upload.sha256):
            self._drop([upload.staging])
            raise ChecksumMismatchError("what was uploaded is not what was announced")
        return found

    def _placed(self, upload: Upload) -> RawObject:
        """The object under the upload's key, if it is what the upload was to become."""
        try:
            placed = self._objects.head(upload.key)
        except NotFoundError:
            placed = None
        if placed is None:
            raise NotFoundError("nothing was uploaded", hint="send the bytes first")
        same = (placed.size, placed.sha256, placed.content_type, dict(placed.metadata)) == (
            upload.size,
            upload.sha256,
            upload.attributes.content_type,
            dict(upload.attributes.metadata),
        )
        if not same or not placed.governance.stands_for(upload.governance):
            raise AlreadyExistsError("the key is taken by another object")
        return placed

    def sweep(self) -> int:
        """Delete uploads whose ticket has expired; returns how many."""
        before = self._gate.now() - TOKEN_LIFETIME
        old: list[str] = []
        after: str | None = None
        while True:
            page = self._objects.page(STAGING, None, after=after, limit=1000)
            old += [item.key for item in page.items if item.modified_at < before]
            after = page.next_after
            if after is None:
                break
        self._objects.erase(old)
        self._forget(old)
        return len(old)

    def _drop(self, keys: list[str]) -> None:
        self._objects.discard(keys)
        self._forget(keys)

    def _forget(self, keys: list[str]) -> None:
        """Have no history keep an upload's bytes a second time. What cannot be destroyed now goes
        with its subject, or with the scope."""
        history = History(self._gate, self._objects)
        if history.kept:
            for key in keys:
                with suppress(StoreError):
                    history.forget(key)


def staging_of(gate: Gate, subject: str | None) -> str:
    """Where uploads about a subject land: apart from others', so that they can be erased."""
    if subject is None:
        return f"{STAGING}none/"
    return f"{STAGING}{gate.deployment.keys.subject_tag(gate.scope, subject)[:16].hex()}/"
