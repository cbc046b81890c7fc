"""Embedded vector store: what the plugin registers."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.spi import (
    Backend,
    BackendSpec,
    Durability,
    Isolation,
    Runtime,
    StoreRole,
    VectorCapabilities,
    hookimpl,
)
from nexus_embedded._config import EmbeddedConfig

__all__ = ["EmbeddedConfig", "nexus_vector_store"]


def _build(config: EmbeddedConfig, runtime: Runtime) -> Backend:
    from nexus_embedded._backend import EmbeddedVectors
    from nexus_embedded._kernel import product_for

    return EmbeddedVectors(
        runtime.path(config.root),
        cache_bytes=config.cache_bytes,
        busy_timeout=config.busy_timeout,
        connections=config.connections,
        product=product_for(config.scan),
    )


def _provision(config: EmbeddedConfig, runtime: Runtime) -> Sequence[str]:
    from nexus_embedded._layout import provision

    return provision(runtime.path(config.root))


@hookimpl
def nexus_vector_store() -> BackendSpec:
    """Offer exact search over vectors that lie in one SQLite file for each scope."""
    return BackendSpec(
        name="embedded",
        role=StoreRole.VECTORS,
        summary="Exact search in one SQLite file for each scope, without a server",
        config=EmbeddedConfig,
        capabilities=VectorCapabilities(
            exact=True, atomic_batch=True, stable_ties=True, round_trip="bitexact"
        ),
        isolation=Isolation.FILE,
        durability=Durability.POWER_LOSS,
        factory=_build,
        provision=_provision,
    )
