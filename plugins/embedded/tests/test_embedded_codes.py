"""Codes: their bounds hold for every vector, and the scan that trusts them changes no answer."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import nexus_embedded._nearest as module
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nexus_embedded._codes import FAINT, SHORT, bounds, encoded, probes
from nexus_embedded._kernel import Product, product_for
from nexus_embedded._matrix import View
from nexus_embedded._nearest import nearest
from nexus_embedded._terms import Matching

from nexus_core.spi import Lt, Metric, Ne, Vectors

if TYPE_CHECKING:
    from nexus_embedded._backend import EmbeddedVectors

    from plugins.embedded.tests.conftest import Lab

Rows = npt.NDArray[np.float32]

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2sq")
NUMBERS = st.one_of(
    st.floats(width=32, min_value=-1e3, max_value=1e3),
    st.floats(width=32, min_value=-(2.0**57), max_value=2.0**57),
    st.sampled_from([0.0, 2.0**-149, -(2.0**-126), 2.0**-82, 127.0, -127.0, 63.5, 1.0, -1.0]),
)


def tables(size: int) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(
        st.lists(NUMBERS, min_size=size, max_size=size).filter(any), min_size=2, max_size=8
    )


TABLES = st.integers(1, 12).flatmap(tables)


def plain(rows: Any, queries: Any) -> Any:
    """Integer products by numpy."""
    return rows.astype(np.int64) @ queries.astype(np.int64).T


def fast() -> Product:
    """The kernel of the extra."""
    kernel = product_for("int8")
    assert kernel is not None
    return kernel


def lengths(rows: Rows) -> npt.NDArray[np.float64]:
    """Norms of rows."""
    norms: npt.NDArray[np.float64] = np.linalg.norm(rows.astype(np.float64), axis=1)
    return norms


def seen(rows: Rows, metric: Metric, dead: tuple[int, ...] = ()) -> View:
    """An index of rows with codes."""
    norms = lengths(rows)
    return View(
        rows,
        np.arange(1, len(rows) + 1),
        norms.astype(np.float32),
        np.array(dead, np.int64),
        encoded(rows.astype(np.float64), norms, metric),
    )


def without(view: View) -> View:
    """The same index without codes."""
    return View(view.rows, view.numbers, view.norms, view.dead)


def answers(  # noqa: PLR0917  # the question, in the order in which it is put
    view: View,
    metric: Metric,
    queries: Rows,
    k: int,
    product: Product | None,
    matching: Matching | None = None,
) -> list[list[tuple[float, int]]]:
    """Distances and positions of each query's neighbours, in order."""
    found = nearest(view, metric, queries, k, matching, product)
    return [
        sorted(zip(one.distances.tolist(), one.positions.tolist(), strict=True)) for one in found
    ]


def truth(
    lab_type: type[Lab], metric: Metric, rows: Rows, query: Rows, k: int
) -> list[tuple[float, int]]:
    """The k nearest and all that tie with the last, by the definition in plain Python."""
    asked = query.tolist()
    far = sorted(
        (lab_type.distance(metric, asked, row), at) for at, row in enumerate(rows.tolist())
    )
    return [pair for pair in far if pair[0] <= far[min(k, len(far)) - 1][0]]


@settings(max_examples=300)
@given(TABLES, st.sampled_from(METRICS), st.booleans())
def test_bounds_hold(table: list[list[float]], metric: Metric, turned: bool) -> None:
    """The exact distance, in 200 digits, lies between the bounds of every row."""
    query, *rest = np.array(table, np.float32)
    if metric == "l2sq" and turned:
        rest = [*rest, query]
    rows = np.array(rest)
    (length,) = lengths(query[np.newaxis])
    if length < SHORT:
        return
    codes = encoded(rows.astype(np.float64), lengths(rows), metric)
    (probe,) = probes(query[np.newaxis], np.array([length]), metric)
    products = plain(codes.digits, probe.digits[np.newaxis])[:, 0].astype(np.float32)
    norms = lengths(rows).astype(np.float32)
    near, far = bounds(metric, products, codes.scales, codes.errors, norms, probe, length)
    with localcontext() as context:
        context.prec = 200
        asked = [Decimal(x) for x in query.tolist()]
        for at, row in enumerate(rows.tolist()):
            if metric == "cosine" and norms[at] < FAINT:
                continue
            stored = [Decimal(x) for x in row]
            product = sum(q * x for q, x in zip(asked, stored, strict=True))
            squares = [sum(x * x for x in side) for side in (asked, stored)]
            value = -product / Decimal(probe.step)
            if metric == "cosine":
                value /= (Decimal(squares[0]) * Decimal(squares[1])).sqrt()
            if metric == "l2sq":
                value = Decimal(squares[1]) - 2 * product
            assert Decimal(near[at].item()) <= value <= Decimal(far[at].item())


