"""The four roles in memory: small, exact and ephemeral.

They are what the suite's faulty backends are made from, and stand in where a test needs a backend
that it can look into and break. They keep nothing: a production profile refuses them.
"""

from __future__ import annotations

from nexus_contracts.memory._atoms import MemoryAtoms
from nexus_contracts.memory._audit import MemoryAudit
from nexus_contracts.memory._locks import MemoryLocks
from nexus_contracts.memory._raw import MemoryRaw, send_signed
from nexus_contracts.memory._specs import MemoryConfig, memory_specs
from nexus_contracts.memory._vectors import MemoryVectors
from nexus_contracts.memory._versions import MemoryVersions

__all__ = [
    "MemoryAtoms",
    "MemoryAudit",
    "MemoryConfig",
    "MemoryLocks",
    "MemoryRaw",
    "MemoryVectors",
    "MemoryVersions",
    "memory_specs",
    "send_signed",
]
