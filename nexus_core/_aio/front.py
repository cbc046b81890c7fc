"""The asynchronous front door, beside ``nexus_core._nexus``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

from nexus_core._aio.bridge import Bridge
from nexus_core._aio.handles import (
    AsyncAssetsHandle,
    AsyncAtomsHandle,
    AsyncAuditHandle,
    AsyncDefinitionsHandle,
    AsyncErasureHandle,
    AsyncEventsHandle,
    AsyncLineageHandle,
    AsyncRawHandle,
    AsyncVectorsHandle,
)
from nexus_core._config import Config
from nexus_core._flows.ingest import Ingested, IngestReport
from nexus_core._flows.recover import Recovery
from nexus_core._flows.retrieve import Retrieval
from nexus_core._flows.sources import Source
from nexus_core._handles.rows import VectorLike
from nexus_core._model.context import RequestContext
from nexus_core._model.filters import Filter
from nexus_core._nexus import Nexus, Request

WORKERS: Final = 32


@final
class AsyncRequest:
    """One request in one scope; the asynchronous twin of ``Request``."""

    __slots__ = (
        "_bridge",
        "_sync",
        "assets",
        "atoms",
        "audit",
        "definitions",
        "erasure",
        "events",
        "lineage",
        "raw",
        "vectors",
    )

    def __init__(self, sync: Request, bridge: Bridge) -> None:
        self._sync = sync
        self._bridge = bridge
        self.raw = AsyncRawHandle(sync.raw, bridge)
        self.assets = AsyncAssetsHandle(sync.assets, bridge)
        self.atoms = AsyncAtomsHandle(sync.atoms, bridge)
        self.vectors = AsyncVectorsHandle(sync.vectors, bridge)
        self.lineage = AsyncLineageHandle(sync.lineage, bridge)
        self.definitions = AsyncDefinitionsHandle(sync.definitions, bridge)
        self.events = AsyncEventsHandle(sync.events, bridge)
        self.erasure = AsyncErasureHandle(sync.erasure, bridge)
        self.audit = AsyncAuditHandle(sync.audit, bridge)

    @property
    def context(self) -> RequestContext:
        """The context that every operation of this request carries."""
        return self._sync.context

    async def ingest(
        self,
        what: Source | str | Path | Iterable[Source | str | Path],
        *,
        kind: str,
        space: str,
        index: str | None = None,
        index_version: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
        retain_until: int | None = None,
        legal_hold: bool = False,
        progress: Callable[[Ingested], None] | None = None,
    ) -> IngestReport:
        """See ``Request.ingest``. ``progress`` is called on the worker's thread."""
        return await self._bridge.run(
            lambda: self._sync.ingest(
                what,
                kind=kind,
                space=space,
                index=index,
                index_version=index_version,
                parameters=parameters,
                pii_flags=pii_flags,
                train_ok=train_ok,
                retain_until=retain_until,
                legal_hold=legal_hold,
                progress=progress,
            )
        )

    async def retrieve(
        self,
        text: str | None = None,
        *,
        vector: VectorLike | None = None,
        index: str | None = None,
        index_version: int | None = None,
        k: int = 10,
        where: Filter | None = None,
    ) -> Retrieval:
        """See ``Request.retrieve``."""
        return await self._bridge.run(
            lambda: self._sync.retrieve(
                text, vector=vector, index=index, index_version=index_version, k=k, where=where
            )
        )

    async def recover(self, *, older_than: float | None = None) -> Recovery:
        """See ``Request.recover``."""
        return await self._bridge.run(lambda: self._sync.recover(older_than=older_than))


@final
class AsyncNexus:
    """An opened deployment for asynchronous programs, over ``workers`` threads.

    A call that is cancelled while its thread runs has an UNKNOWN outcome; the thread finishes it
    and its audit record is written.
    """

    __slots__ = ("_bridge", "_sync")

    def __init__(self, sync: Nexus, *, workers: int = WORKERS) -> None:
        self._sync = sync
        self._bridge = Bridge(workers, sync.ensure_open)

    @classmethod
    async def open(cls, path: str | Path = "nexus.toml", *, workers: int = WORKERS) -> AsyncNexus:
        """See ``Nexus.open``."""
        return cls(await asyncio.to_thread(Nexus.open, path), workers=workers)

    @asynccontextmanager
    async def request(
        self, context: RequestContext, *, purpose: str = "unspecified"
    ) -> AsyncIterator[AsyncRequest]:
        """See ``Nexus.request``."""
        manager = self._sync.request(context, purpose=purpose)
        opened = await self._bridge.run(manager.__enter__)
        try:
            yield AsyncRequest(opened, self._bridge)
        finally:
            manager.__exit__(None, None, None)

    @property
    def config(self) -> Config:
        """The validated configuration."""
        return self._sync.config

    async def close(self) -> None:
        """Finish what was begun, then close every store. Idempotent."""
        await asyncio.to_thread(self._bridge.close)
        await asyncio.to_thread(self._sync.close)

    async def __aenter__(self) -> AsyncNexus:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
