"""What stands in the way on a PostgreSQL server, found by reading the catalogue.

Everything that would let a row be seen from another scope is looked for: a table whose policies are
off, altered, or joined by others; a login that owns something, is above policies, or may do more
than it needs; a view, a function or a trigger that runs as somebody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nexus_core.spi import Problem
from nexus_sql._migrations import FIX, schema_problems
from nexus_sql._postgresql_policy import GIVEN, LOGINS, Policy, Protection, protections
from nexus_sql._schema import Tables

OLDEST: Final = 15

_COMMANDS: Final = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
_KINDS: Final = {
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
    "p": "partitioned table",
    "c": "type",
}
_TAKE_BACK: Final = "take it away, then provision the store"
_ALONE: Final = "keep the schema for the store alone"


@attrs.frozen(kw_only=True)
class Expected:
    """What a database must look like."""

    tables: Tables
    role: str
    """The role that is granted what the store needs."""
    per_scope: bool

    @property
    def schema(self) -> str:
        """The store's schema."""
        schema = self.tables.metadata.schema
        assert schema is not None
        return schema

    @property
    def protected(self) -> dict[str, Protection]:
        """What each table must have."""
        return protections(self.tables, per_scope=self.per_scope)


def problems(connection: Connection, expected: Expected) -> list[Problem]:
    """Everything wrong with server, login, schema and protection, as the login itself sees it."""
    found = [*server_problems(connection)]
    found += role_problems(connection, expected)
    if not _one(connection, "SELECT to_regnamespace(:schema) IS NOT NULL", schema=expected.schema):
        what = f"the database has no schema {expected.schema}"
        return [*found, problem("schema_missing", what, FIX, "schema_name")]
    if not _one(
        connection, "SELECT has_schema_privilege(:schema, 'USAGE')", schema=expected.schema
    ):
        what = f"the login may not use the schema {expected.schema}"
        return [*found, problem("grant", what, FIX, "schema_name")]
    if wrong := schema_problems(connection, expected.tables, "schema_name"):
        return [*found, *wrong]
    return [*found, *protection_problems(connection, expected)]


def server_problems(connection: Connection) -> Iterator[Problem]:
    """Whether the server is one that keeps what it acknowledges, and can be relied on here."""
    version = connection.execute(sa.text("SELECT current_setting('server_version_num')::int"))
    if (number := version.scalar_one()) < OLDEST * 10_000:
        what = f"the server is PostgreSQL {number // 10_000}, older than {OLDEST}"
        yield problem("server_old", what, "upgrade the server")
    rows = connection.execute(
        sa.text(
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN"
            " ('fsync', 'full_page_writes', 'server_encoding', 'synchronous_commit')"
        )
    )
    wanted = {"fsync": "on", "full_page_writes": "on", "server_encoding": "UTF8"}
    for name, value in rows:
        if wanted.get(name, value) != value:
            fix = "create the database with UTF8" if "encod" in name else f"set {name} = on"
            yield problem("server_unsafe", f"the server has {name} = {value}", fix)
    if _one(connection, "SELECT pg_is_in_recovery()"):
        yield problem("server_standby", "the server is a standby", "name the primary in the URL")


def role_problems(connection: Connection, expected: Expected) -> Iterator[Problem]:
    """Whether the role is one that policies and grants bind."""
    role = connection.execute(
        sa.text("SELECT * FROM pg_catalog.pg_roles WHERE rolname = :role"), {"role": expected.role}
    ).one_or_none()
    if role is None:
        yield problem("role", f"there is no role {expected.role}", FIX)
        return
    above = {"rolsuper": "SUPERUSER", "rolbypassrls": "BYPASSRLS", "rolcreaterole": "CREATEROLE"}
    for attribute, name in {**above, "rolreplication": "REPLICATION"}.items():
        if getattr(role, attribute):
            what = f"the role {expected.role} has {name}, so row policies do not bind it"
            yield problem("role", what, f"ALTER ROLE {expected.role} NO{name}, or use another role")
    member_of = connection.execute(
        sa.text(
            "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname <> :role"
            " AND pg_has_role(:role, r.oid, 'MEMBER') AND (r.rolsuper OR r.rolbypassrls"
            " OR r.rolcreaterole OR r.rolname LIKE 'pg\\_%' OR EXISTS (SELECT FROM pg_class c"
            " WHERE c.relowner = r.oid AND c.relnamespace = to_regnamespace(:schema)))"
            " ORDER BY 1"
        ),
        {"role": expected.role, "schema": expected.schema},
    ).scalars()
    for above_it in member_of:
        what = f"the role {expected.role} is a member of {above_it}, which is above row policies"
        yield problem("role", what, f"REVOKE {above_it} FROM {expected.role}")
    if _one(
        connection,
        "SELECT has_schema_privilege(:role, to_regnamespace(:schema), 'CREATE')",
        role=expected.role,
        schema=expected.schema,
    ):
        what = f"the role {expected.role} may create in the schema {expected.schema}"
        yield problem("grant", what, _TAKE_BACK, "schema_name")


