"""Names, values, filters, rows and bounds, without a server."""

from __future__ import annotations

import math
import random
import re
import struct
from array import array
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nexus_weaviate._errors import _CallError, from_client, from_status
from nexus_weaviate._exact import distance, floor
from nexus_weaviate._filters import compiled
from nexus_weaviate._names import (
    claim_uuid,
    index_collection,
    new_incarnation,
    row_uuid,
    rows_collection,
    shard_of,
)
from nexus_weaviate._rows import key_of, objects_of, rows_of, size_of
from nexus_weaviate._schema import rows_schema
from nexus_weaviate._terms import number_term, text_term

from nexus_core.spi import (
    ENVIRONMENTS,
    And,
    BackendError,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    IndexDefinition,
    IntegrityError,
    Le,
    Lt,
    Metric,
    Ne,
    Not,
    NotIn,
    Or,
    Outcome,
    PermissionDeniedError,
    Prefix,
    QuotaExceededError,
    RateLimitedError,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnauthenticatedError,
    UnavailableError,
    VectorBatch,
    Vectors,
)

TENANTS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
LIVES = st.from_regex(r"[0-9a-f]{20}", fullmatch=True)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from((2**53, 2**53 + 1, 2.0**53, -(2**63), 2**63 - 1, 0, 0.0, -0.0, 1, 1.0)),
)


def definition(metric: Metric = "cosine", dimension: int = 3) -> IndexDefinition:
    """A definition with a field of each type."""
    return IndexDefinition(
        name="main",
        version=1,
        dimension=dimension,
        metric=metric,
        embedder="e@1",
        fields={"page": "int", "weight": "float", "label": "str", "tags": "str[]", "good": "bool"},
    )


# -- names -----------------------------------------------------------------------------------


@given(st.tuples(TENANTS, LIVES), st.tuples(TENANTS, LIVES))
def test_shards_of_different_lives_differ(one: tuple[str, str], two: tuple[str, str]) -> None:
    """A native tenant's name is Weaviate's, and of one tenant and one life, in any case."""
    names = [shard_of(Scope(tenant, "dev"), life) for tenant, life in (one, two)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert (names[0].lower() == names[1].lower()) == (one == two)


@pytest.mark.parametrize("length", [1, 42, 43, 63])
def test_a_long_tenant_id_is_hashed(length: int) -> None:
    """A name that would not fit is a hash, and the tenants' ids stand in the others."""
    name = shard_of(Scope("a" * length, "dev"), "0" * 20)
    assert (name == "a" * length + "-I" + "0" * 20) == (length <= 42)


def test_collections_of_different_things_differ() -> None:
    """Environments, definitions, prefixes and lists of indexes have collections of their own."""
    names = [index_collection(prefix, env) for prefix in ("N", "Nx") for env in ENVIRONMENTS]
    names += [
        rows_collection(prefix, env, print_)
        for prefix in ("N", "Nx")
        for env in ENVIRONMENTS
        for print_ in ("0" * 64, "0" * 63 + "1")
    ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Z][_0-9A-Za-z]{0,254}", name) for name in names)


def test_objects_of_different_rows_and_indexes_differ() -> None:
    """Ids that look alike, and parts that could run together, have objects of their own."""
    made = [row_uuid(each) for each in ("a", "A", "a.", "ab", "%", "a%")]
    made += [claim_uuid(*each) for each in (("a@1", "1"), ("a@11", ""), ("a@1", "2"))]
    assert len(set(made)) == len(made)
    assert new_incarnation() != new_incarnation()


# -- values ----------------------------------------------------------------------------------


@given(NUMBERS, NUMBERS)
def test_texts_of_numbers_compare_as_the_numbers_do(one: float, two: float) -> None:
    """Integers of 64 bits and floats are equal and ordered as numbers, exactly."""
    a, b = number_term(one), number_term(two)
    assert ((a < b), (a == b)) == (
        (Fraction(one) < Fraction(two)),
        (Fraction(one) == Fraction(two)),
    )
    assert len(a) == len(b)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=3))
