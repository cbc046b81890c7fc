"""The schema's version, the steps that lead to it, and what is wrong with a schema at hand.

A step makes sure of something, and does nothing where it holds already: on a new database the
first steps create today's tables, and the later ones find their work done. A released step is never
edited; a later change to a table is a new step at the end.

Collections belong to the core, which may add one, or an optional field to one, without this
plugin's knowing. Provisioning therefore ends by comparing the record tables with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nexus_core.spi import Problem
from nexus_sql._schema import RECORD_PREFIX, Tables

FIX: Final = "provision the store"
HOPELESS: Final = frozenset(("sql.schema_foreign", "sql.schema_newer"))
"""Codes of problems that provisioning refuses to touch."""

_UPGRADE: Final = "upgrade the nexus-core and nexus-sql that run here; nothing goes back"
_RESTORE: Final = "restore the database from a backup"


@attrs.frozen
class Step:
    """One step forward: the version it leads to, what it makes sure of, and how."""

    version: int
    summary: str
    apply: Callable[[Connection, Tables], None]


def _make_records(connection: Connection, tables: Tables) -> None:
    tables.metadata.create_all(connection, tables=list(tables.records.values()))


def _make_logs(connection: Connection, tables: Tables) -> None:
    tables.metadata.create_all(connection, tables=list(tables.logs))


STEPS: Final[tuple[Step, ...]] = (
    Step(1, "tables of the atom store", _make_records),
    Step(2, "tables of the audit sink", _make_logs),
)


def schema_problems(
    connection: Connection, tables: Tables, setting: str, steps: Sequence[Step] = STEPS
) -> list[Problem]:
    """Say why the schema at hand cannot be used; reads only."""
    schema = tables.metadata.schema
    version = _version(connection, tables)
    wanted = steps[-1].version
    there = [] if version is not None else sa.inspect(connection).get_table_names(schema)
    if tables.versions.name in there:
        # Another program has begun to make it between the two looks.
        version = _version(connection, tables)
    if version is None:
        if there:
            what = f"the database belongs to something else: it has a table {there[0]!r}"
            return [_problem(setting, "foreign", what, "name a database of the store's own")]
        return [_problem(setting, "missing", "the database holds no schema of this store", FIX)]
    if version > wanted:
        what = f"the schema has version {version}, newer than {wanted}, the newest known here"
        return [_problem(setting, "newer", what, _UPGRADE)]
    if version < wanted:
        what = f"the schema has version {version}, older than {wanted}"
        return [_problem(setting, "older", what, FIX)]
    return _differences(connection, tables, setting)


def migrate(
    connection: Connection,
    tables: Tables,
    setting: str,
    now: int,
    steps: Sequence[Step] = STEPS,
) -> tuple[list[str], list[Problem]]:
    """Take every step that is missing; return lines for what was done, and what stops it.

    Belongs in one write transaction, which must be rolled back if there are problems.
    """
    done: list[str] = []
    found = schema_problems(connection, tables, setting, steps)
    if any(problem.code in HOPELESS for problem in found):
        return done, found
    version = _version(connection, tables)
    if version is None:
        tables.versions.create(connection)
        version = 0
    for step in steps:
        if step.version > version:
            step.apply(connection, tables)
            connection.execute(
                sa.insert(tables.versions), {"version": step.version, "applied_at": now}
            )
            done.append(f"schema version {step.version}: {step.summary}")
    done += _follow_collections(connection, tables)
    return done, _differences(connection, tables, setting)


def _version(connection: Connection, tables: Tables) -> int | None:
    """The highest step taken, 0 if none was, ``None`` where there is not even a place for it."""
    if not sa.inspect(connection).has_table(tables.versions.name, tables.metadata.schema):
        return None
    version = connection.execute(sa.select(sa.func.max(tables.versions.c.version))).scalar()
    return 0 if version is None else int(version)


def _follow_collections(connection: Connection, tables: Tables) -> list[str]:
    """Add tables for new collections, and columns for new optional fields."""
    done: list[str] = []
    present = _columns(connection, tables)
    found = sa.inspect(connection).get_multi_indexes(schema=tables.metadata.schema)
    indexes = {index["name"] for of_one in found.values() for index in of_one}
    preparer = connection.dialect.identifier_preparer
    for table in tables.records.values():
        if table.name not in present:
            table.create(connection)
            done.append(f"table {table.name}")
            continue
        for column in table.columns:
            if column.name not in present[table.name] and column.nullable:
                spelled = column.type.compile(connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {preparer.format_table(table)}"
                    f" ADD COLUMN {preparer.format_column(column)} {spelled}"
                )
                done.append(f"column {table.name}.{column.name}")
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)
    return done


def _differences(connection: Connection, tables: Tables, setting: str) -> list[Problem]:
    found: list[Problem] = []
    present = _columns(connection, tables)
    for table in (*tables.records.values(), *tables.logs):
        ours = table.name.startswith(RECORD_PREFIX)
        columns = present.get(table.name)
        if columns is None:
            fix = FIX if ours else _RESTORE
            found.append(_problem(setting, "incomplete", f"the table {table.name} is missing", fix))
            continue
        for column in table.columns:
            if column.name not in columns:
                fix = FIX if ours and column.nullable else _RESTORE
                what = f"the column {table.name}.{column.name} is missing"
                found.append(_problem(setting, "incomplete", what, fix))
        for name in sorted(columns - set(table.columns.keys())):
            what = f"the column {table.name}.{name} is not known here"
            found.append(_problem(setting, "newer", what, _UPGRADE))
    # An unknown collection's records would be missed by an erasure.
    known = {table.name for table in tables.records.values()}
    found += (
        _problem(setting, "newer", f"the table {name} is not known here", _UPGRADE)
        for name in sorted(present)
        if name.startswith(RECORD_PREFIX) and name not in known
    )
    return found


def _columns(connection: Connection, tables: Tables) -> dict[str, set[str]]:
    found = sa.inspect(connection).get_multi_columns(schema=tables.metadata.schema)
    return {name: {column["name"] for column in columns} for (_, name), columns in found.items()}


def _problem(setting: str, code: str, what: str, fix: str) -> Problem:
    return Problem(path=setting, what=what, fix=fix, code=f"sql.schema_{code}")
