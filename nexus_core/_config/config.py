"""A configuration that has been checked in full: frozen, and without a secret in its text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from nexus_core._config.resolve import Router, ScopeRoutes
from nexus_core._config.secrets import Secret
from nexus_core._config.views import masked, scope_view
from nexus_core._model.canonical import canonical_json
from nexus_core._model.scope import Env, Scope
from nexus_core._model.vectors import IndexDefinition
from nexus_core._plugins import Extension
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import AtomizerSpec, BackendConfig, BackendSpec, EmbedderSpec


@attrs.frozen(kw_only=True, eq=False)
class StoreConfig:
    """One store: its backend's spec and validated settings for each role that routes give it.

    Roles whose settings model is the same share one settings object. A store that no route names
    has neither.
    """

    name: str
    backend: str
    specs: Mapping[StoreRole, BackendSpec] = attrs.field(repr=False)
    settings: Mapping[StoreRole, BackendConfig] = attrs.field(repr=False)


@attrs.frozen(kw_only=True, eq=False)
class EmbedderUse:
    """One embedder of a plugin with validated settings, ``None`` where it takes none."""

    name: str
    plugin: str
    spec: EmbedderSpec = attrs.field(repr=False)
    settings: BackendConfig | None = attrs.field(repr=False)


@attrs.frozen(kw_only=True, eq=False)
class ExporterUse:
    """One destination of dataset events: a file or an endpoint, never both."""

    name: str
    format: Literal["jsonl", "openlineage"]
    path: Path | None
    url: str | None = attrs.field(repr=False)
    token: Secret | None = attrs.field(repr=False)
    namespace: str


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of the core."""

    max_object_bytes: int


@attrs.frozen(kw_only=True, eq=False)
class Config:
    """Everything a deployment was told, validated as a whole.

    ``base`` is the folder that relative paths are relative to; ``state`` the one where what was
    proved of stores is kept, ``None`` where none of them needs it. ``root_key`` holds 32 bytes.
    ``atomizers`` maps media types to specs whose parameters are the configured ones.
    ``external_embedders`` are ``name@version`` of those whose vectors the application makes.
    ``notes`` are remarks that stop nothing. ``hash`` is the SHA-256 (64 hex digits) of the whole
    configuration, defaults filled in, secrets as references.
    """

    path: Path
    base: Path
    state: Path | None
    profile: Literal["development", "production"]
    environments: tuple[Env, ...]
    kinds: tuple[str, ...]
    root_key: Secret
    stores: Mapping[str, StoreConfig]
    router: Router = attrs.field(repr=False)
    indexes: tuple[IndexDefinition, ...]
    embedders: Mapping[str, EmbedderUse]
    external_embedders: frozenset[str]
    atomizers: Mapping[str, AtomizerSpec] = attrs.field(repr=False)
    ingest_index: tuple[str, int] | None
    extensions: tuple[Extension, ...] = attrs.field(repr=False)
    exporters: Mapping[str, ExporterUse]
    limits: Limits
    recovery_after_seconds: int
    notes: tuple[str, ...]
    document: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the whole configuration, 64 hex digits."""
        return _hash(self.redacted())

    def route(self, scope: Scope) -> ScopeRoutes:
        """The stores that serve a scope, for each role the most specific; ``None`` is none.

        A scope in an environment that is not served has none at all.
        """
        return self.router.route(scope)

    def view(self, scope: Scope) -> dict[str, Any]:
        """The part of the configuration that acts on one scope, as plain data.

        Nothing in it depends on what is configured for another tenant or environment.
        """
        return scope_view(self.document, self.route(scope))

    def view_hash(self, scope: Scope) -> str:
        """SHA-256 of the scope's view, 64 hex digits."""
        return _hash(self.view(scope))

    def redacted(self) -> dict[str, Any]:
        """The whole configuration as plain data, defaults filled in, secrets as references."""
        shown = masked(self.document)
        assert isinstance(shown, dict)
        return shown


def _hash(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(data)).hexdigest()
