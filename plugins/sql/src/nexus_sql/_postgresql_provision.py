"""Creating schema, tables, protection and logins, as the owner that the settings refer to.

One transaction does all of it, so that no table is ever there without its protection. Roles are
created where they are missing; of one that is there, nothing is altered but the derived password of
a scope's login.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nexus_core.spi import ConfigurationError
from nexus_sql._migrations import migrate
from nexus_sql._postgresql_check import (
    Expected,
    actual_policies,
    problem,
    protection_problems,
    role_problems,
    server_problems,
)
from nexus_sql._postgresql_logins import login_of, password_of, scopes_of
from nexus_sql._postgresql_policy import GIVEN, LOGINS, Policy, Protection


def provision(
    connection: Connection,
    expected: Expected,
    now: Callable[[], int],
    *,
    password: str | None,
    login_secret: bytes | None,
    tenants: Sequence[str],
) -> list[str]:
    """Do what is missing, in the transaction that is open; return a line for each thing done.

    Raises ``ConfigurationError`` for what cannot be mended here; roll back then.
    """
    if found := [*server_problems(connection)]:
        raise ConfigurationError(found)
    schema, role = expected.schema, expected.role
    # Of several that provision at once, each finds done what those before it did.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (schema,))
    done: list[str] = []
    if not _exists(connection, "to_regnamespace(:name)", schema):
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        done.append(f"schema {schema}")
    if not _exists(connection, "to_regrole(:name)", _quoted(connection, role)):
        _create_role(connection, role, password)
        done.append(f"role {role}")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {_quoted(connection, role)}")
    if not _exists(connection, "to_regtype(:name)", f"{schema}.{GIVEN}"):
        connection.exec_driver_sql(
            f"CREATE DOMAIN {schema}.{GIVEN} AS text COLLATE \"C\" CHECK (VALUE <> '')"
        )
    steps, found = migrate(connection, expected.tables, "schema_name", now())
    if found:
        raise ConfigurationError(found)
    done += steps
    if expected.per_scope:
        _make_logins_table(connection, schema, done)
    done += _protect_all(connection, expected)
    if login_secret is not None:
        done += _make_logins(connection, expected, login_secret, tenants)
    found = [*role_problems(connection, expected), *protection_problems(connection, expected)]
    owner = connection.exec_driver_sql("SELECT current_user").scalar_one()
    if owner == role:
        what = "the owner's URL is for the same role that the store works as"
        found.append(problem("role", what, "let another role own the tables", "owner"))
    if found:
        raise ConfigurationError(found)
    return done


def _protect_all(connection: Connection, expected: Expected) -> list[str]:
    """Enable, force, create and grant what is missing, in one message."""
    role = _quoted(connection, expected.role)
    rows = connection.execute(
        sa.text(
            "SELECT oid, relname, relrowsecurity AND relforcerowsecurity AS forced"
            " FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace(:schema)"
        ),
        {"schema": expected.schema},
    )
    policies = actual_policies(connection, expected.schema)
    there = {row.relname: (row.forced, policies.get(row.oid, {})) for row in rows}
    statements = [f"GRANT SELECT ON {expected.schema}.{expected.tables.versions.name} TO {role}"]
    done: list[str] = []
    for name, protection in expected.protected.items():
        table = f"{expected.schema}.{name}"
        missing = [*_missing(table, protection, *there[name])]
        if missing:
            done.append(f"row policies of {name}")
        statements += missing
        privileges = sorted(protection.privileges)
        if protection.columns:
            columns = (_quoted(connection, each) for each in sorted(protection.columns))
            privileges.append(f"UPDATE ({', '.join(columns)})")
        statements.append(f"GRANT {', '.join(privileges)} ON {table} TO {role}")
    driver: Any = connection.connection.driver_connection
    driver.execute(";\n".join(statements), prepare=False)
    return done


def _missing(
    table: str, protection: Protection, forced: object, actual: Mapping[str, Policy]
) -> Iterator[str]:
    if not forced:
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    for policy in protection.policies:
        if actual.get(policy.name) != policy:
            yield f"DROP POLICY IF EXISTS {policy.name} ON {table}"
            yield policy.statement(table)


def _create_role(
    connection: Connection, role: str, password: str | None, *, member_of: str | None = None
) -> None:
    options = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT"
    quoted = _quoted(connection, role)
    connection.exec_driver_sql(f"CREATE ROLE {quoted} {options}")
    if password is not None:
        _set_password(connection, role, password)
    if member_of is not None:
        group = _quoted(connection, member_of)
        connection.exec_driver_sql(f"GRANT {group} TO {quoted}")
        if _server(connection) >= 160_000:
            # It has what the group has, and may not become it.
            connection.exec_driver_sql(f"GRANT {group} TO {quoted} WITH SET FALSE")


def _set_password(connection: Connection, role: str, password: str) -> None:
    # The server sees, and perhaps logs, what a password is checked by, and not the password.
    raw: Any = connection.connection.driver_connection
    stored = raw.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    literal = stored.decode().replace("'", "''").replace("%", "%%")
    connection.exec_driver_sql(f"ALTER ROLE {_quoted(connection, role)} PASSWORD '{literal}'")


def _make_logins_table(connection: Connection, schema: str, done: list[str]) -> None:
    if _exists(connection, "to_regclass(:name)", f"{schema}.{LOGINS}"):
        return
    connection.exec_driver_sql(
        f'CREATE TABLE {schema}.{LOGINS} (nx_tenant text COLLATE "C" NOT NULL,'
        ' nx_env text COLLATE "C" NOT NULL, login name NOT NULL,'
        " PRIMARY KEY (nx_tenant, nx_env))"
    )
    done.append(f"table {LOGINS}")


def _make_logins(
    connection: Connection, expected: Expected, secret: bytes, tenants: Sequence[str]
) -> Iterator[str]:
    schema = expected.schema
    database = connection.exec_driver_sql("SELECT current_database()").scalar_one()
    # The owner is bound by the table's policy too, so it cannot read what is there.
    connection.exec_driver_sql(f"ALTER TABLE {schema}.{LOGINS} NO FORCE ROW LEVEL SECURITY")
    for scope in scopes_of(tenants):
        login = login_of(database, schema, scope)
        if not _exists(connection, "to_regrole(:name)", login):
            _create_role(connection, login, None, member_of=expected.role)
            yield f"login {login} of {scope}"
        _set_password(connection, login, password_of(secret, login))
        connection.exec_driver_sql(
            f"INSERT INTO {schema}.{LOGINS} (nx_tenant, nx_env, login)"  # noqa: S608
            " VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (scope.tenant_id, scope.env, login),
        )
    connection.exec_driver_sql(f"ALTER TABLE {schema}.{LOGINS} FORCE ROW LEVEL SECURITY")


def _exists(connection: Connection, expression: str, name: str) -> bool:
    statement = sa.text(f"SELECT {expression} IS NOT NULL")
    return bool(connection.execute(statement, {"name": name}).scalar_one())


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name).replace("%", "%%")


def _server(connection: Connection) -> int:
    statement = "SELECT current_setting('server_version_num')::int"
    return int(connection.exec_driver_sql(statement).scalar_one())
