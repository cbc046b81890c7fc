"""Faulty and unusual raw stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo._mutant import Mutant, variant_harness
from nexus_core.spi import ObjectInfo, ObjectPage, Scope, StoreRole


class KeyOmitsEnv(MemoryRaw):
    """Keeps one namespace for all environments of a tenant."""

    def put(self, scope: Scope, *args: Any, **kwargs: Any) -> ObjectInfo:
        return super().put(Scope(scope.tenant_id, "dev"), *args, **kwargs)

    def _find(self, scope: Scope, key: str) -> Any:
        return super()._find(Scope(scope.tenant_id, "dev"), key)


class SmallPages(MemoryRaw):
    """Gives at most three entries a page, whatever was asked for."""

    def list(self, scope: Scope, *, limit: int = 1000, **kwargs: Any) -> ObjectPage:
        return super().list(scope, limit=min(limit, 3), **kwargs)


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        name="raw-key-omits-env",
        role=StoreRole.RAW,
        what="the physical key omits the environment",
        killed_by="TEN-101",
        says="could tell",
        make=lambda runtime: KeyOmitsEnv(runtime.now),
    ),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    "raw-small-pages": variant_harness(StoreRole.RAW, lambda runtime: SmallPages(runtime.now)),
}
