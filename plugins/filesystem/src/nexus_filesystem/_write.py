"""Putting one object: all or nothing, exact under conditions, on disk when it returns.

The object is written to a file of its own and synced; then, under the key's lock, the condition is
checked and the file is renamed into place, which replaces any older version; then the directory is
synced. Readers hold the version that they opened.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from nexus_core.spi import Body, ObjectAttributes, ObjectInfo, Outcome, UnavailableError
from nexus_filesystem._beneath import closing, enter_all, sync
from nexus_filesystem._errors import UNCERTAIN, Translated
from nexus_filesystem._locks import locked
from nexus_filesystem._record import room, seal
from nexus_filesystem._slot import Condition, Slot, mismatch
from nexus_filesystem._tree import Home, home
from nexus_filesystem._upload import Upload, uploading


def put(
    root: Path,
    slot: Slot,
    body: Body,
    attributes: ObjectAttributes,
    *,
    condition: Condition,
    now: Callable[[], int],
) -> ObjectInfo:
    """See ``RawBackend.put``. A condition that fails already is told before the body is read."""
    etag = secrets.token_hex(16)
    length = room(slot.scope, slot.key, etag, attributes)
    with ExitStack() as stack:
        with Translated():
            mine, upload = _begin(stack, root, slot, condition, length)
        for chunk in body:
            with Translated():
                upload.append(chunk)
        info = ObjectInfo(
            key=slot.key,
            size=body.read_size,
            etag=etag,
            sha256=body.sha256,
            modified_at=now(),
            attributes=attributes,
        )
        with Translated():
            upload.finish(seal(slot.scope, info, length))
            directory = stack.enter_context(closing(_commit(mine, upload, slot, condition)))
        with Translated(Outcome.UNKNOWN):
            sync(directory)
    return info


def _begin(
    stack: ExitStack, root: Path, slot: Slot, condition: Condition, length: int
) -> tuple[Home, Upload]:
    create = condition.if_match is None
    while True:
        with ExitStack() as attempt:
            mine = attempt.enter_context(home(root, slot.scope, create=create))
            if mine is None:
                raise mismatch()
            if condition != Condition():
                condition.holds(slot, mine.directory, slot.path)
            # The scope may be erased between the two steps.
            with suppress(FileNotFoundError):
                upload = attempt.enter_context(uploading(mine.directory, length))
                stack.push(attempt.pop_all())
                return mine, upload


def _commit(mine: Home, upload: Upload, slot: Slot, condition: Condition) -> int:
    """Rename the upload into place; return its directory, which is still to be synced."""
    while mine.current() and upload.exists():
        # Whoever deletes the last object of a directory removes that as well; it is made anew.
        with suppress(FileNotFoundError), locked(mine.directory, slot.key):
            if mine.current():
                if condition != Condition():
                    condition.holds(slot, mine.directory, slot.path)
                return _rename(mine, upload, slot)
    raise UnavailableError(
        "the scope was erased while the object was being written",
        outcome=Outcome.NOT_APPLIED,
    )


def _rename(mine: Home, upload: Upload, slot: Slot) -> int:
    target = enter_all(mine.directory, slot.directories)
    try:
        with Translated(Outcome.UNKNOWN, only=UNCERTAIN):
            os.rename(upload.name, slot.name, src_dir_fd=upload.directory, dst_dir_fd=target)
    except BaseException:
        os.close(target)
        raise
    return target
