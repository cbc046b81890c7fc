"""Stores that put something aside for a call and put it back at its end: right for calls that lie
within one another, and for no others; and stores that change what a process has once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from nexus_contracts._catalogue.crossed import CROSSED
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_core.spi import (
    Body,
    Filter,
    IndexRef,
    LogEntry,
    LogHead,
    ObjectAttributes,
    ObjectInfo,
    Operation,
    Scope,
    StoredHit,
    StoreRole,
)


class _PutsAside:
    """What a call is about lies on the store, and what lay there comes back."""

    about: Any = None

    @contextmanager
    def aside(self, about: Any) -> Iterator[None]:
        before, self.about = self.about, about
        try:
            yield
        finally:
            self.about = before


# -- put aside and put back -----------------------------------------------------------------------


class ScopeOfDeletions(_PutsAside, MemoryRaw):
    """Keeps on itself in whose folder it deletes, and puts back who was there before."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        with self.aside(scope):
            super().delete(self.about, key, if_match=if_match)


class FilterOfRecords(_PutsAside, MemoryAtoms):
    """Keeps a query's filter on itself, and puts back the one before."""

    def query(self, scope: Scope, collection: str, where: Filter | None, **how: Any) -> Any:
        with self.aside(where):
            return super().query(scope, collection, self.about, **how)


class FilterOfRows(_PutsAside, MemoryVectors):
    """Keeps a query's filter on itself, and puts back the one before."""

    def query(
        self, *args: Any, where: Filter | None = None, **how: Any
    ) -> Sequence[Sequence[StoredHit]]:
        with self.aside(where):
            return super().query(*args, where=self.about, **how)


class FilterOfCounts(_PutsAside, MemoryVectors):
    """Keeps the filter of a count on itself, and puts back the one before."""

    def count(self, scope: Scope, ref: IndexRef, where: Filter | None) -> int:
        with self.aside(where):
            return super().count(scope, ref, self.about)


class LogOfReads(_PutsAside, MemoryAudit):
    """Keeps on itself whose log it reads, and puts back who was there before."""

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        with self.aside(scope):
            return super().read(self.about, start, limit)


# -- of the process -------------------------------------------------------------------------------


class UmaskOfPuts(MemoryRaw):
    """Puts with a umask of its own."""

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **how: Any
    ) -> ObjectInfo:
        before = os.umask(0o027)
        try:
            return super().put(scope, key, body, attributes, **how)
        finally:
            os.umask(before)


class TenantInTheEnvironment(MemoryAtoms):
    """Says in the environment whom it commits for."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        os.environ["STORE_TENANT"] = scope.tenant_id
        try:
            return super().commit(scope, operations)
        finally:
            os.environ.pop("STORE_TENANT", None)


class TimeoutOfAppends(MemoryAudit):
    """Appends with a timeout for every new socket of the process."""

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)
        try:
            super().append(scope, expected_size, entries, head)
        finally:
            socket.setdefaulttimeout(before)


_OTHER: Final = "something else than alone"
_PROCESS: Final = "of the process was"
_ROWS: Final[Sequence[tuple[str, str, type]]] = (
    ("raw-scope-put-aside", _OTHER, ScopeOfDeletions),
    ("raw-umask-of-puts", _PROCESS, UmaskOfPuts),
    ("atoms-filter-put-aside", _OTHER, FilterOfRecords),
    ("atoms-tenant-in-the-environment", _PROCESS, TenantInTheEnvironment),
    ("vectors-filter-put-aside", _OTHER, FilterOfRows),
    ("vectors-count-put-aside", _OTHER, FilterOfCounts),
    ("audit-log-put-aside", _OTHER, LogOfReads),
    ("audit-timeout-of-appends", _PROCESS, TimeoutOfAppends),
)

MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    mutant_of(name, kind, CROSSED[StoreRole(name.partition("-")[0])].crossing, says)
    for name, says, kind in _ROWS
)
