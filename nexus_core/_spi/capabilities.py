"""What a backend declares it can do. The core refuses an undeclared call before it arrives."""

from __future__ import annotations

import enum
from typing import Final, Literal, TypeAlias

import attrs

from nexus_core._model.filters import ALL_FILTER_OPS
from nexus_core._model.keys import MAX_KEY_BYTES
from nexus_core._model.vectors import METRICS


class StoreRole(enum.StrEnum):
    """One of the four jobs a backend can do; the value is the key used in a route."""

    RAW = "raw"
    ATOMS = "atoms"
    VECTORS = "vectors"
    AUDIT = "audit"


class Isolation(enum.StrEnum):
    """How scopes are kept apart on the engine, strongest first; operators see it."""

    FILE = "file"
    PARTITION = "partition"
    PREFIX = "prefix"
    ROW_POLICY = "row_policy"
    PREDICATE = "predicate"


class Durability(enum.StrEnum):
    """What an acknowledged write survives."""

    POWER_LOSS = "power_loss"
    PROCESS_CRASH = "process_crash"
    EPHEMERAL = "ephemeral"


@attrs.frozen(kw_only=True)
class RawCapabilities:
    """Capabilities of a raw store. ``put`` is atomic and ``head``, ``open``, ``list`` are always
    there."""

    conditional_create: bool = False
    conditional_replace: bool = False
    conditional_delete: bool = False
    ranges: bool = False
    delimiter: bool = False
    copy: bool = False
    presign_get: bool = False
    presign_put: bool = False
    versions: bool = False
    object_lock: bool = False
    max_object_bytes: int | None = None
    max_key_bytes: int = MAX_KEY_BYTES
    max_metadata_bytes: int = 2048


@attrs.frozen(kw_only=True)
class AtomCapabilities:
    """Capabilities of an atom store. Atomic ``commit`` with preconditions is not optional."""

    filter_ops: frozenset[str] = ALL_FILTER_OPS - {"contains_any", "contains_all"}
    max_batch: int = 10_000
    max_body_bytes: int = 1 << 20


@attrs.frozen(kw_only=True)
class VectorCapabilities:
    """Capabilities of a vector store.

    ``exact``: recall is 1 and distances are the definition's. ``stable_ties``: which of several
    equally near rows makes the cut is decided by id. ``round_trip``: what ``get`` returns.
    ``session_reads``: a write is seen by the next read through the same backend. ``states``: what
    ``set_state`` can put an index in, of ``IndexState``: none, or active and inactive, or all.
    """

    exact: bool = False
    metrics: frozenset[str] = frozenset(METRICS)
    filter_ops: frozenset[str] = ALL_FILTER_OPS
    max_dimension: int = 4096
    max_k: int = 10_000
    max_batch: int = 10_000
    atomic_batch: bool = False
    session_reads: bool = True
    stable_ties: bool = False
    states: frozenset[str] = frozenset()
    round_trip: Literal["bitexact", "normalised", "lossy"] = "bitexact"


@attrs.frozen(kw_only=True)
class AuditCapabilities:
    """Capabilities of an audit sink. Compare-and-set append is not optional."""

    max_batch: int = 1000
    erase_sealed: bool = True


Capabilities: TypeAlias = (
    RawCapabilities | AtomCapabilities | VectorCapabilities | AuditCapabilities
)

CAPABILITIES_OF: Final[dict[StoreRole, type[Capabilities]]] = {
    StoreRole.RAW: RawCapabilities,
    StoreRole.ATOMS: AtomCapabilities,
    StoreRole.VECTORS: VectorCapabilities,
    StoreRole.AUDIT: AuditCapabilities,
}