def protection_problems(connection: Connection, expected: Expected) -> list[Problem]:
    """Whether every table has its protection, and nothing stands beside it that undoes it."""
    found: list[Problem] = []
    relations = {row.relname: row for row in _relations(connection, expected)}
    given = _one(
        connection,
        "SELECT count(*) FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t"
        " ON t.oid = c.contypid WHERE t.typnamespace = to_regnamespace(:schema)"
        " AND t.typname = :given AND c.convalidated"
        " AND pg_get_constraintdef(c.oid) = 'CHECK ((VALUE <> ''''::text))'",
        schema=expected.schema,
        given=GIVEN,
    )
    if given != 1:
        found.append(problem("policy", f"the domain {GIVEN} is missing or altered", FIX))
    policies = actual_policies(connection, expected.schema)
    grants = _grants(connection, expected.schema)
    for name, protection in expected.protected.items():
        relation = relations.pop(name, None)
        if relation is None:
            found.append(problem("schema_incomplete", f"the table {name} is missing", FIX))
            continue
        found += _table_problems(expected, relation, protection, dict(policies[relation.oid]))
        found += _grant_problems(expected, relation, protection, grants[relation.oid])
    relations.pop(expected.tables.versions.name, None)
    found += (_stranger(row, expected) for row in relations.values())
    return [*found, *_beside(connection, expected)]


def _stranger(row: Any, expected: Expected) -> Problem:
    if row.relname == LOGINS:
        what = "the database is provisioned for a login for each scope"
        return problem("logins", what, 'set logins = "per_scope"', "logins")
    kind = _KINDS.get(row.relkind, "table")
    what = f"the schema {expected.schema} has a {kind} {row.relname} that is not the store's"
    return problem("stranger", what, _ALONE, "schema_name")


def _relations(connection: Connection, expected: Expected) -> Sequence[Any]:
    return connection.execute(
        sa.text(
            "SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity,"
            " c.relowner = r.oid AS owned,"
            " EXISTS (SELECT FROM pg_catalog.pg_inherits i"
            " WHERE c.oid IN (i.inhparent, i.inhrelid)) AS inherits,"
            " EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid) AS triggers,"
            " EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid) AS rules"
            " FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_roles r ON r.rolname = :role"
            " WHERE c.relnamespace = to_regnamespace(:schema)"
            " AND c.relkind NOT IN ('i', 'I', 't') ORDER BY c.relname"
        ),
        {"schema": expected.schema, "role": expected.role},
    ).all()


def _table_problems(
    expected: Expected, relation: Any, protection: Protection, policies: dict[str, Policy]
) -> Iterator[Problem]:
    name = relation.relname
    if not relation.relrowsecurity:
        yield problem("policy", f"row security of {name} is not enabled", FIX)
    if not relation.relforcerowsecurity:
        yield problem("policy", f"row security of {name} is not forced on its owner", FIX)
    for what in ("inherits", "triggers", "rules"):
        if getattr(relation, what):
            said = f"the table {name} has {what.replace('inherits', 'an inheritance')}"
            yield problem("stranger", f"{said}, which policies do not cover", _ALONE)
    for wanted in protection.policies:
        actual = policies.pop(wanted.name, None)
        if actual != wanted:
            what = "missing" if actual is None else "altered"
            yield problem("policy", f"the policy {wanted.name} of {name} is {what}", FIX)
    for other in policies:
        what = f"the table {name} has a policy {other} that is not the store's"
        yield problem("policy", what, f"DROP POLICY {other} ON {expected.schema}.{name}")


