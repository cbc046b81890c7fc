"""The fresh configuration against the plugins that are released with the core."""

from __future__ import annotations

from pathlib import Path

from nexus_core._config import fresh_config, fresh_root_key, load
from nexus_core._plugins import Registry


def test_the_fresh_configuration_fits_the_plugins_it_names(tmp_path: Path) -> None:
    """It loads as it is, and its index has the dimension and metric that its embedder makes."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "root.key").write_text(fresh_root_key())
    (tmp_path / "nexus.toml").write_text(fresh_config())
    config = load(tmp_path / "nexus.toml", registry=Registry.discover(), environ={})
    assert config.notes == ()
    (index,) = config.indexes
    (use,) = config.embedders.values()
    embedder = use.spec.factory(use.settings)
    assert index.embedder == f"{use.spec.name}@{embedder.version}"
    assert (index.dimension, index.metric) == (embedder.dimension, embedder.metric)


def test_every_released_plugin_is_sound() -> None:
    """Nothing is wrong with any plugin that the fresh configuration can name."""
    registry = Registry.discover()
    for name in ("filesystem", "sql", "embedded", "atomizers", "embedders"):
        assert registry.check(name) == []
