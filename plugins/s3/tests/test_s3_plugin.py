"""What the plugin registers, what its settings accept, and what check and provision say."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nexus_s3
import pydantic
import pytest
from nexus_s3 import S3Config

import nexus_core
from nexus_core.spi import (
    ENTRY_POINT_GROUP,
    ClosedError,
    ConfigurationError,
    Durability,
    Isolation,
    Scope,
    SecretRef,
    StoreRole,
)

T1 = Scope("t1", "dev")
GOOD: dict[str, Any] = {
    "endpoint": "aws",
    "region": "eu-central-1",
    "bucket": "the-bucket",
    "access_key": SecretRef(env="A"),
    "secret_key": SecretRef(env="B"),
    "spool": "spool",
}


def test_entry_point_names_the_module() -> None:
    """The family name is the entry point's name and leads to the module with the hooks."""
    (entry,) = entry_points(group=ENTRY_POINT_GROUP, name="s3")
    assert entry.value == "nexus_s3"
    assert entry.dist is not None
    assert entry.dist.name == "nexus-s3"


def test_exports_are_sorted_and_there() -> None:
    """``__all__`` is sorted and every name in it exists."""
    assert nexus_s3.__all__ == sorted(nexus_s3.__all__)
    assert all(hasattr(nexus_s3, name) for name in nexus_s3.__all__)


def test_spec_declares_the_weakest_isolation_and_proves_the_rest(lab: Any) -> None:
    """The spec declares a prefix of a shared bucket, and wants every condition proved."""
    lab.put("k", b"x")
    spec = nexus_s3.nexus_raw_store()
    assert (spec.name, spec.role) == ("s3", StoreRole.RAW)
    assert (spec.isolation, spec.durability) == (Isolation.PREFIX, Durability.POWER_LOSS)
    assert spec.proves == {
        *("conditional_create", "conditional_replace", "conditional_delete"),
        *("object_lock", "ranges", "presign_get", "presign_put", "versions"),
    }
    assert callable(spec.prove)
    assert callable(spec.provision)


def test_import_brings_no_engine() -> None:
    """Importing the plugin loads neither the store nor the client library."""
    code = (
        "import sys; import nexus_core.spi; import nexus_s3;"
        "print([m for m in sys.modules if m.startswith(('nexus_s3.', 'boto', 'urllib3'))"
        " and m != 'nexus_s3._config'])"
    )
    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_s3)]
    seen = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["endpoint", "region", "bucket", "access_key", "spool"])
def test_nothing_that_names_a_place_has_a_default(missing: str) -> None:
    """Without an endpoint, region, bucket, key or spool there are no settings."""
    S3Config(**GOOD)
    with pytest.raises(pydantic.ValidationError):
        S3Config(**{name: value for name, value in GOOD.items() if name != missing})


@pytest.mark.parametrize(
    "settings",
    [
        {"buckets": {"t1/dev": "other"}},
        {"bucket": None, "buckets": {"t1": "other"}},
        {"bucket": None, "buckets": {"T1/dev": "other"}},
        {"bucket": None, "buckets": {"t1/test": "other"}},
        {"bucket": None, "buckets": {"t1/dev": "other", "t10/dev": "other"}},
        {"bucket": "Upper"},
        {"bucket": "has.dots"},
        {"bucket": "a/b"},
        {"endpoint": "https://host/path"},
        {"endpoint": "https://user@host"},
        {"endpoint": "ftp://host"},
        {"endpoint": "host:9000"},
        {"endpoint": "https://host:port"},
        {"endpoint": "http://storage.example"},
        {"prefix": "/a/"},
        {"prefix": "a"},
        {"prefix": "../"},
        {"identity": "instance"},
        {"identity": "environment"},
        {"role_arn": "arn:aws:iam::1:role/x"},
        {"sts_endpoint": "aws"},
        {"secret_key": "inline"},
        {"attempts": 0},
        {"profile": "x"},
    ],
)
def test_settings_are_closed(settings: dict[str, Any]) -> None:
    """What is ambiguous, incomplete, open to others or unknown is refused."""
    with pytest.raises(pydantic.ValidationError):
        S3Config(**{**GOOD, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"bucket": None, "buckets": {"t1/dev": "one", "t10/dev": "two"}},
        {"endpoint": "http://127.0.0.1:9000"},
        {"endpoint": "http://storage.example", "plaintext": True},
        {"endpoint": "https://storage.example:8443"},
        {"prefix": "nexus/raw/"},
        {"identity": "instance", "access_key": None, "secret_key": None},
        {"role_arn": "arn:aws:iam::1:role/x", "sts_endpoint": "aws"},
    ],
)
def test_settings_that_are_whole(settings: dict[str, Any]) -> None:
    """Every mode that the README names can be configured."""
    S3Config(**{**GOOD, **settings})


