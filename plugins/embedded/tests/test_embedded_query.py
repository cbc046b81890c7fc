"""Queries: exactly the nearest rows, in exactly one order, alone or together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import nexus_embedded._nearest as module
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nexus_embedded._matrix import View
from nexus_embedded._nearest import nearest
from nexus_embedded._terms import Matching

from nexus_core.spi import (
    And,
    Eq,
    IndexRef,
    Lt,
    Metric,
    Ne,
    Scope,
    VectorBackend,
    Vectors,
)

if TYPE_CHECKING:
    import random

    from plugins.embedded.tests.conftest import Lab

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2sq")


def clustered(dice: random.Random, rows: int, dimension: int, spread: float) -> list[list[float]]:
    """Vectors in tight clusters, some exactly equal, some equal but for their length."""
    centres = [[dice.gauss(0, 1) for _ in range(dimension)] for _ in range(max(1, rows // 25))]
    made: list[list[float]] = []
    for number in range(rows):
        centre = dice.choice(centres)
        if number % 7 == 0 and made:
            made.append(list(dice.choice(made)))
        elif number % 11 == 0 and made:
            made.append([2.0 * value for value in dice.choice(made)])
        else:
            made.append([value + spread * dice.gauss(0, 1) for value in centre])
    return made


def fill(
    lab: Lab, store: VectorBackend, scope: Scope, ref: IndexRef, rows: Sequence[Sequence[float]]
) -> dict[str, Sequence[float]]:
    """Write rows under shuffled ids, so that no order is that of insertion."""
    names = [f"r{number:05d}" for number in range(len(rows))]
    lab.dice(1).shuffle(names)
    fields: list[dict[str, Any]] = [{"group": number % 10} for number in range(len(rows))]
    store.upsert(
        scope,
        ref,
        lab.batch(list(zip(names, rows, fields, strict=True)), ref.definition.dimension),
    )
    return dict(zip(names, rows, strict=True))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", [0.3, 1e-3, 1e-6, 1e-8])
def test_recall_is_one_with_near_ties(
    lab: Lab, store: VectorBackend, metric: Metric, spread: float
) -> None:
    """Ids, order and distances are the brute-force oracle's, however close the rows lie."""
    ref = store.create_index(lab.a, lab.definition(dimension=24, metric=metric))
    data = clustered(lab.dice(5), 400, 24, spread)
    rows = fill(lab, store, lab.a, ref, data)
    queries = [data[0], data[101], [value + spread for value in data[202]]]
    for k in (1, 10, 57, 400, 1000):
        answers = lab.ask(store, lab.a, ref, queries, k)
        assert answers == [lab.ranked(metric, query, rows, k) for query in queries]


@pytest.mark.parametrize("metric", METRICS)
def test_ties_at_the_cut_are_decided_by_id(lab: Lab, store: VectorBackend, metric: Metric) -> None:
    """Among equally near rows the lowest ids by byte make the cut, for every k."""
    ref = store.create_index(lab.a, lab.definition(dimension=4, metric=metric))
    rows = {name: [0.5, -1.5, 2.0, 0.25] for name in ("b", "a", "B", "a0", "~", "0", "a-", "Z")}
    # The same terms in another order: an equal distance only if sums are exact.
    rows["A"] = [0.5, -1.5, 2.0, 0.25]
    rows["far"] = [-0.5, 1.5, -2.0, -0.25]
    store.upsert(lab.a, ref, lab.batch([(n, v, {}) for n, v in rows.items()], 4))
    for k in range(1, 12):
        (hits,) = lab.ask(store, lab.a, ref, [[0.5, -1.5, 2.0, 0.25]], k)
        assert hits == lab.ranked(metric, [0.5, -1.5, 2.0, 0.25], rows, k)
    assert [name for name, _ in hits] == [*sorted(set(rows) - {"far"}), "far"]


