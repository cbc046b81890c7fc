"""Settings of the embedded vector store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nexus_core.spi import BackendConfig


class EmbeddedConfig(BackendConfig):
    """Settings of one embedded vector store."""

    root: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    """Directory on a local file system that holds the store, and nothing else. A relative path is
    relative to the configuration's directory. Only provisioning creates it."""

    cache_bytes: int = Field(default=256 << 20, ge=0)
    """Memory for the vectors of recently asked indexes, and their codes. An index that is larger is
    read from disk for each call, and takes its size in memory while the call lasts."""

    busy_timeout: float = Field(default=10.0, gt=0, le=3600)
    """Seconds that a write waits for another write to the same scope before it is refused."""

    connections: int = Field(default=64, ge=1, le=10_000)
    """Databases of scopes kept open between calls; each takes up to three file descriptors."""

    scan: Literal["auto", "float32", "int8"] = "auto"
    """What is scanned first: the vectors, or their codes of a quarter of that size, which is faster
    and needs the extra `fast`. The answers are the same to the last bit. `auto` takes the codes
    where the extra is installed and works."""
