"""Stores: the backend behind each, its settings, and the secrets those refer to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from pydantic import BaseModel

from nexus_core._config.config import StoreConfig
from nexus_core._config.document import Place, path_of
from nexus_core._config.draft import Draft, validated
from nexus_core._config.model import StoreTable
from nexus_core._config.resolve import RouteUse
from nexus_core._config.secrets import SecretRef
from nexus_core._model.errors import PluginNotFoundError, Problem, SecretUnavailableError
from nexus_core._plugins import Plugin, Registry
from nexus_core._plugins.faults import did_you_mean
from nexus_core._plugins.specs import STORE_KEYS
from nexus_core._spi.capabilities import Durability, StoreRole
from nexus_core._spi.spec import BackendConfig, BackendSpec


@attrs.frozen
class Surroundings:
    """What a configuration is checked against: plugins, a folder and an environment."""

    registry: Registry
    base: Path
    environ: Mapping[str, str] = attrs.field(repr=False)

    def plugin(self, name: str, at: Place, problems: list[Problem]) -> Plugin | None:
        """Load the plugin that the value at a place names, or say what is wrong with it."""
        names = self.registry.names()
        if name not in names:
            problems.append(
                Problem(
                    path=path_of(at),
                    what="names no installed plugin",
                    fix=did_you_mean(name, names) or f"installed: {', '.join(names) or 'none'}",
                    code=PluginNotFoundError.code,
                )
            )
            return None
        found = self.registry.check(name)
        problems += [attrs.evolve(each, path=path_of(at)) for each in found]
        return None if found else self.registry.plugin(name)

    def settings(
        self,
        model: type[BackendConfig],
        data: Mapping[str, Any],
        at: Place,
        beside: Collection[str],
        problems: list[Problem],
    ) -> BackendConfig | None:
        """Validate a plugin's settings and resolve each secret once; say all that is wrong."""
        found = validated(model, data, at, problems, beside=beside)
        if found is not None:
            for place, reference in references(found, at):
                self.secret(reference, place, problems)
        return found

    def secret(self, reference: SecretRef, at: Place, problems: list[Problem]) -> bytes | None:
        """Resolve a reference now; say why it cannot be, without showing where it leads."""
        try:
            return reference.resolve(self.base, self.environ).reveal()
        except SecretUnavailableError as error:
            problems.append(
                Problem(
                    path=path_of(at),
                    what=f"refers to a secret that is not there: {error.reason}",
                    fix="set the variable or write the file that it names, or name another",
                    code="config.secret",
                )
            )
            return None


def references(value: Any, at: Place) -> Iterator[tuple[Place, SecretRef]]:
    """Every reference inside validated settings, with its place."""
    if isinstance(value, SecretRef):
        yield at, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from references(getattr(value, name), (*at, field.alias or name))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from references(each, (*at, str(key)))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for position, each in enumerate(value):
            yield from references(each, (*at, position))


def build_stores(
    draft: Draft, uses: Sequence[RouteUse], around: Surroundings
) -> tuple[dict[str, StoreConfig], list[Problem]]:
    """Check every store in every role that a route gives it; return those that are sound."""
    stores: dict[str, StoreConfig] = {}
    problems: list[Problem] = []
    for name, table in draft.stores.items():
        if table is None:
            continue
        at: Place = ("stores", name)
        plugin = around.plugin(table.backend, (*at, "backend"), problems)
        if plugin is None:
            continue
        if not plugin.backends:
            problems.append(
                Problem(
                    path=path_of((*at, "backend")),
                    what="names a plugin that has no backend",
                    fix="name one that has; `nexus plugins list` shows them",
                    code="config.role",
                )
            )
            continue
        own = [use for use in uses if use.store == name]
        specs = _specs(plugin, own, problems)
        problems += _forgetful(draft, at, specs)
        if own:
            settings = _settings(specs, table, at, around, problems)
        else:
            settings = {}
            problems += _unused(plugin, table, at, around)
        stores[name] = StoreConfig(
            name=name,
            backend=table.backend,
            specs=MappingProxyType(specs),
            settings=MappingProxyType(settings),
        )
    return stores, problems


def _specs(
    plugin: Plugin, uses: Sequence[RouteUse], problems: list[Problem]
) -> dict[StoreRole, BackendSpec]:
    specs: dict[StoreRole, BackendSpec] = {}
    for use in uses:
        spec = plugin.backends.get(use.role)
        if spec is not None:
            specs[use.role] = spec
            continue
        able = ", ".join(role.value for role in plugin.backends) or "none"
        problems.append(
            Problem(
                path=path_of(use.place),
                what="names a store whose backend does not do this role",
                fix=f"its backend does: {able}",
                code="config.role",
            )
        )
    return specs


def _forgetful(
    draft: Draft, at: Place, specs: Mapping[StoreRole, BackendSpec]
) -> Iterator[Problem]:
    if draft.profile == "production" and any(
        spec.durability is Durability.EPHEMERAL for spec in specs.values()
    ):
        yield Problem(
            path=path_of((*at, "backend")),
            what="names a backend that forgets everything when the process ends",
            fix='use a durable one, or profile = "development"',
            code="config.profile",
        )


def _settings(
    specs: Mapping[StoreRole, BackendSpec],
    table: StoreTable,
    at: Place,
    around: Surroundings,
    problems: list[Problem],
) -> dict[StoreRole, BackendConfig]:
    made: dict[type[BackendConfig], BackendConfig | None] = {}
    for spec in specs.values():
        if spec.config not in made:
            made[spec.config] = around.settings(
                spec.config, table.settings, at, STORE_KEYS, problems
            )
    found = {role: made[spec.config] for role, spec in specs.items()}
    return {role: settings for role, settings in found.items() if settings is not None}


def _unused(plugin: Plugin, table: StoreTable, at: Place, around: Surroundings) -> list[Problem]:
    """What is wrong with the settings of a store that no route uses: they must fit one role."""
    attempts: list[list[Problem]] = []
    for spec in plugin.backends.values():
        attempt: list[Problem] = []
        around.settings(spec.config, table.settings, at, STORE_KEYS, attempt)
        attempts.append(attempt)
    return min(attempts, key=len, default=[])
