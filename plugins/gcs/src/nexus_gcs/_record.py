"""What is kept with an object's bytes, as its custom metadata, and what is read back from it.

::

    nexus-sha256   of the bytes, 64 hex digits
    nexus-write    the write's own id: how a writer knows its own work again
    nexus-at       when it was written, in microseconds since the epoch
    nexus-crc32c   of the bytes, as the writer computed it
    nexus-md5      of the bytes, where the engine had no checksum to hold them against
    m-<key>        the caller's metadata
    s-<key>        the core's own

Other names are somebody else's and passed over. Time and checksums are there unless the metadata
holds what a header cannot: with them an object can be read where the engine tells neither; one
without them is as old as the engine says. The ETag is the object's generation, bound to its
name, so that one of another key never fits.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import attrs

from nexus_core.spi import (
    ChecksumMismatchError,
    IntegrityError,
    InvalidArgumentError,
    ObjectAttributes,
    ObjectEntry,
    ObjectInfo,
)
from nexus_gcs._locking import onto, rounded
from nexus_gcs._locking import told as lock_of

SHA256: Final = "nexus-sha256"
WRITE: Final = "nexus-write"
AT: Final = "nexus-at"
CRC32C: Final = "nexus-crc32c"
MD5: Final = "nexus-md5"
_MINE: Final = "m-"
_SYSTEM: Final = "s-"
# What the engine takes: names and values together.
MAX_METADATA: Final = 8192
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{1,17}")
# What a header carries as it is, wherever it goes; the engine's answers have no room for many.
_PLAIN_VALUE: Final = re.compile(r"[!-~]+(?: [!-~]+)*")
_PLAIN_NAME: Final = re.compile(r"[a-z0-9-]+")
_PLAIN_COUNT: Final = 48
_ETAG: Final = re.compile(r"([1-9][0-9]{0,18})-([0-9a-f]{8})")


@attrs.frozen(kw_only=True)
class Sealed:
    """What a write is known by before it is sent."""

    write: str
    sha256: str
    crc32c: str
    content_type: str
    metadata: dict[str, str] = attrs.field(repr=False)
    plain: bool
    """Whether headers can carry all of it."""

    attributes: ObjectAttributes
    """As the engine will keep them."""

    mode: str | None
    """That of periods, where the settings use the engine's locks."""

    @classmethod
    def of(
        cls,
        attributes: ObjectAttributes,
        sha256: str,
        crc32c: str,
        *,
        at: int,
        mode: str | None,
        md5: str = "",
    ) -> Sealed:
        """Seal attributes, time and checksums; ``InvalidArgumentError`` for more than fits."""
        write = secrets.token_hex(16)
        metadata = {
            SHA256: sha256,
            WRITE: write,
            **{_MINE + key: value for key, value in attributes.metadata.items()},
            **{_SYSTEM + key: value for key, value in attributes.system.items()},
        }
        plain = _plain(attributes.content_type, metadata)
        if plain:
            metadata |= {AT: str(at), CRC32C: crc32c} | ({MD5: md5} if md5 else {})
        weight = sum(len(key) + len(value.encode()) for key, value in metadata.items())
        if weight > MAX_METADATA:
            raise InvalidArgumentError(
                "metadata and governance together are larger than the engine takes",
                hint="shorten the metadata",
            )
        return cls(
            write=write,
            sha256=sha256,
            crc32c=crc32c,
            content_type=attributes.content_type,
            metadata=metadata,
            plain=plain,
            attributes=rounded(attributes, at, mode),
            mode=mode,
        )

    def onto(self, blob: Any) -> Any:
        """Give a handle what is to be stored with the bytes."""
        blob.metadata = dict(self.metadata)
        blob.content_type = self.content_type
        onto(blob, self.attributes, self.mode)
        return blob


@attrs.frozen(kw_only=True)
class Found:
    """An object as the engine described it."""

    generation: int
    write: str
    crc32c: str
    info: ObjectInfo


