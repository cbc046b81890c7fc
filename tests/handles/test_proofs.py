"""What is proved of an endpoint decides what the core lets through, and goes stale with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import plugin

from nexus_core import ConfigurationError, Nexus, UnsupportedError
from nexus_core._cli.provision import provision
from nexus_core._config import Config, load
from nexus_core._doctor import examine, prove_stores
from nexus_core._plugins import Registry
from nexus_core.spi import (
    BackendConfig,
    BackendSpec,
    Runtime,
    UnavailableError,
    hookimpl,
)

from .conftest import CONFIG, ROOT_KEY, context, tools


class Settings(BackendConfig):
    """An endpoint by name."""

    endpoint: str


class Bucket:
    """A memory raw store behind an endpoint that honours what the test says."""

    def __init__(self) -> None:
        self.honours: Any = {"conditional_create": True, "conditional_replace": False}
        self.asked = 0
        self.seen: list[Mapping[str, object]] = []

    def prove(self, config: Settings, runtime: Runtime) -> Any:
        self.asked += 1
        if isinstance(self.honours, Exception):
            raise self.honours
        return self.honours

    def spec(self) -> BackendSpec:
        memory = plugin.nexus_raw_store()

        def factory(config: Settings, runtime: Runtime) -> Any:
            self.seen.append(runtime.proofs)
            return memory.factory(memory.config(), runtime)

        return attrs.evolve(
            memory,
            name="bucket",
            config=Settings,
            factory=factory,
            prove=self.prove,
            proves=frozenset({"conditional_create", "conditional_replace"}),
        )

    def module(self) -> ModuleType:
        module = ModuleType("bucket_for_test")
        offered = self.spec()

        @hookimpl
        def nexus_raw_store() -> BackendSpec:
            return offered

        module.__dict__.update(nexus_raw_store=nexus_raw_store)
        return module


@attrs.frozen
class Site:
    """A configuration over a bucket, in a folder."""

    folder: Path
    bucket: Bucket
    registry: Registry

    def write(self, state: str = 'state = "kept"', endpoint: str = "here") -> None:
        text = CONFIG.replace("[keys]", f"{state}\n[keys]", 1)
        text = text.replace('raw = "memory"', 'raw = "bucket"')
        text += f'[stores.bucket]\nbackend = "bucket"\nendpoint = "{endpoint}"\n'
        (self.folder / "nexus.toml").write_text(text)

    def load(self) -> Config:
        path = self.folder / "nexus.toml"
        return load(path, registry=self.registry, environ={"ROOT_KEY": ROOT_KEY})

    @property
    def file(self) -> Path:
        return self.folder / "kept" / "proofs" / "bucket.raw.json"

    def put(self, *, replace: bool = False, etag: str | None = None) -> None:
        with Nexus.from_config(self.load()) as nexus, nexus.request(context()) as n:
            stored = n.raw.put("k", b"1", kind="data", space="s")
            if replace:
                n.raw.put("k", b"2", kind="data", space="s", if_match=etag or stored.etag)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose bucket nothing has been proved of."""
    bucket = Bucket()
    registry = Registry.of({"memory": plugin, "tools": tools(), "bucket": bucket.module()})
    made = Site(tmp_path, bucket, registry)
    made.write()
    return made


def test_what_is_not_proved_is_refused_with_the_way_to_prove_it(site: Site) -> None:
    """A flag that needs a proof is off until there is one, and the refusal names the doctor."""
    with pytest.raises(UnsupportedError) as caught:
        site.put()
    assert caught.value.hint is not None
    assert "nexus doctor" in caught.value.hint
    assert site.bucket.seen[-1] == {}


def test_init_proves_what_is_missing_once(site: Site) -> None:
    """Provisioning proves a store of which nothing is known, and leaves a current proof alone."""
    assert [line.partition(":")[0] for line in provision(site.load())] == ["stores.bucket"]
    assert provision(site.load()) == []
    assert site.bucket.asked == 1
    site.put()
    assert site.bucket.seen[-1] == site.bucket.honours
    with pytest.raises(TypeError):
        site.bucket.seen[-1]["conditional_replace"] = True  # type: ignore[index]


