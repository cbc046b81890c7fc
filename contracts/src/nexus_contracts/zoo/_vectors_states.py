"""Vector stores whose indexes sleep badly, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, variant_harness
from nexus_core.spi import (
    IndexRef,
    IndexState,
    Scope,
    StoreRole,
    TenantInactiveError,
    VectorBatch,
    VectorPage,
)


class WakesForAnyone(MemoryVectors):
    """Activates an index that is asked for."""

    def _index(self, scope: Scope, ref: IndexRef) -> Any:
        self.set_state(scope, ref, IndexState.ACTIVE)
        return super()._index(scope, ref)


class WakesAfterRefusing(MemoryVectors):
    """Refuses the first call on an inactive index, and activates it."""

    def _index(self, scope: Scope, ref: IndexRef) -> Any:
        try:
            return super()._index(scope, ref)
        except TenantInactiveError:
            self.set_state(scope, ref, IndexState.ACTIVE)
            raise


class SleepsForAll(MemoryVectors):
    """Puts the index of that name in a state in every scope."""

    def set_state(self, scope: Scope, ref: IndexRef, state: IndexState) -> bool:
        changed = super().set_state(scope, ref, state)
        for place, index in self.indexes.items():
            if place[1:] == (ref.definition.name, ref.definition.version):
                index.state = state
        return changed


class DozesOnly(MemoryVectors):
    """Answers from an index that is offloaded."""

    def _index(self, scope: Scope, ref: IndexRef) -> Any:
        index = self._any_index(scope, ref)
        return index if index.state is IndexState.OFFLOADED else super()._index(scope, ref)


class WritesAsleep(MemoryVectors):
    """Takes rows for an inactive index."""

    def upsert(self, scope: Scope, ref: IndexRef, batch: VectorBatch) -> None:
        slept = self._any_index(scope, ref).state
        self.set_state(scope, ref, IndexState.ACTIVE)
        super().upsert(scope, ref, batch)
        self.set_state(scope, ref, slept)


class DeletesAsleep(MemoryVectors):
    """Refuses to delete from an inactive index, and does it."""

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        index = self._any_index(scope, ref)
        for each in ids if index.state is not IndexState.ACTIVE else ():
            index.rows.pop(each, None)
        return super().delete(scope, ref, ids)


class ForgetsAsleep(MemoryVectors):
    """Switches an index off by emptying it."""

    def set_state(self, scope: Scope, ref: IndexRef, state: IndexState) -> bool:
        changed = super().set_state(scope, ref, state)
        if state is not IndexState.ACTIVE:
            self._any_index(scope, ref).rows.clear()
        return changed


class HidesAsleep(MemoryVectors):
    """Lists active indexes only."""

    def list_indexes(self, scope: Scope) -> Sequence[IndexRef]:
        found = super().list_indexes(scope)
        return [ref for ref in found if self._any_index(scope, ref).state is IndexState.ACTIVE]


class SparesAsleep(MemoryVectors):
    """Leaves inactive indexes behind where a scope is erased."""

    def erase(self, scope: Scope) -> int:
        slept = {
            place: index
            for place, index in self.indexes.items()
            if place[0] == scope and index.state is not IndexState.ACTIVE
        }
        count = super().erase(scope)
        self.indexes.update(slept)
        return count


class FreshRows(MemoryVectors):
    """Makes every row that it gives anew, as an engine in another process does."""

    def scan(self, scope: Scope, ref: IndexRef, **options: Any) -> VectorPage:
        page = super().scan(scope, ref, **options)
        return attrs.evolve(page, rows=tuple(attrs.evolve(row) for row in page.rows))


def _m(name: str, kind: Any, says: str) -> Mutant:
    return Mutant(
        name=f"vectors-{name}",
        role=StoreRole.VECTORS,
        what=(kind.__doc__ or "").strip(),
        killed_by="VEC-028",
        says=says,
        make=lambda _: kind(),
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("wakes-for-anyone", WakesForAnyone, "an index that is inactive"),
    _m("wakes-after-refusing", WakesAfterRefusing, "an index that is inactive"),
    _m("sleeps-for-all", SleepsForAll, "another index was switched off"),
    _m("dozes-only", DozesOnly, "an index that is offloaded"),
    _m("writes-asleep", WritesAsleep, "upsert of an index that is inactive"),
    _m("deletes-asleep", DeletesAsleep, "came back with other rows"),
    _m("forgets-asleep", ForgetsAsleep, "came back with other rows"),
    _m("hides-asleep", HidesAsleep, "an index that is inactive is not listed"),
    _m("spares-asleep", SparesAsleep, "erase left an index that is inactive"),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    "vectors-fresh-rows": variant_harness(StoreRole.VECTORS, lambda _: FreshRows()),
    "vectors-no-states": variant_harness(StoreRole.VECTORS, capabilities={"states": frozenset()}),
    "vectors-two-states": variant_harness(
        StoreRole.VECTORS,
        capabilities={"states": frozenset((IndexState.ACTIVE, IndexState.INACTIVE))},
    ),
}
