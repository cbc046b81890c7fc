"""Any sequence of calls, by three scopes at once, against a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from nexus_embedded import _nearest

from nexus_core.spi import (
    Eq,
    Exists,
    Filter,
    Ge,
    IndexRef,
    Ne,
    Not,
    NotFoundError,
    Scope,
    StaleReferenceError,
    VectorBackend,
)

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab

SCOPES = st.sampled_from([Scope("acme", "prod"), Scope("acme", "dev"), Scope("acme1", "prod")])
NAMES = st.sampled_from(["notes", "pics"])
IDS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
# All within a hair of each other, so that any foreign row would rank among one's own.
VECTORS = st.builds(
    lambda x, y, z: [1.0 + x * 2.0**-20, 1.0 + y * 2.0**-20, z * 2.0**-20],
    *[st.integers(-3, 3)] * 3,
)
FIELDS = st.fixed_dictionaries({}, optional={"n": st.integers(0, 3)})
ROWS = st.lists(st.tuples(IDS, VECTORS, FIELDS), min_size=1, max_size=5)
FILTERS = st.sampled_from(
    [Eq("n", 1), Ne("n", 1), Ge("n", 2), Exists("n"), Not(Exists("n")), Eq("n", 0)]
)
Rows = dict[str, tuple[list[float], dict[str, Any]]]


class Machine(RuleBasedStateMachine):
    """The model: a dictionary of rows for each index of each scope."""

    make: ClassVar[Callable[..., Lab]]

    @initialize()
    def begin(self) -> None:
        # A cache that holds one small index at most, and one connection: both turn over.
        self.lab = type(self).make(cache_bytes=700, connections=1)
        self.stores = [self.lab.build(scan="float32"), self.lab.build(scan="int8")]
        self.turn = 0
        self.model: dict[tuple[Scope, str], Rows] = {}
        self.refs: dict[tuple[Scope, str], IndexRef] = {}
        self.stale: list[tuple[Scope, IndexRef]] = []

    @property
    def store(self) -> VectorBackend:
        """One of two stores on the same files, in turn: each must see what the other did.

        They search by different scans, and must not differ in what they find.
        """
        self.turn += 1
        return self.stores[self.turn % 2]

    @rule(scope=SCOPES, name=NAMES)
    def create(self, scope: Scope, name: str) -> None:
        made = self.store.create_index(
            scope, self.lab.definition(name=name, metric="l2sq", fields={"n": "int"})
        )
        assert self.refs.setdefault((scope, name), made) == made
        self.model.setdefault((scope, name), {})

    @rule(scope=SCOPES, name=NAMES, rows=ROWS)
    def upsert(self, scope: Scope, name: str, rows: list[Any]) -> None:
        if (scope, name) in self.model:
            self.store.upsert(scope, self.refs[scope, name], self.lab.batch(rows))
            self.model[scope, name].update({i: (vector, fields) for i, vector, fields in rows})

    @rule(scope=SCOPES, name=NAMES, ids=st.lists(IDS, max_size=4))
    def delete(self, scope: Scope, name: str, ids: list[str]) -> None:
        if (scope, name) in self.model:
            rows = self.model[scope, name]
            gone = {row_id for row_id in ids if rows.pop(row_id, None) is not None}
            assert self.store.delete(scope, self.refs[scope, name], ids) == len(gone)

    @rule(scope=SCOPES, name=NAMES, where=FILTERS)
    def delete_where(self, scope: Scope, name: str, where: Filter) -> None:
        if (scope, name) in self.model:
            rows = self.model[scope, name]
            gone = [i for i, (_, fields) in rows.items() if self.lab.holds(where, fields)]
            assert self.store.delete_where(scope, self.refs[scope, name], where) == len(gone)
            for row_id in gone:
                del rows[row_id]

    @rule(scope=SCOPES, name=NAMES)
    def drop(self, scope: Scope, name: str) -> None:
        if (scope, name) in self.model:
            ref = self.refs.pop((scope, name))
            self.store.drop_index(scope, ref)
            del self.model[scope, name]
            self.stale.append((scope, ref))

    @rule(scope=SCOPES)
    def erase(self, scope: Scope) -> None:
        doomed = [key for key in self.model if key[0] == scope]
        rows = sum(len(self.model.pop(key)) for key in doomed)
        self.stale += [(scope, self.refs.pop(key)) for key in doomed]
        assert self.store.erase(scope) == rows

    @rule(scope=SCOPES, name=NAMES, query=VECTORS, k=st.integers(1, 7), where=st.none() | FILTERS)
    def query(
        self, scope: Scope, name: str, query: list[float], k: int, where: Filter | None
    ) -> None:
        if (scope, name) in self.model:
            rows = {
                row_id: vector
                for row_id, (vector, fields) in self.model[scope, name].items()
                if where is None or self.lab.holds(where, fields)
            }
            found = self.lab.ask(self.store, scope, self.refs[scope, name], [query], k, where)
            assert found == [self.lab.ranked("l2sq", query, rows, k)]

    @rule()
    def reopen(self) -> None:
        self.stores[0].close()
        self.stores[0] = self.lab.build(scan="float32")

    @rule()
    def use_what_is_stale(self) -> None:
        for scope, ref in self.stale[-3:]:
            try:
                self.store.count(scope, ref, None)
            except (NotFoundError, StaleReferenceError):
                continue
            raise AssertionError("a reference to a dropped index was accepted")

    @invariant()
    def every_scope_has_its_own_rows(self) -> None:
        for (scope, name), rows in getattr(self, "model", {}).items():
            ref = self.refs[scope, name]
            found = self.store.scan(scope, ref).rows
            assert [row.id for row in found] == sorted(rows)
            for row in found:
                vector, fields = rows[row.id]
                assert self.lab.floats(row) == vector
                assert row.fields == fields
            assert self.store.count(scope, ref, None) == len(rows)
            listed = [one.definition.name for one in self.store.list_indexes(scope)]
            assert listed == sorted(n for s, n in self.model if s == scope)

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            self.lab.close()


def test_any_sequence_of_calls_agrees_with_the_model(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stores on one root, three scopes, a cache that always overflows: all as the model."""
    monkeypatch.setattr(_nearest, "_WORTH", 0)
    Machine.make = staticmethod(make_lab)
    run_state_machine_as_test(Machine, settings=settings(max_examples=30, stateful_step_count=40))
