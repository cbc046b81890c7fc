"""From the event loop to worker threads and back.

A call that was begun runs to its end on its thread, whatever becomes of the task that awaits it:
a connection is never left half-read, and a cancelled write's outcome is UNKNOWN to the canceller
while its audit trail is complete. How many run at once is bounded by the number of workers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar, final

import attrs

from nexus_core._handles.objects import RawObject, RawStream
from nexus_core._model.errors import ClosedError

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class AsyncStream:
    """An opened object: ``async for`` over ``chunks`` inside the ``async with`` that opened it."""

    object: RawObject
    chunks: AsyncIterator[bytes] = attrs.field(repr=False)


@final
class Bridge:
    """Runs blocking calls on at most ``workers`` threads."""

    __slots__ = ("_closing", "_ensure_open", "_pool")

    def __init__(self, workers: int, ensure_open: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="nexus")
        self._ensure_open = ensure_open
        self._closing = False

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call and return what it returns, or raise what it raises.

        Cancelling the await before the call has begun means that it never does.
        """
        # A forked child has the pool's queue but none of its threads: it would wait for ever.
        self._ensure_open()
        try:
            begun = self._pool.submit(call)
        except RuntimeError:
            raise _closed() from None
        try:
            return await asyncio.wrap_future(begun)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closing and begun.cancelled() and not (task and task.cancelling()):
                # Closing took it off the queue; nobody cancelled whoever waits for it.
                raise _closed() from None
            raise

    @asynccontextmanager
    async def stream(
        self, opening: Callable[[], AbstractContextManager[RawStream]]
    ) -> AsyncIterator[AsyncStream]:
        """Enter a blocking context manager over a stream, and leave it whatever happens."""
        manager = opening()
        # One at a time: an abandoned read may still be under way when the stream is left.
        turn = threading.Lock()

        def leave() -> None:
            with turn:
                manager.__exit__(None, None, None)

        entering = asyncio.ensure_future(self.run(manager.__enter__))
        try:
            opened = await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread may still be opening it; close it as soon as it is open.
            entering.add_done_callback(lambda done: self._abandon(leave, done))
            raise
        try:
            yield AsyncStream(object=opened.object, chunks=self._each(opened.chunks, turn))
        finally:
            await asyncio.shield(self._leave(leave))

    async def _leave(self, leave: Callable[[], None]) -> None:
        self._ensure_open()
        try:
            begun = self._pool.submit(leave)
        except RuntimeError:
            leave()
            return
        try:
            await asyncio.wrap_future(begun)
        except asyncio.CancelledError:
            if not begun.cancelled():
                raise
            leave()

    def _abandon(self, leave: Callable[[], None], done: asyncio.Future[RawStream]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        try:
            self._pool.submit(leave)
        except RuntimeError:
            leave()

    async def iterate(self, opening: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Iterate a blocking iterator, an item a hop."""
        iterator = await self.run(opening)
        async for item in self._each(iterator, threading.Lock()):
            yield item

    async def _each(self, iterator: Iterator[T], turn: threading.Lock) -> AsyncIterator[T]:
        def step() -> T | None:
            with turn:
                return next(iterator, None)

        while True:
            found = await self.run(step)
            if found is None:
                return
            yield found

    def close(self) -> None:
        """Wait for what was begun, begin nothing more."""
        self._closing = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def _closed() -> ClosedError:
    return ClosedError("this Nexus is being closed", hint="call AsyncNexus.open again")
