"""The statements of the audit sink, made once: building one costs more than running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam

from nexus_sql._schema import Tables, in_scope, is_outcome


@attrs.frozen(kw_only=True)
class LogStatements:
    """Statements and the names of their parameters, besides those of ``of_scope``."""

    head: sa.Select[Any]
    move_head: sa.Update
    """``expected``, ``to_size``, ``to_edge``, ``to_checkpoint``"""
    read: sa.Select[Any]
    """``start``, ``most``"""
    checkpoints: sa.Select[Any]
    """``after``, ``most``"""
    outcomes: sa.Select[Any]
    """``operations``"""
    settle: sa.Delete
    """``settled``"""
    unsettled: sa.Select[Any]
    """``before``, ``most``"""
    forget_sealed: sa.Update
    """``tag``"""
    delete: Mapping[str, sa.Delete]
    """By the name of the table."""


def log_statements(tables: Tables) -> LogStatements:
    """The statements over one engine's tables."""
    heads, checkpoints = tables.heads, tables.checkpoints
    entries, intents = tables.entries, tables.open_intents
    most = bindparam("most", type_=sa.Integer())
    # Without the scope, which the caller knows.
    whole_entry = tuple(entries.columns)[2:]
    same_entry = sa.and_(
        entries.c.nx_tenant == intents.c.nx_tenant,
        entries.c.nx_env == intents.c.nx_env,
        entries.c.position == intents.c.position,
    )
    return LogStatements(
        head=sa.select(heads.c.size, heads.c.edge, heads.c.checkpoint).where(in_scope(heads)),
        move_head=sa.update(heads)
        .where(in_scope(heads), heads.c.size == bindparam("expected"))
        .values({c: bindparam(f"to_{c.name}") for c in tuple(heads.columns)[2:]}),
        read=sa.select(*whole_entry)
        .where(in_scope(entries), entries.c.position >= bindparam("start"))
        .order_by(entries.c.position)
        .limit(most),
        checkpoints=sa.select(checkpoints.c.checkpoint)
        .where(in_scope(checkpoints), checkpoints.c.size > bindparam("after"))
        .order_by(checkpoints.c.size)
        .limit(most),
        outcomes=sa.select(entries.c.operation).where(
            in_scope(entries),
            is_outcome(entries),
            tables.one_of(entries.c.operation, "operations"),
        ),
        settle=sa.delete(intents).where(
            in_scope(intents), tables.one_of(intents.c.operation, "settled")
        ),
        unsettled=sa.select(*whole_entry)
        .select_from(intents.join(entries, same_entry))
        .where(in_scope(intents), intents.c.recorded_at < bindparam("before"))
        .order_by(intents.c.recorded_at, intents.c.position)
        .limit(most),
        forget_sealed=sa.update(entries)
        .where(in_scope(entries), entries.c.subject_tag == bindparam("tag"))
        .values(salt=None, sealed=None, subject_tag=None),
        delete={
            # The head first: where policies guard a log, it is whole or gone.
            table.name: sa.delete(table).where(in_scope(table))
            for table in (tables.heads, tables.entries, tables.checkpoints, tables.open_intents)
        },
    )
