"""The file's sections, each read on its own, so that one bad line hides no other problem."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

import attrs
from pydantic import BaseModel, ValidationError, create_model

from nexus_core._config.document import Place, path_of
from nexus_core._config.model import (
    NAME,
    AtomizerTable,
    EmbedderTable,
    ExporterTable,
    ExtensionsTable,
    File,
    IndexTable,
    IngestTable,
    KeysTable,
    LimitsTable,
    Profile,
    RecoveryTable,
    RouteTable,
    StoreTable,
    Table,
)
from nexus_core._config.problems import explain
from nexus_core._model.errors import Problem
from nexus_core._model.scope import Env
from nexus_core._plugins.faults import did_you_mean

_M = TypeVar("_M", bound=BaseModel)

_NAMED: Final[Mapping[str, type[BaseModel]]] = {
    "stores": StoreTable,
    "embedders": EmbedderTable,
    "atomizers": AtomizerTable,
    "exporters": ExporterTable,
}
_LISTED: Final[Mapping[str, type[BaseModel]]] = {"routes": RouteTable, "indexes": IndexTable}


@attrs.frozen(kw_only=True)
class Draft:
    """What of the file has the right shape.

    ``None`` stands for a section or an item that has not. Items of lists go by position.
    """

    version: int | None
    profile: Profile | None
    environments: tuple[Env, ...] | None
    kinds: tuple[str, ...] | None
    state: str | None
    keys: KeysTable | None
    stores: Mapping[str, StoreTable | None]
    routes: Mapping[int, RouteTable | None]
    indexes: Mapping[int, IndexTable | None]
    embedders: Mapping[str, EmbedderTable | None]
    atomizers: Mapping[str, AtomizerTable | None]
    ingest: IngestTable | None
    extensions: ExtensionsTable | None
    exporters: Mapping[str, ExporterTable | None]
    limits: LimitsTable | None
    recovery: RecoveryTable | None


def read_draft(document: Mapping[str, Any]) -> tuple[Draft, list[Problem]]:
    """Validate the shape of every section; say everything that is wrong with any of them."""
    problems = [
        Problem(
            path=path_of((key,)),
            what="is not a known key",
            fix=did_you_mean(key, File.model_fields)
            or f"known keys: {', '.join(File.model_fields)}",
            code="config.unknown_key",
        )
        for key in document
        if key not in File.model_fields
    ]
    values: dict[str, Any] = {}
    for name in File.model_fields:
        if name in _NAMED:
            values[name] = _named(name, document, problems)
        elif name in _LISTED:
            values[name] = _listed(name, document, problems)
        else:
            values[name] = _single(name, document, problems)
    return Draft(**values), problems


def validated(
    model: type[_M],
    data: Any,
    at: Place,
    problems: list[Problem],
    *,
    beside: Collection[str] = (),
) -> _M | None:
    """Validate data as JSON, which fits TOML: lists are tuples, text is an enum's or a path's.

    Returns ``None`` after adding what is wrong to ``problems``. ``beside`` are keys that the table
    has and the model does not.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems += explain(error, model, data, at, beside=beside)
    except Exception as error:  # noqa: BLE001  # a plugin's validator may raise anything
        problems.append(
            Problem(
                path=path_of(at),
                what=f"cannot be checked: the check itself failed with {type(error).__name__}",
                fix="report it to the plugin's author",
                code="config.check_failed",
            )
        )
    return None


def _single(name: str, document: Mapping[str, Any], problems: list[Problem]) -> Any:
    data = {name: document[name]} if name in document else {}
    found = validated(_alone(name), data, (), problems)
    return None if found is None else getattr(found, name)


def _named(
    name: str, document: Mapping[str, Any], problems: list[Problem]
) -> dict[str, BaseModel | None]:
    section = document.get(name)
    if not isinstance(section, dict) or not section:
        _single(name, document, problems)
        return {}
    read: dict[str, BaseModel | None] = {}
    for key, data in section.items():
        if NAME.fullmatch(key) is None:
            problems.append(
                Problem(
                    path=path_of((name, key)),
                    what="is not a usable name",
                    fix=f"match {NAME.pattern}",
                    code="config.name",
                )
            )
        read[key] = validated(_NAMED[name], data, (name, key), problems)
    return read


def _listed(
    name: str, document: Mapping[str, Any], problems: list[Problem]
) -> dict[int, BaseModel | None]:
    section = document.get(name)
    if not isinstance(section, list) or not section:
        _single(name, document, problems)
        return {}
    return {
        position: validated(_LISTED[name], data, (name, position), problems)
        for position, data in enumerate(section)
    }


@functools.cache
def _alone(name: str) -> type[BaseModel]:
    """A model of one top-level key, so that the others cannot keep it from being read."""
    field = File.model_fields[name]
    return create_model(f"File_{name}", __base__=Table, **{name: (field.annotation, field)})  # type: ignore[call-overload, no-any-return]  # keys are data here
