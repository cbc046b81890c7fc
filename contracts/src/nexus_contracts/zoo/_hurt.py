"""Backends that make others pay where one scope's files fail, or where somebody holds the database;
and how they would do right.

The first keep memory, and sync a folder of the scope's own with every change. The others keep it in
rows of SQLite, under a journal that is rolled back.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from nexus_contracts._catalogue.hurt import HURT
from nexus_contracts.zoo._filed import KEPT, Filed, filed_mutant, kind_of
from nexus_contracts.zoo._mutant import HONEST, Mutant
from nexus_core.spi import (
    Backend,
    Outcome,
    Runtime,
    Scope,
    StoreRole,
    UnavailableError,
)

# Seconds that a store in rows waits for a lock.
WAIT: Final = 0.02


class Folders:
    """The folders of scopes, each synced when something has changed for its scope.

    Whoever ``remembers`` leaves those that could not be synced for the next change to do.
    """

    def __init__(self, root: Path, *, remembers: bool) -> None:
        self.root, self.remembers = root, remembers
        self.waiting: list[Path] = []

    def sync(self, scope: Scope) -> None:
        """Make what has changed for a scope last."""
        own = self.root / f"{scope.tenant_id}.{scope.env}"
        if not self.remembers:
            self.waiting.clear()
        self.waiting.append(own)
        try:
            own.mkdir(exist_ok=True)
            for folder in tuple(self.waiting):
                descriptor = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self.waiting.remove(folder)
        except OSError:
            raise UnavailableError("a folder cannot be synced", outcome=Outcome.UNKNOWN) from None


def foldered(role: StoreRole, _config: object, runtime: Runtime, *, remembers: bool) -> Backend:
    """Open a store with a folder for each scope, soundly or not."""
    store = HONEST[role](runtime)
    folders = Folders(runtime.base, remembers=remembers)

    def change(name: str) -> Callable[..., Any]:
        honest = getattr(store, name)

        def call(scope: Scope, *args: Any, **options: Any) -> Any:
            answer = honest(scope, *args, **options)
            folders.sync(scope)
            return answer

        return call

    for name in KEPT[role].changing.split():
        setattr(store, name, change(name))
    return store


class InRows(Filed):
    """Memory in rows of SQLite. Whoever ``leaves_open`` does not roll back what was refused."""

    connection: Any = None
    leaves_open = False
    rows: dict[bytes, bytes]
    # Each value with its row, by key: with a thousand every change would else take as long as all.
    written: dict[Any, tuple[Any, bytes, bytes]]

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        if self.connection is None:
            self.connection = sqlite3.connect(
                self.path, timeout=WAIT, isolation_level=None, check_same_thread=False
            )
            self.connection.execute("CREATE TABLE IF NOT EXISTS kept (name BLOB, value BLOB)")
        found: list[Any] = self.connection.execute(statement, values).fetchall()
        return found

    def load(self) -> None:
        """Read all rows."""
        try:
            self.rows = dict(self._ask("SELECT name, value FROM kept"))
        except sqlite3.OperationalError:
            raise UnavailableError("the database is busy", outcome=Outcome.NOT_APPLIED) from None
        known = {row[1:]: (key, row[0]) for key, row in self.written.items()}
        self.written = {}
        for row in self.rows.items():
            # Nobody but this class writes them.
            key, value = known.get(row) or tuple(map(pickle.loads, row))
            self.written[key] = (value, *row)
        kept = {key: row[0] for key, row in self.written.items()}
        setattr(self, self.kept.attribute, kept)
        self.data = None

    def save(self) -> None:
        """Write what is another than it was."""
        kept = getattr(self, self.kept.attribute)
        for key, value in kept.items():
            row = self.written.get(key)
            if row is None or row[0] is not value or not self.kept.frozen:
                self.written[key] = (value, pickle.dumps(key), pickle.dumps(value))
        new = dict(self.written[key][1:] for key in kept)
        try:
            if not self.connection.in_transaction:
                self._ask("BEGIN")
            for name in self.rows.keys() - {n for n, v in new.items() if self.rows.get(n) == v}:
                self._ask("DELETE FROM kept WHERE name = ?", name)
            for name, value in new.items():
                if self.rows.get(name) != value:
                    self._ask("INSERT INTO kept VALUES (?, ?)", name, value)
            self._ask("COMMIT")
        except sqlite3.OperationalError:
            if not self.leaves_open and self.connection.in_transaction:
                self._ask("ROLLBACK")
            raise UnavailableError("the database is busy", outcome=Outcome.NOT_APPLIED) from None

    def close(self) -> None:
        """Let the database go. Idempotent."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        super().close()


def in_rows(role: StoreRole, _config: object, runtime: Runtime, *, leaves_open: bool) -> Backend:
    """Open a store in rows, soundly or not."""
    made = kind_of(role, kept_by=InRows)(*([runtime.now] if role is StoreRole.RAW else []))
    made.path, made.leaves_open, made.rows = runtime.base / "kept", leaves_open, {}
    made.written = {}
    backend: Backend = made
    return backend


def _of(role: StoreRole) -> tuple[Mutant, ...]:
    ids = HURT[role]
    return (
        filed_mutant(
            f"{role.value}-syncs-later",
            partial(foldered, role, remembers=True),
            ids.alone,
            "what is the matter with one scope's files is no other's",
            "Leaves a scope's folder that could not be synced for the next writer to sync.",
        ),
        filed_mutant(
            f"{role.value}-left-open",
            partial(in_rows, role, leaves_open=True),
            ids.held,
            "another program",
            "Leaves the transaction open whose commit was refused as busy.",
        ),
    )


MUTANTS: Final[tuple[Mutant, ...]] = tuple(each for role in StoreRole for each in _of(role))
