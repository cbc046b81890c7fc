"""Calls that two scopes make of things of the same names, with other values and other questions.

Each role has its *ground*: a state that can be made again and again in a scope, calls of every
kind about it, and a look at all that is there. What a call asks and writes tells whose it is, and
what it takes away is something else in each scope, though all have it: two calls that change places
leave nothing as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from nexus_contracts._checks import audit, raw, vectors
from nexus_contracts._checks.atoms import edge, record
from nexus_core import NotFoundError, Scope
from nexus_core.spi import Body, Eq, Insert, Remove, Replace, StoreRole

SCOPES: Final = (Scope("t1", "dev"), Scope("t10", "dev"), Scope("t1", "prod"))

# What a call is given: the store, the scope, and what is known of its state.
Make = Callable[[Any, Scope, Any], Any]
# All scopes have them, and each has one that is its own affair.
_KEYS: Final = ("k", "key", "other", "third")


class Ground(Protocol):
    """What one role's calls cross about."""

    @property
    def reads(self) -> Mapping[str, Make]:
        """Calls that leave the state as it is."""

    @property
    def writes(self) -> Mapping[str, Make]:
        """Calls that do not."""

    def prepare(self, store: Any, scope: Scope) -> Any:
        """Bring the scope into its state, whatever any of the calls left; gives what is known."""

    def look(self, store: Any, scope: Scope) -> Any:
        """All that is there."""


def _mine(scope: Scope) -> int:
    """The scope's number, by which values differ."""
    return 1 + SCOPES.index(scope)


class RawGround:
    """Some objects, and one that is not there."""

    def __init__(self, bench: Any) -> None:
        can = bench.spec.capabilities
        once: dict[str, Any] = {"if_absent": True} if can.conditional_create else {}
        self.reads: Mapping[str, Make] = {
            "head": lambda store, scope, _: store.head(scope, "k"),
            "open": lambda store, scope, _: raw.read(store, "k", scope),
            "list": lambda store, scope, _: store.list(scope, prefix=f"{_KEYS[_mine(scope)]}"),
        }
        writes: dict[str, Make] = {
            "put": lambda store, scope, _: self._put(store, scope, "new", "new", **once),
            "put over another": lambda store, scope, _: self._put(
                store, scope, _KEYS[_mine(scope)], "again"
            ),
            "delete": lambda store, scope, _: store.delete(scope, _KEYS[_mine(scope)]),
            "delete_many": lambda store, scope, _: store.delete_many(
                scope, [_KEYS[_mine(scope)], _KEYS[_mine(scope) - 1], "never"]
            ),
            "erase": lambda store, scope, _: store.erase(scope),
        }
        if can.copy:
            writes["copy"] = lambda store, scope, _: store.copy(
                scope, "k", "new", raw.attributes(of=f"a copy in {scope}")
            )
        if can.conditional_replace:
            writes["set_system"] = lambda store, scope, etag: store.set_system(
                scope, "k", {"stamp": f"f{_mine(scope)}"}, if_match=etag
            )
        self.writes: Mapping[str, Make] = writes

    @staticmethod
    def _put(store: Any, scope: Scope, key: str, what: str, **options: Any) -> Any:
        data = f"{what} in {scope}".encode() * _mine(scope)
        return store.put(scope, key, Body(data), raw.attributes(of=f"{what} {scope}"), **options)

    def prepare(self, store: Any, scope: Scope) -> Any:
        """The objects, some of which only this scope has; gives the ETag of one."""
        store.delete(scope, "new")
        for key in (*_KEYS, *(f"own{_mine(scope)}/{n}" for n in range(1, _mine(scope)))):
            self._put(store, scope, key, "old")
        return self._put(store, scope, "k", "older").etag

    def look(self, store: Any, scope: Scope) -> Any:
        """Keys, bytes and metadata."""
        entries = store.list(scope).items
        return [
            (each.key, raw.read(store, each.key, scope), store.head(scope, each.key))
            for each in entries
        ]