def test_texts_keep_equality_and_prefixes(one: str, two: str) -> None:
    """A string's text has another's for its beginning exactly where the string has."""
    assert (text_term(one) == text_term(two)) == (one == two)
    assert text_term(one).startswith(text_term(two)) == one.startswith(two)
    assert re.fullmatch("s[0-9a-f]*", text_term(one))


@given(st.lists(st.from_regex(r"[\x21-\x7e]{1,128}", fullmatch=True), max_size=8))
def test_keys_sort_as_ids_do(ids: list[str]) -> None:
    """The property that pages are sorted by has the order of the ids' bytes, in any case."""
    assert [bytes.fromhex(key).decode() for key in sorted(map(key_of, ids))] == sorted(ids)
    assert all(key == key.lower() == key.strip() for key in map(key_of, ids))


# -- filters ---------------------------------------------------------------------------------


def holds(where: Any, properties: Mapping[str, Any]) -> bool:
    """The library's filter on one object's properties, as the server's manual reads."""
    kind = type(where).__name__
    if kind == "_FilterAnd":
        return all(holds(part, properties) for part in where.filters)
    if kind == "_FilterOr":
        return any(holds(part, properties) for part in where.filters)
    if kind == "_FilterNot":
        return not holds(where.filters[0], properties)
    found = properties.get(where.target, [])
    values = found if isinstance(found, list) else [found]
    compare: dict[str, Any] = {
        "Equal": lambda value: value == where.value,
        "LessThan": lambda value: value < where.value,
        "LessThanEqual": lambda value: value <= where.value,
        "GreaterThan": lambda value: value > where.value,
        "GreaterThanEqual": lambda value: value >= where.value,
        "Like": lambda value: value.startswith(where.value.removesuffix("*")),
        "ContainsAny": lambda value: value in where.value,
    }
    if where.operator.value == "ContainsAll":
        return set(where.value) <= set(values)
    return any(compare[where.operator.value](value) for value in values)


RECORDS: tuple[Mapping[str, Any], ...] = (
    {},
    {"page": 1, "label": "a", "tags": ("x", "y"), "good": True},
    {"page": 1.0, "label": "", "tags": (), "good": False},
    {"page": 2**53 + 1, "weight": 0.1, "label": " a"},
    {"page": -5, "weight": -0.0, "label": "A", "tags": ("x",)},
    {"weight": 2.0**53, "label": "a*", "tags": ("é", "x")},
)
FILTERS: tuple[tuple[Filter, set[int]], ...] = (
    (Eq("page", 1), {1, 2}),
    (Ne("page", 1), {0, 3, 4, 5}),
    (Eq("page", 2**53), set()),
    (Eq("weight", 2**53), {5}),
    (Eq("weight", 0), {4}),
    (Lt("page", 1.5), {1, 2, 4}),
    (Le("page", -5), {4}),
    (Gt("page", 2**53), {3}),
    (Ge("weight", 0.1), {3, 5}),
    (In("label", ("a", "A")), {1, 4}),
    (NotIn("label", ("a", "A")), {0, 2, 3, 5}),
    (Prefix("label", "a"), {1, 5}),
    (Prefix("label", "a*"), {5}),
    (Prefix("label", ""), {1, 2, 3, 4, 5}),
    (Exists("tags"), {1, 2, 4, 5}),
    (Not(Exists("page")), {0, 5}),
    (Eq("good", value=False), {2}),
    (ContainsAny("tags", ("y", "é")), {1, 5}),
    (ContainsAll("tags", ("x", "y")), {1}),
    (Not(ContainsAny("tags", ("x",))), {0, 2, 3}),
    (And((Exists("page"), Not(Eq("good", value=True)))), {2, 3, 4}),
    (Or((Eq("label", ""), Not(Exists("label")))), {0, 2}),
    (Not(Not(Eq("page", 1))), {1, 2}),
)


@pytest.mark.parametrize(("where", "wanted"), FILTERS)
def test_filters_mean_what_the_tree_means(where: Filter, wanted: set[int]) -> None:
    """Over records with absent, empty and twin values each node selects what was written down."""
    ids = [str(number) for number in range(len(RECORDS))]
    vectors = Vectors.from_rows([[1.0, 0, 0]] * len(RECORDS), 3)
    written = VectorBatch(tuple(ids), vectors, RECORDS, (b"s",) * len(ids))
    objects = objects_of(definition(), written)
    made = compiled(where)
    found = {int(each) for each in ids if holds(made, objects[each].properties)}
    assert found == wanted


