"""From the event loop to worker threads and back.

A call that was begun runs to its end on its thread, whatever becomes of the task that awaits it:
a connection is never left half-read, and a cancelled write's outcome is UNKNOWN to the canceller
while its audit trail is complete. How many run at once is bounded by the number of workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar, final

import attrs

from nexus_core._handles.objects import RawObject, RawStream

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class AsyncStream:
    """An opened object: ``async for`` over ``chunks`` inside the ``async with`` that opened it."""

    object: RawObject
    chunks: AsyncIterator[bytes] = attrs.field(repr=False)


@final
class Bridge:
    """Runs blocking calls on at most ``workers`` threads."""

    __slots__ = ("_ensure_open", "_pool")

    def __init__(self, workers: int, ensure_open: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="nexus")
        self._ensure_open = ensure_open

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call and return what it returns, or raise what it raises.

        Cancelling the await before the call has begun means that it never does.
        """
        # A forked child has the pool's queue but none of its threads: it would wait for ever.
        self._ensure_open()
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    @asynccontextmanager
    async def stream(
        self, opening: Callable[[], AbstractContextManager[RawStream]]
    ) -> AsyncIterator[AsyncStream]:
        """Enter a blocking context manager over a stream, and leave it whatever happens."""
        manager = opening()
        entering = asyncio.ensure_future(self.run(manager.__enter__))
        try:
            opened = await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread may still be opening it; close it as soon as it is open.
            entering.add_done_callback(lambda done: self._abandon(manager, done))
            raise
        try:
            yield AsyncStream(object=opened.object, chunks=self._each(opened.chunks))
        finally:
            await asyncio.shield(self.run(lambda: manager.__exit__(None, None, None)))

    def _abandon(
        self,
        manager: AbstractContextManager[RawStream],
        done: asyncio.Future[RawStream],
    ) -> None:
        if not done.cancelled() and done.exception() is None:
            self._pool.submit(manager.__exit__, None, None, None)

    async def iterate(self, opening: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Iterate a blocking iterator, an item a hop."""
        iterator = await self.run(opening)
        async for item in self._each(iterator):
            yield item

    async def _each(self, iterator: Iterator[T]) -> AsyncIterator[T]:
        while True:
            found = await self.run(lambda: next(iterator, None))
            if found is None:
                return
            yield found

    def close(self) -> None:
        """Wait for what was begun, begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
