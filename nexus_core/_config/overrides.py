"""Environment variables over the file: ``NEXUS__STORES__FILES__ROOT`` sets ``stores.files.root``.

A variable names a place that the file's format has, in capitals, its parts joined by ``__`` and the
items of a list by position. It may set a key that the file leaves out, but makes no new store,
route or other named thing. Any other variable that begins with ``NEXUS__`` is an error.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
from pydantic import BaseModel

from nexus_core._config.document import MAX_DEPTH, Place, parse_value, path_of
from nexus_core._config.model import File
from nexus_core._model.errors import Problem
from nexus_core._plugins.faults import did_you_mean

PREFIX: Final = "NEXUS__"
_SEPARATOR: Final = "__"

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_]*")
_NUMBER: Final = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
    r"|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*"
)
_CLOSING: Final = {"[": "]", "{": "}", '"': '"', "'": "'"}


@attrs.frozen
class _Open:
    """Below here the keys are a plugin's: any that is there, or a new one in small letters."""


@attrs.frozen
class _Closed:
    """Below here only what is there can be named."""


_Node = type[BaseModel] | _Open | _Closed | tuple[type[BaseModel]]


def apply_overrides(
    document: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[Place, str], list[Problem]]:
    """Set what the variables say, in place; return which variable set which place, and problems."""
    origins: dict[Place, str] = {}
    problems: list[Problem] = []
    names = [name for name in environ if name.startswith(PREFIX)]
    # Whole tables before the keys inside them, so that the order of variables means nothing.
    for name in sorted(names, key=lambda each: (each.count(_SEPARATOR), each)):
        places = list(_locate(File, document, name.removeprefix(PREFIX)))
        if len(places) != 1:
            problems.append(_unknown(name, document, ambiguous=bool(places)))
            continue
        try:
            value = _value(environ[name])
        except ValueError as error:
            problems.append(
                Problem(
                    path=name,
                    what=str(error),
                    fix="give it a value, or unset it",
                    code="config.override",
                )
            )
            continue
        if len(places[0]) <= MAX_DEPTH and _put(document, places[0], value):
            origins[places[0]] = name
        else:
            problems.append(_unknown(name, document, ambiguous=False))
    return origins, problems


def _value(text: str) -> Any:
    if not text.strip():
        raise ValueError("is set but blank, which is not the same as unset")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = ""  # that error carries the value, so the one below must not be chained to it
    if not text:
        raise ValueError("is not UTF-8")
    if text in ("true", "false") or _NUMBER.fullmatch(text) is not None:
        return parse_value(text)
    if len(text) > 1 and _CLOSING.get(text[0]) == text[-1]:
        return parse_value(text)
    return text


def _locate(node: _Node, value: Any, rest: str) -> Iterator[Place]:
    """Every place below ``node`` that ``rest``, in capitals, can mean."""
    found = False
    for key, child, inside in _children(node, value):
        token = str(key).upper()
        if rest == token:
            found = True
            yield (key,)
        elif rest.startswith(token + _SEPARATOR):
            for place in _locate(child, inside, rest[len(token) + len(_SEPARATOR) :]):
                found = True
                yield (key, *place)
    if not found and _grows(node, value):
        parts = tuple(rest.lower().split(_SEPARATOR))
        if rest == rest.upper() and all(_WORD.fullmatch(part) for part in parts):
            yield parts


def _grows(node: _Node, value: Any) -> bool:
    if isinstance(node, _Open):
        return value is None or isinstance(value, dict)
    return isinstance(node, type) and node.model_config.get("extra") == "allow"


def _children(node: _Node, value: Any) -> Iterator[tuple[str | int, _Node, Any]]:
    present: dict[str | int, Any] = {}
    if isinstance(value, dict):
        present = value
    elif isinstance(value, list):
        present = dict(enumerate(value))
    if isinstance(node, tuple):
        yield from ((key, node[0], each) for key, each in present.items())
    elif isinstance(node, type):
        for name, field in node.model_fields.items():
            yield name, _node(field.annotation), present.get(name)
        if _grows(node, value):
            for key, each in present.items():
                if key not in node.model_fields:
                    yield key, _Open(), each
    else:
        yield from ((key, node, each) for key, each in present.items())


def _node(annotation: Any) -> _Node:
    """What lies below a field of the core's own tables."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        arguments = tuple(each for each in arguments if each is not type(None))
        return _node(arguments[0])
    if origin is typing.Annotated:
        return _node(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if origin in (dict, tuple):
        item = arguments[1] if origin is dict else arguments[0]
        if isinstance(item, type) and issubclass(item, BaseModel):
            return (item,)
    return _Closed()


def _put(document: dict[str, Any], place: Place, value: Any) -> bool:
    target: Any = document
    for key in place[:-1]:
        if isinstance(target, dict):
            target = target.setdefault(key, {})
        elif isinstance(target, list) and isinstance(key, int):
            target = target[key]
        else:
            return False
    if not isinstance(target, dict | list):
        return False
    target[place[-1]] = value  # type: ignore[index]  # a list's key is the position of an item
    return True


def _unknown(name: str, document: dict[str, Any], *, ambiguous: bool) -> Problem:
    known = [PREFIX + each for each in _variables(File, document)]
    return Problem(
        path=name,
        what="can mean more than one setting" if ambiguous else "names no setting",
        fix=(
            "set it in the file"
            if ambiguous
            else did_you_mean(name, known)
            or "unset it; variables for secrets and for anything else begin in another way"
        ),
        code="config.override",
    )


def _variables(node: _Node, value: Any) -> Iterator[str]:
    for key, child, inside in _children(node, value):
        token = str(key).upper()
        yield token
        for each in _variables(child, inside):
            yield token + _SEPARATOR + each


def origin_of(path: str, origins: Mapping[Place, str]) -> str | None:
    """The variable that set what stands at a problem's path, or the innermost table around it."""
    found = {path_of(origin): name for origin, name in origins.items()}
    around = [each for each in found if path == each or path.startswith(each + ".")]
    return found[max(around, key=len)] if around else None
