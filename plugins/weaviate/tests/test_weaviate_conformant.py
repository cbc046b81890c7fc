"""The suite finds the store conformant on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import nexus_weaviate
import pytest
from nexus_contracts import BackendHarness, Namespace, Report
from nexus_contracts.faults import TcpFaults

if TYPE_CHECKING:
    from plugins.weaviate.tests.conftest import Behind, Server

pytestmark = pytest.mark.servers

KEPT = 12  # more than any check of the suite has at once


@pytest.fixture
def prefixes(weaviate: Server) -> Iterator[Callable[[Namespace], str]]:
    """A prefix for each namespace that the suite makes.

    The collections of those that are long over go at once, because the more a server has the slower
    it makes others.
    """
    made: dict[str, str] = {}

    def prefix(namespace: Namespace) -> str:
        if namespace.token not in made:
            while len(made) >= KEPT:
                weaviate.remove(made.pop(next(iter(made))))
            made[namespace.token] = f"T{namespace.token}"
        return made[namespace.token]

    yield prefix
    for each in made.values():
        weaviate.remove(each)


def test_weaviate_is_conformant(
    weaviate: Server,
    prefixes: Callable[[Namespace], str],
    behind: Callable[[str], Behind],
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies was run against a real Weaviate, and holds."""
    host = weaviate.info["host"]

    def faulty(namespace: Namespace, rest: int, grpc: int) -> Any:
        return weaviate.settings(
            prefixes(namespace),
            url=f"http://127.0.0.1:{rest}",
            grpc=f"127.0.0.1:{grpc}",
            connect_timeout=2.0,
            read_timeout=2.0,
            write_timeout=2.0,
        )

    report = conformant(
        BackendHarness(
            spec=nexus_weaviate.nexus_vector_store(),
            settings=lambda namespace: weaviate.settings(prefixes(namespace)),
            back_door=lambda namespace: behind(prefixes(namespace)),
            remove=lambda namespace: weaviate.remove(prefixes(namespace)),
            faults=lambda: TcpFaults(
                [(host, weaviate.info["port"]), (host, weaviate.info["grpc_port"])], faulty
            ),
            broken_settings=lambda namespace: {
                "a prefix that was not provisioned": weaviate.settings("Never"),
                "no REST interface there": weaviate.settings(
                    prefixes(namespace), url="http://127.0.0.1:1"
                ),
                "no gRPC interface there": weaviate.settings(
                    prefixes(namespace), grpc="127.0.0.1:2"
                ),
                "a key that the server does not know": weaviate.settings(
                    prefixes(namespace), api_key={"env": "NEXUS_TEST_WEAVIATE_WRONG"}
                ),
            },
        ),
        "weaviate",
    )
    assert report.backend.reality == "real"
    assert report.backend.back_door
