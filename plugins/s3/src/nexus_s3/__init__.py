"""Raw store on S3 and engines that speak its protocol: what the plugin registers."""

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
from nexus_s3._config import S3Config

__all__ = ["S3Config", "nexus_raw_store"]


# Named unlike the modules, which take their names in this one when they are imported.
def _build_store(config: S3Config, runtime: Runtime) -> Backend:
    from nexus_s3._store import S3Store

    return S3Store(config, runtime)


def _provision_store(config: S3Config, runtime: Runtime) -> Sequence[str]:
    from nexus_s3._provision import provision

    return provision(config, runtime)


def _prove_store(config: S3Config, runtime: Runtime) -> Mapping[str, Proof]:
    from nexus_s3._prove import prove

    return prove(config, runtime)


@hookimpl
def nexus_raw_store() -> BackendSpec:
    """Offer objects in buckets. The isolation declared is that of the weakest mode, one bucket."""
    return BackendSpec(
        name="s3",
        role=StoreRole.RAW,
        summary="Objects in S3, or in an engine that speaks its protocol",
        config=S3Config,
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
            max_key_bytes=900,
            max_metadata_bytes=1024,
        ),
        isolation=Isolation.PREFIX,
        durability=Durability.POWER_LOSS,
        factory=_build_store,
        provision=_provision_store,
        prove=_prove_store,
        proves=frozenset(
            (
                "conditional_create",
                "conditional_delete",
                "conditional_replace",
                "presign_get",
                "presign_put",
                "object_lock",
                "ranges",
                "versions",
            )
        ),
    )
