"""Settings models of plugins: no subclass may be laxer than its base, or leave room for a secret.

A model that ignores unknown keys, takes ``"80"`` for a number or prints its input would undo, for
one backend, what the configuration promises for all of them.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterator
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic.types import Strict

from nexus_core._config.secrets import Secret, SecretRef
from nexus_core._plugins.faults import Fault, broken
from nexus_core._spi.spec import BackendConfig

LOCKED: Final = ("extra", "frozen", "strict", "hide_input_in_errors", "validate_default")

SECRET_ENDINGS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "secret_key",
    "private_key",
    "credential",
    "credentials",
)


def names_a_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret: it is, or ends in, one of a fixed list."""
    lowered = name.lower()
    return any(lowered == end or lowered.endswith(f"_{end}") for end in SECRET_ENDINGS)


def settings_faults(where: str, model: object, reserved: Collection[str]) -> list[Fault]:
    """Everything wrong with a settings model; ``reserved`` are names the core uses beside it."""
    if not (isinstance(model, type) and issubclass(model, BackendConfig)):
        return [
            broken(
                f"the settings of {where} are not a BackendConfig",
                "subclass nexus_core.spi.BackendConfig and name the class",
            )
        ]
    faults: list[Fault] = []
    for each in reachable_models(model):
        faults += _model_faults(where, each)
    for name, field in model.model_fields.items():
        if name in reserved or field.alias in reserved or field.validation_alias in reserved:
            faults.append(
                broken(f"the settings of {where} use {name!r}", "rename it; the core has that one")
            )
    return faults or list(_schema_faults(where, model))


def reachable_models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and every pydantic model inside its fields, each once; references are leaves."""
    found = [model]
    for each in found:
        each.model_rebuild(raise_errors=False)
        for field in each.model_fields.values():
            for part in models_in(field.annotation):
                if part is not SecretRef and part not in found:
                    found.append(part)
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation names, at any depth of it."""
    return [
        part
        for part in parts_of(annotation)
        if isinstance(part, type) and issubclass(part, BaseModel)
    ]


def parts_of(annotation: Any) -> Iterator[Any]:
    """An annotation and everything inside it."""
    annotation = getattr(annotation, "__value__", annotation)
    yield annotation
    for argument in typing.get_args(annotation):
        yield from parts_of(argument)


def _model_faults(where: str, model: type[BaseModel]) -> Iterator[Fault]:
    name = f"{model.__name__}, in the settings of {where},"
    if not model.__pydantic_complete__:
        yield broken(f"{name} has annotations that lead nowhere", "import what they name")
        return
    for key in LOCKED:
        if model.model_config.get(key) != BackendConfig.model_config.get(key):
            yield broken(
                f"{name} weakens {key!r}",
                f"take {key!r} out of model_config, and derive nested models from BackendConfig",
            )
    for field_name, field in model.model_fields.items():
        yield from _field_faults(
            f"{model.__name__}.{field_name}, in the settings of {where},", field
        )
        if names_a_secret(field_name) and {str, bytes} & set(_plain_parts(field)):
            yield broken(
                f"{model.__name__}.{field_name}, in the settings of {where}, is an inline secret",
                "type it as SecretRef, or rename it if it is none",
            )


def _field_faults(name: str, field: FieldInfo) -> Iterator[Fault]:
    if field.validate_default is False:
        yield broken(f"{name} weakens 'validate_default'", "take validate_default=False away")
    if any(map(_is_lax, (field, *parts_of(field.annotation)))):
        yield broken(
            f"{name} weakens 'strict'",
            "take strict=False away; settings are read as JSON, which fits tuples, paths and enums",
        )
    for part in _plain_parts(field):
        if part in (Secret, SecretStr, SecretBytes):
            yield broken(f"{name} holds a secret itself", "type it as SecretRef")
        elif _is_loose_record(part):
            yield broken(f"{name} nests {part.__name__}", "nest a BackendConfig instead")


def _is_lax(part: Any) -> bool:
    if isinstance(part, FieldInfo):
        return any(map(_is_lax, part.metadata))
    return isinstance(part, Strict) and not part.strict


def _plain_parts(field: FieldInfo) -> list[Any]:
    return [part for part in parts_of(field.annotation) if isinstance(part, type)]


def _is_loose_record(part: type) -> bool:
    # Dataclasses, TypedDicts and NamedTuples keep their own rules about extra keys and strictness.
    return (
        dataclasses.is_dataclass(part)
        or (issubclass(part, dict) and hasattr(part, "__required_keys__"))
        or (issubclass(part, tuple) and hasattr(part, "_fields"))
    )


def _schema_faults(where: str, model: type[BaseModel]) -> Iterator[Fault]:
    try:
        model.model_json_schema()
    except Exception as error:  # noqa: BLE001  # whatever a custom type does to the generator
        yield broken(
            f"the settings of {where} have no JSON schema ({type(error).__name__})",
            "use types that JSON has; settings are read from TOML",
        )