def found(key: str, blob: Any, *, versions: bool, locks: bool) -> Found:
    """Read an engine's description of an object, which names its version where they are kept, and
    tells its lock where that is used.

    Raises ``IntegrityError`` for one that this store did not write, ``ChecksumMismatchError`` for
    one whose bytes are not those that its writer sent.
    """
    metadata = dict(blob.metadata or {})
    entry = entry_of(key, blob)
    if blob.crc32c is None:
        raise _foreign()
    if metadata.get(CRC32C, blob.crc32c) != blob.crc32c:
        raise damaged()
    at = str(metadata.get(AT))
    seen = read(
        key,
        blob.name,
        metadata,
        generation=int(blob.generation),
        size=entry.size,
        content_type=blob.content_type or "application/octet-stream",
        at=int(at) if _TIME.fullmatch(at) else entry.modified_at,
        crc32c=str(blob.crc32c),
        versions=versions,
    )
    if not locks:
        return seen
    attributes = attrs.evolve(seen.info.attributes, **lock_of(blob))
    return attrs.evolve(seen, info=attrs.evolve(seen.info, attributes=attributes))


def told(
    key: str,
    name: str,
    metadata: Mapping[str, str],
    *,
    generation: int,
    size: int,
    content_type: str,
    etag: str,
    versions: bool,
) -> Found | None:
    """What headers tell of an object, ``None`` where that is not all there is to know.

    The ETag is of the bytes, and says whether they are those that were sent, unless the engine has
    made it of something else.
    """
    at, crc32c, md5 = (metadata.get(each, "") for each in (AT, CRC32C, MD5))
    if not _TIME.fullmatch(at) or not crc32c or md5 not in ("", etag):
        return None
    return read(
        key,
        name,
        metadata,
        generation=generation,
        size=size,
        content_type=content_type,
        at=int(at),
        crc32c=crc32c,
        versions=versions,
    )


def read(
    key: str,
    name: str,
    metadata: Mapping[str, str],
    *,
    generation: int,
    size: int,
    content_type: str,
    at: int,
    crc32c: str,
    versions: bool,
) -> Found:
    """What is known of a generation; raises ``IntegrityError`` unless this store wrote it."""
    sha256 = str(metadata.get(SHA256))
    if _HEX.fullmatch(sha256) is None:
        raise _foreign()
    etag = token(name, generation)
    info = ObjectInfo(
        key=key,
        size=size,
        etag=etag,
        sha256=sha256,
        modified_at=at,
        attributes=ObjectAttributes(
            content_type=content_type,
            metadata=_under(_MINE, metadata),
            system=_under(_SYSTEM, metadata),
        ),
        version_id=etag if versions else None,
    )
    write = str(metadata.get(WRITE, ""))
    return Found(generation=generation, write=write, crc32c=crc32c, info=info)


def damaged() -> ChecksumMismatchError:
    """The error for stored bytes that are not what their writer had."""
    return ChecksumMismatchError("the stored bytes are not those that were sent")


def _foreign() -> IntegrityError:
    return IntegrityError(
        "something that the store did not write stands where the object belongs",
        hint="an operator must look at the scope's names and remove it",
    )


def _plain(content_type: str, metadata: Mapping[str, str]) -> bool:
    values = (content_type, *metadata.values())
    return (
        len(metadata) <= _PLAIN_COUNT
        and all(map(_PLAIN_NAME.fullmatch, metadata))
        and all(map(_PLAIN_VALUE.fullmatch, values))
    )


def entry_of(key: str, blob: Any) -> ObjectEntry:
    """One line of a listing; the name is the one that the engine gave."""
    created = _created(blob)
    if not blob.generation or created is None:
        raise IntegrityError("the engine described an object without its generation or time")
    return ObjectEntry(
        key=key,
        # Some engines leave out what is zero; a whole read is held against the checksum.
        size=int(blob.size or 0),
        etag=token(blob.name, int(blob.generation)),
        modified_at=int(created.timestamp()) * 1_000_000 + created.microsecond,
        name=blob.name,
    )


def _created(blob: Any) -> datetime | None:
    """When a generation was made. The library's own way takes most of what reading a listing costs,
    and is gone only where the text is another than the service writes."""
    text = blob._properties.get("timeCreated")  # noqa: SLF001  # see above
    if isinstance(text, str) and text.endswith("Z"):
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    found: datetime | None = blob.time_created
    return found


def _under(prefix: str, metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        name[len(prefix) :]: value for name, value in metadata.items() if name.startswith(prefix)
    }


def token(name: str, generation: int) -> str:
    """The ETag that callers see."""
    return f"{generation}-{_binding(name)}"


def generation_of(name: str, etag: str) -> int | None:
    """The generation that an ETag of this name stands for; ``None`` for any other text."""
    match = _ETAG.fullmatch(etag)
    if match is None or match[2] != _binding(name):
        return None
    return int(match[1])


def _binding(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8")).hexdigest()[:8]
