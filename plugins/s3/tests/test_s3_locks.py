"""The engine's own object lock: what the settings ask for, and on real servers what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import botocore.session  # type: ignore[import-untyped]  # it brings no types
import nexus_s3
import pytest
from botocore.config import Config  # type: ignore[import-untyped]  # the same
from nexus_contracts import BackendHarness, Profile
from nexus_contracts._engine import run_all
from nexus_contracts._verdict import Status
from nexus_s3 import S3Config
from nexus_s3._locking import rounded, said
from pydantic import ValidationError

from nexus_core.spi import (
    Body,
    ConfigurationError,
    ObjectAttributes,
    RetentionError,
    Runtime,
    Scope,
    SecretRef,
    UnsupportedError,
)

T1 = Scope("t1", "dev")
SECOND = 1_000_000
LOCKS = {"RAW-001", "RAW-042", "RAW-070", "RAW-071", "RAW-073", "RAW-074", "RAW-075"}
CONFIG = "ObjectLockConfiguration"
PLAIN = ObjectAttributes(content_type="text/plain", metadata={}, system={})
Start = Callable[[str], Mapping[str, Any]]


def locked(until: int | None = None, *, hold: bool = False) -> ObjectAttributes:
    """Attributes with a lock."""
    return attrs.evolve(PLAIN, retain_until=until, legal_hold=hold)


# -- what is asked for ---------------------------------------------------------------------------


def test_s3_locks_take_versions(lab: Any) -> None:
    """Settings that ask for locks where no versions are kept are refused."""
    with pytest.raises(ValidationError, match="versions"):
        lab.reopen(object_lock="governance")
    lab.reopen(object_lock="governance", versions=True)
    assert lab.config.lock_mode == "GOVERNANCE"


def test_s3_a_lock_is_said_as_the_protocol_does() -> None:
    """A period goes in whole seconds, rounded up, one that is over not at all; a lock that the
    settings do not use is refused."""
    now = 1_800_000_000 * SECOND
    assert rounded(locked(now), now).retain_until is None
    assert rounded(locked(now + 1), now).retain_until == now + SECOND
    assert rounded(locked(now + SECOND), now).retain_until == now + SECOND
    assert said(PLAIN, "COMPLIANCE") == {}
    asked = said(locked(now + SECOND, hold=True), "COMPLIANCE")
    assert asked.pop("ObjectLockRetainUntilDate").timestamp() == 1_800_000_001
    assert asked == {"ObjectLockLegalHoldStatus": "ON", "ObjectLockMode": "COMPLIANCE"}
    assert said(PLAIN, None) == {}
    for attributes in (locked(hold=True), locked(now + 1)):
        with pytest.raises(UnsupportedError):
            said(attributes, None)


@pytest.mark.parametrize(
    ("status", "body", "wrong"),
    [
        (404, "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>", "made without"),
        (403, "<Error><Code>AccessDenied</Code></Error>", "does not tell"),
        (200, f"<{CONFIG}><ObjectLockEnabled>Enabled</ObjectLockEnabled></{CONFIG}>", ""),
    ],
)
def test_s3_a_bucket_without_object_lock_is_refused(
    lab: Any, status: int, body: str, wrong: str
) -> None:
    """Where the settings use the engine's lock, a bucket that has none, or does not say, is
    refused."""
    enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"

    def before(asked: Any) -> Any:
        if "versioning" in asked.query:
            return type(lab.broken)(200, {"Content-Type": "application/xml"}, enabled.encode())
        if "object-lock" in asked.query:
            return type(lab.broken)(status, {"Content-Type": "application/xml"}, body.encode())
        return None

    lab.engine.before = before
    lab.reopen(versions=True, object_lock="compliance")
    problems = list(lab.store.check())
    assert [each.path for each in problems] == (["object_lock"] if wrong else [])
    assert all(wrong in each.what for each in problems)


def test_s3_without_the_setting_nothing_is_locked(proved: Any) -> None:
    """A store that does not use the engine's lock refuses to set it, and proves nothing of it."""
    info = proved.put("k", b"x")
    with pytest.raises(UnsupportedError):
        proved.store.set_lock(T1, "k", "1", legal_hold=True)
    made = proved.store.set_system(T1, "k", {"stamp": "11"}, if_match=info.etag)
    assert made.attributes.system == {"stamp": "11"}
    assert proved.store.head(T1, "k") == made
    assert proved.prove()["object_lock"] is False


# -- on real servers -----------------------------------------------------------------------------