@settings(max_examples=150)
@given(TABLES, st.sampled_from(METRICS), st.integers(1, 6))
def test_answers_are_the_definitions(
    lab_type: type[Lab], table: list[list[float]], metric: Metric, k: int
) -> None:
    """With codes and without, the nearest rows and their ties, to the last bit."""
    query, *rest = np.array(table, np.float32)
    rows = np.array(rest)
    view = seen(rows, metric)
    expected = [truth(lab_type, metric, rows, query, k)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTH", 0)
        patch.setattr(module, "_SPARSE", 0)
        for product in (fast(), plain):
            assert answers(view, metric, query[np.newaxis], k, product) == expected
        assert answers(without(view), metric, query[np.newaxis], k, None) == expected


def near_ties(rng: np.random.Generator, dimension: int) -> Rows:
    """Rows that differ by the last bits of a few numbers, and some that do not differ."""
    rows = np.tile(rng.standard_normal(dimension).astype(np.float32), (300, 1))
    for row in rows[50:]:
        at = rng.integers(0, dimension, 3)
        row[at] = np.nextafter(row[at], np.float32(rng.choice([-9, 9])), dtype=np.float32)
    return rows


def norms_far_apart(rng: np.random.Generator, dimension: int) -> Rows:
    """Norms from subnormal to the largest that an index takes."""
    rows = rng.standard_normal((300, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows *= 10.0 ** rng.uniform(-44, 17.9, (300, 1))
    rows[~rows.astype(np.float32).any(axis=1)] = 1.0
    return rows.astype(np.float32)


def subnormal(rng: np.random.Generator, dimension: int) -> Rows:
    """Rows of nothing but subnormal numbers."""
    return (rng.integers(1, 2**20, (300, dimension)) * 2.0**-149).astype(np.float32)


def all_equal(rng: np.random.Generator, dimension: int) -> Rows:
    """One row, many times."""
    return np.tile(rng.standard_normal(dimension).astype(np.float32), (300, 1))


def saturating(rng: np.random.Generator, dimension: int) -> Rows:
    """Every digit as large as it can be: the largest sums of integers."""
    rows = np.full((300, dimension), 127.0, np.float32)
    rows[::3] *= rng.choice([-1.0, 1.0], dimension).astype(np.float32)
    rows[1::7, 0] = 126.0
    return rows


def spiked(rng: np.random.Generator, dimension: int) -> Rows:
    """One number takes all the digits, and the others decide."""
    rows = rng.standard_normal((300, dimension)).astype(np.float32)
    rows[:, 0] = 1e5
    return rows


def conspiring(rng: np.random.Generator, dimension: int) -> Rows:
    """What the codes miss is as large as can be, and points the way that misleads most."""
    query = rng.integers(1, 127, dimension) * rng.choice([-1.0, 1.0], dimension)
    query[0] = 127.0
    rows = np.tile(query, (300, 1))
    rows += rng.uniform(0.45, 0.4999, (300, 1)) * np.sign(query) * rng.choice([-1, 1], (300, 1))
    rows[:, 0] = 127.0
    rows[0] = query
    return rows.astype(np.float32)


@pytest.mark.parametrize("dimension", [1, 2, 33, 384, 4096])
@pytest.mark.parametrize(
    "made", [near_ties, norms_far_apart, subnormal, all_equal, saturating, spiked, conspiring]
)
def test_hostile_rows_change_nothing(
    lab_type: type[Lab],
    made: Callable[[np.random.Generator, int], Rows],
    dimension: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows made to mislead codes have the answers of the definition, in order and to the bit."""
    monkeypatch.setattr(module, "_WORTH", 0)
    monkeypatch.setattr(module, "_SPARSE", 0)
    rng = np.random.default_rng(dimension)
    rows = made(rng, dimension)
    queries = np.array([rows[0], rows[1] * np.float32(0.7) + rows[2] * np.float32(0.1)])
    queries[1] += np.float32(not queries[1].any())
    for metric in METRICS:
        view = seen(rows, metric)
        few = rows if dimension < 4096 else rows[:40]
        expected = answers(without(view), metric, queries, 10, None)
        assert answers(view, metric, queries, 10, fast()) == expected
        if len(few) == len(rows):
            assert expected[0] == truth(lab_type, metric, rows, queries[0], 10)
        else:
            cut = seen(few, metric)
            found = answers(cut, metric, queries, 10, fast())
            assert found[0] == truth(lab_type, metric, few, queries[0], 10)


@pytest.mark.parametrize("size", [2.0**-90, 2.0**-70, 2.0**-40])
def test_rows_that_tie_by_rounding_are_all_found(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows so short beside the query that their distances round to one value all tie."""
    monkeypatch.setattr(module, "_WORTH", 0)
    monkeypatch.setattr(module, "_SPARSE", 0)
    rng = np.random.default_rng(2)
    rows = (rng.standard_normal((100, 8)) * size).astype(np.float32)
    query = np.array([[2.0**25, 0, 0, 2.0**25, 0, 0, 0, 0]], np.float32)
    (found,) = answers(seen(rows, "l2sq"), "l2sq", query, 3, fast())
    assert found == [(2.0**51, at) for at in range(100)]


@pytest.mark.parametrize("metric", METRICS)
def test_codes_leave_few_rows_to_measure(
    lab_type: type[Lab], metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ordinary vectors are scanned in codes: float32 products are made of a few rows only."""
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((6000, 200)).astype(np.float32)
    queries = rng.standard_normal((20, 200)).astype(np.float32)
    view = seen(rows, metric, dead=(17, 4000))
    multiplied: list[int] = []
    honest = module._multiplied

    def counted(some: Rows, asked: Rows) -> Rows:
        multiplied.append(len(some))
        return honest(some, asked)

    monkeypatch.setattr(module, "_multiplied", counted)
    with_codes = answers(view, metric, queries, 10, fast())
    assert multiplied
    assert max(multiplied) < 600
    assert with_codes == answers(without(view), metric, queries, 10, None)
    assert multiplied[-1] == 6000
    alive = np.delete(rows, [17, 4000], axis=0)
    for asked, found in zip(queries[:2], with_codes, strict=False):
        expected = truth(lab_type, metric, alive, asked, 10)
        assert [pair[0] for pair in found] == [pair[0] for pair in expected]


@settings(max_examples=60)
@given(st.data(), st.sampled_from(METRICS), st.integers(1, 30), st.booleans())
def test_selections_of_coded_rows(
    data: st.DataObject, metric: Metric, k: int, sparse: bool
) -> None:
    """Any rows dead, asked for or excluded, in blocks of queries: as without codes."""
    number = st.sampled_from([-2.0, -1.0, -0.5, 0.25, 1.0, 1.0 + 2.0**-23, 3.0, 2.0**-140])
    size = data.draw(st.integers(1, 60))
    rows = data.draw(st.lists(st.tuples(number, number, number), min_size=size, max_size=size))
    positions = st.sets(st.integers(0, size - 1))
    dead = data.draw(positions)
    listed = data.draw(positions) - dead
    view = seen(np.array(rows, np.float32), metric, tuple(sorted(dead)))
    matching = Matching(view.numbers[sorted(listed)], data.draw(st.booleans()))
    queries = np.array(data.draw(st.lists(st.tuples(number, number, number), min_size=1)))
    asked = queries.astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTH", 0)
        patch.setattr(module, "_SPARSE", 0 if sparse else 8)
        patch.setattr(module, "_TURN_BYTES", 64)
        patch.setattr(module, "_GATHER_BYTES", 16)
        found = answers(view, metric, asked, k, fast(), matching)
    assert found == answers(without(view), metric, asked, k, None, matching)


def test_two_stores_on_one_root_answer_alike(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """By codes and by float32: filters, batches, replaced and deleted rows, every metric."""
    monkeypatch.setattr(module, "_WORTH", 0)
    rng = np.random.default_rng(5)
    stores = [lab.build(scan=scan) for scan in ("float32", "int8", "auto")]
    for metric in METRICS:
        ref = stores[0].create_index(
            lab.a,
            lab.definition(name=metric, dimension=24, metric=metric, fields={"n": "int"}),
        )
        for turn in range(6):
            rows = rng.standard_normal((120, 24)).astype(np.float32).tolist()
            names = [f"r{at}" for at in rng.choice(400, 120, replace=False)]
            some: list[Any] = [
                (name, row, {"n": at % 7})
                for at, (name, row) in enumerate(zip(names, rows, strict=True))
            ]
            stores[turn % 3].upsert(lab.a, ref, lab.batch(some, 24))
            stores[turn % 2].delete(lab.a, ref, [f"r{at}" for at in range(turn, 400, 9)])
            queries = rng.standard_normal((turn + 1, 24)).astype(np.float32).tolist()
            for where in (None, Lt("n", 2), Ne("n", 3)):
                one, two, three = (
                    lab.ask(store, lab.a, ref, queries, 12, where) for store in stores
                )
                assert one == two == three
                assert all(len(hits) == 12 for hits in one)


def test_codes_follow_the_rows_through_appends_and_compaction(lab: Lab) -> None:
    """Whatever was written and removed, each row in memory has the codes of its own vector."""
    store: EmbeddedVectors = lab.build(scan="int8")  # type: ignore[assignment]
    ref = store.create_index(lab.a, lab.definition(dimension=5, metric="dot"))
    rng = np.random.default_rng(6)
    for turn in range(12):
        rows = rng.standard_normal((200, 5)).astype(np.float32).tolist()
        fresh: list[Any] = [(f"r{turn}-{at}", row, {}) for at, row in enumerate(rows)]
        store.upsert(lab.a, ref, lab.batch(fresh, 5))
        store.delete(lab.a, ref, [f"r{turn // 2}-{at}" for at in range(turn, 200, 2)])
        lab.ask(store, lab.a, ref, [[1.0] * 5], 1)
        (matrix,) = store._cache._matrices.values()
        codes, used = matrix._codes, matrix._used
        meant = codes.digits[:used].astype(np.float64) * codes.scales[:used, np.newaxis]
        missed = np.linalg.norm(matrix._rows[:used] - meant, axis=1)
        assert (missed <= codes.errors[:used]).all()
        assert (missed < 0.02 * matrix._norms[:used]).all()
    assert store._product is not None


def test_another_process_may_scan_otherwise(lab: Lab) -> None:
    """A process that scans codes and one that scans float32 give the same hits to the bit."""
    store = lab.build(scan="float32")
    ref = store.create_index(lab.a, lab.definition(dimension=384))
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((3000, 384)).astype(np.float32)
    store.upsert(
        lab.a, ref, lab.batch([(f"r{at}", row, {}) for at, row in enumerate(rows.tolist())], 384)
    )
    query = rng.standard_normal(384).astype(np.float32)
    code = """
import sys
scope = spi.Scope("acme", "prod")
ref = store.get_index(scope, "notes", 1)
query = spi.Vectors.from_buffer(bytes.fromhex(hear()), 384)
(hits,) = store.query(scope, ref, query, 20)
say("numkong" in sys.modules, *((hit.id + "=" + hit.distance.hex()) for hit in hits))
"""
    with lab.worker(code) as other:
        out, _ = other.communicate(query.tobytes().hex() + "\n")
    (hits,) = store.query(lab.a, ref, Vectors.from_buffer(query.tobytes(), 384), 20)
    assert out.split() == ["True", *(f"{hit.id}={hit.distance.hex()}" for hit in hits)]
