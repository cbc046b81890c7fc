"""A sound configuration: read once, in full, frozen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from nexus_core._config import ScopeRoutes, fresh_config, fresh_root_key, load
from nexus_core._model.errors import ConfigurationError
from nexus_core._model.scope import Scope
from nexus_core._plugins import Registry
from nexus_core._spi.capabilities import StoreRole

MINIMAL = """
version = 1
profile = "development"
keys.root = { env = "ROOT" }
stores.a = { backend = "sql", url = "sqlite:///a" }
routes = [ { audit = "a" } ]
"""
ROOT_KEY = "8f1d0c6b7a5e49382716fedcba09e8d7c6b5a4938271605f4e3d2c1b0a998877"
KEY = "00112233445566778899aabbccddeeff" * 2


def test_everything_in_the_file_is_in_the_configuration(site: Any, full: Any) -> None:
    """Each section of a configuration that uses all of them arrives where it is asked for."""
    config = site.good(full)
    assert config.profile == "production"
    assert config.environments == ("staging", "prod")
    assert config.kinds == ("data", "chat")
    assert (
        config.root_key.reveal().hex() == "8f1d0c6b7a5e4938" + config.root_key.reveal().hex()[16:]
    )
    assert len(config.root_key.reveal()) == 32
    assert config.base == site.folder
    assert config.path == site.file
    files = config.stores["files"]
    assert (files.name, files.backend, set(files.specs)) == ("files", "filesystem", {"raw"})
    settings: Any = files.settings[StoreRole.RAW]
    assert (settings.root, settings.mode) == ("data/raw", "fast")
    assert (settings.retry.attempts, settings.retry.pauses) == (5, (0.5, 1.0))
    assert settings.password.env == "SHARE_PASSWORD"
    records = config.stores["records"]
    assert records.settings[StoreRole.ATOMS] is records.settings[StoreRole.AUDIT]
    assert [(d.name, d.version, d.dimension) for d in config.indexes] == [
        ("main", 1, 256),
        ("own", 2, 8),
    ]
    assert config.indexes[0].fields == {"page": "int", "tags": "str[]"}
    assert set(config.embedders) == {"words", "model"}
    assert config.embedders["words"].settings is None
    model: Any = config.embedders["model"].settings
    assert model.path == "models/small"
    assert config.external_embedders == {"house@3"}
    assert set(config.atomizers) == {"text/plain", "text/csv"}
    assert config.atomizers["text/csv"].parameters == {
        "max_chars": 500,
        "delimiter": ",",
        "header": True,
        "ratio": 0.5,
    }
    assert config.ingest_index == ("main", 1)
    assert [extension.name for extension in config.extensions] == ["policy"]
    assert config.limits.max_object_bytes == 1_000_000
    assert config.recovery_after_seconds == 30
    assert config.route(Scope("acme", "prod")) == ScopeRoutes(
        raw="files", atoms="other", vectors="vectors", audit="records"
    )


def test_the_least_that_works_has_documented_defaults(site: Any) -> None:
    """What may be left out has one default, and none of them names a place."""
    config = site.good(MINIMAL, ROOT=KEY)
    assert config.environments == ("dev", "staging", "prod")
    assert config.kinds == ("data", "research", "style", "content", "chat", "plan")
    assert (config.indexes, config.embedders, config.atomizers) == ((), {}, {})
    assert (config.extensions, config.ingest_index) == ((), None)
    assert config.external_embedders == frozenset()
    assert config.limits.max_object_bytes == 5 * 1024**3
    assert config.recovery_after_seconds == 60
    assert config.notes == ()


def test_a_configuration_is_frozen(site: Any, full: Any) -> None:
    """Neither the configuration nor what hangs on it can be changed."""
    config = site.good(full)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.profile = "development"
    for mapping in (
        config.stores,
        config.embedders,
        config.atomizers,
        config.stores["files"].specs,
    ):
        with pytest.raises(TypeError):
            mapping["x"] = 1
    with pytest.raises(ValueError, match="frozen"):
        config.stores["files"].settings[StoreRole.RAW].root = "x"


def test_only_named_plugins_are_imported(site: Any) -> None:
    """A broken plugin that the file does not name changes nothing."""
    assert "broken" in site.registry.names()
    site.good(MINIMAL, ROOT=KEY)
    assert "nexus_made_broken" not in sys.modules


def test_an_unused_store_is_a_note(site: Any, changed: Callable[..., Any]) -> None:
    """A store, embedder or index that nothing uses is remarked on and stops nothing."""
    config = site.good(changed("stores.spare", {"backend": "embedded", "root": "x"}))
    assert config.stores["spare"].specs == {}
    assert config.stores["spare"].settings == {}
    assert config.notes == (
        "stores.spare: no route uses it",
        "embedders.model: no index of this file names it",
    )


def test_an_unused_store_is_still_checked(site: Any, changed: Callable[..., Any]) -> None:
    """The settings of a store without a route must fit one of its backend's roles."""
    site.good(changed("stores.spare", {"backend": "split", "log": "x"}))
    problems = site.bad(changed("stores.spare", {"backend": "split", "lgo": "x"}))
    assert set(problems) == {"stores.spare.table", "stores.spare.lgo"} or set(problems) == {
        "stores.spare.log",
        "stores.spare.lgo",
    }


def test_indexes_without_a_vector_store_are_a_note(site: Any, changed: Callable[..., Any]) -> None:
    """Definitions that no scope can hold are remarked on."""
    changed("routes.0.vectors")
    config = site.good(changed("stores.vectors"))
    assert "indexes: no route names a store for vectors, so they are not made" in config.notes


def test_the_fresh_configuration_loads(site: Any) -> None:
    """What `nexus init` writes is sound as it is, and a fresh key is a good one."""
    (site.folder / "secrets" / "root.key").write_text(fresh_root_key())
    config = site.good(fresh_config())
    assert [(d.name, d.version, d.embedder) for d in config.indexes] == [("main", 1, "lexical@1")]
    assert {role: config.route(Scope("t1", "prod")).store(role) for role in StoreRole} == {
        StoreRole.RAW: "files",
        StoreRole.ATOMS: "records",
        StoreRole.VECTORS: "vectors",
        StoreRole.AUDIT: "records",
    }
    assert config.notes == ()
    assert fresh_root_key() != fresh_root_key()


def test_paths_are_relative_to_the_file_wherever_it_is_read_from(
    site: Any, full: Any, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    """The file may be named relative to the working folder; its base is absolute all the same."""
    site.good(full)
    monkeypatch.chdir(site.folder.parent)
    name = Path(site.folder.name) / "nexus.toml"
    config = load(name, registry=registry, environ=site.environ)
    assert config.base == site.folder


def test_loading_raises_all_problems_in_one_error(site: Any, full: Any) -> None:
    """``load`` raises what ``inspect`` returns, chained to nothing."""
    full["profil"] = full.pop("profile")
    full["stores"]["files"]["rot"] = "x"
    _, problems = site.inspect(full)
    with pytest.raises(ConfigurationError) as caught:
        load(site.file, registry=site.registry, environ=site.environ)
    assert list(caught.value.problems) == problems
    assert {each.path for each in problems} == {"profil", "profile", "stores.files.rot"}
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("first", ["nexus_core._plugins", "nexus_core._config", "nexus_core.spi"])
def test_the_packages_can_be_imported_in_any_order(first: str) -> None:
    """Configuration, registry and the authors' face do not depend on which comes first."""
    code = f"import {first}; from nexus_core._config import *; import nexus_core._plugins"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)
