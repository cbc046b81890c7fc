"""The ground of atom stores: one record with its edge, beside others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from nexus_contracts._overlaps import Plain, Read, Write
from nexus_contracts._work import followed
from nexus_core import Scope
from nexus_core.spi import Eq, Insert, Record, Remove, Replace, Require

MANY: Final = 40
_EDGE: Final = "root>r"


def _record(name: str, version: int = 1, kind: str = "data") -> Record:
    from nexus_contracts._checks.atoms import record

    return record(name, version=version, body=f"{name} {version}".encode(), kind=kind)


def _edge(child: str, version: int = 1) -> Record:
    from nexus_contracts._checks.atoms import record

    return record(
        f"root>{child}", "edges", version=version, parent="root", child=child, relation="derived"
    )


def _commit(*operations: Any) -> Read:
    return lambda store, scope, _: store.commit(scope, operations)


def _asked(call: Callable[[Any, Scope], Any]) -> Read:
    return lambda store, scope, _: call(store, scope)


def _queried(store: Any, scope: Scope, collection: str) -> Any:
    pages = followed(lambda after: store.query(scope, collection, None, after=after), "records")
    return list(pages)


class AtomGround(Plain):
    """A record that is inserted, replaced and removed, with the edge that leads to it."""

    def __init__(self, capabilities: Any) -> None:
        new = (Insert(_record("r")), Insert(_edge("r")))
        second = (Replace(_record("r", 2, "research")), Replace(_edge("r", 2)))
        names = [f"many{number:02}" for number in range(min(MANY, capabilities.max_batch - 2))]
        many = [*new, *(Insert(_record(name)) for name in names)]
        kept = [Insert(each.record, "keep") for each in new]
        self.writes: Sequence[Write] = (
            Write("commit(two inserts), the first of its scope", "empty", "full", _commit(*new)),
            Write(
                "commit(a requirement and two replaces)", "full", "full", _commit(_held(1), *second)
            ),
            Write("commit(two removes of a version)", "full", "other", _commit(*_gone(1))),
            Write("erase()", "full", "empty", _asked(lambda store, scope: store.erase(scope))),
            Write("commit(two inserts that keep)", "other", "full", _commit(*kept)),
            Write(f"commit({len(many)} inserts)", "other", "", _commit(*many)),
            Write("commit(one insert)", "other", "full", _commit(new[0])),
            Write("commit(one insert of an edge)", "other", "full", _commit(new[1])),
            Write("commit(one remove of an edge)", "full", "full", _commit(Remove("edges", _EDGE))),
        )
        data = Eq("kind", "data")
        can = "eq" in capabilities.filter_ops
        reads: dict[str, Read] = {
            "walk down": _asked(
                lambda store, scope: store.walk(scope, ["root"], "down", max_depth=9, limit=99)
            ),
            "get": _asked(lambda store, scope: store.get(scope, "atoms", ["r", "other"])),
            "query": _asked(partial(_queried, collection="atoms")),
            "count": _asked(lambda store, scope: store.count(scope, "atoms", None)),
            "query of edges": _asked(partial(_queried, collection="edges")),
            "walk up": _asked(
                lambda store, scope: store.walk(scope, ["r"], "up", max_depth=9, limit=99)
            ),
        }
        if can:
            reads["query with a filter"] = _asked(
                lambda store, scope: store.query(scope, "atoms", data, after="a", limit=1)
            )
            reads["count with a filter"] = _asked(
                lambda store, scope: store.count(scope, "atoms", data)
            )
        self.reads: Mapping[str, Read] = reads

    def prepare(self, store: Any, scope: Scope, start: str, left: str) -> Any:
        """Nothing, another record, or both."""
        operations: list[Any] = []
        if start == "empty" or not left:
            store.erase(scope)
        elif left != "empty":
            operations += [Remove("atoms", "r"), Remove("edges", _EDGE)]
        if start != "empty":
            operations += [Insert(make("other"), "keep") for make in (_record, _edge)]
        if start == "full":
            operations += [Insert(make("r")) for make in (_record, _edge)]
        if operations:
            store.commit(scope, operations)


def _held(version: int) -> Require:
    return Require("atoms", "r", version=version)


def _gone(version: int) -> tuple[Remove, Remove]:
    return Remove("atoms", "r", version), Remove("edges", _EDGE, version)
