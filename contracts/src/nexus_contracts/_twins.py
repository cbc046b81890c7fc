"""Two-run non-interference: what one scope sees must not depend on what others do.

A schedule of calls by several scopes runs once whole. Then one scope's own calls run alone, on a
fresh store. Its two transcripts (values, errors and their texts, order, counts) must be identical.
A control comes first: the scope alone, twice; where that differs, the verdict is *indeterminate*.

A later call may use what an earlier one of the same scope returned, by ``Ref``. Values that no two
runs share (ETags, incarnations) are renamed by first occurrence before they are compared, and an
engine's times are left out. Such a value may still tell something by how it is made: whatever is
the same in it in both runs alone, one before and one after, has to be the same beside others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from types import NoneType
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench, Indeterminate, Place, Violation
from nexus_contracts._watch import short
from nexus_core import NexusError, Scope

OPAQUE: Final = frozenset(("etag", "version_id", "incarnation"))
# An engine's clock may tick in seconds: whether two times are equal is chance, and nobody's secret.
TIMES: Final = frozenset(("modified_at",))
# Most of what answers are made of.
_AS_THEY_ARE: Final = frozenset((str, int, float, bool, bytes, NoneType))
# A call that is none of the backend's: it is closed, and opened on the same place.
OPEN_AGAIN: Final = "open again"
# So many values of one kind have to agree in a character before it counts as part of their form.
ENOUGH: Final = 6


class UnresolvedError(Exception):
    """A reference to a call that returned nothing."""


@attrs.frozen
class Ref:
    """A value that an earlier call of the same scope returned: the call, and a path into it."""

    call: int
    path: tuple[str | int, ...] = ()

    def __repr__(self) -> str:
        part = "".join(f"{step} of " for step in reversed(self.path))
        return f"<{part}what call {self.call} returned>"


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
        return f"{named(self.scope)}: {self.method}({', '.join(parts)})"


def named(scope: Scope) -> str:
    """A scope's name, short enough to be read."""
    tenant = scope.tenant_id
    if len(tenant) > 24:
        tenant = f"{tenant[:3]}…{tenant[-3:]} ({len(tenant)} characters)"
    return f"{tenant}/{scope.env}"


Perform = Callable[[Any, Call, Mapping[int, Any]], Any]
Transcript = list[tuple[int, Any]]
Numbered = tuple[int, Call]


@attrs.define
class Account:
    """What was seen in a run: the answers, renamed, and the names' own values by field; and the
    numbers of all calls that raised."""

    answers: Transcript = attrs.field(factory=list)
    tokens: dict[str, list[Any]] = attrs.field(factory=dict)
    raised: set[int] = attrs.field(factory=set)


def perform(backend: Any, call: Call, results: Mapping[int, Any]) -> Any:
    """Make a call on a backend, with references filled in; the usual ``Perform``."""
    args = [_filled(arg, results) for arg in call.args]
    kwargs = {name: _filled(value, results) for name, value in call.kwargs.items()}
    return getattr(backend, call.method)(call.scope, *args, **kwargs)


def transcript(
    place: Place,
    calls: Sequence[Numbered],
    seen_by: Callable[[Numbered], bool],
    how: Perform = perform,
) -> Account:
    """Make the calls in order, and write down what those of them saw that count, renamed."""
    return transcripts(place, calls, [seen_by], how)[0]


def transcripts(
    place: Place,
    calls: Sequence[Numbered],
    views: Sequence[Callable[[Numbered], bool]],
    how: Perform,
) -> list[Account]:
    """``transcript`` for several who look at one run, each for himself."""
    backend = place.store
    results: dict[int, Any] = {}
    seen: list[tuple[Account, dict[tuple[str, Any], str]]] = [(Account(), {}) for _ in views]
    for number, call in calls:
        if call.method == OPEN_AGAIN:
            backend = place.open_again()
            continue
        answer: Any = None
        try:
            results[number] = how(backend, call, results)
        except NexusError as error:
            answer = ("raised", type(error).__name__, str(error), error.code, _details(error))
            for account, _ in seen:
                account.raised.add(number)
        except UnresolvedError:
            # A reference to a call that failed: the same call fails the same way when replayed.
            answer = ("unresolved",)
        for counts, (account, names) in zip(views, seen, strict=True):
            if counts((number, call)):
                told = plain(results[number], names) if answer is None else answer
                account.answers.append((number, told))
    for account, names in seen:
        for field, value in names:
            account.tokens.setdefault(field, []).append(value)
    return [account for account, _ in seen]


