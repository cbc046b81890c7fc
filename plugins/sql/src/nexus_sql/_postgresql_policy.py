"""The second wall: row policies, and grants that leave a login nothing to take them down with.

A policy compares a row's scope with two settings that are made for one transaction. Read without a
value for "missing", a setting that was never made raises; one that a past transaction left empty
is refused by the domain that it is cast to. Each is read in a subquery, so once for a statement and
not for each row. There is a permissive policy, without which nothing would be visible, and the same
as a restrictive one, which no policy that somebody adds can widen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from nexus_sql._schema import Tables

GIVEN: Final = "nexus_given"
LOGINS: Final = "nexus_logins"
_OF_LOGIN: Final = "nexus_login"

_ALL: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_RECORD: Final = frozenset(("SELECT", "INSERT", "DELETE"))


@attrs.frozen(kw_only=True)
class Policy:
    """One policy as the catalogue shows it; an expression is ``None`` where a command has none."""

    name: str
    permissive: bool
    command: str
    using: str | None
    check: str | None

    def statement(self, table: str) -> str:
        """What creates it. The catalogue's own spelling is valid SQL."""
        kind = "PERMISSIVE" if self.permissive else "RESTRICTIVE"
        using = "" if self.using is None else f" USING ({self.using})"
        check = "" if self.check is None else f" WITH CHECK ({self.check})"
        return (
            f"CREATE POLICY {self.name} ON {table} AS {kind} FOR {self.command}"
            f" TO PUBLIC{using}{check}"
        )


@attrs.frozen(kw_only=True)
class Protection:
    """What one table must have: its policies, and exactly these privileges for the login."""

    policies: tuple[Policy, ...]
    privileges: frozenset[str]
    columns: frozenset[str]
    """Columns that may be updated, where ``UPDATE`` is not a privilege on the whole table."""


def protections(tables: Tables, *, per_scope: bool) -> dict[str, Protection]:
    """The protection of each table that holds rows of scopes, by the table's name."""
    schema = tables.metadata.schema
    assert schema is not None
    found: dict[str, Protection] = {}
    for table in (*tables.records.values(), *tables.logs):
        keys = {column.name for column in table.primary_key}
        columns = frozenset(column.name for column in table.columns) - keys
        policies = [*_of_scope(schema, per_scope=per_scope)]
        if table is tables.entries:
            columns = frozenset(("salt", "sealed", "subject_tag"))
            forgotten = " AND ".join(f"({name} IS NULL)" for name in sorted(columns))
            policies.append(_restrictive("nexus_forget", "UPDATE", "true", f"({forgotten})"))
        if table in (tables.checkpoints, tables.open_intents):
            columns = frozenset()
        if table in (tables.entries, tables.checkpoints):
            gone = f"(NOT (EXISTS ( SELECT 1\n   FROM {schema}.{tables.heads.name})))"  # noqa: S608
            policies.append(_restrictive("nexus_whole", "DELETE", gone, None))
        found[table.name] = Protection(
            policies=tuple(policies), privileges=_RECORD, columns=columns
        )
    if per_scope:
        own = Policy(
            name=_OF_LOGIN,
            permissive=True,
            command="SELECT",
            using="(login = SESSION_USER)",
            check=None,
        )
        found[LOGINS] = Protection(
            policies=(own,), privileges=frozenset(("SELECT",)), columns=frozenset()
        )
    return found


def _of_scope(schema: str, *, per_scope: bool) -> Iterator[Policy]:
    same = " AND ".join(
        f"({column} = (( SELECT (current_setting('{setting}'::text))::{schema}.{GIVEN}"
        " AS current_setting))::text)"
        for column, setting in SETTINGS.items()
    )
    for name, permissive in (("nexus_scope", True), ("nexus_scope_only", False)):
        yield Policy(
            name=name, permissive=permissive, command="ALL", using=f"({same})", check=f"({same})"
        )
    if per_scope:
        mine = " AND ".join(
            f"({column} = ( SELECT {LOGINS}.{column}\n   FROM {schema}.{LOGINS}\n"  # noqa: S608
            f"  WHERE ({LOGINS}.login = SESSION_USER)))"
            for column in SETTINGS
        )
        yield Policy(
            name=_OF_LOGIN,
            permissive=False,
            command="ALL",
            using=f"({mine})",
            check=f"({mine})",
        )


def _restrictive(name: str, command: str, using: str, check: str | None) -> Policy:
    return Policy(name=name, permissive=False, command=command, using=using, check=check)


SETTINGS: Final[Mapping[str, str]] = {"nx_tenant": "nexus.tenant", "nx_env": "nexus.env"}
"""The setting that each column of the scope is compared with."""
