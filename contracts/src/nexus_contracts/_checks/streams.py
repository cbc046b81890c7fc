"""The check of what goes to the process's streams, and of what an error repeats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._checks import atoms, audit, raw, vectors
from nexus_contracts._checks.canaries import Canary, canaries, ways
from nexus_contracts._redact import secrets_of
from nexus_contracts._registry import check
from nexus_contracts._streams import overheard
from nexus_core import NexusError
from nexus_core.spi import (
    AtomCapabilities,
    Body,
    Insert,
    RawCapabilities,
    Remove,
    Replace,
    Require,
    StoreError,
    StoreRole,
    VectorCapabilities,
)

# A shorter name is in any text by accident.
_LONG: Final = 6
# What the error tree says that ids are in.
_IDS: Final = frozenset(("ids", "failed"))

Vain = Mapping[str, Callable[[], object]]


def keeps_quiet(bench: Bench) -> None:
    """Provision, open, plant, ask, fail, erase and close, with an ear at both streams."""
    namespace = bench.namespace()
    plant, ask = ways(bench)
    planted = canaries(bench, bench.cast(3, "dev_prod"))
    errors: list[tuple[str, Canary, StoreError]] = []

    def attempt(own: Canary, name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except StoreError as error:
            errors.append((name, own, error))
        except NexusError:
            return

    with _without_logs(), overheard() as heard:
        bench.harness.provision(namespace, bench.clock)
        store = bench.open(namespace)
        list(store.check())
        for own in planted:
            plant(store, own)
        for own in planted:
            for name, call in ask(store, own, own.name):
                attempt(own, name, call)
            for name, call in vain(bench, store, own).items():
                attempt(own, name, call)
        store.erase(planted[0].scope)
        bench.release(store)
        attempt(planted[1], "erase", lambda: store.erase(planted[1].scope))
    kinds = {"a secret or place of the settings": secrets_of(bench.harness, namespace)}
    kinds["a key or id"] = [own.name for own in planted]
    kinds["stored content"] = [text for own in planted for text in (own.value, own.meta)]
    kinds["a tenant"] = [own.scope.tenant_id for own in planted]
    for stream, said in heard.said.items():
        for kind, texts in kinds.items():
            bench.expect(
                not _among(texts, said.decode("utf-8", "replace")),
                f"{kind} was written to {stream}: a store prints nothing",
            )
    for name, own, error in errors:
        _repeats_nothing(bench, name, own, error)


@contextmanager
def _without_logs() -> Iterator[None]:
    """Nothing that is logged gets to a stream: where logs go is the deployment's affair."""
    root = logging.getLogger()
    usual = root.handlers[:]
    root.handlers[:] = [logging.NullHandler()]
    try:
        yield
    finally:
        root.handlers[:] = usual


def _among(texts: Sequence[str], said: str) -> list[str]:
    return [each for each in texts if len(each) >= _LONG and each in said]


def _repeats_nothing(bench: Bench, name: str, own: Canary, error: StoreError) -> None:
    carried = {key: value for key, value in vars(error).items() if key not in _IDS}
    seen = f"{error} {error!r} {error.args!r} {carried!r} {error.__cause__!r}"
    kinds = {"the key or id": [own.name], "content": [own.value, own.meta]}
    kinds["the tenant"] = [own.scope.tenant_id]
    for kind, texts in kinds.items():
        bench.expect(
            not _among(texts, seen),
            f"the {type(error).__name__} of {name} repeats {kind} that it was given: errors end up "
            "in logs",
        )


# -- calls that fail ------------------------------------------------------------------------------


def vain(bench: Bench, store: Any, own: Canary) -> Vain:
    """Calls that are refused, each with the scope's own canaries in its arguments."""
    can = bench.spec.capabilities
    if isinstance(can, RawCapabilities):
        return _raw_vain(store, own, can)
    if isinstance(can, AtomCapabilities):
        return _atoms_vain(store, own)
    if isinstance(can, VectorCapabilities):
        return _vectors_vain(bench, store, own)
    return _audit_vain(store, own)


def _raw_vain(store: Any, own: Canary, can: RawCapabilities) -> Vain:
    scope, absent = own.scope, f"absent/{own.name}"
    given = raw.attributes(m=own.meta)

    def put(key: str, **options: Any) -> Callable[[], object]:
        return lambda: store.put(scope, key, Body(own.value.encode()), given, **options)

    found: dict[str, Callable[[], object]] = {
        "head": lambda: store.head(scope, absent),
        "open": lambda: raw.read(store, absent, scope),
        "delete": lambda: store.delete(scope, absent),
    }
    if can.conditional_create:
        found["put if absent"] = put(own.name, if_absent=True)
    if can.conditional_replace:
        found["put if it matches"] = put(own.name, if_match="stale")
        found["put of an absent key if it matches"] = put(absent, if_match="stale")
    if can.conditional_delete:
        found["delete if it matches"] = lambda: store.delete(scope, own.name, if_match="stale")
    if can.copy:
        found["copy"] = lambda: store.copy(scope, absent, own.name, given)
    return found


def _atoms_vain(store: Any, own: Canary) -> Vain:
    def commit(*operations: Any) -> Callable[[], object]:
        return lambda: store.commit(own.scope, list(operations))

    new = atoms.record(own.name, version=9, kind=own.meta, body=own.value.encode())
    absent = f"absent-{own.name}"
    return {
        "an Insert": commit(Insert(new)),
        "a Replace": commit(Replace(new)),
        "a Remove": commit(Remove("atoms", own.name, 7)),
        "a Remove of an absent id": commit(Remove("atoms", absent, 7)),
        "a Require": commit(Require("atoms", absent)),
        "a Require of an absence": commit(Require("atoms", own.name, present=False)),
        "a Require of a version": commit(Require("atoms", own.name, version=7)),
    }


def _vectors_vain(bench: Bench, store: Any, own: Canary) -> Vain:
    scope = own.scope
    shape = vectors.definition(bench, name=own.name)
    asked = [1.0, 0.0, 0.0, 0.0]
    stale = store.create_index(scope, shape)
    store.drop_index(scope, stale)
    rows = vectors.batch({own.name: asked}, {own.name: {"label": own.value, "tags": (own.meta,)}})
    found: dict[str, Callable[[], object]] = {
        "get_index": lambda: store.get_index(scope, own.name, 1),
        "upsert of an index that is gone": lambda: store.upsert(scope, stale, rows),
        "get of an index that is gone": lambda: store.get(scope, stale, [own.name]),
        "query of an index that is gone": lambda: vectors.hits(store, stale, asked, scope=scope),
        "upsert of an index made again": lambda: _made_again(store, own, shape, stale, rows),
        "create_index": lambda: store.create_index(
            scope, vectors.definition(bench, 5, name=own.name)
        ),
    }
    return found


def _made_again(store: Any, own: Canary, shape: Any, stale: Any, rows: Any) -> object:
    store.create_index(own.scope, shape)
    return store.upsert(own.scope, stale, rows)


def _audit_vain(store: Any, own: Canary) -> Vain:
    def entry(index: int) -> Any:
        return audit.entry(index, operation=own.name, leaf=own.value.encode())

    late = audit.head(8, own.meta)
    return {
        "append past the end": lambda: store.append(own.scope, 7, [entry(7)], late),
        "append before the end": lambda: store.append(
            own.scope, 0, [entry(0)], audit.head(1, own.meta)
        ),
    }


for _role in StoreRole:
    check(PLACED[_role].streams)(keeps_quiet)
