"""Whether a value is of the type that an annotation states, down to the last field."""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Callable, Sequence
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


@attrs.frozen
class _Odd:
    """A part that does not fit: the steps that lead to it, what it is, and what was expected."""

    got: str
    hint: Any
    steps: tuple[str, ...] = ()

    def under(self, step: str) -> _Odd:
        """The same, seen from one step above."""
        return _Odd(self.got, self.hint, (step, *self.steps))

    def __str__(self) -> str:
        where = "".join(self.steps).lstrip(".")
        return (
            f"its {where} is {self.got}, expected {named(self.hint)}"
            if where
            else f"returned {self.got}"
        )


Look = Callable[[Any], _Odd | None]


def misfit(value: Any, hint: Any) -> str | None:
    """What is wrong with a value, in words that begin with its place; ``None`` if it fits."""
    odd = _look(hint)(value)
    return None if odd is None else str(odd)


# Every answer that a suite sees is looked at, so what an annotation asks for is found out once.
@cache
def _look(hint: Any) -> Look:
    """What looks at a value for an annotation."""
    origin = get_origin(hint)
    if hint is Any or isinstance(hint, str):
        return lambda _value: None
    if origin in _UNIONS:
        return _union(hint)
    if origin is Literal:
        return lambda v: None if v in get_args(hint) else _Odd(repr(v)[:40], hint)
    if hint is None or hint is types.NoneType:
        return lambda v: None if v is None else _odd(v, hint)
    if origin is not None:
        return _collection(hint, origin)
    if hint in _NUMBERS:
        kinds = _NUMBERS[hint]
        return lambda v: None if isinstance(v, kinds) and not isinstance(v, bool) else _odd(v, hint)
    if hint is bytes or hint is memoryview:
        return lambda v: None if isinstance(v, _BUFFERS) else _odd(v, hint)
    if not isinstance(hint, type):
        return lambda _value: None
    if attrs.has(hint):
        return _object(hint)
    return lambda v: None if isinstance(v, hint) else _odd(v, hint)


def _union(hint: Any) -> Look:
    options, simple = get_args(hint), _simple(hint)

    def look(value: Any) -> _Odd | None:
        if type(value) in simple or any(_look(each)(value) is None for each in options):
            return None
        same = [each for each in options if isinstance(value, get_origin(each) or each)]
        return _look(same[0])(value) if same else _odd(value, hint)

    return look


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


def _collection(hint: Any, origin: Any) -> Look:
    """What looks at a mapping, a sequence or a tuple, and at all that is in it."""
    arguments = get_args(hint)
    kinds = [each for each in arguments if each is not ...]
    if issubclass(origin, collections.abc.Mapping):
        inside = _entries(*kinds)
    elif not issubclass(origin, collections.abc.Sequence):
        inside = _look(Any)
    elif len(kinds) == 1:
        inside = _alike(kinds[0])
    else:
        inside = _each(kinds, hint)

    def look(value: Any) -> _Odd | None:
        if not isinstance(value, origin) or isinstance(value, str):
            return _odd(value, hint)
        return inside(value)

    return look


def _entries(key: Any, item: Any) -> Look:
    keys, items = _alike(key), _alike(item)

    def look(value: Any) -> _Odd | None:
        if keys(value.keys()) is None and items(value.values()) is None:
            return None
        for name, held in value.items():
            odd = _look(key)(name) or _look(item)(held)
            if odd is not None:
                return odd.under(f"[{name!r}]")
        return None

    return look


def _alike(kind: Any) -> Look:
    simple = _simple(kind)

    def look(value: Any) -> _Odd | None:
        if simple and simple.issuperset(map(type, value)):
            return None
        fits = _look(kind)
        for place, each in enumerate(value):
            odd = fits(each)
            if odd is not None:
                return odd.under(f"[{place}]")
        return None

    return look


def _each(kinds: Sequence[Any], hint: Any) -> Look:
    def look(value: Any) -> _Odd | None:
        if len(kinds) != len(value):
            return _odd(value, hint)
        for place, (kind, each) in enumerate(zip(kinds, value, strict=True)):
            odd = _look(kind)(each)
            if odd is not None:
                return odd.under(f"[{place}]")
        return None

    return look


def _object(kind: type) -> Look:
    """What looks at all fields; found out at the first value, since they may lead back here."""
    fields: list[tuple[str, Look]] = []

    def look(value: Any) -> _Odd | None:
        if not isinstance(value, kind):
            return _odd(value, kind)
        if not fields:
            hints = get_type_hints(kind)
            # An alias with an underscore is the class's own affair.
            names = [each.name for each in attrs.fields(kind) if not each.name.startswith("_")]
            fields[:] = [(name, _look(hints[name])) for name in names]
        for name, fits in fields:
            odd = fits(getattr(value, name))
            if odd is not None:
                return odd.under(f".{name}")
        return None

    return look


def _odd(value: Any, hint: Any) -> _Odd:
    return _Odd(named(type(value)), hint)
