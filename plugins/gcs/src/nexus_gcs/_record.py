"""What is kept with an object's bytes, as its custom metadata, and what is read back from it.

::

    nexus-sha256   of the bytes, 64 hex digits
    nexus-write    the write's own id: how a writer knows its own work again
    m-<key>        the caller's metadata
    s-<key>        the core's own

Other names are somebody else's and passed over. The ETag is the object's generation, bound to its
name, so that one of another key never fits.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any, Final

import attrs

from nexus_core.spi import (
    IntegrityError,
    InvalidArgumentError,
    ObjectAttributes,
    ObjectEntry,
    ObjectInfo,
)

SHA256: Final = "nexus-sha256"
WRITE: Final = "nexus-write"
_MINE: Final = "m-"
_SYSTEM: Final = "s-"
# What the engine takes: names and values together.
MAX_METADATA: Final = 8192
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ETAG: Final = re.compile(r"([1-9][0-9]{0,18})-([0-9a-f]{8})")


@attrs.frozen(kw_only=True)
class Sealed:
    """What a write is known by before it is sent."""

    write: str
    sha256: str
    crc32c: str
    content_type: str
    metadata: dict[str, str] = attrs.field(repr=False)

    @classmethod
    def of(cls, attributes: ObjectAttributes, sha256: str, crc32c: str) -> Sealed:
        """Seal attributes and checksums; ``InvalidArgumentError`` where it is more than fits."""
        write = secrets.token_hex(16)
        metadata = {
            SHA256: sha256,
            WRITE: write,
            **{_MINE + key: value for key, value in attributes.metadata.items()},
            **{_SYSTEM + key: value for key, value in attributes.system.items()},
        }
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
        )

    def onto(self, blob: Any) -> Any:
        """Give a handle what is to be stored with the bytes."""
        blob.metadata = dict(self.metadata)
        blob.content_type = self.content_type
        return blob


@attrs.frozen(kw_only=True)
class Found:
    """An object as the engine described it."""

    generation: int
    write: str
    crc32c: str
    info: ObjectInfo


def found(key: str, blob: Any, *, versions: bool) -> Found:
    """Read an engine's description of an object, which names its version where they are kept.

    Raises ``IntegrityError`` for one that this store did not write.
    """
    metadata = dict(blob.metadata or {})
    sha256 = str(metadata.get(SHA256))
    entry = entry_of(key, blob)
    if _HEX.fullmatch(sha256) is None or blob.crc32c is None:
        raise IntegrityError(
            "something that the store did not write stands where the object belongs",
            hint="an operator must look at the scope's names and remove it",
        )
    info = ObjectInfo(
        key=key,
        size=entry.size,
        etag=entry.etag,
        sha256=sha256,
        modified_at=entry.modified_at,
        attributes=ObjectAttributes(
            content_type=blob.content_type or "application/octet-stream",
            metadata=_under(_MINE, metadata),
            system=_under(_SYSTEM, metadata),
        ),
        version_id=entry.etag if versions else None,
    )
    return Found(
        generation=int(blob.generation),
        write=str(metadata.get(WRITE, "")),
        crc32c=str(blob.crc32c),
        info=info,
    )


def entry_of(key: str, blob: Any) -> ObjectEntry:
    """One line of a listing; the name is the one that the engine gave."""
    # Asked once: it is read from its text each time.
    created = blob.time_created
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


def _under(prefix: str, metadata: dict[str, str]) -> dict[str, str]:
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
