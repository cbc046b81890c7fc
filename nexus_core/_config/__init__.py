"""Configuration: one TOML file in, every problem out, nothing defaulted that names a place.

Names are resolved at first use: plugin authors' imports reach ``secrets`` through this package, and
the registry, which the rest of it needs, reaches ``secrets`` too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nexus_core._config.config import Config, EmbedderUse, ExporterUse, Limits, StoreConfig
    from nexus_core._config.loader import inspect, load
    from nexus_core._config.resolve import ScopeRoutes
    from nexus_core._config.schema import json_schema
    from nexus_core._config.secrets import Secret, SecretRef
    from nexus_core._config.template import fresh_config, fresh_root_key

__all__ = [
    "Config",
    "EmbedderUse",
    "ExporterUse",
    "Limits",
    "ScopeRoutes",
    "Secret",
    "SecretRef",
    "StoreConfig",
    "fresh_config",
    "fresh_root_key",
    "inspect",
    "json_schema",
    "load",
]

_HOMES: Final = {
    "Config": "config",
    "EmbedderUse": "config",
    "ExporterUse": "config",
    "Limits": "config",
    "ScopeRoutes": "resolve",
    "Secret": "secrets",
    "SecretRef": "secrets",
    "StoreConfig": "config",
    "fresh_config": "template",
    "fresh_root_key": "template",
    "inspect": "loader",
    "json_schema": "schema",
    "load": "loader",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
