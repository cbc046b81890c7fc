"""What all four roles promise of what a process remembers while another one writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nexus_contracts._requirements import Level, Requirement
from nexus_core.spi import StoreRole

REMEMBERED: Final[Mapping[StoreRole, str]] = {
    StoreRole.RAW: "RAW-085",
    StoreRole.ATOMS: "ATOM-085",
    StoreRole.VECTORS: "VEC-085",
    StoreRole.AUDIT: "AUD-085",
}


def remembered(role: StoreRole) -> tuple[Requirement, ...]:
    """This requirement of a role."""
    return (
        Requirement(
            id=REMEMBERED[role],
            role=role,
            level=Level.MUST,
            sentence="What one process remembers never outlives another process's write: once a "
            "write or an erasure of any kind is acknowledged, every read and every write of a "
            "process that had read everything before is answered, and kept, as if one process "
            "made all calls; so it is with two openings in one process; or the store refuses to "
            "be opened twice.",
            rationale="Heads, listings, lineages, incarnations and descriptors are kept to save a "
            "call and dropped by whoever changes them: nobody tells the other process, and every "
            "deployment has two.",
            capability="session_reads" if role is StoreRole.VECTORS else None,
        ),
    )
