"""Faulty and unusual stores of the role ``audit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nexus_contracts._harness import BackendHarness
from nexus_contracts.zoo._mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = ()

LEGAL: Final[Mapping[str, BackendHarness]] = {}