def actual_policies(connection: Connection, schema: str) -> dict[int, dict[str, Policy]]:
    """The policies of every table as the catalogue shows them; one for some roles is altered."""
    rows = connection.execute(
        sa.text(
            "SELECT p.polrelid, p.polname, p.polpermissive, p.polcmd,"
            " p.polroles = '{0}' AS everybody, pg_get_expr(p.polqual, p.polrelid) AS using,"
            " pg_get_expr(p.polwithcheck, p.polrelid) AS check"
            " FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid"
            " WHERE c.relnamespace = to_regnamespace(:schema)"
        ),
        {"schema": schema},
    )
    found: dict[int, dict[str, Policy]] = defaultdict(dict)
    for row in rows:
        found[row.polrelid][row.polname] = Policy(
            name=row.polname,
            permissive=row.polpermissive,
            command=_COMMANDS[row.polcmd] if row.everybody else "for some roles",
            using=row.using,
            check=row.check,
        )
    return found


def _grants(connection: Connection, schema: str) -> dict[int, list[Any]]:
    """Who but the owner may do what, with every table and column."""
    rows = connection.execute(
        sa.text(
            "SELECT g.oid, coalesce(r.rolname, 'PUBLIC') AS grantee, g.privilege, g.col,"
            " g.grantable FROM (SELECT c.oid, a.grantee, a.privilege_type AS privilege,"
            " '' AS col, a.is_grantable AS grantable, c.relowner, c.relnamespace"
            " FROM pg_catalog.pg_class c, aclexplode(c.relacl) a"
            " UNION ALL SELECT c.oid, a.grantee, a.privilege_type, t.attname::text,"
            " a.is_grantable, c.relowner, c.relnamespace FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a) g"
            " LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee"
            " WHERE g.grantee <> g.relowner AND g.relnamespace = to_regnamespace(:schema)"
        ),
        {"schema": schema},
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.oid].append(row)
    return found


def _grant_problems(
    expected: Expected, relation: Any, protection: Protection, rows: Sequence[Any]
) -> Iterator[Problem]:
    name = relation.relname
    wanted = {(privilege, "") for privilege in protection.privileges}
    wanted |= {("UPDATE", column) for column in protection.columns}
    actual = {(row.privilege, row.col) for row in rows if row.grantee == expected.role}
    for privilege, column in sorted(wanted - actual):
        what = f"the role {expected.role} has not {privilege} on {name}{column and '.'}{column}"
        yield problem("grant", what, FIX)
    extra = {
        (row.grantee, row.privilege)
        for row in rows
        if row.grantee != expected.role or (row.privilege, row.col) not in wanted or row.grantable
    }
    for grantee, privilege in sorted(extra):
        what = f"{grantee} has {privilege} on {name}, more than the store needs"
        fix = f"REVOKE {privilege} ON {expected.schema}.{name} FROM {grantee}"
        yield problem("grant", what, fix)
    if relation.owned:
        what = f"the role {expected.role} owns the table {name}, so it could take the policies away"
        yield problem("role", what, "let another role own it")


def _beside(connection: Connection, expected: Expected) -> Iterator[Problem]:
    routines = connection.execute(
        sa.text(
            "SELECT proname FROM pg_catalog.pg_proc"
            " WHERE pronamespace = to_regnamespace(:schema) ORDER BY 1"
        ),
        {"schema": expected.schema},
    ).scalars()
    for routine in routines:
        what = f"the schema {expected.schema} has a function {routine} that is not the store's"
        yield problem("stranger", what, _ALONE, "schema_name")
    views = connection.execute(
        sa.text(
            "SELECT DISTINCT v.oid::regclass::text FROM pg_catalog.pg_depend d"
            " JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid"
            " JOIN pg_catalog.pg_class v ON v.oid = w.ev_class"
            " JOIN pg_catalog.pg_class t ON t.oid = d.refobjid"
            " WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass"
            " AND t.relnamespace = to_regnamespace(:schema) AND v.oid <> t.oid"
            " AND v.relnamespace <> t.relnamespace AND NOT (v.relkind = 'v' AND EXISTS"
            " (SELECT FROM pg_options_to_table(v.reloptions) o WHERE o.option_name ="
            " 'security_invoker' AND o.option_value::bool)) ORDER BY 1"
        ),
        {"schema": expected.schema},
    ).scalars()
    for view in views:
        what = f"the view {view} shows the store's rows as its owner, whom policies may not bind"
        yield problem("stranger", what, "drop it, or make it security_invoker")


def _one(connection: Connection, statement: str, **parameters: object) -> Any:
    return connection.execute(sa.text(statement), parameters).scalar_one()


def problem(code: str, what: str, fix: str, setting: str = "url") -> Problem:
    """A problem of this engine."""
    return Problem(path=setting, what=what, fix=fix, code=f"sql.{code}")
