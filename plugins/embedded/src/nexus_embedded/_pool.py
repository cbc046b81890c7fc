"""Open databases between calls, each lent to one call at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from nexus_core.spi import ClosedError, NotFoundError, Scope
from nexus_embedded import _layout
from nexus_embedded._database import Handle, create_database, open_database
from nexus_embedded._errors import is_damage

READ: Final = "BEGIN"
WRITE: Final = "BEGIN IMMEDIATE"


class Pool:
    """Handles of scopes' databases. Thread-safe; keeps at most ``limit`` idle, newest used."""

    def __init__(self, root: Path, *, busy_timeout: float, limit: int) -> None:
        self._root = root
        self._busy_timeout = busy_timeout
        self._limit = limit
        self._lock = threading.Lock()
        self._idle: OrderedDict[Scope, list[Handle]] = OrderedDict()
        self._count = 0
        self._closed = False

    def create(self, scope: Scope) -> None:
        """Make the scope's database, durably, unless there is one."""
        self._ensure_open()
        create_database(self._root, scope, self._busy_timeout)

    def take(self, scope: Scope, begin: str) -> Handle:
        """Lend a connection on which ``begin`` has just been executed.

        Raises ``NotFoundError`` where the scope has no database. The file was the scope's after
        the call began, and for a write after the write lock was got.
        """
        while True:
            self._ensure_open()
            handle = self._pop(scope) or open_database(self._root, scope, self._busy_timeout)
            try:
                if handle.current():
                    handle.db.execute(begin)
                    # A writer may have waited here for an erasure to end.
                    if begin == READ or handle.current():
                        return handle
            except sqlite3.Error:
                if handle.current():
                    drop(handle)
                    raise
            drop(handle)

    def give(self, scope: Scope, handle: Handle) -> None:
        """Take a connection back, with no transaction open."""
        surplus: list[Handle] = []
        with self._lock:
            if self._closed:
                surplus.append(handle)
            else:
                self._idle.setdefault(scope, []).append(handle)
                self._idle.move_to_end(scope)
                self._count += 1
                while self._count > self._limit:
                    oldest = next(iter(self._idle))
                    surplus.append(self._pop_locked(oldest))
        for one in surplus:
            drop(one)

    def erase(self, scope: Scope) -> int:
        """Remove the scope's database from everybody's sight, then from the disk; returns rows."""
        self._ensure_open()
        directory = _layout.scope_directory(self._root, scope)
        _layout.sweep(directory)
        rows = 0
        handle: Handle | None = None
        try:
            # With the write lock held no other writer can acknowledge a row that is about to go.
            handle = self.take(scope, WRITE)
            (rows,) = handle.db.execute(
                "SELECT coalesce(sum(next - 1 - gone), 0) FROM part"
            ).fetchone()
        except NotFoundError:
            return 0
        except sqlite3.DatabaseError as error:
            # What cannot be read any more can still be erased.
            if not is_damage(error):
                raise
        try:
            condemned = _layout.beside(directory, "erased")
            directory.rename(condemned)
            _layout.sync_directory(directory.parent)
        finally:
            if handle is not None:
                drop(handle)
        self.release(scope)
        _layout.remove_directory(condemned)
        _layout.sync_directory(directory.parent)
        return int(rows)

    def release(self, scope: Scope | None = None) -> None:
        """Close the idle connections of one scope, or of all."""
        with self._lock:
            scopes = list(self._idle) if scope is None else [scope]
            handles = [handle for one in scopes for handle in self._idle.pop(one, ())]
            self._count -= len(handles)
        for handle in handles:
            drop(handle)

    def close(self) -> None:
        """Refuse every later call; connections still lent are closed when they come back."""
        with self._lock:
            self._closed = True
        self.release()

    def _ensure_open(self) -> None:
        if self._closed:
            raise ClosedError("the vector store is closed")

    def _pop(self, scope: Scope) -> Handle | None:
        with self._lock:
            return self._pop_locked(scope) if scope in self._idle else None

    def _pop_locked(self, scope: Scope) -> Handle:
        handles = self._idle[scope]
        handle = handles.pop()
        self._count -= 1
        if not handles:
            del self._idle[scope]
        return handle


def drop(handle: Handle) -> None:
    """Close a connection; what it had not committed is undone."""
    with contextlib.suppress(sqlite3.Error):
        handle.db.close()
