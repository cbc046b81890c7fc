"""All mutants and all legal variants."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from nexus_contracts._harness import BackendHarness
from nexus_contracts.zoo._mutant import Mutant


@cache
def mutants() -> tuple[Mutant, ...]:
    """Every mutant, by role and name; raises where two have one name."""
    from nexus_contracts.zoo import (
        _atoms,
        _audit,
        _callers,
        _conditions,
        _crossed,
        _damaged,
        _filed,
        _hashed,
        _hurt,
        _left_behind,
        _mortal,
        _much,
        _names,
        _neighbours,
        _neighbours_atoms,
        _neighbours_vectors,
        _pages,
        _places,
        _raced,
        _raw,
        _raw_locks,
        _raw_signed,
        _raw_versions,
        _refused,
        _remembered,
        _sequences,
        _sizes_atoms,
        _sizes_audit,
        _sizes_raw,
        _sizes_vectors,
        _together,
        _vectors,
        _vectors_states,
        _windows,
    )

    each = (
        _raw,
        _raw_locks,
        _raw_signed,
        _raw_versions,
        _atoms,
        _vectors,
        _vectors_states,
        _audit,
        _sequences,
        _filed,
        _neighbours,
        _neighbours_atoms,
        _neighbours_vectors,
        _callers,
        _conditions,
        _pages,
        _places,
        _damaged,
        _names,
        _hashed,
        _hurt,
        _crossed,
        _sizes_atoms,
        _sizes_audit,
        _sizes_raw,
        _sizes_vectors,
        _raced,
        _mortal,
        _much,
        _left_behind,
        _refused,
        _remembered,
        _windows,
        _together,
    )
    found = [mutant for module in each for mutant in module.MUTANTS]
    names = [mutant.name for mutant in found]
    if len(set(names)) != len(names):
        raise ValueError(
            f"two mutants have one name: {sorted(n for n in names if names.count(n) > 1)}"
        )
    return tuple(sorted(found, key=lambda mutant: (mutant.role, mutant.name)))


@cache
def legal_variants() -> Mapping[str, BackendHarness]:
    """Every legal variant by name."""
    from nexus_contracts.zoo import (
        _atoms,
        _audit,
        _filed,
        _left_behind,
        _raw_legal,
        _raw_locks,
        _raw_versions,
        _vectors,
        _vectors_states,
    )

    each = (
        _raw_legal,
        _raw_locks,
        _raw_versions,
        _atoms,
        _vectors,
        _vectors_states,
        _audit,
        _filed,
        _left_behind,
    )
    return {name: harness for module in each for name, harness in module.LEGAL.items()}
