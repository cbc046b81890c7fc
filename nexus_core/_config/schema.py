"""The JSON schema of ``nexus.toml``, with the settings of the installed plugins in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nexus_core._config.model import File
from nexus_core._plugins import Plugin, Registry
from nexus_core._spi.spec import BackendConfig

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/$defs/"
_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}

Schema = dict[str, Any]


def json_schema(registry: Registry) -> Schema:
    """Describe the file as JSON schema, for editors and for `nexus config schema`.

    Loads every installed plugin, since their settings are a part of it. Those that cannot be used
    are left out and named in ``$comment``.
    """
    plugins = [registry.plugin(name) for name in registry.names() if not registry.check(name)]
    left_out = [name for name in registry.names() if registry.check(name)]
    models: dict[type[BaseModel], None] = {File: None}
    for plugin in plugins:
        models.update(dict.fromkeys(spec.config for spec in plugin.backends.values()))
        models.update(dict.fromkeys(spec.config for spec in plugin.embedders if spec.config))
    refs, shared = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REFERENCE + "{model}"
    )
    definitions: Schema = shared["$defs"]
    settings: dict[type[BaseModel], Schema] = {
        model: definitions[refs[model, "validation"]["$ref"].removeprefix(_REFERENCE)]
        for model in models
    }
    for table, variants in (
        ("StoreTable", _stores(plugins, settings)),
        ("EmbedderTable", _embedders(plugins, settings)),
        ("AtomizerTable", _atomizers(plugins)),
    ):
        _specialise(definitions[table], list(variants))
    schema = {"$schema": _DIALECT, **settings[File], "$defs": definitions}
    for model in models:
        definitions.pop(refs[model, "validation"]["$ref"].removeprefix(_REFERENCE), None)
    if left_out:
        schema["$comment"] = f"left out, see `nexus plugins check`: {', '.join(left_out)}"
    return schema


def _specialise(table: Schema, variants: Sequence[Schema]) -> None:
    """Close a table: its own keys, and those of exactly one of the variants."""
    own: Schema = table.pop("properties")
    required: list[str] = table.pop("required")
    del table["additionalProperties"]
    table["anyOf"] = [
        {
            "type": "object",
            "title": variant["title"],
            "description": variant["description"],
            "properties": own | variant["properties"] | _fixed(own, variant),
            "required": sorted({*required, *variant["required"]}),
            "additionalProperties": False,
        }
        for variant in variants
    ] or [{"type": "object", "properties": own, "required": required}]


def _fixed(own: Schema, variant: Schema) -> Schema:
    """The table's own keys that a variant pins down, still with their descriptions."""
    both = own.keys() & variant["properties"].keys()
    described = {key: own[key].get("description", "") for key in both}
    return {key: {**variant["properties"][key], "description": described[key]} for key in both}


def _stores(
    plugins: Sequence[Plugin], settings: Mapping[type[BaseModel], Schema]
) -> Iterator[Schema]:
    for plugin in plugins:
        summaries: dict[type[BackendConfig], list[str]] = {}
        for role, spec in plugin.backends.items():
            summaries.setdefault(spec.config, []).append(f"{role.value}: {spec.summary}")
        for model, lines in summaries.items():
            fixed = {"backend": {"const": plugin.offer.name}}
            yield _variant(plugin.offer.name, " ".join(lines), fixed, settings[model])


def _embedders(
    plugins: Sequence[Plugin], settings: Mapping[type[BaseModel], Schema]
) -> Iterator[Schema]:
    outside = {"external": {"const": True}}
    yield _variant("external", "An embedder of the application's own.", outside, {})
    for plugin in plugins:
        for spec in plugin.embedders:
            use = f"{spec.name}@{spec.version}"
            fixed = {"plugin": {"const": plugin.offer.name}, "use": {"const": use}}
            model = {} if spec.config is None else settings[spec.config]
            yield _variant(use, spec.summary, fixed, model)


def _atomizers(plugins: Sequence[Plugin]) -> Iterator[Schema]:
    for plugin in plugins:
        if not plugin.atomizers:
            continue
        choices = {"enum": [f"{spec.name}@{spec.version}" for spec in plugin.atomizers]}
        fixed: Mapping[str, Schema] = {
            "plugin": {"const": plugin.offer.name},
            "use": {"type": "array", "items": choices, "minItems": 1, "uniqueItems": True},
        }
        parameters = {
            name: {"type": _TYPES[type(value)], "default": value}
            for spec in plugin.atomizers
            for name, value in spec.parameters.items()
        }
        summaries = " ".join(f"{spec.name}: {spec.summary}" for spec in plugin.atomizers)
        yield _variant(plugin.offer.name, summaries, fixed, {"properties": parameters})


def _variant(
    title: str, description: str, fixed: Mapping[str, Schema], settings: Mapping[str, Any]
) -> Schema:
    return {
        "title": title,
        "description": description,
        "properties": {**settings.get("properties", {}), **fixed},
        "required": [*fixed, *settings.get("required", [])],
    }