class AtomGround:
    """Records of several kinds, of which each scope has other numbers, and a short chain."""

    def __init__(self, _bench: Any) -> None:
        self.reads: Mapping[str, Make] = {
            "get": lambda store, scope, _: store.get(scope, "atoms", ["a", f"b{_mine(scope)}"]),
            "query": lambda store, scope, _: store.query(scope, "atoms", None, limit=_mine(scope)),
            "query with a filter": lambda store, scope, _: store.query(
                scope, "atoms", self._where(scope)
            ),
            "count": lambda store, scope, _: store.count(scope, "atoms", self._where(scope)),
            "walk": lambda store, scope, _: store.walk(
                scope, [f"n{_mine(scope) - 1}"], "down", max_depth=9, limit=9
            ),
        }
        self.writes: Mapping[str, Make] = {
            "commit of inserts": lambda store, scope, _: store.commit(
                scope, [Insert(self._record(scope, name)) for name in ("new", "newer")]
            ),
            "commit of a replace": lambda store, scope, _: store.commit(
                scope, [Replace(self._record(scope, "a", 2))]
            ),
            "commit of removes": lambda store, scope, _: store.commit(
                scope, [Remove("atoms", f"b{_mine(scope)}"), Remove("edges", f"n0>n{_mine(scope)}")]
            ),
            "erase": lambda store, scope, _: store.erase(scope),
        }

    @staticmethod
    def _where(scope: Scope) -> Eq:
        return Eq("kind", f"k{_mine(scope)}")

    @staticmethod
    def _record(scope: Scope, name: str, version: int = 1, **fields: Any) -> Any:
        body = f"{name} of {scope}".encode()
        return record(name, version=version, body=body, stamp=body, **fields)

    def prepare(self, store: Any, scope: Scope) -> Any:
        """Records whose kinds every scope asks another of, and edges."""
        names = ("a", "new", "newer", *(f"b{n}" for n in range(7)))
        edges = [edge(f"n{n}", f"n{n + 1}") for n in range(3)]
        edges += [edge("n0", f"n{n}") for n in range(2, 4 + _mine(scope))]
        gone = [Remove("atoms", name) for name in names]
        store.commit(scope, [*gone, *(Remove("edges", each.id) for each in edges)])
        # Of the first kind one, of the second two, and so on; each scope begins elsewhere.
        kinds = (1, 2, 2, 3, 3, 3)
        own = [
            self._record(scope, f"b{(n + _mine(scope)) % 7}", kind=f"k{kind}")
            for n, kind in enumerate(kinds)
        ]
        made = [self._record(scope, "a"), *own, *edges]
        store.commit(scope, [Insert(each) for each in made])

    def look(self, store: Any, scope: Scope) -> Any:
        """Records and edges."""
        return [store.query(scope, name, None) for name in ("atoms", "edges")]


