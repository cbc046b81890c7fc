"""Real servers: conformance on two of them, and the refusal of one that lies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import botocore.session  # type: ignore[import-untyped]  # it brings no types
import nexus_s3
import pytest
from botocore.config import Config  # type: ignore[import-untyped]  # the same
from nexus_contracts import BackendHarness, Namespace, Profile, Report, run
from nexus_contracts._engine import run_all
from nexus_contracts._verdict import Status
from nexus_contracts.faults import TcpFaults
from nexus_s3 import S3Config
from nexus_s3._engine import call
from nexus_s3._failures import Failure

import nexus_core
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ConfigurationError,
    NotFoundError,
    ObjectAttributes,
    Outcome,
    PreconditionFailedError,
    RetentionError,
    Runtime,
    Scope,
    SecretRef,
    UnsupportedError,
)

pytestmark = pytest.mark.servers

T1, T10 = Scope("t1", "dev"), Scope("t10", "dev")
WORKER = Path(__file__).with_name("s3_worker.py")
FAULTS = {"RAW-029"}
# What old versions could disturb, beside what is required of them.
HISTORIES = {
    *("RAW-001", "RAW-009", "RAW-010", "RAW-015", "RAW-020", "RAW-028", "TEN-102", "DUR-101"),
    *("RAW-040", "RAW-041", "RAW-042", "RAW-043", "RAW-044", "RAW-045", "TEN-111"),
}
Start = Callable[[str], Mapping[str, Any]]


@attrs.frozen
class Place:
    """A real server, and the settings of stores on it."""

    info: Mapping[str, Any]
    client: Any
    transport: str

    def config(self, bucket: str, **more: Any) -> S3Config:
        """Settings of a store in a bucket of its own."""
        given: dict[str, Any] = {
            "endpoint": f"http://{self.info['host']}:{self.info['port']}",
            "region": self.info["region"],
            "bucket": f"{bucket}-{self.transport}",
            "transport": self.transport,
            "access_key": SecretRef(env="NEXUS_TEST_S3_KEY"),
            "secret_key": SecretRef(env="NEXUS_TEST_S3_SECRET"),
            "spool": "spool",
        }
        return S3Config(**{**given, **more})

    def drop(self, bucket: str) -> None:
        """Remove a bucket with all that is in it."""
        found = self.client.list_object_versions(Bucket=bucket)
        for each in (*(found.get("Versions") or ()), *(found.get("DeleteMarkers") or ())):
            self.client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
        self.client.delete_bucket(Bucket=bucket)

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
                prove=None,
                proves=frozenset(),
            ),
            settings=settings,
            back_door=lambda namespace: BucketDoor(self.client, str(settings(namespace).bucket)),
            remove=lambda namespace: self.drop(str(settings(namespace).bucket)),
            broken_settings=lambda namespace: {
                "a bucket that is not there": self.config(f"x{namespace.token}"),
                "an engine that is not there": settings(namespace, _unused_port()),
            },
            faults=lambda: TcpFaults([address], settings, http=True),
            proofs=proofs,
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
def place(
    server: Start, transport: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Place]]:
    """A real server by its name; each test is made on both transports."""
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
        return Place(info, client, transport)

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
    config = there.config(f"proofs-{name}")
    proofs = proved(config, tmp_path)
    assert {key for key, value in proofs.items() if value is True} == WANTED[name]
    assert not there.client.list_objects_v2(Bucket=config.bucket).get("Contents")


def test_s3_is_conformant(
    place: Callable[[str], Place],
    tmp_path: Path,
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies was run against Ceph's gateway, and holds."""
    there = place("radosgw")
    proofs = proved(there.config("conformant"), tmp_path)
    report = "radosgw" if there.transport == "sdk" else f"radosgw-{there.transport}"
    conformant(there.harness(proofs, reality="real"), report)


# LocalStack opens an object's file before the new bytes are there: whoever is killed while he
# replaces one destroys it, whatever client he uses.
_CUT: Final = frozenset(("DUR-102", "DUR-104"))


# What the other transport does is seen on the real server.
@pytest.mark.parametrize("transport", ["sdk"])
def test_s3_on_an_emulator(place: Callable[[str], Place], tmp_path: Path) -> None:
    """Everything that applies holds on LocalStack, but for what it does to an object by itself."""
    there = place("localstack")
    proofs = proved(there.config("conformant"), tmp_path)
    report = run(there.harness(proofs, reality="emulator"))
    if folder := os.environ.get("NEXUS_REPORTS"):
        report.write(Path(folder) / "localstack")
    bad = report.of_status(Status.FAILED, Status.ERROR, Status.INDETERMINATE, Status.NOT_RUN)
    assert [(line.id, line.message) for line in bad if line.id not in _CUT] == []


