"""Backends that look at a part of a name, take values of one type for another's, lose the scope
where all rows go or none are left, or tell names to the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.shared import IDS
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    Body,
    Eq,
    Filter,
    IndexRef,
    LogEntry,
    ObjectAttributes,
    ObjectInfo,
    ObjectStream,
    Operation,
    Prefix,
    Record,
    Remove,
    Scope,
    Step,
    StoredHit,
    StoreRole,
    VectorBatch,
)

# -- a part of a name -----------------------------------------------------------------------------


class ByTheEnd(dict[Any, Any]):
    """Things by the ends of their keys."""

    def _own(self, place: tuple[Scope, str]) -> tuple[Scope, str]:
        scope, key = place
        return next((p for p in self if p[0] == scope and p[1][-200:] == key[-200:]), place)

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(self._own(place), value)

    def get(self, place: Any, default: Any = None) -> Any:
        return super().get(self._own(place), default)

    def pop(self, place: Any, default: Any = None) -> Any:
        return super().pop(self._own(place), default)


class KeysByTheirEnd(MemoryRaw):
    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.objects = ByTheEnd()


class MetadataNamesCut(MemoryRaw):
    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **how: Any
    ) -> ObjectInfo:
        cut = {name[:40]: value for name, value in attributes.metadata.items()}
        return super().put(scope, key, body, attrs.evolve(attributes, metadata=cut), **how)


class IdsByTheirEnd(MemoryAtoms):
    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        held = {record.id[1:]: record for record in self._mine(scope, collection)}
        return [held.get(wanted[1:]) for wanted in ids]


class RemovesByBeginning(MemoryAtoms):
    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed = super().commit(scope, operations)
        gone = {each.id[:64] for each in operations if isinstance(each, Remove)}
        for place in [p for p in self.records if p[0] == scope and p[2][:64] in gone]:
            if len(place[2]) > 64:
                del self.records[place]
        return changed


class NodesByBeginning(MemoryAtoms):
    def walk(
        self, scope: Scope, start: Sequence[str], direction: Any, *, max_depth: int, limit: int
    ) -> Sequence[Step]:
        nodes = {
            str(each.fields[end])
            for each in self._mine(scope, "edges")
            for end in ("parent", "child")
        }
        cut = {name[:100] for name in start}
        begun = sorted({*start, *(name for name in nodes if name[:100] in cut)})
        return super().walk(scope, begun, direction, max_depth=max_depth, limit=limit)


def _cut(where: Filter | None) -> Filter | None:
    """A comparison that sees no more of a text than a column would hold."""
    if isinstance(where, Eq) and isinstance(where.value, str) and len(where.value) > 40:
        return Prefix(where.field, where.value[:40])
    return where


class TextsCut(MemoryAtoms):
    def query(self, scope: Scope, collection: str, where: Filter | None, **how: Any) -> Any:
        return super().query(scope, collection, _cut(where), **how)


class RowsByBeginning(MemoryVectors):
    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        cut = {each[:64] for each in ids if len(each) > 64}
        rows = self._index(scope, ref).rows
        return super().delete(scope, ref, [*ids, *(r for r in rows if r[:64] in cut)])


class FieldNamesCut(MemoryVectors):
    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        cut = tuple({name[:60]: v for name, v in each.items()} for each in batch.fields)
        super().upsert(scope, ref, attrs.evolve(batch, fields=cut))


class IndexNamesByTheirEnd(MemoryVectors):
    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        for owner, each, number in self.indexes:
            if (owner, each[1:], number) == (scope, name[1:], version) and len(name) > 40:
                return super().get_index(scope, each, version)
        return super().get_index(scope, name, version)


class SettledByPart(MemoryAudit):
    part = slice(0, 16)

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        log = self.logs.get(scope)
        entries = [] if log is None else log.entries
        settled = {each.operation[self.part] for each in entries if each.phase == "outcome"}
        found = super().unsettled(scope, before, 1 << 30)
        return [each for each in found if each.operation[self.part] not in settled][:limit]


class SettledByEnd(SettledByPart):
    part = slice(1, None)


# -- values of other types ------------------------------------------------------------------------


class AtomFiltersOnce(MemoryAtoms):
    """Keeps every filter that was asked, by what equals it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[Filter | None, Filter | None] = {}

    def query(self, scope: Scope, collection: str, where: Filter | None, **how: Any) -> Any:
        return super().query(scope, collection, self.asked.setdefault(where, where), **how)


