"""Filters, answered from an inverted table: which rows of an index match.

Each field of a row becomes one ``term`` for a scalar, one for each string of a list, and one empty
blob for an empty list. A leaf of the filter is one lookup in that table; the lookups' answers are
combined as sorted arrays of row numbers. A negation is kept as a mark on its set, so it never
lists the rows of the index.

SQLite compares integers with floats exactly and text by byte, as the filter's definition does.
Booleans are stored as blobs, which equal no number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, Final, TypeAlias

import attrs
import numpy as np

from nexus_core.spi import (
    And,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    Fields,
    FieldValue,
    Filter,
    Ge,
    Gt,
    In,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    Prefix,
)
from nexus_embedded._lookups import EQUAL, NOTHING, Lookups, Numbers, Value, found, read_numbers
from nexus_embedded._parts import Part

_EMPTY_LIST: Final = b""

_LESS: Final = "SELECT group_concat(number) FROM term WHERE part = ? AND field = ? AND value < ?"
_AT_MOST: Final = (
    "SELECT group_concat(number) FROM term WHERE part = ? AND field = ? AND value <= ?"
)
_MORE: Final = "SELECT group_concat(number) FROM term WHERE part = ? AND field = ? AND value > ?"
_AT_LEAST: Final = (
    "SELECT group_concat(number) FROM term WHERE part = ? AND field = ? AND value >= ?"
)
_BETWEEN: Final = (
    "SELECT group_concat(number) FROM term "
    "WHERE part = ? AND field = ? AND value >= ? AND value < ?"
)
_PRESENT: Final = "SELECT group_concat(number) FROM term WHERE part = ? AND field = ?"


@attrs.frozen(eq=False)
class Matching:
    """The rows whose numbers are listed, in ascending order; or, inverted, all the others."""

    numbers: Numbers
    inverted: bool = False

    def count(self, rows: int) -> int:
        """How many rows match, of an index with that many."""
        return rows - self.numbers.size if self.inverted else self.numbers.size


def terms_of(fields: Fields) -> Iterator[tuple[str, Value]]:
    """The terms of one row."""
    for field, value in fields.items():
        if isinstance(value, tuple):
            for part in set(value) or (_EMPTY_LIST,):
                yield field, part
        else:
            yield field, _stored(value)


def matching(
    db: sqlite3.Connection, part: Part, where: Filter, lookups: Lookups | None = None
) -> Matching:
    """Evaluate a checked filter over an index, in the transaction that is open on ``db``.

    With ``lookups``, answers are kept there instead of read anew.
    """

    def find(sql: str, field: str, *values: Value) -> Numbers:
        if lookups is not None:
            return lookups.find(db, part, sql, field, *values)
        return read_numbers(db, sql, part.part, field, *values)

    def evaluate(node: Filter) -> Matching:
        if isinstance(node, Not):
            return _inverse(evaluate(node.part))
        if isinstance(node, And):
            return _all_of([evaluate(part) for part in node.parts])
        if isinstance(node, Or):
            return _inverse(_all_of([_inverse(evaluate(part)) for part in node.parts]))
        if isinstance(node, Ne):
            return _inverse(evaluate(Eq(node.field, node.value)))
        if isinstance(node, NotIn):
            return _inverse(evaluate(In(node.field, node.values)))
        return Matching(_LEAVES[type(node)](node, find))

    return evaluate(where)


_Find: TypeAlias = Callable[..., Numbers]


def _each(node: In | ContainsAny | ContainsAll, find: _Find) -> Iterator[Numbers]:
    for value in set(map(_stored, node.values)):
        yield find(EQUAL, node.field, value)


def _prefixed(node: Prefix, find: _Find) -> Numbers:
    after = _successor(node.value)
    if after is None:
        return find(_AT_LEAST, node.field, node.value)
    return find(_BETWEEN, node.field, node.value, after)


_LEAVES: Final[dict[type, Callable[[Any, _Find], Numbers]]] = {
    Eq: lambda n, find: find(EQUAL, n.field, _stored(n.value)),
    Lt: lambda n, find: find(_LESS, n.field, n.value),
    Le: lambda n, find: find(_AT_MOST, n.field, n.value),
    Gt: lambda n, find: find(_MORE, n.field, n.value),
    Ge: lambda n, find: find(_AT_LEAST, n.field, n.value),
    Exists: lambda n, find: find(_PRESENT, n.field),
    Prefix: _prefixed,
    In: lambda n, find: _union(_each(n, find)),
    ContainsAny: lambda n, find: _union(_each(n, find)),
    ContainsAll: lambda n, find: reduce(_intersection, _each(n, find)),
}


def _stored(value: FieldValue) -> Value:
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    if isinstance(value, tuple):
        raise TypeError("a list has several terms")
    return value


def _successor(prefix: str) -> str | None:
    """The least string above all that begin with ``prefix``; ``None`` where there is none."""
    while prefix:
        point = ord(prefix[-1]) + 1
        if point <= 0x10FFFF:
            # No text holds surrogates.
            return prefix[:-1] + chr(0xE000 if 0xD800 <= point < 0xE000 else point)
        prefix = prefix[:-1]
    return None


def _inverse(one: Matching) -> Matching:
    return Matching(one.numbers, not one.inverted)


def _all_of(parts: Sequence[Matching]) -> Matching:
    barred = _union(one.numbers for one in parts if one.inverted)
    listed = [one.numbers for one in parts if not one.inverted]
    if not listed:
        return Matching(barred, inverted=True)
    both = reduce(_intersection, sorted(listed, key=len))
    return Matching(np.setdiff1d(both, barred, assume_unique=True) if barred.size else both)


def _intersection(left: Numbers, right: Numbers) -> Numbers:
    few, many = sorted((left, right), key=len)
    return few[found(many, few) >= 0]


def _union(several: Iterable[Numbers]) -> Numbers:
    sets = list(several)
    if len(sets) == 1:
        return sets[0]
    return np.unique(np.concatenate(sets)) if sets else NOTHING
