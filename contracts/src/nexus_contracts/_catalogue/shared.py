"""What all four roles promise in the same words, each under ids of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_core.spi import StoreRole


@attrs.frozen
class Shared:
    """The ids of the shared promises for one role."""

    model: str
    erased: str
    faults: str
    killed: str
    full: str
    canaries: str
    survey: str
    at_once: str


IDS: Final[Mapping[StoreRole, Shared]] = {
    StoreRole.RAW: Shared(
        *("RAW-027", "RAW-028", "RAW-029", "DUR-102", "DUR-103"),
        *("TEN-106", "TEN-109", "TEN-110"),
    ),
    StoreRole.ATOMS: Shared(
        *("ATOM-023", "ATOM-024", "ATOM-025", "DUR-202", "DUR-203"),
        *("TEN-206", "TEN-207", "TEN-208"),
    ),
    StoreRole.VECTORS: Shared(
        *("VEC-025", "VEC-026", "VEC-027", "DUR-302", "DUR-303"),
        *("TEN-306", "TEN-307", "TEN-308"),
    ),
    StoreRole.AUDIT: Shared(
        *("AUD-013", "AUD-014", "AUD-015", "DUR-402", "DUR-403"),
        *("TEN-404", "TEN-405", "TEN-406"),
    ),
}


def shared(role: StoreRole) -> tuple[Requirement, ...]:
    """The shared requirements of a role."""
    ids = IDS[role]
    return (
        Requirement(
            id=ids.model,
            role=role,
            level=Level.MUST,
            sentence="Whatever calls several scopes make in whatever order, each is answered as a "
            "plain dictionary would answer it.",
            rationale="Faults that need three calls in a row are found by no example that a person "
            "thought of.",
            # A store that shows writes late agrees with no model at all times.
            capability="session_reads" if role is StoreRole.VECTORS else None,
        ),
        Requirement(
            id=ids.erased,
            role=role,
            level=Level.MUST,
            sentence="After erase nothing that the scope stored, or that was refused to it, is "
            "found below the interface, neither values nor ids nor metadata.",
            rationale="What a query no longer shows is still in the file that is copied, backed up "
            "or seized.",
        ),
        Requirement(
            id=ids.faults,
            role=role,
            level=Level.MUST,
            profile=Profile.EXTENDED,
            sentence="Whatever fails between the store and its engine, the outcome that is told is "
            "true, no part of a write stands, no other scope is touched, and the store recovers.",
            rationale="A lost answer is not a lost write, and who is told otherwise repeats or "
            "forgets it.",
        ),
        Requirement(
            id=ids.killed,
            role=role,
            level=Level.MUST,
            sentence="When its process is killed between any two instructions, every acknowledged "
            "write is there afterwards, none by half, and the store opens again and is written on.",
            rationale="Processes are killed by operators, by memory limits and by deployments.",
        ),
        Requirement(
            id=ids.full,
            role=role,
            level=Level.MUST,
            profile=Profile.EXTENDED,
            sentence="When files cannot grow, the outcome that is told is true, what was there is "
            "left whole, and the store goes on when there is space again.",
            rationale="Full disks are the commonest fault of all, and come in the middle of a "
            "write.",
        ),
        Requirement(
            id=ids.canaries,
            role=role,
            level=Level.MUST,
            sentence="Nothing that a scope stores, in value, id or metadata, is found in what "
            "another sees, in errors, in logs or in the audit trail, nor, where each scope has "
            "files of its own, in another's file; nor, in logs, a name or a filter's value.",
            rationale="Leaks that no answer shows come to light in a log or a backup.",
        ),
        Requirement(
            id=ids.survey,
            role=role,
            level=Level.MUST,
            sentence="Every call in every form of its arguments (each operator, page, limit, size "
            "and option) is answered among scopes that hold the same ids with other values as it "
            "is answered alone.",
            rationale="A scope is lost in one branch: one operator, the second page, the larger "
            "batch.",
            capability="session_reads" if role is StoreRole.VECTORS else None,
        ),
        Requirement(
            id=ids.at_once,
            role=role,
            level=Level.MUST,
            sentence="Calls that several scopes make at the same moment are answered as each would "
            "be alone.",
            rationale="Buffers, temporary files and caches that calls share are safe only one "
            "after the other.",
            capability="session_reads" if role is StoreRole.VECTORS else None,
        ),
    )
