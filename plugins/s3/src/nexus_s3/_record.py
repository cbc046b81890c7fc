"""What is kept with an object's bytes, in one header of its own, and what is read back from it.

::

    x-amz-meta-nexus: {"v":1,"write":…,"sha256":…,"at":…,"system":{…},"metadata":{…}}

One header, because engines fold the case of header names, take ``_`` for ``-`` and drop empty
values; with escapes, because signatures fold runs of spaces and some engines decode ``=?``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _quoted
from operator import itemgetter
from typing import Any, Final

import attrs

from nexus_core.spi import (
    IntegrityError,
    InvalidArgumentError,
    ObjectAttributes,
    ObjectInfo,
)
from nexus_s3._engine import Target
from nexus_s3._locking import told

HEADER: Final = "nexus"
MAX_HEADER: Final = 2048
_FORMAT: Final = 1
_WRITE: Final = re.compile(r"[0-9a-f]{32}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ENGINE_ETAG: Final = re.compile(r"[!#-~]{1,200}")
# Made once: the module's own function makes a decoder for each call, or goes through one more.
_decode: Final = json.JSONDecoder().raw_decode
_fields: Final = itemgetter("v", "write", "sha256", "at", "system", "metadata")


# Neither of these two is changed once made; to be frozen would double what making one costs.
@attrs.define(kw_only=True)
class Sealed:
    """What a write is known by before it is sent."""

    write: str
    sha256: str
    at: int
    attributes: ObjectAttributes

    def header(self) -> dict[str, str]:
        """The metadata to send. Raises ``InvalidArgumentError`` where it is too much."""
        # Put together here, since the library makes an encoder for each text that it encodes.
        text = (
            f'{{"v":{_FORMAT},"write":"{self.write}","sha256":"{self.sha256}","at":{self.at},'
            f'"system":{_encoded(self.attributes.system)},'
            f'"metadata":{_encoded(self.attributes.metadata)}}}'
        )
        # All blanks are inside strings here, so an escape means the same.
        text = text.replace("  ", " \\u0020").replace("=?", "=\\u003f").replace("\x7f", "\\u007f")
        if len(HEADER) + len(text) > MAX_HEADER:
            raise InvalidArgumentError(
                "the metadata is larger than S3 takes",
                hint="metadata and governance together fill at most about 1.8 KB",
            )
        return {HEADER: text}

    def info(self, key: str, size: int, etag: str, version: str | None) -> ObjectInfo:
        """What is known of the object that the write made."""
        return ObjectInfo(
            key=key,
            size=size,
            etag=token(etag, self.write),
            sha256=self.sha256,
            modified_at=self.at,
            attributes=self.attributes,
            version_id=version,
        )


@attrs.define(kw_only=True)
class Found:
    """An object as the engine described it."""

    etag: str
    write: str
    info: ObjectInfo


def found(target: Target, response: Mapping[str, Any], size: int) -> Found:
    """Read an engine's description of an object of ``size`` bytes.

    Raises ``IntegrityError`` for one that this store did not write.
    """
    record = _record(response.get("Metadata") or {})
    etag = bare(response.get("ETag"))
    if record is None or not etag:
        raise IntegrityError(
            "something that the store did not write stands where the object belongs",
            hint="an operator must look at the scope's names and remove it",
        )
    attributes = ObjectAttributes(
        content_type=str(response.get("ContentType") or ""),
        metadata=record["metadata"],
        system=record["system"],
    )
    if target.lock is not None:
        attributes = attrs.evolve(attributes, **told(response))
    write = record["write"]
    version = response.get("VersionId")
    info = ObjectInfo(
        key=target.key,
        size=size,
        etag=token(etag, write),
        sha256=record["sha256"],
        modified_at=record["at"],
        attributes=attributes,
        version_id=None if version in (None, "null") else str(version),
    )
    return Found(etag=etag, write=write, info=info)


def _record(said: Mapping[str, str]) -> dict[str, Any] | None:
    text = said.get(HEADER)
    if text is None:
        text = next((value for name, value in said.items() if name.lower() == HEADER), None)
    if text is None:
        return None
    try:
        record, end = _decode(text)
        version, write, sha256, at, system, metadata = _fields(record)
        sound = (
            end == len(text)
            and version == _FORMAT
            and _WRITE.fullmatch(write)
            and _SHA256.fullmatch(sha256)
            and type(at) is int
            and _are_strings(system)
            and _are_strings(metadata)
        )
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return record if sound else None


def _are_strings(value: object) -> bool:
    if type(value) is not dict:
        return False
    for each in value.values():  # noqa: SIM110  # a generator costs more than it goes over
        if type(each) is not str:
            return False
    return True


def _encoded(texts: Mapping[str, str]) -> str:
    """A mapping of texts as JSON."""
    return "{" + ",".join([f"{_quoted(name)}:{_quoted(texts[name])}" for name in texts]) + "}"


def bare(etag: object) -> str:
    """An engine's ETag without its quotes: the only form that all engines accept in a condition."""
    return str(etag or "").strip('"')


def token(etag: str, write: str) -> str:
    """The ETag that callers see. An engine's own is of the bytes, so equal bytes have equal ones;
    the write's id makes it another with every write."""
    return f"{etag}.{write}"


def parts_of(seen: str) -> tuple[str, str | None] | None:
    """The engine's ETag and the write's id of an ETag that was given out.

    A listing gives the engine's alone, which stands for any write of those bytes. ``None`` for
    what was never given out.
    """
    etag, _, write = seen.rpartition(".")
    if etag and _WRITE.fullmatch(write):
        return (etag, write) if _ENGINE_ETAG.fullmatch(etag) else None
    return (seen, None) if _ENGINE_ETAG.fullmatch(seen) else None
