"""The suite on buckets that the environment names: what it asks for, makes and leaves behind."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nexus_contracts import run
from nexus_contracts._verdict import Status

from nexus_core.spi import ConfigurationError

VARIABLES = ("BUCKET", "ENDPOINT", "PROJECT", "LOCATION", "IDENTITY", "REALITY")
KEY = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The harness's module by its path, since test folders are no packages; nothing is set."""
    for name in (*VARIABLES, "TRANSPORT"):
        monkeypatch.delenv(f"NEXUS_LIVE_GCS_{name}", raising=False)
    monkeypatch.delenv(KEY, raising=False)
    path = Path(__file__).with_name("live_gcs.py")
    spec = importlib.util.spec_from_file_location("nexus_gcs_live", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def said(
    gcs: Mapping[str, Any], module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment names the server of our own."""
    key = tmp_path / "key.json"
    key.write_text(json.dumps(gcs["key"]), encoding="utf-8")
    values = {
        "NEXUS_LIVE_GCS_BUCKET": "live-tests",
        "NEXUS_LIVE_GCS_ENDPOINT": gcs["endpoint"],
        "NEXUS_LIVE_GCS_PROJECT": gcs["project"],
        "NEXUS_LIVE_GCS_LOCATION": "EU",
        "NEXUS_LIVE_GCS_REALITY": "emulator",
        KEY: str(key),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_gcs_live_names_every_variable_that_is_missing(module: Any) -> None:
    """Asked for and not told where, it fails, and says all that the environment must say."""
    with pytest.raises(ConfigurationError) as caught, module.live():
        pass
    named = {problem.path for problem in caught.value.problems}
    assert named == {KEY, *(f"NEXUS_LIVE_GCS_{name}" for name in VARIABLES if name != "IDENTITY")}


@pytest.mark.usefixtures("said")
def test_gcs_live_never_repeats_a_key(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is no key is refused by the variable's name, without a word of what it holds."""
    (tmp_path / "wrong.json").write_text('{"private_key": "hunter2"}', encoding="utf-8")
    monkeypatch.setenv(KEY, str(tmp_path / "wrong.json"))
    with pytest.raises(ConfigurationError) as caught, module.live():
        pass
    assert [problem.path for problem in caught.value.problems] == [KEY]
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("said")
def test_gcs_live_takes_its_buckets_away(module: Any) -> None:
    """What a run makes has the name that was given, and is gone when it ends."""
    with module.live() as place:
        harness = place.harness()
        report = run(harness, only={"RAW-002", "CFG-101", "CFG-102", "CFG-103", "SEC-101"})
        assert report.backend.reality == "emulator"
        assert len(report.of_status(Status.PASSED)) == 5
        made = [place.client.bucket(place.bucket(token)) for token in set(place.tokens)]
        assert {bucket.name.startswith("live-tests-") for bucket in made} == {True}
        assert sum(bucket.exists() for bucket in made) > 2
        place.clean()
        assert [bucket.name for bucket in made if bucket.exists()] == []


@pytest.mark.usefixtures("said")
def test_gcs_live_goes_by_either_transport(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment may name the transport; one that is not known is refused by its variable."""
    with module.live() as place:
        assert place.config("x").transport == "sdk"
    monkeypatch.setenv("NEXUS_LIVE_GCS_TRANSPORT", "obstore")
    with module.live() as place:
        assert place.config("x").transport == "obstore"
        report = run(place.harness(), only={"RAW-002", "RAW-003"})
    assert len(report.of_status(Status.PASSED)) == 2
    monkeypatch.setenv("NEXUS_LIVE_GCS_TRANSPORT", "carrier pigeon")
    with pytest.raises(ConfigurationError) as caught, module.live():
        pass
    assert [problem.path for problem in caught.value.problems] == ["NEXUS_LIVE_GCS_TRANSPORT"]


def test_gcs_an_emulator_need_not_know_of_permissions(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody is asked who he is, check asks nobody what he may do; who has a key is asked."""
    from google.cloud.storage import Bucket  # type: ignore[import-untyped]  # it brings no types

    asked: list[str] = []

    def ask(bucket: Any, permissions: list[str], **_: Any) -> list[str]:
        asked.append(bucket.name)
        return permissions

    monkeypatch.setattr(Bucket, "reload", lambda *_, **__: None)
    monkeypatch.setattr(Bucket, "test_iam_permissions", ask)
    accepted = {"accept_recoverable": True}
    assert lab.build(identity="anonymous", key=None, **accepted).check() == []
    assert asked == []
    assert lab.build(**accepted).check() == []
    assert asked == [lab.bucket]
