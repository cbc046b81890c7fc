"""Filters: every node, over every kind of value, against an oracle of their meaning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nexus_core.spi import (
    And,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    FieldType,
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
    VectorBackend,
)

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab

SCHEMA: dict[str, FieldType] = {
    "s": "str",
    "s2": "str",
    "i": "int",
    "f": "float",
    "b": "bool",
    "l": "str[]",
}
# Neighbours in every order that could be confused: case, wildcards, Unicode forms, the ends of the
# code space around the surrogates, and numbers that only exact comparison tells apart.
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "A",
        "ab",
        "a%",
        "a_",
        "%",
        "_",
        "*",
        "é",
        "e\u0301",
        "\ud7ff",
        "\ue000",
        "\uffff",
        "\U0010ffff",
        "a\U0010ffff",
        "a\U0010ffffb",
        "b",
        "x' OR '1'='1",
        '"]}}',
        "../b",
        "1",
        "\1",
    ]
)
INTEGERS = st.sampled_from(
    [0, 1, -1, 2**53, 2**53 + 1, 2**53 - 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**62 + 1]
)
FLOATS = st.sampled_from(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        0.1 + 2**-55,
        5e-324,
        1.7976931348623157e308,
        2.0**53,
        2.0**63,
        -(2.0**63),
        2.0**62,
        math.nextafter(1.0, 2.0),
        1e300,
        -1e300,
    ]
)
NUMBERS = INTEGERS | FLOATS
BOOLS = st.booleans()
LISTS = st.lists(TEXTS, max_size=3).map(tuple)

RECORDS = st.fixed_dictionaries(
    {}, optional={"s": TEXTS, "s2": TEXTS, "i": NUMBERS, "f": NUMBERS, "b": BOOLS, "l": LISTS}
)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=1, max_size=4).map(tuple)


def leaves() -> st.SearchStrategy[Filter]:
    scalars = [("s", TEXTS), ("s2", TEXTS), ("i", NUMBERS), ("f", NUMBERS), ("b", BOOLS)]
    made: list[st.SearchStrategy[Filter]] = [st.builds(Exists, st.sampled_from(sorted(SCHEMA)))]
    for name, values in scalars:
        made += [st.builds(node, st.just(name), values) for node in (Eq, Ne)]
        made += [st.builds(node, st.just(name), some(values)) for node in (In, NotIn)]
    for name in ("i", "f"):
        made += [st.builds(node, st.just(name), NUMBERS) for node in (Lt, Le, Gt, Ge)]
    made += [st.builds(Prefix, st.sampled_from(["s", "s2"]), TEXTS)]
    made += [st.builds(node, st.just("l"), some(TEXTS)) for node in (ContainsAny, ContainsAll)]
    return st.one_of(made)


def compounds(children: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(children, min_size=1, max_size=3).map(tuple)
    return st.builds(And, several) | st.builds(Or, several) | st.builds(Not, children)


FILTERS = st.recursive(leaves(), compounds, max_leaves=6)


@settings(max_examples=60)
@given(
    st.lists(RECORDS, min_size=1, max_size=12),
    st.lists(FILTERS, min_size=1, max_size=6),
    st.integers(0, 4),
)
@example([{"s": "a\U0010ffffb"}, {"s": "b"}], [Prefix("s", "a\U0010ffff")], 0)
@example([{"s": "\ue000x"}, {"s": "\ud7ffx"}], [Prefix("s", "\ud7ff")], 0)
@example([{"i": 2**53 + 1}, {"i": 2.0**53}], [Eq("i", 2.0**53), Gt("i", 2.0**53)], 0)
@example([{"l": ()}, {}], [Exists("l"), Not(ContainsAny("l", ("",)))], 0)
def test_filters_match_what_they_mean(
    shared: tuple[Lab, VectorBackend],
    records: list[dict[str, Any]],
    filters: list[Filter],
    gap: int,
) -> None:
    """Count, query and delete_where see exactly the records for which the filter holds."""
    lab, store = shared
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    rows = [(f"r{n:02d}", [1.0, n, n * n], record) for n, record in enumerate(records)]
    store.upsert(lab.a, ref, lab.batch(rows))
    # Numbers in the file then have gaps, and a replaced row is not where it was.
    store.upsert(lab.a, ref, lab.batch(rows[:gap]))
    for where in filters:
        expected = {name for name, _, record in rows if lab.holds(where, record)}
        assert store.count(lab.a, ref, where) == len(expected)
        (hits,) = lab.ask(store, lab.a, ref, [[1, 2, 3]], 100, where)
        assert {name for name, _ in hits} == expected
        assert store.delete_where(lab.a, ref, where) == len(expected)
        left = {row.id for row in store.scan(lab.a, ref).rows}
        assert left == {name for name, _, _ in rows} - expected
        assert store.delete_where(lab.a, ref, where) == 0
        store.upsert(lab.a, ref, lab.batch(rows))
    store.drop_index(lab.a, ref)


@pytest.fixture(scope="module")
def shared(lab_type: type[Lab], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One store for all examples; each drops its index at its end."""
    lab = lab_type(tmp_path_factory.mktemp("filters"))
    lab.provision()
    yield lab, lab.build()
    lab.close()


def test_booleans_are_not_numbers(lab: Lab, store: VectorBackend) -> None:
    """Even in a filter that the core would refuse, true is not 1 and false is not 0."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    store.upsert(
        lab.a,
        ref,
        lab.batch(
            [
                ("one", [1, 0, 0], {"i": 1, "b": True}),
                ("zero", [0, 1, 0], {"i": 0, "b": False}),
            ]
        ),
    )
    for value in (1, 1.0, 0, 0.0):
        assert store.count(lab.a, ref, Eq("b", value)) == 0
    for truth in (True, False):
        assert store.count(lab.a, ref, Eq("i", truth)) == 0
        assert store.count(lab.a, ref, Eq("b", truth)) == 1


def test_a_filter_of_a_thousand_values_and_many_nodes_works(lab: Lab, store: VectorBackend) -> None:
    """The core's limits on a filter are within this store's."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    store.upsert(lab.a, ref, lab.batch([(f"r{n}", [1, n, 0], {"i": n}) for n in range(50)]))
    wide = In("i", tuple(range(25, 1025)))
    assert store.count(lab.a, ref, wide) == 25
    assert store.count(lab.a, ref, Or((In("i", (1, 2, 99)),) * 254)) == 2
    deep: Filter = Eq("i", 3)
    for _ in range(7):
        deep = Not(And((deep, deep)))
    assert store.count(lab.a, ref, deep) == 49


def test_values_are_only_ever_values(lab: Lab, store: VectorBackend) -> None:
    """Fragments of query languages match the rows that hold exactly them, and no other."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    hostile = ["x' OR '1'='1", '"]}}', "%", "_", "*", "../", "{}", "--", ";", "') --", "\\", "NULL"]
    rows = [(f"r{n}", [1.0, n, 0.0], {"s": text, "l": (text,)}) for n, text in enumerate(hostile)]
    store.upsert(lab.a, ref, lab.batch(rows))
    for number, text in enumerate(hostile):
        for where in (Eq("s", text), Prefix("s", text), ContainsAny("l", (text,))):
            (hits,) = lab.ask(store, lab.a, ref, [[1, 0, 0]], 99, where)
            assert [name for name, _ in hits] == [f"r{number}"]
