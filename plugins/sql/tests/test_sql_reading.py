"""Reads: aligned, paged without loss, walked without loops, and answered from indexes."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

import nexus_sql
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nexus_sql._atoms import SqlAtoms
from nexus_sql._sqlite import SqliteDatabase

from nexus_core.spi import (
    And,
    AtomBackend,
    Eq,
    Filter,
    Gt,
    Insert,
    InvalidArgumentError,
    Record,
    Runtime,
    Scope,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]
Direction = Literal["up", "down"]


def test_get_answers_in_the_order_of_the_question(atoms: AtomBackend, make: Make) -> None:
    """Answers are aligned with the ids, however many, absent or repeated they are."""
    records = {f"{n:05d}": make("atoms", f"{n:05d}", position=n) for n in range(0, 3000, 2)}
    atoms.commit(SCOPE, [Insert(record) for record in records.values()])
    wanted = [f"{n:05d}" for n in range(3000)] + ["00002", "00002", "", "%", "no"]
    random.Random(1).shuffle(wanted)  # noqa: S311  # an order, not a secret
    assert list(atoms.get(SCOPE, "atoms", wanted)) == [records.get(id_) for id_ in wanted]
    assert list(atoms.get(SCOPE, "atoms", [])) == []
    assert list(atoms.get(Scope("t1", "prod"), "atoms", wanted[:5])) == [None] * 5


def test_pages_come_in_byte_order(atoms: AtomBackend, make: Make) -> None:
    """Ids ascend by byte, not by the alphabet, and the last page says that nothing is left."""
    ids = ["Z", "a", "A", "_", "0", "~", "!", "aa", "a!", "a~", "B"]
    atoms.commit(SCOPE, [Insert(make("atoms", id_)) for id_ in ids])
    seen: list[str] = []
    after: str | None = None
    for size in (3, 3, 3, 2):
        page = atoms.query(SCOPE, "atoms", None, after=after, limit=3)
        assert len(page.records) == size
        seen += (record.id for record in page.records)
        after = page.next_after
    assert after is None
    assert seen == sorted(ids, key=str.encode)
    exact = atoms.query(SCOPE, "atoms", None, limit=len(ids))
    assert exact.next_after is None


def test_a_limit_that_asks_for_nothing_is_refused(atoms: AtomBackend) -> None:
    """A page of no records could not say where to go on."""
    for limit in (0, -1):
        with pytest.raises(InvalidArgumentError):
            atoms.query(SCOPE, "atoms", None, limit=limit)


def test_pages_lose_nothing_while_others_write(atoms: AtomBackend, make: Make) -> None:
    """Every record that was there throughout is met exactly once, under inserts and removals."""
    steady = {f"{n:04d}-steady" for n in range(0, 900, 3)}
    atoms.commit(SCOPE, [Insert(make("atoms", id_)) for id_ in steady])
    started, stop = threading.Event(), threading.Event()

    def write() -> None:
        order = random.Random(2)  # noqa: S311  # an order, not a secret
        while not stop.is_set():
            batch = [
                make("atoms", f"{order.randrange(900):04d}-{order.random()}") for _ in range(5)
            ]
            atoms.commit(SCOPE, [Insert(record, "keep") for record in batch])
            started.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        started.wait()
        for limit in (7, 50):
            seen: list[str] = []
            after: str | None = None
            while True:
                page = atoms.query(SCOPE, "atoms", None, after=after, limit=limit)
                seen += (record.id for record in page.records)
                after = page.next_after
                if after is None:
                    break
            assert seen == sorted(set(seen))
            assert steady <= set(seen)
    finally:
        stop.set()
        writer.join()


def test_a_page_ends_before_it_fills_the_memory(atoms: AtomBackend, make: Make) -> None:
    """Large bodies make short pages, whose union is still everything."""
    body = bytes(1 << 20)
    ids = [f"{n:02d}" for n in range(40)]
    for id_ in ids:
        atoms.commit(SCOPE, [Insert(make("atoms", id_, body=body))])
    first = atoms.query(SCOPE, "atoms", None, limit=1000)
    assert 1 <= len(first.records) < 40
    assert first.next_after == first.records[-1].id
    rest = atoms.query(SCOPE, "atoms", None, after=first.next_after, limit=1000)
    assert [record.id for record in (*first.records, *rest.records)] == ids
    assert rest.next_after is None


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtomBackend]:
    config = nexus_sql.SqlConfig(url="sqlite:///records.db")
    runtime = Runtime(store="main", base=tmp_path_factory.mktemp("sql"), now=lambda: 0)
    spec = nexus_sql.nexus_atom_store()
    assert spec.provision is not None
    spec.provision(config, runtime)
    backend = spec.factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    yield backend
    backend.close()


GRAPHS = (Scope(f"g{number}", "dev") for number in count())
nodes = st.sampled_from(["n0", "n1", "n2", "n3", "n4", "n%", "n_", "n'"])


def walked(
    edges: dict[str, tuple[str, str]], start: set[str], direction: Direction, depth: int
) -> list[tuple[int, str]]:
    """The oracle: relax the depth of every edge until nothing changes."""
    near, far = (1, 0) if direction == "up" else (0, 1)
    depths: dict[str, int] = {}
    for _ in range(len(edges) + 1):
        for name, ends in edges.items():
            reached = [d for other, d in depths.items() if edges[other][far] == ends[near]]
            if ends[near] in start:
                reached.append(0)
            if reached:
                depths[name] = min(depths.get(name, 10**6), min(reached) + 1)
    return sorted((d, name) for name, d in depths.items() if d <= depth)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pairs=st.lists(st.tuples(nodes, nodes), max_size=14),
    start=st.lists(nodes, max_size=3),
    walk=st.tuples(st.sampled_from(["up", "down"]), st.integers(0, 6), st.integers(0, 15)),
)
def test_a_walk_agrees_with_the_oracle(
    graphs: AtomBackend,
    make: Make,
    pairs: list[tuple[str, str]],
    start: list[str],
    walk: tuple[Direction, int, int],
) -> None:
    """Each edge comes once, at its smallest depth, by (depth, id), up to the limit; cycles end."""
    direction, depth, limit = walk
    scope, other = next(GRAPHS), next(GRAPHS)
    edges = {f"e{n:02d}": pair for n, pair in enumerate(pairs)}
    records = {
        name: make("edges", name, parent=parent, child=child)
        for name, (parent, child) in edges.items()
    }
    graphs.commit(scope, [Insert(record) for record in records.values()])
    graphs.commit(other, [Insert(make("edges", "x", parent="n0", child="n1"))])
    steps = graphs.walk(scope, start, direction, max_depth=depth, limit=limit)
    expected = walked(edges, set(start), direction, depth)[:limit]
    assert [(step.depth, step.edge) for step in steps] == [(d, records[e]) for d, e in expected]


def test_a_dense_cycle_is_walked_once(atoms: AtomBackend, make: Make) -> None:
    """Two thousand edges among forty nodes cost each edge one visit, at any depth."""
    order = random.Random(3)  # noqa: S311  # a graph, not a secret
    edges = [
        make("edges", f"{n:04d}", parent=f"n{order.randrange(40)}", child=f"n{order.randrange(40)}")
        for n in range(2000)
    ]
    atoms.commit(SCOPE, [Insert(edge) for edge in edges])
    steps = atoms.walk(SCOPE, ["n0"], "down", max_depth=10**6, limit=10**6)
    assert len({step.edge.id for step in steps}) == len(steps) == 2000


def plan(database: SqliteDatabase, statement: sa.Select[Any]) -> str:
    with database.read(None) as connection:
        compiled = statement.compile(connection.engine)
        sql = str(compiled).replace("__[POSTCOMPILE_ids]", "(?)")
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple("x" * sql.count("?")))
        return "; ".join(str(row[3]) for row in rows)


LOOKUPS: list[tuple[str, Filter, str]] = [
    ("edges", Eq("parent", "x"), "ix_record_edges_parent"),
    ("edges", Eq("child", "x"), "ix_record_edges_child"),
    ("edges", Eq("subject", "x"), "ix_record_edges_subject"),
    ("atoms", Eq("parent", "x"), "ix_record_atoms_parent"),
    ("atoms", Eq("asset", "x"), "ix_record_atoms_asset"),
    ("atoms", And((Eq("subject", "x"), Eq("train_ok", value=False))), "ix_record_atoms_subject"),
    ("assets", Eq("subject", "x"), "ix_record_assets_subject"),
    ("intents", And((Eq("type", "ingest"), Eq("state", "open"))), "ix_record_intents_state"),
    ("intents", And((Eq("target", "x"), Eq("state", "done"))), "ix_record_intents_target"),
    ("events", Gt("created_at", 5), "ix_record_events_created_at"),
]


@pytest.mark.parametrize(("collection", "where", "index"), LOOKUPS)
def test_common_questions_are_answered_from_an_index(
    provisioned: Path, collection: str, where: Filter, index: str
) -> None:
    """Counting by these fields searches their index inside the scope, and scans nothing."""
    database = SqliteDatabase(provisioned, 5.0, "url")
    store = SqlAtoms(database)
    codec = store._codec(collection)
    statement = sa.select(sa.func.count()).where(store._condition(codec, where))
    told = plan(database, statement)
    assert f"{index} (nx_tenant=? AND nx_env=? AND " in told
    assert "SCAN" not in told
    store.close()


def test_a_page_is_read_in_the_order_of_the_key(provisioned: Path) -> None:
    """Paging sorts nothing: rows come from the primary key, or an index that ends with the id."""
    database = SqliteDatabase(provisioned, 5.0, "url")
    store = SqlAtoms(database)
    codec = store._codec("edges")
    identity = codec.table.c.nx_id
    plans = {
        None: "sqlite_autoindex_record_edges_1 (nx_tenant=? AND nx_env=? AND nx_id>?)",
        Eq("parent", "x"): (
            "ix_record_edges_parent (nx_tenant=? AND nx_env=? AND parent=? AND nx_id>?)"
        ),
    }
    for where, searched in plans.items():
        condition = store._condition(codec, where) & (identity > "x")
        told = plan(database, sa.select(*codec.columns).where(condition).order_by(identity))
        assert searched in told
        assert "TEMP B-TREE" not in told
    assert "AND nx_id=?" in plan(database, codec.select_listed)
    store.close()
