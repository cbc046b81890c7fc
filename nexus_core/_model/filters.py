"""The one filter tree: closed, typed, two-valued; the scope cannot be expressed in it.

A filter is a tree of frozen nodes over *declared* fields. A comparison with an absent field is
false; ``Ne`` is exactly ``Not(Eq)`` and ``NotIn`` exactly ``Not(In)``, so both match records
without the field. Types are strict: ``bool`` is not ``int``; ``int`` and ``float`` compare
numerically; ordering is for numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

from nexus_core._model.errors import InvalidFilterError, UnsupportedError

Scalar: TypeAlias = str | int | float | bool
FieldValue: TypeAlias = str | int | float | bool | tuple[str, ...]
FieldType: TypeAlias = Literal["str", "int", "float", "bool", "str[]"]
Schema: TypeAlias = Mapping[str, FieldType]

MAX_DEPTH: Final = 8
MAX_NODES: Final = 256
MAX_VALUES: Final = 1000
MAX_STRING_BYTES: Final = 1024
_INT64: Final = 2**63


_T = TypeVar("_T")


def _several(values: Iterable[_T]) -> tuple[_T, ...]:
    # A string would be taken for its characters, which nobody ever means.
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidFilterError("the filter needs a list or tuple where it has a single thing")
    return tuple(values)


# One for each type, because the type checker cannot see through a generic converter.
def _scalars(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    return _several(values)


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return _several(values)


def _parts(parts: Iterable[Filter]) -> tuple[Filter, ...]:
    return _several(parts)


@attrs.frozen
class Eq:
    field: str
    value: Scalar


@attrs.frozen
class Ne:
    field: str
    value: Scalar


@attrs.frozen
class In:
    field: str
    values: tuple[Scalar, ...] = attrs.field(converter=_scalars)


@attrs.frozen
class NotIn:
    field: str
    values: tuple[Scalar, ...] = attrs.field(converter=_scalars)


@attrs.frozen
class Lt:
    field: str
    value: int | float


@attrs.frozen
class Le:
    field: str
    value: int | float


@attrs.frozen
class Gt:
    field: str
    value: int | float


@attrs.frozen
class Ge:
    field: str
    value: int | float


@attrs.frozen
class Exists:
    field: str


@attrs.frozen
class Prefix:
    """The string field begins with exactly these characters (no wildcards)."""

    field: str
    value: str


@attrs.frozen
class ContainsAny:
    field: str
    values: tuple[str, ...] = attrs.field(converter=_texts)


@attrs.frozen
class ContainsAll:
    field: str
    values: tuple[str, ...] = attrs.field(converter=_texts)


@attrs.frozen
class And:
    parts: tuple[Filter, ...] = attrs.field(converter=_parts)


@attrs.frozen
class Or:
    parts: tuple[Filter, ...] = attrs.field(converter=_parts)


@attrs.frozen
class Not:
    part: Filter


Filter: TypeAlias = (
    Eq
    | Ne
    | In
    | NotIn
    | Lt
    | Le
    | Gt
    | Ge
    | Exists
    | Prefix
    | ContainsAny
    | ContainsAll
    | And
    | Or
    | Not
)

FILTER_OPS: Final[Mapping[type, str]] = {
    Eq: "eq",
    Ne: "ne",
    In: "in",
    NotIn: "not_in",
    Lt: "lt",
    Le: "le",
    Gt: "gt",
    Ge: "ge",
    Exists: "exists",
    Prefix: "prefix",
    ContainsAny: "contains_any",
    ContainsAll: "contains_all",
    And: "and",
    Or: "or",
    Not: "not",
}
ALL_FILTER_OPS: Final = frozenset(FILTER_OPS.values())
_ORDERED = (Lt, Le, Gt, Ge)


def check_filter(where: object, schema: Schema, ops: frozenset[str] = ALL_FILTER_OPS) -> Filter:
    """Return the filter if it is well-formed over ``schema``; raise before any backend is called.

    Raises ``InvalidFilterError`` for an unknown node or field, a value of the wrong type, or a tree
    past the limits (depth 8, 256 nodes, 1000 values, 1 KiB strings), and ``UnsupportedError``
    for a node outside ``ops``. Error texts name fields, never values.
    """
    for nodes, (node, depth) in enumerate(_walk(where), 1):
        if nodes > MAX_NODES:
            raise InvalidFilterError(f"the filter has more than {MAX_NODES} nodes")
        if depth > MAX_DEPTH:
            raise InvalidFilterError(f"the filter is nested deeper than {MAX_DEPTH}")
        op = FILTER_OPS.get(type(node))
        if op is None:
            raise InvalidFilterError(
                "the filter holds something that is not a filter node",
                hint="use Eq, Ne, In, NotIn, Lt, Le, Gt, Ge, Exists, Prefix, ContainsAny, "
                "ContainsAll, And, Or, Not",
            )
        if op not in ops:
            raise UnsupportedError(f"filter:{op}")
        _check_node(node, schema)
    return where  # type: ignore[return-value]  # every node was just checked to be one of Filter's


def _walk(root: object) -> Iterator[tuple[object, int]]:
    stack: list[tuple[object, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        if isinstance(node, And | Or):
            stack.extend((part, depth + 1) for part in node.parts)
        elif isinstance(node, Not):
            stack.append((node.part, depth + 1))


def _check_node(node: Any, schema: Schema) -> None:
    if isinstance(node, And | Or):
        if not node.parts:
            raise InvalidFilterError("And and Or need at least one part")
        return
    if isinstance(node, Not):
        return
    kind = schema.get(node.field) if type(node.field) is str else None
    if kind is None:
        known = ", ".join(sorted(schema)) or "none"
        raise InvalidFilterError(
            "the filter names a field that is not declared", hint=f"declared fields: {known}"
        )
    if isinstance(node, Exists):
        return
    if isinstance(node, ContainsAny | ContainsAll):
        _require(kind == "str[]", node.field, "a list of strings")
        _check_values(node.values, "str", node.field)
    elif isinstance(node, In | NotIn):
        _require(kind != "str[]", node.field, "a single value")
        _check_values(node.values, kind, node.field)
    elif isinstance(node, Prefix):
        _require(kind == "str", node.field, "a string")
        check_field_value(node.value, "str", node.field)
    elif isinstance(node, _ORDERED):
        _require(kind in ("int", "float"), node.field, "a number")
        check_field_value(node.value, kind, node.field)
    else:
        _require(kind != "str[]", node.field, "a single value")
        check_field_value(node.value, kind, node.field)


def _check_values(values: tuple[object, ...], kind: FieldType, field: str) -> None:
    if not 1 <= len(values) <= MAX_VALUES:
        raise InvalidFilterError(f"the filter on {field!r} needs 1 to {MAX_VALUES} values")
    for value in values:
        check_field_value(value, kind, field)


def _require(holds: bool, field: str, wanted: str) -> None:
    if not holds:
        raise InvalidFilterError(f"the filter on {field!r} needs a field that is {wanted}")


def check_field_value(value: object, kind: FieldType, field: str) -> None:
    """Raise ``InvalidFilterError`` unless ``value`` is a legal value of a ``kind`` field.

    A number field takes both ``int`` (64-bit) and finite ``float``; nothing is coerced.
    """
    ok: bool
    if kind == "str[]":
        ok = type(value) is tuple and all(_is_string(part) for part in value)
    elif kind == "str":
        ok = _is_string(value)
    elif kind == "bool":
        ok = type(value) is bool
    else:
        ok = (type(value) is int and -_INT64 <= value < _INT64) or (
            type(value) is float and math.isfinite(value)
        )
    if not ok:
        raise InvalidFilterError(
            f"the value for {field!r} is not a legal {kind}",
            hint="bool is not int, numbers are finite and 64-bit, strings have no NUL or "
            "surrogate and at most 1 KiB",
        )


def _is_string(value: object) -> bool:
    if type(value) is not str or "\0" in value:
        return False
    try:
        return len(value.encode("utf-8")) <= MAX_STRING_BYTES
    except UnicodeEncodeError:
        return False


def matches(where: Filter | None, fields: Mapping[str, FieldValue]) -> bool:
    """Evaluate a checked filter against one record's fields: the reference semantics."""
    if where is None:
        return True
    return _MATCHERS[type(where)](where, fields)


