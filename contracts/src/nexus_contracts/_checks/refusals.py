"""Calls that are refused, that raise midway or that are cut short: of every kind, for every role.

Each role also has writes that must succeed afterwards, of the same things and of others, and reads
that show what a refused call may have left. Nothing here is compared; see ``refused``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from nexus_contracts._checks import raw
from nexus_contracts._survey import Script
from nexus_contracts._twins import Call, perform
from nexus_core import NexusError, Scope
from nexus_core.spi import Body

# More than usual pages, where a store takes as many.
SOME: Final = 600


@attrs.define
class Trials(Script):
    """A schedule in which some calls must be refused, and others are cut short."""

    refused: set[int] = attrs.field(factory=set)
    cut: set[int] = attrs.field(factory=set)
    # Whether calls are now to be made in another thread, and which were.
    aside: bool = False
    apart: set[int] = attrs.field(factory=set)

    def add(self, scope: Scope, method: str, *args: Any, **options: Any) -> int:
        """Add a call, in the thread of the moment; returns its number."""
        number = super().add(scope, method, *args, **options)
        if self.aside:
            self.apart.add(number)
        return number

    def refuse(self, scope: Scope, method: str, *args: Any, **options: Any) -> None:
        """A call that must raise."""
        self.refused.add(self.add(scope, method, *args, **options))

    def cut_short(self, scope: Scope, method: str, *args: Any, **options: Any) -> None:
        """A call that changes nothing, whatever it returns."""
        self.cut.add(self.add(scope, method, *args, **options))


# Adds calls of a scope's that are refused or cut; the text is in whatever they name or hold.
Way = Callable[[Trials, Scope, str], None]


def cut(method: str, *args: Any, **options: Any) -> Way:
    """One call that is cut short, and no other after it: what it leaves, that would clear away."""
    return lambda script, scope, _: script.cut_short(scope, method, *args, **options)


class Refusals(Protocol):
    """What one role's scopes hold, what of theirs is refused, and what they do next.

    A *thing* is a name that nobody has until ``write`` makes it.
    """

    @property
    def ways(self) -> Sequence[Way]:
        """Every way to be refused."""

    def load(self, script: Trials, scope: Scope, *, refuser: bool) -> None:
        """Fill a scope; the one that will be refused comes last, and lacks what others have."""

    def look(self, script: Trials, scope: Scope, thing: str) -> None:
        """Read the thing, what was there before, and what else a refused call named."""

    def write(self, script: Trials, scope: Scope, thing: str) -> None:
        """Make the thing, and others; every call must succeed."""

    def everything(self, script: Trials, scope: Scope) -> None:
        """Read it all."""

    def end(self, script: Trials, scope: Scope) -> None:
        """Erase a scope, which may be filled again."""


def act(backend: Any, call: Call, results: Mapping[int, Any]) -> Any:
    """Perform a call of any role: bodies are made here, and reads are read, to their end or not."""
    if call.method == "put":
        key, source, given, *declared = call.args
        body = Body(source() if callable(source) else source, **dict(*declared))
        try:
            return perform(
                backend, attrs.evolve(call, args=(key, body, given), kwargs=call.kwargs), results
            )
        except raw.Broken:
            raise NexusError("the body raised an error of its own") from None
    if call.method in ("read_all", "read_some"):
        with perform(backend, attrs.evolve(call, method="open"), results) as stream:
            chunks = stream.chunks if call.method == "read_all" else [next(stream.chunks)]
            return stream.info, stream.start, stream.stop, b"".join(chunks)
    return perform(backend, call, results)
