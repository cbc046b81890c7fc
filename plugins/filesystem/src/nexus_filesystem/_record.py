"""The file of one object: a sealed header that says what and whose it is, then the bytes.

::

    8 bytes   magic, which carries the format's version
    4 bytes   length of the JSON text, big-endian
    ...       JSON text: scope, key, etag, size, sha256, modified_at, attributes; padded with blanks
    32 bytes  SHA-256 of all before
    ...       the object's bytes, exactly ``size`` of them, to the end of the file

The header's length is known before the first byte of the body comes, and its content after the
last, so it is written last, into the room left for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from typing import Any, Final, cast

import attrs

from nexus_core.spi import (
    IntegrityError,
    InvalidArgumentError,
    ObjectAttributes,
    ObjectInfo,
    Scope,
    canonical_json,
)
from nexus_filesystem._beneath import open_beneath
from nexus_filesystem._errors import ABSENT, not_found

_MAGIC: Final = b"NXSOBJ\x01\n"
_FRONT = struct.Struct(">8sI")
_SEAL: Final = hashlib.sha256().digest_size
_LARGEST_TEXT: Final = 1 << 20
_FIRST_READ: Final = 4096
_WIDEST: Final = (1 << 63) - 1


@attrs.frozen
class Record:
    """What a header says, and where the bytes begin."""

    scope: tuple[str, str]
    info: ObjectInfo
    offset: int


def room(scope: Scope, key: str, etag: str, attributes: ObjectAttributes) -> int:
    """Length of the header that ``seal`` will make for an object of any size.

    Raises ``InvalidArgumentError`` for attributes that are not text in Unicode.
    """
    widest = ObjectInfo(
        key=key,
        size=_WIDEST,
        etag=etag,
        sha256="0" * 64,
        modified_at=_WIDEST,
        attributes=attributes,
    )
    try:
        text = _text(scope, widest)
    except (TypeError, ValueError):
        raise InvalidArgumentError("the object's attributes are not plain text") from None
    if len(text) > _LARGEST_TEXT:
        raise InvalidArgumentError("the object's attributes are too large")
    return _FRONT.size + len(text) + _SEAL


def seal(scope: Scope, info: ObjectInfo, length: int) -> bytes:
    """Make the header, of exactly the length that ``room`` told."""
    text = _text(scope, info).ljust(length - _FRONT.size - _SEAL)
    front = _FRONT.pack(_MAGIC, len(text)) + text
    return front + hashlib.sha256(front).digest()


def _text(scope: Scope, info: ObjectInfo) -> bytes:
    attributes = info.attributes
    return canonical_json(
        {
            "scope": [scope.tenant_id, scope.env],
            "key": info.key,
            "etag": info.etag,
            "size": info.size,
            "sha256": info.sha256,
            "modified_at": info.modified_at,
            "content_type": attributes.content_type,
            "metadata": dict(attributes.metadata),
            "system": dict(attributes.system),
        }
    )


def find(directory: int, path: str, scope: Scope, key: str) -> tuple[int, Record]:
    """Open the file at ``path`` if it is this scope's object of this key; the caller closes it.

    Raises ``NotFoundError`` for nothing, for a link, and for a file that is another's, and
    ``IntegrityError`` for one that is damaged.
    """
    descriptor, record = read(directory, path)
    if record.scope == (scope.tenant_id, scope.env) and record.info.key == key:
        return descriptor, record
    os.close(descriptor)
    raise not_found()


def read(directory: int, path: str) -> tuple[int, Record]:
    """Open the file at ``path`` and read its header, whosever it is; the caller closes it."""
    descriptor = _open(directory, path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise not_found()
        try:
            return descriptor, _parse(descriptor, status.st_size)
        except IntegrityError:
            # A file with a second name that no header proves ours was linked here from elsewhere.
            if status.st_nlink == 1:
                raise
        raise not_found()
    except BaseException:
        os.close(descriptor)
        raise


def _open(directory: int, path: str) -> int:
    try:
        return open_beneath(directory, path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
    raise not_found()


def _parse(descriptor: int, size: int) -> Record:
    head = os.pread(descriptor, _FIRST_READ, 0)
    if len(head) < _FRONT.size + _SEAL:
        raise _damaged()
    magic, length = _FRONT.unpack_from(head)
    offset = _FRONT.size + length + _SEAL
    if magic != _MAGIC or length > _LARGEST_TEXT:
        raise _damaged()
    if offset > len(head):
        head += os.pread(descriptor, offset - len(head), len(head))
    front = head[: offset - _SEAL]
    if hashlib.sha256(front).digest() != head[offset - _SEAL : offset]:
        raise _damaged()
    try:
        fields = cast("dict[str, Any]", json.loads(front[_FRONT.size :]))
        tenant, env = fields["scope"]
        info = ObjectInfo(
            key=fields["key"],
            size=fields["size"],
            etag=fields["etag"],
            sha256=fields["sha256"],
            modified_at=fields["modified_at"],
            attributes=ObjectAttributes(
                content_type=fields["content_type"],
                metadata=fields["metadata"],
                system=fields["system"],
            ),
        )
        complete = size == offset + info.size
    except (KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise _damaged()
    return Record(scope=(tenant, env), info=info, offset=offset)


def _damaged() -> IntegrityError:
    return IntegrityError(
        "the stored object is damaged: its header or its length is not what was written",
        hint="restore it from a backup, or delete it",
    )
