"""What all roles promise of calls that meet: held up, at one moment, or ended by a kill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from nexus_contracts._requirements import Level, Requirement
from nexus_core.spi import StoreRole


@attrs.frozen
class Raced:
    """The ids of these promises for one role."""

    in_steps: str
    processes: str
    waiting: str
    beside: str
    stale: str


RACED: Final[Mapping[StoreRole, Raced]] = {
    StoreRole.RAW: Raced("DUR-104", "DUR-105", "TEN-115", "RAW-052", "RAW-086"),
    StoreRole.ATOMS: Raced("DUR-204", "DUR-205", "TEN-215", "ATOM-042", "ATOM-086"),
    StoreRole.VECTORS: Raced("DUR-304", "DUR-305", "TEN-315", "VEC-042", "VEC-086"),
    StoreRole.AUDIT: Raced("DUR-404", "DUR-405", "TEN-415", "AUD-032", "AUD-086"),
}


def raced(role: StoreRole) -> tuple[Requirement, ...]:
    """These requirements of a role."""
    ids = RACED[role]
    session = "session_reads" if role is StoreRole.VECTORS else None
    return (
        Requirement(
            id=ids.in_steps,
            role=role,
            level=Level.MUST,
            sentence="Whatever effect of a write was its process's last, the write is there whole "
            "or not at all, where the interface promises that, and so is every later one; as soon "
            "as a write of whatever kind is acknowledged, nothing can lose it; and of what was "
            "erased nothing is left below the interface once the erasure was made to its end.",
            rationale="A batch that is committed in parts, and a deletion that waits for the next "
            "call, show only where a process dies at that one place; a torn end and a mark that "
            "nobody takes away show when somebody writes on, and a copy that was kept until all "
            "had gone well, when somebody erases again and is told that there is nothing.",
        ),
        Requirement(
            id=ids.processes,
            role=role,
            level=Level.MUST,
            sentence="Of conditional writes that two processes make of one thing exactly one wins, "
            "at whatever line the other is held up, and both are told so; what one erases takes "
            "nothing from another scope's first write by the other; or the store refuses to be "
            "opened by a second process.",
            rationale="A lock of threads locks nothing in the next process, and every deployment "
            "has two.",
            capability=session,
        ),
        Requirement(
            id=ids.waiting,
            role=role,
            level=Level.MUST,
            sentence="A call that is held up at whatever line, and one that waits for it, are "
            "answered as they would be alone, whatever another scope does meanwhile: also where "
            "one is erased while another is written to for the first time, and where of those who "
            "wait one is refused: what the others are told stands.",
            rationale="What a call keeps outside itself while it waits is another scope's when it "
            "goes on; who removes an empty place that scopes share takes it from one who has just "
            "come; and who writes for all that wait undoes with one what the others were told.",
            capability=session,
        ),
        Requirement(
            id=ids.beside,
            role=role,
            level=Level.MUST,
            sentence="Writes of one scope to different things at one moment are all there.",
            rationale="A list of what there is, read and written back, loses who wrote between.",
            capability="erase_sealed" if role is StoreRole.AUDIT else session,
        ),
        Requirement(
            id=ids.stale,
            role=role,
            level=Level.MUST,
            sentence="Once a write and a read of its scope that overlapped it have both returned, "
            "at whatever line the one or the other was held up, every read gives what the write "
            "made, as a fresh opening does.",
            rationale="A cache that is dropped before the write instead of after it, and a mark of "
            "its age that is taken after the rows instead of before them, keep what was for good.",
            capability=session,
        ),
        *(each for each in _OWN if each.role is role),
    )


def _one(
    number: str, role: StoreRole, sentence: str, rationale: str, capability: str | None = None
) -> Requirement:
    return Requirement(
        id=number,
        role=role,
        level=Level.MUST,
        sentence=sentence,
        rationale=rationale,
        capability=capability,
    )


_OWN: Final = (
    _one(
        "RAW-050",
        StoreRole.RAW,
        "Of two puts that replace one version, small or large, exactly one succeeds, at whatever "
        "line the other is held up, and its bytes are kept.",
        "Both are told that theirs is the version after, and one of them is gone.",
        "conditional_replace",
    ),
    _one(
        "RAW-051",
        StoreRole.RAW,
        "Of two who delete one version, or of one who deletes and one who replaces it, exactly one "
        "succeeds, at whatever line the other is held up.",
        "A deletion that looked before takes the version that was written since.",
        "conditional_delete",
    ),
    _one(
        "ATOM-040",
        StoreRole.ATOMS,
        "Of two commits that insert one id exactly one changes something, at whatever line the "
        "other is held up; the other is refused, or keeps what is there.",
        "Ids are how writers know that something was done already.",
    ),
    _one(
        "ATOM-041",
        StoreRole.ATOMS,
        "Of two commits of which each takes away what the other requires exactly one stands, at "
        "whatever line the other is held up.",
        "Each sees what it requires, and together they leave a child without its parent.",
    ),
    _one(
        "VEC-040",
        StoreRole.VECTORS,
        "Of two definitions of one index at one moment exactly one is its definition and the other "
        "is refused; the same definition twice makes one index.",
        "Rows of two dimensions in one index can be asked for by neither.",
    ),
    _one(
        "VEC-041",
        StoreRole.VECTORS,
        "An upsert that meets a drop leaves nothing in the index that is made after it.",
        "Rows of a dropped index come back in its successor.",
        "session_reads",
    ),
)