class FiltersOnce(MemoryVectors):
    """The same of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[object, Filter | None] = {}

    def key(self, where: Filter | None) -> object:
        return where

    def query(self, *args: Any, where: Filter | None = None, **how: Any) -> Any:
        return super().query(*args, where=self.asked.setdefault(self.key(where), where), **how)


class FiltersByText(FiltersOnce):
    def key(self, where: Filter | None) -> object:
        return f"{where}".replace("'", "")


# -- all rows, and none ---------------------------------------------------------------------------


class AllRowsOfAName(MemoryVectors):
    """Where all rows match, empties the index of that name; in every environment."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        rows = self._index(scope, ref).rows
        gone = super().delete_where(scope, ref, where)
        if gone and not rows:
            wanted = (scope.tenant_id, ref.definition.name, ref.definition.version)
            for (owner, *named), index in self.indexes.items():
                if (owner.tenant_id, *named) == wanted:
                    index.rows.clear()
        return gone


class NoRowsAreAll(MemoryVectors):
    """Where no row matches, the list of ids is empty, and stands for all."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        gone = super().delete_where(scope, ref, where)
        if not gone:
            self._index(scope, ref).rows.clear()
        return gone


class EmptyIndexesOfAName(MemoryVectors):
    """Drops an empty index by its name; in every environment."""

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        place = (scope, ref.definition.name, ref.definition.version)
        empty = place in self.indexes and not self.indexes[place].rows
        super().drop_index(scope, ref)
        for other in list(self.indexes) if empty else ():
            if (other[0].tenant_id, *other[1:]) == (scope.tenant_id, *place[1:]):
                del self.indexes[other]


class EmptiedIsGone(MemoryVectors):
    """Forgets an index with its last row."""

    def delete_where(self, scope: Scope, ref: IndexRef, where: Filter) -> int:
        gone = super().delete_where(scope, ref, where)
        if gone and not self._index(scope, ref).rows:
            self.drop_index(scope, ref)
        return gone


# Seconds, after which a call is written down.
SLOW: Final = 0.2


# -- what goes to the log -------------------------------------------------------------------------


class LogsKeys(MemoryRaw):
    """To a logger that passes nothing on."""

    @contextmanager
    def open(self, scope: Scope, key: str, **how: Any) -> Iterator[ObjectStream]:
        own = logging.getLogger("raw.store")
        own.propagate = False
        own.debug("reading %s", key)
        with super().open(scope, key, **how) as stream:
            yield stream


class LogsSlowPuts(MemoryRaw):
    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **how: Any
    ) -> ObjectInfo:
        began = time.monotonic()
        made = super().put(scope, key, body, attributes, **how)
        if time.monotonic() - began > SLOW:
            logging.getLogger("store").warning("slow put of %s", key)
        return made


class LogsSlowCommits(MemoryAtoms):
    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        began = time.monotonic()
        changed = super().commit(scope, operations)
        if time.monotonic() - began > SLOW:
            logging.getLogger("store").warning("slow commit: %.200r", operations)
        return changed


class LogsIds(MemoryAtoms):
    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        logging.getLogger("store").debug("get %d of %s: %.90r", len(ids), collection, ids)
        return super().get(scope, collection, ids)


class LogsFields(MemoryVectors):
    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        if where is not None:
            logging.getLogger("store").debug("filter on %s", getattr(where, "field", None))
        return super().count(scope, ref, where)


class LogsHits(MemoryVectors):
    def query(self, *args: Any, **how: Any) -> Sequence[Sequence[StoredHit]]:
        found = super().query(*args, **how)
        first = [hit.id for hit in found[0]]
        logging.getLogger("store").debug("query where %r: %s", how.get("where"), first)
        return found


class LogsOperations(MemoryAudit):
    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: Any
    ) -> None:
        logging.getLogger("store").debug("append %s", [each.operation for each in entries])
        super().append(scope, expected_size, entries, head)


# -- all of them ----------------------------------------------------------------------------------

_ONE: Final = "are one"
_TOLD: Final = "a key, an id or a name that a caller gave is found in the log"

_ROWS: Final[Sequence[tuple[str, str, str, str, type]]] = (
    ("raw-keys-by-their-end", "Finds objects by the ends of their keys.", "RAW-091", _ONE,
     KeysByTheirEnd),
    ("raw-metadata-names-cut", "Cuts names of metadata.", "RAW-091", "names of metadata",
     MetadataNamesCut),
    ("raw-logs-keys", "Tells a logger of its own which keys are read.", IDS[StoreRole.RAW].canaries,
     _TOLD, LogsKeys),
    ("raw-logs-slow-puts", "Logs keys of puts that take long.", IDS[StoreRole.RAW].canaries,
     _TOLD, LogsSlowPuts),
    ("atoms-logs-slow-commits", "Logs commits that take long.", IDS[StoreRole.ATOMS].canaries,
     "in the log", LogsSlowCommits),
    ("atoms-ids-by-their-end", "Finds records by all but the first character.", "ATOM-091", _ONE,
     IdsByTheirEnd),
    ("atoms-removes-by-beginning", "Removes what begins with the same 64 characters.", "ATOM-091",
     _ONE, RemovesByBeginning),
    ("atoms-nodes-by-beginning", "Walks from all nodes that begin alike.", "ATOM-091",
     "nodes of edges", NodesByBeginning),
    ("atoms-texts-cut", "Compares the first 40 characters of a text.", "ATOM-091", "values of",
     TextsCut),
    ("atoms-filters-once", "Keeps filters by what equals them.", "ATOM-092", "of other types",
     AtomFiltersOnce),
    ("atoms-logs-ids", "Logs the ids that are asked for.", IDS[StoreRole.ATOMS].canaries, _TOLD,
     LogsIds),
    ("vectors-rows-by-beginning", "Deletes rows that begin alike.", "VEC-091", _ONE,
     RowsByBeginning),
    ("vectors-field-names-cut", "Cuts names of fields.", "VEC-091", "names of fields",
     FieldNamesCut),
    ("vectors-index-names-by-end", "Finds indexes by all but the first character.", "VEC-091",
     "names of indexes", IndexNamesByTheirEnd),
    ("vectors-filters-once", "Keeps filters by what equals them.", "VEC-092", "another type",
     FiltersOnce),
    ("vectors-filters-by-text", "Keeps filters by their text, without quotes.", "VEC-092",
     "of another type", FiltersByText),
    ("vectors-all-rows-of-a-name", "Empties every environment's index where all rows go.",
     "VEC-093", "of all rows", AllRowsOfAName),
    ("vectors-no-rows-are-all", "Deletes everything where no row matches.", "VEC-093",
     "delete_where of", NoRowsAreAll),
    ("vectors-empty-of-a-name", "Drops an empty index in every environment.", "VEC-093",
     "dropping an index", EmptyIndexesOfAName),
    ("vectors-emptied-is-gone", "Forgets an index with its last row.", "VEC-093", "",
     EmptiedIsGone),
    ("vectors-logs-fields", "Logs the names of fields in filters.",
     IDS[StoreRole.VECTORS].canaries, _TOLD, LogsFields),
    ("vectors-logs-hits", "Logs filters and the first ids found.", IDS[StoreRole.VECTORS].canaries,
     "in the log", LogsHits),
    ("audit-settled-by-beginning", "Tells operations apart by 16 characters.", "AUD-091", _ONE,
     SettledByPart),
    ("audit-settled-by-end", "Tells operations apart by all but the first character.", "AUD-091",
     _ONE, SettledByEnd),
    ("audit-logs-operations", "Logs operations.", IDS[StoreRole.AUDIT].canaries, _TOLD,
     LogsOperations),
)  # fmt: skip


MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    mutant_of(name, kind, killed_by, says, what) for name, what, killed_by, says, kind in _ROWS
)
