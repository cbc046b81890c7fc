"""Index definitions are locked by their fingerprint, and vectors hold only what has a meaning."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import struct
import sys
from array import array
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.errors import InvalidArgumentError, InvalidVectorError
from nexus_core._model.vectors import (
    FORBIDDEN_FIELDS,
    MAX_DIMENSION,
    METRICS,
    SYSTEM_FIELDS,
    IndexDefinition,
    Vectors,
    check_field_name,
)

BASE: dict[str, Any] = {
    "name": "notes",
    "version": 1,
    "dimension": 4,
    "metric": "cosine",
    "embedder": "words@1.0",
    "fields": {"lang": "str", "page": "int"},
}


def definition(**changes: Any) -> IndexDefinition:
    return IndexDefinition(**{**BASE, **changes})


# --- definitions -----------------------------------------------------------------------------


def test_fingerprint_is_fixed() -> None:
    """A fingerprint is the SHA-256 of the definition's canonical JSON, and may never change."""
    text = (
        '{"dimension":4,"embedder":"words@1.0","fields":{"lang":"str","page":"int"},'
        '"metric":"cosine","name":"notes","version":1}'
    )
    assert definition().fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_every_part_of_a_definition_counts() -> None:
    """Changing any one part of a definition changes its fingerprint."""
    variants: list[dict[str, Any]] = [
        {},
        {"name": "notes2"},
        {"version": 2},
        {"dimension": 5},
        {"metric": "dot"},
        {"metric": "l2sq"},
        {"embedder": "words@1.1"},
        {"embedder": "word@1.0"},
        {"fields": {}},
        {"fields": {"lang": "str"}},
        {"fields": {"lang": "str", "page": "float"}},
        {"fields": {"lang": "str", "pages": "int"}},
    ]
    assert len({definition(**change).fingerprint for change in variants}) == len(variants)


def test_order_of_fields_does_not_count() -> None:
    """The same fields in another order are the same definition."""
    turned = dict(reversed(BASE["fields"].items()))
    assert definition(fields=turned).fingerprint == definition().fingerprint
    assert definition(fields=turned) == definition()
    assert definition(fields=MappingProxyType(turned)) == definition()


def test_a_definition_survives_as_data() -> None:
    """Through plain JSON and back, a definition is the same."""
    made = definition()
    assert IndexDefinition.from_data(json.loads(json.dumps(made.to_data()))) == made


@pytest.mark.parametrize(
    "data",
    [
        {},
        {name: value for name, value in BASE.items() if name != "metric"},
        {**BASE, "extra": 1},
        {**BASE, "fields": None},
        {**BASE, "fields": ["lang"]},
        {**BASE, "fields": "lang"},
        {**BASE, "fields": {"lang": ["str"]}},
        {**BASE, "fields": {1: "str"}},
        {**BASE, "name": None},
        {**BASE, "metric": None},
        {**BASE, "metric": ["cosine"]},
        {1: 2},
    ],
)
def test_other_data_is_no_definition(data: Any) -> None:
    """Data with a part missing, added or of another type is refused with the one error."""
    with pytest.raises(InvalidArgumentError):
        IndexDefinition.from_data(data)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "Notes"},
        {"name": "a/b"},
        {"name": "a\n"},
        {"name": "a" * 64},
        {"version": 0},
        {"version": -1},
        {"version": True},
        {"version": 1.0},
        {"version": "1"},
        {"version": 2**31},
        {"dimension": 0},
        {"dimension": True},
        {"dimension": 4.0},
        {"dimension": MAX_DIMENSION + 1},
        {"metric": "euclidean"},
        {"metric": "Cosine"},
        {"metric": ""},
        {"embedder": "words"},
        {"embedder": "words@"},
        {"embedder": "@1"},
        {"embedder": "words@1@2"},
        {"embedder": "words@1\n"},
        {"embedder": "Words@1"},
        {"fields": {"lang": "string"}},
        {"fields": {"lang": "list[str]"}},
        {"fields": {"lang": None}},
    ],
    ids=repr,
)
def test_unlawful_definitions_are_refused(change: dict[str, Any]) -> None:
    """A definition with an unlawful part is refused when it is made."""
    with pytest.raises(InvalidArgumentError):
        definition(**change)
    with pytest.raises(InvalidArgumentError):
        attrs.evolve(definition(), **change)


