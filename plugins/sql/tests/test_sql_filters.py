"""Filters mean what the tree says, against an oracle that knows no SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import nexus_sql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nexus_sql._atoms import SqlAtoms

from nexus_core.spi import (
    And,
    AtomBackend,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    Insert,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    Prefix,
    Record,
    Runtime,
    Scope,
)

TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "a%",
    "a_b",
    "a\\",
    "a'b",
    'a"b',
    "'; DROP TABLE record_intents; --",
    "\x01",
    "é",
    "e\u0301",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U0010ffff",
    "\U0010ffff\U0010ffff",
    "a\U0010ffff",
    "1",
    "true",
]
NUMBERS = [0, 1, -1, 2, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
FRACTIONS = [0.0, 1.0, 0.5, -0.5, 2.0**53, 2.0**62, -(2.0**63), 1e308, -1e308, 5e-324]
SCOPES = (Scope(f"f{number}", "dev") for number in count())


def holds(where: Filter, fields: Mapping[str, Any]) -> bool:
    """The oracle: absent fields fail every comparison, ``Ne`` and ``NotIn`` are plain negations."""
    name = type(where).__name__
    node: Any = where
    if name == "Not":
        return not holds(node.part, fields)
    if name in {"And", "Or"}:
        answers = {holds(part, fields) for part in node.parts}
        return False not in answers if name == "And" else True in answers
    if name in {"Ne", "NotIn"}:
        positive: Filter = (
            Eq(node.field, node.value) if name == "Ne" else In(node.field, node.values)
        )
        return not holds(positive, fields)
    if node.field not in fields:
        return False
    here = fields[node.field]
    if name == "Exists":
        return True
    if name == "Prefix":
        return bool(here[: len(node.value)] == node.value)
    if name == "Eq":
        return bool(here == node.value)
    if name == "In":
        return here in list(node.values)
    order = (here > node.value) - (here < node.value)
    return order in {"Lt": (-1,), "Le": (-1, 0), "Gt": (1,), "Ge": (0, 1)}[name]


texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS)
anything_numeric = st.sampled_from([*NUMBERS, *FRACTIONS])

# The collection of assets has required and optional text, required and optional numbers, and flags.
fields = st.fixed_dictionaries(
    {
        "kind": texts,
        "space": texts,
        "pii": st.booleans(),
        "train_ok": st.booleans(),
        "created_at": numbers,
        "size": numbers,
    },
    optional={"subject": texts, "retain_until": numbers},
)
text_fields = st.sampled_from(["kind", "space", "subject"])
number_fields = st.sampled_from(["created_at", "size", "retain_until"])
flag_fields = st.sampled_from(["pii", "train_ok"])


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=1, max_size=5).map(tuple)


def padded(values: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Some lists are long enough to be sent as one parameter."""
    filler = tuple(f"filler {n}" for n in range(150))
    return st.builds(lambda v, long: v + filler if long else v, values, st.booleans())


def padded_numbers(
    values: st.SearchStrategy[tuple[Any, ...]],
) -> st.SearchStrategy[tuple[Any, ...]]:
    filler = (*range(1000, 1150), 0.25)
    return st.builds(lambda v, long: v + filler if long else v, values, st.booleans())


