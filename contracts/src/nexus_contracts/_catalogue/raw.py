"""What a raw store promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Level, Requirement
from nexus_core.spi import StoreRole

RAW: Final[tuple[Requirement, ...]] = (
    Requirement(
        id="RAW-001",
        role=StoreRole.RAW,
        level=Level.MUST,
        sentence="What is put under a key comes back byte for byte, with its attributes.",
        rationale="Everything else rests on it; stores that decode, trim or fold lose artifacts.",
    ),
    Requirement(
        id="RAW-002",
        role=StoreRole.RAW,
        level=Level.MUST,
        capability="conditional_create",
        sentence="A put that must create fails with AlreadyExistsError when the key is taken, and "
        "changes nothing.",
        rationale="Servers exist that accept the condition, ignore it, and overwrite.",
    ),
    Requirement(
        id="TEN-101",
        role=StoreRole.RAW,
        level=Level.MUST,
        sentence="What a scope sees does not depend on what any other scope does.",
        rationale="Isolation is non-interference: of values, errors, order and counts.",
    ),
)