def test_limits_of_a_definition_are_lawful() -> None:
    """The largest version and dimension, and the smallest, are taken."""
    for version, dimension in ((1, 1), (2**31 - 1, MAX_DIMENSION)):
        made = definition(version=version, dimension=dimension)
        assert (made.version, made.dimension) == (version, dimension)


def test_a_definition_does_not_change_with_its_source() -> None:
    """A definition keeps the fields that it was made with, though the caller's dict changes."""
    fields = dict(BASE["fields"])
    made = definition(fields=fields)
    before = made.fingerprint
    fields["added"] = "str"
    made.to_data()["fields"]["added"] = "str"
    assert made.fingerprint == before
    assert "added" not in made.schema


UNLAWFUL_FIELDS: list[Any] = ["nx_a", "nexus_a", "", "A", "1a", "_a", "a-b", "a.b", "a\n", "é"]
UNLAWFUL_FIELDS += ["a" * 64, None, 1, b"a"]


@pytest.mark.parametrize("name", [*SYSTEM_FIELDS, *sorted(FORBIDDEN_FIELDS), *UNLAWFUL_FIELDS])
def test_taken_and_unlawful_field_names_are_refused(name: Any) -> None:
    """Names that belong to the scope or the framework, or break the grammar, are refused."""
    with pytest.raises(InvalidArgumentError):
        check_field_name(name)
    with pytest.raises(InvalidArgumentError):
        definition(fields={name: "str"})


def test_the_scope_cannot_be_a_field() -> None:
    """No spelling of the scope is a field, so no filter can name it."""
    assert {"tenant", "tenant_id", "env", "environment", "id", "vector"} <= FORBIDDEN_FIELDS
    assert not FORBIDDEN_FIELDS & set(definition().schema)


def test_schema_is_the_systems_and_its_own() -> None:
    """The fields that can be filtered are the system's and the definition's, with their types."""
    assert definition().schema == {**SYSTEM_FIELDS, "lang": "str", "page": "int"}


# --- vectors ---------------------------------------------------------------------------------

ROWS = [[0.0, 1.0, -2.5, 1e-30], [3.0, 0.1, 1e30, -0.0], [1.0, 1.0, 1.0, 1.0]]


def single(value: float) -> float:
    """The nearest float32, by way of the standard library."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def packed(rows: list[list[float]]) -> bytes:
    return b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(FINITE, min_size=3, max_size=3), max_size=5))
def test_rows_are_packed_little_endian(rows: list[list[float]]) -> None:
    """Rows become one buffer of little-endian float32, and come out of it as they went in."""
    vectors = Vectors.from_rows(rows, 3)
    assert bytes(vectors.data) == packed(rows)
    assert len(vectors) == len(rows)
    assert [list(row) for row in vectors] == rows
    for index, row in enumerate(rows):
        assert list(vectors.row(index)) == row


def test_numbers_are_rounded_to_float32() -> None:
    """A row's numbers become the nearest float32, whatever numbers they were."""
    row = [0.1, 1, True, 2**40 + 1]
    assert list(Vectors.from_rows([row], 4).row(0)) == [single(0.1), 1.0, 1.0, float(2**40)]


@pytest.mark.parametrize(
    "kind", [list, tuple, partial(array, "d"), partial(array, "f")], ids=["list", "tuple", "d", "f"]
)
def test_rows_may_be_any_sequence_of_numbers(kind: Any) -> None:
    """Lists, tuples and arrays of either width are rows."""
    made = Vectors.from_rows([kind(row) for row in ROWS], 4)
    assert bytes(made.data) == packed(ROWS)


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0, 3.0]],
        [[1.0] * 5],
        [[]],
        [[1.0] * 4, [1.0] * 3],
        [[1.0] * 3, [1.0] * 5],
        [["a", "b", "c", "d"]],
        ["abcd"],
        [b"abcd"],
        [[1.0, None, 1.0, 1.0]],
        [[1.0, 1j, 1.0, 1.0]],
        [[1.0, "1.0", 1.0, 1.0]],
        [[10**400, 1.0, 1.0, 1.0]],
        [1.0, 2.0, 3.0, 4.0],
        [None],
    ],
    ids=lambda rows: repr(rows)[:24],
)
def test_other_rows_are_refused(rows: Any) -> None:
    """A row of another length, or one that holds or is no numbers, is refused."""
    with pytest.raises(InvalidVectorError):
        Vectors.from_rows(rows, 4)


