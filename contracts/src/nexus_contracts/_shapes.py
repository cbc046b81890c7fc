"""Whether a value is of the type that an annotation states, down to the last field."""

from __future__ import annotations

import collections.abc
import types
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

_NUMBERS: Final[dict[Any, tuple[type, ...]]] = {float: (float, int), int: (int,)}
_UNIONS: Final = (Union, types.UnionType)
_BUFFERS: Final = (bytes, bytearray, memoryview)


def named(hint: Any) -> str:
    """A type as a person would write it."""
    if hint is None or hint is type(None):
        return "None"
    if get_origin(hint) is None:
        return str(getattr(hint, "__name__", hint))
    inside = [each for each in get_args(hint) if each is not ...]
    if get_origin(hint) in _UNIONS:
        return " | ".join(named(each) for each in inside)
    if get_origin(hint) is Literal:
        return " | ".join(repr(each) for each in inside)
    origin = getattr(get_origin(hint), "__name__", str(hint))
    return f"{origin}[{', '.join(named(each) for each in inside)}]"


def misfit(value: Any, hint: Any, where: str = "") -> str | None:
    """What is wrong with a value, in words that begin with its place; ``None`` if it fits."""
    if hint is Any or isinstance(hint, str):
        return None
    if type(value) in _simple(hint):
        return None
    origin = get_origin(hint)
    if origin in _UNIONS:
        options = get_args(hint)
        if any(misfit(value, each, where) is None for each in options):
            return None
        same = [each for each in options if isinstance(value, get_origin(each) or each)]
        return misfit(value, same[0], where) if same else _wrong(value, hint, where)
    if origin is Literal:
        return None if value in get_args(hint) else _wrong(value, hint, where, show=True)
    if hint is None or hint is type(None):
        return None if value is None else _wrong(value, hint, where)
    if origin is not None:
        return _collection(value, hint, origin, where)
    if hint in _NUMBERS:
        good = isinstance(value, _NUMBERS[hint]) and not isinstance(value, bool)
        return None if good else _wrong(value, hint, where)
    if hint is bytes or hint is memoryview:
        return None if isinstance(value, _BUFFERS) else _wrong(value, hint, where)
    if not isinstance(hint, type):
        return None
    if not isinstance(value, hint):
        return _wrong(value, hint, where)
    if attrs.has(hint):
        for name, each in _fields(hint).items():
            wrong = misfit(getattr(value, name), each, f"{where}.{name}")
            if wrong is not None:
                return wrong
    return None


@cache
def _simple(hint: Any) -> frozenset[type]:
    """The types of numbers and texts that fit whatever else does: most values are of these."""
    options = get_args(hint) if get_origin(hint) in _UNIONS else (hint,)
    kinds: set[type] = set()
    for each in options:
        if each in (str, bool, bytes, types.NoneType):
            kinds.add(each)
        kinds.update(_NUMBERS.get(each, ()))
    return frozenset(kinds)


def _collection(value: Any, hint: Any, origin: Any, where: str) -> str | None:
    if not isinstance(value, origin) or isinstance(value, str):
        return _wrong(value, hint, where)
    arguments = get_args(hint)
    if issubclass(origin, collections.abc.Mapping):
        for key, each in value.items():
            wrong = misfit(key, arguments[0], f"{where}[{key!r}]")
            wrong = wrong or misfit(each, arguments[1], f"{where}[{key!r}]")
            if wrong is not None:
                return wrong
    elif issubclass(origin, collections.abc.Sequence):
        kinds = [each for each in arguments if each is not ...]
        alike = len(kinds) == 1
        if not alike and len(kinds) != len(value):
            return _wrong(value, hint, where)
        for place, each in enumerate(value):
            wrong = misfit(each, kinds[0 if alike else place], f"{where}[{place}]")
            if wrong is not None:
                return wrong
    return None


@cache
def _fields(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    # An alias with an underscore is the class's own affair.
    return {
        each.name: hints[each.name] for each in attrs.fields(kind) if not each.name.startswith("_")
    }


def _wrong(value: Any, hint: Any, where: str, *, show: bool = False) -> str:
    got = repr(value)[:40] if show else named(type(value))
    if not where:
        return f"returned {got}"
    return f"its {where.lstrip('.')} is {got}, expected {named(hint)}"
