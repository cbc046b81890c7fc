"""From pydantic's errors to problems that say where, what and how to fix it, and never the value.

Most of pydantic's texts are made of the schema alone and are safe. Those that are not, because a
validator of a plugin wrote them or because pydantic quotes the input, are shown only if nothing in
them comes from the input; otherwise the setting's own description stands in for them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nexus_core._config.document import Key, Place, leaves, path_of
from nexus_core._model.errors import Problem
from nexus_core._plugins.faults import did_you_mean
from nexus_core._plugins.settings import models_in

_SAFE: Final = frozenset(
    (
        "missing",
        "literal_error",
        "enum",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "multiple_of",
        "finite_number",
        "too_short",
        "too_long",
        "string_too_short",
        "string_too_long",
        "string_pattern_mismatch",
    )
)
# Types of errors that the core itself raises, with fixed texts.
_OURS: Final = "nexus_"
_TEXTS: Final[Mapping[str, str]] = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}
_SHOULD: Final = re.compile(r"\A(?:Value error, |Assertion failed, )?(?:[A-Z][a-z]+ should )?")
_LEAST: Final = 4


def explain(
    error: ValidationError, model: type[BaseModel], data: Any, at: Place, *, beside: Iterable[str]
) -> list[Problem]:
    """Say everything that a validation found, each at its place below ``at``.

    ``data`` is what was validated; ``beside`` are keys of the same table that the model does not
    have but the table may.
    """
    found: dict[Problem, None] = {}
    for each in error.errors(include_input=False, include_context=False, include_url=False):
        place = _place(each["loc"], data, keep_last=each["type"] == "missing")
        field = _field(model, place)
        what, fix, code = _wording(each["type"], each["msg"], data, model)
        if each["type"] == "extra_forbidden":
            what, code = "is not a known key", "config.unknown_key"
            known = {*_names(model, place[:-1]), *(beside if len(place) == 1 else ())}
            fix = did_you_mean(str(place[-1]), known) or _offer(known)
        elif not fix:
            verb = "add it" if each["type"] == "missing" else "correct it"
            text = _description(field)
            fix = f"{verb}. {text}" if text else f"{verb}; see `nexus config schema`"
        found[Problem(path=path_of((*at, *place)), what=what, fix=fix, code=code)] = None
    return list(found)


def _wording(kind: str, text: str, data: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    """What to say, how to fix it where the error itself knows, and the code."""
    if kind == "missing":
        return "is missing", "", "config.missing"
    if kind == "nexus_inline_secret":
        return "is a secret in the file", text, "config.inline_secret"
    if kind in _TEXTS:
        return _TEXTS[kind], "", "config.type"
    code = "config.type" if kind.endswith("_type") else "config.invalid"
    if kind in _SAFE or kind.startswith(_OURS) or not _repeats(text, data, _vocabulary(model)):
        return _plainly(text), "", code
    return "is not accepted", "", code


def _plainly(text: str) -> str:
    """``Input should be 1`` as ``must be 1``."""
    match = _SHOULD.match(text)
    assert match is not None
    rest = text[match.end() :]
    return f"must {rest}" if match[0].endswith("should ") else rest


def _repeats(text: str, data: Any, known: str) -> bool:
    """Whether a text holds any four characters in a row of the input that are not ``known``.

    An input shorter than that must not stand in the text as a word.
    """
    said = " ".join(text.split()).casefold()
    for _, leaf in leaves(data):
        given = " ".join(str(leaf).split()).casefold()
        if len(given) < _LEAST:
            word = re.compile(rf"(?<!\w){re.escape(given)}(?!\w)")
            if word.search(said) and not word.search(known):
                return True
        runs = (given[at : at + _LEAST] for at in range(len(given) - _LEAST + 1))
        if any(run in said and run not in known for run in runs):
            return True
    return False


@functools.lru_cache(maxsize=64)
def _vocabulary(model: type[BaseModel]) -> str:
    """The texts of the model's schema: names, descriptions, choices. None of it is input.

    One line each, without the line breaks inside, and not as JSON, whose escapes would run into the
    words beside them.
    """
    found = dict.fromkeys(" ".join(text.split()) for text in _texts(model.model_json_schema()))
    return "\n".join(found).casefold()


def _texts(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _texts(value)
    else:
        yield str(schema)


def _place(loc: Iterable[Key], data: Any, *, keep_last: bool) -> Place:
    """A location without pydantic's own marks for members of unions, keys and functions."""
    place: list[Key] = []
    steps = list(loc)
    for position, key in enumerate(steps):
        inside = data if isinstance(data, Mapping) else dict(enumerate(_items(data)))
        if key in inside:
            data = inside[key]
        elif not (keep_last and position == len(steps) - 1):
            continue
        place.append(key)
    return tuple(place)


def _items(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []


def _models_at(model: type[BaseModel], place: Place) -> list[type[BaseModel]]:
    models = [model]
    for key in place:
        if isinstance(key, str):
            fields = [each for each in (_own(m, key) for m in models) if each is not None]
            inner = [found for field in fields for found in models_in(field.annotation)]
            # A key that is no field is a key of a mapping, whose values are the same models.
            models = inner if fields else models
    return models


def _own(model: type[BaseModel], key: str) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        if key in (name, field.alias, field.validation_alias):
            return field
    return None


def _field(model: type[BaseModel], place: Place) -> FieldInfo | None:
    """The innermost field around a place."""
    for end in range(len(place), 0, -1):
        key = place[end - 1]
        for each in _models_at(model, place[: end - 1]):
            field = _own(each, key) if isinstance(key, str) else None
            if field is not None:
                return field
    return None


def _names(model: type[BaseModel], place: Place) -> Iterator[str]:
    for each in _models_at(model, place):
        for name, field in each.model_fields.items():
            yield field.alias or name


def _offer(known: set[str]) -> str:
    return f"known keys: {', '.join(sorted(known))}" if known else "take it out"


def _description(field: FieldInfo | None) -> str:
    """The first sentence of a field's docstring."""
    if field is None or not field.description:
        return ""
    return " ".join(field.description.split()).split(". ")[0].rstrip(".")