@pytest.mark.parametrize("dimension", [0, -1])
def test_a_dimension_is_positive(dimension: int) -> None:
    """There are no vectors of no dimension."""
    with pytest.raises(InvalidVectorError):
        Vectors.from_rows([], dimension)
    with pytest.raises(InvalidVectorError):
        Vectors.from_buffer(b"", dimension)


def test_no_rows_are_no_vectors() -> None:
    """Nothing makes an empty block of the dimension asked for."""
    for made in (Vectors.from_rows([], 4), Vectors.from_buffer(b"", 4)):
        assert len(made) == 0
        assert list(made) == []
        made.check(definition())


@pytest.mark.parametrize("index", [-1, -3, 3, 99])
def test_there_is_no_row_past_the_ends(index: int) -> None:
    """Asking for a row that is not there is an error, not an empty or another row."""
    with pytest.raises(IndexError):
        Vectors.from_rows(ROWS, 4).row(index)


def test_a_buffer_is_wrapped_and_not_copied() -> None:
    """A buffer of float32 is taken as it is, and cannot be written through the vectors."""
    floats = array("f", [value for row in ROWS for value in row])
    vectors = Vectors.from_buffer(floats, 4)
    assert vectors.data.readonly
    floats[0] = 7.0
    assert vectors.row(0)[0] == 7.0


@pytest.mark.parametrize("size", [1, 3, 4, 15, 17, 47])
def test_a_buffer_holds_whole_vectors(size: int) -> None:
    """A buffer that is not a whole number of vectors is refused."""
    with pytest.raises(InvalidVectorError):
        Vectors.from_buffer(bytes(size), 4)


def test_a_buffer_of_something_else_is_refused() -> None:
    """Buffers of other numbers are refused, though their bytes would fit; so is anything else."""
    doubles: list[Any] = [array("d", [1.0] * 4), array("d", [1.0] * 2), array("i", [1] * 4)]
    words = [memoryview(bytes(16)).cast(code) for code in ("H", "Q", "I", "d", "?")]
    swapped = (ctypes.c_float.__ctype_be__ * 4)()
    gaps = memoryview(bytes(64))[::4]
    for other in (*doubles, *words, swapped, gaps, [1.0] * 4, "abcd" * 4, None, 16):
        with pytest.raises(InvalidVectorError):
            Vectors.from_buffer(other, 4)


def test_a_tables_width_is_the_dimension() -> None:
    """A buffer of two dimensions has one vector a row, and another width is refused."""
    flat = memoryview(packed(ROWS))
    table = flat.cast("f", (3, 4))
    assert [list(row) for row in Vectors.from_buffer(table, 4)] == [
        [single(value) for value in row] for row in ROWS
    ]
    for wrong in (2, 3, 6, 12):
        with pytest.raises(InvalidVectorError):
            Vectors.from_buffer(table, wrong)
    with pytest.raises(InvalidVectorError):
        Vectors.from_buffer(flat.cast("f", (3, 2, 2)), 4)


def test_numpy_arrays_are_buffers() -> None:
    """Arrays of float32 are wrapped, empty ones too; other types, widths and orders are refused."""
    import numpy as np

    rows = np.array(ROWS, dtype=np.float32)
    assert bytes(Vectors.from_buffer(rows, 4).data) == packed(ROWS)
    assert len(Vectors.from_buffer(np.zeros((0, 4), np.float32), 4)) == 0
    for wrong in (rows.astype(np.float64), rows.astype(">f4"), rows.T, np.zeros((3, 4), np.int32)):
        with pytest.raises(InvalidVectorError):
            Vectors.from_buffer(wrong, 4)
    with pytest.raises(InvalidVectorError):
        Vectors.from_buffer(np.zeros((2, 8), np.float32), 4)
    with pytest.raises(InvalidVectorError):
        Vectors.from_buffer(np.zeros((0, 8), np.float32), 4)