def test_s3_over_a_road_that_fails(place: Callable[[str], Place], tmp_path: Path) -> None:
    """Whatever fails between the store and Ceph's gateway, what is told is true."""
    there = place("radosgw")
    proofs = proved(there.config("faults"), tmp_path)
    harness = there.harness(proofs, reality="real")
    outcomes = run_all(harness, profile=Profile.EXTENDED, only=FAULTS)
    seen = {each.requirement.id: (each.status, each.message) for each in outcomes}
    assert {name: seen[name] for name in FAULTS} == dict.fromkeys(FAULTS, (Status.PASSED, ""))


def test_s3_object_larger_than_memory(place: Callable[[str], Place], tmp_path: Path) -> None:
    """A process that may have 512 MiB of memory puts and gets an object of 2 GiB, and checks it."""
    config = place("radosgw").config("larger-than-memory", attempts=1)
    told = {
        "config": config.model_dump(mode="json"),
        "base": str(tmp_path),
        "proofs": dict(proved(config, tmp_path)),
        "size": 2 << 30,
        "memory": 512 << 20,
    }
    sources = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_s3)]
    done = subprocess.run(
        [sys.executable, str(WORKER)],
        input=json.dumps(told) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sources)},
    )
    assert done.stdout.splitlines()[-1:] == [str(2 << 30)], done.stderr[-2000:]


def test_s3_sessions_reach_one_scope(place: Callable[[str], Place], tmp_path: Path) -> None:
    """With a role, a scope's own client can neither read, write, list nor delete another's."""
    there = place("radosgw")
    endpoint = f"http://{there.info['host']}:{there.info['port']}"
    config = there.config(
        "sessions", role_arn=there.info["role_arn"], sts_endpoint=endpoint, session_seconds=900
    )
    proofs = proved(config, tmp_path)
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime(tmp_path, proofs))
    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
    for scope in (T1, T10):
        store.put(scope, "k", Body(str(scope).encode()), attributes, if_absent=True)
        with store.open(scope, "k") as stream:
            assert b"".join(stream.chunks) == str(scope).encode()
        assert [entry.key for entry in store.list(scope).items] == ["k"]
        with pytest.raises(NotFoundError):
            store.head(scope, "absent")
        with pytest.raises(NotFoundError), store.open(scope, "absent"):
            pass
    signed = store.presign_get(T1, "k", expires_in=60)
    with urllib.request.urlopen(signed.url, timeout=10) as answer:  # noqa: S310  # the store's own
        assert answer.read() == str(T1).encode()
    mine = store._clients.of(T1)
    whole = {"Bucket": config.bucket}
    theirs = {**whole, "Key": "v1/dev/t10/k"}
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("get_object", theirs),
        ("head_object", theirs),
        ("put_object", {**theirs, "Body": b"x"}),
        ("put_object", {**theirs, "Body": b"x", "IfNoneMatch": "*"}),
        ("delete_object", theirs),
        ("list_objects_v2", {**whole, "Prefix": "v1/dev/t10/"}),
        ("list_objects_v2", whole),
        ("copy_object", {**whole, "Key": "v1/dev/t1/x", "CopySource": theirs}),
    ]
    for operation, asked in attempts:
        with pytest.raises(Failure) as caught:
            call(mine, operation, **asked)
        assert caught.value.status == 403
    for key in ("l", "m"):
        store.put(T1, key, Body(b"x"), attributes)
    assert store.delete_many(T1, ["l", "m", "none"]) == {}
    assert store.erase(T1) == 1
    assert store.head(T10, "k").size == len(str(T10))
    store.close()


@pytest.mark.parametrize("name", ["radosgw", "localstack"])
def test_s3_histories(name: str, place: Callable[[str], Place], tmp_path: Path) -> None:
    """In buckets that keep versions, everything that is required of histories holds."""
    there = place(name)
    proofs = proved(there.config(f"histories-{name}", versions=True), tmp_path)
    harness = there.harness(proofs, reality="real")
    settings = harness.settings
    harness = attrs.evolve(
        harness,
        settings=lambda namespace: S3Config(**{**dict(settings(namespace)), "versions": True}),
    )
    outcomes = run_all(harness, profile=Profile.CORE, only=HISTORIES)
    seen = {each.requirement.id: (each.status, each.message) for each in outcomes}
    assert {each: seen[each] for each in HISTORIES} == dict.fromkeys(HISTORIES, (Status.PASSED, ""))


@pytest.mark.parametrize("name", ["radosgw", "localstack"])
def test_s3_a_bucket_is_what_the_settings_say(
    name: str, place: Callable[[str], Place], tmp_path: Path
) -> None:
    """A bucket that keeps versions where none were asked for is refused, and the other way round;
    in one that keeps none, no version is ever promised."""
    there = place(name)
    spec = nexus_s3.nexus_raw_store()
    for asked in (False, True):
        config = there.config(f"asked-{asked}-{name}".lower(), versions=asked)
        assert proved(config, tmp_path)["versions"] is asked
        other = S3Config(**{**dict(config), "versions": not asked})
        for settings, wrong in ((config, []), (other, ["versions"])):
            store = spec.factory(settings, runtime(tmp_path))
            assert [each.path for each in store.check()] == wrong
            store.close()
    with pytest.raises(ConfigurationError):
        proved(other, tmp_path)


