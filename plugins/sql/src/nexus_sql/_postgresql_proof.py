"""Row policies, seen at work: rows that must be refused are, and what is there is not seen.

Everything happens in the probe tenants' scopes, in one block that the server runs by itself, inside
a transaction that is rolled back. Nothing that it does can be seen from another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from nexus_core.spi import Problem, Scope, StoreError
from nexus_sql._postgresql_check import problem
from nexus_sql._schema import Tables

if TYPE_CHECKING:
    from nexus_sql._database import Database

_MINE: Final = Scope("t_probe_a", "dev")
_OTHERS: Final = (Scope("t_probe_b", "dev"), Scope("t_probe_a", "prod"))
_REFUSED: Final = "insufficient_privilege"
# A domain that takes no empty text, or a setting that nobody made.
_UNNAMED: Final = f"{_REFUSED} OR check_violation OR undefined_object"

_LEAKS: Final = {
    "plant": "takes a row for another scope",
    "own": "refuses a row of the transaction's own scope",
    "seen": "shows rows of another scope",
    "unnamed": "takes a row when no scope was named",
}
_VALUES: Final[tuple[tuple[type, str], ...]] = (
    (sa.BOOLEAN, "false"),
    (sa.Integer, "0"),
    (sa.Float, "0"),
    (sa.LargeBinary, "''"),
    (sa.String, "''"),
)


class _UndoneError(StoreError):
    """Ends the probing transaction, so that it is rolled back."""


def problems(database: Database, tables: Tables) -> list[Problem]:
    """What the policies let through; commits nothing."""
    every = (*tables.records.values(), *tables.logs)
    body = "\n".join(line for table in every for line in _block(table))
    found: list[str] = []
    try:
        with database.write(_MINE) as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            begin = "BEGIN PERFORM set_config('nexus.found', '', true);"
            driver.execute(f"DO $nexus$ {begin}\n{body}\nEND $nexus$", prepare=False)
            said = connection.exec_driver_sql("SELECT current_setting('nexus.found')").scalar_one()
            found = said.split()
            raise _UndoneError("probed")
    except _UndoneError:
        leaks = (each.split(":") for each in dict.fromkeys(found))
        return [_leak(table, _LEAKS[leak]) for table, leak in leaks]


def _block(table: sa.Table) -> Iterator[str]:
    yield _name(_MINE.tenant_id, _MINE.env)
    for other in _OTHERS:
        insert = _insert(table, other)
        yield _refused(insert, _REFUSED, _found(table, "plant"))
    refused = f"EXCEPTION WHEN OTHERS THEN {_found(table, 'own')} END;"
    yield f"BEGIN {_insert(table, _MINE)} {refused}"
    own = f"nx_tenant = '{_MINE.tenant_id}' AND nx_env = '{_MINE.env}'"
    for scope in _OTHERS:
        yield _name(scope.tenant_id, scope.env)
        seen = f"EXISTS (SELECT FROM {table.schema}.{table.name} WHERE {own})"
        yield f"IF {seen} THEN {_found(table, 'seen')} END IF;"
    for tenant, env in (("", _MINE.env), (_MINE.tenant_id, "")):
        yield _name(tenant, env)
        insert = _insert(table, _MINE)
        yield _refused(insert, _UNNAMED, _found(table, "unnamed"))


def _refused(insert: str, condition: str, found: str) -> str:
    """Whatever else happens to the row, the policies had let it through."""
    return f"BEGIN {insert} {found} EXCEPTION WHEN {condition} THEN WHEN OTHERS THEN {found} END;"


def _insert(table: sa.Table, scope: Scope) -> str:
    values = {
        column.name: next(value for kind, value in _VALUES if isinstance(column.type, kind))
        for column in table.columns
        if not column.nullable
    }
    values |= {"nx_tenant": f"'{scope.tenant_id}'", "nx_env": f"'{scope.env}'"}
    names = ", ".join(f'"{name}"' for name in values)
    return (
        f"INSERT INTO {table.schema}.{table.name} ({names})"  # noqa: S608  # nobody's input
        f" VALUES ({', '.join(values.values())});"
    )


def _name(tenant: str, env: str) -> str:
    return (
        f"PERFORM set_config('nexus.tenant', '{tenant}', true),"
        f" set_config('nexus.env', '{env}', true);"
    )


def _found(table: sa.Table, leak: str) -> str:
    """Note a leak: in a setting, as a block returns nothing."""
    return (
        "PERFORM set_config('nexus.found', current_setting('nexus.found') ||"
        f" ' {table.name}:{leak}', true);"
    )


def _leak(table: str, what: str) -> Problem:
    fix = "take the store out of service, and provision it anew"
    return problem("leak", f"the table {table} {what}", fix)
