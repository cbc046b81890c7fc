"""Raw store on a local file system: what the plugin registers."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.spi import (
    Backend,
    BackendSpec,
    Durability,
    Isolation,
    RawCapabilities,
    Runtime,
    StoreRole,
    hookimpl,
)
from nexus_filesystem._config import FilesystemConfig

__all__ = ["FilesystemConfig", "nexus_raw_store"]


def _build(config: FilesystemConfig, runtime: Runtime) -> Backend:
    from nexus_filesystem._store import FilesystemStore

    return FilesystemStore(runtime.path(config.root), runtime.now)


def _provision(config: FilesystemConfig, runtime: Runtime) -> Sequence[str]:
    from nexus_filesystem._layout import provision

    return provision(runtime.path(config.root))


@hookimpl
def nexus_raw_store() -> BackendSpec:
    """Offer objects in a directory tree, one file an object."""
    return BackendSpec(
        name="filesystem",
        role=StoreRole.RAW,
        summary="Objects in a directory of a local file system",
        config=FilesystemConfig,
        capabilities=RawCapabilities(
            conditional_create=True,
            conditional_replace=True,
            conditional_delete=True,
            ranges=True,
            delimiter=True,
            copy=True,
        ),
        isolation=Isolation.PREFIX,
        durability=Durability.POWER_LOSS,
        factory=_build,
        provision=_provision,
    )
