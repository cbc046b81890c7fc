"""Backends that are wrong on purpose, and some that are unusual but right.

Each mutant breaks one promise in a way that was seen in the field or could be; the suite must fail
it by the requirement it breaks, saying so. The legal variants must pass. Together they are the
test of the suite.
"""

from __future__ import annotations

from nexus_contracts.zoo._mutant import Mutant, harness_for, variant_harness
from nexus_contracts.zoo._registry import legal_variants, mutants

__all__ = ["Mutant", "harness_for", "legal_variants", "mutants", "variant_harness"]
