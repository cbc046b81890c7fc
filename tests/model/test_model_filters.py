"""The filter tree: what is well-formed, and what it means."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import InvalidFilterError, UnsupportedError
from nexus_core._model.filters import (
    ALL_FILTER_OPS,
    FILTER_OPS,
    MAX_DEPTH,
    MAX_NODES,
    MAX_STRING_BYTES,
    MAX_VALUES,
    And,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    FieldType,
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
    check_field_value,
    check_filter,
    filter_to_data,
    matches,
)

SCHEMA: dict[str, FieldType] = {
    "s": "str",
    "i": "int",
    "f": "float",
    "b": "bool",
    "tags": "str[]",
}
ORDERED: tuple[type[Any], ...] = (Lt, Le, Gt, Ge)


class Text(str):
    """A `str` by inheritance only."""

    __slots__ = ()


def well_formed(where: object) -> bool:
    try:
        check_filter(where, SCHEMA)
    except InvalidFilterError:
        return False
    return True


# --- what is well-formed ---------------------------------------------------------------------

LAWFUL_VALUES: dict[str, tuple[Any, ...]] = {
    "s": ("", "a", "é", "%", "_", "'", "a" * MAX_STRING_BYTES, "é" * (MAX_STRING_BYTES // 2)),
    "i": (0, -1, 2**63 - 1, -(2**63), 1.5, -0.0),
    "f": (0, 1, 0.5, 1e308, -1e-308, 2**53 + 1),
    "b": (True, False),
}
UNLAWFUL_VALUES: dict[str, tuple[Any, ...]] = {
    "s": (None, 1, True, b"a", Text("a"), "a\0", "\ud800", "a" * (MAX_STRING_BYTES + 1), ["a"]),
    "i": (None, True, False, "1", 2**63, -(2**63) - 1, math.nan, math.inf, 1j, Fraction(1)),
    "f": (None, True, "0.5", math.nan, math.inf, 2**63, 1j, [0.5]),
    "b": (None, 0, 1, 1.0, "true", "", [True]),
}  # fmt: skip


@pytest.mark.parametrize("field", ["s", "i", "f", "b"])
def test_values_have_exactly_their_type(field: str) -> None:
    """A value is taken where it is of the field's type, and nothing is coerced to fit."""
    for value in LAWFUL_VALUES[field]:
        for node in (
            Eq(field, value),
            Ne(field, value),
            In(field, (value,)),
            NotIn(field, (value,)),
        ):
            assert check_filter(node, SCHEMA) is node
    for value in UNLAWFUL_VALUES[field]:
        for node in (
            Eq(field, value),
            Ne(field, value),
            In(field, (value,)),
            NotIn(field, (value,)),
        ):
            with pytest.raises(InvalidFilterError):
                check_filter(node, SCHEMA)


@pytest.mark.parametrize("kind", ORDERED, ids=lambda kind: kind.__name__)
def test_ordering_is_for_numbers(kind: Any) -> None:
    """Less and greater are asked of numbers only, with a number."""
    for field in ("i", "f"):
        for value in LAWFUL_VALUES[field]:
            assert well_formed(kind(field, value))
        for value in UNLAWFUL_VALUES[field]:
            assert not well_formed(kind(field, value))
    for field, value in {"s": "a", "b": True, "tags": "a"}.items():
        assert not well_formed(kind(field, value))


def test_prefix_is_for_strings() -> None:
    """A prefix is asked of a single string, with a string."""
    assert well_formed(Prefix("s", "a"))
    assert well_formed(Prefix("s", ""))
    for field, value in (
        ("i", "1"),
        ("tags", "a"),
        ("b", "t"),
        ("s", 1),
        ("s", Text("a")),
        ("s", None),
    ):
        assert not well_formed(Prefix(field, value))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [ContainsAny, ContainsAll])
def test_containment_is_for_lists(kind: Any) -> None:
    """Containment is asked of lists of strings, with strings, and of nothing else."""
    assert well_formed(kind("tags", ("a", "b")))
    for field in ("s", "i", "f", "b"):
        assert not well_formed(kind(field, ("a",)))
    for values in ((), (1,), (True,), ("a", None), ("a", Text("b")), ("a\0",)):
        assert not well_formed(kind("tags", values))


