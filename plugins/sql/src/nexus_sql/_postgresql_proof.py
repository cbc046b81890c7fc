"""Row policies, seen at work: rows that must be refused are, and what is there is not seen.

Everything happens in the probe tenants' scopes, in a transaction that is rolled back; nothing that
it does can be seen from another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nexus_core.spi import Problem, Scope, StoreError
from nexus_sql._postgresql_check import problem
from nexus_sql._postgresql_errors import code_of
from nexus_sql._schema import Tables

if TYPE_CHECKING:
    from nexus_sql._database import Database

_MINE: Final = Scope("t_probe_a", "dev")
_OTHERS: Final = (Scope("t_probe_b", "dev"), Scope("t_probe_a", "prod"))
_REFUSED: Final = "42501"
_UNSET: Final = frozenset(("42704", "23514", _REFUSED))

_VALUES: Final[tuple[tuple[type, object], ...]] = (
    (sa.BOOLEAN, False),
    (sa.Integer, 0),
    (sa.Float, 0.0),
    (sa.LargeBinary, b""),
    (sa.String, ""),
)


class _UndoneError(StoreError):
    """Ends the probing transaction, so that it is rolled back."""


def problems(database: Database, tables: Tables) -> list[Problem]:
    """What the policies let through; commits nothing."""
    found: list[Problem] = []
    try:
        with database.write(_MINE) as connection:
            for table in (*tables.records.values(), *tables.logs):
                found += (_leak(table, what) for what in _leaks(connection, table))
            raise _UndoneError("probed")
    except _UndoneError:
        return found


def _leaks(connection: Connection, table: sa.Table) -> Iterator[str]:
    for other in _OTHERS:
        if _attempt(connection, table, other) != _REFUSED:
            yield "takes a row for another scope"
    if (code := _attempt(connection, table, _MINE)) is not None:
        yield f"refuses a row of the transaction's own scope (SQLSTATE {code})"
    for scope in _OTHERS:
        _name(connection, scope.tenant_id, scope.env)
        if _seen(connection, table):
            yield "shows rows of another scope"
    for tenant, env in (("", _MINE.env), (_MINE.tenant_id, "")):
        _name(connection, tenant, env)
        if _attempt(connection, table, _MINE) not in _UNSET:
            yield "takes a row when no scope was named"
    _name(connection, _MINE.tenant_id, _MINE.env)


def _attempt(connection: Connection, table: sa.Table, scope: Scope) -> str | None:
    """Insert a row, and say with which code that was refused, if it was."""
    values: dict[str, Any] = {
        column.name: next(value for kind, value in _VALUES if isinstance(column.type, kind))
        for column in table.columns
        if not column.nullable
    }
    values |= {"nx_tenant": scope.tenant_id, "nx_env": scope.env}
    point = connection.begin_nested()
    try:
        connection.execute(sa.insert(table), values)
    except sa.exc.DBAPIError as error:
        point.rollback()
        return code_of(error) or ""
    point.commit()
    return None


def _seen(connection: Connection, table: sa.Table) -> bool:
    statement = sa.select(sa.func.count()).select_from(table)
    own = sa.and_(table.c.nx_tenant == _MINE.tenant_id, table.c.nx_env == _MINE.env)
    return bool(connection.execute(statement.where(own)).scalar_one())


def _name(connection: Connection, tenant: str, env: str) -> None:
    connection.execute(
        sa.select(
            sa.func.set_config("nexus.tenant", tenant, True),  # noqa: FBT003  # SQL's own argument
            sa.func.set_config("nexus.env", env, True),  # noqa: FBT003  # the same
        )
    )


def _leak(table: sa.Table, what: str) -> Problem:
    fix = "take the store out of service, and provision it anew"
    return problem("leak", f"the table {table.name} {what}", fix)
