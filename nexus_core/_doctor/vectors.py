"""The laws of a vector store: twin rows and nearer neighbours in another tenant change nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, cast

from nexus_core._doctor.laws import (
    LOSS,
    BrokenLawError,
    Laws,
    Twin,
    Twins,
    answer_of,
    needed,
    never,
)
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.vectors import VectorItem
from nexus_core._model.errors import NexusError
from nexus_core._model.vectors import METRICS, IndexDefinition
from nexus_core._spi.capabilities import VectorCapabilities

ASKED: Final = (1.0, 0.0, 0.0, 0.0)
_NEAR: Final = (0.6, 0.8, 0.0, 0.0)
_FAR: Final = (0.0, 1.0, 0.0, 0.0)
_CROWD: Final = 32
_PATIENCE: Final = 10.0


def probe_indexes(nonce: str, store: OpenStore) -> tuple[IndexDefinition, ...]:
    """Definitions of the probe's two indexes: one that both tenants use, one of the first alone."""
    capabilities = cast("VectorCapabilities", store.spec.capabilities)
    metric = next(metric for metric in METRICS if metric in capabilities.metrics)
    return tuple(
        IndexDefinition(
            name=name, version=1, dimension=len(ASKED), metric=metric, embedder="probe@1"
        )
        for name in (shared_index(nonce), f"probe-{nonce}-a")
    )


def shared_index(nonce: str) -> str:
    """Name of the index that both tenants have."""
    return f"probe-{nonce}"


def try_vectors(twins: Twins, laws: Laws, store: OpenStore) -> None:
    """Write twins, and look whether either tenant can tell that the other is there."""
    a, b = twins.a, twins.b
    index = shared_index(twins.nonce)
    capabilities = cast("VectorCapabilities", store.spec.capabilities)
    with laws.law("a tenant alone finds what it wrote"):
        _upsert(twins, a, index, {"twin": _NEAR, "only-a": _FAR})
        _settled(a, index, 2, capabilities)
        before = _seen(a, index, 2)
        names = [name for name, _ in before[0]]
        needed(names == ["twin", "only-a"], "a query is not what was written")
        needed(before[1] == 2, "a count is not what was written")
    if laws.broken:
        return
    with laws.law("another tenant's nearer twins change neither hits, order nor distances"):
        crowd = {f"crowd-{number}": ASKED for number in range(_CROWD)}
        _upsert(twins, b, index, {"twin": ASKED, **crowd})
        _settled(b, index, _CROWD + 1, capabilities)
        never(_seen(a, index, 2) != before, "one tenant's rows changed what the other finds")
    with laws.law("queries, rows and counts have one's own rows only"):
        hits, count, rows = _seen(b, index, 2 * _CROWD)
        never("only-a" in {name for name, _ in hits}, "a query found a row of the other tenant")
        never("only-a" in rows, "a scan has a row of the other tenant")
        never(count != _CROWD + 1, "a count counts rows of the other tenant")
        never(any(b.n.vectors.get(index, "only-a")), "a tenant read the other's row")
        own = b.n.vectors.query(index, ASKED, k=1)
        needed(own and own[0].distance <= before[0][0][1], "the nearest row is not found")
    with laws.law("another tenant's index and none at all give the same answer"):
        _upsert(twins, a, f"probe-{twins.nonce}-a", {"twin": _NEAR})
        foreign = _refusal(lambda name: b.n.vectors.query(name, ASKED), f"probe-{twins.nonce}-a")
        absent = _refusal(lambda name: b.n.vectors.query(name, ASKED), f"never-{twins.nonce}")
        never(foreign != absent, "an index of the other tenant is told apart from none")
        indexes = {definition.name for definition in b.n.vectors.indexes()}
        never(f"probe-{twins.nonce}-a" in indexes, "the other tenant's index is listed")
    with laws.law("deleting in one tenant deletes nothing in the other"):
        b.n.vectors.delete(index, ["twin", *crowd])
        _settled(b, index, 0, capabilities)
        never(_seen(a, index, 2) != before, "the other tenant's rows changed")


def _upsert(
    twins: Twins, twin: Twin, index: str, rows: dict[str, tuple[float, float, float, float]]
) -> None:
    items = [VectorItem(id=name, vector=vector) for name, vector in rows.items()]
    twin.n.vectors.upsert(index, items, kind=twins.kind, space=twins.space)


def _settled(twin: Twin, index: str, count: int, capabilities: VectorCapabilities) -> None:
    """Wait until an engine whose reads lag behind shows what was written."""
    end = time.monotonic() + (0 if capabilities.session_reads else _PATIENCE)
    while twin.n.vectors.count(index) != count and time.monotonic() < end:
        time.sleep(0.1)


def _seen(
    twin: Twin, index: str, k: int
) -> tuple[tuple[tuple[str, float], ...], int, frozenset[str]]:
    """Everything that a tenant can see of its own rows.

    With ``k`` no larger than the tenant has rows, others that crowd them out show.
    """
    hits = twin.n.vectors.query(index, ASKED, k=k)
    rows = twin.n.vectors.scan(index).items
    return (
        tuple((hit.id, hit.distance) for hit in hits),
        twin.n.vectors.count(index),
        frozenset(row.id for row in rows),
    )


def _refusal(verb: Callable[[str], object], argument: str) -> Any:
    try:
        verb(argument)
    except NexusError as error:
        return answer_of(error)
    raise BrokenLawError("a call that had to be refused was answered", LOSS)
