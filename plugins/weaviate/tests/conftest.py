"""A Weaviate server, stores of their own on it, the way behind them, and short words."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import nexus_weaviate
import pytest

from nexus_core.spi import (
    BackendSpec,
    FieldType,
    IndexDefinition,
    IndexRef,
    Metric,
    Runtime,
    Scope,
    VectorBackend,
    VectorBatch,
    Vectors,
)

KEY = "NEXUS_TEST_WEAVIATE"  # the variable's name
WRONG_KEY = "NEXUS_TEST_WEAVIATE_WRONG"

SCOPE = Scope("acme", "dev")

FIELDS: Mapping[str, FieldType] = {
    "page": "int",
    "weight": "float",
    "label": "str",
    "tags": "str[]",
    "good": "bool",
}


def definition(
    name: str = "main",
    version: int = 1,
    dimension: int = 3,
    metric: Metric = "cosine",
    fields: Mapping[str, FieldType] = FIELDS,
) -> IndexDefinition:
    """An index definition."""
    return IndexDefinition(
        name=name,
        version=version,
        dimension=dimension,
        metric=metric,
        embedder="e@1",
        fields=dict(fields),
    )


def batch(
    rows: Mapping[str, Sequence[float]], fields: Mapping[str, Mapping[str, Any]] | None = None
) -> VectorBatch:
    """A batch of rows with their fields, where given."""
    dimension = len(next(iter(rows.values())))
    return VectorBatch(
        tuple(rows),
        Vectors.from_rows(rows.values(), dimension),
        tuple({"kind": "data", **(fields or {}).get(name, {})} for name in rows),
        tuple(b"\x00\xff" + name.encode() for name in rows),
    )


def dice(seed: object) -> random.Random:
    """The same numbers in every run."""
    return random.Random(str(seed))  # noqa: S311  # no secret depends on it


def gaussian(rng: random.Random, count: int, dimension: int, prefix: str = "r") -> dict[str, Any]:
    """Rows of normal deviates."""
    return {
        f"{prefix}{number:05}": [rng.gauss(0, 1) for _ in range(dimension)]
        for number in range(count)
    }


def ask(
    store: VectorBackend, ref: IndexRef, row: Sequence[float], k: int = 10, **options: Any
) -> list[tuple[str, float]]:
    """The hits of one query: ids and distances."""
    scope = options.pop("scope", SCOPE)
    (hits,) = store.query(scope, ref, Vectors.from_rows([row], len(row)), k, **options)
    return [(hit.id, hit.distance) for hit in hits]


@attrs.frozen
class Server:
    """A server, and what its operator does there over plain REST, beside the plugin."""

    info: Mapping[str, Any]

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """One request, with the key; the answer's JSON, or ``None``."""
        request = urllib.request.Request(  # a server of our own
            f"http://{self.info['host']}:{self.info['port']}/v1{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.info['key']}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    def collections(self, prefix: str) -> dict[str, Any]:
        """The collections of a store, by name, as they are defined."""
        found = self.rest("GET", "/schema")["classes"]
        return {each["class"]: each for each in found if each["class"].startswith(f"{prefix}_")}

    def tenants(self, collection: str) -> dict[str, str]:
        """The native tenants of a collection, and whether they are active."""
        found = self.rest("GET", f"/schema/{collection}/tenants")
        return {each["name"]: each["activityStatus"] for each in found}

    def switch(self, collection: str, tenant: str, state: str) -> None:
        """Activate or deactivate a native tenant."""
        self.rest(
            "PUT",
            f"/schema/{collection}/tenants",
            [{"name": tenant, "activityStatus": state}],
        )

    def settings(self, prefix: str, **other: Any) -> nexus_weaviate.WeaviateConfig:
        """Settings of a store on this server."""
        host, port, grpc = self.info["host"], self.info["port"], self.info["grpc_port"]
        return nexus_weaviate.WeaviateConfig.model_validate(
            {
                "url": f"http://{host}:{port}",
                "grpc": f"{host}:{grpc}",
                "prefix": prefix,
                "api_key": {"env": KEY},
                **other,
            }
        )

    def remove(self, prefix: str) -> None:
        """Remove a store's collections."""
        for name in self.collections(prefix):
            self.rest("DELETE", f"/schema/{name}")


@attrs.frozen
class Behind:
    """The back door of one store: its definitions, tenants and objects, over plain REST."""

    server: Server
    prefix: str

    def snapshot(self) -> Mapping[str, bytes]:
        """Every object by ``collection/tenant/uuid``, and every collection by its name."""
        found: dict[str, bytes] = {}
        for name, defined in self.server.collections(self.prefix).items():
            found[name] = json.dumps(defined, sort_keys=True).encode()
            for tenant, state in self.server.tenants(name).items():
                found[f"{name}/{tenant}"] = state.encode()
                if state != "HOT":
                    continue
                path = f"/objects?class={name}&tenant={tenant}&include=vector&limit=1000"
                for each in self.server.rest("GET", path)["objects"]:
                    text = json.dumps(each, sort_keys=True).encode()
                    found[f"{name}/{tenant}/{each['id']}"] = text
        return found

    def write(self, name: str, data: bytes) -> None:
        """Put bytes in place of a row's fields."""
        collection, tenant, row = name.split("/")
        path = f"/objects/{collection}/{row}"
        found = self.server.rest("GET", f"{path}?tenant={tenant}&include=vector")
        text = base64.b64encode(data).decode()
        found["properties"]["nx_fields"] = text
        self.server.rest("PUT", f"{path}?tenant={tenant}", found)

    def remove(self, name: str) -> None:
        """Delete an object."""
        collection, tenant, row = name.split("/")
        self.server.rest("DELETE", f"/objects/{collection}/{row}?tenant={tenant}")


@attrs.frozen
class Lab:
    """A provisioned store: its settings, its spec, and backends on it."""

    server: Server
    prefix: str
    spec: BackendSpec
    _opened: list[VectorBackend]

    ask = staticmethod(ask)
    batch = staticmethod(batch)
    definition = staticmethod(definition)
    dice = staticmethod(dice)
    gaussian = staticmethod(gaussian)

    @property
    def behind(self) -> Behind:
        """The way below the SPI."""
        return Behind(self.server, self.prefix)

    @property
    def runtime(self) -> Runtime:
        """What the core would hand a factory."""
        return runtime()

    def provision(self) -> list[str]:
        """Provision the store again."""
        assert self.spec.provision is not None
        return list(self.spec.provision(self.server.settings(self.prefix), runtime()))

    def open(self, **other: Any) -> VectorBackend:
        """A backend of its own, closed after the test."""
        config = self.server.settings(**{"prefix": self.prefix, **other})
        store = self.spec.factory(config, runtime())
        assert isinstance(store, VectorBackend)
        self._opened.append(store)
        return store

    def shard(self, ref: IndexRef, scope: Scope = SCOPE) -> tuple[str, str]:
        """The collection and the native tenant of an index, as an operator finds them."""
        collection = f"{self.prefix}_{scope.env}_{ref.definition.fingerprint}"
        return collection, f"{scope.tenant_id}-I{ref.incarnation}"

    @property
    def lists(self) -> str:
        """The collection of the scopes' lists of indexes in dev."""
        return f"{self.prefix}_dev_indexes"


def runtime() -> Runtime:
    """What the core would hand a factory."""
    return Runtime(store="near", base=Path("/nowhere"), now=lambda: 0)


@pytest.fixture(scope="session")
def weaviate(server: Callable[[str], Mapping[str, Any]]) -> Iterator[Server]:
    """The server, with its key in the environment."""
    info = server("weaviate")
    os.environ[KEY], os.environ[WRONG_KEY] = info["key"], "not-the-key"
    yield Server(info)
    del os.environ[KEY], os.environ[WRONG_KEY]


@pytest.fixture
def lab(weaviate: Server) -> Iterator[Lab]:
    """A provisioned store of the test's own."""
    spec = nexus_weaviate.nexus_vector_store()
    opened: list[VectorBackend] = []
    here = Lab(weaviate, f"T{secrets.token_hex(6)}", spec, opened)
    assert spec.provision is not None
    assert len(spec.provision(weaviate.settings(here.prefix), runtime())) == 3
    yield here
    for store in opened:
        store.close()
    weaviate.remove(here.prefix)


@pytest.fixture
def store(lab: Lab) -> VectorBackend:
    """A backend on the store."""
    return lab.open()


@pytest.fixture
def behind(weaviate: Server) -> Callable[[str], Behind]:
    """The back door of the store with a prefix."""
    return lambda prefix: Behind(weaviate, prefix)
