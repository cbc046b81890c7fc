"""The place of a SQLite database: directory and file, looked at without a trace, or created.

The file is opened by SQLite alone. When a process closes any descriptor of a file, the system
drops every lock that it has on it, those of live connections too; SQLite minds that among its own.
https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from nexus_core.spi import ConfigurationError, Problem
from nexus_sql._migrations import FIX, HOPELESS, schema_problems
from nexus_sql._schema import Tables
from nexus_sql._sqlite_errors import code_of

# STRICT tables came with this one; JSON, which long lists need, could be left out until the next.
OLDEST: Final = (3, 37, 0)
JSON_PROBE: Final = "SELECT value FROM json_each('[1]')"


def connect(path: Path, options: str, busy_timeout: float) -> sqlite3.Connection:
    """Open the file with the driver's own transactions off. Never creates it."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?{options}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def identity(path: Path) -> tuple[int, int] | None:
    """Which file has the name now; ``None`` where none has."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def problems(path: Path, tables: Tables, setting: str) -> list[Problem]:
    """Everything that stands in the way, found by reading only."""
    found = [*_library(setting), *_access(path, setting)]
    if path.is_file() and os.access(path, os.R_OK):
        found += _content(path, tables, setting)
    return found


def create(path: Path, tables: Tables, setting: str) -> list[str]:
    """Make directory and file where they are missing. Idempotent."""
    done: list[str] = []
    try:
        for directory in _missing(path.parent):
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
                _sync_directory(directory.parent)
                done.append(f"directory {directory}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            _sync_directory(path.parent)
            done.append(f"file {path}")
    except OSError as error:
        raise ConfigurationError(
            [_problem(setting, "place", f"{path} cannot be created: {error.strerror}", _WRITABLE)]
        ) from None
    found = problems(path, tables, setting)
    if hindrances := [problem for problem in found if problem.code in _HINDRANCES]:
        raise ConfigurationError(hindrances)
    return done


_ATTEMPTS: Final = 5
_HINDRANCES: Final = HOPELESS | {
    "sql.library",
    "sql.place",
    "sql.not_writable",
    "sql.not_a_database",
    "sql.damaged",
}
_WRITABLE: Final = "let this process' user read and write the file and its directory"


def _library(setting: str) -> list[Problem]:
    what = None
    if sqlite3.sqlite_version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        what = f"Python's SQLite is {sqlite3.sqlite_version}, older than {wanted}"
    else:
        try:
            with contextlib.closing(sqlite3.connect(":memory:")) as connection:
                connection.execute(JSON_PROBE)
        except sqlite3.OperationalError:
            what = "Python's SQLite was built without JSON functions"
    fix = "use a Python with a newer SQLite"
    return [] if what is None else [_problem(setting, "library", what, fix)]


def _access(path: Path, setting: str) -> list[Problem]:
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        found = [_problem(setting, "missing", f"the file {path} does not exist", FIX)]
        ancestor = next(parent for parent in path.parents if parent.exists())
        return found + _directory(ancestor, setting)
    except OSError as error:
        what = f"the file {path} cannot be reached: {error.strerror}"
        return [_problem(setting, "place", what, _WRITABLE)]
    if not stat.S_ISREG(kind):
        what = f"{path} is not a regular file"
        return [_problem(setting, "place", what, "name a file of the store's own")]
    found = _directory(path.parent, setting)
    for file in (path, _beside(path, "-wal"), _beside(path, "-shm")):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            what = f"the file {file} cannot be read and written"
            found.append(_problem(setting, "not_writable", what, _WRITABLE))
    return found


def _directory(directory: Path, setting: str) -> list[Problem]:
    if directory.is_dir() and os.access(directory, os.W_OK | os.X_OK):
        return []
    what = f"nothing can be written in {directory}, where the log belongs beside the file"
    return [_problem(setting, "not_writable", what, _WRITABLE)]


def _content(path: Path, tables: Tables, setting: str) -> list[Problem]:
    if path.stat().st_size == 0:
        return [_problem(setting, "schema_missing", f"the file {path} is empty", FIX)]
    try:
        return _schema(path, tables, setting)
    except sa.exc.DBAPIError as error:
        code = (code_of(error) or 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            what = f"the file {path} is not a SQLite database"
            fix = "name another file; this one is left alone"
            return [_problem(setting, "not_a_database", what, fix)]
        what = f"the database {path} cannot be read: {error.orig}"
        if code == sqlite3.SQLITE_CORRUPT:
            return [_problem(setting, "damaged", what, "restore it from a backup")]
        return [_problem(setting, "place", what, _WRITABLE)]


def _schema(path: Path, tables: Tables, setting: str) -> list[Problem]:
    """Read the schema. SQLite makes files beside even a database that it only reads, unless told
    that nobody writes it, and nobody does who has no log."""
    log = _beside(path, "-wal")
    for _ in range(_ATTEMPTS):
        state = _state(path)
        if log.exists():
            break
        failure: sa.exc.DBAPIError | None = None
        found: list[Problem] = []
        try:
            found = _schema_by(path, "mode=ro&immutable=1", tables, setting)
        except sa.exc.DBAPIError as error:
            failure = error
        # What was read while somebody came, wrote and went is good for nothing.
        if not log.exists() and _state(path) == state:
            if failure is not None:
                raise failure
            return found
    return _schema_by(path, "mode=ro", tables, setting)


def _schema_by(path: Path, options: str, tables: Tables, setting: str) -> list[Problem]:
    engine = sa.create_engine(
        "sqlite+pysqlite://",
        creator=lambda: connect(path, options, 5.0),
        poolclass=NullPool,
        hide_parameters=True,
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        return schema_problems(connection, tables, setting)


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _missing(directory: Path) -> list[Path]:
    """Directories on the way that are not there, outermost first."""
    chain = (directory, *directory.parents)
    return [each for each in reversed(chain) if not each.exists()]


def _sync_directory(directory: Path) -> None:
    # Windows cannot open a directory, and keeps the entry without being asked.
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _problem(setting: str, code: str, what: str, fix: str) -> Problem:
    return Problem(path=setting, what=what, fix=fix, code=f"sql.{code}")