def _details(error: NexusError) -> Any:
    """What an error says beside its text: whether to try again, what was expected, and so on."""
    return plain(dict(sorted(vars(error).items())), {})


def interference(
    bench: Bench,
    calls: Sequence[Call],
    subject: Scope,
    *,
    how: Perform = perform,
) -> Account:
    """Run the schedule whole and the subject's part alone; raise where the subject could tell.

    Gives what the subject saw alone.

    The violation shows the smallest schedule found that still leaks.
    """
    numbered = list(enumerate(calls))

    def its_own(pair: Numbered) -> bool:
        return pair[1].scope == subject

    def run(part: Sequence[Numbered]) -> Account:
        # Closed at once: a large schedule is run many times over while it is made smaller.
        with bench.fresh_place() as place:
            return transcript(place, part, its_own, how)

    own = list(filter(its_own, numbered))

    before, beside, after = run(own), run(numbered), run(own)
    if before.answers != after.answers:
        raise Indeterminate("one scope alone, twice, saw different things; nothing can be said")
    bench.figures["two_run_calls"] = bench.figures.get("two_run_calls", 0) + len(calls)
    if beside.answers != before.answers:
        who = f"{named(subject)} could tell what other scopes did"
        raise told_apart(numbered, Eyes(its_own, run, who), (before, beside), bench.effort)
    for field in before.tokens:
        lost = changed(*(each.tokens.get(field, []) for each in (before, beside, after)))
        if lost is not None:
            raise Violation(
                f"{named(subject)} could tell from its own {field} values that other scopes did "
                f"something: {lost}"
            )
    return before


def changed(before: Sequence[Any], beside: Sequence[Any], after: Sequence[Any]) -> str | None:
    """What is the same in values made alone, before and after, and another in those made beside.

    Values are compared whole where both runs alone gave the same, else character by character
    where all of them have one form. ``None`` where nothing shows.
    """
    if before == after:
        return None if beside == before else "alone they are always the same, and here others"
    alone = [str(each) for each in (*before, *after)]
    here = [str(each) for each in beside]
    lengths = {len(each) for each in alone}
    first, second, third = (_steps(each) for each in (before, beside, after))
    if first is not None and first == third != second:
        return "alone they count up by the same steps every time, and here by others"
    if len(lengths) != 1 or min(len(before), len(here)) < ENOUGH:
        return None
    size = lengths.pop()
    if {len(each) for each in here} != {size}:
        return "alone they are all of one length, and here of others"
    for place in range(size):
        fixed = {each[place] for each in alone}
        if len(fixed) == 1 and {each[place] for each in here} != fixed:
            return f"alone the character at {place} is always the same, and here another"
    return None


def _steps(values: Sequence[Any]) -> list[int] | None:
    """By how much values that are numbers in whatever base grow from each to the next."""
    texts = [str(each).lstrip("ghijklmnopqrstuvwxyz-_") for each in values]
    base = 10 if all(text.isdecimal() for text in texts) else 16
    try:
        numbers = [int(text, base) for text in texts]
    except ValueError:
        return None
    # Two may agree by chance.
    return [right - left for left, right in pairwise(numbers)] if len(numbers) > 2 else None


@attrs.frozen
class Eyes:
    """Whose answers are compared, how a schedule is run for them, and what it means if they differ.

    ``lawful`` says whether a smaller schedule's run may still be held against the law at all.
    """

    kept: Callable[[Numbered], bool]
    run: Callable[[Sequence[Numbered]], Account]
    who: str
    otherwise: str = "alone"
    lawful: Callable[[Sequence[Numbered], Account], bool] = lambda _part, _account: True

    def both(self, part: Sequence[Numbered]) -> tuple[Account, Account]:
        """The part without all others, and with them."""
        return self.run(list(filter(self.kept, part))), self.run(part)

    def leaks(self, part: Sequence[Numbered]) -> bool:
        """Whether the answers differ."""
        alone, beside = self.both(part)
        return beside.answers != alone.answers and self.lawful(part, beside)


