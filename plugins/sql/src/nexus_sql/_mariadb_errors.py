"""From MariaDB's error codes to the one error tree, leaving SQL, values and names behind.

Codes: https://mariadb.com/kb/en/mariadb-error-code-reference/ (from 2000 on, the client's own)
"""

from __future__ import annotations

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
    UnauthenticatedError,
    UnavailableError,
)
from nexus_sql._database import Collision

UNKNOWN_DATABASE: Final = 1049

_DUPLICATE: Final = 1062
_UNDONE: Final = frozenset((1020, 1213, 1614))  # changed since it was read, deadlock, XA deadlock
_WAITED: Final = 1205
# 0 is what the client says of a connection that it has closed; 1053 and 1927 mean that the server
# ended it, or an operator did; 4031 that it lay idle for too long.
_GONE: Final = frozenset(
    (
        *(0, 1053, 1077, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927),
        *(2006, 2013, 2014, 2027, 2055, 4031),
    )
)
_ABSENT: Final = frozenset((2002, 2003, 2005, 2012))
_CROWDED: Final = frozenset((1040, 1203, 1226))
_STOPPED: Final = frozenset((1317, 1969, 3024))
_TLS: Final = frozenset((2026, 3159))
_WHO: Final = frozenset((1045, 1396, 1524, 1698, 1820, 1862, 4151))
_REFUSED: Final = frozenset((1044, 1142, 1143, 1227, 1290, 1370, 1792, 1836))
_UNFIT: Final = frozenset((1048, 1136, 1264, 1265, 1292, 1300, 1364, 1366, 1406, 1690, 4025))
_NO_ROOM: Final = frozenset((1021, 1041, 1114, 1118, 1135, 1153, 1206, 1301))
_NO_SCHEMA: Final = frozenset((1049, 1054, 1146, 1932))
_DAMAGED: Final = frozenset((1034, 1035, 1194, 1195, 1259, 1712, 1877))
_PROVISION: Final = "provision the store; `nexus doctor` says what is missing"


def original(error: Exception) -> Exception:
    """What SQLAlchemy wrapped, if it wrapped something."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, Exception) else error


def code_of(error: Exception) -> int | None:
    """The error code, for what the server or its client said."""
    inner = original(error)
    # Told by its module, so that nothing here has to import the client.
    if not type(inner).__module__.startswith("pymysql") or not inner.args:
        return None
    code = inner.args[0]
    return code if isinstance(code, int) else None


def is_duplicate(error: Exception) -> bool:
    """Whether a primary key was taken."""
    return code_of(error) == _DUPLICATE


def is_disconnect(error: Exception) -> bool:
    """Whether the connection is gone."""
    return code_of(error) in _GONE or isinstance(original(error), OSError)


def translate(error: Exception, outcome: Outcome) -> StoreError | None:
    """Give the error of the tree; ``None`` for an exception that is not the engine's."""
    code = code_of(error)
    if code is not None:
        return _by_code(code, outcome)
    return _by_type(original(error), outcome)


def _by_code(code: int, outcome: Outcome) -> StoreError:
    if code in _UNDONE:
        return Collision("the database undid the write for the sake of another")
    if code == _WAITED:
        return StoreTimeoutError(
            "the scope stayed locked by another writer",
            hint="try again, or raise busy_timeout_seconds",
            outcome=Outcome.NOT_APPLIED,
        )
    if code in _GONE:
        return UnavailableError("the connection to the database was lost", outcome=outcome)
    if code in _ABSENT:
        return UnavailableError("the database server does not answer", outcome=outcome)
    if code in _CROWDED:
        return UnavailableError("the database server takes no more connections", outcome=outcome)
    if code in _STOPPED:
        return StoreTimeoutError("the database server stopped a statement", outcome=outcome)
    if code in _TLS:
        return UnavailableError(
            "the database server cannot be talked to as `tls` demands",
            hint="mend its certificate, or name its authority as `tls_roots`",
            retryable=False,
            outcome=outcome,
        )
    if code in _WHO:
        return UnauthenticatedError("the database refused the user or its password")
    if code in _REFUSED:
        return PermissionDeniedError(
            "the database refused the user a statement",
            hint="`nexus doctor` says what it needs",
            outcome=outcome,
        )
    if code in _NO_SCHEMA:
        return UnavailableError(
            "the database has not the schema", hint=_PROVISION, retryable=False, outcome=outcome
        )
    if code in _UNFIT:
        return InvalidArgumentError("a value does not fit its place", outcome=outcome)
    if code in _NO_ROOM:
        return QuotaExceededError("the database has no room", outcome=outcome)
    if code == _DUPLICATE:
        # Where a taken key is somebody's answer it was caught before; here rows deny one another.
        return IntegrityError("what is stored contradicts itself", outcome=outcome)
    if code in _DAMAGED:
        return IntegrityError("a table of the database is damaged", outcome=outcome)
    return BackendError(f"the database refused a statement (code {code})", outcome=outcome)


def _by_type(error: Exception, outcome: Outcome) -> StoreError | None:
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return InvalidArgumentError(
            "a value cannot be stored: integers are 64-bit, text is valid Unicode", outcome=outcome
        )
    if isinstance(error, UnicodeDecodeError):
        return IntegrityError("a stored text is damaged", outcome=outcome)
    if type(error).__module__.startswith("pymysql") and "closed" in str(error).lower():
        return ClosedError("the store is closed", outcome=outcome)
    if isinstance(error, OSError):
        return UnavailableError("the connection to the database was lost", outcome=outcome)
    if isinstance(error, SQLAlchemyError | MemoryError):
        return BackendError(f"the database failed ({type(error).__name__})", outcome=outcome)
    if type(error).__module__.startswith("pymysql"):
        return BackendError(f"the database failed ({type(error).__name__})", outcome=outcome)
    return None
