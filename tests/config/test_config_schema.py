"""The JSON schema: every key described, and each installed plugin's settings in it."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from nexus_core._config import fresh_config, json_schema, model
from nexus_core._config.model import File
from nexus_core._plugins import Registry

TABLES = [
    each
    for each in vars(model).values()
    if isinstance(each, type) and issubclass(each, model.Table | model.OpenTable)
]


def resolve(schema: Any, node: Any) -> Any:
    """Follow a reference."""
    while "$ref" in node or "allOf" in node:
        if "allOf" in node:  # how older pydantic writes a reference with a default beside it
            (node,) = node["allOf"]
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node


def accepts(schema: Any, node: Any, value: Any) -> bool:
    """A small validator for the keywords that the schema uses; unknown ones do not matter here."""
    node = resolve(schema, node)
    if "anyOf" in node:
        return any(accepts(schema, each, value) for each in node["anyOf"])
    if "const" in node:
        return bool(value == node["const"])
    if "enum" in node and value not in node["enum"]:
        return False
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "number": int | float,
    }
    if "type" in node and not (node["type"] in kinds and isinstance(value, kinds[node["type"]])):
        return False
    if isinstance(value, list) and "items" in node:
        return all(accepts(schema, node["items"], each) for each in value)
    if isinstance(value, dict):
        properties = node.get("properties", {})
        (rest,) = node.get(
            "patternProperties", {"": node.get("additionalProperties", True)}
        ).values()
        if not set(node.get("required", ())) <= value.keys():
            return False
        for key, each in value.items():
            if key in properties:
                if not accepts(schema, properties[key], each):
                    return False
            elif rest is False or (isinstance(rest, dict) and not accepts(schema, rest, each)):
                return False
    return True


def test_every_key_is_described(registry: Any) -> None:
    """Each property of the core's own tables says in words what it is."""
    schema = json_schema(registry)
    assert set(schema["properties"]) == set(File.model_fields)
    assert schema["required"] == ["version", "profile", "keys", "stores", "routes"]
    tables = [schema, *(d for name, d in schema["$defs"].items() if name.endswith("Table"))]
    assert len(tables) > 8
    own = {name for each in TABLES for name in each.model_fields}
    seen = set()
    for table in tables:
        for variant in (table, *table.get("anyOf", ())):
            for name in own & variant.get("properties", {}).keys():
                node = variant["properties"][name]
                assert node.get("description") or resolve(schema, node).get("description"), name
                seen.add(name)
    assert seen == own


def test_settings_of_installed_plugins_are_in_it(registry: Any) -> None:
    """A store, embedder or atomizer is described with its own settings, closed."""
    schema = json_schema(registry)
    stores = {each["title"]: each for each in schema["$defs"]["StoreTable"]["anyOf"]}
    assert stores["filesystem"]["properties"]["backend"]["const"] == "filesystem"
    assert stores["filesystem"]["required"] == ["backend", "root"]
    assert stores["filesystem"]["additionalProperties"] is False
    retry = resolve(schema, stores["filesystem"]["properties"]["retry"])
    assert retry["properties"]["attempts"]["description"] == "How often a call is made."
    embedders = {each["title"] for each in schema["$defs"]["EmbedderTable"]["anyOf"]}
    assert embedders == {"external", "lexical@1", "lexical@2", "model@1"}
    (atomizers,) = schema["$defs"]["AtomizerTable"]["anyOf"]
    assert atomizers["properties"]["max_chars"] == {"type": "integer", "default": 2000}


def test_a_broken_plugin_is_left_out_and_named(registry: Any) -> None:
    """One plugin that cannot be used does not keep the others from being described."""
    assert "broken" in json_schema(registry)["$comment"]


def test_the_schema_accepts_what_the_loader_accepts(registry: Any, full: Any) -> None:
    """The full and the fresh configuration fit the schema; misspelt ones do not."""
    schema = json.loads(json.dumps(json_schema(registry)))
    assert accepts(schema, schema, full)
    assert accepts(schema, schema, tomllib.loads(fresh_config()))
    for section, key in (("stores", "files"), ("embedders", "model"), ("atomizers", "documents")):
        full[section][key]["misspelt"] = 1
        assert not accepts(schema, schema, full)
        del full[section][key]["misspelt"]
    del full["stores"]["files"]["root"]
    assert not accepts(schema, schema, full)


def test_without_plugins_the_schema_still_stands() -> None:
    """A core without a single plugin describes its own keys, and takes stores as they come."""
    schema = json_schema(Registry())
    document = tomllib.loads(fresh_config())
    assert not accepts(schema, schema, document)
    del document["embedders"]
    assert accepts(schema, schema, document)