def told_apart(
    calls: Sequence[Numbered], eyes: Eyes, found: tuple[Account, Account], effort: int
) -> Violation:
    """The violation for a schedule that leaks, with the smallest part of it that still does."""
    alone, beside = found
    first = next(
        number
        for (number, right), (_, wrong) in zip(alone.answers, beside.answers, strict=True)
        if right != wrong
    )
    smallest = _shrunk([pair for pair in calls if pair[0] <= first], eyes, effort)
    expected, seen = eyes.both(smallest)
    for (number, right), (_, wrong) in zip(expected.answers, seen.answers, strict=True):
        if right != wrong:
            words = "\n".join(_listed(smallest))
            where, theirs, own_value = parting(wrong, right)
            return Violation(
                f"{eyes.who}. The smallest schedule that "
                f"was found:\n{words}\nIn the call {dict(calls)[number].words()}\n"
                f"{f'  at {where}' + chr(10) if where else ''}"
                f"  it saw  {short(theirs, 400)}\n  {eyes.otherwise}   {short(own_value, 400)}"
            )
    return Violation(
        f"{eyes.who}, in a way that did not repeat: the "
        "backend keeps something from one store to the next, in its module perhaps"
    )


def _listed(calls: Sequence[Numbered]) -> list[str]:
    """The calls in words, with the numbers of those whose answers others use."""
    given = [value for _, call in calls for value in (*call.args, *call.kwargs.values())]
    used = {value.call for value in given if isinstance(value, Ref)}
    return [
        f"  {call.words()}{f' (call {number})' if number in used else ''}" for number, call in calls
    ]


def parting(left: Any, right: Any) -> tuple[str, Any, Any]:
    """The place at which two answers part, and what each has there."""
    if isinstance(left, Mapping) and isinstance(right, Mapping) and left.keys() == right.keys():
        pairs = [(f".{key}", left[key], right[key]) for key in left]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        both_sides = enumerate(zip(left, right, strict=True))
        pairs = [(f"[{number}]", one, other) for number, (one, other) in both_sides]
    else:
        return "", left, right
    for step, one, other in pairs:
        if one != other:
            where, *both = parting(one, other)
            return f"{step}{where}", *both
    return "", left, right


def _shrunk(calls: list[Numbered], eyes: Eyes, budget: int) -> list[Numbered]:
    """Drop calls as long as the difference stays: whole scopes, then pieces, large ones first.

    Makes about ``budget`` calls on the way.
    """
    for other in {pair[1].scope: None for pair in calls if not eyes.kept(pair)}:
        candidate = [pair for pair in calls if pair[1].scope != other]
        budget -= 10 + len(candidate)
        if budget > 0 and eyes.leaks(candidate):
            calls = candidate
    size = max(1, len(calls) // 2)
    while size >= 1 and budget > 0:
        start = 0
        while start < len(calls) and budget > 0:
            candidate = calls[:start] + calls[start + size :]
            budget -= 10 + len(candidate)
            if candidate and eyes.leaks(candidate):
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
    kind: Any = type(value)
    if kind in _AS_THEY_ARE:
        return value
    fields = _fields(kind)
    if fields is not None:
        return {name: plain(getattr(value, name), names, name) for name in fields}
    if isinstance(value, Mapping):
        return {key: plain(item, names, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, names) for item in value]
    if isinstance(value, memoryview):
        return bytes(value)
    return value


@cache
def _fields(kind: type) -> tuple[str, ...] | None:
    return tuple(field.name for field in attrs.fields(kind)) if attrs.has(kind) else None


def _filled(value: Any, results: Mapping[int, Any]) -> Any:
    if not isinstance(value, Ref):
        return value
    if value.call not in results:
        raise UnresolvedError
    found = results[value.call]
    for step in value.path:
        found = found[step] if isinstance(step, int) else getattr(found, step)
    return found
