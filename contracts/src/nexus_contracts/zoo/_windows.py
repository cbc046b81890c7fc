"""Backends that keep what they read, and let it grow stale when somebody writes at that moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from nexus_contracts._catalogue.raced import RACED
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    IndexRef,
    LogEntry,
    LogHead,
    ObjectInfo,
    ObjectPage,
    Operation,
    Scope,
    Step,
    StoreRole,
    VectorBatch,
    VectorPage,
)


class HeadsDroppedEarly(MemoryRaw):
    """Keeps what is known of objects, and drops it when a write begins."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.heads: dict[tuple[Scope, str], ObjectInfo] = {}

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        found = self.heads.get((scope, key))
        if found is None or (scope, key) not in self.objects:
            found = self.heads[scope, key] = super().head(scope, key)
        return found

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> ObjectInfo:
        self.heads.pop((scope, key), None)
        return super()._write(scope, key, *args, **options)


class ListingsKeptLate(MemoryRaw):
    """Keeps listings until something is written, also one that was begun before that."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.pages: dict[Any, ObjectPage] = {}

    def list(self, scope: Scope, **options: Any) -> ObjectPage:
        asked = (scope, *sorted(options.items()))
        found = self.pages.get(asked)
        if found is None:
            found = super().list(scope, **options)
            self.pages[asked] = found
        return found

    def _write(self, *args: Any, **options: Any) -> ObjectInfo:
        info = super()._write(*args, **options)
        self.pages = {}
        return info

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        super().delete(scope, key, if_match=if_match)
        self.pages = {}

    def erase(self, scope: Scope) -> int:
        gone = super().erase(scope)
        self.pages = {}
        return gone


class LineageDroppedEarly(MemoryAtoms):
    """Keeps walks, and drops them when a commit begins."""

    def __init__(self) -> None:
        super().__init__()
        self.walks: dict[Any, Sequence[Step]] = {}

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        self.walks = {}
        return super().commit(scope, operations)

    def erase(self, scope: Scope) -> int:
        self.walks = {}
        return super().erase(scope)

    def walk(self, scope: Scope, start: Sequence[str], *way: Any, **most: Any) -> Sequence[Step]:
        asked = (scope, *start, *way, *most.values())
        found = self.walks.get(asked)
        if found is None:
            found = self.walks[asked] = super().walk(scope, start, *way, **most)
        return found


class LineageCountedLate(MemoryAtoms):
    """Keeps walks with the number of writes, which it reads after the edges."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: Counter[Scope] = Counter()
        self.walks: dict[Any, tuple[int, Sequence[Step]]] = {}

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed = super().commit(scope, operations)
        self.writes[scope] += 1
        return changed

    def erase(self, scope: Scope) -> int:
        gone = super().erase(scope)
        self.writes[scope] += 1
        return gone

    def walk(self, scope: Scope, start: Sequence[str], *way: Any, **most: Any) -> Sequence[Step]:
        asked = (scope, *start, *way, *most.values())
        at, found = self.walks.get(asked, (-1, ()))
        if at != self.writes[scope]:
            found = super().walk(scope, start, *way, **most)
            self.walks[asked] = self.writes[scope], found
        return found


class CountsDroppedEarly(MemoryVectors):
    """Keeps counts, and drops them when rows are about to be written."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[Any, int] = {}

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        self.counts = {}
        super().upsert(scope, ref, batch)

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        self.counts = {}
        return super().delete(scope, ref, ids)

    def count(self, scope: Scope, ref: IndexRef, where: Any) -> int:
        self._index(scope, ref)
        asked = (scope, ref.incarnation, repr(where))
        if asked not in self.counts:
            self.counts[asked] = super().count(scope, ref, where)
        return self.counts[asked]


class ScansKeptLate(MemoryVectors):
    """Keeps scans until rows are written, also one that was begun before that."""

    def __init__(self) -> None:
        super().__init__()
        self.scans: dict[Any, VectorPage] = {}

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        super().upsert(scope, ref, batch)
        self.scans = {}

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        gone = super().delete(scope, ref, ids)
        self.scans = {}
        return gone

    def scan(self, scope: Scope, ref: IndexRef, **page: Any) -> VectorPage:
        self._index(scope, ref)
        asked = (scope, ref.incarnation, *sorted(page.items()))
        found = self.scans.get(asked)
        if found is None:
            found = super().scan(scope, ref, **page)
            self.scans[asked] = found
        return found


class EntriesDroppedEarly(MemoryAudit):
    """Keeps entries that were read, and drops them when a write begins."""

    def __init__(self) -> None:
        super().__init__()
        self.parsed: dict[Scope, Sequence[LogEntry]] = {}

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.parsed.pop(scope, None)
        super().append(scope, expected_size, entries, head)

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        self.parsed.pop(scope, None)
        return super().erase_sealed(scope, subject_tag)

    def erase(self, scope: Scope) -> int:
        self.parsed.pop(scope, None)
        return super().erase(scope)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        if scope not in self.parsed:
            self.parsed[scope] = super().read(scope, 0, 1 << 30)
        return self.parsed.get(scope, ())[start : start + limit]


class EntriesCountedLate(MemoryAudit):
    """Keeps entries that were read with the number of writes, which it looks at after them."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: Counter[Scope] = Counter()
        self.parsed: dict[Scope, tuple[int, Sequence[LogEntry]]] = {}

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        super().append(scope, expected_size, entries, head)
        self.writes[scope] += 1

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        changed = super().erase_sealed(scope, subject_tag)
        self.writes[scope] += 1
        return changed

    def erase(self, scope: Scope) -> int:
        gone = super().erase(scope)
        self.writes[scope] += 1
        return gone

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        at, found = self.parsed.get(scope, (-1, ()))
        if at != self.writes[scope]:
            found = super().read(scope, 0, 1 << 30)
            self.parsed[scope] = self.writes[scope], found
        return found[start : start + limit]


def _m(name: str, kind: Any, read: str) -> Mutant:
    role = StoreRole(name.partition("-")[0])
    return mutant_of(name, kind, RACED[role].stale, f"{read} was left stale")


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("raw-heads-dropped-early", HeadsDroppedEarly, "head"),
    _m("raw-listings-kept-late", ListingsKeptLate, "list"),
    _m("atoms-lineage-dropped-early", LineageDroppedEarly, "walk down"),
    _m("atoms-lineage-counted-late", LineageCountedLate, "walk down"),
    _m("vectors-counts-dropped-early", CountsDroppedEarly, "count"),
    _m("vectors-scans-kept-late", ScansKeptLate, "scan"),
    _m("audit-entries-dropped-early", EntriesDroppedEarly, "read"),
    _m("audit-entries-counted-late", EntriesCountedLate, "read"),
)
