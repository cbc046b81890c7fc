"""Files that are being written, in their scope's ``~tmp``, and what killed writers leave there.

A file is claimed by a lock for as long as its writer has it open. Whoever gets that lock knows the
writer dead, whatever the clocks say, and removes the file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from nexus_filesystem._beneath import closing, enter, names, open_beneath, sync
from nexus_filesystem._locks import claim, unclaimed
from nexus_filesystem._names import TEMPORARY

# How many files one put looks at: what is left over goes soon, and no put pays for all.
_SWEEP: Final = 32


class Upload:
    """A file that is being written, and is claimed until it is closed."""

    def __init__(self, directory: int, name: str, descriptor: int, start: int) -> None:
        self.directory = directory
        self.name = name
        self._descriptor = descriptor
        self._position = start

    def append(self, chunk: bytes) -> None:
        """Write the next bytes of the body."""
        self._position += self._write(chunk, self._position)

    def finish(self, header: bytes) -> None:
        """Write the header into the room left for it, and put the whole file on disk."""
        self._write(header, 0)
        sync(self._descriptor)

    def exists(self) -> bool:
        """Whether it is still there under its name, which erasing the scope takes away."""
        try:
            there = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _write(self, data: bytes, position: int) -> int:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            rest = rest[written:]
            position += written
        return len(data)


@contextmanager
def uploading(scope_directory: int, start: int) -> Iterator[Upload]:
    """Make a file whose body begins at ``start``; remove it unless it was renamed away."""
    with closing(enter(scope_directory, TEMPORARY)) as directory:
        _sweep(directory)
        name, descriptor = _claimed(directory)
        with closing(descriptor):
            try:
                yield Upload(directory, name, descriptor, start)
            finally:
                # Absent when it was renamed into place; what cannot be removed is swept later.
                with suppress(OSError):
                    os.unlink(name, dir_fd=directory)


def _claimed(directory: int) -> tuple[str, int]:
    while True:
        name = secrets.token_hex(16)
        descriptor = open_beneath(directory, name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            claim(descriptor)
            # A sweeper may have come between the two steps and have removed the name.
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sweep(directory: int) -> None:
    for name in names(directory)[:_SWEEP]:
        with (
            suppress(OSError),
            closing(open_beneath(directory, name, os.O_RDWR)) as descriptor,
        ):
            if unclaimed(descriptor):
                os.unlink(name, dir_fd=directory)
