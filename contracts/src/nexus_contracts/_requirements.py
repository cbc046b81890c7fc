"""What a requirement is: an id, how binding it is, one sentence, and why.

Ids never change their meaning. The area says what is protected: ``RAW``, ``ATOM``, ``VEC`` and
``AUD`` are the roles' own semantics; ``TEN`` isolation, ``CFG`` fail-closed configuration,
``SEC`` error and secret hygiene, ``DUR`` durability. No deviation is ever allowed from ``TEN``,
``CFG`` or ``SEC``.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import attrs

from nexus_core.spi import StoreRole

AREAS: Final = ("RAW", "ATOM", "VEC", "AUD", "TEN", "CFG", "SEC", "DUR")
ABSOLUTE: Final = frozenset(("TEN", "CFG", "SEC"))
_ID = re.compile(r"(RAW|ATOM|VEC|AUD|TEN|CFG|SEC|DUR)-[0-9]{3}")


class Level(enum.StrEnum):
    """How binding a requirement is."""

    MUST = "must"
    SHOULD = "should"
    STOCHASTIC = "stochastic"
    UNTESTED = "untested"


class Profile(enum.StrEnum):
    """How much of the suite a run covers; ``extended`` includes ``core``."""

    CORE = "core"
    EXTENDED = "extended"


@attrs.frozen(kw_only=True)
class Requirement:
    """One thing that a backend of ``role`` promises.

    ``capability`` names the declared flag that it depends on: where the flag is not declared, the
    inverse is tested instead (the core refuses, and nothing changes). ``reason`` says why an
    ``untested`` one is.
    """

    id: str
    role: StoreRole
    level: Level
    profile: Profile = Profile.CORE
    sentence: str
    rationale: str
    capability: str | None = None
    since: str = "0.1"
    reason: str | None = None

    def __attrs_post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise ValueError(f"{self.id} is not AREA-NNN")
        if (self.level is Level.UNTESTED) != (self.reason is not None):
            raise ValueError(
                f"{self.id}: a reason belongs to an untested requirement, and to no other"
            )

    @property
    def area(self) -> str:
        """The part of the id before the number."""
        return self.id.partition("-")[0]

    @property
    def absolute(self) -> bool:
        """Whether no deviation from it is ever allowed."""
        return self.area in ABSOLUTE
