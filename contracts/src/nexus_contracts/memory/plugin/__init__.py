"""The memory backends as a plugin named ``memory``.

No entry point names this module, so that no installation can choose memory by accident; a test
offers it to a registry of its own.
"""

from __future__ import annotations

from nexus_contracts.memory._specs import memory_specs as _memory_specs
from nexus_core.spi import BackendSpec, StoreRole, hookimpl

__all__ = ["nexus_atom_store", "nexus_audit_sink", "nexus_raw_store", "nexus_vector_store"]

_SPECS = _memory_specs()


@hookimpl
def nexus_raw_store() -> BackendSpec:
    """Objects in memory."""
    return _SPECS[StoreRole.RAW]


@hookimpl
def nexus_atom_store() -> BackendSpec:
    """Records in memory."""
    return _SPECS[StoreRole.ATOMS]


@hookimpl
def nexus_vector_store() -> BackendSpec:
    """Vectors in memory."""
    return _SPECS[StoreRole.VECTORS]


@hookimpl
def nexus_audit_sink() -> BackendSpec:
    """Audit logs in memory."""
    return _SPECS[StoreRole.AUDIT]
