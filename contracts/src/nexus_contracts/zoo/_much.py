"""Backends that go another way where there is much of something, and mix scopes up on it.

Blocks for large answers, batches of one kind, wide walks, many files, many refusals.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.refused import REFUSED
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core import Scope
from nexus_core.spi import (
    IndexRef,
    Insert,
    LogEntry,
    LogHead,
    ObjectStream,
    Operation,
    Record,
    RecordPage,
    Step,
    StoreError,
    StoreRole,
    UnavailableError,
    Vectors,
)

# From so many on it is much.
MANY: Final = 256
# How many files are kept open, and how many callers are let in.
PLACES: Final = 128
CALLERS: Final = 64


class SharedBlock(MemoryVectors):
    """Keeps the block in which hits of a large index are collected for the next large query."""

    def __init__(self) -> None:
        super().__init__()
        self.block: list[Any] = []

    def query(
        self, scope: Scope, ref: IndexRef, queries: Vectors, k: int, **options: Any
    ) -> Sequence[Sequence[Any]]:
        if len(self._rows(scope, ref)) < MANY:
            return super().query(scope, ref, queries, k, **options)
        found = super().query(scope, ref, queries, k, **options)
        self.block = list(found)
        count = len(found)
        answers = self.block[:count]
        return answers  # noqa: RET504  # a line more at which it can be met


class SharedPage(MemoryAtoms):
    """Collects the records of a large page in a list that is kept for the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.page: list[Record] = []

    def query(self, scope: Scope, *args: Any, **options: Any) -> RecordPage:
        found = super().query(scope, *args, **options)
        if len(found.records) < MANY:
            return found
        self.page.clear()
        self.page.extend(found.records)
        end = found.next_after
        records = tuple(self.page)
        return RecordPage(records, end)


class BulkInserts(MemoryAtoms):
    """Asks for the taken ids of a large batch without the environment."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        kept = [each for each in operations if isinstance(each, Insert)]
        if len(kept) < MANY or any(each.if_exists != "keep" for each in kept):
            return super().commit(scope, operations)
        taken = {
            (collection, name)
            for owner, collection, name in self.records
            if owner.tenant_id == scope.tenant_id
        }
        new = [(each.record.collection, each.record.id) not in taken for each in kept]
        super().commit(scope, [each for each, is_new in zip(kept, new, strict=True) if is_new])
        return new


class LeftFrontier(MemoryAtoms):
    """Leaves what a wide walk starts from in a table, where the walk ended at its limit."""

    def __init__(self) -> None:
        super().__init__()
        # As a connection's temporary table: each thread has one.
        self.own = threading.local()

    def walk(
        self, scope: Scope, start: Sequence[str], *args: Any, **options: Any
    ) -> Sequence[Step]:
        if len(start) >= MANY // 2:
            start = sorted({*start, *getattr(self.own, "left", ())})
        found = super().walk(scope, start, *args, **options)
        ends = {str(step.edge.fields["child"]) for step in found}
        wide = len(found) == options["limit"] and len(ends) >= MANY // 2
        self.own.left = ends if wide else set()
        return found


class FewFiles(MemoryRaw):
    """Keeps so many files open, and gives the place of the eldest away though it is being read."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.files: OrderedDict[tuple[Scope, str], bytes] = OrderedDict()

    def _touch(self, scope: Scope, key: str) -> bytes:
        data = self._find(scope, key).data
        self.files[scope, key] = data
        self.files.move_to_end((scope, key))
        if len(self.files) > PLACES:
            self.files.popitem(last=False)
        return data

    def head(self, scope: Scope, key: str) -> Any:
        found = super().head(scope, key)
        self._touch(scope, key)
        return found

    @contextmanager
    def open(self, scope: Scope, key: str, **options: Any) -> Iterator[ObjectStream]:
        with super().open(scope, key, **options) as stream:
            self._touch(scope, key)

            def chunks() -> Iterator[bytes]:
                for chunk in stream.chunks:
                    there = (scope, key) in self.files
                    youngest = next(reversed(self.files.values()))
                    yield chunk if there else youngest.ljust(len(chunk), b"\0")[: len(chunk)]

            yield attrs.evolve(stream, chunks=chunks())


class FewCallers(MemoryAudit):
    """Lets so many callers in, and forgets that one has left who was refused."""

    def __init__(self) -> None:
        super().__init__()
        self.places = CALLERS

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        if not self.places:
            raise UnavailableError("too many callers")
        try:
            super().append(scope, expected_size, entries, head)
        except StoreError:
            self.places -= 1
            raise


class FewWriters(MemoryRaw):
    """Lets so many writers in, and forgets that one has left whose body broke off."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.places = CALLERS

    def put(self, scope: Scope, key: str, body: Any, *args: Any, **options: Any) -> Any:
        if not self.places:
            raise UnavailableError("too many writers")
        self.places -= 1
        info = super().put(scope, key, body, *args, **options)
        self.places += 1
        return info


_AGAIN: Final = "has to give back"

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant_of("vectors-shared-block", SharedBlock, "TEN-331", "was held up before"),
    mutant_of("atoms-shared-page", SharedPage, "TEN-231", "was held up before"),
    mutant_of("atoms-bulk-inserts", BulkInserts, "TEN-231", "inserts that keep what is there"),
    mutant_of("atoms-left-frontier", LeftFrontier, "TEN-231", "what one walk collects"),
    mutant_of("raw-few-files", FewFiles, "TEN-131", "gave other bytes after"),
    mutant_of("audit-few-callers", FewCallers, REFUSED[StoreRole.AUDIT].elsewhere, _AGAIN),
    mutant_of("raw-few-writers", FewWriters, REFUSED[StoreRole.RAW].elsewhere, _AGAIN),
)