def test_lists_are_not_compared_as_a_whole() -> None:
    """Equality, membership, prefix and order are not asked of a list of strings."""
    for node in (Eq("tags", "a"), Ne("tags", "a"), In("tags", ("a",)), NotIn("tags", ("a",))):
        assert not well_formed(node)
    assert not well_formed(Eq("tags", ("a",)))  # type: ignore[arg-type]
    assert well_formed(Exists("tags"))


@pytest.mark.parametrize(
    "field", ["tenant_id", "tenant", "env", "S", "s ", "", "s.x", None, 1, Text("s"), ("s",)]
)  # fmt: skip
def test_only_declared_fields_are_named(field: Any) -> None:
    """A field that is not declared is refused in every node, so the scope cannot be named."""
    nodes = [Eq(field, "a"), Ne(field, "a"), In(field, ("a",)), NotIn(field, ("a",))]
    rest = [
        Exists(field),
        Prefix(field, "a"),
        ContainsAny(field, ("a",)),
        ContainsAll(field, ("a",)),
    ]
    ordered = [kind(field, 1) for kind in ORDERED]
    for node in (*nodes, *rest, *ordered):
        for where in (node, Not(node), And((Eq("s", "a"), node)), Or((node, Eq("s", "a")))):
            assert not well_formed(where)


@pytest.mark.parametrize(
    "junk",
    [None, True, {}, [], "s = 'a'", ("eq", "s", "a"), object(), Eq, {"s": "a"}, b"", 1],
    ids=lambda junk: type(junk).__name__,
)
def test_only_nodes_are_nodes(junk: Any) -> None:
    """Anything but a node is refused, at the top and below."""
    for where in (junk, Not(junk), And((junk,)), Or((Eq("s", "a"), junk))):
        assert not well_formed(where)


def test_subclasses_of_nodes_are_no_nodes() -> None:
    """A class derived from a node could mean something else, and is refused."""

    class Sly(Eq):
        pass

    class SlyAnd(And):
        pass

    assert not well_formed(Sly("s", "a"))
    assert not well_formed(SlyAnd((Eq("s", "a"),)))


def test_empty_junctions_are_refused() -> None:
    """And and Or of nothing have two readings, and are refused."""
    for where in (And(()), Or(()), Not(And(())), And((Or(()),))):
        assert not well_formed(where)


@pytest.mark.parametrize("kind", [In, NotIn, ContainsAny, ContainsAll])
def test_a_string_is_not_a_list_of_values(kind: Any) -> None:
    """Values given as one string are refused instead of being taken for its characters."""
    for values in ("abc", b"abc", Text("abc"), "", 1, None):
        with pytest.raises(InvalidFilterError):
            check_filter(kind("tags" if "Contains" in kind.__name__ else "s", values), SCHEMA)


@pytest.mark.parametrize("kind", [And, Or])
def test_parts_are_a_list(kind: Any) -> None:
    """The parts of a junction are given as a list or tuple, of which it keeps a copy."""
    parts = [Eq("s", "a")]
    where = kind(parts)
    parts.append(Eq("s", "b"))
    assert where == kind((Eq("s", "a"),))
    for bad in ("s", None, 1):
        with pytest.raises(InvalidFilterError):
            check_filter(kind(bad), SCHEMA)


def test_limits_are_the_published_ones() -> None:
    """A filter has at most 8 levels, 256 nodes, 1000 values a node, and strings of 1 KiB."""
    assert (MAX_DEPTH, MAX_NODES, MAX_VALUES, MAX_STRING_BYTES) == (8, 256, 1000, 1024)


def nested(depth: int, leaf: Filter) -> Filter:
    for level in range(depth - 1):
        leaf = (Not(leaf), And((leaf,)), Or((leaf,)))[level % 3]
    return leaf


def test_depth_is_limited() -> None:
    """A tree of eight levels is taken and one of nine is refused, wherever it is deep."""
    leaf = Eq("s", "a")
    assert well_formed(nested(MAX_DEPTH, leaf))
    assert not well_formed(nested(MAX_DEPTH + 1, leaf))
    assert not well_formed(And((leaf, nested(MAX_DEPTH, leaf))))
    assert not well_formed(nested(100_000, leaf))


