"""A scope's database file: its tables, how it is made, opened and recognised.

Rows are never changed, only added and removed. A row's number is given once and never again, so
``next`` and ``gone`` together name a state of an index: a reader that knows an earlier one catches
up by reading the rows from its own ``next`` on, and the numbers that ``removed`` lists since its
own ``gone``. A row's key in ``vec`` is its index's part number and its own number in one integer,
which keeps the rows of one index side by side in the file.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

import attrs

from nexus_core.spi import IntegrityError, Scope, UnavailableError
from nexus_embedded import _layout
from nexus_embedded._errors import absent

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x4E58_5645  # "NXVE"
PAGE_SIZE: Final = 8192
NUMBER_BITS: Final = 40

_TABLES: Final = """
BEGIN;
CREATE TABLE scope (
    one INTEGER PRIMARY KEY CHECK (one = 1), env TEXT NOT NULL, tenant TEXT NOT NULL
) STRICT;
CREATE TABLE part (
    part INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    definition TEXT NOT NULL,
    incarnation TEXT NOT NULL UNIQUE,
    next INTEGER NOT NULL DEFAULT 1,
    gone INTEGER NOT NULL DEFAULT 0,
    floor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, version)
) STRICT;
CREATE TABLE vec (
    pk INTEGER PRIMARY KEY,
    part INTEGER NOT NULL,
    id TEXT NOT NULL,
    stamp BLOB NOT NULL,
    fields TEXT NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (part, id)
) STRICT;
CREATE TABLE term (
    part INTEGER NOT NULL,
    field TEXT NOT NULL,
    value ANY NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (part, field, value, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE removed (
    part INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (part, seq)
) STRICT, WITHOUT ROWID;
"""


@attrs.define(eq=False)
class Handle:
    """One connection to one scope's database, for one thread at a time."""

    db: sqlite3.Connection
    path: Path
    identity: tuple[int, int]

    def current(self) -> bool:
        """Whether the file that is open is still the scope's: not erased, not replaced."""
        try:
            return self.identity == _identity(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False


def open_database(root: Path, scope: Scope, busy_timeout: float) -> Handle:
    """Open a scope's database; never creates one.

    Raises ``NotFoundError`` where the scope has none, ``UnavailableError`` where the root is gone
    or the file was written by a newer version, ``IntegrityError`` where it is another scope's.
    """
    directory = _layout.scope_directory(root, scope)
    try:
        present = [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        present = []
    if not present:
        _layout.require_root(root)
        raise absent()
    names = [name for name in present if name.endswith(".db")]
    if len(names) != 1:
        raise IntegrityError("the scope's directory does not hold exactly one database")
    path = directory / names[0]
    try:
        identity = _identity(path)
        db = _connect(path, "rw", busy_timeout)
        try:
            _recognise(db, scope)
        except BaseException:
            db.close()
            raise
    except (FileNotFoundError, sqlite3.Error):
        # Erased between two of these steps, or really unreadable.
        if path.exists():
            raise
        raise absent() from None
    return Handle(db, path, identity)


def create_database(root: Path, scope: Scope, busy_timeout: float) -> None:
    """Make a scope's empty database, durably and all at once; fine if there is one already.

    Whoever needs it looks again afterwards: an erasure at the same time may have removed it.
    """
    _layout.require_root(root)
    directory = _layout.scope_directory(root, scope)
    _layout.make_directories(directory.parent)
    draft = _layout.beside(directory, "new")
    draft.mkdir(mode=0o700)
    try:
        with _layout.held(draft, wait=True):
            _fill(draft, scope, busy_timeout)
            draft.rename(directory)
    except (OSError, sqlite3.Error):
        # Explained where another caller has put a database there first, or an erasure has taken
        # the draft away before it was held.
        if draft.is_dir() and not directory.is_dir():
            raise
    finally:
        _layout.remove_directory(draft)
    _layout.sync_directory(directory.parent)


def _fill(draft: Path, scope: Scope, busy_timeout: float) -> None:
    db = _connect(draft / f"{secrets.token_hex(8)}.db", "rwc", busy_timeout)
    try:
        db.executescript(_TABLES)
        db.execute("INSERT INTO scope VALUES (1, ?, ?)", (scope.env, scope.tenant_id))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    finally:
        db.close()
    _layout.sync_directory(draft)


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116  # on every call's way; Path.stat costs twice as much
    return status.st_dev, status.st_ino


def _connect(path: Path, mode: str, busy_timeout: float) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA synchronous = FULL")
        # Where the system keeps two kinds of fsync, the one that reaches the medium.
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA checkpoint_fullfsync = ON")
        # What is deleted is overwritten, not only forgotten.
        db.execute("PRAGMA secure_delete = ON").fetchall()
        db.execute("PRAGMA journal_size_limit = 67108864").fetchall()
        db.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        db.close()
        raise
    return db


def _recognise(db: sqlite3.Connection, scope: Scope) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version < 1:
        raise IntegrityError("the scope's file is not a database of this store")
    if version > SCHEMA_VERSION:
        raise UnavailableError(
            "the scope's database was written by a newer version of this store",
            hint="upgrade nexus-embedded",
            retryable=False,
        )
    if db.execute("SELECT env, tenant FROM scope").fetchall() != [(scope.env, scope.tenant_id)]:
        raise IntegrityError("the scope's file was made for another scope")
