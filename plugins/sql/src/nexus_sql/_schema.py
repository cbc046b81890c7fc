"""The tables: one for each collection of records, and four for the audit logs.

Every key begins with the scope. Columns of our own are called ``nx_…``, a name that the core lets
no field have. Nothing but a row's own key identifies it: no sequence, no counter, no row number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    bindparam,
    literal_column,
)
from sqlalchemy.types import TypeEngine

from nexus_core.spi import COLLECTIONS, Collection, FieldType, Scope

RECORD_PREFIX: Final = "record_"

# Fields that are looked up by value, besides ``subject``, which every collection has indexed. Of
# intents nearly all are in one final state, which alone says nothing of the target asked for.
_LOOKUPS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "atoms": (("parent",), ("asset",)),
    "edges": (("parent",), ("child",)),
    "events": (("created_at",),),
    "intents": (("state",), ("target", "state")),
}


def one_by_one(column: Column[Any], name: str) -> ColumnElement[bool]:
    """Whether a column is one of a parameter's values, each sent as a parameter of its own."""
    return column.in_(bindparam(name, expanding=True))


@attrs.frozen(kw_only=True)
class Spelling:
    """How one engine spells what the tables need. Text must compare by byte (or code point)."""

    text: TypeEngine[Any]
    integer: TypeEngine[Any]
    number: TypeEngine[Any]
    flag: TypeEngine[Any]
    blob: TypeEngine[Any]
    table: Mapping[str, Any]
    """Arguments of every table."""
    clustered: Mapping[str, Any]
    """Arguments of a table of small rows that are best kept in the order of their key."""
    partial: Callable[[ColumnElement[bool]], Mapping[str, Any]]
    """Arguments of an index that holds only the rows for which a condition is true."""
    numeric_flags: bool = True
    """Whether truth values are numbers, that must be kept to 0 and 1."""
    key: TypeEngine[Any] | None = None
    """The type of text in primary keys, where keys must be short; else ``text``."""
    index: Callable[[Sequence[Column[Any]]], Mapping[str, Any]] = lambda _: {}
    """Arguments of an index over these columns."""
    one_of: Callable[[Column[Any], str], ColumnElement[bool]] = one_by_one
    """Whether a column is one of the values in the list that a parameter is."""

    @property
    def key_text(self) -> TypeEngine[Any]:
        """The type of text in primary keys."""
        return self.text if self.key is None else self.key

    def field(self, kind: FieldType) -> TypeEngine[Any]:
        """The type of a field's column."""
        kinds = {"str": self.text, "int": self.integer, "float": self.number, "bool": self.flag}
        return kinds[kind]


@attrs.frozen(kw_only=True)
class Tables:
    """All tables of one engine."""

    metadata: MetaData
    versions: Table
    records: Mapping[str, Table]
    entries: Table
    heads: Table
    checkpoints: Table
    open_intents: Table
    one_of: Callable[[Column[Any], str], ColumnElement[bool]] = one_by_one

    @property
    def logs(self) -> tuple[Table, ...]:
        """The tables of the audit role."""
        return (self.entries, self.heads, self.checkpoints, self.open_intents)


def in_scope(table: Table) -> ColumnElement[bool]:
    """The condition that stands in every statement: rows of the scope and of no other.

    Its two parameters have no value of their own; a statement without ``of_scope`` fails.
    """
    return (table.c.nx_tenant == bindparam("of_tenant")) & (table.c.nx_env == bindparam("of_env"))


def of_scope(scope: Scope) -> dict[str, Any]:
    """The parameters of ``in_scope``."""
    return {"of_tenant": scope.tenant_id, "of_env": scope.env}


def is_outcome(entries: Table) -> ColumnElement[bool]:
    """Spelled with a constant, because a planner proves a partial index usable only from one."""
    return entries.c.phase == literal_column("'outcome'")


def build_tables(spelling: Spelling, schema: str | None = None) -> Tables:
    """The tables as one engine spells them, in the schema of that name where it has schemas."""
    metadata = MetaData(schema=schema)
    records = {
        name: _record_table(metadata, collection, spelling)
        for name, collection in COLLECTIONS.items()
    }
    return Tables(
        metadata=metadata,
        versions=Table(
            "nexus_schema",
            metadata,
            Column("version", spelling.integer, primary_key=True, autoincrement=False),
            Column("applied_at", spelling.integer, nullable=False),
            **spelling.clustered,
        ),
        records=records,
        one_of=spelling.one_of,
        **_log_tables(metadata, spelling),
    )