@pytest.mark.parametrize("etag", [None, "stale"])
def test_what_the_endpoint_does_not_honour_stays_refused(site: Site, etag: str | None) -> None:
    """A flag that the probe disproved is refused before any look-up, whatever is declared."""
    provision(site.load())
    with pytest.raises(UnsupportedError, match="conditional_replace"):
        site.put(replace=True, etag=etag)


def test_a_proof_is_stale_once_the_settings_change(site: Site) -> None:
    """A proof made of one endpoint says nothing of another."""
    provision(site.load())
    site.write(endpoint="elsewhere")
    with pytest.raises(UnsupportedError):
        site.put()
    site.write()
    site.put()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"{",
        lambda data: b"[]",
        lambda data: json.dumps({**data, "format": "nexus-proofs/2"}).encode(),
        lambda data: json.dumps({**data, "proofs": {"conditional_create": None}}).encode(),
        lambda data: json.dumps({**data, "proofs": {"Conditional": True}}).encode(),
    ],
    ids=["torn", "another shape", "another format", "another value", "another name"],
)
def test_a_spoilt_file_proves_nothing(site: Site, spoil: Callable[[Any], bytes]) -> None:
    """A file that is not exactly what was written is as good as none."""
    provision(site.load())
    site.file.write_bytes(spoil(json.loads(site.file.read_bytes())))
    with pytest.raises(UnsupportedError):
        site.put()


def test_the_file_is_the_documented_one(site: Site) -> None:
    """The file holds what the page of formats lists, and nothing else."""
    provision(site.load())
    data = json.loads(site.file.read_bytes())
    assert data.pop("proved_at") > 0
    assert len(data.pop("fingerprint")) == 64
    assert data == {
        "format": "nexus-proofs/1",
        "store": "bucket",
        "role": "raw",
        "backend": "bucket",
        "proofs": site.bucket.honours,
    }
    assert [path.name for path in site.file.parent.iterdir()] == ["bucket.raw.json"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (UnavailableError("nobody answers"), "nobody answers"),
        (RuntimeError("secret"), "failed with RuntimeError"),
        ({"conditional_create": 1.5}, "did not return names"),
        (7, "did not return names"),
    ],
)
def test_a_probe_that_fails_leaves_no_old_proof(site: Site, answer: Any, said: str) -> None:
    """When a probe fails, the doctor says why and what was known before holds no longer."""
    provision(site.load())
    site.bucket.honours = answer
    (check,) = prove_stores(site.load())
    assert said in check.problems[0].what
    assert check.problems[0].path == "stores.bucket"
    assert not site.file.exists()


def test_a_place_that_cannot_be_written_is_a_problem(site: Site) -> None:
    """Where the state folder cannot be made the doctor names the setting."""
    (site.folder / "kept").write_text("a file")
    (check,) = prove_stores(site.load())
    assert "`state`" in check.problems[0].fix


def test_a_store_to_be_proved_needs_a_place_to_keep_it(site: Site) -> None:
    """Without a state folder the configuration is refused, and the problem names the key."""
    site.write(state="")
    with pytest.raises(ConfigurationError) as caught:
        site.load()
    assert [problem.path for problem in caught.value.problems] == ["state"]


def test_reading_alone_says_what_is_not_proved(site: Site) -> None:
    """The doctor's reading part notes flags that are off for want of a proof, and proves none."""
    path = site.folder / "nexus.toml"
    with examine(path, registry=site.registry, environ={"ROOT_KEY": ROOT_KEY}) as found:
        (check,) = (check for check in found.checks if check.area == "stores.bucket")
        assert found.ok
    assert "conditional_create, conditional_replace" in check.notes[0]
    assert site.bucket.asked == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prove": None}, "has no prove"),
        ({"proves": frozenset({"presign_gets"})}, "frozenset of flags"),
        ({"proves": frozenset({"max_key_bytes"})}, "frozenset of flags"),
        ({"proves": ["conditional_create"]}, "frozenset of flags"),
        ({"prove": lambda: None}, "does not take 2 arguments"),
    ],
)
def test_a_spec_can_only_prove_what_it_declares(change: dict[str, Any], said: str) -> None:
    """A spec that names flags it does not declare, or no way to prove them, is refused."""
    bucket = Bucket()
    spec = attrs.evolve(bucket.spec(), **change)
    bucket.spec = lambda: spec  # type: ignore[method-assign]
    found = Registry.of({"bucket": bucket.module()}).check("bucket")
    assert any(said in problem.what for problem in found), found
