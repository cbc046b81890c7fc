"""Rows on a real server: exactness, filters, order, and what other scopes change of it: nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nexus_weaviate import _shard

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
    IndexRef,
    Lt,
    Metric,
    Ne,
    Not,
    NotIn,
    Or,
    Prefix,
    Scope,
    VectorBackend,
)

if TYPE_CHECKING:
    from plugins.weaviate.tests.conftest import Lab

SCOPE, OTHER = Scope("acme", "dev"), Scope("acme-2", "dev")

pytestmark = pytest.mark.servers


def single(row: Sequence[float]) -> list[float]:
    """A row as float32 holds it."""
    return list(array("f", row))


def measured(metric: Metric, left: Sequence[float], right: Sequence[float]) -> float:
    """The definition, with exactly rounded sums over float32 values."""
    a, b = single(left), single(right)
    if metric == "l2sq":
        return math.fsum((x - y) * (x - y) for x, y in zip(a, b, strict=True))
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    if metric == "dot":
        return 0.0 - product
    squares = math.fsum(x * x for x in a) * math.fsum(y * y for y in b)
    return min(max(1.0 - product / math.sqrt(squares), 0.0), 2.0)


def wanted(
    metric: Metric, rows: Mapping[str, Sequence[float]], query: Sequence[float], k: int
) -> list[tuple[str, float]]:
    """The k nearest by (distance, id)."""
    found = sorted((measured(metric, query, row), name) for name, row in rows.items())
    return [(name, distance) for distance, name in found[:k]]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2sq"])
def test_answers_are_the_definitions_to_the_last_bit(
    lab: Lab, store: VectorBackend, metric: Metric
) -> None:
    """Ids, order and distances are those of a scan of our own, clusters included."""
    rng = lab.dice(metric)
    rows = lab.gaussian(rng, 400, 24)
    for number in range(200):  # nearer to each other than float32 tells apart
        rows[f"c{number:03}"] = [value * (1 + rng.gauss(0, 1e-7)) for value in rows["r00000"]]
    rows["far"] = [1e9 * value for value in rows["r00001"]]
    rows["near"] = [1e-9 * value for value in rows["r00002"]]
    ref = store.create_index(SCOPE, lab.definition(dimension=24, metric=metric))
    store.upsert(SCOPE, ref, lab.batch(rows))
    for query in (rows["r00000"], rows["far"], [rng.gauss(0, 1) for _ in range(24)]):
        for k in (1, 10, 250, 1000):
            assert lab.ask(store, ref, query, k) == wanted(metric, rows, query, k)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e15])
def test_cosine_holds_for_vectors_of_any_length(
    lab: Lab, store: VectorBackend, scale: float
) -> None:
    """Vectors whose squares float32 cannot hold have the cosine that they have."""
    rng = lab.dice(5)
    rows = {
        name: [scale * value for value in row] for name, row in lab.gaussian(rng, 60, 8).items()
    }
    ref = store.create_index(SCOPE, lab.definition(dimension=8))
    store.upsert(SCOPE, ref, lab.batch(rows))
    assert lab.ask(store, ref, rows["r00007"], 20) == wanted("cosine", rows, rows["r00007"], 20)
    stored = store.get(SCOPE, ref, ["r00007"])[0]
    assert stored is not None
    assert array("f", stored.vector).tolist() == single(rows["r00007"])


def test_more_ties_than_an_answer_holds_are_cut_by_id(
    lab: Lab, store: VectorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server cannot give all that lie equally near, every row is measured."""
    monkeypatch.setattr(_shard, "MAX_RESULTS", 40)
    names = [f"t{number:03}" for number in range(150)]
    lab.dice(1).shuffle(names)
    ref = store.create_index(SCOPE, lab.definition())
    store.upsert(SCOPE, ref, lab.batch({name: [1.0, 2, 3] for name in names}))
    assert [hit for hit, _ in lab.ask(store, ref, [1.0, 2, 3], 7)] == sorted(names)[:7]
    assert [hit for hit, _ in lab.ask(store, ref, [1.0, 2, 3], 100)] == sorted(names)[:100]


