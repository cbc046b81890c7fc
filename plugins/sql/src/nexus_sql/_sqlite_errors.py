"""From SQLite's result codes to the one error tree, leaving SQL, values and paths behind.

Codes: https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from nexus_core.spi import (
    BackendError,
    ClosedError,
    IntegrityError,
    InvalidArgumentError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

_BUSY: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))
_DAMAGED: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_REFUSED: Final = frozenset((sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH))
_UNFIT: Final = frozenset(
    (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
)
_DUPLICATE: Final = frozenset(
    (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
)
_PROVISION: Final = "provision the store; `nexus doctor` says what is missing"


def original(error: Exception) -> Exception:
    """What SQLAlchemy wrapped, if it wrapped something."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, Exception) else error


def code_of(error: Exception) -> int | None:
    """The extended result code, for what SQLite itself said."""
    code = getattr(original(error), "sqlite_errorcode", None)
    return code if isinstance(code, int) else None


def is_duplicate(error: Exception) -> bool:
    """Whether a primary key was taken."""
    return code_of(error) in _DUPLICATE


def moved() -> sqlite3.Error:
    """What SQLite itself says, though of writes only, and not of all."""
    error = sqlite3.OperationalError("the database file was moved")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
    return error


def is_moved(error: Exception) -> bool:
    """Whether the file that was open is no longer the one of that name."""
    return code_of(error) == sqlite3.SQLITE_READONLY_DBMOVED


def translate(error: Exception, outcome: Outcome) -> StoreError | None:
    """Give the error of the tree; ``None`` for an exception that is not the engine's."""
    code = code_of(error)
    if code is not None:
        return _by_code(code, str(original(error)), outcome)
    return _by_type(original(error), outcome)


def _by_code(code: int, text: str, outcome: Outcome) -> StoreError:
    primary = code & 0xFF
    if primary in _BUSY:
        # SQLite leaves a transaction open, and undone when it is closed, if it could not commit
        # for a lock.
        return StoreTimeoutError(
            "the database stayed locked by another writer",
            hint="try again, or raise busy_timeout_seconds",
            outcome=Outcome.NOT_APPLIED,
        )
    if primary == sqlite3.SQLITE_FULL:
        # The write-ahead log had no room for the frame that commits.
        return QuotaExceededError("the disk has no room", outcome=Outcome.NOT_APPLIED)
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return UnavailableError(
            "the database file was moved or replaced while it was open", outcome=outcome
        )
    if primary in _REFUSED:
        return PermissionDeniedError(
            "the database cannot be written to",
            hint="`nexus doctor` names the file",
            outcome=outcome,
        )
    if primary in _DAMAGED or code == sqlite3.SQLITE_IOERR_CORRUPTFS:
        return IntegrityError("the database file is damaged", outcome=outcome)
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        return UnavailableError("the database could not be read or written", outcome=outcome)
    if primary == sqlite3.SQLITE_CANTOPEN:
        return UnavailableError(
            "the database file cannot be opened", hint=_PROVISION, retryable=False, outcome=outcome
        )
    if primary == sqlite3.SQLITE_ERROR and text.startswith(("no such table", "no such column")):
        return UnavailableError(
            "the database has not the schema", hint=_PROVISION, retryable=False, outcome=outcome
        )
    if code in _DUPLICATE:
        # Where a taken key is somebody's answer it was caught before; here rows deny one another.
        return IntegrityError("what is stored contradicts itself", outcome=outcome)
    if primary in _UNFIT:
        return InvalidArgumentError("a value does not fit its place", outcome=outcome)
    return BackendError(f"the database refused a statement (code {code})", outcome=outcome)


def _by_type(error: Exception, outcome: Outcome) -> StoreError | None:
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return InvalidArgumentError(
            "a value cannot be stored: integers are 64-bit, text is valid Unicode", outcome=outcome
        )
    if isinstance(error, sqlite3.OperationalError) and "UTF-8" in str(error):
        # The module's own words for text that was never written by it.
        return IntegrityError("a stored text is damaged", outcome=outcome)
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return ClosedError("the store is closed", outcome=outcome)
    if isinstance(error, sqlite3.DataError | sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return InvalidArgumentError("a value does not fit its place", outcome=outcome)
    if isinstance(error, sqlite3.Error | SQLAlchemyError | MemoryError | OSError):
        return BackendError(f"the database failed ({type(error).__name__})", outcome=outcome)
    return None
