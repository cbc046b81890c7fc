"""Every call that a role has, on what is there: for checks where each has to say the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks import atoms, audit, raw, vectors
from nexus_core import Scope
from nexus_core.spi import (
    AtomCapabilities,
    AuditCapabilities,
    ByteRange,
    Eq,
    IndexState,
    Insert,
    RawCapabilities,
    Remove,
    Replace,
    Require,
    StoreRole,
    VectorCapabilities,
)


@attrs.frozen
class Call:
    """A call by name, and whether it writes."""

    name: str
    make: Callable[[], object]
    writes: bool = False


@attrs.frozen
class Known:
    """What a store said of what was planted, for later calls to name."""

    etag: str = ""
    version: str = ""
    ref: Any = None


def plant(bench: Bench, store: Any, scope: Scope) -> Known:
    """Store one thing of each kind, for ``calls`` to ask for."""
    role, can = bench.spec.role, bench.spec.capabilities
    if role is StoreRole.RAW:
        assert isinstance(can, RawCapabilities)
        raw.put(store, "k/a", b"first", scope)
        old = ""
        if can.versions:
            old = store.list_versions(scope, "k/a").items[0].version_id
            raw.put(store, "k/a", b"second", scope)
        return Known(store.head(scope, "k/a").etag, old)
    if role is StoreRole.ATOMS:
        node = atoms.record("a", body=b"body", kind="text")
        atoms.insert(store, node, atoms.edge("a", "b", "e"), scope=scope)
    elif role is StoreRole.AUDIT:
        audit.append(
            store, audit.entry(0, phase="intent", operation="o", tag=b"t" * 32), scope=scope
        )
    else:
        ref = store.create_index(scope, vectors.definition(bench))
        store.upsert(scope, ref, vectors.batch({"a": [1.0, 0, 0, 0]}, {"a": {"label": "x"}}))
        return Known(ref=ref)
    return Known()


def calls(bench: Bench, store: Any, scope: Scope, known: Known | None) -> list[Call]:
    """Every call of the role that is declared, reads first; without what is known, those only that
    name no ETag, version or index reference."""
    can = bench.spec.capabilities
    if isinstance(can, RawCapabilities):
        return [*_raw_reads(store, scope, can, known), *_raw_writes(store, scope, can, known)]
    if isinstance(can, AtomCapabilities):
        return _atoms(store, scope)
    if isinstance(can, VectorCapabilities):
        return _vectors(bench, store, scope, None if known is None else known.ref)
    assert isinstance(can, AuditCapabilities)
    return _audit(store, scope, can)


def _raw_reads(store: Any, scope: Scope, can: RawCapabilities, known: Known | None) -> list[Call]:
    found = [
        Call("head", lambda: store.head(scope, "k/a")),
        Call("head of an absent key", lambda: store.head(scope, "absent")),
        Call("open", lambda: raw.read(store, "k/a", scope)),
        Call("list", lambda: store.list(scope)),
        Call("list with a prefix", lambda: store.list(scope, prefix="k/", after="k/", limit=1)),
    ]
    if can.ranges:
        some = ByteRange(1, 2)
        found.append(Call("open of a range", lambda: raw.read(store, "k/a", scope, range=some)))
    if can.delimiter:
        found.append(Call("list with a delimiter", lambda: store.list(scope, delimiter="/")))
    if can.versions:
        found += [
            Call("list_versions", lambda: store.list_versions(scope)),
            Call("list_versions of a key", lambda: store.list_versions(scope, "k/a")),
        ]
    if can.versions and known is not None:
        version = known.version
        found += [
            Call("head_version", lambda: store.head_version(scope, "k/a", version)),
            Call("open_version", lambda: _read_version(store, scope, version)),
        ]
    return found


def _read_version(store: Any, scope: Scope, version: str) -> bytes:
    with store.open_version(scope, "k/a", version) as stream:
        return b"".join(stream.chunks)


def _raw_writes(store: Any, scope: Scope, can: RawCapabilities, known: Known | None) -> list[Call]:
    put = partial(raw.put, store, scope=scope)
    found = [Call("put", lambda: put("k/new", b"x"))]
    if can.conditional_create:
        found.append(Call("put if absent", lambda: put("k/n", b"x", if_absent=True)))
    if can.conditional_replace and known is not None:
        etag = known.etag
        found.append(Call("put if it matches", lambda: put("k/a", b"x", if_match=etag)))
        system = {"stamp": "11"}
        found.append(
            Call("set_system", lambda: store.set_system(scope, "k/a", system, if_match=etag))
        )
    if can.copy:
        given = raw.attributes()
        found.append(Call("copy", lambda: store.copy(scope, "k/a", "k/c", given)))
    if can.versions and known is not None:
        version = known.version
        found.append(Call("restore", lambda: store.restore(scope, "k/a", version)))
        found.append(Call("purge", lambda: store.purge(scope, "k/a", [version])))
        lock = partial(store.set_lock, scope, "k/a", version, legal_hold=True)
        if can.object_lock:
            found.append(Call("set_lock", lock))
    if can.conditional_delete and known is not None:
        etag = known.etag
        found.append(
            Call("delete if it matches", lambda: store.delete(scope, "k/a", if_match=etag))
        )
    found += [
        Call("delete", lambda: store.delete(scope, "k/a")),
        Call("delete of an absent key", lambda: store.delete(scope, "absent")),
        Call("delete_many", lambda: _none_of_many(store, scope)),
        Call("erase", lambda: store.erase(scope)),
    ]
    return [attrs.evolve(each, writes=True) for each in found]


def _none_of_many(store: Any, scope: Scope) -> object:
    """What ``delete_many`` says of two keys; raises where it says that neither could be."""
    failed = store.delete_many(scope, ["k/a", "absent"])
    if set(failed) == {"k/a", "absent"} and "store.not_found" not in failed.values():
        raise _Refused
    return failed


class _Refused(Exception):  # a way to say no, not an error
    """A call said no without an exception."""


REFUSED = _Refused


def _atoms(store: Any, scope: Scope) -> list[Call]:
    def commit(*operations: Any) -> Callable[[], object]:
        return lambda: store.commit(scope, list(operations))

    new = atoms.record("new")
    found = [
        Call("get", lambda: store.get(scope, "atoms", ["a", "absent"])),
        Call("get of another collection", lambda: store.get(scope, "definitions", ["d"])),
        Call("query", lambda: store.query(scope, "atoms", None)),
        Call("query with a filter", lambda: store.query(scope, "atoms", Eq("kind", "text"))),
        Call("query of another collection", lambda: store.query(scope, "assets", None, limit=1)),
        Call("count", lambda: store.count(scope, "atoms", None)),
        Call("walk", lambda: store.walk(scope, ["a"], "down", max_depth=3, limit=9)),
        Call("walk up", lambda: store.walk(scope, ["b"], "up", max_depth=3, limit=9)),
    ]
    writes = {
        "an Insert": commit(Insert(new)),
        "an Insert that keeps": commit(Insert(atoms.record("a"), if_exists="keep")),
        "a Replace": commit(Replace(atoms.record("a", version=2))),
        "a Require": commit(Require("atoms", "absent", present=False)),
        "a Remove": commit(Remove("atoms", "a")),
        "a Remove of an absent id": commit(Remove("atoms", "absent")),
    }
    found += [Call(f"commit of {what}", call, writes=True) for what, call in writes.items()]
    return [*found, Call("erase", lambda: store.erase(scope), writes=True)]


def _audit(store: Any, scope: Scope, can: AuditCapabilities) -> list[Call]:
    found = [
        Call("head", lambda: store.head(scope)),
        Call("read", lambda: store.read(scope, 0, 9)),
        Call("read past the end", lambda: store.read(scope, 99, 9)),
        Call("checkpoints", lambda: store.checkpoints(scope, 0, 9)),
        Call("unsettled", lambda: store.unsettled(scope, 9, 9)),
        Call(
            "append",
            lambda: audit.append(store, audit.entry(1), scope=scope, mark="b"),
            writes=True,
        ),
        Call(
            "append of a first entry",
            lambda: audit.append(store, audit.entry(0), scope=scope),
            writes=True,
        ),
    ]
    if can.erase_sealed:
        found.append(
            Call("erase_sealed", lambda: store.erase_sealed(scope, b"t" * 32), writes=True)
        )
    return [*found, Call("erase", lambda: store.erase(scope), writes=True)]


def _vectors(bench: Bench, store: Any, scope: Scope, ref: Any) -> list[Call]:
    new = vectors.definition(bench, name="other")
    found = [
        Call("get_index", lambda: store.get_index(scope, "main", 1)),
        Call("get_index of an absent one", lambda: store.get_index(scope, "absent", 1)),
        Call("list_indexes", lambda: store.list_indexes(scope)),
    ]
    if ref is not None:
        found += _rows(bench, store, scope, ref)
    found.append(Call("create_index", lambda: store.create_index(scope, new), writes=True))
    return [*found, Call("erase", lambda: store.erase(scope), writes=True)]


def _rows(bench: Bench, store: Any, scope: Scope, ref: Any) -> list[Call]:
    """Calls that need a reference."""
    asked = [1.0, 0.0, 0.0, 0.0]
    rows = vectors.batch({"a": asked, "b": asked})
    query = partial(vectors.hits, store, ref, asked, scope=scope)
    found = [
        Call("get", lambda: store.get(scope, ref, ["a", "absent"])),
        Call("query", query),
        Call("query with a filter", lambda: query(1, where=Eq("label", "x"))),
        Call("count", lambda: store.count(scope, ref, None)),
        Call("scan", lambda: store.scan(scope, ref)),
        Call("statistics", lambda: store.statistics(scope, ref)),
    ]
    writes: dict[str, Callable[[], object]] = {
        "upsert": lambda: store.upsert(scope, ref, rows),
        "delete": lambda: store.delete(scope, ref, ["a"]),
        "delete_where": lambda: store.delete_where(scope, ref, Eq("label", "x")),
        "create_index of one that was there": lambda: store.create_index(scope, ref.definition),
        "drop_index": lambda: store.drop_index(scope, ref),
    }
    states = bench.spec.capabilities.states  # type: ignore[union-attr]  # of vectors
    if IndexState.INACTIVE in states:
        writes["set_state"] = lambda: store.set_state(scope, ref, IndexState.INACTIVE)
    return found + [Call(name, make, writes=True) for name, make in writes.items()]
