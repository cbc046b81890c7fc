"""Row numbers read from the filter table, and answers kept from one query to the next."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from nexus_embedded._parts import Part

Numbers: TypeAlias = npt.NDArray[np.int64]
Value: TypeAlias = str | int | float | bytes

NOTHING: Final[Numbers] = np.empty(0, np.int64)

EQUAL: Final = "SELECT group_concat(number) FROM term WHERE part = ? AND field = ? AND value = ?"
_EQUAL_SINCE: Final = (
    "SELECT group_concat(number) FROM term "
    "WHERE part = ? AND field = ? AND value = ? AND number >= ?"
)
# Row numbers that were removed after a count of removals.
REMOVED: Final = "SELECT group_concat(number) FROM removed WHERE part = ? AND seq > ?"

_LOOKUPS: Final = 16


class Lookups:
    """Answers of look-ups, of one incarnation of an index. Thread-safe.

    A row's number is in an answer or not for as long as the row is there, so an answer for a single
    value is caught up by the numbers given since, less those removed since. One for a range, whose
    new numbers stand in as many places as it has values, is read anew when anything was written.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Value, ...], tuple[int, int, Numbers]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Memory in use."""
        with self._lock:
            return sum(numbers.nbytes for _, _, numbers in self._known.values())

    def find(self, db: sqlite3.Connection, part: Part, sql: str, *term: Value) -> Numbers:
        """What a look-up answers in the transaction that is open on ``db``."""
        # 1 and 1.0 are equal, and so are the rows that have them.
        key = sql, *term
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is not None and known[:2] == (part.next, part.gone):
            return known[2]
        numbers = self._caught_up(db, part, sql, term, known)
        with self._lock:
            self._known[key] = part.next, part.gone, numbers
            self._known.move_to_end(key)
            if len(self._known) > _LOOKUPS:
                self._known.popitem(last=False)
        return numbers

    @staticmethod
    def _caught_up(
        db: sqlite3.Connection,
        part: Part,
        sql: str,
        term: tuple[Value, ...],
        known: tuple[int, int, Numbers] | None,
    ) -> Numbers:
        if (
            known is None
            or sql is not EQUAL
            or known[0] > part.next
            or not part.floor <= known[1] <= part.gone
        ):
            return read_numbers(db, sql, part.part, *term)
        since, gone, numbers = known
        added = read_numbers(db, _EQUAL_SINCE, part.part, *term, since)
        removed = read_numbers(db, REMOVED, part.part, gone)
        return np.concatenate((numbers[found(removed, numbers) < 0], added))


def read_numbers(db: sqlite3.Connection, sql: str, *arguments: Value) -> Numbers:
    """Ascending row numbers, from a query that answers with one text of them."""
    (text,) = db.execute(sql, arguments).fetchone()
    if text is None:
        return NOTHING
    numbers = np.fromstring(text, dtype=np.int64, sep=",")
    # A single value's rows come in order; a range's come in order of value.
    return numbers if bool((numbers[1:] > numbers[:-1]).all()) else np.unique(numbers)


def found(among: Numbers, numbers: Numbers) -> Numbers:
    """Position of each number in an ascending array, or -1 where it is not in it."""
    if not among.size:
        return np.full(numbers.size, -1)
    positions = np.minimum(among.searchsorted(numbers), among.size - 1)
    return np.where(among[positions] == numbers, positions, -1)
