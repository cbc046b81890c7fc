"""Events as lines of JSON in a file that is only ever added to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from nexus_core._events.event import DatasetEvent
from nexus_core._events.exporter import EventExporter
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import UnavailableError

_BLOCK = 64 << 10


@final
class JsonLinesExporter(EventExporter):
    """Adds one line of canonical JSON for each event to a file, and syncs it.

    Relays of several processes may share the file: they take turns under a lock on it. A line that
    a crash left unfinished is cut off before anything is added, and its event comes again whole.
    The folder must be there; the file is made at the first event.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def export(self, events: Sequence[DatasetEvent]) -> None:
        """Append and sync; raises ``UnavailableError`` where the file cannot be written."""
        self.append([canonical_json(event.to_data()) for event in events])

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines without their newlines, whole and durably."""
        try:
            with self._locked() as descriptor:
                whole = _end_of_last_line(descriptor)
                os.ftruncate(descriptor, whole)
                rest = memoryview(b"".join(line + b"\n" for line in lines))
                while rest:
                    rest = rest[os.pwrite(descriptor, rest, whole) :]
                    whole = os.fstat(descriptor).st_size
                os.fsync(descriptor)
        except OSError as error:
            failure = UnavailableError(f"the file of events cannot be written: {error.strerror}")
        else:
            return
        raise failure

    @contextmanager
    def _locked(self) -> Iterator[int]:
        made = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if made:
                folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            yield descriptor
        finally:
            os.close(descriptor)


def _end_of_last_line(descriptor: int) -> int:
    """Where the last line that was finished ends."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
