"""Backends that make the next page ready with the one before, and keep what was there then; and
such as take a shorter way with what is large, many or on its way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    Body,
    Filter,
    IndexRef,
    Insert,
    LogEntry,
    ObjectAttributes,
    ObjectInfo,
    ObjectPage,
    ObjectStream,
    Operation,
    Record,
    RecordPage,
    Scope,
    VectorPage,
)


class Ready(dict[Any, Any]):
    """Pages that were made with the ones before them, by what they will be asked for with."""

    def turn(self, asked: tuple[Any, ...], after: Any, make: Any) -> Any:
        """The page after a place, as it was when the one before it was given."""
        page = self.pop((*asked, after), None)
        if page is None:
            page = make(after)
        if page.next_after is not None:
            self[*asked, page.next_after] = make(page.next_after)
        return page


class ListsAhead(MemoryRaw):
    """Makes the next page of a listing with the one before."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.ready = Ready()

    def list(self, scope: Scope, *, after: str | None = None, **how: Any) -> ObjectPage:
        honest = super().list
        asked = (scope, *sorted(how.items()))
        page: ObjectPage = self.ready.turn(
            asked, after, lambda place: honest(scope, after=place, **how)
        )
        return page


class ListsAheadUntilWritten(ListsAhead):
    """Thinks of writes and deletions, and not of the end of the scope."""

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **how: Any
    ) -> ObjectInfo:
        self.ready.clear()
        return super().put(scope, key, body, attributes, **how)

    def delete(self, scope: Scope, key: str, **how: Any) -> None:
        self.ready.clear()
        super().delete(scope, key, **how)


class QueriesAhead(MemoryAtoms):
    """Makes the next page of a query with the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = Ready()

    def query(
        self,
        scope: Scope,
        collection: str,
        where: Filter | None,
        *,
        after: str | None = None,
        limit: int = 1000,
    ) -> RecordPage:
        honest = super().query
        page: RecordPage = self.ready.turn(
            (scope, collection, repr(where), limit),
            after,
            lambda place: honest(scope, collection, where, after=place, limit=limit),
        )
        return page


class ScansAhead(MemoryVectors):
    """Makes the next page of a scan with the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = Ready()

    def scan(
        self, scope: Scope, ref: IndexRef, *, after: str | None = None, limit: int = 1000
    ) -> VectorPage:
        honest = super().scan
        page: VectorPage = self.ready.turn(
            (scope, ref.definition.name, ref.definition.version, limit),
            after,
            lambda place: honest(scope, ref, after=place, limit=limit),
        )
        return page


class ReadsAhead(MemoryAudit):
    """Appends are thought of, and the end of the log is not."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: dict[tuple[Scope, int, int], Sequence[LogEntry]] = {}

    def append(self, scope: Scope, *args: Any) -> None:
        self.ready.clear()
        super().append(scope, *args)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        page = self.ready.pop((scope, start, limit), None)
        if page is None:
            page = super().read(scope, start, limit)
        then = start + len(page)
        self.ready[scope, then, limit] = super().read(scope, then, limit)
        return page


class LargeBodiesApart(MemoryAtoms):
    """Bodies of more than 64 KiB are kept by their ids, and written before anything is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.large: dict[tuple[Scope, str, str], bytes] = {}

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        for each in operations:
            if isinstance(each, Insert) and len(each.record.body) > 1 << 16:
                self.large[scope, each.record.collection, each.record.id] = each.record.body
        return super().commit(scope, operations)

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        found = super().get(scope, collection, ids)
        return [
            each
            if each is None or len(each.body) <= 1 << 16
            else attrs.evolve(each, body=self.large.get((scope, collection, each.id), each.body))
            for each in found
        ]


class LargeObjectsApart(MemoryRaw):
    """Bytes of large objects have a place of their own, and are there before the condition is."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.large: dict[tuple[Scope, str], bytes] = {}

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **how: Any
    ) -> ObjectInfo:
        data = b"".join(body)
        if len(data) > 1 << 16:
            self.large[scope, key] = data
        return super().put(scope, key, Body(data), attributes, **how)

    @contextmanager
    def open(self, scope: Scope, key: str, **how: Any) -> Iterator[ObjectStream]:
        with super().open(scope, key, **how) as stream:
            data = self.large.get((scope, key))
            if data is None or len(data) != stream.info.size:
                yield stream
            else:
                part = data[stream.start : stream.stop]
                yield ObjectStream(stream.info, stream.start, stream.stop, iter((part,)))


class LooksAtSoMany(MemoryAtoms):
    """A filtered query looks at 5000 records, and says of the rest that nothing is left."""

    def query(self, scope: Scope, collection: str, where: Filter | None, **how: Any) -> RecordPage:
        if where is None:
            return super().query(scope, collection, where, **how)
        seen = {record.id for record in self._mine(scope, collection)[:5000]}
        page = super().query(scope, collection, where, **how)
        found = tuple(record for record in page.records if record.id in seen)
        return RecordPage(found, page.next_after if found else None)


class AnyPhaseSettles(MemoryAudit):
    """Takes an event on the way for the outcome."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        log = self.logs.get(scope)
        later = {e.operation for e in log.entries if e.phase == "event"} if log else set()
        found = super().unsettled(scope, before, 1 << 30)
        return [each for each in found if each.operation not in later][:limit]


_ANOTHER: Final = "the next page shows something else than is there"

_ONCE: Final = "has 70000 bytes"

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant_of("raw-lists-ahead", ListsAhead, "RAW-092", f"after writes and a deletion {_ANOTHER}"),
    mutant_of(
        "raw-lists-ahead-until-written",
        ListsAheadUntilWritten,
        "RAW-092",
        f"after the scope was erased {_ANOTHER}",
    ),
    mutant_of(
        "raw-large-objects-apart",
        LargeObjectsApart,
        "RAW-002",
        f"a refused create changed the object, which {_ONCE}",
    ),
    mutant_of(
        "raw-large-objects-replaced",
        LargeObjectsApart,
        "RAW-003",
        f"a refused replace changed the object, which {_ONCE}",
    ),
    mutant_of(
        "atoms-looks-at-so-many",
        LooksAtSoMany,
        "ATOM-060",
        "a filter misses the one that matches",
    ),
    mutant_of("atoms-queries-ahead", QueriesAhead, "ATOM-093", _ANOTHER),
    mutant_of(
        "atoms-large-bodies-apart", LargeBodiesApart, "ATOM-006", "an insert overwrote the body"
    ),
    mutant_of("vectors-scans-ahead", ScansAhead, "VEC-094", _ANOTHER),
    mutant_of("audit-any-phase-settles", AnyPhaseSettles, "AUD-006", "the open intents are"),
    mutant_of("audit-reads-ahead", ReadsAhead, "AUD-092", f"after the log was erased {_ANOTHER}"),
)