class VectorGround:
    """An index of a name that all have, of one dimension in two scopes and of another in the third:
    what is kept for a dimension meets its like."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        filters = "eq" in bench.spec.capabilities.filter_ops
        reads: dict[str, Make] = {
            "get": lambda store, scope, ref: store.get(scope, ref, ["a", f"b{_mine(scope)}"]),
            "query": self._nearest,
            "scan": lambda store, scope, ref: store.scan(scope, ref, limit=_mine(scope)),
            "count": lambda store, scope, ref: store.count(scope, ref, None),
            "list_indexes": lambda store, scope, _: store.list_indexes(scope),
        }
        writes: dict[str, Make] = {
            "upsert": lambda store, scope, ref: store.upsert(
                scope, ref, self._rows(scope, {"a": 9, "new": 8})
            ),
            "delete": lambda store, scope, ref: store.delete(
                scope, ref, [f"b{_mine(scope)}", "never"]
            ),
            "create_index": lambda store, scope, _: store.create_index(
                scope, self._shape(scope, "second")
            ),
            "drop_index": lambda store, scope, ref: store.drop_index(scope, ref),
            "erase": lambda store, scope, _: store.erase(scope),
        }
        if filters:
            reads["query with a filter"] = lambda store, scope, ref: self._nearest(
                store, scope, ref, where=Eq("page", _mine(scope))
            )
            reads["count with a filter"] = lambda store, scope, ref: store.count(
                scope, ref, Eq("page", _mine(scope))
            )
            writes["delete_where"] = lambda store, scope, ref: store.delete_where(
                scope, ref, Eq("page", _mine(scope))
            )
        self.reads: Mapping[str, Make] = reads
        self.writes: Mapping[str, Make] = writes

    def _shape(self, scope: Scope, name: str = "main") -> Any:
        return vectors.definition(self.bench, self._dimension(scope), name=name)

    @staticmethod
    def _dimension(scope: Scope) -> int:
        return 5 if scope == SCOPES[-1] else 3

    def _rows(self, scope: Scope, pages: Mapping[str, int]) -> Any:
        rest = [float(_mine(scope))] * (self._dimension(scope) - 2)
        rows = {
            name: [float(page), 1.0 + place, *rest]
            for place, (name, page) in enumerate(pages.items())
        }
        fields = {
            name: {"page": page, "label": f"{name} of {scope}"} for name, page in pages.items()
        }
        return vectors.batch(rows, fields)

    def _nearest(self, store: Any, scope: Scope, ref: Any, **options: Any) -> Any:
        asked = [float(_mine(scope))] * self._dimension(scope)
        options |= {"include_fields": True, "include_vectors": True}
        return vectors.hits(store, ref, asked, 2 + _mine(scope), scope=scope, **options)

    def prepare(self, store: Any, scope: Scope) -> Any:
        """Rows whose pages every scope asks another of; gives the reference to their index."""
        with suppress(NotFoundError):
            store.drop_index(scope, store.get_index(scope, "second", 1))
        ref = store.create_index(scope, self._shape(scope))
        store.delete(scope, ref, ["new"])
        pages = {f"b{n}": page for n, page in enumerate((1, 2, 2, 3, 3, 3))}
        own = {f"own{_mine(scope)}-{n}": 7 for n in range(1, _mine(scope))}
        store.upsert(scope, ref, self._rows(scope, {"a": 7, **pages, **own}))
        return ref

    def look(self, store: Any, scope: Scope) -> Any:
        """Indexes and rows."""
        refs = store.list_indexes(scope)
        return [(ref, store.scan(scope, ref)) for ref in refs]


class AuditGround:
    """Logs of which each scope's is of another length."""

    def __init__(self, bench: Any) -> None:
        self.reads: Mapping[str, Make] = {
            "head": lambda store, scope, _: store.head(scope),
            "read": lambda store, scope, _: store.read(scope, _mine(scope), 2),
            "checkpoints": lambda store, scope, _: store.checkpoints(scope, 0, 9),
            "unsettled": lambda store, scope, _: store.unsettled(scope, 2**50, 2 + _mine(scope)),
        }
        writes: dict[str, Make] = {
            "append": lambda store, scope, size: self._append(store, scope, size, 1),
            "append of several": lambda store, scope, size: self._append(store, scope, size, 4),
            "erase": lambda store, scope, _: store.erase(scope),
        }
        if bench.spec.capabilities.erase_sealed:
            writes["erase_sealed"] = lambda store, scope, _: store.erase_sealed(
                scope, self._tag(_mine(scope) % 2)
            )
        self.writes: Mapping[str, Make] = writes

    @staticmethod
    def _tag(number: int) -> bytes:
        return bytes([number]) * 32

    def _append(self, store: Any, scope: Scope, size: int, count: int) -> None:
        new = [
            audit.entry(
                place,
                operation=f"o{place} {scope.env}",
                phase="intent",
                tag=self._tag(place % 2),
                leaf=f"{place} of {scope}".encode(),
            )
            for place in range(size, size + count)
        ]
        audit.append(store, *new, scope=scope, mark=f"{scope}")

    def prepare(self, store: Any, scope: Scope) -> Any:
        """A log begun anew; gives its size."""
        store.erase(scope)
        self._append(store, scope, 0, 2)
        self._append(store, scope, 2, 2 * _mine(scope))
        return 2 + 2 * _mine(scope)

    def look(self, store: Any, scope: Scope) -> Any:
        """The log."""
        return store.head(scope), store.read(scope, 0, 99), store.checkpoints(scope, 0, 99)


GROUNDS: Final[Mapping[StoreRole, Callable[[Any], Ground]]] = {
    StoreRole.RAW: RawGround,
    StoreRole.ATOMS: AtomGround,
    StoreRole.VECTORS: VectorGround,
    StoreRole.AUDIT: AuditGround,
}
