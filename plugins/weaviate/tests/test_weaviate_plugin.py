"""What the distribution registers, what its settings accept, and what needs no server."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nexus_weaviate
import pytest
from nexus_weaviate import WeaviateConfig
from pydantic import ValidationError

from nexus_core.spi import (
    ALL_FILTER_OPS,
    ClosedError,
    ConfigurationError,
    Durability,
    Isolation,
    Outcome,
    Problem,
    Runtime,
    Scope,
    StoreRole,
    UnavailableError,
    VectorBackend,
    VectorCapabilities,
)

GOOD: dict[str, Any] = {
    "url": "https://vectors.example.com",
    "grpc": "grpc.example.com:50051",
    "prefix": "Nexus",
    "api_key": {"env": "WEAVIATE_API_KEY"},
}
NOBODY: dict[str, Any] = {
    "url": "http://127.0.0.1:1",
    "grpc": "127.0.0.1:2",
    "prefix": "Nexus",
    "anonymous": True,
    "connect_timeout": 1.0,
}


def backend(settings: dict[str, Any]) -> VectorBackend:
    """A backend on settings, as the core builds it."""
    runtime = Runtime(store="near", base=Path("/nowhere"), now=lambda: 0)
    config = WeaviateConfig.model_validate(settings)
    made = nexus_weaviate.nexus_vector_store().factory(config, runtime)
    assert isinstance(made, VectorBackend)
    return made


def test_the_spec_declares_what_the_other_tests_prove() -> None:
    """The backend declares exact, stable, bit-exact vectors in a native tenant of the scope's."""
    spec = nexus_weaviate.nexus_vector_store()
    assert (spec.name, spec.role) == ("weaviate", StoreRole.VECTORS)
    assert spec.isolation is Isolation.PARTITION
    assert spec.durability is Durability.PROCESS_CRASH
    capabilities = spec.capabilities
    assert isinstance(capabilities, VectorCapabilities)
    assert capabilities.exact
    assert capabilities.stable_ties
    assert not capabilities.atomic_batch
    assert capabilities.session_reads
    assert capabilities.round_trip == "bitexact"
    assert capabilities.filter_ops == ALL_FILTER_OPS
    assert capabilities.metrics == {"cosine", "dot", "l2sq"}


def test_the_entry_point_names_the_module_with_the_hook() -> None:
    """The family is registered as ``weaviate`` and its module offers the vector store hook."""
    (entry,) = entry_points(group="nexus.plugins", name="weaviate")
    assert entry.load() is nexus_weaviate
    assert nexus_weaviate.__all__ == ["WeaviateConfig", "nexus_vector_store"]


def test_importing_the_plugin_imports_no_client() -> None:
    """The module that is imported to read the spec brings neither the client library nor gRPC."""
    code = (
        "import sys, nexus_weaviate; nexus_weaviate.nexus_vector_store(); "
        "sys.exit(any(m in sys.modules for m in ('weaviate', 'grpc', 'httpx')))"
    )
    roots = [str(Path(nexus_weaviate.__file__).parents[1]), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {roots!r}; {code}"], check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    "other",
    [
        {"url": "vectors.example.com"},
        {"url": "ftp://vectors.example.com"},
        {"url": "https://user:word@vectors.example.com"},
        {"url": "https://vectors.example.com/v1"},
        {"url": "https://vectors.example.com:0"},
        {"url": "https://vectors.example.com:99999"},
        {"url": "https://vectors.example.com?x=1"},
        {"grpc": "grpc.example.com"},
        {"grpc": "https://grpc.example.com:50051"},
        {"grpc": "grpc.example.com:0"},
        {"grpc": "grpc.example.com:65536"},
        {"grpc": "vectors.example.com:443"},
        {"prefix": "nexus"},
        {"prefix": "NEXUS"},
        {"prefix": "Nexus_one"},
        {"prefix": "Nexus\n"},
        {"prefix": "N" + "x" * 32},
        {"api_key": None},
        {"api_key": "a-key-in-the-clear"},
        {"anonymous": True},
        {"client_secret": {"env": "WEAVIATE_CLIENT"}},
        {"client_scope": "vectors"},
        {"read_timeout": 0.0},
        {"url": "http://vectors.example.com"},
        {"url": "http://127.0.0.1:8080"},
        {"url": "http://127.0.0.1:8080", "grpc": "127.0.0.1:1", "tls_roots": "roots.pem"},
        {"api_key": None, "client_secret": {"env": "WEAVIATE_CLIENT"}, "tls_roots": "roots.pem"},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(other: dict[str, Any]) -> None:
    """Wrong addresses, weak names, no or two credentials, and credentials in the clear are out."""
    with pytest.raises(ValidationError):
        WeaviateConfig.model_validate({**GOOD, **other})


@pytest.mark.parametrize(
    ("other", "host", "port", "secure"),
    [
        ({}, "vectors.example.com", 443, True),
        ({"url": "https://[::1]:8443", "grpc": "localhost:1"}, "[::1]", 8443, True),
        ({"url": "http://127.0.0.1:8080", "grpc": "localhost:50051"}, "127.0.0.1", 8080, False),
        ({"url": "http://vectors", "plaintext": True}, "vectors", 80, False),
    ],
)
def test_settings_say_where_the_server_is(
    other: dict[str, Any], host: str, port: int, secure: bool
) -> None:
    """TLS and the ports follow from the URL; without TLS only this machine needs no leave."""
    config = WeaviateConfig.model_validate({**GOOD, **other})
    assert (config.host, config.port, config.secure) == (host, port, secure)


def test_a_place_has_no_default() -> None:
    """Address, gRPC address and prefix must be given."""
    for setting in ("url", "grpc", "prefix"):
        with pytest.raises(ValidationError):
            WeaviateConfig.model_validate({k: v for k, v in GOOD.items() if k != setting})


def test_certificates_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """A file that is absent or holds no certificate is a problem of its setting, at once."""
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("absent.pem", "empty.pem"):
        settings = {**GOOD, "anonymous": True, "tls_roots": str(tmp_path / name)}
        del settings["api_key"]
        with pytest.raises(ConfigurationError) as caught:
            backend(settings)
        assert [problem.path for problem in caught.value.problems] == ["tls_roots"]


def test_a_server_that_is_not_there_is_a_problem_and_an_error() -> None:
    """The check names the setting; a call says that nothing was written, and may be tried again."""
    store = backend(NOBODY)
    (problem,) = store.check()
    assert isinstance(problem, Problem)
    assert (problem.path, problem.code) == ("url", "weaviate.unreachable")
    with pytest.raises(UnavailableError) as caught:
        store.list_indexes(Scope("acme", "dev"))
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert caught.value.retryable
    assert "127.0.0.1" not in str(caught.value)
    store.close()


def test_a_closed_store_stays_closed() -> None:
    """Closing twice is closing once, and every call afterwards is refused without a connection."""
    store = backend(NOBODY)
    store.close()
    store.close()
    for call in (store.check, lambda: store.list_indexes(Scope("acme", "dev"))):
        with pytest.raises(ClosedError):
            call()
