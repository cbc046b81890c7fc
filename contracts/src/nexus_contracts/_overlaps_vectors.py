"""The ground of vector stores: one row of one index, beside another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nexus_contracts._overlaps import Read, Write
from nexus_contracts._work import followed
from nexus_core import Scope
from nexus_core.spi import (
    Eq,
    IndexDefinition,
    IndexRef,
    IndexState,
    NotFoundError,
    VectorBatch,
    Vectors,
)

_ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "empty": (),
    "bare": (),
    "other": ("other",),
    "full": ("other", "r"),
    "more": ("other", "r", "s"),
}


def _rows(page: int, *names: str) -> VectorBatch:
    rows = [[float(page), float(len(name)), 1.0, 2.0] for name in names]
    fields: dict[str, Any] = {"kind": "data", "page": page}
    stamps = tuple(f"{name} {page}".encode() for name in names)
    return VectorBatch(names, Vectors.from_rows(rows, 4), (fields,) * len(names), stamps)


def _of(call: Callable[[Any, Scope, IndexRef], Any]) -> Read:
    """A call about an index, where there is one."""

    def asked(store: Any, scope: Scope, known: IndexRef | None) -> Any:
        if known is None:
            raise NotFoundError("there is no index that the call could name")
        return call(store, scope, known)

    return asked


def _upsert(*names: str) -> Read:
    return _of(lambda store, scope, ref: store.upsert(scope, ref, _rows(7, *names)))


def _scanned(store: Any, scope: Scope, ref: IndexRef) -> Any:
    return list(followed(lambda after: store.scan(scope, ref, after=after), "rows"))


class VectorGround:
    """Rows that are written, replaced and deleted, and an index that comes and goes."""

    def __init__(self, capabilities: Any) -> None:
        can = capabilities
        metrics = sorted(can.metrics)
        metric: Any = "l2sq" if "l2sq" in metrics else metrics[0]
        self.shape = IndexDefinition(
            name="main",
            version=1,
            dimension=4,
            metric=metric,
            embedder="e@1",
            fields={"page": "int"},
        )
        self._query = Vectors.from_rows([[1.0, 2.0, 3.0, 4.0]], 4)
        filters = "eq" in can.filter_ops
        first, inactive = Eq("page", 1), IndexState.INACTIVE
        usable = (
            (True, Write("create_index()", "empty", "bare", self._create)),
            (True, Write("upsert(2 rows), the first", "bare", "full", _upsert("r", "other"))),
            (True, Write("upsert(1 row) over another", "full", "full", _upsert("r"))),
            (
                True,
                Write(
                    "delete()",
                    "full",
                    "other",
                    _of(lambda s, scope, ref: s.delete(scope, ref, ["r"])),
                ),
            ),
            (
                filters,
                Write(
                    "delete_where()",
                    "full",
                    "bare",
                    _of(lambda store, scope, ref: store.delete_where(scope, ref, first)),
                ),
            ),
            (
                True,
                Write(
                    "drop_index()",
                    "full",
                    "empty",
                    _of(lambda store, scope, ref: store.drop_index(scope, ref)),
                ),
            ),
            (True, Write("erase()", "full", "empty", lambda store, scope, _: store.erase(scope))),
            (True, Write("upsert(2 rows), one new", "other", "more", _upsert("r", "s"))),
            (
                inactive in can.states,
                Write(
                    "set_state(inactive)",
                    "full",
                    "",
                    _of(lambda store, scope, ref: store.set_state(scope, ref, inactive)),
                ),
            ),
        )
        self.writes: Sequence[Write] = [write for able, write in usable if able]
        reads: dict[str, Read] = {
            "query": _of(self._nearest),
            "get": _of(lambda store, scope, ref: store.get(scope, ref, ["r", "s", "other"])),
            "count": _of(lambda store, scope, ref: store.count(scope, ref, None)),
            "scan": _of(_scanned),
            "get_index": lambda store, scope, _: store.get_index(scope, "main", 1),
            "list_indexes": lambda store, scope, _: store.list_indexes(scope),
            "statistics": _of(lambda store, scope, ref: store.statistics(scope, ref).rows),
        }
        if filters:
            reads["query with a filter"] = _of(
                lambda store, scope, ref: self._nearest(store, scope, ref, where=first)
            )
            reads["count with a filter"] = _of(
                lambda store, scope, ref: store.count(scope, ref, first)
            )
        self.reads: Mapping[str, Read] = reads

    def _create(self, store: Any, scope: Scope, _known: Any) -> Any:
        return store.create_index(scope, self.shape)

    def _nearest(self, store: Any, scope: Scope, ref: IndexRef, **options: Any) -> Any:
        return store.query(
            scope, ref, self._query, 5, include_fields=True, include_vectors=True, **options
        )

    def prepare(self, store: Any, scope: Scope, start: str, left: str) -> Any:
        """Nothing, an index, or one with rows; gives its reference."""
        if start == "empty" or not left:
            store.erase(scope)
            left = "empty"
        if start == "empty":
            return None
        ref = store.create_index(scope, self.shape)
        names = _ROWS[start]
        gone = {*_ROWS[left]} - {*names}
        if gone:
            store.delete(scope, ref, sorted(gone))
        if names:
            store.upsert(scope, ref, _rows(1, *names))
        return ref

    def known(self, before: Any, made: Any) -> Any:
        """The reference to an index that was made."""
        return made if isinstance(made, IndexRef) else before