def _equal(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


_Matcher: TypeAlias = Callable[[Any, Mapping[str, FieldValue]], bool]

_MATCHERS: Final[Mapping[type, _Matcher]] = {
    Eq: lambda n, f: n.field in f and _equal(f[n.field], n.value),
    Ne: lambda n, f: not (n.field in f and _equal(f[n.field], n.value)),
    In: lambda n, f: n.field in f and any(_equal(f[n.field], v) for v in n.values),
    NotIn: lambda n, f: not (n.field in f and any(_equal(f[n.field], v) for v in n.values)),
    Lt: lambda n, f: n.field in f and f[n.field] < n.value,
    Le: lambda n, f: n.field in f and f[n.field] <= n.value,
    Gt: lambda n, f: n.field in f and f[n.field] > n.value,
    Ge: lambda n, f: n.field in f and f[n.field] >= n.value,
    Exists: lambda n, f: n.field in f,
    Prefix: lambda n, f: n.field in f and str(f[n.field]).startswith(n.value),
    ContainsAny: lambda n, f: n.field in f and not set(n.values).isdisjoint(_strings(f[n.field])),
    ContainsAll: lambda n, f: n.field in f and set(n.values) <= set(_strings(f[n.field])),
    And: lambda n, f: all(matches(part, f) for part in n.parts),
    Or: lambda n, f: any(matches(part, f) for part in n.parts),
    Not: lambda n, f: not matches(n.part, f),
}


def _strings(value: FieldValue) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def filter_to_data(where: Filter) -> Any:
    """Plain JSON data for a filter (used to bind cursors to the query that they continue)."""
    op = FILTER_OPS[type(where)]
    if isinstance(where, And | Or):
        return [op, [filter_to_data(part) for part in where.parts]]
    if isinstance(where, Not):
        return [op, filter_to_data(where.part)]
    if isinstance(where, Exists):
        return [op, where.field]
    if isinstance(where, In | NotIn | ContainsAny | ContainsAll):
        return [op, where.field, list(where.values)]
    return [op, where.field, where.value]
