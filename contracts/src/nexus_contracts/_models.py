"""Random schedules by several scopes, held against a model, and shrunk to the smallest that fails.

Hypothesis draws the calls. They depend on nothing but the run's seed, and no example is kept from
one run to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from nexus_contracts._bench import Bench, Violation
from nexus_contracts._requirements import Profile
from nexus_contracts._twins import Call
from nexus_contracts._watch import short
from nexus_core import NexusError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

# How many schedules, and of how many calls at most.
SIZES: Final = {Profile.CORE: (36, 50), Profile.EXTENDED: (120, 80)}


class Model(Protocol):
    """A plain account of what a store is promised to do. Shares no code with any product."""

    def expected(self, call: Call) -> Any:
        """Make the call on the model; give the answer that is due."""

    def actual(self, store: Any, call: Call) -> Any:
        """Make the call on the store; give its answer in the same form. May raise the tree's."""


class Refused(Exception):  # what a model raises is an answer, not an error
    """The model's word for an error: the name of the class in the tree."""


@attrs.frozen
class Difference:
    """Where a store and its model part: the calls up to there, what was due, and what came."""

    calls: tuple[Call, ...]
    expected: Any
    found: Any

    def words(self) -> str:
        """What a person needs to see it again."""
        lines = "\n".join(f"  {each.words()}" for each in self.calls)
        return (
            f"the store differs from its model. The smallest schedule:\n{lines}\n"
            f"In the last of these calls\n"
            f"  expected {short(self.expected, 400)}\n  got      {short(self.found, 400)}"
        )


def agree(
    bench: Bench,
    calls: SearchStrategy[Call],
    model: Callable[[], Model],
    *,
    first: Sequence[Call] = (),
    parts: int = 1,
) -> None:
    """Run random schedules of ``calls`` on fresh stores; raise where a store and model differ.

    Each schedule begins with the calls ``first``. ``parts`` says in how many such runs the
    schedules of one requirement are made.
    """
    import hypothesis
    from hypothesis import HealthCheck, Phase, Verbosity
    from hypothesis import strategies as st
    from hypothesis.errors import Flaky

    examples, length = SIZES[bench.profile]
    met: list[Difference] = []
    begun = {"schedules": 0, "schedule_calls": 0, "hypothesis_seed": bench.seed}
    bench.figures = {**begun, **bench.figures}

    @hypothesis.seed(bench.seed)
    @hypothesis.settings(
        max_examples=max(1, examples // parts),
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
        # Dropping whole calls, below, is a better shrinker of schedules, and bounded.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(schedule=st.lists(calls, min_size=length, max_size=length))
    def differ(schedule: list[Call]) -> None:
        schedule = [*first, *schedule]
        bench.figures["schedules"] += 1
        bench.figures["schedule_calls"] += len(schedule)
        found = _difference(bench, schedule, model)
        if found is not None:
            met.append(found)
            raise Violation(found.words())

    try:
        differ()
    except Violation:
        smallest = _shrunk(bench, met[-1], model)
    except Flaky:
        if met:
            raise Violation(f"{met[0].words()}\nIt does not happen at every repetition.") from None
        raise
    else:
        return
    raise Violation(smallest.words())


def _difference(
    bench: Bench, schedule: Sequence[Call], model: Callable[[], Model]
) -> Difference | None:
    """The first call of a schedule in which a fresh store and a fresh model differ."""
    mine = model()
    with bench.fresh() as store:
        for place, call in enumerate(schedule):
            wanted = _answer(partial(mine.expected, call))
            found = _answer(partial(mine.actual, store, call))
            if wanted != found:
                return Difference(tuple(schedule[: place + 1]), wanted, found)
    return None


def _shrunk(bench: Bench, found: Difference, model: Callable[[], Model]) -> Difference:
    """Drop calls, large pieces first, as long as there is a difference; at most 300 runs."""
    budget, size = 300, max(1, len(found.calls) // 2)
    while size and budget > 0:
        start, smaller = 0, False
        while start < len(found.calls) - 1 and budget > 0:
            budget -= 1
            less = found.calls[:start] + found.calls[min(start + size, len(found.calls) - 1) :]
            again = _difference(bench, less, model)
            if again is None:
                start += size
            else:
                found, smaller = again, True
        size = size // 2 if size > 1 else int(smaller)
    return found


def _answer(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Refused as refused:
        return ("raises", str(refused))
    except NexusError as error:
        return ("raises", type(error).__name__)
