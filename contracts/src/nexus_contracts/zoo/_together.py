"""Stores that keep once what several scopes hold, or write at once what several scopes wait for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.raced import RACED
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    IndexRef,
    IntegrityError,
    LogEntry,
    LogHead,
    Operation,
    Scope,
    StoreError,
    StoreRole,
    VectorBatch,
)

LARGE: Final = 4096


# -- kept once ------------------------------------------------------------------------------------


class _Once:
    """What is large is kept once for all, by its digest, and freed when a scope that had it has it
    no longer."""

    gone: frozenset[bytes] = frozenset()

    def held(self, scope: Scope) -> frozenset[bytes]:
        """The digests of what a scope has."""
        raise NotImplementedError

    @contextmanager
    def freeing(self, scope: Scope) -> Iterator[None]:
        before = self.held(scope)
        yield
        after = self.held(scope)
        self.gone = (self.gone | before) - after

    def ensure_kept(self, data: bytes) -> None:
        if self.gone and _digest(data) in self.gone:
            raise IntegrityError("what was kept apart is not there")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _large(contents: Iterator[bytes]) -> frozenset[bytes]:
    return frozenset(_digest(each) for each in contents if len(each) >= LARGE)


class ObjectsOnce(_Once, MemoryRaw):
    """Keeps large objects once for all, and frees one with the last that its deleter has."""

    def held(self, scope: Scope) -> frozenset[bytes]:
        return _large(each.data for (owner, _), each in self.objects.items() if owner == scope)

    def _write(self, scope: Scope, *args: Any, **options: Any) -> Any:
        with self.freeing(scope):
            return super()._write(scope, *args, **options)

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        with self.freeing(scope):
            super().delete(scope, key, if_match=if_match)

    def erase(self, scope: Scope) -> int:
        with self.freeing(scope):
            return super().erase(scope)

    def _find(self, scope: Scope, key: str) -> Any:
        found = super()._find(scope, key)
        self.ensure_kept(found.data)
        return found


class ObjectsOfErasure(ObjectsOnce):
    """Keeps large objects once for all, and frees those of a scope that is erased."""

    erasing = False

    @contextmanager
    def freeing(self, scope: Scope) -> Iterator[None]:
        before = self.gone
        with super().freeing(scope):
            yield
        if not self.erasing:
            self.gone = before & self.gone

    def erase(self, scope: Scope) -> int:
        self.erasing = True
        try:
            return super().erase(scope)
        finally:
            self.erasing = False


class ObjectsUncounted(MemoryRaw):
    """Keeps a scope's large objects once, and frees one that it has twice with the first."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        found = self.objects.get((scope, key))
        super().delete(scope, key, if_match=if_match)
        if found is not None and len(found.data) >= LARGE:
            for place, each in list(self.objects.items()):
                if place[0] == scope and each.data == found.data:
                    self.objects[place] = attrs.evolve(each, data=b"")


class BodiesOnce(_Once, MemoryAtoms):
    """Keeps large bodies once for all, and frees one with the last that its scope has."""

    def held(self, scope: Scope) -> frozenset[bytes]:
        return _large(each.body for place, each in self.records.items() if place[0] == scope)

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        with self.freeing(scope):
            return super().commit(scope, operations)

    def erase(self, scope: Scope) -> int:
        with self.freeing(scope):
            return super().erase(scope)

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Any:
        found = super().get(scope, collection, ids)
        for each in found:
            self.ensure_kept(b"" if each is None else each.body)
        return found


