"""What may be shown and hashed of a configuration: as a whole, and for one scope alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
from pydantic import BaseModel

from nexus_core._config.draft import Draft
from nexus_core._config.resolve import ScopeRoutes
from nexus_core._model.scope import ENVIRONMENTS
from nexus_core._plugins.settings import names_a_secret
from nexus_core._spi.capabilities import StoreRole

_MASK: Final = "…"

# Sections that act on every scope alike, and so belong to each one's view.
_SHARED: Final = (
    "version",
    "profile",
    "kinds",
    "indexes",
    "embedders",
    "atomizers",
    "ingest",
    "extensions",
    "exporters",
    "limits",
)


def document_of(draft: Draft) -> dict[str, Any]:
    """The whole configuration as plain JSON data in one spelling, with defaults filled in."""
    data = {name: _plain(each) for name, each in attrs.asdict(draft, recurse=False).items()}
    data["environments"] = [env for env in ENVIRONMENTS if env in data["environments"]]
    data["kinds"] = sorted(data["kinds"])
    return data


def scope_view(document: Mapping[str, Any], routes: ScopeRoutes) -> dict[str, Any]:
    """The part of a document that acts on the scope with these routes."""
    stores = {
        role.value: {"store": name, **document["stores"][name]}
        for role in StoreRole
        if (name := routes.store(role)) is not None
    }
    view = masked({**{name: document[name] for name in _SHARED}, "stores": stores})
    assert isinstance(view, dict)
    return view


def masked(value: Any) -> Any:
    """A deep copy without anything that a secret's name stands for; references stay."""
    if isinstance(value, Mapping):
        return {
            key: _MASK if isinstance(each, str) and names_a_secret(key) else masked(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [masked(each) for each in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        if value and all(isinstance(key, int) for key in value):
            return [_plain(each) for _, each in sorted(value.items())]
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
