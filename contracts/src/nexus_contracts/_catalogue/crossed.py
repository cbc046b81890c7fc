"""What all roles promise of scopes that are confused by a hash, or whose calls cross."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from nexus_contracts._requirements import Level, Requirement
from nexus_core.spi import StoreRole


@attrs.frozen
class Crossed:
    """The ids of these promises for one role."""

    hashed: str
    crossing: str
    names: str


CROSSED: Final[Mapping[StoreRole, Crossed]] = {
    role: Crossed(hashed=f"TEN-{digit}60", crossing=f"TEN-{digit}61", names=f"{own}-095")
    for digit, (role, own) in enumerate(
        zip(StoreRole, ("RAW", "ATOM", "VEC", "AUD"), strict=True), 1
    )
}

_NAMED: Final[Mapping[StoreRole, str]] = {
    StoreRole.RAW: "Keys",
    StoreRole.ATOMS: "Ids, nodes of edges and texts",
    StoreRole.VECTORS: "Ids, names of indexes and texts",
    StoreRole.AUDIT: "Operations and subjects' tags",
}


def crossed(role: StoreRole) -> tuple[Requirement, ...]:
    """These requirements of a role."""
    ids = CROSSED[role]
    session = "session_reads" if role is StoreRole.VECTORS else None
    return (
        Requirement(
            id=ids.hashed,
            role=role,
            level=Level.MUST,
            sentence="Scopes whose names have the same hash of 32 bits (CRC-32, Adler-32, FNV-1a, "
            "Murmur3, or a polynomial in 31 or 33) are as any two others: neither can tell what "
            "the other writes, deletes or erases.",
            rationale="A folder, a shard or a lock that is named by a short hash is right for "
            "every name that a person tries, and two customers of a hundred thousand share it.",
            capability=session,
        ),
        Requirement(
            id=ids.crossing,
            role=role,
            level=Level.MUST,
            sentence="Of two scopes' calls of which the first ends while the second is under way, "
            "at whatever lines both were held up, each gives and leaves what it does alone; and no "
            "call changes for a moment what the process has once: its folder, umask, environment, "
            "locale, handlers of signals, and the like.",
            rationale="What a call sets aside and puts back at its end is right for calls that lie "
            "within one another; where they cross it puts back another's, or takes its own from "
            "under it.",
            capability=session,
        ),
        Requirement(
            id=ids.names,
            role=role,
            level=Level.MUST,
            sentence=f"{_NAMED[role]} that have the same hash of 32 bits are told apart by every "
            "call that takes one.",
            rationale="What is found by a short hash, and not compared with what was asked for, is "
            "another's in a store of a hundred thousand things.",
            capability=session,
        ),
    )