leaves: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Eq, text_fields, texts),
    st.builds(Ne, text_fields, texts),
    st.builds(Prefix, text_fields, texts),
    st.builds(In, text_fields, padded(lists(texts))),
    st.builds(NotIn, text_fields, padded(lists(texts))),
    st.builds(Exists, st.one_of(text_fields, number_fields, flag_fields)),
    st.builds(Eq, flag_fields, st.booleans()),
    st.builds(Ne, flag_fields, st.booleans()),
    st.builds(In, flag_fields, lists(st.booleans())),
    st.builds(NotIn, flag_fields, lists(st.booleans())),
    st.builds(In, number_fields, padded_numbers(lists(anything_numeric))),
    st.builds(NotIn, number_fields, padded_numbers(lists(anything_numeric))),
    *(st.builds(node, number_fields, anything_numeric) for node in (Eq, Ne, Lt, Le, Gt, Ge)),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(Not, parts),
        st.builds(And, st.lists(parts, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(parts, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtomBackend]:
    config = nexus_sql.SqlConfig(url="sqlite:///records.db")
    runtime = Runtime(store="main", base=tmp_path_factory.mktemp("sql"), now=lambda: 0)
    spec = nexus_sql.nexus_atom_store()
    assert spec.provision is not None
    spec.provision(config, runtime)
    backend = spec.factory(config, runtime)
    assert isinstance(backend, SqlAtoms)
    # Distributions build SQLite with more; what it is by default must do.
    connection = backend._database.pool.borrow()
    driver: Any = connection.connection.driver_connection
    driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
    backend._database.pool.give_back(connection, sound=True)
    yield backend
    backend.close()


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(fields, min_size=1, max_size=12), wheres=st.lists(filters, min_size=4, max_size=4)
)
def test_filters_agree_with_the_oracle(
    store: AtomBackend,
    make: Callable[..., Record],
    rows: list[dict[str, Any]],
    wheres: list[Filter],
) -> None:
    """Query and count find exactly the records that the filter tree, read literally, matches."""
    scope = next(SCOPES)
    records = [make("assets", f"{n:03d}", **row) for n, row in enumerate(rows)]
    store.commit(scope, [Insert(record) for record in records])
    for where in wheres:
        expected = [record for record in records if holds(where, record.fields)]
        assert list(store.query(scope, "assets", where).records) == expected
        assert store.count(scope, "assets", where) == len(expected)
        assert store.count(scope, "assets", Not(where)) == len(records) - len(expected)


def test_the_largest_filter_is_answered(store: AtomBackend, make: Callable[..., Record]) -> None:
    """A tree of 255 lists with 1000 values each, the most that the core lets pass, is no error."""
    scope = next(SCOPES)
    store.commit(scope, [Insert(make("assets", "one", kind="v7", size=7))])
    words, figures = tuple(f"v{n}" for n in range(1000)), tuple(range(1000))
    either: list[Filter] = [In("kind", words), In("size", figures)]
    where = And(tuple(either[n % 2] for n in range(255)))
    assert store.count(scope, "assets", where) == 1
    assert store.count(scope, "assets", Not(where)) == 0


def test_a_list_of_integers_and_floats_finds_integers_exactly(
    store: AtomBackend, make: Callable[..., Record]
) -> None:
    """In a list with a float beside it, an integer that no float is finds itself and no other."""
    scope = next(SCOPES)
    sizes = (2**53, 2**60, 2**60 + 1)
    store.commit(scope, [Insert(make("assets", f"r{n}", size=n)) for n in sizes])
    for values, found in (
        ((2.0**53, 2**60 + 1, 0.5), 2),
        ((2**60 + 1, 1e300, *(number + 0.5 for number in range(200))), 1),
        ((0.5, 1e300, -1e300), 0),
    ):
        assert store.count(scope, "assets", In("size", values)) == found
        assert store.count(scope, "assets", NotIn("size", values)) == len(sizes) - found


def test_the_widest_and_deepest_filters_are_answered(
    store: AtomBackend, make: Callable[..., Record]
) -> None:
    """256 nodes in a row, or negations eight deep, are no error."""
    scope = next(SCOPES)
    store.commit(scope, [Insert(make("assets", "one", subject="s"))])
    wide = Or(tuple(Ne("subject", f"v{n}") for n in range(255)))
    deep: Filter = Eq("subject", "s")
    for _ in range(7):
        deep = Not(deep)
    assert store.count(scope, "assets", wide) == 1
    assert store.count(scope, "assets", Not(wide)) == 0
    assert store.count(scope, "assets", deep) == 0


@pytest.mark.parametrize("prefix", ["%", "_", "a%", "A", "ab_", "\\", "[", "*", "?"])
def test_a_prefix_has_no_wildcards_and_minds_the_case(
    store: AtomBackend, make: Callable[..., Record], prefix: str
) -> None:
    """A prefix matches only what begins with exactly its characters."""
    scope = next(SCOPES)
    names = ["%x", "_x", "a%x", "abx", "ABX", "ab_x", "ab1x", "\\x", "[x", "*x", "?x", "x"]
    store.commit(scope, [Insert(make("assets", f"{n}", kind=name)) for n, name in enumerate(names)])
    found = store.query(scope, "assets", Prefix("kind", prefix)).records
    wanted = {name for name in names if name[: len(prefix)] == prefix}
    assert {record.fields["kind"] for record in found} == wanted


EDGES = ["a", "a\U0010ffff", "b", "\ud7ff", "\ud7ff\ud7ff", "\ue000", "\uffff", "\U00010000"]
EDGES += ["\U0010ffff", "\U0010ffff\U0010ffff", "\U0010ffffa", "\x7f", "\x80", "é", "e\u0301", ""]


@pytest.mark.parametrize("prefix", EDGES, ids=ascii)
def test_a_prefix_ends_where_its_characters_end(
    store: AtomBackend, make: Callable[..., Record], prefix: str
) -> None:
    """The last code point, those around the surrogates, and the empty prefix are no exceptions."""
    scope = next(SCOPES)
    names = [*EDGES, *(edge + "x" for edge in EDGES)]
    store.commit(
        scope, [Insert(make("assets", f"{n:02d}", kind=name)) for n, name in enumerate(names)]
    )
    wanted = sorted(n for n, name in enumerate(names) if name[: len(prefix)] == prefix)
    found = store.query(scope, "assets", Prefix("kind", prefix)).records
    assert [int(record.id) for record in found] == wanted
    rest = store.query(scope, "assets", Not(Prefix("kind", prefix))).records
    assert len(rest) == len(names) - len(wanted)
