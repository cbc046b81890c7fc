"""Two-run non-interference: what one scope sees must not depend on what others do.

A schedule of calls by several scopes runs once whole. Then one scope's own calls run alone, on a
fresh store. Its two transcripts (values, errors and their texts, order, counts) must be identical.
A control comes first: the scope alone, twice; where that differs, the verdict is *indeterminate*.

A later call may use what an earlier one of the same scope returned, by ``Ref``. Values that no two
runs share (ETags, incarnations) are renamed by first occurrence before they are compared, and times
are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench, Indeterminate, Violation
from nexus_contracts._watch import short
from nexus_core import NexusError, Scope

OPAQUE: Final = frozenset(("etag", "version_id", "incarnation"))
# An engine's clock may tick in seconds: whether two times are equal is chance, and nobody's secret.
TIMES: Final = frozenset(("modified_at", "recorded_at"))


class UnresolvedError(Exception):
    """A reference to a call that returned nothing."""


@attrs.frozen
class Ref:
    """A value that an earlier call of the same scope returned: the call, and a path into it."""

    call: int
    path: tuple[str | int, ...] = ()


@attrs.frozen
class Call:
    """One call of one scope: a method of the backend and its arguments after the scope."""

    scope: Scope
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)

    def words(self) -> str:
        """The call as a person would write it down."""
        parts = [short(arg, 150) for arg in self.args]
        parts += [f"{name}={short(value, 150)}" for name, value in self.kwargs.items()]
        return f"{self.scope}: {self.method}({', '.join(parts)})"


Perform = Callable[[Any, Call, Mapping[int, Any]], Any]
Transcript = list[tuple[int, Any]]


def perform(backend: Any, call: Call, results: Mapping[int, Any]) -> Any:
    """Make a call on a backend, with references filled in; the usual ``Perform``."""
    args = [_filled(arg, results) for arg in call.args]
    kwargs = {name: _filled(value, results) for name, value in call.kwargs.items()}
    return getattr(backend, call.method)(call.scope, *args, **kwargs)


def transcript(
    backend: Any,
    calls: Sequence[tuple[int, Call]],
    subject: Scope,
    how: Perform = perform,
) -> Transcript:
    """Make the calls in order, and write down what the subject saw, renamed."""
    results: dict[int, Any] = {}
    names: dict[tuple[str, Any], str] = {}
    seen: Transcript = []
    for number, call in calls:
        try:
            results[number] = how(backend, call, results)
            answer = plain(results[number], names) if call.scope == subject else None
        except NexusError as error:
            answer = ("raised", type(error).__name__, str(error), error.code)
        except UnresolvedError:
            # A reference to a call that failed: the same call fails the same way when replayed.
            answer = ("unresolved",)
        if call.scope == subject:
            seen.append((number, answer))
    return seen


def interference(
    bench: Bench,
    calls: Sequence[Call],
    subject: Scope,
    *,
    how: Perform = perform,
) -> None:
    """Run the schedule whole and the subject's part alone; raise where the subject could tell.

    The violation shows the smallest schedule found that still leaks.
    """
    numbered = list(enumerate(calls))
    own = [(number, call) for number, call in numbered if call.scope == subject]

    def run(part: Sequence[tuple[int, Call]]) -> Transcript:
        return transcript(bench.open(), part, subject, how)

    alone = run(own)
    if run(own) != alone:
        raise Indeterminate("one scope alone, twice, saw different things; nothing can be said")
    bench.figures["two_run_calls"] = bench.figures.get("two_run_calls", 0) + len(calls)
    if run(numbered) == alone:
        return
    smallest = _shrunk(numbered, subject, run)
    part_own = [pair for pair in smallest if pair[1].scope == subject]
    expected, found = run(part_own), run(smallest)
    for (number, right), (_, wrong) in zip(expected, found, strict=True):
        if right != wrong:
            words = "\n".join(f"  {call.words()}" for _, call in smallest)
            raise Violation(
                f"{subject} could tell what other scopes did. The smallest schedule:\n{words}\n"
                f"In the call {calls[number].words()}\n"
                f"  it saw  {short(wrong, 400)}\n  alone   {short(right, 400)}"
            )
    raise Violation(f"{subject} could tell what other scopes did, in a way that did not repeat")


def _shrunk(
    calls: list[tuple[int, Call]],
    subject: Scope,
    run: Callable[[Sequence[tuple[int, Call]]], Transcript],
) -> list[tuple[int, Call]]:
    """Drop calls, large pieces first, as long as the difference stays; at most 200 runs."""
    budget = 200

    def leaks(part: list[tuple[int, Call]]) -> bool:
        own = [pair for pair in part if pair[1].scope == subject]
        return run(part) != run(own)

    size = max(1, len(calls) // 2)
    while size >= 1 and budget > 0:
        start = 0
        while start < len(calls) and budget > 0:
            candidate = calls[:start] + calls[start + size :]
            budget -= 1
            if candidate and leaks(candidate):
                calls = candidate
            else:
                start += size
        size //= 2
    return calls


def interleaved(
    rng: random.Random, streams: Sequence[Sequence[Call]]
) -> tuple[list[Call], list[list[int]]]:
    """Mix several scopes' streams at random, keeping each one's order.

    Also returns where each call of each stream went, for schedules that need to know.
    """
    queues = [list(stream) for stream in streams]
    places: list[list[int]] = [[] for _ in streams]
    mixed: list[Call] = []
    while any(queues):
        which = rng.choice([number for number, queue in enumerate(queues) if queue])
        places[which].append(len(mixed))
        mixed.append(_moved(queues[which].pop(0), places[which]))
    return mixed, places


def _moved(call: Call, places: Sequence[int]) -> Call:
    """References count within a stream; make them count within the mixed schedule."""

    def moved(value: Any) -> Any:
        return Ref(places[value.call], value.path) if isinstance(value, Ref) else value

    return attrs.evolve(
        call,
        args=tuple(moved(arg) for arg in call.args),
        kwargs={name: moved(value) for name, value in call.kwargs.items()},
    )


def plain(value: Any, names: dict[tuple[str, Any], str], field: str = "") -> Any:
    """A value as data that can be compared, with opaque parts renamed by first occurrence."""
    if field in TIMES and value is not None:
        return field
    if field in OPAQUE and value is not None:
        return names.setdefault((field, value), f"{field}#{len(names)}")
    if attrs.has(type(value)):
        return {
            a.name: plain(getattr(value, a.name), names, a.name) for a in attrs.fields(type(value))
        }
    if isinstance(value, Mapping):
        return {key: plain(item, names, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, names) for item in value]
    if isinstance(value, memoryview):
        return bytes(value)
    return value


def _filled(value: Any, results: Mapping[int, Any]) -> Any:
    if not isinstance(value, Ref):
        return value
    if value.call not in results:
        raise UnresolvedError
    found = results[value.call]
    for step in value.path:
        found = found[step] if isinstance(step, int) else getattr(found, step)
    return found
