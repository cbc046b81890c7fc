"""Reading one scope's log from its sink as it stood at one moment, page by page.

Others may append meanwhile. What came after the moment is left out; what stands behind the end
without a later end to explain it is kept in, because it should not be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from nexus_core._audit.checkpoint import Checkpoint
from nexus_core._audit.note import Verifier
from nexus_core._model.audit import LogEntry, LogHead
from nexus_core._model.errors import AuditVerificationError
from nexus_core._model.scope import Scope
from nexus_core._spi.audit import AuditBackend

PAGE: Final = 1000


def claimed_size(note: bytes) -> int:
    """The size that a checkpoint claims, its signature not checked; -1 where there is none."""
    lines = note.split(b"\n", 2)
    digits = lines[1] if len(lines) == 3 else b""
    return int(digits) if digits.isdigit() and len(digits) <= 16 else -1


@final
class Snapshot:
    """A log as of the head that was read when this was made.

    ``size`` is the size its genuine checkpoint states, or what stands beside a false one. Each
    iterator reads the sink anew.
    """

    def __init__(
        self, backend: AuditBackend, scope: Scope, verifier: Verifier, *, page: int = PAGE
    ) -> None:
        self._backend = backend
        self._scope = scope
        self._page = page
        self.head: LogHead | None = backend.head(scope)
        self.end: Checkpoint | None = None
        self.size = 0
        if self.head is not None:
            self.size = max(self.head.size, 0)
            try:
                self.end = Checkpoint.open(self.head.checkpoint, verifier, bare=True)
            except AuditVerificationError:
                return
            self.size = self.end.size

    def entries(self) -> Iterator[LogEntry]:
        """All entries in the sink's order, and the first one behind the end if it is not new."""
        position = 0
        while position < self.size:
            limit = min(self._page, self.size - position)
            page = self._backend.read(self._scope, position, limit)
            if not page:
                return
            yield from page
            position += len(page)
        extra = self._backend.read(self._scope, self.size, 1)
        if extra and not self._grown():
            yield extra[0]

    def checkpoints(self) -> Iterator[bytes]:
        """All checkpoints in the sink's order; those behind the end only if they are not new.

        Ends early where the sink gives a page of which no size can be read.
        """
        after = 0
        while page := self._backend.checkpoints(self._scope, after, self._page):
            sizes = [claimed_size(note) for note in page]
            live = max(sizes) > self.size and self._grown()
            for note, size in zip(page, sizes, strict=True):
                if size <= self.size or not live:
                    yield note
            last = max((size for size in sizes if size <= self.size), default=-1)
            if live or last <= after:
                return
            after = last

    def _grown(self) -> bool:
        head = self._backend.head(self._scope)
        return head is not None and head != self.head and head.size > self.size