@pytest.mark.parametrize("name", ["radosgw", "localstack"])
def test_s3_versions_are_erased_and_conditions_proved_anew(
    name: str, place: Callable[[str], Place], tmp_path: Path
) -> None:
    """In a bucket that keeps versions, what holds is proved of it, and erase leaves no version."""
    there = place(name)
    config = there.config(f"versioned-{name}", versions=True)
    proofs = proved(config, tmp_path)
    assert proofs["versions"] is True
    assert proofs["conditional_create"] is (name == "localstack")
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime(tmp_path, proofs))
    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
    for scope in (T1, T10):
        for data in (b"1", b"2", b"3"):
            info = store.put(scope, "k", Body(data), attributes)
        assert info.version_id is not None
        assert store.head(scope, "k") == info
        store.put(scope, "gone", Body(b"x"), attributes)
        store.delete(scope, "gone")
    assert store.erase(T1) == 1
    left = there.client.list_object_versions(Bucket=config.bucket)
    names = {each["Key"] for each in (*left["Versions"], *left.get("DeleteMarkers", ()))}
    assert names == {"v1/dev/t10/k", "v1/dev/t10/gone"}
    store.close()


@pytest.mark.parametrize("name", ["radosgw", "localstack"])
def test_s3_what_the_engine_has_locked_is_said_to_stay(
    name: str, place: Callable[[str], Place], tmp_path: Path
) -> None:
    """Erasing and purging name the key that the engine's own lock protects, take nothing of it, and
    go through once the lock is off; another scope's is not named."""
    there = place(name)
    config = there.config(f"locked-{name}", versions=True)
    there.client.create_bucket(Bucket=config.bucket, ObjectLockEnabledForBucket=True)
    proofs = proved(config, tmp_path)
    assert proofs["versions"] is True
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime(tmp_path, proofs))
    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
    for scope in (T1, T10):
        for key in ("k", "l"):
            store.put(scope, key, Body(b"old"), attributes)
    (line,) = store.list_versions(T1, "k").items
    pinned = {"Bucket": config.bucket, "Key": "v1/dev/t1/k", "VersionId": line.version_id}
    there.client.put_object_legal_hold(**pinned, LegalHold={"Status": "ON"})
    store.delete(T1, "k")
    attempts: list[Callable[[], object]] = [
        lambda: store.erase(T1),
        lambda: store.purge(T1, "k", [line.version_id]),
    ]
    for refused in attempts:
        with pytest.raises(RetentionError) as caught:
            refused()
        assert (caught.value.ids, caught.value.outcome) == (("k",), Outcome.UNKNOWN)
        with store.open_version(T1, "k", line.version_id) as stream:
            assert b"".join(stream.chunks) == b"old"
    there.client.put_object_legal_hold(**pinned, LegalHold={"Status": "OFF"})
    store.erase(T1)
    assert store.list_versions(T1).items == ()
    assert len(store.list_versions(T10).items) == 2
    store.close()


def test_s3_large_objects_go_in_parts(place: Callable[[str], Place], tmp_path: Path) -> None:
    """Where conditions on parts are proved, large objects are put and copied by them, and once."""
    config = place("localstack").config("parts", multipart_from=8 << 20)
    proofs = proved(config, tmp_path)
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime(tmp_path, proofs))
    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
    data = os.urandom(1 << 20) * 40
    info = store.put(T1, "k", Body(data), attributes, if_absent=True)
    assert info.etag.partition(".")[0].endswith("-3")
    copied = store.copy(T1, "k", "l", attributes, if_absent=True, if_source_match=info.etag)
    for key in ("k", "l"):
        with store.open(T1, key) as stream:
            assert b"".join(stream.chunks) == data
        with pytest.raises(AlreadyExistsError):
            store.put(T1, key, Body(data), attributes, if_absent=True)
    with pytest.raises(AlreadyExistsError):
        store.copy(T1, "k", "l", attributes, if_absent=True)
    assert store.head(T1, "l") == copied
    again = store.put(T1, "k", Body(data), attributes, if_match=info.etag)
    with pytest.raises(PreconditionFailedError):
        store.put(T1, "k", Body(data), attributes, if_match=info.etag)
    assert store.head(T1, "k") == again
    store.close()


def test_s3_refuses_a_server_that_lies(place: Callable[[str], Place], tmp_path: Path) -> None:
    """A server that says yes to a condition and ignores it is refused for create-once, by name."""
    config = place("rclone").config("a-liar")
    proofs = proved(config, tmp_path)
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime(tmp_path, proofs))
    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
    with pytest.raises(UnsupportedError) as caught:
        store.put(T1, "k", Body(b"x"), attributes, if_absent=True)
    assert caught.value.capability == "conditional_create"
    store.close()