class RowsOnce(_Once, MemoryVectors):
    """Keeps wide vectors once for all, and frees one with the last that its scope has."""

    def held(self, scope: Scope) -> frozenset[bytes]:
        mine = [index for place, index in self.indexes.items() if place[0] == scope]
        return _large(row.vector for index in mine for row in index.rows.values())

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        with self.freeing(scope):
            super().upsert(scope, ref, batch)

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        with self.freeing(scope):
            return super().delete(scope, ref, ids)

    def drop_index(self, scope: Scope, ref: IndexRef) -> None:
        with self.freeing(scope):
            super().drop_index(scope, ref)

    def erase(self, scope: Scope) -> int:
        with self.freeing(scope):
            return super().erase(scope)

    def get(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> Any:
        found = super().get(scope, ref, ids)
        for row in found:
            self.ensure_kept(b"" if row is None else row.vector)
        return found


class PartsOnce(_Once, MemoryAudit):
    """Keeps large sealed parts once for all, and frees one with the last that its log has."""

    def held(self, scope: Scope) -> frozenset[bytes]:
        log = self.logs.get(scope)
        return _large(each.sealed or b"" for each in ([] if log is None else log.entries))

    def append(self, scope: Scope, *args: Any) -> None:
        with self.freeing(scope):
            super().append(scope, *args)

    def erase_sealed(self, scope: Scope, subject_tag: bytes) -> int:
        with self.freeing(scope):
            return super().erase_sealed(scope, subject_tag)

    def erase(self, scope: Scope) -> int:
        with self.freeing(scope):
            return super().erase(scope)

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        found = super().read(scope, start, limit)
        for each in found:
            self.ensure_kept(each.sealed or b"")
        return found


# -- written at once ------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Job:
    """A write that waits for its turn; what it gave, or why it was refused."""

    scope: Scope
    write: Callable[[], Any]
    said: Any = None
    refused: StoreError | None = None
    done: bool = False


class _Together:
    """Whoever has the turn writes what waits, at most one of each scope, and undoes all that it
    wrote where one is refused; who was refused is told so, and the others that theirs stands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.turn, self.mutex, self.waiting = threading.Lock(), threading.Lock(), list[_Job]()

    def state(self) -> Any:
        """All that is there."""
        raise NotImplementedError

    def back(self, state: Any) -> None:
        """Be as it was."""
        raise NotImplementedError

    def written(self, scope: Scope, write: Callable[[], Any]) -> Any:
        job = _Job(scope, write)
        with self.mutex:
            self.waiting.append(job)
        with self.turn:
            while not job.done:
                with self.mutex:
                    jobs = {each.scope: each for each in reversed(self.waiting)}
                    self.waiting = [each for each in self.waiting if each not in jobs.values()]
                self.write_all([*reversed(jobs.values())])
        if job.refused is not None:
            raise job.refused
        return job.said

    def write_all(self, jobs: Sequence[_Job]) -> None:
        before = self.state()
        for job in jobs:
            job.done = True
            try:
                job.said = job.write()
            except StoreError as error:
                job.refused = error
                self.back(before)
                before = self.state()


class _AllRefused(_Together):
    """As before; but where one is refused everybody is told that he is."""

    def write_all(self, jobs: Sequence[_Job]) -> None:
        super().write_all(jobs)
        refused = next((job.refused for job in jobs if job.refused is not None), None)
        for job in jobs:
            job.refused = refused


class PutsTogether(_Together, MemoryRaw):
    """Makes the puts that wait at once, and undoes with one that is refused those before it."""

    def state(self) -> Any:
        return dict(self.objects)

    def back(self, state: Any) -> None:
        self.objects = state

    def _write(self, scope: Scope, *args: Any, **options: Any) -> Any:
        return self.written(
            scope, lambda: super(PutsTogether, self)._write(scope, *args, **options)
        )


class CommitsTogether(_Together, MemoryAtoms):
    """Makes the commits that wait at once, and undoes with one that is refused those before it."""

    def state(self) -> Any:
        return self.records

    def back(self, state: Any) -> None:
        self.records = state

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Any:
        return self.written(scope, lambda: super(CommitsTogether, self).commit(scope, operations))


class CommitsRefusedTogether(_AllRefused, CommitsTogether):
    """Makes the commits that wait at once, and refuses all where it refuses one."""


class UpsertsTogether(_Together, MemoryVectors):
    """Makes the upserts that wait at once, and undoes with one that is refused those before it."""

    def state(self) -> Any:
        return {place: dict(index.rows) for place, index in self.indexes.items()}

    def back(self, state: Any) -> None:
        for place, rows in state.items():
            self.indexes[place].rows = rows

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        self.written(scope, lambda: super(UpsertsTogether, self).upsert(scope, ref, batch))


class AppendsTogether(_Together, MemoryAudit):
    """Makes the appends that wait at once, and undoes with one that is refused those before it."""

    def state(self) -> Any:
        return {scope: (len(log.entries), len(log.heads)) for scope, log in self.logs.items()}

    def back(self, state: Any) -> None:
        for scope, log in self.logs.items():
            entries, heads = state.get(scope, (0, 0))
            del log.entries[entries:], log.heads[heads:]

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self.written(
            scope,
            lambda: super(AppendsTogether, self).append(scope, expected_size, entries, head),
        )


_FREED, _UNDONE = "raised IntegrityError: what is kept once", "acknowledged, and not kept"

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant_of("raw-objects-kept-once", ObjectsOnce, "TEN-102", _FREED),
    mutant_of(
        "raw-objects-freed-by-erasure", ObjectsOfErasure, "TEN-102", "was erased, and reading"
    ),
    mutant_of("raw-objects-uncounted", ObjectsUncounted, "TEN-102", "delete of one of two in"),
    mutant_of("atoms-bodies-kept-once", BodiesOnce, "TEN-202", _FREED),
    mutant_of("vectors-rows-kept-once", RowsOnce, "TEN-302", _FREED),
    mutant_of("audit-parts-kept-once", PartsOnce, "TEN-402", _FREED),
    *(
        mutant_of(name, kind, RACED[StoreRole(name.partition("-")[0])].waiting, says)
        for name, kind, says in (
            ("raw-puts-together", PutsTogether, _UNDONE),
            ("atoms-commits-together", CommitsTogether, _UNDONE),
            ("atoms-commits-refused-together", CommitsRefusedTogether, "as it does not alone"),
            ("vectors-upserts-together", UpsertsTogether, _UNDONE),
            ("audit-appends-together", AppendsTogether, _UNDONE),
        )
    ),
)
