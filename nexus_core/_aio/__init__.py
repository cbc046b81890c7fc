"""``AsyncNexus``: the same API for asynchronous programs, by worker threads."""

from __future__ import annotations

from nexus_core._aio.bridge import AsyncStream
from nexus_core._aio.front import AsyncNexus, AsyncRequest

__all__ = ["AsyncNexus", "AsyncRequest", "AsyncStream"]
