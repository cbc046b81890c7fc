"""A laboratory: a store on an S3 of the tests' own, and what is needed to look behind it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import nexus_s3
import pytest
from nexus_s3 import S3Config

from nexus_core.spi import Body, ObjectAttributes, ObjectInfo, Proof, Runtime, Scope, SecretRef

T1 = Scope("t1", "dev")
HONEST: Mapping[str, Proof] = {
    "conditional_create": True,
    "conditional_replace": True,
    "conditional_delete": True,
    "multipart_conditions": True,
    "copy_source_match": True,
    "checksum_sha256": True,
    "ranges": True,
    "versions": False,
    "object_lock": False,
    "multipart_locks": False,
    "presign_get": True,
    "presign_put": True,
    "presign_put_by": "checksum",
}


def attributes(**metadata: str) -> ObjectAttributes:
    """Attributes as the core would send them."""
    return ObjectAttributes(
        content_type="text/plain", metadata=metadata, system={"stamp": "00", "kind": "data"}
    )


@attrs.define
class Clock:
    """A clock that stands until it is moved."""

    time: int

    def __call__(self) -> int:
        return self.time


@attrs.define(eq=False)
class Lab:
    """A store with settings for quick failures, its engine, and its clock."""

    engine: Any
    config: S3Config
    base: Path
    clock: Clock
    broken: Any = None
    proofs: dict[str, Proof] = attrs.field(factory=dict)
    _store: Any = None

    @property
    def runtime(self) -> Runtime:
        """What the core would hand the factory."""
        return Runtime(store="files", base=self.base, now=self.clock, proofs=self.proofs)

    @property
    def store(self) -> Any:
        """The store, built once."""
        if self._store is None:
            self._store = nexus_s3.nexus_raw_store().factory(self.config, self.runtime)
        return self._store

    def reopen(self, **settings: Any) -> None:
        """Build the store anew, with other settings if given."""
        self.close()
        self.config = S3Config(**{**dict(self.config), **settings})

    def close(self) -> None:
        """Close the store, if there is one."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def prove(self) -> Mapping[str, Proof]:
        """Prove what the engine honours, and build the store anew with that."""
        self.close()
        spec = nexus_s3.nexus_raw_store()
        assert spec.prove is not None
        self.proofs = dict(spec.prove(self.config, self.runtime))
        return self.proofs

    def put(self, key: str, data: bytes, scope: Scope = T1, **options: Any) -> ObjectInfo:
        """Put bytes with plain attributes; many of them come as a file does, through the spool."""
        body = Body(data if len(data) <= 1 << 20 else io.BytesIO(data))
        info: ObjectInfo = self.store.put(scope, key, body, attributes(), **options)
        return info

    def get(self, key: str, scope: Scope = T1, **options: Any) -> bytes:
        """Read an object to its end."""
        with self.store.open(scope, key, **options) as stream:
            return b"".join(stream.chunks)

    def keys(self, scope: Scope = T1, **options: Any) -> list[str]:
        """The keys of one page."""
        return [entry.key for entry in self.store.list(scope, **options).items]

    def objects(self) -> dict[str, Any]:
        """What the engine holds, by physical name."""
        found: dict[str, Any] = self.engine.buckets.get(self.config.bucket, {})
        return found

    def verbs(self) -> list[str]:
        """What the engine was asked for since the last look."""
        seen = [each.verb for each in self.engine.asked]
        self.engine.asked.clear()
        return seen

    def record(self, name: str) -> dict[str, Any]:
        """What is kept with an object."""
        record: dict[str, Any] = json.loads(self.objects()[name].headers["x-amz-meta-nexus"])
        return record


@pytest.fixture(scope="session")
def s3_module() -> Any:
    """The tests' own S3, imported by its path because test folders are no packages."""
    import importlib.util
    import sys

    path = Path(__file__).with_name("s3_server.py")
    spec = importlib.util.spec_from_file_location("nexus_s3_test_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engine_server(s3_module: Any) -> Iterator[Any]:
    """A fresh engine behind a socket."""
    with s3_module.Server().running() as running:
        yield running


@pytest.fixture(params=["sdk", "obstore"])
def transport(request: pytest.FixtureRequest) -> str:
    """What carries the requests of the laboratory's store: everything is tested on both."""
    return str(request.param)


@pytest.fixture
def bare(
    engine_server: Any,
    s3_module: Any,
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lab]:
    """A laboratory in which nothing is provisioned."""
    monkeypatch.setenv("NEXUS_TEST_S3_KEY", s3_module.ACCESS_KEY)
    monkeypatch.setenv("NEXUS_TEST_S3_SECRET", s3_module.SECRET_KEY)
    config = S3Config(
        endpoint=engine_server.address,
        region=s3_module.REGION,
        bucket="the-bucket",
        access_key=SecretRef(env="NEXUS_TEST_S3_KEY"),
        secret_key=SecretRef(env="NEXUS_TEST_S3_SECRET"),
        transport="obstore" if transport == "obstore" else "sdk",
        spool="spool",
        attempts=3,
        read_seconds=5,
    )
    lab = Lab(
        engine_server.engine,
        config,
        tmp_path,
        Clock(1_800_000_000_000_000),
        broken=s3_module.Answer(status=0),
    )
    yield lab
    lab.close()


@pytest.fixture
def lab(bare: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A laboratory whose store is provisioned, and whose pauses take no time."""
    monkeypatch.setattr("nexus_s3._engine._FIRST_PAUSE", 0)
    bare.engine.buckets["the-bucket"] = {}
    (bare.base / "spool").mkdir()
    return bare


@pytest.fixture
def proved(lab: Lab) -> Lab:
    """The laboratory with everything proved that its engine honours; see test_s3_prove."""
    lab.proofs = dict(HONEST)
    return lab


@pytest.fixture
def honest() -> Mapping[str, Proof]:
    """Everything that the tests' engine honours."""
    return HONEST


@pytest.fixture
def plain() -> Callable[..., ObjectAttributes]:
    """Attributes as the core would send them."""
    return attributes
