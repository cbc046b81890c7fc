"""What a mutant is, and how it stands before the suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import (
    MemoryAtoms,
    MemoryAudit,
    MemoryConfig,
    MemoryRaw,
    MemoryVectors,
    memory_specs,
)
from nexus_core.spi import Backend, Runtime, StoreRole

Make = Callable[[Runtime], Backend]

HONEST: Mapping[StoreRole, Make] = {
    StoreRole.RAW: lambda runtime: MemoryRaw(runtime.now),
    StoreRole.ATOMS: lambda _: MemoryAtoms(),
    StoreRole.VECTORS: lambda _: MemoryVectors(),
    StoreRole.AUDIT: lambda _: MemoryAudit(),
}


@attrs.frozen(kw_only=True)
class Mutant:
    """One faulty backend: what it does wrong, which requirement kills it, and what is then said.

    ``says`` is a part of the message with which ``killed_by`` must fail it. ``capabilities``
    replaces declared flags, for a backend that lies about itself.
    """

    name: str
    role: StoreRole
    what: str
    killed_by: str
    says: str
    make: Make
    capabilities: Mapping[str, Any] = attrs.field(factory=dict)


def harness_for(mutant: Mutant) -> BackendHarness:
    """A harness around a mutant."""
    return variant_harness(mutant.role, mutant.make, mutant.capabilities)


def variant_harness(
    role: StoreRole, make: Make | None = None, capabilities: Mapping[str, Any] | None = None
) -> BackendHarness:
    """A harness around any backend in memory; the honest one of the role if none is given."""
    build = HONEST[role] if make is None else make
    spec = memory_specs()[role]
    spec = attrs.evolve(
        spec,
        capabilities=attrs.evolve(spec.capabilities, **(capabilities or {})),
        factory=lambda _config, runtime: build(runtime),
    )
    return BackendHarness(
        spec=spec,
        settings=lambda _: MemoryConfig(),
        reality="memory",
        survives_reopen=False,
    )
