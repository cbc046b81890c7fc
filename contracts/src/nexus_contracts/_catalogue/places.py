"""What all four roles promise of their places, and of the streams of their process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from nexus_contracts._requirements import Level, Requirement
from nexus_core.spi import StoreRole


@attrs.frozen
class Placed:
    """The ids of these promises for one role."""

    bare: str
    gone: str
    again: str
    beside: str
    damaged: str
    odd: str
    streams: str


PLACED: Final[Mapping[StoreRole, Placed]] = {
    role: Placed(
        bare=f"CFG-{digit}10",
        gone=f"CFG-{digit}11",
        again=f"CFG-{digit}12",
        beside=f"CFG-{digit}13",
        damaged=f"CFG-{digit}14",
        odd=f"CFG-{digit}15",
        streams=f"SEC-{digit}10",
    )
    for digit, role in enumerate(StoreRole, 1)
}


def placed(role: StoreRole) -> tuple[Requirement, ...]:
    """These requirements of a role."""
    ids = PLACED[role]
    return (
        Requirement(
            id=ids.bare,
            role=role,
            level=Level.MUST,
            sentence="On a place that was never provisioned every call raises an error that claims "
            "nothing about what is stored, and none makes the place.",
            rationale="An empty answer from a misspelt place is taken for the truth, and a write "
            "that makes it hides the mistake for good.",
        ),
        Requirement(
            id=ids.gone,
            role=role,
            level=Level.MUST,
            sentence="When its place vanishes while the store is open, check says so, every call "
            "raises an error that claims nothing about what is stored, and none makes the place "
            "again; where somebody else does, it works in that one, or refuses.",
            rationale="A disk that is not mounted, or a bucket that somebody dropped, must not "
            "look like an empty store that takes new things; nor may a file that was removed, "
            "and is still open, go on as if it were the store.",
        ),
        Requirement(
            id=ids.again,
            role=role,
            level=Level.MUST,
            sentence="Provisioning a store again makes nothing, says so, and keeps everything; a "
            "file or folder that holds somebody else's things, hidden ones too, is left as it is, "
            "and is not ready.",
            rationale="Provisioning is repeated by every deployment, and its settings are written "
            "by hand.",
        ),
        Requirement(
            id=ids.beside,
            role=role,
            level=Level.MUST,
            sentence="Opening and checking make nothing anywhere, and what provisioning and writes "
            "make lies where the settings say.",
            rationale="What lies beside the place is in no backup, is found by no erasure, and "
            "meets other stores'.",
        ),
        Requirement(
            id=ids.damaged,
            role=role,
            level=Level.MUST,
            sentence="What provisioning made to know the place by is read whole: where it is "
            "emptied, cut off, changed or exchanged for somebody else's, check says so, a scope "
            "that has nothing there is refused by every call with an error that claims nothing, "
            "what was stored is answered for as before or not at all, and nothing is written.",
            rationale="Two mounts are easily exchanged, and a mark that nobody reads lets a store "
            "work in the place of another.",
        ),
        Requirement(
            id=ids.odd,
            role=role,
            level=Level.MUST,
            sentence="A place in a folder is told from every other, whatever characters its path "
            "has: also those to which a URL, a pattern or a shell gives a meaning.",
            rationale="A path that is put into a URL as it is ends where the first # or ? stands, "
            "and two stores are one file.",
        ),
        Requirement(
            id=ids.streams,
            role=role,
            level=Level.MUST,
            sentence="No key, id, value, metadata, tenant or place goes to standard output or "
            "standard error, and no error of a call repeats what it was given.",
            rationale="Both are kept by whatever runs the process, in places that no erasure "
            "reaches.",
        ),
    )
