"""Stores on a Google Cloud Storage of our own, and a way to it that shares nothing with them."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import nexus_gcs
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from nexus_contracts import BackendHarness, Namespace
from nexus_contracts.faults import TcpFaults
from nexus_gcs import GcsConfig

from nexus_core.spi import (
    BackendSpec,
    Body,
    ByteRange,
    ObjectAttributes,
    ObjectInfo,
    RawBackend,
    Runtime,
    Scope,
)

SCOPE = Scope("acme", "prod")


class Wire:
    """The JSON API by hand: what tests look at and change behind the store's back."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        self._address = (str(info["host"]), int(info["port"]))
        self._key: Mapping[str, str] | None = info.get("key")
        self._token: str | None = None

    def _bearer(self) -> dict[str, str]:
        if self._key is None:
            return {}
        if self._token is None:
            claim = {
                "iss": self._key["client_email"],
                "scope": "https://www.googleapis.com/auth/devstorage.full_control",
                "aud": self._key["token_uri"],
                "iat": int(time.time()),
                "exp": int(time.time()) + 600,
            }
            parts = [
                base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=")
                for each in ({"alg": "RS256", "typ": "JWT"}, claim)
            ]
            private: Any = serialization.load_pem_private_key(
                self._key["private_key"].encode(), None
            )
            signature = private.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
            parts.append(base64.urlsafe_b64encode(signature).rstrip(b"="))
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": b".".join(parts).decode(),
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            _, _, data = self.send("POST", "/token", urlencode(form).encode(), kind)
            self._token = str(json.loads(data)["access_token"])
        return {"Authorization": f"Bearer {self._token}"}

    def send(
        self, method: str, path: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        try:
            connection.request(method, path, data, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, data: bytes = b"", **query: Any) -> Any:
        """A request of the API that must succeed; gives its JSON, or its bytes."""
        kind = {"Content-Type": "application/json"}
        target = f"{path}?{urlencode(query)}" if query else path
        status, headers, body = self.send(method, target, data, {**self._bearer(), **kind})
        assert status < 300, (status, body)
        if body and "json" in headers.get("Content-Type", "") and query.get("alt") != "media":
            return json.loads(body)
        return body

    def names(self, bucket: str, **query: Any) -> list[str]:
        """Every name in a bucket, in the order in which they come."""
        found: list[str] = []
        token: dict[str, Any] = {}
        while True:
            page = self.ask("GET", f"/storage/v1/b/{bucket}/o", **query, **token)
            found += [item["name"] for item in page.get("items", ())]
            if "nextPageToken" not in page:
                return found
            token = {"pageToken": page["nextPageToken"]}

    def path(self, bucket: str, name: str) -> str:
        """Where an object is."""
        return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"

    def read(self, bucket: str, name: str) -> bytes:
        """An object's bytes."""
        return bytes(self.ask("GET", self.path(bucket, name), alt="media"))

    def write(self, bucket: str, name: str, data: bytes) -> None:
        """Put bytes under a name, as anybody with access to the bucket could."""
        path = f"/upload/storage/v1/b/{bucket}/o"
        self.ask("POST", path, data, uploadType="media", name=name)

    def drop(self, bucket: str) -> None:
        """Delete a bucket with all that is in it."""
        page = self.ask("GET", f"/storage/v1/b/{bucket}/o", versions="true")
        for each in page.get("items", ()):
            path = self.path(bucket, each["name"])
            named = {"generation": each["generation"]}
            if each.get("temporaryHold") or "retention" in each:
                free = {"temporaryHold": False, "retention": None}
                override = {"overrideUnlockedRetention": "true"}
                self.ask("PATCH", path, json.dumps(free).encode(), **named, **override)
            self.ask("DELETE", path, **named)
        self.ask("DELETE", f"/storage/v1/b/{bucket}")

    def describe(self, bucket: str, name: str, **query: Any) -> dict[str, Any]:
        """What the service says of an object."""
        return dict(self.ask("GET", self.path(bucket, name), **query))

    def remove(self, bucket: str, name: str) -> None:
        """Delete a name."""
        self.ask("DELETE", self.path(bucket, name))


class BucketBackDoor:
    """The suite's way below the interface."""

    def __init__(self, wire: Wire, bucket: str) -> None:
        self._wire = wire
        self._bucket = bucket

    def snapshot(self) -> Mapping[str, bytes]:
        """Everything stored, by its name."""
        names = self._wire.names(self._bucket)
        return {name: self._wire.read(self._bucket, name) for name in names}

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under a name."""
        self._wire.write(self._bucket, name, data)

    def remove(self, name: str) -> None:
        """Delete a name."""
        self._wire.remove(self._bucket, name)


class Lab:
    """One bucket, and the stores opened on it."""

    def __init__(
        self, info: Mapping[str, Any], base: Path, bucket: str, transport: str = "sdk"
    ) -> None:
        self.info = info
        self.transport = transport
        self.base = base
        self.bucket = bucket
        self.wire = Wire(info)
        self.spec: BackendSpec = nexus_gcs.nexus_raw_store()
        self.runtime = Runtime(store="raw", base=base, now=lambda: time.time_ns() // 1000)
        for name in ("key", "reader"):
            (base / f"{name}.json").write_text(json.dumps(info[name]), encoding="utf-8")
        self._open: list[RawBackend] = []

    def settings(self, **changes: Any) -> GcsConfig:
        """Settings of the bucket; ``port`` leads there by another way."""
        port = changes.pop("port", self.info["port"])
        given: dict[str, Any] = {
            "endpoint": f"http://127.0.0.1:{port}",
            "project": self.info["project"],
            "bucket": self.bucket,
            "location": "EU",
            "key": {"file": "key.json"},
            "transport": self.transport,
            "read_seconds": 10,
            **changes,
        }
        return GcsConfig.model_validate({k: v for k, v in given.items() if v is not None})

    def provision(self, **changes: Any) -> list[str]:
        """What provisioning says it has made."""
        assert self.spec.provision is not None
        return list(self.spec.provision(self.settings(**changes), self.runtime))

    def build(self, **changes: Any) -> Any:
        """A store, closed when the test is over."""
        store = self.spec.factory(self.settings(**changes), self.runtime)
        assert isinstance(store, RawBackend)
        self._open.append(store)
        return store

    @staticmethod
    def attributes(**metadata: str) -> ObjectAttributes:
        """Attributes as the core would send them."""
        return ObjectAttributes(content_type="text/plain", metadata=metadata, system={"stamp": "0"})

    def put(self, store: RawBackend, key: str, data: Any, **options: Any) -> ObjectInfo:
        """Put a body with plain attributes."""
        scope = options.pop("scope", SCOPE)
        return store.put(scope, key, Body(data), self.attributes(), **options)

    @staticmethod
    def read(store: RawBackend, key: str, range: ByteRange | None = None) -> bytes:
        """Read an object to its end."""
        with store.open(SCOPE, key, range=range) as stream:
            return b"".join(stream.chunks)

    def close(self) -> None:
        """Close every store."""
        for store in self._open:
            store.close()


def harness(
    info: Mapping[str, Any],
    *,
    versions: bool = False,
    object_lock: str | None = None,
    transport: str = "sdk",
) -> BackendHarness:
    """A harness for whatever answers there: with a key if there is one, else without."""
    spec = nexus_gcs.nexus_raw_store()
    declared: Any = {"versions": versions, "object_lock": object_lock is not None}
    spec = attrs.evolve(spec, capabilities=attrs.evolve(spec.capabilities, **declared))

    def settings(namespace: Namespace, port: int | None = None, **changes: Any) -> GcsConfig:
        given: dict[str, Any] = {
            "endpoint": f"http://127.0.0.1:{port or info['port']}",
            "project": info["project"],
            "bucket": bucket(namespace),
            "location": "EU",
            "identity": "anonymous",
            "transport": transport,
            "versions": versions,
            "object_lock": object_lock,
            **changes,
        }
        if "key" in info:
            path = namespace.path.parent / f"{namespace.token}.json"
            path.write_text(json.dumps(info["key"]), encoding="utf-8")
            given |= {"identity": "key", "key": {"file": str(path)}}
        return GcsConfig.model_validate(given)

    def bucket(namespace: Namespace) -> str:
        return f"nexus-{namespace.token}"

    return BackendHarness(
        spec=spec,
        settings=settings,
        reality="emulator",
        back_door=lambda namespace: BucketBackDoor(Wire(info), bucket(namespace)),
        remove=lambda namespace: Wire(info).drop(bucket(namespace)),
        broken_settings=lambda namespace: {
            "an absent bucket": settings(namespace, bucket="nowhere-to-be-found"),
            "nobody at the address": settings(namespace, 9, attempts=1, connect_seconds=1),
        },
        faults=lambda: TcpFaults(
            [(str(info["host"]), int(info["port"]))],
            lambda namespace, port: settings(
                namespace, port, attempts=2, connect_seconds=1, read_seconds=1
            ),
            http=True,
        ),
    )


@pytest.fixture(scope="session")
def gcs_harness() -> Callable[..., BackendHarness]:
    """Harnesses by what a server has said of itself."""
    return harness


@pytest.fixture(scope="session")
def gcs(server: Callable[[str], Mapping[str, Any]]) -> Mapping[str, Any]:
    """The server of our own."""
    return server("gcs")


@pytest.fixture(scope="session")
def gcs_relay() -> Any:
    """The tests' own relay, imported by its path because test folders are no packages."""
    path = Path(__file__).with_name("gcs_relay.py")
    spec = importlib.util.spec_from_file_location("nexus_gcs_test_relay", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["sdk", "obstore"])
def transport(request: pytest.FixtureRequest) -> str:
    """What carries the requests of the laboratory's stores: everything is tested on both."""
    return str(request.param)


@pytest.fixture
def bare(gcs: Mapping[str, Any], tmp_path: Path, transport: str) -> Iterator[Lab]:
    """A laboratory whose bucket does not exist."""
    lab = Lab(gcs, tmp_path, f"b{time.time_ns():x}", transport)
    yield lab
    lab.close()


@pytest.fixture
def lab(bare: Lab) -> Lab:
    """A laboratory whose bucket is provisioned."""
    bare.provision()
    return bare
