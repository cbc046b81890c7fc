"""What the plugin registers, what its settings accept, and where it looks for anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nexus_gcs
import pydantic
import pytest
from nexus_gcs import GcsConfig

import nexus_core
from nexus_core.spi import (
    ENTRY_POINT_GROUP,
    ConfigurationError,
    Durability,
    Isolation,
    Scope,
    StoreRole,
    UnavailableError,
    UnsupportedError,
)

SOUND: dict[str, Any] = {
    "endpoint": "google",
    "project": "some-project",
    "bucket": "some-bucket",
    "key": {"env": "GCS_KEY"},
}


def test_gcs_entry_point_names_the_module() -> None:
    """The family name is the entry point's name and leads to the module with the hooks."""
    (entry,) = entry_points(group=ENTRY_POINT_GROUP, name="gcs")
    assert entry.value == "nexus_gcs"
    assert entry.dist is not None
    assert entry.dist.name == "nexus-gcs"


def test_gcs_exports_are_sorted_and_there() -> None:
    """``__all__`` is sorted and every name in it exists."""
    assert nexus_gcs.__all__ == sorted(nexus_gcs.__all__)
    assert all(hasattr(nexus_gcs, name) for name in nexus_gcs.__all__)


def test_gcs_spec_declares_the_weakest_mode_and_what_is_to_be_proved() -> None:
    """The isolation declared is that of a shared bucket, and every condition has to be proved."""
    spec = nexus_gcs.nexus_raw_store()
    assert (spec.name, spec.role) == ("gcs", StoreRole.RAW)
    assert spec.isolation is Isolation.PREFIX
    assert spec.durability is Durability.POWER_LOSS
    assert spec.prove is not None
    assert {"conditional_create", "conditional_replace", "conditional_delete"} <= spec.proves


def test_gcs_import_brings_no_library() -> None:
    """Importing the plugin loads neither the store nor anything of Google's."""
    code = (
        "import sys; import nexus_core.spi; import nexus_gcs;"
        "print([m for m in sys.modules if m.split('.')[0] in ('google', 'requests')"
        " or m.startswith('nexus_gcs.') and m != 'nexus_gcs._config'])"
    )
    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_gcs)]
    seen = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": None},
        {"endpoint": "http://storage.example.org"},
        {"endpoint": "https://user@host"},
        {"endpoint": "https://host/path"},
        {"project": None},
        {"bucket": None},
        {"bucket": "UPPER"},
        {"buckets": {"acme/prod": "one-bucket"}},
        {"bucket": None, "buckets": {"acme": "one-bucket"}},
        {"bucket": None, "buckets": {"acme/prod": "same-bucket", "acme/dev": "same-bucket"}},
        {"key": None},
        {"key": "inline"},
        {"identity": "ambient"},
        {"identity": "anonymous", "key": None},
        {"attempts": 0},
        {"transport": "other"},
    ],
)
def test_gcs_settings_are_closed(change: dict[str, Any]) -> None:
    """Every place is named, keys come by reference, and what does not fit together is refused."""
    GcsConfig.model_validate(SOUND)
    settings = {key: value for key, value in {**SOUND, **change}.items() if value is not None}
    with pytest.raises(pydantic.ValidationError):
        GcsConfig.model_validate(settings)


def test_gcs_surroundings_are_not_looked_at(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that lead Google's libraries elsewhere change nothing, and give no credentials."""
    for name in ("STORAGE_EMULATOR_HOST", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebody-elses")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(lab.base / "key.json"))
    store = lab.build()
    lab.put(store, "k", b"x")
    assert lab.read(store, "k") == b"x"
    anonymous = lab.build(identity="anonymous", key=None)
    assert [problem.path for problem in anonymous.check()] == ["identity"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"type": "authorized_user"}', '{"type": "service_account"}']
)
def test_gcs_key_that_is_none_is_told_by_its_setting(lab: Any, text: str) -> None:
    """A key that cannot be used is a problem with ``key`` that shows nothing of it."""
    (lab.base / "key.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        lab.build()
    assert [problem.path for problem in caught.value.problems] == ["key"]


def test_gcs_key_must_not_send_its_claims_in_the_open(lab: Any) -> None:
    """A key whose tokens come over plain http from another machine is refused."""
    text = (lab.base / "key.json").read_text(encoding="utf-8")
    text = text.replace(lab.info["endpoint"], "http://tokens.example.org")
    (lab.base / "key.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="plain http"):
        lab.build()


def test_gcs_a_scope_without_a_bucket_is_refused(bare: Any) -> None:
    """With a bucket for each scope, one that the settings do not name is refused in all verbs."""
    buckets = {"acme/prod": f"{bare.bucket}-one", "acme/dev": f"{bare.bucket}-two"}
    bare.provision(bucket=None, buckets=buckets)
    store = bare.build(bucket=None, buckets=buckets)
    stranger = Scope("other", "prod")
    calls: tuple[Callable[[], object], ...] = (
        lambda: bare.put(store, "k", b"x", scope=stranger),
        lambda: store.head(stranger, "k"),
        lambda: store.list(stranger),
        lambda: store.delete(stranger, "k"),
        lambda: store.erase(stranger),
    )
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert not caught.value.retryable


def test_gcs_each_scope_has_its_bucket(bare: Any) -> None:
    """With a bucket for each scope, what one writes lies in its own bucket alone."""
    buckets = {"acme/prod": f"{bare.bucket}-one", "acme/dev": f"{bare.bucket}-two"}
    bare.provision(bucket=None, buckets=buckets)
    store = bare.build(bucket=None, buckets=buckets)
    assert store.check() == []
    bare.put(store, "k", b"x", scope=Scope("acme", "dev"))
    assert bare.wire.names(f"{bare.bucket}-one") == []
    assert bare.wire.names(f"{bare.bucket}-two") == ["v1/dev/acme/k"]


def test_gcs_only_a_key_signs(lab: Any) -> None:
    """Without a service account's key signing is unsupported, and never proved."""
    store = lab.build(identity="anonymous", key=None)
    with pytest.raises(UnsupportedError):
        store.presign_get(Scope("acme", "prod"), "k", expires_in=60)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.5Z", "2026-11-21T10:00:00.123Z"),
        *("2026-11-21T10:00:00.123456Z", "2026-11-21T10:00:00.123456789Z"),
    ],
)
def test_gcs_times_are_what_the_library_reads(text: str) -> None:
    """A time of the engine's is the one that the client library reads in it, to the microsecond."""
    from google.cloud.storage import Blob  # type: ignore[import-untyped]  # it brings no types
    from nexus_gcs._record import entry_of

    blob = Blob("name", None)
    blob._properties |= {"generation": "1", "size": "0", "timeCreated": text}
    assert datetime.fromtimestamp(entry_of("k", blob).modified_at / 1e6, UTC) == blob.time_created
