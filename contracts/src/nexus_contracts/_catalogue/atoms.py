"""What a backend of the role ``atoms`` promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Requirement

ATOMS: Final[tuple[Requirement, ...]] = ()
