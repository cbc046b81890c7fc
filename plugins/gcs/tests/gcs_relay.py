"""A road to the server on which every request can be seen, and any of them be tampered with."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs


@attrs.define
class Asked:
    """A request, which may be changed before it goes on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def by(self) -> str:
        """Which library sent it."""
        return "obstore" if self.headers["user-agent"].startswith("object_store") else "sdk"

    @property
    def what(self) -> str:
        """The method, and what else says which of the engine's verbs it is."""
        query = parse_qs(urlsplit(self.path).query)
        more = [
            *query.get("uploadType", ()),
            *(each for each in ("alt", "prefix") if each in query),
        ]
        return " ".join([self.method, *more])


@attrs.define
class Answer:
    """An answer, which may be changed before it goes back; the status 0 is none at all."""

    status: int
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""


class Relay(ThreadingHTTPServer):
    """Listens on the loopback interface, and passes on what comes."""

    daemon_threads = True

    def __init__(self, info: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = (str(info["host"]), int(info["port"]))
        self.port = int(self.server_address[1])
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        self.after: Callable[[Asked, Answer], None] = lambda asked, answer: None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is none of the relay's affairs."""

    def roads(self) -> dict[str, set[str]]:
        """What each library has asked for since the last look."""
        found: dict[str, set[str]] = {"obstore": set(), "sdk": set()}
        for each in self.asked:
            found[each.by].add(each.what)
        self.asked.clear()
        return found

    @contextlib.contextmanager
    def running(self) -> Iterator[Relay]:
        """Answer until the block ends."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Relay

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def handle_any(self) -> None:
        relay = self.server
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        asked = Asked(self.command, self.path, headers, body)
        relay.asked.append(attrs.evolve(asked, headers=dict(headers)))
        answer = relay.before(asked)
        if answer is None:
            answer = self.passed(asked)
            relay.after(asked, answer)
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        said = {**answer.headers}
        said.setdefault("Content-Length", str(len(answer.body)))
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

    def passed(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(*self.server.to, timeout=30)
        try:
            connection.request(asked.method, asked.path, asked.body, asked.headers)
            got = connection.getresponse()
            kept = {name: value for name, value in got.getheaders() if name != "Connection"}
            return Answer(got.status, kept, got.read())
        finally:
            connection.close()
