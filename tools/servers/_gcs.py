"""A small Google Cloud Storage of our own, in ``tools/servers/gcs``: nothing to install."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tools.servers import _kit

PROJECT: Final = "nexus-tests"

NEEDS: Mapping[str, type] = {
    "host": str,
    "port": int,
    "endpoint": str,
    "project": str,
    "key": dict,
    "reader": dict,
}
OWN: Mapping[str, type] = {}


def install() -> None:
    """Nothing: it is here."""


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """An empty service; ``key`` is of an account that may do everything, ``reader`` of one that
    may only read. Tokens are had at ``/token``, and all end at a request to ``/forget-tokens``."""
    from tools.servers.gcs._server import Server

    objects = directory / "objects"
    objects.mkdir()
    server = Server(objects, PROJECT)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield {
            "host": _kit.HOST,
            "port": server.server_address[1],
            "endpoint": server.address,
            "project": PROJECT,
            "key": server.identities.owner.key(PROJECT, server.address),
            "reader": server.identities.reader.key(PROJECT, server.address),
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
