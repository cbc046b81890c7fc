"""What is signed is sent as a stranger would send it, by plain HTTP or by the harness."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

import attrs
import pytest
from nexus_contracts._catalogue import catalogue
from nexus_contracts._engine import run_one
from nexus_contracts._http import send_http
from nexus_contracts._verdict import Status
from nexus_contracts.memory import MemoryConfig, MemoryRaw, memory_specs
from nexus_contracts.zoo import variant_harness

from nexus_core.spi import BackendSpec, Proof, Runtime, StoreRole

SIGNED: Final = ("RAW-030", "RAW-031", "RAW-032", "RAW-033", "TEN-107", "TEN-108")
REQUIREMENTS: Final = {each.id: each for each in catalogue()}


class Echo(BaseHTTPRequestHandler):
    """Says what it was asked for; leads away from ``/away``, and hangs up on ``/mute``."""

    def log_message(self, *_: Any) -> None:
        return

    def _answer(self) -> None:
        if self.path == "/mute":
            return
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length or 0))
        said = "\n".join((self.command, self.path, str(length), str(self.headers.get("X-Of"))))
        self.send_response(307 if self.path == "/away" else 200)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(said.encode() + b"\n" + body)

    do_GET = do_PUT = _answer  # noqa: N815  # the library's names


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where an ``Echo`` answers."""
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_contracts_signed_requests_are_sent_as_they_are(address: str) -> None:
    """Method, path, query and headers are the given ones, and the length is the body's own."""
    headers = {"X-Of": "mine", "Content-Length": "99"}
    put = send_http("PUT", f"{address}/a%2Fb?c=%20d", headers, b"body")
    assert put == (200, b"PUT\n/a%2Fb?c=%20d\n4\nmine\nbody")
    get = send_http("GET", f"{address}/a", {}, b"body")
    assert get == (200, b"GET\n/a\nNone\nNone\n")


def test_contracts_signed_requests_follow_no_redirect(address: str) -> None:
    """A redirect is the answer, and nothing is asked of where it leads."""
    assert send_http("GET", f"{address}/away", {}, b"") == (307, b"GET\n/away\nNone\nNone\n")


def test_contracts_signed_requests_without_an_answer(address: str) -> None:
    """An engine that hangs up has refused: the status is 0."""
    assert send_http("PUT", f"{address}/mute", {}, b"x") == (0, b"")


@pytest.mark.parametrize("name", SIGNED)
def test_contracts_signed_requests_that_nobody_can_send(name: str) -> None:
    """Where a URL is not HTTP and the harness has no way to send it, nothing was proved."""
    harness = attrs.evolve(variant_harness(StoreRole.RAW), send=None)
    found = run_one(harness, REQUIREMENTS[name])
    assert found.status is Status.NOT_RUN
    assert "no send" in found.message


def test_contracts_harness_hands_over_what_was_proved() -> None:
    """A backend finds the harness's proofs in its runtime, as it would find the core's."""
    seen: list[Proof | None] = []

    def factory(_config: object, runtime: Runtime) -> MemoryRaw:
        seen.append(runtime.proofs.get("presign_put_by"))
        return MemoryRaw(runtime.now)

    spec: BackendSpec = attrs.evolve(memory_specs()[StoreRole.RAW], factory=factory)
    harness = attrs.evolve(
        variant_harness(StoreRole.RAW),
        spec=spec,
        settings=lambda _: MemoryConfig(),
        proofs={"presign_put_by": "checksum"},
    )
    assert run_one(harness, REQUIREMENTS["RAW-001"]).status is Status.PASSED
    assert set(seen) == {"checksum"}