def test_size_is_limited() -> None:
    """A tree of 256 nodes is taken and one of 257 is refused."""
    leaf = Eq("s", "a")
    assert well_formed(Or((leaf,) * (MAX_NODES - 1)))
    assert not well_formed(Or((leaf,) * MAX_NODES))
    assert not well_formed(Or((And((leaf,) * 200), And((leaf,) * 200))))


def test_values_are_limited() -> None:
    """A node has 1 to 1000 values."""
    for kind, field in ((In, "s"), (NotIn, "s"), (ContainsAny, "tags"), (ContainsAll, "tags")):
        assert not well_formed(kind(field, ()))
        assert well_formed(kind(field, ("a",) * MAX_VALUES))
        assert not well_formed(kind(field, ("a",) * (MAX_VALUES + 1)))


EXAMPLES: dict[str, Filter] = {
    "eq": Eq("s", "a"),
    "ne": Ne("s", "a"),
    "in": In("s", ("a",)),
    "not_in": NotIn("s", ("a",)),
    "lt": Lt("i", 1),
    "le": Le("i", 1),
    "gt": Gt("i", 1),
    "ge": Ge("i", 1),
    "exists": Exists("s"),
    "prefix": Prefix("s", "a"),
    "contains_any": ContainsAny("tags", ("a",)),
    "contains_all": ContainsAll("tags", ("a",)),
    "and": And((Eq("s", "a"),)),
    "or": Or((Eq("s", "a"),)),
    "not": Not(Eq("s", "a")),
}


def test_every_node_has_a_name() -> None:
    """Each of the fifteen nodes has one name, by which backends declare it."""
    assert set(EXAMPLES) == ALL_FILTER_OPS
    assert len(FILTER_OPS) == len(ALL_FILTER_OPS)
    for name, node in EXAMPLES.items():
        assert FILTER_OPS[type(node)] == name


@pytest.mark.parametrize("op", sorted(EXAMPLES))
def test_an_undeclared_node_is_unsupported(op: str) -> None:
    """A node that the backend does not declare is refused by name, at the top and below."""
    without = ALL_FILTER_OPS - {op}
    node = EXAMPLES[op]
    assert check_filter(node, SCHEMA) is node
    for where in (node, And((Exists("s"), node)), Not(node)):
        with pytest.raises(UnsupportedError) as caught:
            check_filter(where, SCHEMA, without)
        assert caught.value.capability in (
            f"filter:{op}",
            "filter:exists",
            "filter:and",
            "filter:not",
        )
    with pytest.raises(UnsupportedError) as caught:
        check_filter(node, SCHEMA, without)
    assert caught.value.capability == f"filter:{op}"


def test_refusals_name_fields_and_never_values() -> None:
    """An error about a filter may name a field, and never prints a value."""
    for where in (
        Eq("s", "zz9\0"),
        Eq("zz9", "a"),
        In("i", ("zz9",)),
        Prefix("i", "zz9"),
        Lt("s", "zz9"),  # type: ignore[arg-type]
        ContainsAny("tags", ("zz9\0",)),
        And(("zz9",)),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidFilterError) as caught:
            check_filter(where, SCHEMA)
        assert "zz9" not in str(caught.value)


