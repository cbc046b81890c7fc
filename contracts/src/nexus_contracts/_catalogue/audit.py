"""What a backend of the role ``audit`` promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Requirement

AUDIT: Final[tuple[Requirement, ...]] = ()
