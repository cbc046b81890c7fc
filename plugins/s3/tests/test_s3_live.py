"""The suite in a bucket that the environment names: what it asks for, writes and leaves behind."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from nexus_contracts import run
from nexus_contracts._verdict import Status

from nexus_core.spi import ConfigurationError

ASKED = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "NEXUS_LIVE_S3_BUCKET",
    "NEXUS_LIVE_S3_ENDPOINT",
    "NEXUS_LIVE_S3_REALITY",
    "NEXUS_LIVE_S3_REGION",
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The harness's module by its path, since test folders are no packages; nothing is set."""
    for name in (*ASKED, "AWS_SESSION_TOKEN", "NEXUS_LIVE_S3_TRANSPORT"):
        monkeypatch.delenv(name, raising=False)
    path = Path(__file__).with_name("live_s3.py")
    spec = importlib.util.spec_from_file_location("nexus_s3_live", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engine(engine_server: Any, s3_module: Any, module: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An engine with a bucket that holds one object, named by the environment."""
    values = {
        "AWS_ACCESS_KEY_ID": s3_module.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": s3_module.SECRET_KEY,
        "NEXUS_LIVE_S3_BUCKET": "yours",
        "NEXUS_LIVE_S3_ENDPOINT": engine_server.address,
        "NEXUS_LIVE_S3_REALITY": "emulator",
        "NEXUS_LIVE_S3_REGION": s3_module.REGION,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    engine_server.engine.buckets["yours"] = {}
    return engine_server.engine


def test_s3_live_names_every_variable_that_is_missing(module: Any) -> None:
    """Asked for and not told where, it fails, and says all that the environment must say."""
    with pytest.raises(ConfigurationError) as caught, module.live():
        pass
    assert {problem.path for problem in caught.value.problems} == ASKED


def test_s3_live_goes_by_either_transport(
    module: Any, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment may name the transport; one that is not known is refused by its variable."""
    with module.live() as place:
        assert place.config("x").transport == "sdk"
    monkeypatch.setenv("NEXUS_LIVE_S3_TRANSPORT", "obstore")
    with module.live() as place:
        assert place.config("x").transport == "obstore"
        report = run(place.harness(), only={"RAW-002", "RAW-003"})
    assert len(report.of_status(Status.PASSED)) == 2
    monkeypatch.setenv("NEXUS_LIVE_S3_TRANSPORT", "carrier pigeon")
    with pytest.raises(ConfigurationError) as caught, module.live():
        pass
    assert [problem.path for problem in caught.value.problems] == ["NEXUS_LIVE_S3_TRANSPORT"]


def test_s3_live_makes_no_bucket(module: Any, engine: Any, s3_module: Any) -> None:
    """A bucket that is not there is an error that names the variable, and stays away."""
    del engine.buckets["yours"]
    with pytest.raises(ConfigurationError) as caught, module.live():
        pass
    assert [problem.path for problem in caught.value.problems] == ["NEXUS_LIVE_S3_BUCKET"]
    assert s3_module.SECRET_KEY not in str(caught.value)
    assert engine.buckets == {}


def test_s3_live_leaves_a_bucket_as_it_was(module: Any, engine: Any) -> None:
    """All that a run writes is below one prefix of its own, and gone when it ends."""
    with module.live() as place:
        place.client.put_object(Bucket="yours", Key="mine", Body=b"before")
        before = dict(engine.buckets["yours"])
        only = {"RAW-002", *(f"CFG-{number}" for number in (101, 102, 103, 110, 111, 112, 113))}
        only |= {"SEC-101", "SEC-110"}
        report = run(place.harness(), only=only)
        passed = {line.id for line in report.of_status(Status.PASSED)}
        assert passed == only - {"CFG-111"}, report.of_status(Status.FAILED)
        assert report.backend.reality == "emulator"
        written = set(engine.buckets["yours"]) - {"mine"}
        assert {name.startswith(place.root) for name in written} == {True}
    assert engine.buckets == {"yours": before}
