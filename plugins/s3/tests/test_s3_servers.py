"""Real servers: conformance on two of them, and the refusal of one that lies."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import botocore.session  # type: ignore[import-untyped]  # it brings no types
import nexus_s3
import pytest
from botocore.config import Config  # type: ignore[import-untyped]  # the same
from nexus_contracts import BackendHarness, Namespace, Report
from nexus_contracts.faults import TcpFaults
from nexus_s3 import S3Config

from nexus_core.spi import Runtime, SecretRef

pytestmark = pytest.mark.servers

Start = Callable[[str], Mapping[str, Any]]


@attrs.frozen
class Place:
    """A real server, and the settings of stores on it."""

    info: Mapping[str, Any]
    client: Any

    def config(self, bucket: str, **more: Any) -> S3Config:
        """Settings of a store in a bucket of its own."""
        given: dict[str, Any] = {
            "endpoint": f"http://{self.info['host']}:{self.info['port']}",
            "region": self.info["region"],
            "bucket": bucket,
            "access_key": SecretRef(env="NEXUS_TEST_S3_KEY"),
            "secret_key": SecretRef(env="NEXUS_TEST_S3_SECRET"),
            "spool": "spool",
        }
        return S3Config(**{**given, **more})

    def harness(self, proofs: Mapping[str, Any], **more: Any) -> BackendHarness:
        """A harness whose spec declares what was proved of the server, as the core would."""
        spec = nexus_s3.nexus_raw_store()
        off: Any = {name: False for name in spec.proves if proofs.get(name) is not True}
        address = (self.info["host"], self.info["port"])

        def settings(namespace: Namespace, port: int | None = None) -> S3Config:
            through: dict[str, Any] = {}
            if port is not None:
                through = {"endpoint": f"http://127.0.0.1:{port}"}
                through |= {"connect_seconds": 1, "read_seconds": 1, "attempts": 2}
            return self.config(f"n{namespace.token}", **through)

        return BackendHarness(
            spec=attrs.evolve(
                spec,
                capabilities=attrs.evolve(spec.capabilities, **off),
                factory=lambda config, runtime: spec.factory(
                    config, attrs.evolve(runtime, proofs=proofs)
                ),
                prove=None,
                proves=frozenset(),
            ),
            settings=settings,
            back_door=lambda namespace: BucketDoor(self.client, f"n{namespace.token}"),
            broken_settings=lambda namespace: {
                "a bucket that is not there": self.config(f"x{namespace.token}"),
                "an engine that is not there": settings(namespace, _unused_port()),
            },
            faults=lambda: TcpFaults([address], settings, http=True),
            **more,
        )


@attrs.frozen
class BucketDoor:
    """The back door: objects of one bucket, with their metadata, by the client library itself."""

    client: Any
    bucket: str

    def snapshot(self) -> Mapping[str, bytes]:
        """Every object's bytes and metadata, and every upload."""
        found: dict[str, bytes] = {}
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket)
        for each in (each for page in pages for each in page.get("Versions") or ()):
            name, version = each["Key"], each["VersionId"]
            seen = self.client.get_object(Bucket=self.bucket, Key=name, VersionId=version)
            said = repr(sorted(seen["Metadata"].items())).encode()
            found[name if version == "null" else f"{name}@{version}"] = seen["Body"].read()
            found[f"{name}@{version} metadata"] = said
        return found

    def write(self, name: str, data: bytes) -> None:
        """Put other bytes in an object's place, and leave its metadata."""
        try:
            kept = self.client.head_object(Bucket=self.bucket, Key=name)["Metadata"]
        except self.client.exceptions.ClientError:
            kept = {}
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data, Metadata=kept)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=self.bucket, Key=name)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def place(server: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Place]]:
    """A real server by its name."""
    clients = []

    def at(name: str) -> Place:
        info = server(name)
        monkeypatch.setenv("NEXUS_TEST_S3_KEY", info["access_key"])
        monkeypatch.setenv("NEXUS_TEST_S3_SECRET", info["secret_key"])
        client = botocore.session.Session().create_client(
            "s3",
            region_name=info["region"],
            endpoint_url=f"http://{info['host']}:{info['port']}",
            aws_access_key_id=info["access_key"],
            aws_secret_access_key=info["secret_key"],
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        clients.append(client)
        return Place(info, client)

    yield at
    for client in clients:
        client.close()


def runtime(base: Path, proofs: Mapping[str, Any] | None = None) -> Runtime:
    """What the core would hand the factory."""
    import time

    return Runtime(
        store="files", base=base, now=lambda: time.time_ns() // 1000, proofs=proofs or {}
    )


def proved(config: S3Config, base: Path) -> Mapping[str, Any]:
    """Provision a store, and prove what its engine honours."""
    spec = nexus_s3.nexus_raw_store()
    assert spec.provision is not None
    assert spec.prove is not None
    spec.provision(config, runtime(base))
    return spec.prove(config, runtime(base))


WANTED = {
    "radosgw": {
        "conditional_create",
        "conditional_replace",
        "presign_get",
        "presign_put",
        "ranges",
    },
    "localstack": {
        *("conditional_create", "conditional_replace", "presign_get", "presign_put", "ranges"),
        *("multipart_conditions", "copy_source_match", "checksum_sha256"),
    },
    "rclone": {"presign_get"},
}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_s3_proofs_of_real_servers(
    name: str, place: Callable[[str], Place], tmp_path: Path
) -> None:
    """Each server has proved of it exactly what it was seen to honour, and nothing is left."""
    there = place(name)
    proofs = proved(there.config(f"proofs-{name}"), tmp_path)
    assert {key for key, value in proofs.items() if value is True} == WANTED[name]
    assert not there.client.list_objects_v2(Bucket=f"proofs-{name}").get("Contents")


@pytest.mark.parametrize(("name", "reality"), [("radosgw", "real"), ("localstack", "emulator")])
def test_s3_is_conformant(
    name: str,
    reality: str,
    place: Callable[[str], Place],
    tmp_path: Path,
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies was run against the server, and holds."""
    there = place(name)
    proofs = proved(there.config(f"conformant-{name}"), tmp_path)
    conformant(there.harness(proofs, reality=reality), name)
