"""Atom store and audit sink in an SQL database: what the plugin registers."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.spi import (
    AtomCapabilities,
    AuditCapabilities,
    Backend,
    BackendSpec,
    Durability,
    Isolation,
    Runtime,
    StoreRole,
    hookimpl,
)
from nexus_sql._config import SqlConfig

__all__ = ["SqlConfig", "nexus_atom_store", "nexus_audit_sink"]


def _build_atoms(config: SqlConfig, runtime: Runtime) -> Backend:
    from nexus_sql._atoms import SqlAtoms
    from nexus_sql._engines import open_database

    return SqlAtoms(open_database(config, runtime))


def _build_audit(config: SqlConfig, runtime: Runtime) -> Backend:
    from nexus_sql._audit import SqlAudit
    from nexus_sql._engines import open_database

    return SqlAudit(open_database(config, runtime))


def _provision(config: SqlConfig, runtime: Runtime) -> Sequence[str]:
    from nexus_sql._engines import open_database

    database = open_database(config, runtime)
    try:
        return database.provision(runtime.now)
    finally:
        database.close()


@hookimpl
def nexus_atom_store() -> BackendSpec:
    """Offer records as rows, a table for each collection."""
    return BackendSpec(
        name="sql",
        role=StoreRole.ATOMS,
        summary="Records in an SQL database (SQLite, PostgreSQL, MariaDB)",
        config=SqlConfig,
        capabilities=AtomCapabilities(),
        isolation=Isolation.PREDICATE,
        durability=Durability.POWER_LOSS,
        factory=_build_atoms,
        provision=_provision,
    )


@hookimpl
def nexus_audit_sink() -> BackendSpec:
    """Offer logs as rows, one log for each scope."""
    return BackendSpec(
        name="sql",
        role=StoreRole.AUDIT,
        summary="Audit logs in an SQL database (SQLite, PostgreSQL, MariaDB)",
        config=SqlConfig,
        capabilities=AuditCapabilities(),
        isolation=Isolation.PREDICATE,
        durability=Durability.POWER_LOSS,
        factory=_build_audit,
        provision=_provision,
    )
