"""Distances: the definition's value to the last bit, whatever stands beside the row."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nexus_embedded._exact import distances, exact_sums

from nexus_core.spi import IntegrityError, InvalidVectorError, Metric

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2sq")
# Spans what an index may hold: subnormal numbers up to norms of 1e18.
NUMBERS = st.one_of(
    st.floats(width=32, min_value=-1e3, max_value=1e3),
    st.floats(width=32, min_value=-(2.0**55), max_value=2.0**55),
    st.sampled_from([0.0, -0.0, 2.0**-149, -(2.0**-149), 2.0**-126, 1.0, -1.0, 2.0**55]),
)


def rows_of(size: int) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(
        st.lists(NUMBERS, min_size=size, max_size=size).filter(any), min_size=2, max_size=6
    )


ROWS = st.integers(1, 12).flatmap(rows_of)


def as_rows(rows: list[list[float]]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(min_value=-(2.0**250), max_value=2.0**250), min_size=n, max_size=n),
            min_size=1,
            max_size=4,
        )
    )
)
def test_sums_are_correctly_rounded(rows: list[list[float]]) -> None:
    """Each sum is the float nearest to the exact sum of its terms."""
    expected = [float(sum(map(Fraction, row), Fraction(0))) for row in rows]
    assert exact_sums(np.array(rows)) == expected


@pytest.mark.parametrize("size", [1, 7, 8, 127, 128, 129, 384, 1000, 8193])
def test_sums_of_any_length_are_correctly_rounded(size: int) -> None:
    """Length does not matter, nor how strongly the terms cancel."""
    rng = np.random.default_rng(size)
    terms = rng.standard_normal((5, size)) * 10.0 ** rng.integers(-30, 30, (5, size))
    terms[1] = np.concatenate((terms[1, : size // 2], -terms[1, : size - size // 2][::-1]))
    assert exact_sums(terms) == [math.fsum(row) for row in terms.tolist()]


@settings(max_examples=100)
@given(ROWS, st.sampled_from(METRICS))
def test_distances_are_the_definitions(
    lab_type: type[Lab], rows: list[list[float]], metric: Metric
) -> None:
    """Every distance equals, bit for bit, the definition in plain Python."""
    query, *others = rows
    expected = [lab_type.distance(metric, query, row) for row in others]
    assert distances(metric, as_rows(others), as_rows(rows)[0]).tolist() == expected


@given(ROWS)
def test_cosine_is_true_to_rational_arithmetic(rows: list[list[float]]) -> None:
    """Cosine's two roundings stay within 1e-15 of the exact value, for any lengths."""
    query, *others = [list(map(Fraction, row)) for row in rows]
    measured = distances("cosine", as_rows(rows[1:]), as_rows(rows)[0]).tolist()
    for row, value in zip(others, measured, strict=True):
        product, one, other = (
            sum((x * y for x, y in zip(left, right, strict=True)), Fraction(0))
            for left, right in ((query, row), (query, query), (row, row))
        )
        # (1 - value)² against product² / squares avoids taking a root.
        cosine = 1 - Fraction(value)
        assert abs(cosine * abs(cosine) - product * abs(product) / (one * other)) < Fraction(
            1, 10**15
        )


@given(ROWS, st.sampled_from(METRICS))
def test_a_distance_does_not_depend_on_its_company(rows: list[list[float]], metric: Metric) -> None:
    """A row alone, in any order, and at any alignment has the same distance to the bit."""
    query, *others = as_rows(rows)
    together = distances(metric, np.array(others), query)
    backwards = distances(metric, np.array(others[::-1]), query)[::-1]
    shifted = np.frombuffer(b"\0" + np.array(others).tobytes(), np.uint8)[1:].view(np.float32)
    apart = distances(metric, shifted.reshape(len(others), -1), query)
    alone = [distances(metric, row[np.newaxis], query)[0] for row in others]
    assert together.tolist() == backwards.tolist() == apart.tolist() == alone


@given(st.lists(NUMBERS, min_size=1, max_size=12).filter(any), st.integers(-20, 20))
def test_a_vector_is_at_no_distance_from_itself(row: list[float], power: int) -> None:
    """Cosine of a vector with itself, or with twice it, is exactly 0; so is squared L2."""
    rows = as_rows([row])
    assert distances("cosine", rows, rows[0]).tolist() == [0.0]
    assert distances("l2sq", rows, rows[0]).tolist() == [0.0]


def test_cosine_stays_within_its_range(lab_type: type[Lab]) -> None:
    """Nearly parallel and nearly opposite vectors, whose rounding would leave it, are in [0, 2]."""
    rng = np.random.default_rng(1)
    table = np.tile(rng.standard_normal(4), (2000, 1))
    # Directions that differ by less than float64 can tell a cosine from 1.
    table[:, 0] = rng.standard_normal(2000) * 10.0 ** rng.uniform(-9, -7, 2000)
    rows = table.astype(np.float32)
    rows[1000:] *= np.float32(-1)
    query, wide = rows[0], rows.astype(np.float64)
    rough = [
        1 - math.fsum(row * wide[0]) / math.sqrt(math.fsum(row * row) * math.fsum(wide[0] ** 2))
        for row in wide
    ]
    assert min(rough) < 0
    measured = distances("cosine", rows, query).tolist()
    assert measured == [lab_type.distance("cosine", query.tolist(), row) for row in rows.tolist()]
    assert min(measured) == 0.0
    assert max(measured) == 2.0


@pytest.mark.parametrize("length", [2.0**-149, 1e-40, 1e-20, 1.0, 1e17])
def test_cosine_does_not_depend_on_length(length: float) -> None:
    """Subnormal and huge vectors have the cosine of their direction."""
    rows = np.array([[length, 0, 0], [0, length, 0], [-length, 0, 0], [length] * 3], np.float32)
    for query in rows[:1] * np.float32(1), np.array([[1, 0, 0]], np.float32):
        measured = distances("cosine", rows, query[0])
        assert measured[:3].tolist() == [0.0, 1.0, 2.0]
        assert measured[3] == pytest.approx(1 - 1 / math.sqrt(3), abs=1e-15)


def test_a_zero_vector_has_no_cosine() -> None:
    """A zero query is invalid; a stored zero, which no write admits, is damage."""
    zero, one = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    with pytest.raises(InvalidVectorError):
        distances("cosine", one, zero[0])
    with pytest.raises(IntegrityError):
        distances("cosine", zero, one[0])


def test_no_distance_is_a_negative_zero() -> None:
    """A product of nothing is at 0.0, not at -0.0, so that equal distances print alike."""
    (value,) = distances("dot", np.zeros((1, 2), np.float32), np.ones(2, np.float32))
    assert math.copysign(1, value) == 1.0
