"""Raw store on Google Cloud Storage: what the plugin registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nexus_core.spi import (
    Backend,
    BackendSpec,
    Durability,
    Isolation,
    Proof,
    RawCapabilities,
    Runtime,
    StoreRole,
    hookimpl,
)
from nexus_gcs._config import GcsConfig

__all__ = ["GcsConfig", "nexus_raw_store"]


def _build(config: GcsConfig, runtime: Runtime) -> Backend:
    from nexus_gcs._store import GcsStore

    return GcsStore(config, runtime)


def _make_places(config: GcsConfig, runtime: Runtime) -> Sequence[str]:
    from nexus_gcs._provision import provision

    return provision(config, runtime)


def _try_promises(config: GcsConfig, runtime: Runtime) -> Mapping[str, Proof]:
    from nexus_gcs._prove import prove

    return prove(config, runtime)


@hookimpl
def nexus_raw_store() -> BackendSpec:
    """Offer objects in buckets. The isolation declared is that of the weakest mode, one bucket."""
    return BackendSpec(
        name="gcs",
        role=StoreRole.RAW,
        summary="Objects in Google Cloud Storage",
        config=GcsConfig,
        capabilities=RawCapabilities(
            conditional_create=True,
            conditional_replace=True,
            conditional_delete=True,
            ranges=True,
            delimiter=True,
            copy=True,
            presign_get=True,
            presign_put=True,
            versions=True,
            object_lock=True,
            max_object_bytes=5 << 40,
            max_key_bytes=900,
        ),
        isolation=Isolation.PREFIX,
        durability=Durability.POWER_LOSS,
        factory=_build,
        provision=_make_places,
        prove=_try_promises,
        proves=frozenset(
            (
                "conditional_create",
                "conditional_delete",
                "conditional_replace",
                "copy",
                "object_lock",
                "presign_get",
                "presign_put",
                "ranges",
                "versions",
            )
        ),
    )
