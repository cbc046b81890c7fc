"""What all roles promise where something is wrong with files, and they alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_core.spi import StoreRole


@attrs.frozen
class Hurt:
    """The ids of these promises for one role."""

    alone: str
    held: str


HURT: Final[Mapping[StoreRole, Hurt]] = {
    role: Hurt(alone=f"TEN-{digit}62", held=f"DUR-{digit}06")
    for digit, role in enumerate(StoreRole, 1)
}


def hurt(role: StoreRole) -> tuple[Requirement, ...]:
    """These requirements of a role."""
    ids = HURT[role]
    return (
        Requirement(
            id=ids.alone,
            role=role,
            level=Level.MUST,
            profile=Profile.EXTENDED,
            sentence="Where a scope has files or folders of its own, and every call of the system "
            "that changes them fails, each other scope writes and reads as ever; and so does that "
            "one when they are sound again.",
            rationale="What could not be finished for one customer is put on a list, and the next "
            "to write works the list off and pays for it.",
        ),
        Requirement(
            id=ids.held,
            role=role,
            level=Level.MUST,
            profile=Profile.EXTENDED,
            sentence="While another program reads a SQLite file of the store, or holds its lock, "
            "each write is made or refused, as it is told; what was refused never comes with "
            "another scope's write, and the store goes on when the file is free.",
            rationale="A backup reads the file for longer than the store waits; a commit that was "
            "refused leaves its transaction open in a pool, and the next customer's ends it.",
        ),
    )
