"""An index's vectors in memory: one contiguous float32 matrix, caught up with the file.

Where int8 products are at hand, the vectors' codes lie beside them, a quarter as large.

Rows lie in the order of their numbers. New rows are appended behind those that readers may be
looking at; removed ones stay until enough of them have gathered, and readers are told to pass
over them. So a ``View`` stays as it is while the matrix goes on.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Final

import attrs
import numpy as np

from nexus_core.spi import IntegrityError
from nexus_embedded._codes import Codes, Narrow, encoded, moved
from nexus_embedded._exact import Rows
from nexus_embedded._lookups import REMOVED, Lookups, Numbers, found, read_numbers
from nexus_embedded._parts import Part

# Of vectors read at a time, so that what is computed of them stays in the processor's cache.
_CHUNK_BYTES: Final = 128 << 10
# Room for new rows; memory that is never touched is never taken.
_ROOM: Final = 1024
_LOG_SHARE: Final = 4

_LOAD: Final = (
    "SELECT pk - :base, vector FROM vec "
    "WHERE pk >= :base + :first AND pk < :base + :next ORDER BY pk"
)


@attrs.frozen(eq=False)
class View:
    """An index at one moment. ``dead`` are positions of rows that are no longer there.

    ``norms`` are each row's length to float32 precision; ``codes`` are there if they were wanted.
    """

    rows: Rows
    numbers: Numbers
    norms: Narrow
    dead: Numbers
    codes: Codes | None = None

    def __len__(self) -> int:
        return len(self.rows) - self.dead.size

    def positions(self, numbers: Numbers) -> Numbers:
        """Where the rows with these numbers are; raises ``IntegrityError`` if one is not."""
        first = int(self.numbers[0]) if self.numbers.size else 0
        if self.numbers.size and int(self.numbers[-1]) - first + 1 == self.numbers.size:
            positions = numbers - first
            inside = not numbers.size or 0 <= positions[0] <= positions[-1] < self.numbers.size
        else:
            positions = found(self.numbers, numbers)
            inside = not (positions < 0).any()
        if not inside:
            raise IntegrityError("the index's filter table names rows that it does not have")
        return positions


class Matrix:
    """The vectors of one incarnation of an index, their codes if wanted, its filters' answers.

    Hold ``lock`` around ``ahead_of`` and ``view``.
    """

    def __init__(self, part: Part, *, coded: bool) -> None:
        self.incarnation = part.incarnation
        self.lock = threading.Lock()
        self.lookups = Lookups()
        self._dimension = part.definition.dimension
        self._metric = part.definition.metric
        self._coded = coded
        self._reset()

    @property
    def bytes(self) -> int:
        """Memory in use."""
        each = 4 * self._dimension + 12 + (self._dimension + 8) * self._coded
        return self._used * each + self._dead.nbytes + self.lookups.bytes

    def ahead_of(self, part: Part) -> bool:
        """Whether another thread has brought the matrix past the transaction that read ``part``."""
        return self._next > part.next or self._gone > part.gone

    def view(self, db: sqlite3.Connection, part: Part) -> View:
        """Catch up with the transaction open on ``db``, which has read ``part``."""
        try:
            self._catch_up(db, part)
        except BaseException:
            self._reset()
            raise
        used = self._used
        return View(
            self._rows[:used],
            self._numbers[:used],
            self._norms[:used],
            self._dead,
            self._codes[:used] if self._coded else None,
        )

    def _reset(self, room: int = 0) -> None:
        self._used = 0
        self._next = 1
        self._gone = 0
        self._rows: Rows = np.empty((room, self._dimension), np.float32)
        self._numbers: Numbers = np.empty(room, np.int64)
        self._norms: Narrow = np.empty(room, np.float32)
        self._codes = Codes.empty(room if self._coded else 0, self._dimension)
        self._dead: Numbers = np.empty(0, np.int64)

    def _catch_up(self, db: sqlite3.Connection, part: Part) -> None:
        if (self._next, self._gone) == (part.next, part.gone):
            return
        if not self._used or self._gone < part.floor or self.ahead_of(part):
            # New here, too far behind, or ahead of a file that was restored from a backup.
            self._reset(_with_room(part.rows))
            self._gone = part.gone
        if part.next > self._next:
            self._append(db, part)
        if part.gone > self._gone:
            removed = read_numbers(db, REMOVED, part.part, self._gone)
            positions = found(self._numbers[: self._used], removed)
            self._dead = np.concatenate((self._dead, positions[positions >= 0]))
        self._next, self._gone = part.next, part.gone
        if self._used - self._dead.size != part.rows:
            raise IntegrityError("the index does not have the rows that it counts")
        if self._dead.size * _LOG_SHARE > self._used:
            self._compact()

    def _append(self, db: sqlite3.Connection, part: Part) -> None:
        stride = 4 * self._dimension
        cursor = db.execute(_LOAD, {"base": part.base, "first": self._next, "next": part.next})
        while chunk := cursor.fetchmany(max(1, _CHUNK_BYTES // stride)):
            numbers, blobs = zip(*chunk, strict=True)
            if set(map(len, blobs)) != {stride}:
                raise IntegrityError("a stored vector has another length than its index")
            rows = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, self._dimension)
            wide = rows.astype(np.float64)
            norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
            if not np.isfinite(norms).all():
                raise IntegrityError("a stored vector is not finite")
            start, end = self._used, self._used + len(chunk)
            if end > len(self._rows):
                self._move(np.arange(start), _with_room(max(end, part.rows)))
            self._rows[start:end] = rows
            self._numbers[start:end] = numbers
            self._norms[start:end] = norms
            if self._coded:
                self._codes.put(start, encoded(wide, norms, self._metric))
            self._used = end

    def _compact(self) -> None:
        keep = np.ones(self._used, np.bool_)
        keep[self._dead] = False
        kept = np.flatnonzero(keep)
        self._move(kept, _with_room(kept.size))
        self._used = kept.size
        self._dead = np.empty(0, np.int64)

    def _move(self, kept: Numbers, room: int) -> None:
        self._rows = moved(self._rows, kept, room)
        self._numbers = moved(self._numbers, kept, room)
        self._norms = moved(self._norms, kept, room)
        if self._coded:
            self._codes = self._codes.moved(kept, room)


def _with_room(rows: int) -> int:
    return rows + rows // 4 + _ROOM
