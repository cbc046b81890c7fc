"""What stands in for row policies, which MariaDB does not have.

Every statement of a transaction that was begun for a scope passes here on its way to the server,
and one that reads or writes a table of ours without that scope in its parameters is not sent.
The statements come from one place and name their scope; this makes a mistake there an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from nexus_core.spi import BackendError, Scope

_SCOPE: Final = "nexus_scope"
_CONDITIONS: Final = ("nx_tenant = %(of_tenant)s", "nx_env = %(of_env)s")
_INSERT: Final = "INSERT INTO "
_FIRST_COLUMNS: Final = "(nx_tenant, nx_env, "
_OURS: Final = ("record_", "log_")


def serve(connection: Connection, scope: Scope | None) -> None:
    """From here on the connection serves this scope, or with ``None`` the schema and no scope."""
    connection.info[_SCOPE] = scope


def watch(engine: Engine) -> None:
    """Look at every statement of an engine."""
    event.listen(engine, "before_cursor_execute", _look)


def _look(
    connection: Connection,
    _cursor: object,
    statement: str,
    parameters: Any,
    _context: object,
    executemany: bool,
) -> None:
    scope = connection.info.get(_SCOPE)
    if scope is None or not any(name in statement for name in _OURS):
        return
    several = parameters if executemany else (parameters,)
    if statement.startswith(_INSERT):
        _, columns, _ = statement.partition(_FIRST_COLUMNS)
        holds = bool(columns) and _rows_of(scope, several)
    else:
        named = all(condition in statement for condition in _CONDITIONS)
        holds = named and _conditions_of(scope, several)
    if not holds:
        raise BackendError("a statement without its scope was not sent to the database")


def _rows_of(scope: Scope, rows: Iterable[Any]) -> bool:
    where = (scope.tenant_id, scope.env)
    return all(type(row) is tuple and row[:2] == where for row in rows)


def _conditions_of(scope: Scope, several: Iterable[Any]) -> bool:
    return all(
        isinstance(parameters, Mapping)
        and parameters.get("of_tenant") == scope.tenant_id
        and parameters.get("of_env") == scope.env
        for parameters in several
    )
