"""The catalogue: every requirement, as data. ``docs/requirements.md`` is generated from it."""

from __future__ import annotations

import hashlib
from functools import cache

from nexus_contracts._catalogue.atoms import ATOMS
from nexus_contracts._catalogue.audit import AUDIT
from nexus_contracts._catalogue.crossed import crossed
from nexus_contracts._catalogue.hurt import hurt
from nexus_contracts._catalogue.places import placed
from nexus_contracts._catalogue.raced import raced
from nexus_contracts._catalogue.raw import RAW
from nexus_contracts._catalogue.refused import refused
from nexus_contracts._catalogue.remembered import remembered
from nexus_contracts._catalogue.shared import shared
from nexus_contracts._catalogue.vectors import VECTORS
from nexus_contracts._requirements import Requirement
from nexus_core.spi import StoreRole

__all__ = ["catalogue", "catalogue_hash"]


@cache
def catalogue() -> tuple[Requirement, ...]:
    """All requirements in order of role and id; raises if an id is there twice for one role."""
    common = [
        each
        for role in StoreRole
        for each in (
            *shared(role),
            *placed(role),
            *raced(role),
            *refused(role),
            *remembered(role),
            *crossed(role),
            *hurt(role),
        )
    ]
    found = (*RAW, *ATOMS, *VECTORS, *AUDIT, *common)
    ids = [requirement.id for requirement in found]
    if len(set(ids)) != len(ids):
        raise ValueError(f"ids used twice: {sorted({i for i in ids if ids.count(i) > 1})}")
    return tuple(sorted(found, key=lambda requirement: (requirement.role, requirement.id)))


@cache
def catalogue_hash() -> str:
    """SHA-256 over every word of the catalogue, 64 hex digits."""
    text = "\n".join(repr(requirement) for requirement in catalogue())
    return hashlib.sha256(text.encode()).hexdigest()
