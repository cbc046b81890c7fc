"""What an opening remembers while another one writes: two in this process, then one in another.

A plan of writes and reads is played by one opening, which makes all the calls. Then it is played by
two, who take turns and read everything in between. Each answer has to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._answers import Answer, answer
from nexus_contracts._bench import SCOPES, Bench, Indeterminate
from nexus_contracts._catalogue.remembered import REMEMBERED
from nexus_contracts._checks.remembered_plans import PLANS, Kept, Plan, Step, reference
from nexus_contracts._harness import Namespace
from nexus_contracts._processes import Unreachable, child, portable
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, parting, plain
from nexus_contracts._watch import short
from nexus_core import NexusError, Scope
from nexus_core.spi import StoreRole

HERE: Final = SCOPES[0]
THERE: Final = next(each for each in SCOPES if each.tenant_id != HERE.tenant_id)
BOTH: Final = (HERE, THERE)

Ask = Callable[[Sequence[Call]], Sequence[Answer]]


class RefusedError(Exception):
    """A second opening is refused; the text says how."""


@attrs.frozen
class Said:
    """An answer: whose, to which call, and what was written last before it."""

    who: str
    call: str
    after: str
    answer: Any


@attrs.frozen
class Opening:
    """Who is asked, and how."""

    who: str
    ask: Ask


@attrs.define
class Play:
    """One playing of a plan: by two openings, or by one that is both.

    They take turns at writing first: whoever has not written since it read everything is the other.
    """

    plan: Plan
    openings: tuple[Opening, Opening]
    after: str = "nothing had been written"
    kept: dict[str, Any] = attrs.field(factory=dict)
    names: dict[tuple[str, Any], str] = attrs.field(factory=dict)

    def answers(self) -> Iterator[list[Said]]:
        """What is answered at each moment, renamed."""
        mine, theirs = self.openings
        yield self._writes(mine, self.plan.load())
        yield self.looks(mine, BOTH)
        yield self.looks(theirs, BOTH)
        rounds = self.plan.rounds()
        for number, each in enumerate(rounds, 1):
            steps = (*each.theirs, *each.mine)
            erases = any(step.call.method == "erase" for step in steps)
            wide = each.wide or erases or number == len(rounds)
            scopes = BOTH if wide else (HERE,)
            yield self._writes(theirs, each.theirs)
            yield self.looks(mine, scopes)
            yield self._writes(mine, each.mine)
            yield self.looks(theirs, scopes)
            mine, theirs = theirs, mine

    def _writes(self, opening: Opening, steps: Sequence[Step]) -> list[Said]:
        return [self._write(opening, step) for step in steps]

    def _write(self, opening: Opening, step: Step) -> Said:
        words, before = step.call.words(), self.after
        call = self._filled(step.call)
        if call is None:
            return Said(opening.who, words, before, ["was not asked"])
        (said,) = opening.ask([call])
        if said[0] == "returned":
            self.after = f"{opening.who} had made {words}"
            if step.keep:
                made = step.call.method == "create_index"
                self.kept[step.keep] = reference(call, said[1]) if made else said[1]
        return Said(opening.who, words, before, self._renamed(said))

    def looks(self, opening: Opening, scopes: Sequence[Scope]) -> list[Said]:
        """Everything that an opening reads in these scopes."""
        asked = [call for scope in scopes for call in self.plan.reads(scope)]
        filled = [self._filled(call) for call in asked]
        answers = iter(opening.ask([call for call in filled if call is not None]))
        return [
            Said(
                opening.who,
                call.words(),
                self.after,
                ["was not asked"] if made is None else self._renamed(next(answers)),
            )
            for call, made in zip(asked, filled, strict=True)
        ]

    def _renamed(self, said: Answer) -> Any:
        return plain(said, self.names)

    def _filled(self, call: Call) -> Call | None:
        """The call, with what earlier ones answered; ``None`` where they did not."""
        given = [*call.args, *call.kwargs.values()]
        given += [each for one in given if isinstance(one, list) for each in one]
        if any(isinstance(each, Kept) and each.name not in self.kept for each in given):
            return None
        return attrs.evolve(
            call,
            args=tuple(map(self._value, call.args)),
            kwargs={name: self._value(value) for name, value in call.kwargs.items()},
        )

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(each) for each in value]
        if not isinstance(value, Kept):
            return value
        return self.kept[value.name][value.part] if value.part else self.kept[value.name]


def alone(bench: Bench, plan: Plan) -> list[list[Said]]:
    """The plan, played by one opening."""
    with bench.fresh_place() as place:
        one = _opening("it", place.store)
        return list(Play(plan, (one, one)).answers())


def _opening(who: str, store: Any) -> Opening:
    return Opening(who, lambda calls: [answer(store, call) for call in calls])


@contextmanager
def beside(bench: Bench, namespace: Namespace) -> Iterator[Opening]:
    """A second opening in this process."""
    try:
        store = bench.open(namespace)
        problems = list(store.check())
    except NexusError as error:
        raise RefusedError(f"{type(error).__name__} ({error.code})") from None
    if problems:
        raise RefusedError(problems[0].what)
    yield _opening("the second opening", store)
    bench.release(store)


@contextmanager
def apart(bench: Bench, namespace: Namespace) -> Iterator[Opening]:
    """An opening in another process."""
    with child(bench, namespace, "answer", rounds=0) as process:
        said = process.hear()
        if said["refused"]:
            raise RefusedError(said["refused"])
        yield Opening("the other process", process.ask)


def played(
    bench: Bench,
    plan: Plan,
    expected: Sequence[Sequence[Said]],
    second: Callable[[Bench, Namespace], AbstractContextManager[Opening]],
    who: str,
) -> None:
    """Have two openings play the plan, hold every answer against those of one, and read it all
    once more with a third."""
    namespace = bench.provisioned()
    store = bench.open(namespace)
    try:
        with second(bench, namespace) as theirs:
            play = Play(plan, (_opening(who, store), theirs))
            for number, moment in enumerate(play.answers()):
                _compare(bench, plan, moment, expected, number)
    except RefusedError as why:
        bench.figures[f"beside {who}"] = f"another is refused: {why}"
        return
    finally:
        bench.release(store)
    fresh = _opening("a fresh opening", bench.open(namespace))
    _compare(bench, plan, play.looks(fresh, BOTH), expected, -1)


def _compare(
    bench: Bench, plan: Plan, found: Sequence[Said], expected: Sequence[Sequence[Said]], which: int
) -> None:
    for ours, theirs in zip(found, expected[which], strict=True):
        if ours.answer == theirs.answer:
            continue
        again = alone(bench, plan)
        if any(_answers(one) != _answers(two) for one, two in zip(again, expected, strict=True)):
            raise Indeterminate("one opening that makes all the calls, twice, saw different things")
        where, wrong, wanted = _shown(ours.answer, theirs.answer)
        # That was the control's.
        bench.trail.method = ""
        bench.fail(
            f"what one opening remembers outlives what another wrote: {ours.who} was asked "
            f"{ours.call}\n  when {ours.after}\n"
            f"{f'  at {where}' + chr(10) if where else ''}"
            f"  it said  {wrong}\n  where one opening makes all calls it says  {wanted}"
        )


def _shown(ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[str, str, str]:
    """Where two answers differ, and what is there; of lists of several lengths the part at which
    they do."""
    if ours[0] != "returned" or theirs[0] != "returned":
        return "", _whole(ours), _whole(theirs)
    where, wrong, wanted = parting(ours[1], theirs[1])
    if not (isinstance(wrong, list) and isinstance(wanted, list)):
        return where, short(wrong, 300), short(wanted, 300)
    pairs = enumerate(zip(wrong, wanted, strict=False))
    place = next((at for at, (one, two) in pairs if one != two), min(len(wrong), len(wanted)))

    def words(parts: Sequence[Any]) -> str:
        there = short(parts[place], 200) if place < len(parts) else "not there"
        return f"{len(parts)} parts, of which [{place}] is {there}"

    return where, words(wrong), words(wanted)


def _whole(answer: Sequence[Any]) -> str:
    """An answer, whatever it was."""
    kind, *what = answer
    if kind == "returned":
        return short(what[0], 300)
    return f"nothing: it {kind} {', which is '.join([*what[:1], *what[2:]])}".rstrip()


def _answers(moment: Sequence[Said]) -> list[Any]:
    return [each.answer for each in moment]


def nothing_outlives_a_write(bench: Bench) -> None:
    """Two openings in this process; then one in another."""
    plan = PLANS[bench.spec.role](bench, HERE, THERE)
    expected = alone(bench, plan)
    bench.figures["answers"] = sum(map(len, expected))
    played(bench, plan, expected, beside, "the first opening")
    why = portable(bench.harness, bench.harness.settings(bench.namespace()))
    if why is not None:
        raise Unreachable(why)
    played(bench, plan, expected, apart, "this process")


for _role in StoreRole:
    check(REMEMBERED[_role])(nothing_outlives_a_write)
