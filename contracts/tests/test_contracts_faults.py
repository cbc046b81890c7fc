"""The injectors of faults do what they say, and nothing once they are told to stop."""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from nexus_contracts import Namespace
from nexus_contracts.faults import Fault, FaultKind, FaultProxy, OsFaults, TcpFaults

PATIENCE: Final = 20
BRIEF: Final = 0.3


class Lines(socketserver.StreamRequestHandler):
    """An engine that does what each line says, and then answers."""

    done: list[bytes]

    def handle(self) -> None:
        with suppress(ConnectionError):
            for line in self.rfile:
                self.done.append(line.strip())
                self.wfile.write(b"did " + line)


class Engine(socketserver.ThreadingTCPServer):
    """The engine on a free port of the loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        self.done: list[bytes] = []
        super().__init__(("127.0.0.1", 0), type("Handler", (Lines,), {"done": self.done}))

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(engine: Engine) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", engine.port) as proxy:
        yield proxy


class Client:
    """A client of the engine that keeps its connection."""

    def __init__(self, port: int, patience: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience)

    def ask(self, line: bytes) -> bytes:
        """Say a line; give the answer's bytes up to the end of line or connection."""
        self.socket.sendall(line + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self.socket.recv(1 << 16)
            if not piece:
                return answer
            answer += piece
        return answer

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def test_contracts_faults_proxy_passes_everything(proxy: FaultProxy, engine: Engine) -> None:
    """Without a fault the proxy changes nothing, also of what is larger than its pieces."""
    large = os.urandom(300_000).hex().encode()
    with Client(proxy.port) as client:
        assert client.ask(b"a") == b"did a\n"
        assert client.ask(large) == b"did " + large + b"\n"
    assert engine.done == [b"a", large]


def test_contracts_faults_refused(proxy: FaultProxy, engine: Engine) -> None:
    """Connections that stand are reset and new ones too, until it ends."""
    with Client(proxy.port) as client:
        client.ask(b"a")
        strikes = proxy.set(Fault(FaultKind.REFUSED))
        with pytest.raises(ConnectionError):
            client.ask(b"b")
    with pytest.raises(ConnectionError), Client(proxy.port) as client:
        client.ask(b"c")
    assert strikes.count == 1
    proxy.set(None)
    with Client(proxy.port) as client:
        assert client.ask(b"d") == b"did d\n"
    assert engine.done == [b"a", b"d"]


def test_contracts_faults_blackhole(proxy: FaultProxy, engine: Engine) -> None:
    """Nothing passes after the turns that were let through, and what hung is reset at the end."""
    with Client(proxy.port, BRIEF) as client:
        strikes = proxy.set(Fault(FaultKind.BLACKHOLE, after=1))
        client.ask(b"a")
        with pytest.raises(TimeoutError):
            client.ask(b"b")
        proxy.set(None)
        with pytest.raises(ConnectionError):
            client.ask(b"c")
    assert (engine.done, strikes.count) == ([b"a"], 1)


def test_contracts_faults_blackhole_after_unasked(proxy: FaultProxy, engine: Engine) -> None:
    """A client that spoke last without asking anything is swallowed all the same."""
    with Client(proxy.port, BRIEF) as client:
        passed = proxy.set(Fault(FaultKind.LATENCY, seconds=0))
        client.ask(b"a")
        client.socket.sendall(b"b")
        while passed.count < 3:
            time.sleep(0.001)
        strikes = proxy.set(Fault(FaultKind.BLACKHOLE))
        with pytest.raises(TimeoutError):
            client.ask(b"")
        assert (engine.done, strikes.count) == ([b"a"], 1)


def test_contracts_faults_lost_response(proxy: FaultProxy, engine: Engine) -> None:
    """The engine does the work, and the client never hears of it; once is once."""
    strikes = proxy.set(Fault(FaultKind.LOST_RESPONSE, after=1, times=1))
    with Client(proxy.port) as client:
        client.ask(b"a")
        with pytest.raises(ConnectionError):
            client.ask(b"b")
    with Client(proxy.port) as client:
        assert client.ask(b"c") == b"did c\n"
    assert (engine.done, strikes.count) == ([b"a", b"b", b"c"], 1)


def test_contracts_faults_cuts(proxy: FaultProxy, engine: Engine) -> None:
    """A cut lets exactly its bytes through, on the way there and on the way back."""
    with Client(proxy.port) as client:
        proxy.set(Fault(FaultKind.CUT_RESPONSE, after=5))
        try:
            answer = client.ask(b"abc")
        except ConnectionError:
            answer = b"did a"  # a reset may overtake the bytes before it
        assert answer == b"did a"
    with Client(proxy.port) as client:
        proxy.set(Fault(FaultKind.CUT_REQUEST, after=4))
        with pytest.raises(ConnectionError):
            client.ask(b"defgh")
    assert b"defgh" not in engine.done


def test_contracts_faults_latency(proxy: FaultProxy) -> None:
    """What is late arrives whole."""
    strikes = proxy.set(Fault(FaultKind.LATENCY, seconds=0.001))
    with Client(proxy.port) as client:
        assert client.ask(b"a") == b"did a\n"
    assert strikes.count == 2


class Web(BaseHTTPRequestHandler):
    """An HTTP engine that asks clients to go on before they send a body."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.done += 1  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.done = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def put(port: int) -> tuple[int, str | None]:
    """Put a body that waits for ``100 Continue``; the answer's status and Retry-After."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n")
        client.sendall(b"Expect: 100-continue\r\n\r\n")
        first = client.recv(1 << 16)
        if b" 100 " not in first.splitlines()[0]:
            return int(first.split()[1]), "0" if b"Retry-After: 0" in first else None
        client.sendall(b"abc")
        return int(client.recv(1 << 16).split()[1]), None


@pytest.mark.parametrize(("kind", "status"), [("busy", 503), ("throttled", 429)])
def test_contracts_faults_http_in_need(web: ThreadingHTTPServer, kind: str, status: int) -> None:
    """An overloaded engine is answered for, and sees nothing of the request."""
    upstream = ("127.0.0.1", int(web.server_address[1]))
    faults = TcpFaults([upstream], lambda place, port: (place, port), http=True)
    port = faults.proxies[0].port
    place = Namespace(Path("nowhere"))
    assert faults.settings(place) == (place, port)
    with faults.inject(Fault(FaultKind(kind))) as strikes:
        assert put(port) == (status, "0")
    assert strikes.count == 1
    assert put(port) == (200, None)
    assert web.done == 1  # type: ignore[attr-defined]
    faults.close()
    faults.close()


def test_contracts_faults_continue_is_no_answer(web: ThreadingHTTPServer) -> None:
    """``100 Continue`` passes; the answer after it is the one that is lost."""
    with FaultProxy("127.0.0.1", int(web.server_address[1])) as proxy:
        strikes = proxy.set(Fault(FaultKind.LOST_RESPONSE, times=1))
        with pytest.raises((ConnectionError, IndexError)):
            put(proxy.port)
    assert strikes.count == 1
    assert web.done == 1  # type: ignore[attr-defined]


def test_contracts_faults_engine_that_is_down() -> None:
    """A proxy before nothing resets whoever connects."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        FaultProxy("127.0.0.1", port) as proxy,
        # Already the connecting may meet the reset, where the proxy is quicker.
        pytest.raises(ConnectionError),
        Client(proxy.port) as client,
    ):
        client.ask(b"a")


def test_contracts_faults_os_calls(tmp_path: Path) -> None:
    """The call that was named fails, others do not, and afterwards none does."""
    faults = OsFaults(lambda _: None)
    work = compile("import os\nfor n in range(3): os.mkdir(f'{folder}/{n}')", "backend.py", "exec")
    with faults.inject(Fault(FaultKind.NO_SPACE, after=1, times=1)) as strikes:
        with pytest.raises(OSError, match="No space") as raised:
            exec(work, {"folder": tmp_path})  # noqa: S102  # code in a file that is not the suite's
        (tmp_path / "later").mkdir()
    assert raised.value.errno == errno.ENOSPC
    assert strikes.count == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0", "later"]


BUSY_WORK: Final = """import os
for name in ("mine", "yours"):
    os.mkdir(f"{folder}/{name}")
    descriptor = os.open(f"{folder}/{name}", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(f"{folder}/{name}", f"{folder}/its-{name}")
"""


def test_contracts_faults_os_calls_are_noted(tmp_path: Path) -> None:
    """Every file that a call is about is noted, also one that is told by its descriptor alone, and
    both of a renaming."""
    faults, root = OsFaults(lambda _: None), tmp_path.resolve()
    with faults.touched() as seen:
        exec(compile(BUSY_WORK, "backend.py", "exec"), {"folder": tmp_path})  # noqa: S102
        (tmp_path / "own").mkdir()
        descriptor = os.open(tmp_path / "own", os.O_RDONLY)
        exec(compile("import os\nos.fsync(given)", "backend.py", "exec"), {"given": descriptor})  # noqa: S102
        os.close(descriptor)
    assert {root / name for name in ("mine", "yours", "its-mine", "its-yours", "own")} <= seen


@pytest.mark.parametrize(
    ("after", "left"), [(0, []), (1, ["yours"]), (2, ["yours"]), (3, ["yours"]), (4, ["its-yours"])]
)
def test_contracts_faults_os_calls_within(tmp_path: Path, after: int, left: list[str]) -> None:
    """Only calls that are about the given files fail and are counted: made, opened, synced, and
    renamed."""
    faults, root = OsFaults(lambda _: None), tmp_path.resolve()
    fault = Fault(FaultKind.IO_ERROR, after=after)
    with faults.inject(fault, within={root / "yours"}) as strikes, suppress(OSError):
        exec(compile(BUSY_WORK, "backend.py", "exec"), {"folder": tmp_path})  # noqa: S102
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["its-mine", *left])
    assert strikes.count == (0 if after == 4 else 1)


def test_contracts_faults_are_sensible() -> None:
    """A fault before the beginning, or less than once, is refused; words say what it is."""
    for wrong in ({"after": -1}, {"times": 0}):
        with pytest.raises(ValueError, match="must be"):
            Fault(FaultKind.BUSY, **wrong)
    assert Fault(FaultKind.BUSY, after=2, times=1).words() == "busy after 2, once"
