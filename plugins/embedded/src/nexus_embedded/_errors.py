"""Nothing that SQLite or the operating system raises leaves the store as it is."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nexus_core.spi import (
    BackendError,
    IntegrityError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REFUSED: Final = (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH)
_AWAY: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM)


def absent() -> NotFoundError:
    """The one answer for an index, and for a scope, that is not there."""
    return NotFoundError("no such index in this scope", hint="create the index first")


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, or -1 where Python's own module raised."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no readable database."""
    return primary_code(error) in _DAMAGED


def from_sqlite(error: sqlite3.Error, outcome: Outcome = Outcome.NOT_APPLIED) -> StoreError:
    """The error of the tree for one of SQLite's."""
    code = primary_code(error)
    if code in _BUSY:
        return StoreTimeoutError(
            "another writer held the scope's database for too long",
            hint="try again, or raise busy_timeout",
            outcome=outcome,
        )
    # Without a code: Python could not decode a text that SQLite read.
    if code in _DAMAGED or (code < 0 and type(error) is sqlite3.OperationalError):
        return IntegrityError(
            "the scope's database is damaged", hint="restore it from a backup", outcome=outcome
        )
    if code == sqlite3.SQLITE_FULL:
        return QuotaExceededError(
            "the vector store's disk is full", hint="free some space", outcome=outcome
        )
    if code in _REFUSED:
        return PermissionDeniedError(
            "the vector store's files may not be read or written",
            hint="run `nexus doctor`",
            outcome=outcome,
        )
    if code in _AWAY:
        return UnavailableError(
            "the vector store's files could not be read or written",
            hint="run `nexus doctor`",
            outcome=outcome,
        )
    return BackendError("the vector store failed", outcome=outcome)


def from_os(error: OSError) -> StoreError:
    """The error of the tree for one of the operating system's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return QuotaExceededError("the vector store's disk is full", hint="free some space")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return PermissionDeniedError(
            "the vector store's files may not be read or written", hint="run `nexus doctor`"
        )
    return UnavailableError(
        "the vector store's files could not be read or written", hint="run `nexus doctor`"
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLite and the system raise into the tree's errors, without their texts."""
    try:
        yield
    except StoreError:  # some of the tree's errors are OSErrors too
        raise
    except sqlite3.Error as error:
        raise from_sqlite(error) from None
    except OSError as error:
        raise from_os(error) from None
