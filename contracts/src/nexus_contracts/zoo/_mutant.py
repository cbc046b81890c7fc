"""What a mutant is, and how it stands before the suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import (
    MemoryAtoms,
    MemoryAudit,
    MemoryConfig,
    MemoryRaw,
    MemoryVectors,
    memory_specs,
    send_signed,
)
from nexus_core._spi.spec import ABC_OF
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
    replaces declared flags, for a backend that lies about itself; ``harness`` replaces fields of
    the harness (``spec`` as a whole, ``provision`` that of the spec).
    """

    name: str
    role: StoreRole
    what: str
    killed_by: str
    says: str
    make: Make
    capabilities: Mapping[str, Any] = attrs.field(factory=dict)
    harness: Mapping[str, Any] = attrs.field(factory=dict)


def mutant_of(name: str, kind: Any, killed_by: str, says: str, what: str | None = None) -> Mutant:
    """A mutant that is a class of its own, of the role that its name begins with; what it does is
    the first line of the class's docstring unless it is given."""
    role = StoreRole(name.partition("-")[0])
    return Mutant(
        name=name,
        role=role,
        what=kind.__doc__.partition("\n")[0] if what is None else what,
        killed_by=killed_by,
        says=says,
        make=lambda runtime: kind(runtime.now) if role is StoreRole.RAW else kind(),
    )


def harness_for(mutant: Mutant) -> BackendHarness:
    """A harness around a mutant."""
    harness = variant_harness(mutant.role, mutant.make, mutant.capabilities)
    changes = dict(mutant.harness)
    spec = changes.pop("spec", harness.spec)
    spec = attrs.evolve(spec, provision=changes.pop("provision", None))
    return attrs.evolve(harness, spec=spec, **changes)


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
        send=send_signed,
    )


def vacant(role: StoreRole, answer: Callable[[], Any]) -> Make:
    """A backend of the role of which every call does the same, and nothing else."""

    def method(*_args: Any, **_options: Any) -> Any:
        return answer()

    names = sorted(getattr(ABC_OF[role], "__abstractmethods__"))  # noqa: B009  # not of `type`
    kind = type("Vacant", (ABC_OF[role],), dict.fromkeys(names, method))

    def make(_runtime: Runtime) -> Backend:
        backend: Backend = kind()
        return backend

    return make


def _fail() -> NoReturn:
    raise RuntimeError("not today")


def vacant_mutants(
    role: StoreRole, prefix: str, killed_by: str, first: str, answer: str
) -> tuple[Mutant, ...]:
    """Two that every role has: one that answers nothing, and one that fails whatever is asked.

    ``killed_by`` is a requirement, ``first`` the method with which it begins, ``answer`` the first
    of which it needs the answer, with the answer's type.
    """
    return (
        Mutant(
            name=f"{prefix}-none",
            role=role,
            what="answers None to everything",
            killed_by=killed_by,
            says=f"{answer}, but returned None",
            make=vacant(role, lambda: None),
        ),
        Mutant(
            name=f"{prefix}-raises",
            role=role,
            what="raises an error of its own from everything",
            killed_by=killed_by,
            says=f"{first} raised RuntimeError",
            make=vacant(role, _fail),
        ),
    )


def careless_mutants(role: StoreRole, prefix: str, ids: tuple[str, str, str]) -> tuple[Mutant, ...]:
    """Three that every role has: ready on a bare place, blind to broken settings, forgetful.

    ``ids`` are the role's requirements for an unprovisioned place, broken settings, durability.
    """
    make = HONEST[role]
    bare, broken, durable = ids
    return (
        Mutant(
            name=f"{prefix}-ready-anywhere",
            role=role,
            what="says it is ready on a place that was never provisioned",
            killed_by=bare,
            says="never provisioned",
            make=make,
            harness={"provision": lambda _config, _runtime: ["a place"]},
        ),
        Mutant(
            name=f"{prefix}-blind-check",
            role=role,
            what="says it is ready with settings that lead nowhere",
            killed_by=broken,
            says="check is silent",
            make=make,
            harness={"broken_settings": lambda _: {"a place that is absent": MemoryConfig()}},
        ),
        Mutant(
            name=f"{prefix}-forgetful",
            role=role,
            what="acknowledges before anything is kept",
            killed_by=durable,
            says="not there after opening again",
            make=make,
            harness={"survives_reopen": True},
        ),
    )