def test_absent_secrets_stop_the_factory(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that lead nowhere are all named by their settings, before anything is asked."""
    monkeypatch.delenv("NEXUS_TEST_S3_KEY")
    monkeypatch.delenv("NEXUS_TEST_S3_SECRET")
    with pytest.raises(ConfigurationError) as caught:
        _ = bare.store
    assert [problem.path for problem in caught.value.problems] == ["access_key", "secret_key"]
    assert bare.engine.asked == []


def test_check_says_all_and_writes_nothing(bare: Any) -> None:
    """A missing spool and a missing bucket are told at once, and stay missing."""
    assert [problem.path for problem in bare.store.check()] == ["spool", "bucket"]
    assert {each.method for each in bare.engine.asked} == {"HEAD"}
    assert list(bare.base.iterdir()) == []
    assert bare.engine.buckets == {}


def test_provision_makes_what_is_missing_once(bare: Any) -> None:
    """Provisioning makes the spool and the bucket, says so, and makes nothing the second time."""
    provision = nexus_s3.nexus_raw_store().provision
    assert provision is not None
    made = provision(bare.config, bare.runtime)
    assert made == [f"folder {bare.base / 'spool'}", "bucket the-bucket"]
    assert list(bare.store.check()) == []
    assert provision(bare.config, bare.runtime) == []


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("InvalidAccessKeyId", "credentials"),
        ("AccessDenied", "refused to the store's credentials"),
        ("InternalError", "does not answer"),
    ],
)
def test_check_says_what_the_engine_refuses(lab: Any, s3_module: Any, code: str, word: str) -> None:
    """Wrong keys, missing rights and a sick engine are told apart, by the setting."""
    status = 500 if code == "InternalError" else 403
    body = f"<Error><Code>{code}</Code></Error>".encode()
    lab.engine.before = lambda asked: s3_module.Answer(
        status, {}, b"" if asked.method == "HEAD" else body
    )
    (problem,) = lab.store.check()
    assert problem.path == "bucket"
    assert word in problem.what
    assert problem.fix


def test_check_says_that_nobody_listens(lab: Any) -> None:
    """An engine that is not there is a problem, not an exception."""
    lab.reopen(endpoint="http://127.0.0.1:9", attempts=1)
    (problem,) = lab.store.check()
    assert "cannot be reached" in problem.what


def test_closed_store_refuses(lab: Any) -> None:
    """After ``close``, which may be called twice, every call raises ``ClosedError``."""
    store = lab.store
    store.close()
    store.close()
    for call in (
        lambda: lab.put("k", b"x"),
        lambda: store.head(T1, "k"),
        lambda: store.list(T1),
        lambda: store.delete_many(T1, ["k"]),
        lambda: store.presign_get(T1, "k", expires_in=1),
        lambda: store.erase(T1),
        store.check,
    ):
        with pytest.raises(ClosedError):
            call()


def test_session_policy_reaches_one_scope(lab: Any) -> None:
    """What a scope's session may do is said of its own prefix, and of nothing that begins alike."""
    from nexus_s3._session import scope_policy

    policy = scope_policy(lab.config, T1)
    text = json.dumps(policy)
    assert "arn:aws:s3:::the-bucket/v1/dev/t1/*" in text
    assert policy["Statement"][1]["Condition"] == {"StringLike": {"s3:prefix": ["v1/dev/t1/*"]}}
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}


def test_a_session_serves_more_than_one_request(
    lab: Any, s3_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the shortest session of a scope's is kept until it comes to its end."""
    given: list[Scope] = []

    def fetcher(_: Any, scope: Scope) -> Any:
        def fetch() -> dict[str, Any]:
            given.append(scope)
            return {
                "access_key": s3_module.ACCESS_KEY,
                "secret_key": s3_module.SECRET_KEY,
                "token": f"session {len(given)}",
                "expiry_time": (datetime.now(UTC) + timedelta(seconds=900)).isoformat(),
            }

        return fetch

    monkeypatch.setattr("nexus_s3._session.Clients._fetcher", fetcher)
    lab.reopen(role_arn="arn:aws:iam::1:role/x", sts_endpoint="aws", session_seconds=900)
    for key in ("a", "b", "c"):
        lab.put(key, b"x", if_absent=True)
        assert lab.get(key) == b"x"
    assert given == [T1]
    assert {each.headers["x-amz-security-token"] for each in lab.engine.asked} == {"session 1"}
