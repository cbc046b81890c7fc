"""SQLite: one file, its write-ahead log, one writer at a time. Everything peculiar to it is here,
in ``_sqlite_errors`` and in ``_sqlite_place``.

The driver's own ideas about transactions are switched off (``isolation_level = None``); ``BEGIN``
and ``BEGIN IMMEDIATE`` are sent by us. A write holds the file's write lock from its start, so what
it reads stays true until it commits. In one process, writers of one file first queue for a lock of
ours: SQLite's waiting is a sleep that grows, in which a late writer overtakes an early one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import NullPool

from nexus_core.spi import (
    ConfigurationError,
    Outcome,
    Problem,
    Runtime,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)
from nexus_sql import _sqlite_errors, _sqlite_place
from nexus_sql._database import Database, raise_translated
from nexus_sql._migrations import migrate
from nexus_sql._schema import Spelling, build_tables

if TYPE_CHECKING:
    from nexus_sql._config import SqlConfig

_SPELLING: Final = Spelling(
    text=sa.TEXT(),
    integer=sa.INTEGER(),
    number=sa.REAL(),
    flag=sa.INTEGER(),
    blob=sa.BLOB(),
    table={"sqlite_strict": True},
    clustered={"sqlite_strict": True, "sqlite_with_rowid": False},
    partial=lambda condition: {"sqlite_where": condition},
)

# What every connection is told. FULL, because NORMAL loses acknowledged commits with the power;
# the two fullfsync matter on macOS only. Deleted content is overwritten, and content never spills
# into temporary files outside the store's directory.
_PRAGMAS: Final = (
    "synchronous = FULL",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "journal_size_limit = 67108864",
)

_HAS_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"

# A statement takes 32,766 parameters, and a filter may have 255 lists of 1000 values.
_MAX_LIST: Final = 100

# Which file a connection has open: one that was removed is read and written until it is closed.
_FILE: Final = "nexus_file"

_WRITERS: Final[dict[str, threading.Lock]] = {}


class SqliteDatabase(Database):
    """A SQLite file."""

    no_use = "has no use: this engine knows no password, server or login, only the file's owner"
    tables = build_tables(_SPELLING)

    def __init__(self, path: Path, busy_timeout: float, setting: str) -> None:
        super().__init__(os.path.realpath(path))
        self._path = path.absolute()
        self._busy_timeout = busy_timeout
        self._setting = setting
        self._writer_key = os.path.realpath(path)
        self._inserts: dict[str, str] = {}
        self._making = False

    @classmethod
    def refusal(cls, url: URL, text: str) -> str | None:
        if url.get_driver_name() != "pysqlite":
            return "names a driver: SQLite needs none, write sqlite:///"
        if url.username is not None or url.host is not None or url.port is not None:
            return "has a user, host or port: for SQLite write sqlite:/// and then the path"
        if url.query:
            return "has options after a question mark, of which SQLite takes none here"
        if url.database in (None, "", ":memory:") or url.database.startswith("file:"):
            return (
                "means a database in memory, which is gone with the process: name a file, "
                "sqlite:///data/records.db"
            )
        if "%" in text or "\0" in text:
            # SQLAlchemy 2.1 decodes escapes in a path and 2.0 does not: one of them would look
            # for the records in another file.
            return "holds a '%' or a NUL: write the path as it is, without escapes"
        return None

    @classmethod
    def build(cls, url: URL, config: SqlConfig, runtime: Runtime) -> SqliteDatabase:
        assert url.database is not None
        return cls(runtime.path(url.database), config.busy_timeout_seconds, "url")

    def problems(self) -> Sequence[Problem]:
        with self.pool.occupied():
            return _sqlite_place.problems(self._path, self.tables, self._setting)

    def provision(self, now: Callable[[], int]) -> Sequence[str]:
        if not self.problems():
            return []
        # Making the file closes a descriptor of it, so nobody here may have locked it yet.
        self.acquire_writer()
        try:
            with self.pool.occupied():
                done = _sqlite_place.create(self._path, self.tables, self._setting)
        finally:
            self.release_writer()
        self._making = True
        try:
            with self.write(None) as connection:
                steps, problems = migrate(connection, self.tables, self._setting, now())
                if problems:
                    raise ConfigurationError(problems)
        finally:
            self._making = False
        return [*done, *steps]

    def make_engine(self) -> Engine:
        return sa.create_engine(
            "sqlite+pysqlite://", creator=self._connect, poolclass=NullPool, hide_parameters=True
        )

    def _connect(self) -> sqlite3.Connection:
        connection = _sqlite_place.connect(self._path, "mode=rw", self._busy_timeout)
        try:
            if not self._keep_log(connection):
                raise UnavailableError(
                    "the file system of the database cannot keep a write-ahead log",
                    hint="use a local file system",
                    retryable=False,
                    outcome=Outcome.NOT_APPLIED,
                )
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep_log(self, connection: sqlite3.Connection) -> bool:
        """Ask for the write-ahead log; of a new file or a restored copy this changes the mode, and
        so it is not asked for of a file that is somebody else's, or was emptied."""
        if not self._making and connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            ours = (self.tables.versions.name,)
            if connection.execute(_HAS_TABLE, ours).fetchone() is None:
                raise UnavailableError(
                    "the database has not the schema",
                    hint="provision the store; `nexus doctor` says what is missing",
                    retryable=False,
                    outcome=Outcome.NOT_APPLIED,
                )
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                # A change upgrades a lock, and for that SQLite never waits: two could for ever.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return bool(mode == ("wal",))

    def connect(self, engine: Engine, login: str) -> Connection:
        # Asked before, so that one that comes in between is met at the first transaction.
        file = _sqlite_place.identity(self._path)
        connection = super().connect(engine, login)
        connection.info[_FILE] = file
        return connection

    def is_disconnect(self, error: Exception) -> bool:
        return _sqlite_errors.is_moved(error)

    def begin(
        self, connection: Connection, scope: Scope | None, *, write: bool, alone: bool
    ) -> None:
        if connection.info[_FILE] != _sqlite_place.identity(self._path):
            raise _sqlite_errors.moved()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def acquire_writer(self) -> None:
        lock = _WRITERS.setdefault(self._writer_key, threading.Lock())
        if not lock.acquire(timeout=self._busy_timeout):
            raise StoreTimeoutError(
                "the database stayed locked by another writer",
                hint="try again, or raise busy_timeout_seconds",
                outcome=Outcome.NOT_APPLIED,
            )

    def release_writer(self) -> None:
        _WRITERS[self._writer_key].release()

    def translate(self, error: Exception, outcome: Outcome) -> StoreError | None:
        return _sqlite_errors.translate(error, outcome)

    def is_duplicate(self, error: Exception) -> bool:
        return _sqlite_errors.is_duplicate(error)

    def insert(
        self, connection: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        # Tuples given straight to the driver cost half of what a dictionary for each row does, and
        # no type here needs a conversion.
        sql = self._inserts.get(table.name)
        if sql is None:
            sql = str(sa.insert(table).compile(dialect=connection.dialect))
            self._inserts[table.name] = sql
        connection.exec_driver_sql(sql, list(rows))

    def member(self, column: sa.Column[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        distinct = list(dict.fromkeys(values))
        if len(distinct) <= _MAX_LIST or isinstance(column.type, sa.REAL):
            return column.in_(distinct)
        if isinstance(column.type, sa.INTEGER):
            # Not every version reads a decimal fraction exactly, and no integer equals one.
            distinct = [int(value) for value in distinct if value == int(value)]
        listed = sa.func.json_each(json.dumps(distinct, ensure_ascii=False)).table_valued("value")
        return column.in_(sa.select(listed.c.value))

    def scrub(self) -> None:
        # Deleted bytes were overwritten in the pages that the erasure wrote; the log still holds
        # the pages as they were before. A reader that is busy puts this off to a later checkpoint.
        connection = self.pool.borrow()
        sound = False
        try:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
            connection.rollback()
            sound = True
        except Exception as error:
            raise_translated(self, error, Outcome.APPLIED)
            raise
        finally:
            self.pool.give_back(connection, sound=sound)


# A lock that another thread held at the fork would never be released in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WRITERS.clear)
