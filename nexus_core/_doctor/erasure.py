"""Erasing one probe tenant must leave the other whole; then the other goes, too.

This speaks to the backends directly: with the first trail gone no handle of that scope may act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from nexus_core._doctor.laws import Laws, needed, never
from nexus_core._handles.deployment import OpenStore
from nexus_core._model.records import COLLECTIONS
from nexus_core._model.scope import Scope
from nexus_core._spi.atoms import AtomBackend
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.raw import RawBackend
from nexus_core._spi.vectors import VectorBackend

Backed = RawBackend | AtomBackend | VectorBackend | AuditBackend


def try_erasure(
    stores: Mapping[StoreRole, OpenStore], laws: Mapping[StoreRole, Laws], a: Scope, b: Scope
) -> None:
    """Erase the first scope, then the second, in every role; see what is left each time."""
    for role, store in stores.items():
        backend = cast("Backed", store.backend)
        left = _LEFT[role]
        with laws[role].law("erasing one tenant leaves the other whole, and nothing of the one"):
            before = left(backend, b)
            backend.erase(a)
            never(left(backend, b) != before, "erasing one tenant changed the other")
            needed(not left(backend, a), "something is left of a tenant that was erased")
            backend.erase(b)
            needed(not left(backend, b), "something is left of a tenant that was erased")


def erase(stores: Mapping[StoreRole, OpenStore], scopes: tuple[Scope, ...]) -> None:
    """Erase the probe scopes whatever happened before; raises what the first failing store did."""
    failure: Exception | None = None
    for store in stores.values():
        for scope in scopes:
            try:
                cast("Backed", store.backend).erase(scope)
            except Exception as error:  # noqa: BLE001  # the others have to be erased all the same
                failure = failure or error
    if failure is not None:
        raise failure


def _objects(backend: Backed, scope: Scope) -> object:
    return tuple(item.key for item in cast("RawBackend", backend).list(scope).items)


def _records(backend: Backed, scope: Scope) -> object:
    counts = {name: cast("AtomBackend", backend).count(scope, name, None) for name in COLLECTIONS}
    return {name: count for name, count in counts.items() if count}


def _rows(backend: Backed, scope: Scope) -> object:
    vectors = cast("VectorBackend", backend)
    return {
        ref.definition.name: vectors.count(scope, ref, None) for ref in vectors.list_indexes(scope)
    }


def _entries(backend: Backed, scope: Scope) -> object:
    return cast("AuditBackend", backend).head(scope)


_LEFT: Final[Mapping[StoreRole, Callable[[Backed, Scope], object]]] = {
    StoreRole.RAW: _objects,
    StoreRole.ATOMS: _records,
    StoreRole.VECTORS: _rows,
    StoreRole.AUDIT: _entries,
}
