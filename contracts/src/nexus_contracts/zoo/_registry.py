"""All mutants and all legal variants."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from nexus_contracts._harness import BackendHarness
from nexus_contracts.zoo._mutant import Mutant


@cache
def mutants() -> tuple[Mutant, ...]:
    """Every mutant, by role and name; raises where two have one name."""
    from nexus_contracts.zoo import _atoms, _audit, _raw, _vectors

    found = (*_raw.MUTANTS, *_atoms.MUTANTS, *_vectors.MUTANTS, *_audit.MUTANTS)
    names = [mutant.name for mutant in found]
    if len(set(names)) != len(names):
        raise ValueError(
            f"two mutants have one name: {sorted(n for n in names if names.count(n) > 1)}"
        )
    return tuple(sorted(found, key=lambda mutant: (mutant.role, mutant.name)))


@cache
def legal_variants() -> Mapping[str, BackendHarness]:
    """Every legal variant by name."""
    from nexus_contracts.zoo import _atoms, _audit, _raw_legal, _vectors

    return {**_raw_legal.LEGAL, **_atoms.LEGAL, **_vectors.LEGAL, **_audit.LEGAL}