def test_every_filtered_property_is_declared() -> None:
    """Whatever a row sends stands in the definition's collection, which the server may not add."""
    defined = {each["name"] for each in rows_schema("N", definition())["properties"]}
    written = VectorBatch(
        tuple("abcdef"), Vectors.from_rows([[1.0, 0, 0]] * 6, 3), RECORDS, (b"s",) * 6
    )
    for each in objects_of(definition(), written).values():
        assert set(each.properties) <= defined


# -- rows ------------------------------------------------------------------------------------


def there_and_back(metric: Metric, row: Sequence[float], fields: Mapping[str, Any]) -> Any:
    """A row as it is sent, and as it is read from an answer with what was sent."""
    shape = definition(metric, len(row))
    written = VectorBatch(("id",), Vectors.from_rows([row], len(row)), (fields,), (b"\x00\xff",))
    sent = objects_of(shape, written)["id"]
    vector = [struct.unpack("<f", struct.pack("<f", value))[0] for value in sent.vector]
    each = SimpleNamespace(
        properties=sent.properties,
        vector={"default": vector},
        metadata=SimpleNamespace(distance=0.5),
    )
    (back,) = rows_of(SimpleNamespace(objects=[each]), shape)
    return sent, back, bytes(written.vectors.data)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2sq"])
@pytest.mark.parametrize(
    "row",
    [
        [1.0, -0.0, 1e-38],
        [1e-45, 0.0, 0.0],
        [1e-30, -1e-31, 1e-44],
        [2.0**-41, 2.0**-60, 0.0],
        [1e18, 1e-20, 3.0],
    ],
)
def test_rows_come_back_bit_for_bit(metric: Metric, row: list[float]) -> None:
    """Very short vectors, negative zeros and every type of field return as they were."""
    fields = {"page": 1, "weight": 1.0, "label": "é ", "tags": ("b", "a"), "good": True, "x": -0.0}
    sent, back, data = there_and_back(metric, row, fields)
    assert back.stored().vector == data
    assert (back.id, back.stamp, back.near) == ("id", b"\x00\xff", 0.5)
    assert repr(back.fields) == repr(fields)
    if metric == "cosine":
        assert math.hypot(*sent.vector) >= 2.0**-40


def test_what_is_no_row_is_damage() -> None:
    """An object that something else wrote is refused, and not repeated in the text."""
    each = SimpleNamespace(
        properties={"nx_key": "zz"},
        vector={"default": [1.0]},
        metadata=SimpleNamespace(distance=None),
    )
    with pytest.raises(IntegrityError) as caught:
        list(rows_of(SimpleNamespace(objects=[each]), definition()))
    assert "zz" not in str(caught.value)


def test_the_last_of_duplicates_is_sent() -> None:
    """A batch that holds an id twice sends the last row of it alone."""
    vectors = Vectors.from_rows([[1.0, 0, 0], [2.0, 0, 0]], 3)
    written = VectorBatch(("a", "a"), vectors, ({}, {"page": 1}), (b"1", b"2"))
    (sent,) = objects_of(definition("dot"), written).values()
    assert list(sent.vector) == [2.0, 0, 0]
    assert sent.properties["nx_stamp"] == b"2".hex()


# -- distances -------------------------------------------------------------------------------


def exactly(metric: Metric, left: Sequence[float], right: Sequence[float]) -> Fraction:
    """The distance in rational arithmetic; only the root is rounded."""
    a, b = [Fraction(value) for value in left], [Fraction(value) for value in right]
    if metric == "l2sq":
        return sum(((x - y) ** 2 for x, y in zip(a, b, strict=True)), Fraction(0))
    product = sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))
    if metric == "dot":
        return -product
    squares = sum(x * x for x in a) * sum(y * y for y in b)
    return 1 - product / Fraction(math.sqrt(squares))


