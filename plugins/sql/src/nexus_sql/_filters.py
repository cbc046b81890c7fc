"""From the filter tree to SQL: bound parameters only, and two-valued.

SQL's third truth value appears where a column may be NULL and a comparison is negated. So negation
is carried down to the comparisons, and there an absent field is said to match. Above, ``AND`` and
``OR`` treat NULL as false, as they should, and no expression hides a column from an index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import eq, ge, gt, le, lt
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Table

from nexus_core.spi import (
    And,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    InvalidFilterError,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    Prefix,
)

Member = Callable[[Column[Any], Sequence[Any]], ColumnElement[bool]]

_LAST: Final = "\U0010ffff"
_SURROGATES: Final = range(0xD800, 0xE000)
_INT64: Final = range(-(2**63), 2**63)


class FilterCompiler:
    """Filters over one table, whose columns called in ``optional`` may be NULL."""

    def __init__(self, table: Table, optional: frozenset[str], member: Member) -> None:
        self._columns = table.columns
        self._optional = optional
        self._member = member

    def compile(self, where: Filter, *, negated: bool = False) -> ColumnElement[bool]:
        """The condition that is true for exactly the rows that match (or do not, ``negated``)."""
        if isinstance(where, Not):
            return self.compile(where.part, negated=not negated)
        if isinstance(where, And | Or):
            parts = [self.compile(part, negated=negated) for part in where.parts]
            return sa.and_(*parts) if isinstance(where, And) is not negated else sa.or_(*parts)
        if isinstance(where, Ne):
            return self.compile(Eq(where.field, where.value), negated=not negated)
        if isinstance(where, NotIn):
            return self.compile(In(where.field, where.values), negated=not negated)
        return self._leaf(where, negated=negated)

    def _leaf(self, where: Any, *, negated: bool) -> ColumnElement[bool]:
        column: Column[Any] = self._columns[where.field]
        may_be_absent = where.field in self._optional
        if isinstance(where, Exists):
            if not may_be_absent:
                return never(column) if negated else sa.true()
            return column.is_(None) if negated else column.is_not(None)
        holds = self._compare(column, where)
        if not negated:
            return holds
        return sa.or_(column.is_(None), sa.not_(holds)) if may_be_absent else sa.not_(holds)

    def _compare(self, column: Column[Any], where: Any) -> ColumnElement[bool]:
        if isinstance(column.type, sa.Integer) and type(getattr(where, "value", None)) is float:
            return _compare_integers(column, where)
        match where:
            case In():
                values = _integers(where.values) if isinstance(column.type, sa.Integer) else None
                if values == []:
                    return never(column)
                return self._member(column, where.values if values is None else values)
            case Prefix():
                return _begins_with(column, where.value)
            case Eq():
                return column == _bound(column, where.value)
            case Lt():
                return column < _bound(column, where.value)
            case Le():
                return column <= _bound(column, where.value)
            case Gt():
                return column > _bound(column, where.value)
            case Ge():
                return column >= _bound(column, where.value)
        raise InvalidFilterError("the filter holds a node that this store does not offer")


def never(column: Column[Any]) -> ColumnElement[bool]:
    """What is true for no row, and yet leaves the conditions beside it in the statement."""
    return sa.and_(column.is_(None), column.is_not(None))


def _bound(column: Column[Any], value: Any) -> ColumnElement[Any]:
    return sa.bindparam(None, value, type_=column.type, unique=True)


def _compare_integers(column: Column[Any], where: Any) -> ColumnElement[bool]:
    """Compare integers with a float as integers: some engines would make floats of both, and
    find neighbours equal."""
    value, below = where.value, math.floor(where.value)
    if below in _INT64 and (value == below or not isinstance(where, Eq)):
        if value != below:
            # Nothing lies between a fraction and the integer below it.
            where = Le("", 0) if isinstance(where, Lt | Le) else Gt("", 0)
        limit = _bound(column, below)
        compare = {Eq: eq, Lt: lt, Le: le, Gt: gt, Ge: ge}[type(where)]
        return cast("ColumnElement[bool]", compare(column, limit))
    holds = isinstance(where, Lt | Le) if value > 0 else isinstance(where, Gt | Ge)
    return column.is_not(None) if holds else never(column)


def _integers(values: Sequence[Any]) -> list[Any]:
    """The values that an integer column can hold, floats as integers: in a list with a float some
    engines make floats of all, and miss the integers that no float is."""
    return [
        int(value) if type(value) is float else value
        for value in values
        if type(value) is not float or (value.is_integer() and int(value) in _INT64)
    ]


def _begins_with(column: Column[Any], prefix: str) -> ColumnElement[bool]:
    """A range, which has no wildcards, minds the case, and can use an index."""
    start = column >= _bound(column, prefix)
    end = _after_all(prefix)
    return start if end is None else sa.and_(start, column < _bound(column, end))


def _after_all(prefix: str) -> str | None:
    """The least text above all that begin with ``prefix``, by code point; ``None`` if none is."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return stem[:-1] + chr(following)