@pytest.fixture(params=["numpy", "plain"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Check vectors with numpy, and as if it were not installed."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "numpy", None)
        with pytest.raises(ImportError):
            __import__("numpy")
    else:
        __import__("numpy")
    return str(request.param)


SMALL = [1.0, 1.0, 1.0, 1.0]


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.1e18, -3e38])
@pytest.mark.parametrize("place", [0, 3])
def test_what_is_not_finite_is_refused(metric: str, bad: float, place: int) -> None:
    """Not-a-number, infinities and norms past the limit are refused in any place, by position."""
    row = list(SMALL)
    row[place] = bad
    with pytest.raises(InvalidVectorError, match="vector 1 "):
        Vectors.from_rows([SMALL, row, row], 4).check(definition(metric=metric))


@pytest.mark.usefixtures("arithmetic")
def test_infinities_do_not_cancel() -> None:
    """Two infinities of opposite sign, or one beside not-a-number, are refused as well."""
    for row in ([math.inf, -math.inf, 0.0, 0.0], [math.nan, math.inf, 0.0, 0.0]):
        with pytest.raises(InvalidVectorError):
            Vectors.from_rows([row], 4).check(definition(metric="dot"))


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("zero", [[0.0] * 4, [-0.0] * 4, [0.0, -0.0, 0.0, -0.0]])
def test_a_zero_vector_has_no_cosine(zero: list[float]) -> None:
    """A zero vector is refused under cosine, and taken under the other metrics."""
    vectors = Vectors.from_rows([SMALL, SMALL, zero], 4)
    with pytest.raises(InvalidVectorError, match="vector 2 "):
        vectors.check(definition(metric="cosine"))
    for metric in ("dot", "l2sq"):
        vectors.check(definition(metric=metric))


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("metric", METRICS)
def test_tiny_and_huge_vectors_are_taken(metric: str) -> None:
    """The smallest float32 is not zero, and a norm just below the limit is no infinity."""
    tiny = [struct.unpack("<f", b"\1\0\0\0")[0], 0.0, 0.0, 0.0]
    huge = [0.999e18, 0.0, 0.0, 0.0]
    Vectors.from_rows([tiny, huge, SMALL], 4).check(definition(metric=metric))


@pytest.mark.usefixtures("arithmetic")
def test_the_dimension_is_the_indexs() -> None:
    """Vectors of another dimension than the index has are refused, though there be none."""
    for dimension in (3, 5):
        for rows in ([], [[1.0] * dimension]):
            with pytest.raises(InvalidVectorError):
                Vectors.from_rows(rows, dimension).check(definition())


@pytest.mark.parametrize("metric", METRICS)
@given(rows=st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), max_size=4))
def test_both_arithmetics_agree(metric: str, rows: list[list[float]]) -> None:
    """With numpy and without it the same vectors are taken, and the same are refused."""
    index = definition(dimension=2, metric=metric)
    vectors = Vectors.from_rows(rows, 2)
    verdicts = []
    for module in (__import__("numpy"), None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "numpy", module)
            try:
                vectors.check(index)
                verdicts.append("taken")
            except InvalidVectorError as error:
                verdicts.append(str(error))
    assert verdicts[0] == verdicts[1]
    lawful = all(
        math.isfinite(sum(map(abs, row))) and math.hypot(*row) <= 1e18 for row in rows
    ) and not (metric == "cosine" and any(not any(row) for row in rows))
    borderline = any(math.isclose(math.hypot(*row), 1e18, rel_tol=1e-6) for row in rows)
    assert borderline or (verdicts[0] == "taken") == lawful


def test_refusals_and_texts_hold_no_values() -> None:
    """Neither an error nor the printed form of vectors shows what is in them."""
    vectors = Vectors.from_rows([[123.25, math.nan, 1.0, 1.0]], 4)
    assert "123" not in repr(vectors)
    with pytest.raises(InvalidVectorError) as caught:
        vectors.check(definition())
    assert "123" not in str(caught.value)
    with pytest.raises(InvalidVectorError) as caught:
        Vectors.from_rows([[123.25]], 4)
    assert "123" not in str(caught.value)
