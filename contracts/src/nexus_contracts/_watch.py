"""What stands between a check and the backend: every answer is held against its annotation.

A backend that answers ``None``, a string for a number, or three rows where four were asked for is
told so by the method's name and the type that the interface states, and no check goes on with it.
The last call is kept, so that a failure can say where it was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs

from nexus_contracts._shapes import misfit, named
from nexus_core import NexusError
from nexus_core._spi.spec import ABC_OF
from nexus_core.spi import StoreRole

# Answers that are aligned with an argument: its place among those after the scope, and its name.
ALIGNED: Final[Mapping[tuple[StoreRole, str], tuple[int, str]]] = {
    (StoreRole.ATOMS, "commit"): (0, "operations"),
    (StoreRole.ATOMS, "get"): (1, "ids"),
    (StoreRole.VECTORS, "get"): (1, "ids"),
    (StoreRole.VECTORS, "query"): (1, "queries"),
}


class Violation(AssertionError):
    """A requirement is broken; the text says how, in words that lead to the line to fix."""


@attrs.define
class Trail:
    """The last call of a backend, and the last foreign exception that came out of one."""

    method: str = ""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    escaped: BaseException | None = None
    broken: Violation | None = None

    def violation(self, message: str) -> Violation:
        """A violation, kept: the core, where it stands between, makes another error of it."""
        found = Violation(message)
        if self.broken is None:
            self.broken = found
        return found

    def words(self) -> str:
        """The last call as a person would write it down; empty before the first."""
        if not self.method:
            return ""
        parts = [short(arg) for arg in self.args]
        parts += [f"{name}={short(value)}" for name, value in self.kwargs.items()]
        return f"{self.method}({', '.join(parts)})"


def short(value: Any, limit: int = 60) -> str:
    """A value's representation, cut to a length."""
    text = str(value) if type(value).__name__ == "Scope" else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class Watched:
    """A backend, watched. What is set on it is set on the backend, and it passes for one."""

    __slots__ = ("_kind", "_role", "_trail", "backend")

    def __init__(self, backend: Any, role: StoreRole, trail: Trail) -> None:
        kind = ABC_OF[role]
        if not isinstance(backend, kind):
            raise Violation(
                f"the spec's factory must return a {kind.__name__}, but returned "
                f"{named(type(backend))}"
            )
        for name, value in (("backend", backend), ("_role", role), ("_trail", trail)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_kind", kind)

    @property  # type: ignore[misc]  # object has a setter, which is of no use here
    def __class__(self) -> type:
        return type(self.backend)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.backend, name)
        hint = promised(self._kind).get(name)
        if hint is None:
            return found
        said = f"{self._kind.__name__}.{name}"
        aligned = ALIGNED.get((self._role, name))
        return _watching(found, said, hint, aligned, self._trail)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.backend, name, value)


@cache
def promised(kind: type) -> Mapping[str, Any]:
    """What each method of a role's interface returns, by its name."""
    return {
        name: get_type_hints(getattr(kind, name))["return"]
        for name in dir(kind)
        if not name.startswith("_") and callable(getattr(kind, name))
    }


def _watching(
    method: Callable[..., Any], said: str, hint: Any, aligned: tuple[int, str] | None, trail: Trail
) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not said.endswith(".close"):
            trail.method, trail.args, trail.kwargs = said, args, kwargs
        try:
            answer = method(*args, **kwargs)
        except NexusError:
            raise
        except BaseException as error:
            trail.method, trail.escaped = said, error
            raise
        if get_origin(hint) is AbstractContextManager:
            return _opened(answer, hint, said, trail)
        _hold(answer, hint, said, trail)
        if aligned is not None:
            place, argument = aligned
            given = kwargs[argument] if argument in kwargs else args[1 + place]
            if len(answer) != len(given):
                raise trail.violation(
                    f"{said} must return one answer for each of its {argument}: "
                    f"expected {len(given)}, got {len(answer)}"
                )
        return answer

    return call


def _hold(answer: Any, hint: Any, said: str, trail: Trail) -> None:
    wrong = misfit(answer, hint)
    if wrong is not None:
        raise trail.violation(f"{said} must return {named(hint)}, but {wrong}")


@contextmanager
def _opened(answer: Any, hint: Any, said: str, trail: Trail) -> Iterator[Any]:
    """An opened object, whose chunks are looked at as they come."""
    if not isinstance(answer, AbstractContextManager):
        raise trail.violation(
            f"{said} must return a context manager of an ObjectStream, but returned "
            f"{named(type(answer))}"
        )
    try:
        stream = answer.__enter__()
    except NexusError:
        raise
    except BaseException as error:
        trail.method, trail.escaped = said, error
        raise
    _hold(stream, get_args(hint)[0], f"{said} entered", trail)
    failure: BaseException | None = None
    try:
        yield attrs.evolve(stream, chunks=_chunks(stream.chunks, said, trail))
    except BaseException as error:
        failure = error
        raise
    finally:
        kind = None if failure is None else type(failure)
        answer.__exit__(kind, failure, None if failure is None else failure.__traceback__)


def _chunks(chunks: Iterator[bytes], said: str, trail: Trail) -> Iterator[bytes]:
    source = iter(chunks)
    while True:
        try:
            chunk = next(source)
        except StopIteration:
            return
        except NexusError:
            raise
        except Exception as error:
            trail.method, trail.escaped = f"{said} (its chunks)", error
            raise
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise trail.violation(
                f"{said} must give chunks of bytes, but gave {named(type(chunk))}"
            )
        yield bytes(chunk)