def test_permuted_terms_tie_exactly(lab: Lab, store: VectorBackend) -> None:
    """Rows whose exact distances are equal tie, though float addition would tell them apart."""
    dice = lab.dice(3)
    base = [dice.gauss(0, 1) for _ in range(33)]
    rows = {}
    for name in "hgfedcba":
        rows[name] = dice.sample(base, len(base))
    ref = store.create_index(lab.a, lab.definition(dimension=33, metric="dot"))
    store.upsert(lab.a, ref, lab.batch([(n, v, {}) for n, v in rows.items()], 33))
    (hits,) = lab.ask(store, lab.a, ref, [[1.0] * 33], 3)
    assert [name for name, _ in hits] == ["a", "b", "c"]
    assert len({far for _, far in hits}) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_answers_as_its_queries_alone(
    lab: Lab, store: VectorBackend, metric: Metric
) -> None:
    """Queries together give the same hits and the same bits as each alone, filtered or not."""
    ref = store.create_index(
        lab.a, lab.definition(dimension=17, metric=metric, fields={"group": "int"})
    )
    data = clustered(lab.dice(9), 300, 17, 1e-4)
    fill(lab, store, lab.a, ref, data)
    queries = [*data[:20], *clustered(lab.dice(10), 17, 17, 1.0)]
    for where in (None, Eq("group", 3), Ne("group", 3), Lt("group", 7)):
        together = lab.ask(store, lab.a, ref, queries, 9, where)
        alone = [lab.ask(store, lab.a, ref, [query], 9, where)[0] for query in queries]
        assert together == alone


def test_any_k_gets_what_there_is(lab: Lab, store: VectorBackend) -> None:
    """A query has exactly ``min(k, rows that match)`` hits, and none of nothing."""
    ref = store.create_index(lab.a, lab.definition(fields={"group": "int"}))
    assert lab.ask(store, lab.a, ref, [[1, 0, 0], [0, 1, 0]], 5) == [[], []]
    fill(lab, store, lab.a, ref, clustered(lab.dice(2), 30, 3, 0.5))
    for k in (1, 2, 3, 29, 30, 31, 10_000):
        assert len(lab.ask(store, lab.a, ref, [[1, 0, 0]], k)[0]) == min(k, 30)
        assert len(lab.ask(store, lab.a, ref, [[1, 0, 0]], k, Eq("group", 4))[0]) == min(k, 3)
        assert len(lab.ask(store, lab.a, ref, [[1, 0, 0]], k, Ne("group", 4))[0]) == min(k, 27)
    nobody = And((Eq("group", 4), Eq("group", 5)))
    assert lab.ask(store, lab.a, ref, [[1, 0, 0]], 5, nobody) == [[]]
    empty = Vectors.from_buffer(b"", 3)
    assert list(store.query(lab.a, ref, empty, 5)) == []


def test_hits_bring_what_was_asked_for(lab: Lab, store: VectorBackend) -> None:
    """Fields and vectors come only on request, and the vector is what was written, to the bit."""
    ref = store.create_index(lab.a, lab.definition(fields={"tags": "str[]", "ok": "bool"}))
    row = [0.1, -(2.0**-149), 3e17]
    store.upsert(lab.a, ref, lab.batch([("x", row, {"tags": ("b", "a"), "ok": True})]))
    query = Vectors.from_rows([row], 3)
    ((bare,),) = store.query(lab.a, ref, query, 1)
    assert (bare.fields, bare.vector) == (None, None)
    ((full,),) = store.query(lab.a, ref, query, 1, include_fields=True, include_vectors=True)
    assert full.fields == {"tags": ("b", "a"), "ok": True}
    assert full.vector == bytes(query.data)
    assert (full.id, full.distance, full.stamp) == (bare.id, bare.distance, bare.stamp)


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_from_subnormal_to_huge_keep_recall_at_one(
    lab: Lab, store: VectorBackend, metric: Metric
) -> None:
    """Rows that float32 cannot compare are still ranked by their exact distances."""
    ref = store.create_index(lab.a, lab.definition(dimension=8, metric=metric))
    dice = lab.dice(4)
    data = []
    for number in range(240):
        length = 10.0 ** (-44 + 61 * (number % 60) / 59)
        row = [dice.gauss(0, 1) * length for _ in range(8)]
        data.append(row if any(lab.single(row)) else [2.0**-149, *row[1:]])
    rows = fill(lab, store, lab.a, ref, data)
    queries = [data[0], data[30], data[59], [1.0] * 8]
    for k in (1, 10, 240):
        answers = lab.ask(store, lab.a, ref, queries, k)
        assert answers == [lab.ranked(metric, query, rows, k) for query in queries]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("length", [1e-21, 1e-22, 3e-23])