def test_pages_do_not_depend_on_what_a_message_holds(
    lab: Lab, store: VectorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes, scans, gets, deletes and counts of more rows than a message holds are whole."""
    monkeypatch.setattr(_shard, "MAX_RESULTS", 30)
    monkeypatch.setattr(_shard, "_DELETES", 30)
    rows = lab.gaussian(lab.dice(2), 100, 3)
    ref = store.create_index(SCOPE, lab.definition())
    store.upsert(SCOPE, ref, lab.batch(rows))
    page = store.scan(SCOPE, ref, limit=70)
    assert [row.id for row in page.rows] == sorted(rows)[:70]
    assert page.next_after == sorted(rows)[69]
    rest = store.scan(SCOPE, ref, after=page.next_after, limit=70)
    assert [row.id for row in rest.rows] == sorted(rows)[70:]
    assert rest.next_after is None
    asked = [*sorted(rows), "absent"]
    found = [None if row is None else row.id for row in store.get(SCOPE, ref, asked)]
    assert found == [*sorted(rows), None]
    assert store.delete(SCOPE, ref, asked[:80]) == 80
    assert store.count(SCOPE, ref, None) == 20


VALUES: Mapping[str, tuple[Any, ...]] = {
    "page": (0, 1, -1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 1.5, 1.0),
    "weight": (0.0, -0.0, 1e-300, 5e-324, 1.5, 2, 1e300, -1e300),
    "label": ("", "a", "A", " a", "a ", "a*", "a?", "ab", "é", "e\u0301", "\n", "the", "x" * 1024),
    "tags": ((), ("a",), ("a", "b"), ("A", " a"), ("the", "é")),
    "good": (True, False),
}


def oracle(where: Any, fields: Mapping[str, Any]) -> bool:
    """The tree's meaning, as its documentation says it."""
    kind = type(where)
    if kind in (And, Or):
        parts = [oracle(part, fields) for part in where.parts]
        return all(parts) if kind is And else any(parts)
    if kind is Not:
        return not oracle(where.part, fields)
    if kind is Ne:
        return not oracle(Eq(where.field, where.value), fields)
    if kind is NotIn:
        return not oracle(In(where.field, where.values), fields)
    if where.field not in fields:
        return False
    value = fields[where.field]
    if kind is Exists:
        return True
    if kind is In:
        return any(value == each for each in where.values)
    if kind is ContainsAny:
        return any(each in value for each in where.values)
    if kind is ContainsAll:
        return all(each in value for each in where.values)
    if kind is Prefix:
        return bool(str(value)[: len(where.value)] == where.value)
    comparisons = {
        Eq: value == where.value if kind is Eq else None,
        Lt: value < where.value if kind is Lt else None,
        Gt: value > where.value if kind is Gt else None,
        Ge: value >= where.value if kind is Ge else None,
    }
    return bool(comparisons[kind])


def some_filter(rng: random.Random, depth: int = 3) -> Filter:
    """A filter over the fields, of any node."""
    if depth and rng.random() < 0.5:
        parts = tuple(some_filter(rng, depth - 1) for _ in range(rng.randint(1, 3)))
        return rng.choice((And(parts), Or(parts), Not(parts[0])))
    field = rng.choice(sorted(VALUES))
    values = VALUES[field]
    one = rng.choice(values)
    if field == "tags":
        texts = tuple(rng.choice(VALUES["label"]) for _ in range(rng.randint(1, 3)))
        return rng.choice((ContainsAny(field, texts), ContainsAll(field, texts), Exists(field)))
    several = tuple(rng.choice(values) for _ in range(rng.randint(1, 4)))
    nodes: list[Filter] = [Eq(field, one), Ne(field, one), In(field, several)]
    nodes += [NotIn(field, several), Exists(field)]
    if field == "label":
        nodes += [Prefix(field, one[: rng.randint(0, 2)])]
    if field in ("page", "weight"):
        nodes += [Lt(field, one), Gt(field, one), Ge(field, one)]
    return rng.choice(nodes)


def test_filters_select_exactly_what_they_mean(lab: Lab, store: VectorBackend) -> None:
    """Random trees over twin values: query, count and deletion agree with an oracle of our own."""
    rng = lab.dice(11)
    fields = {
        f"r{number:03}": {
            field: rng.choice(values) for field, values in VALUES.items() if rng.random() < 0.8
        }
        for number in range(120)
    }
    rows = {name: [rng.gauss(0, 1), rng.gauss(0, 1), 1.0] for name in fields}
    ref = store.create_index(SCOPE, lab.definition())
    store.upsert(SCOPE, ref, lab.batch(rows, fields))
    # Numbers of rows that are gone must not come back by a negation.
    store.delete(SCOPE, ref, sorted(rows)[:20])
    store.upsert(SCOPE, ref, lab.batch({n: rows[n] for n in sorted(rows)[20:40]}, fields))
    left = sorted(rows)[20:]
    for _ in range(150):
        where = some_filter(rng)
        due = [name for name in left if oracle(where, fields[name])]
        found = sorted(name for name, _ in lab.ask(store, ref, [1.0, 0, 0], 200, where=where))
        assert found == due, where
        assert store.count(SCOPE, ref, where) == len(due), where
    for where in (Not(Eq("good", value=True)), Lt("page", 1)):
        due = [name for name in left if oracle(where, fields[name])]
        assert store.delete_where(SCOPE, ref, where) == len(due) > 0
        left = [name for name in left if name not in due]
        assert [row.id for row in store.scan(SCOPE, ref).rows] == left


def test_a_thousand_values_are_one_filter(lab: Lab, store: VectorBackend) -> None:
    """The longest list that the tree allows selects what is in it."""
    names = [f"r{number:03}" for number in range(50)]
    fields = {name: {"page": number} for number, name in enumerate(names)}
    ref = store.create_index(SCOPE, lab.definition())
    store.upsert(SCOPE, ref, lab.batch({name: [1.0, 0, 0] for name in names}, fields))
    assert store.count(SCOPE, ref, In("page", tuple(range(25, 1025)))) == 25


def test_a_batch_larger_than_a_message_is_written(lab: Lab, store: VectorBackend) -> None:
    """Ten thousand rows of the largest dimension but one go in pieces, and are all there."""
    ref = store.create_index(SCOPE, lab.definition(dimension=1024, metric="l2sq"))
    rows = {f"r{number:05}": [float(number), *[0.0] * 1023] for number in range(3000)}
    store.upsert(SCOPE, ref, lab.batch(rows))
    assert store.count(SCOPE, ref, None) == 3000
    assert lab.ask(store, ref, [10.0, *[0.0] * 1023], 3) == [
        ("r00010", 0.0),
        ("r00009", 1.0),
        ("r00011", 1.0),
    ]


def interference(
    lab: Lab, store: VectorBackend, mine: IndexRef, queries: Sequence[Sequence[float]], before: Any
) -> int:
    """How many places among the top ten of all queries differ from before."""
    after = [lab.ask(store, mine, query) for query in queries]
    return sum(
        one != two
        for left, right in zip(before, after, strict=True)
        for one, two in itertools.zip_longest(left, right)
    )


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2sq"])
def test_a_hundred_times_the_data_beside_changes_nothing(lab: Lab, metric: Metric) -> None:
    """Another scope brings 100 times the rows, nearer to every query: 0 of 200 places change."""
    store, rng = lab.open(), lab.dice(metric)
    rows = lab.gaussian(rng, 100, 16)
    queries = [[rng.gauss(0, 1) for _ in range(16)] for _ in range(20)]
    shape = lab.definition(dimension=16, metric=metric)
    mine = store.create_index(SCOPE, shape)
    store.upsert(SCOPE, mine, lab.batch(rows))
    before = [lab.ask(store, mine, query) for query in queries]
    control = interference(lab, store, mine, queries, before)
    theirs = store.create_index(OTHER, shape)
    crowd = {
        f"r{number:05}": [value + rng.gauss(0, 1e-3) for value in queries[number % 20]]
        for number in range(10_000)
    }
    for start in range(0, 10_000, 2000):
        some = list(crowd)[start : start + 2000]
        store.upsert(OTHER, theirs, lab.batch({name: crowd[name] for name in some}))
    changed = interference(lab, store, mine, queries, before)
    # Not in vain: mixed, hardly any answer would have stayed.
    mixed = {**{f"mine-{name}": row for name, row in rows.items()}, **crowd}
    would = sum(
        not name.startswith("mine-")
        for query in queries
        for name, _ in wanted(metric, mixed, query, 10)
    )
    if folder := os.environ.get("NEXUS_REPORTS"):
        place = Path(folder) / "weaviate"
        place.mkdir(parents=True, exist_ok=True)
        text = {
            "metric": metric,
            "places": 200,
            "control": control,
            "changed": changed,
            "if rows were mixed": would,
        }
        (place / f"interference-{metric}.json").write_text(json.dumps(text) + "\n")
    assert would > 150
    assert (control, changed) == (0, 0)


def test_twins_live_their_own_lives(lab: Lab, store: VectorBackend) -> None:
    """Scopes whose names look alike, with the same index and ids, have rows of their own."""
    scopes = [Scope("a", "dev"), Scope("a", "prod"), Scope("a-i", "dev"), Scope("a_", "dev")]
    scopes += [Scope("a" * 63, "dev"), Scope("a" * 62, "dev")]
    refs = [store.create_index(scope, lab.definition()) for scope in scopes]
    for number, (scope, ref) in enumerate(zip(scopes, refs, strict=True), 1):
        store.upsert(scope, ref, lab.batch({"same": [float(number), 0, 1]}))
    assert store.delete(scopes[0], refs[0], ["same"]) == 1
    assert store.erase(scopes[-1]) == 1
    for number, (scope, ref) in list(enumerate(zip(scopes, refs, strict=True), 1))[1:-1]:
        (row,) = store.scan(scope, ref).rows
        assert array("f", row.vector).tolist() == [float(number), 0, 1]
