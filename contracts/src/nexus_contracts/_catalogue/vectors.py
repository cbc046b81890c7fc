"""What a backend of the role ``vectors`` promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Requirement

VECTORS: Final[tuple[Requirement, ...]] = ()