def _record_table(metadata: MetaData, collection: Collection, spelling: Spelling) -> Table:
    table = Table(
        f"{RECORD_PREFIX}{collection.name}",
        metadata,
        *_scope_columns(spelling),
        Column("nx_id", spelling.key_text, nullable=False),
        Column("nx_version", spelling.integer, nullable=False),
        Column("nx_body", spelling.blob, nullable=False),
        Column("nx_stamp", spelling.blob, nullable=False),
        *(
            Column(field, spelling.field(kind), nullable=field in collection.optional)
            for field, kind in collection.schema.items()
        ),
        PrimaryKeyConstraint("nx_tenant", "nx_env", "nx_id"),
        **spelling.table,
    )
    for field, kind in collection.schema.items():
        if kind == "bool" and spelling.numeric_flags:
            table.append_constraint(CheckConstraint(table.c[field].in_((0, 1))))
    for fields in _LOOKUPS.get(collection.name, ()):
        if collection.schema.keys() >= set(fields):
            _index(table, spelling, *fields, "nx_id")
    if "subject" in collection.schema:
        partial = spelling.partial(table.c.subject.is_not(None))
        _index(table, spelling, "subject", "nx_id", **partial)
    return table


def _log_tables(metadata: MetaData, spelling: Spelling) -> dict[str, Table]:
    text, integer, blob = spelling.text, spelling.integer, spelling.blob
    entries = Table(
        "log_entries",
        metadata,
        *_scope_columns(spelling),
        Column("position", integer, nullable=False),
        Column("leaf", blob, nullable=False),
        Column("salt", blob),
        Column("sealed", blob),
        Column("subject_tag", blob),
        Column("operation", text, nullable=False),
        Column("phase", text, nullable=False),
        Column("recorded_at", integer, nullable=False),
        PrimaryKeyConstraint("nx_tenant", "nx_env", "position"),
        **spelling.table,
    )
    _index(entries, spelling, "subject_tag", **spelling.partial(entries.c.subject_tag.is_not(None)))
    _index(entries, spelling, "operation", **spelling.partial(is_outcome(entries)))
    heads = Table(
        "log_heads",
        metadata,
        *_scope_columns(spelling),
        Column("size", integer, nullable=False),
        Column("edge", blob, nullable=False),
        Column("checkpoint", blob, nullable=False),
        PrimaryKeyConstraint("nx_tenant", "nx_env"),
        **spelling.clustered,
    )
    checkpoints = Table(
        "log_checkpoints",
        metadata,
        *_scope_columns(spelling),
        Column("size", integer, nullable=False),
        Column("checkpoint", blob, nullable=False),
        PrimaryKeyConstraint("nx_tenant", "nx_env", "size"),
        **spelling.clustered,
    )
    open_intents = Table(
        "log_open_intents",
        metadata,
        *_scope_columns(spelling),
        Column("position", integer, nullable=False),
        Column("operation", text, nullable=False),
        Column("recorded_at", integer, nullable=False),
        PrimaryKeyConstraint("nx_tenant", "nx_env", "position"),
        **spelling.clustered,
    )
    _index(open_intents, spelling, "operation")
    _index(open_intents, spelling, "recorded_at", "position")
    return {
        "entries": entries,
        "heads": heads,
        "checkpoints": checkpoints,
        "open_intents": open_intents,
    }


def _scope_columns(spelling: Spelling) -> tuple[Column[Any], Column[Any]]:
    return (
        Column("nx_tenant", spelling.key_text, nullable=False),
        Column("nx_env", spelling.key_text, nullable=False),
    )


def _index(table: Table, spelling: Spelling, *names: str, **options: Any) -> None:
    columns = [table.c[name] for name in ("nx_tenant", "nx_env", *names)]
    Index(f"ix_{table.name}_{names[0]}", *columns, **{**spelling.index(columns), **options})
