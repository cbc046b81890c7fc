"""Which duels are fought for a role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nexus_contracts._duel import Duel
from nexus_contracts._duels_atoms import COMMITS, CommitBeside, CommitRefused
from nexus_contracts._duels_audit import Append, AppendBeside, AppendRefused, ForgetBeside
from nexus_contracts._duels_erase import EraseBeside
from nexus_contracts._duels_raw import Change, Create, PutBeside, PutRefused
from nexus_contracts._duels_vectors import Define, DropUnder, UpsertBeside, UpsertRefused
from nexus_contracts._kinds import kinds_of
from nexus_core import Scope
from nexus_core.spi import Capabilities, StoreRole

SMALL: Final = 50
# Over the usual chunk, and entries over the usual few.
LARGE: Final = 70_000
BATCH: Final = 70


def meeting(role: StoreRole, capabilities: Capabilities) -> Duel:
    """Two writes of one scope that may both stand: for who waits for whom."""
    found: dict[StoreRole, Duel] = {
        StoreRole.RAW: PutBeside(),
        StoreRole.ATOMS: CommitBeside(),
        StoreRole.VECTORS: UpsertBeside(capabilities),
        StoreRole.AUDIT: AppendBeside(1),
    }
    return found[role]


def refusal(role: StoreRole, capabilities: Capabilities) -> Duel:
    """``meeting``'s write, in a way that is refused: it gives "lost", and leaves nothing."""
    found: dict[StoreRole, Duel] = {
        StoreRole.RAW: PutRefused(capabilities),
        StoreRole.ATOMS: CommitRefused(),
        StoreRole.VECTORS: UpsertRefused(capabilities),
        StoreRole.AUDIT: AppendRefused(1),
    }
    return found[role]


def erasures(role: StoreRole, capabilities: Capabilities) -> list[Duel]:
    """An erasure, and the first write of a scope of the same tenant or of another; the same with
    whatever else may leave a scope with nothing."""
    work = kinds_of(role, capabilities)
    lasts: list[Callable[[Any, Scope], object] | None] = [None]
    if role is StoreRole.RAW:
        lasts.append(lambda store, scope: store.delete(scope, "n"))
    if role is StoreRole.VECTORS:
        lasts.append(
            lambda store, scope: store.drop_index(scope, store.get_index(scope, "main", 1))
        )
    return [
        EraseBeside(work, one_tenant=one_tenant, last=last)
        for last in lasts
        for one_tenant in (True, False)
    ]


def duels_of(role: StoreRole, capabilities: Capabilities) -> list[Duel]:
    """The duels of a role that its capabilities allow."""
    can: Any = capabilities
    if role is StoreRole.RAW:
        most = can.max_object_bytes
        large = LARGE if most is None else min(most, LARGE)
        found: list[Duel] = []
        if can.conditional_create:
            found += [Create(SMALL), Create(large), *([Create(SMALL, copies=True)] * can.copy)]
        if can.conditional_replace:
            found += [Change("replace", size, (False, False)) for size in (SMALL, large)]
        if can.conditional_delete:
            found.append(Change("delete", SMALL, (True, True)))
            if can.conditional_replace:
                found.append(Change("delete", SMALL, (False, True)))
        return [*found, PutBeside()]
    if role is StoreRole.ATOMS:
        return [*COMMITS, CommitBeside()]
    if role is StoreRole.VECTORS:
        return [Define(can, same=False), Define(can, same=True), DropUnder(can), UpsertBeside(can)]
    forgets: list[Duel] = [ForgetBeside()] if can.erase_sealed else []
    return [Append(1), Append(min(can.max_batch, BATCH)), *forgets]