def test_nodes_are_values() -> None:
    """Nodes are frozen, equal by content and hashable."""
    for node in EXAMPLES.values():
        assert attrs.evolve(node) == node
        assert hash(attrs.evolve(node)) == hash(node)
        for field in attrs.fields(type(node)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(node, field.name, None)


@given(st.sampled_from(["str", "int", "float", "bool", "str[]"]), st.none() | st.text(max_size=3)
       | st.integers() | st.floats() | st.booleans() | st.tuples(st.text(max_size=2)))  # fmt: skip
def test_field_values_are_checked_alike(kind: FieldType, value: Any) -> None:
    """A record's field takes exactly the values that a filter on it takes."""
    lawful_text = isinstance(value, str) and "\0" not in value
    number = (
        type(value) in (int, float)
        and math.isfinite(value)
        and (type(value) is float or -(2**63) <= value <= 2**63 - 1)
    )
    expected = {
        "str": lawful_text,
        "int": number,
        "float": number,
        "bool": isinstance(value, bool),
        "str[]": isinstance(value, tuple) and all("\0" not in part for part in value),
    }[kind]
    if expected:
        check_field_value(value, kind, "field")
    else:
        with pytest.raises(InvalidFilterError):
            check_field_value(value, kind, "field")


# --- what it means ---------------------------------------------------------------------------
# The oracle reads the printed form of a filter, and decides by sets of records instead of truth
# values, so that it shares neither code nor approach with the product.

Rows = Mapping[int, Mapping[str, FieldValue]]


def number(value: Any) -> Fraction:
    return Fraction(value)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, str) or isinstance(right, str):
        return isinstance(left, str) and isinstance(right, str) and list(left) == list(right)
    return number(left) == number(right)


def select(data: Any, rows: Rows) -> set[int]:
    """Numbers of the rows that a filter, as plain data, selects."""
    everything = set(rows)
    op, *rest = data
    if op in ("and", "or"):
        chosen = [select(part, rows) for part in rest[0]]
        return set.intersection(*chosen) if op == "and" else set.union(*chosen)
    if op == "not":
        return everything - select(rest[0], rows)
    name, value = rest[0], rest[-1]
    having = {row: fields[name] for row, fields in rows.items() if name in fields}
    if op == "exists":
        return set(having)
    if op in ("eq", "ne"):
        equal = {row for row, field in having.items() if same(field, value)}
        return equal if op == "eq" else everything - equal
    if op in ("in", "not_in"):
        among = {row for row, field in having.items() for one in value if same(field, one)}
        return among if op == "in" else everything - among
    if op == "prefix":
        return {
            row
            for row, field in having.items()
            if isinstance(field, str) and list(field)[: len(value)] == list(value)
        }
    if op in ("contains_any", "contains_all"):
        wanted = set(value)
        hits = {
            row: wanted & set(field) for row, field in having.items() if isinstance(field, tuple)
        }
        return {
            row for row, hit in hits.items() if (hit == wanted if op == "contains_all" else hit)
        }
    holds: Callable[[Fraction, Fraction], bool] = {
        "lt": lambda a, b: a < b,
        "le": lambda a, b: not b < a,
        "gt": lambda a, b: b < a,
        "ge": lambda a, b: not a < b,
    }[op]
    return {row for row, field in having.items() if holds(number(field), number(value))}


STRINGS = st.sampled_from(
    ["", "a", "A", "ab", "a%", "a_", "%", "b", "é", "e", "ß", "ss", "1", "true"]
)
NUMBERS = st.sampled_from(
    [
        0,
        1,
        -1,
        2,
        0.0,
        -0.0,
        1.0,
        0.5,
        1.5,
        2**53,
        2**53 + 1,
        float(2**53),
        1e300,
        -1e300,
        2**63 - 1,
    ]
)
TAGS = st.lists(st.sampled_from(["a", "b", "A", "ab", ""]), max_size=3).map(tuple)
ROW = st.fixed_dictionaries(
    {},
    optional={"s": STRINGS, "i": NUMBERS, "f": NUMBERS, "b": st.booleans(), "tags": TAGS},
)
PAIR = st.one_of(
    st.tuples(st.just("s"), STRINGS),
    st.tuples(st.sampled_from(["i", "f"]), NUMBERS),
    st.tuples(st.just("b"), st.booleans()),
)
MANY = st.one_of(
    st.tuples(st.just("s"), st.lists(STRINGS, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["i", "f"]), st.lists(NUMBERS, min_size=1, max_size=3)),
    st.tuples(st.just("b"), st.lists(st.booleans(), min_size=1, max_size=2)),
)
LEAF: st.SearchStrategy[Filter] = st.one_of(
    st.builds(lambda kind, pair: kind(*pair), st.sampled_from([Eq, Ne]), PAIR),
    st.builds(lambda kind, pair: kind(*pair), st.sampled_from([In, NotIn]), MANY),
    st.builds(lambda kind, field, value: kind(field, value),
              st.sampled_from(ORDERED), st.sampled_from(["i", "f"]), NUMBERS),
    st.builds(Exists, st.sampled_from(sorted(SCHEMA))),
    st.builds(Prefix, st.just("s"), STRINGS),
    st.builds(lambda kind, tags: kind("tags", tags),
              st.sampled_from([ContainsAny, ContainsAll]), TAGS.filter(bool)),
)  # fmt: skip
WHERE: st.SearchStrategy[Filter] = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, min_size=1, max_size=3)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=400)
@given(WHERE, st.lists(ROW, max_size=6))
def test_matches_means_what_the_oracle_says(
    where: Filter, records: list[dict[str, FieldValue]]
) -> None:
    """A filter selects exactly the records that an independent reading of it selects."""
    rows = dict(enumerate(records))
    assert {row for row, fields in rows.items() if matches(where, fields)} == select(
        filter_to_data(where), rows
    )


