"""Backends that have to know their tenants: the suite says which, and notices where they do not."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import attrs
import pytest
from nexus_contracts import TENANTS, BackendHarness, Verdict, run
from nexus_contracts._bench import SCOPES
from nexus_contracts._verdict import Status
from nexus_contracts.memory import MemoryAtoms
from nexus_contracts.zoo import variant_harness

from nexus_core.spi import AtomBackend, Isolation, PermissionDeniedError, Scope, StoreRole


def knowing(tenants: Collection[str]) -> BackendHarness:
    """A store of atoms that refuses all other tenants."""

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def guard(self: Any, scope: Scope, *args: Any, **options: Any) -> Any:
            if scope.tenant_id not in tenants:
                raise PermissionDeniedError("nobody made a login for this tenant")
            return call(self, scope, *args, **options)

        return guard

    names = sorted(AtomBackend.__abstractmethods__ - {"check", "close"})
    known = {name: guarded(getattr(MemoryAtoms, name)) for name in names}
    store = type("Knowing", (MemoryAtoms,), known)
    harness = variant_harness(StoreRole.ATOMS, lambda _: store())
    spec = attrs.evolve(harness.spec, isolation=Isolation.ROW_POLICY)
    return attrs.evolve(harness, spec=spec)


@pytest.mark.zoo
def test_contracts_tenants_are_all() -> None:
    """A backend that knows the tenants that the suite names, and no other, is conformant."""
    assert run(knowing(TENANTS)).verdict is Verdict.CONFORMANT_MEMORY


def test_contracts_tenants_that_are_not_known_show_nothing() -> None:
    """Where a scope is refused whatever it asks, nothing is said of what it could tell."""
    tenants = {scope.tenant_id for scope in SCOPES}
    (line,) = run(knowing(tenants), only=["TEN-207"]).of_status(Status.INDETERMINATE)
    assert "nexus_contracts.TENANTS" in line.message
