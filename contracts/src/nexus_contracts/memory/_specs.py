"""How the memory backends are registered."""

from __future__ import annotations

from collections.abc import Mapping

from nexus_contracts.memory._atoms import MemoryAtoms
from nexus_contracts.memory._audit import MemoryAudit
from nexus_contracts.memory._raw import MemoryRaw
from nexus_contracts.memory._vectors import MemoryVectors
from nexus_core.spi import (
    AtomCapabilities,
    AuditCapabilities,
    BackendConfig,
    BackendSpec,
    Durability,
    IndexState,
    Isolation,
    RawCapabilities,
    StoreRole,
    VectorCapabilities,
)


class MemoryConfig(BackendConfig):
    """Memory has no settings."""


def memory_specs(name: str = "memory") -> Mapping[StoreRole, BackendSpec]:
    """Specs of the four roles under one name. Each factory makes an empty store."""
    return {
        StoreRole.RAW: BackendSpec(
            name=name,
            role=StoreRole.RAW,
            summary="objects in memory, gone with the process",
            config=MemoryConfig,
            capabilities=RawCapabilities(
                conditional_create=True,
                conditional_replace=True,
                conditional_delete=True,
                ranges=True,
                delimiter=True,
                copy=True,
                presign_get=True,
                presign_put=True,
            ),
            isolation=Isolation.PARTITION,
            durability=Durability.EPHEMERAL,
            factory=lambda _, runtime: MemoryRaw(runtime.now),
        ),
        StoreRole.ATOMS: BackendSpec(
            name=name,
            role=StoreRole.ATOMS,
            summary="records in memory, gone with the process",
            config=MemoryConfig,
            capabilities=AtomCapabilities(),
            isolation=Isolation.PARTITION,
            durability=Durability.EPHEMERAL,
            factory=lambda _config, _runtime: MemoryAtoms(),
        ),
        StoreRole.VECTORS: BackendSpec(
            name=name,
            role=StoreRole.VECTORS,
            summary="vectors in memory, gone with the process",
            config=MemoryConfig,
            capabilities=VectorCapabilities(
                exact=True, atomic_batch=True, stable_ties=True, states=frozenset(IndexState)
            ),
            isolation=Isolation.PARTITION,
            durability=Durability.EPHEMERAL,
            factory=lambda _config, _runtime: MemoryVectors(),
        ),
        StoreRole.AUDIT: BackendSpec(
            name=name,
            role=StoreRole.AUDIT,
            summary="audit logs in memory, gone with the process",
            config=MemoryConfig,
            capabilities=AuditCapabilities(),
            isolation=Isolation.PARTITION,
            durability=Durability.EPHEMERAL,
            factory=lambda _config, _runtime: MemoryAudit(),
        ),
    }