def in_float32(metric: Metric, left: Sequence[float], right: Sequence[float]) -> float:
    """What a server computes that rounds every step to float32, one term after another."""

    def single(value: float) -> float:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
        return rounded

    def unit(vector: Sequence[float]) -> list[float]:
        norm = 0.0
        for value in vector:
            norm = single(norm + single(value * value))
        norm = single(math.sqrt(norm))
        return [single(value / norm) for value in vector]

    if metric == "cosine":
        left, right = unit(left), unit(right)
    total = 0.0
    for a, b in zip(left, right, strict=True):
        step = single(a - b) if metric == "l2sq" else 0.0
        total = single(total + single(step * step if metric == "l2sq" else a * b))
    if metric == "l2sq":
        return total
    return single(1.0 - total) if metric == "cosine" else -total


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2sq"])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_bounds_hold_and_distances_are_exact(metric: Metric, scale: float) -> None:
    """No distance is below the floor of its float32 estimate, and ours err by one rounding."""
    rng = random.Random(f"{metric}{scale}")  # noqa: S311  # the same in every run
    for dimension in (1, 3, 100):
        for _ in range(40):
            query = array("f", [rng.gauss(0, 1) * scale for _ in range(dimension)])
            row = array("f", [rng.gauss(0, 1) * scale for _ in range(dimension)])
            if rng.random() < 0.5:
                row = array("f", [value * (1 + rng.gauss(0, 1e-4)) for value in query])
            true, ours = exactly(metric, query, row), distance(metric, query, row)
            size = math.hypot(*query) * math.hypot(*row)
            assert abs(Fraction(ours) - true) <= 1e-12 * (
                1.0 if metric == "cosine" else size
            ) + 1e-12 * abs(true)
            bound = floor(
                metric,
                in_float32(metric, query, row),
                dimension=dimension,
                query=math.hypot(*query),
                largest=2.0 ** size_of(math.hypot(*row)),
            )
            assert bound <= true


def test_sizes_bound_lengths() -> None:
    """The power of two that is kept with a row is more than its length, and none of a zero's."""
    for norm in (1e-44, 0.5, 1.0, 1.5, 1e18):
        assert norm < 2.0 ** size_of(norm) <= 2 * norm
    assert 2.0 ** size_of(0.0) < 1e-300


# -- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "details", "kind", "outcome"),
    [
        ("UNAVAILABLE", "x", UnavailableError, Outcome.UNKNOWN),
        ("DEADLINE_EXCEEDED", "x", StoreTimeoutError, Outcome.UNKNOWN),
        ("UNAUTHENTICATED", "x", UnauthenticatedError, Outcome.NOT_APPLIED),
        ("UNKNOWN", "unauthorized: x", UnauthenticatedError, Outcome.NOT_APPLIED),
        ("PERMISSION_DENIED", "x", PermissionDeniedError, Outcome.NOT_APPLIED),
        ("RESOURCE_EXHAUSTED", "x", RateLimitedError, Outcome.NOT_APPLIED),
        ("UNKNOWN", "store is read-only", UnavailableError, Outcome.NOT_APPLIED),
        ("UNKNOWN", "not enough memory", QuotaExceededError, Outcome.NOT_APPLIED),
        ("UNKNOWN", "secret tenant", BackendError, Outcome.UNKNOWN),
    ],
)
def test_grpc_errors_have_their_place_in_the_tree(
    status: str, details: str, kind: type[StoreError], outcome: Outcome
) -> None:
    """Every status becomes an error that says what is known of a write, in words of its own."""
    error = from_client(_CallError(status, details), Outcome.UNKNOWN)
    assert type(error) is kind
    assert error.outcome is outcome
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, UnauthenticatedError),
        (403, PermissionDeniedError),
        (408, StoreTimeoutError),
        (429, RateLimitedError),
        (500, BackendError),
        (503, UnavailableError),
    ],
)
def test_rest_errors_have_their_place_in_the_tree(status: int, kind: type[StoreError]) -> None:
    """Every status that is no success becomes an error of the tree."""
    assert type(from_status(status, "x", Outcome.UNKNOWN)) is kind
