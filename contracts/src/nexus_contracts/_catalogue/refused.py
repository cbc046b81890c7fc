"""What all roles promise of calls that are refused, that raise midway or that are cut short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from nexus_contracts._requirements import Level, Requirement
from nexus_core.spi import StoreRole


@attrs.frozen
class Refused:
    """The ids of these promises for one role."""

    here: str
    elsewhere: str


REFUSED: Final[Mapping[StoreRole, Refused]] = {
    StoreRole.RAW: Refused("RAW-080", "TEN-140"),
    StoreRole.ATOMS: Refused("ATOM-080", "TEN-240"),
    StoreRole.VECTORS: Refused("VEC-080", "TEN-340"),
    StoreRole.AUDIT: Refused("AUD-080", "TEN-440"),
}


def refused(role: StoreRole) -> tuple[Requirement, ...]:
    """These requirements of a role."""
    ids = REFUSED[role]
    session = "session_reads" if role is StoreRole.VECTORS else None
    return (
        Requirement(
            id=ids.here,
            role=role,
            level=Level.MUST,
            sentence="After a call that was refused, that raised midway or that was cut short, "
            "every later one of its scope is answered as if it had not been made.",
            rationale="A buffer, a mark, a cache or an undo that a failure leaves is met by the "
            "next call, which did nothing wrong.",
            capability=session,
        ),
        Requirement(
            id=ids.elsewhere,
            role=role,
            level=Level.MUST,
            sentence="A call that is refused, that raises midway or that is cut short changes no "
            "answer that any other scope gets after it.",
            rationale="What a failure leaves is often kept by name alone, and the next to use the "
            "name is another tenant.",
            capability=session,
        ),
    )
