"""From PostgreSQL's SQLSTATE codes to the one error tree, leaving SQL, values and names behind.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from nexus_core.spi import (
    BackendError,
    IntegrityError,
    InvalidArgumentError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    StoreError,
    StoreTimeoutError,
    UnauthenticatedError,
    UnavailableError,
)
from nexus_sql._database import Collision

PROVISION: Final = "provision the store; `nexus doctor` says what is missing"

_DUPLICATE: Final = "23505"
_COLLISIONS: Final = frozenset(("40001", "40P01"))
_NO_SCHEMA: Final = frozenset(("42P01", "42703", "42704", "3F000"))
_DAMAGED: Final = frozenset(("XX001", "XX002"))
# The server ends the connection, is about to, or does not let it begin.
_GONE: Final = frozenset(("57P01", "57P02", "57P03", "57P05", "25P03"))
# Authentication fails before there is a result to carry a code; only words are left then.
_REFUSED: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba.conf entry|is not permitted to log in"
    r"|certificate|role \"[^\"]*\" does not exist"
)


def original(error: BaseException) -> BaseException:
    """What SQLAlchemy wrapped, if it wrapped something."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


def code_of(error: BaseException) -> str | None:
    """The SQLSTATE, where the server gave one."""
    code = getattr(original(error), "sqlstate", None)
    return code if isinstance(code, str) else None


def is_duplicate(error: Exception) -> bool:
    """Whether a key was taken."""
    return code_of(error) == _DUPLICATE


def is_disconnect(error: Exception) -> bool:
    """Whether the connection is gone, so that an unanswered commit may stand."""
    import psycopg

    code = code_of(error)
    if code is not None:
        return code in _GONE or code.startswith("08")
    return isinstance(original(error), psycopg.OperationalError | psycopg.InterfaceError)


def translate(error: Exception, outcome: Outcome) -> StoreError | None:
    """Give the error of the tree; ``None`` for an exception that is not the engine's."""
    code = code_of(error)
    return _by_type(error, outcome) if code is None else _by_code(code, outcome)


def _by_code(code: str, outcome: Outcome) -> StoreError:
    if code in _COLLISIONS:
        return Collision("another transaction came between", hint="try again")
    if code == "55P03":
        return StoreTimeoutError(
            "the scope stayed locked by another writer",
            hint="try again, or raise busy_timeout_seconds",
            outcome=Outcome.NOT_APPLIED,
        )
    if code in _GONE or code.startswith("08"):
        return UnavailableError("the database server ended the connection", outcome=outcome)
    if code == _DUPLICATE:
        # Where a taken key is somebody's answer it was caught before; here rows deny one another.
        return IntegrityError("what is stored contradicts itself", outcome=outcome)
    if code in _NO_SCHEMA:
        return UnavailableError(
            "the database has not the schema", hint=PROVISION, retryable=False, outcome=outcome
        )
    if code in _DAMAGED:
        return IntegrityError("the database is damaged", outcome=outcome)
    if code.startswith(("22", "23", "54")):
        return InvalidArgumentError("a value does not fit its place", outcome=outcome)
    for prefix, (kind, what) in _BY_PREFIX.items():
        if code.startswith(prefix):
            return kind(what, outcome=outcome)
    return BackendError(f"the database refused a statement (SQLSTATE {code})", outcome=outcome)


_BY_PREFIX: Final[Mapping[str, tuple[type[StoreError], str]]] = {
    "57014": (StoreTimeoutError, "the database server cancelled a statement"),
    "28": (UnauthenticatedError, "the database server refused the login"),
    "42501": (PermissionDeniedError, "the database server denied the login something it needs"),
    "53100": (QuotaExceededError, "the database server's disk has no room"),
    "53": (UnavailableError, "the database server is out of resources"),
    "25006": (UnavailableError, "the database server takes no writes"),
    "58": (UnavailableError, "the database server could not read or write its files"),
}


def _by_type(error: Exception, outcome: Outcome) -> StoreError | None:
    import psycopg

    inner = original(error)
    if isinstance(inner, OverflowError | UnicodeError | psycopg.DataError):
        return InvalidArgumentError(
            "a value cannot be stored: integers are 64-bit, text is valid Unicode without NUL",
            outcome=outcome,
        )
    if isinstance(inner, psycopg.errors.ConnectionTimeout):
        return UnavailableError("the database server does not answer", outcome=outcome)
    if isinstance(inner, psycopg.OperationalError | psycopg.InterfaceError):
        if _REFUSED.search(str(inner)):
            return UnauthenticatedError("the database server refused the login", outcome=outcome)
        return UnavailableError("the database server cannot be reached", outcome=outcome)
    if isinstance(inner, psycopg.Error | SQLAlchemyError | MemoryError | OSError):
        return BackendError(f"the database failed ({type(inner).__name__})", outcome=outcome)
    return None