@attrs.frozen
class Place:
    """A real server, and the settings of stores on it."""

    info: Mapping[str, Any]
    client: Any
    transport: str

    def config(self, bucket: str, **more: Any) -> S3Config:
        """Settings of a store in a bucket of its own, with locks."""
        given: dict[str, Any] = {
            "endpoint": f"http://{self.info['host']}:{self.info['port']}",
            "region": self.info["region"],
            "bucket": f"{bucket}-{self.transport}",
            "transport": self.transport,
            "access_key": SecretRef(env="NEXUS_TEST_S3_KEY"),
            "secret_key": SecretRef(env="NEXUS_TEST_S3_SECRET"),
            "spool": "spool",
            "versions": True,
            "object_lock": "governance",
        }
        return S3Config(**{**given, **more})

    def harness(self, proofs: Mapping[str, Any]) -> BackendHarness:
        """A harness whose spec declares what was proved of the server, as the core would."""
        spec = nexus_s3.nexus_raw_store()
        off: Any = {name: False for name in spec.proves if proofs.get(name) is not True}
        return BackendHarness(
            spec=attrs.evolve(
                spec,
                capabilities=attrs.evolve(spec.capabilities, **off),
                prove=None,
                proves=frozenset(),
            ),
            settings=lambda namespace: self.config(f"k{namespace.token}"),
            proofs=proofs,
        )


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
            config=Config(s3={"addressing_style": "path"}),
        )
        clients.append(client)
        return Place(info, client, transport)

    yield at
    for client in clients:
        client.close()


def runtime(base: Path, proofs: Mapping[str, Any] | None = None) -> Runtime:
    """What the core would hand the factory."""
    return Runtime(
        store="files", base=base, now=lambda: time.time_ns() // 1000, proofs=proofs or {}
    )


def ready(config: S3Config, base: Path) -> Mapping[str, Any]:
    """Provision a store and prove its engine."""
    spec = nexus_s3.nexus_raw_store()
    assert spec.provision is not None
    assert spec.prove is not None
    spec.provision(config, runtime(base))
    return spec.prove(config, runtime(base))


@pytest.mark.servers
@pytest.mark.parametrize("name", ["radosgw", "localstack"])
def test_s3_locks_on_servers(name: str, place: Callable[[str], Place], tmp_path: Path) -> None:
    """In buckets with object lock, everything that is required of locks holds."""
    there = place(name)
    proofs = ready(there.config(f"locks-{name}"), tmp_path)
    assert proofs["object_lock"] is True
    # Where the engine keeps no conditions, nothing is changed under one.
    wanted = LOCKS if proofs["conditional_replace"] is True else LOCKS - {"RAW-070", "RAW-071"}
    outcomes = run_all(there.harness(proofs), profile=Profile.CORE, only=wanted)
    seen = {each.requirement.id: (each.status, each.message) for each in outcomes}
    assert {each: seen[each] for each in wanted} == dict.fromkeys(wanted, (Status.PASSED, ""))


@pytest.mark.servers
@pytest.mark.parametrize("name", ["radosgw", "localstack"])
@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_s3_a_period_ends_by_itself(
    name: str, mode: str, place: Callable[[str], Place], tmp_path: Path
) -> None:
    """What is written with a period, in one request or in parts, is kept by the engine until then,
    and no longer; another client sees it locked in the mode that was set."""
    there = place(name)
    config = there.config(f"{mode}-{name}", object_lock=mode, multipart_from=5 << 20)
    proofs = ready(config, tmp_path)
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime(tmp_path, proofs))
    until = time.time_ns() // 1000 + 8 * SECOND
    for key, size in (("small", 9), ("large", 6 << 20)):
        info = store.put(T1, key, Body(b"x" * size), locked(until))
        seen = there.client.head_object(Bucket=config.bucket, Key=f"v1/dev/t1/{key}")
        assert seen["ObjectLockMode"] == mode.upper()
        assert store.head(T1, key) == info
    with pytest.raises(RetentionError) as caught:
        store.erase(T1)
    assert set(caught.value.ids) == {"small", "large"}
    while time.time_ns() // 1000 < until + 2 * SECOND:
        time.sleep(0.5)
    store.erase(T1)
    assert store.list_versions(T1).items == ()
    store.close()


@pytest.mark.servers
@pytest.mark.parametrize("name", ["radosgw", "localstack"])
def test_s3_a_bucket_made_without_lock_is_not_used(
    name: str, place: Callable[[str], Place], tmp_path: Path
) -> None:
    """A server's bucket that keeps versions and has no object lock is refused by name."""
    there = place(name)
    ready(there.config(f"plain-{name}", object_lock=None), tmp_path)
    with pytest.raises(ConfigurationError, match="object lock"):
        ready(there.config(f"plain-{name}"), tmp_path)
