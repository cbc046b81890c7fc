"""Settings of the raw store."""

from __future__ import annotations

from pydantic import Field

from nexus_core.spi import BackendConfig


class FilesystemConfig(BackendConfig):
    """Settings of one raw store on a file system."""

    root: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    """Directory that holds the store, and nothing else. A relative path is relative to the
    configuration's directory. There is no default, and only provisioning creates it."""
