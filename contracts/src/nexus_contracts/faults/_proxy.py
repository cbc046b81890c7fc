"""A TCP proxy on the loopback that loses, delays and cuts what passes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Final, Self, TypeVar

import attrs

from nexus_contracts.faults._model import Fault, FaultKind, Strikes
from nexus_contracts.faults._switch import Switch

T = TypeVar("T")

_PIECE: Final = 1 << 16
_CONTINUE: Final = (b"HTTP/1.1 100", b"HTTP/1.0 100")
_ANSWERS: Final = {
    FaultKind.BUSY: b"503 Service Unavailable",
    FaultKind.THROTTLED: b"429 Too Many Requests",
}
# Reset instead of an orderly end: linger for no time.
_RESET: Final = struct.pack("ii", 1, 0)


@attrs.define(eq=False)
class _Connection:
    """One client's connection, with the one to the engine that it is joined to."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # Whether the client spoke last: the next bytes that come back begin an answer.
    asked: bool = False
    # Whether the client's next bytes are its first since a fault was set: a client of HTTP/2 may
    # have spoken last without asking anything.
    fresh: bool = False
    swallowed: bool = False

    def reset(self) -> None:
        """End both at once, without a farewell."""
        for writer in (self.client, self.server):
            _reset(writer)


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on, until told to do it badly.

    Runs in a thread of its own from the constructor to ``close``. It understands no protocol; of
    HTTP/1.1 it knows that ``100 Continue`` is no answer, and how to say 429 and 503.
    """

    def __init__(self, host: str, port: int, *, switch: Switch | None = None) -> None:
        self._upstream = (host, port)
        self._switch = Switch() if switch is None else switch
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._server = self._wait(asyncio.start_server(self._joined, "127.0.0.1", 0))
        except BaseException:
            self._stop()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]

    host: Final = "127.0.0.1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set(self, fault: Fault | None) -> Strikes:
        """Begin a fault, or end it with ``None``; give the counter of its strikes.

        Ending one resets the connections that it left hanging.
        """
        strikes = self._switch.set(fault)
        self.settle(fault)
        return strikes

    def settle(self, fault: Fault | None) -> None:
        """Bring the connections that stand in line with the switch."""
        self._wait(self._settle(fault))

    async def _settle(self, fault: Fault | None) -> None:
        for connection in list(self._connections):
            refused = fault is not None and fault.kind is FaultKind.REFUSED
            if connection.swallowed or refused:
                connection.reset()
            connection.fresh = fault is not None

    def close(self) -> None:
        """End every connection and the thread. Idempotent."""
        if self._loop.is_closed():
            return
        self._wait(self._end())
        self._stop()

    async def _end(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Transports close themselves in the turns after.
        for _ in range(3):
            await asyncio.sleep(0)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # -- in the thread -----------------------------------------------------------------------

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            return  # only close cancels, and nobody waits for this to be told
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._switch.strikes(FaultKind.REFUSED):
            _reset(writer)
            return
        try:
            from_server, server = await asyncio.open_connection(*self._upstream)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(writer, server)
        self._connections.add(connection)
        try:
            await asyncio.gather(self._up(connection, reader), self._down(connection, from_server))
        finally:
            self._connections.discard(connection)
            for each in (writer, server):
                each.close()

    async def _up(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        """Requests, from the client to the engine."""
        try:
            while data := await reader.read(_PIECE):
                first = connection.fresh or not connection.asked
                connection.fresh, connection.asked = False, True
                if connection.swallowed:
                    continue
                if first and self._swallows(connection):
                    continue
                await self._late()
                passed = self._switch.allows(FaultKind.CUT_REQUEST, len(data))
                connection.server.write(data if passed is None else data[:passed])
                await connection.server.drain()
                if passed is not None:
                    connection.reset()
                    return
            _farewell(connection.server)
        except OSError:
            connection.reset()

    def _swallows(self, connection: _Connection) -> bool:
        """Whether this request, and all that follows on its connection, ends here."""
        if self._switch.strikes(FaultKind.BLACKHOLE):
            connection.swallowed = True
            return True
        for kind, status in _ANSWERS.items():
            if self._switch.strikes(kind):
                connection.swallowed = True
                head = b"HTTP/1.1 " + status + b"\r\nRetry-After: 0\r\nContent-Length: 0\r\n"
                connection.client.write(head + b"Connection: close\r\n\r\n")
                _farewell(connection.client)
                return True
        return False

    async def _down(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        """Answers, from the engine to the client."""
        try:
            while data := await reader.read(_PIECE):
                if connection.swallowed:
                    continue
                interim, data = _interim(data)
                if interim:
                    connection.client.write(interim)
                if not data:
                    continue
                if connection.asked and self._switch.strikes(FaultKind.LOST_RESPONSE):
                    connection.reset()
                    return
                connection.asked = False
                await self._late()
                passed = self._switch.allows(FaultKind.CUT_RESPONSE, len(data))
                connection.client.write(data if passed is None else data[:passed])
                await connection.client.drain()
                if passed is not None:
                    connection.reset()
                    return
            if not connection.swallowed:
                _farewell(connection.client)
        except OSError:
            connection.reset()

    async def _late(self) -> None:
        fault = self._switch.on(FaultKind.LATENCY)
        if fault is not None and self._switch.strikes(FaultKind.LATENCY):
            await asyncio.sleep(fault.seconds)


def _interim(data: bytes) -> tuple[bytes, bytes]:
    """What is a ``100 Continue`` at the beginning of an answer, and the rest."""
    if not data.startswith(_CONTINUE):
        return b"", data
    head, mark, rest = data.partition(b"\r\n\r\n")
    return head + mark, rest


def _farewell(writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("socket")
    if peer is not None and not writer.is_closing():
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
