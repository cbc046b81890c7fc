"""Locks between threads and processes, one lock file for each scope, released by any death.

Where the system has locks on byte ranges that belong to an open file (Linux), a key is one byte of
its scope's lock file and erasing the scope takes all of them; elsewhere the whole file is the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nexus_filesystem._beneath import closing, open_beneath
from nexus_filesystem._names import LOCK

_WAIT: Final[int | None] = getattr(fcntl, "F_OFD_SETLKW", None)

# struct flock: type, whence, start, length (0: to the end of all offsets), process.
_RANGE = struct.Struct("hhqqi0q")


@contextmanager
def locked(scope: int, key: str | None = None) -> Iterator[None]:
    """Hold the lock of one key of a scope's directory, or of all its keys; blocks until it is free.

    No caller takes a second lock while it holds one, so none waits for itself.
    """
    start, length = (0, 0) if key is None else (_offset(key), 1)
    with closing(open_beneath(scope, LOCK, os.O_RDWR | os.O_CREAT)) as descriptor:
        _set(descriptor, fcntl.F_WRLCK, start, length)
        try:
            yield
        finally:
            # Said explicitly: a process forked meanwhile has the file open and would keep the lock.
            _set(descriptor, fcntl.F_UNLCK, start, length)


def _offset(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") >> 2


def _set(descriptor: int, kind: int, start: int, length: int) -> None:
    if _WAIT is None:
        fcntl.flock(descriptor, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX)
    else:
        fcntl.fcntl(descriptor, _WAIT, _RANGE.pack(kind, os.SEEK_SET, start, length, 0))


def claim(descriptor: int) -> None:
    """Mark a file of one's own as in use, until it is closed or the process dies."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def unclaimed(descriptor: int) -> bool:
    """Take the mark of a file if nobody has it; ``False`` if its writer lives."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
