"""Interleaved scopes with names made to be confused, against a dictionary for each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nexus_sql
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nexus_core.spi import (
    AlreadyExistsError,
    AtomBackend,
    Eq,
    Insert,
    Operation,
    PreconditionFailedError,
    Record,
    Remove,
    Replace,
    Require,
    Runtime,
    Scope,
)

SCOPES = [Scope(tenant, env) for tenant in ("t1", "t10", "t_1", "t-1") for env in ("dev", "prod")]
IDS = ["a", "A", "a%", "a_", "a'", 'a"', "ab", "b", "%", "_", "'--", "t1", "dev", "a;b", "~"]
COLLECTIONS = ["edges", "intents"]
Key = tuple[str, str]
State = dict[Key, Record]

scopes = st.sampled_from(SCOPES)
ids = st.sampled_from(IDS)
collections = st.sampled_from(COLLECTIONS)
versions = st.integers(1, 3)


def build(collection: str, id: str, version: int, mark: str) -> Record:
    fields: dict[str, Any] = (
        {"parent": mark, "child": id, "relation": "r", "created_at": version}
        if collection == "edges"
        else {"type": "t", "state": mark, "created_at": 1, "updated_at": version}
    )
    if mark in IDS[:3]:
        fields["subject"] = mark
    return Record(
        collection, id, version, fields, mark.encode() * version, b"stamp" + mark.encode()
    )


operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(
        Insert,
        st.builds(build, collections, ids, st.just(1), ids),
        st.sampled_from(["fail", "keep"]),
    ),
    st.builds(Insert, st.builds(build, collections, ids, st.just(1), ids), st.just("keep")),
    st.builds(Replace, st.builds(build, collections, ids, st.integers(1, 4), ids)),
    st.builds(Remove, collections, ids, st.none() | versions),
    st.builds(Remove, collections, ids),
    st.builds(Require, collections, ids, st.booleans(), st.none() | versions),
)


def play(state: State, batch: list[Operation]) -> list[bool] | type[Exception]:
    """The model: one operation after the other on a dictionary, or the first one's error."""
    working = dict(state)
    changed = []
    for operation in batch:
        before = dict(working)
        if isinstance(operation, Insert):
            key = (operation.record.collection, operation.record.id)
            if key in working and operation.if_exists == "fail":
                return AlreadyExistsError
            working.setdefault(key, operation.record)
        elif isinstance(operation, Replace):
            key = (operation.record.collection, operation.record.id)
            if key not in working or working[key].version + 1 != operation.record.version:
                return PreconditionFailedError
            working[key] = operation.record
        else:
            key = (operation.collection, operation.id)
            there = key in working
            as_named = there and operation.version in (None, working[key].version)
            if isinstance(operation, Remove):
                if operation.version is not None and not as_named:
                    return PreconditionFailedError
                working.pop(key, None)
            elif (operation.present and not as_named) or (not operation.present and there):
                return PreconditionFailedError
        changed.append(working != before)
    state.clear()
    state.update(working)
    return changed


class Scopes(RuleBasedStateMachine):
    """Whatever some scopes do, each answers as a dictionary of its own would."""

    @initialize()
    def provision(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        config = nexus_sql.SqlConfig(url="sqlite:///records.db")
        runtime = Runtime(store="main", base=Path(self.directory.name), now=lambda: 0)
        spec = nexus_sql.nexus_atom_store()
        assert spec.provision is not None
        spec.provision(config, runtime)
        backend = spec.factory(config, runtime)
        assert isinstance(backend, AtomBackend)
        self.store = backend
        self.model: dict[Scope, State] = {scope: {} for scope in SCOPES}

    @rule(scope=scopes, batch=st.lists(operations, min_size=1, max_size=8))
    def commit(self, scope: Scope, batch: list[Operation]) -> None:
        expected = play(self.model[scope], batch)
        got: object
        try:
            got = list(self.store.commit(scope, batch))
        except (AlreadyExistsError, PreconditionFailedError) as error:
            got = type(error)
        assert got == expected

    @rule(scope=scopes, collection=collections, wanted=st.lists(ids, max_size=6))
    def get(self, scope: Scope, collection: str, wanted: list[str]) -> None:
        got = self.store.get(scope, collection, wanted)
        assert list(got) == [self.model[scope].get((collection, id_)) for id_ in wanted]

    @rule(scope=scopes, mark=ids, limit=st.integers(1, 4))
    def query(self, scope: Scope, mark: str, limit: int) -> None:
        where = Eq("state", mark)
        matching = sorted(
            (
                r
                for (c, _), r in self.model[scope].items()
                if c == "intents" and r.fields["state"] == mark
            ),
            key=lambda record: record.id.encode(),
        )
        assert self.store.count(scope, "intents", where) == len(matching)
        page = self.store.query(scope, "intents", where, limit=limit)
        assert list(page.records) == matching[:limit]
        assert (page.next_after is None) == (len(matching) <= limit)

    @rule(scope=scopes, start=ids)
    def walk(self, scope: Scope, start: str) -> None:
        steps = self.store.walk(scope, [start], "down", max_depth=1, limit=100)
        expected = sorted(
            (
                r.id
                for (c, _), r in self.model[scope].items()
                if c == "edges" and r.fields["parent"] == start
            ),
            key=str.encode,
        )
        assert [step.edge.id for step in steps] == expected

    @precondition(lambda self: any(self.model.values()))
    @rule(scope=scopes)
    def erase(self, scope: Scope) -> None:
        assert self.store.erase(scope) == len(self.model[scope])
        self.model[scope].clear()

    @invariant()
    def every_scope_is_what_its_model_says(self) -> None:
        for scope, state in getattr(self, "model", {}).items():
            for collection in COLLECTIONS:
                own = [record for (name, _), record in state.items() if name == collection]
                page = self.store.query(scope, collection, None)
                assert list(page.records) == sorted(own, key=lambda record: record.id.encode())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()


Scopes.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, derandomize=True
)
TestScopes = Scopes.TestCase