def test_products_that_underflow_keep_recall_at_one(
    lab: Lab, store: VectorBackend, metric: Metric, length: float
) -> None:
    """Where float32 products keep a bit or two, the order is still that of exact distances."""
    ref = store.create_index(lab.a, lab.definition(dimension=8, metric=metric))
    data = [[value * length for value in row] for row in clustered(lab.dice(3), 300, 8, 0.3)]
    rows = fill(lab, store, lab.a, ref, data)
    answers = lab.ask(store, lab.a, ref, data[:5], 20)
    assert answers == [lab.ranked(metric, query, rows, 20) for query in data[:5]]


@pytest.mark.parametrize("metric", METRICS)
def test_the_answer_survives_the_worst_rounding_of_the_first_pass(
    lab: Lab, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products that err as far as float32 may, in the direction that hurts, change nothing."""
    dimension, k = 96, 10
    data = np.array(clustered(lab.dice(7), 3000, dimension, 1e-4), np.float32)
    norms = np.sqrt(np.square(data.astype(np.float64)).sum(axis=1))
    view = View(
        data, np.arange(1, 3001), norms.astype(np.float32), np.array([5, 77, 2999], np.int64)
    )
    query = data[:1] + np.float32(1e-5)
    (truth,) = nearest(view, metric, query, k, None)
    honest = module._products
    limit = dimension * 2.0**-24

    def hostile(multiply: Any, rows: Any, only: Any, queries: Any) -> Any:
        exact = honest(multiply, rows, only, queries)
        lengths = norms if only is None else norms[only]
        worst = limit * lengths * np.linalg.norm(queries.astype(np.float64))
        # What belongs to the answer looks far, and what does not looks near.
        inside = np.isin(np.arange(3000) if only is None else only, truth.positions)
        return (exact + np.where(inside, -worst, worst)).astype(np.float32)

    monkeypatch.setattr(module, "_products", hostile)
    for matching in (None, Matching(np.setdiff1d(view.numbers, view.dead + 1))):
        (found,) = nearest(view, metric, query, k, matching)
        assert sorted(found.positions.tolist()) == sorted(truth.positions.tolist())
        assert sorted(found.distances.tolist()) == sorted(truth.distances.tolist())


@settings(max_examples=100)
@given(st.data(), st.sampled_from(METRICS), st.integers(1, 30))
def test_selection_agrees_with_brute_force(
    lab_type: type[Lab], data: st.DataObject, metric: Metric, k: int
) -> None:
    """With any dead rows, and any rows asked for or excluded, the k nearest and their ties."""
    number = st.sampled_from([-2.0, -1.0, -0.5, 0.25, 1.0, 1.0 + 2.0**-23, 3.0, 2.0**-140])
    size = data.draw(st.integers(1, 60))
    rows = data.draw(st.lists(st.tuples(number, number, number), min_size=size, max_size=size))
    positions = st.sets(st.integers(0, size - 1))
    dead = data.draw(positions)
    listed = data.draw(positions) - dead
    inverted = data.draw(st.booleans())
    table = np.array(rows, np.float32)
    norms = np.sqrt(np.square(table.astype(np.float64)).sum(axis=1)).astype(np.float32)
    # Numbers with gaps, as a matrix has them after it was compacted.
    numbers = np.cumsum(1 + np.arange(size) % data.draw(st.integers(1, 3)))
    view = View(table, numbers, norms, np.array(sorted(dead), np.int64))
    matching = Matching(numbers[sorted(listed)], inverted)
    query = data.draw(st.tuples(number, number, number))
    wanted = (set(range(size)) - dead - listed) if inverted else listed
    far = sorted((lab_type.distance(metric, query, table[at].tolist()), at) for at in wanted)
    expected = [pair for pair in far if pair[0] <= far[min(k, len(far)) - 1][0]]
    (found,) = nearest(view, metric, np.array([query], np.float32), k, matching)
    pairs = zip(found.distances.tolist(), found.positions.tolist(), strict=True)
    assert sorted(pairs) == expected


def test_many_rows_take_the_same_road_as_few(lab_type: type[Lab]) -> None:
    """Grouping, gathering and splitting into blocks change nothing: 20000 rows, 70 queries."""
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((20_000, 16)).astype(np.float32)
    norms = np.sqrt(np.square(rows.astype(np.float64)).sum(axis=1)).astype(np.float32)
    view = View(rows, np.arange(1, 20_001), norms, np.empty(0, np.int64))
    queries = rng.standard_normal((70, 16)).astype(np.float32)
    few = np.sort(rng.choice(20_000, 900, replace=False)) + 1
    for matching, chosen in ((None, np.arange(20_000)), (Matching(few), few - 1)):
        for query, found in zip(
            queries, nearest(view, "cosine", queries, 7, matching), strict=True
        ):
            wide = rows[chosen].astype(np.float64)
            far = 1 - (wide @ query.astype(np.float64)) / np.linalg.norm(wide, axis=1)
            assert set(found.positions.tolist()) == set(chosen[np.argsort(far)[:7]].tolist())


@pytest.mark.parametrize("count", [1, 4, 5])
@pytest.mark.parametrize("dimension", [127, 128, 400])
def test_every_product_is_as_near_as_its_bound_says(
    count: int, dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few queries or many, short vectors or long, numpy 1 or 2: within the error allowed for."""
    rng = np.random.default_rng(count)
    rows = rng.standard_normal((50, dimension)).astype(np.float32)
    queries = rng.standard_normal((count, dimension)).astype(np.float32)
    exact = rows.astype(np.float64) @ queries.astype(np.float64).T
    lengths = np.outer(*(np.linalg.norm(side, axis=1) for side in (rows, queries)))
    for _ in range(2):
        error = np.abs(module._multiplied(rows, queries) - exact)
        assert error.shape == (50, count)
        assert (error <= dimension * 2.0**-24 * lengths).all()
        monkeypatch.delattr(np, "vecdot", raising=False)


SCRIPT = """
import hashlib, random
ref = store.get_index(spi.Scope("acme", "prod"), "notes", 1)
dice = random.Random(6)
queries = spi.Vectors.from_rows([[dice.gauss(0, 1) for _ in range(40)] for _ in range(30)], 40)
answers = store.query(spi.Scope("acme", "prod"), ref, queries, 25)
text = repr([[(hit.id, hit.distance.hex()) for hit in hits] for hits in answers])
say(hashlib.sha256(text.encode()).hexdigest())
"""


def test_threads_of_the_linear_algebra_do_not_show(
    lab: Lab, store: VectorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread or several in the matrix product give the same answers to the bit."""
    ref = store.create_index(lab.a, lab.definition(dimension=40))
    fill(lab, store, lab.a, ref, clustered(lab.dice(12), 3000, 40, 1e-5))
    seen = set()
    for threads in ("1", "2"):
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.setenv(name, threads)
        with lab.worker(SCRIPT) as other:
            out, _ = other.communicate()
        seen.add(out.strip())
    assert len(seen) == 1
    assert len(seen.pop()) == 64


def test_replaced_and_deleted_rows_never_come_back(
    make_lab: Callable[..., Lab],
) -> None:
    """After every write the next query is the oracle's, through appends, removals, compaction."""
    lab = make_lab()
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition(dimension=6, fields={"group": "int"}))
    dice = lab.dice(11)
    rows: dict[str, list[float]] = {}
    for turn in range(120):
        ids = [f"n{dice.randrange(60):02d}" for _ in range(dice.randrange(1, 9))]
        if turn % 3 == 2:
            gone = store.delete(lab.a, ref, ids)
            assert gone == len(set(ids) & set(rows))
            for name in ids:
                rows.pop(name, None)
        else:
            fresh: list[Any] = [(name, [dice.gauss(0, 1) for _ in range(6)], {}) for name in ids]
            store.upsert(lab.a, ref, lab.batch(fresh, 6))
            rows.update({name: row for name, row, _ in fresh})
        query = [dice.gauss(0, 1) for _ in range(6)]
        assert lab.ask(store, lab.a, ref, [query], 5) == [lab.ranked("cosine", query, rows, 5)]
