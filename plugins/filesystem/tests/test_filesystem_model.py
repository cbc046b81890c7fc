"""Random histories of several scopes against a model that is a dictionary."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from nexus_filesystem import FilesystemConfig, nexus_raw_store

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    NotFoundError,
    ObjectAttributes,
    ObjectInfo,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    RawBackend,
    Runtime,
    Scope,
    StoreError,
)

SCOPES = [Scope(tenant, env) for tenant in ("t1", "t10", "t-1", "t1_") for env in ("dev", "prod")]
KEYS = [
    *("n", "n/m", "n/m/o", "N", "N/m", "n!", "n0", "n.", ".n", "n_m", "n-m", "nm", "é", "É", "con"),
    *("t1", "t10/n", "v1/prod/t1/n", "~o", "n~o", "~tmp/x", "%2e%2e/k", "a b", "x" * 197 + "."),
    *("x" * 197 + "é", "x" * 198, "x" * 199, "x" * 300 + "/y", "n/" + "y" * 250, "*", "n/%"),
]
PREFIXES = ["", "n", "n/", "n/m", "N", "x", "x" * 197, "x" * 198, "x" * 200, "é", "t1", "~", "z"]

scopes = st.sampled_from(SCOPES)
# A few keys often, so that writes meet; all of them now and then.
keys = st.sampled_from(["n", "n/m", "N", "x" * 300 + "/y"]) | st.sampled_from(KEYS)
bodies = st.sampled_from([b"", b"a", b"bc", b"x" * 5000])
# Mostly an ETag that exists somewhere: of this key, of another, of another scope, of the past.
choices = st.integers(0, 10**6)


@attrs.frozen
class Held:
    """What the model knows of one object."""

    data: bytes
    info: ObjectInfo


class Histories(RuleBasedStateMachine):
    """Every answer of the store is the one that a dictionary for each scope gives."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model: dict[Scope, dict[str, Held]] = {scope: {} for scope in SCOPES}
        self.etags: list[str] = ["never"]
        self.time = 0
        self.changed: Scope = SCOPES[0]

    @initialize()
    def provision(self) -> None:
        def now() -> int:
            self.time += 1
            return self.time

        spec = nexus_raw_store()
        runtime = Runtime(store="raw", base=Path(self.folder.name), now=now)
        config = FilesystemConfig(root="raw")
        assert spec.provision is not None
        spec.provision(config, runtime)
        store = spec.factory(config, runtime)
        assert isinstance(store, RawBackend)
        self.store = store

    def teardown(self) -> None:
        self.folder.cleanup()

    def etag(self, scope: Scope, key: str, choice: int) -> str:
        """The current ETag in half of the cases, any other there ever was in the rest."""
        held = self.model[scope].get(key)
        if held is not None and choice % 2:
            return held.info.etag
        return self.etags[choice % len(self.etags)]

    def stored(self, scope: Scope, key: str, data: bytes, info: ObjectInfo, kind: str) -> None:
        assert info.key == key
        assert info.size == len(data)
        assert info.sha256 == hashlib.sha256(data).hexdigest()
        assert info.etag not in self.etags
        assert info.modified_at == self.time
        assert info.attributes == attributes(kind)
        self.etags.append(info.etag)
        self.model[scope][key] = Held(data, info)

    @rule(scope=scopes, key=keys, data=bodies, kind=st.sampled_from("abc"))
    def put(self, scope: Scope, key: str, data: bytes, kind: str) -> None:
        info = self.store.put(scope, key, Body(data), attributes(kind))
        self.stored(scope, key, data, info, kind)
        self.changed = scope

    @rule(scope=scopes, key=keys, data=bodies)
    def create(self, scope: Scope, key: str, data: bytes) -> None:
        taken = key in self.model[scope]
        try:
            info = self.store.put(scope, key, Body(data), attributes("c"), if_absent=True)
        except AlreadyExistsError:
            assert taken
        else:
            assert not taken
            self.stored(scope, key, data, info, "c")
        self.changed = scope

    @rule(scope=scopes, key=keys, data=bodies, choice=choices)
    def replace(self, scope: Scope, key: str, data: bytes, choice: int) -> None:
        etag = self.etag(scope, key, choice)
        held = self.model[scope].get(key)
        matches = held is not None and held.info.etag == etag
        try:
            info = self.store.put(scope, key, Body(data), attributes("r"), if_match=etag)
        except PreconditionFailedError:
            assert not matches
        else:
            assert matches
            self.stored(scope, key, data, info, "r")
        self.changed = scope

    @rule(scope=scopes, key=keys)
    def put_fails(self, scope: Scope, key: str) -> None:
        def body() -> Iterator[bytes]:
            yield b"part"
            raise LookupError

        try:
            self.store.put(scope, key, Body(body()), attributes("f"))
        except LookupError:
            pass
        else:
            raise AssertionError("a body that raised was stored")
        self.changed = scope

    @rule(scope=scopes, key=keys)
    def delete(self, scope: Scope, key: str) -> None:
        self.store.delete(scope, key)
        self.model[scope].pop(key, None)
        self.changed = scope

    @rule(scope=scopes, key=keys, choice=choices)
    def delete_if(self, scope: Scope, key: str, choice: int) -> None:
        etag = self.etag(scope, key, choice)
        held = self.model[scope].get(key)
        matches = held is not None and held.info.etag == etag
        try:
            self.store.delete(scope, key, if_match=etag)
        except PreconditionFailedError:
            assert not matches
        else:
            assert matches
            del self.model[scope][key]
        self.changed = scope

    @rule(scope=scopes, gone=st.lists(keys, max_size=6))
    def delete_many(self, scope: Scope, gone: list[str]) -> None:
        assert self.store.delete_many(scope, gone) == {}
        for key in gone:
            self.model[scope].pop(key, None)
        self.changed = scope

    @rule(scope=scopes, source=keys, goal=keys, create=st.booleans())
    def copy(self, scope: Scope, source: str, goal: str, create: bool) -> None:
        held = self.model[scope].get(source)
        taken = create and goal in self.model[scope]
        try:
            info = self.store.copy(scope, source, goal, attributes("p"), if_absent=create)
        except NotFoundError:
            assert held is None
        except AlreadyExistsError:
            assert held is not None
            assert taken
        else:
            assert held is not None
            assert not taken
            self.stored(scope, goal, held.data, info, "p")
        self.changed = scope

    @rule(scope=scopes)
    def erase(self, scope: Scope) -> None:
        assert self.store.erase(scope) == len(self.model[scope])
        self.model[scope].clear()
        self.changed = scope

    @rule(scope=scopes, key=keys, start=st.integers(-4, 6), stop=st.none() | st.integers(0, 6))
    def read_range(self, scope: Scope, key: str, start: int, stop: int | None) -> None:
        held = self.model[scope].get(key)
        expected: bytes | None = None
        if held is not None and (start >= 0 or stop is None):
            expected = held.data[start:stop] or None
        try:
            with self.store.open(scope, key, range=ByteRange(start, stop)) as stream:
                assert b"".join(stream.chunks) == expected
        except NotFoundError:
            assert held is None
        except RangeNotSatisfiableError:
            assert held is not None
            assert expected is None

    @rule(
        scope=scopes,
        prefix=st.sampled_from(PREFIXES),
        after=st.none() | keys,
        delimiter=st.sampled_from([None, "/"]),
        limit=st.integers(1, 5) | st.just(1000),
    )
    def list_some(self, scope: Scope, **how: Any) -> None:
        expected = listing(self.model[scope], how["prefix"], how["after"], how["delimiter"])
        limit, after = how["limit"], how["after"]
        found: list[str] = []
        while True:
            page = self.store.list(
                scope, prefix=how["prefix"], delimiter=how["delimiter"], after=after, limit=limit
            )
            names = sorted([*(item.key for item in page.items), *page.prefixes], key=str.encode)
            assert len(names) <= limit
            found += names
            for item in page.items:
                info = self.model[scope][item.key].info
                assert (item.size, item.etag) == (info.size, info.etag)
                assert item.modified_at == info.modified_at
            if page.next_after is None:
                break
            after = page.next_after
        assert found == expected

    @invariant()
    def agrees(self) -> None:
        """The scope that was used last, and one other in turn, are as the model says."""
        if not hasattr(self, "store"):
            return
        for scope in {self.changed, SCOPES[self.time % len(SCOPES)]}:
            model = self.model[scope]
            listed = [item.key for item in self.store.list(scope).items]
            assert listed == sorted(model, key=str.encode)
            for key in (*model, *KEYS[self.time % 7 :: 7]):
                held = model.get(key)
                try:
                    with self.store.open(scope, key) as stream:
                        got = Held(b"".join(stream.chunks), stream.info)
                    assert got == held
                    assert self.store.head(scope, key) == got.info
                except StoreError as error:
                    assert isinstance(error, NotFoundError)  # noqa: PT017
                    assert held is None


def attributes(kind: str) -> ObjectAttributes:
    return ObjectAttributes(
        content_type=f"text/{kind}", metadata={"kind": kind}, system={"stamp": kind}
    )


def listing(held: Any, prefix: str, after: str | None, delimiter: str | None) -> list[str]:
    """What a listing must give, by sorting all the keys."""
    found = set()
    for key in held:
        if key.startswith(prefix) and key.encode() > (after or "").encode():
            head, slash, _ = key[len(prefix) :].partition("/")
            found.add(prefix + head + slash if delimiter and slash else key)
    return sorted(found, key=str.encode)


def test_histories(unsynced: None) -> None:
    """Whatever the scopes do in turn, each sees its own history and nothing else."""
    run_state_machine_as_test(Histories, settings=settings(max_examples=30, stateful_step_count=30))