def test_every_node_divides_the_sample() -> None:
    """On the fixed sample each kind of node selects some records and leaves some out."""
    sample: list[dict[str, FieldValue]] = [
        {},
        {"s": "a", "i": 0, "b": True, "tags": ("a", "b"), "f": 0.5},
        {"s": "ab", "i": 1, "b": False, "tags": ("b",)},
        {"s": "b", "i": 2.0, "tags": ()},
    ]
    for name, node in EXAMPLES.items():
        chosen = [matches(node, fields) for fields in sample]
        assert any(chosen), name
        assert not all(chosen), name


def test_an_absent_field_satisfies_no_comparison() -> None:
    """Every comparison with an absent field is false, and every negated one is true."""
    for name, node in EXAMPLES.items():
        if name not in ("and", "or", "not"):
            assert matches(node, {}) == (name in ("ne", "not_in"))


def test_negations_are_exact() -> None:
    """Ne is Not(Eq), and NotIn is Not(In), for every value and where the field is absent."""
    values: dict[str, tuple[Any, ...]] = {"s": ("a", ""), "i": (0, 1, 1.5), "b": (True, False)}
    for field, options in values.items():
        for value, other in itertools.product(options, (*options, None)):
            fields = {} if other is None else {field: other}
            assert matches(Ne(field, value), fields) == matches(Not(Eq(field, value)), fields)
            assert matches(NotIn(field, (value,)), fields) == matches(
                Not(In(field, (value,))), fields
            )


def test_numbers_are_compared_as_numbers() -> None:
    """1 equals 1.0 and not true, and large integers are not rounded to floats."""
    assert matches(Eq("i", 1), {"i": 1.0})
    assert matches(Eq("f", 0.0), {"f": -0.0})
    assert not matches(Eq("i", 1), {"i": True})
    assert not matches(Eq("b", value=True), {"b": 1})
    assert not matches(Eq("i", 2**53 + 1), {"i": float(2**53)})
    assert matches(Gt("i", float(2**53)), {"i": 2**53 + 1})


def test_prefix_has_no_wildcards() -> None:
    """The characters that mean something to engines mean themselves."""
    assert matches(Prefix("s", "a%"), {"s": "a%b"})
    assert not matches(Prefix("s", "a%"), {"s": "axb"})
    assert not matches(Prefix("s", "a_"), {"s": "axb"})
    assert not matches(Prefix("s", "A"), {"s": "ab"})
    assert not matches(Prefix("s", "^a"), {"s": "ab"})


def test_no_filter_matches_everything() -> None:
    """Without a filter every record matches, an empty one too."""
    assert matches(None, {})
    assert matches(None, {"s": "a"})


@given(WHERE, WHERE)
def test_data_of_a_filter_is_faithful(one: Filter, other: Filter) -> None:
    """Filters with the same plain data are equal, so a cursor stays with its own query."""
    left, right = canonical_json(filter_to_data(one)), canonical_json(filter_to_data(other))
    assert json.loads(left) == json.loads(canonical_json(filter_to_data(attrs.evolve(one))))
    if left == right:
        assert one == other
