"""Weaviate vector store: what the plugin registers."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.spi import (
    Backend,
    BackendSpec,
    Durability,
    IndexState,
    Isolation,
    Runtime,
    StoreRole,
    VectorCapabilities,
    hookimpl,
)
from nexus_weaviate._config import WeaviateConfig

__all__ = ["WeaviateConfig", "nexus_vector_store"]


def _build(config: WeaviateConfig, runtime: Runtime) -> Backend:
    from nexus_weaviate._backend import WeaviateVectors
    from nexus_weaviate._engine import Engine

    return WeaviateVectors(Engine(config, runtime.base), config.prefix)


def _provision(config: WeaviateConfig, runtime: Runtime) -> Sequence[str]:
    from nexus_weaviate._engine import Engine
    from nexus_weaviate._place import provision

    engine = Engine(config, runtime.base)
    try:
        return provision(engine, config.prefix)
    finally:
        engine.close()


@hookimpl
def nexus_vector_store() -> BackendSpec:
    """Offer exact search in Weaviate, where each scope has shards of its own."""
    return BackendSpec(
        name="weaviate",
        role=StoreRole.VECTORS,
        summary="Exact search in Weaviate, a native tenant of its own for each index of a scope",
        config=WeaviateConfig,
        capabilities=VectorCapabilities(
            exact=True,
            stable_ties=True,
            round_trip="bitexact",
            max_k=1000,
            # Offloading needs a module that a server may not have.
            states=frozenset((IndexState.ACTIVE, IndexState.INACTIVE)),
        ),
        isolation=Isolation.PARTITION,
        durability=Durability.PROCESS_CRASH,
        factory=_build,
        provision=_provision,
    )
