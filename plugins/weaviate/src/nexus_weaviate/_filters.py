"""The core's filter tree in Weaviate's, meaning exactly the same.

Every node becomes a set of rows that are there, negations too: those are taken from the mark that
every row has, because the server's own complement also holds numbers of rows that are gone.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from nexus_core.spi import (
    And,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
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
from nexus_weaviate._library import classes
from nexus_weaviate._terms import number_term, term, text_term

# A property of every row: this mark, and the names of the fields that the row has.
HAS: Final = "nx_has"
ROW: Final = "."

# The library's filters, whose type has no public name.
Native: TypeAlias = Any


def field_property(field: str) -> str:
    """The property that a declared field is filtered by."""
    return f"f_{field}"


def compiled(where: Filter) -> Native:
    """Rows for which ``matches(where, fields)`` holds, and no others."""
    made = classes().query.Filter
    if isinstance(where, And):
        return made.all_of([compiled(part) for part in where.parts])
    if isinstance(where, Or):
        return made.any_of([compiled(part) for part in where.parts])
    if isinstance(where, Not):
        return _without(compiled(where.part))
    if isinstance(where, Ne):
        return _without(compiled(Eq(where.field, where.value)))
    if isinstance(where, NotIn):
        return _without(compiled(In(where.field, where.values)))
    return _leaf(where)


def _every_row() -> Native:
    """All rows that are there."""
    return _has(ROW)


def _has(mark: str) -> Native:
    return classes().query.Filter.by_property(HAS).equal(mark)


def _without(rows: Native) -> Native:
    made = classes().query.Filter
    return made.all_of([_every_row(), made.not_(rows)])


_Leaf = Eq | In | Lt | Le | Gt | Ge | Exists | Prefix | ContainsAny | ContainsAll


def _leaf(where: _Leaf) -> Native:
    if isinstance(where, Exists):
        return _has(where.field)
    by = classes().query.Filter.by_property(field_property(where.field))
    match where:
        case Eq():
            return by.equal(term(where.value))
        case In():
            return by.contains_any([term(value) for value in where.values])
        case Lt():
            return by.less_than(number_term(where.value))
        case Le():
            return by.less_or_equal(number_term(where.value))
        case Gt():
            return by.greater_than(number_term(where.value))
        case Ge():
            return by.greater_or_equal(number_term(where.value))
        case Prefix():
            # Hexadecimal digits hold none of the wildcards.
            return by.like(f"{text_term(where.value)}*")
        case ContainsAny():
            return by.contains_any([text_term(value) for value in where.values])
        case ContainsAll():
            return by.contains_all([text_term(value) for value in where.values])
