"""What a call that is refused, that raises midway or that is cut short leaves: nothing.

A schedule of writes and reads is run without such calls, and then with them, each right before the
writes of whoever might meet what it left. Every answer has to be the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from nexus_contracts import _hands
from nexus_contracts._bench import Bench, Indeterminate
from nexus_contracts._catalogue.refused import REFUSED
from nexus_contracts._checks.refusals import Refusals, Trials, act
from nexus_contracts._checks.refusals_atoms import AtomRefusals
from nexus_contracts._checks.refusals_audit import AuditRefusals
from nexus_contracts._checks.refusals_raw import RawRefusals
from nexus_contracts._checks.refusals_vectors import VectorRefusals
from nexus_contracts._hands import StuckError, two_hands
from nexus_contracts._registry import check
from nexus_contracts._twins import (
    OPEN_AGAIN,
    Account,
    Call,
    Eyes,
    Numbered,
    UnresolvedError,
    told_apart,
    transcript,
)
from nexus_contracts._watch import Violation
from nexus_core import NexusError, Scope
from nexus_core.spi import StoreRole

# How often all that is refused is asked for again, so that places of which there are a hundred run
# out; seconds, of own work and in all, after which that is enough, and the fewest times.
# Whoever has no place left may wait for one at each call: then it is given up.
OFTEN: Final = 130
WORKED: Final = 1.0
WAITED: Final = 4.0
SELDOM: Final = 5
ENOUGH: Final = 20.0
# Calls of which none that is not meant to be refused may be.
WRITES: Final = ("put", "commit", "create_index", "upsert", "append")

KINDS: Final[Mapping[StoreRole, Callable[[Bench], Refusals]]] = {
    StoreRole.RAW: RawRefusals,
    StoreRole.ATOMS: AtomRefusals,
    StoreRole.VECTORS: VectorRefusals,
    StoreRole.AUDIT: AuditRefusals,
}


def leaves_nothing_here(bench: Bench) -> None:
    """The scope that was refused goes on; every other time it reads first."""
    own, *others = bench.cast(3)
    _refused(bench, own, others, (own, own), "here")


def leaves_nothing_elsewhere(bench: Bench) -> None:
    """The tenant in its other environment, and another tenant, go on after it."""
    own, *others = bench.cast(3)
    _refused(bench, own, others, others, "there")
    _refused_often(bench, own, others)


def _refused(
    bench: Bench, own: Scope, others: Sequence[Scope], followers: Sequence[Scope], mark: str
) -> None:
    script, work = Trials(), KINDS[bench.spec.role](bench)
    # No two runs name the same: what a module keeps of one check would be met by the next.
    text = f"left{bench.random.randbytes(6).hex()}{mark}"
    for scope in (*others, own):
        work.load(script, scope, refuser=scope == own)
    for number, way in enumerate(work.ways):
        for turn, follower in enumerate(followers):
            thing = f"{text}-{number:02}-{turn}"
            script.aside = False
            way(script, own, thing)
            # What a call keeps of a lock or a transaction, its own thread may not notice.
            script.aside = (number + turn) % 2 == 1
            if (number + turn) % 2 == 0:
                work.look(script, follower, thing)
            work.write(script, follower, thing)
            work.look(script, follower, thing)
    script.aside = False
    if bench.harness.survives_reopen:
        script.add(own, OPEN_AGAIN)
    for scope in (*others, own):
        work.everything(script, scope)
    script.add(own, "erase")
    for scope in (*others, own):
        work.everything(script, scope)
    unmoved(bench, script)


def _refused_often(bench: Bench, own: Scope, others: Sequence[Scope]) -> None:
    """Refused again and again, in one scope; then the others go on, and it goes on itself."""
    script, work = Trials(), KINDS[bench.spec.role](bench)
    for scope in (*others, own):
        work.load(script, scope, refuser=scope == own)
    for number, way in enumerate(work.ways):
        way(script, own, f"often-{number:02}")
    results: dict[int, Any] = {}
    with bench.fresh_place() as place, two_hands() as hands:

        def make(call: Call, which: int = 0) -> Any:
            try:
                return hands[which].make(partial(act, place.store, call, results), _hands.PATIENCE)
            except StuckError:
                bench.abandon(place.store)
                bench.fail(f"after many that were refused, this does not return: {call.words()}")

        for number, call in enumerate(script.calls):
            with suppress(NexusError, UnresolvedError):
                results[number] = make(call)
        vain = [script.calls[number] for number in sorted(script.refused | script.cut)]
        began = time.monotonic()

        def be_refused() -> int:
            made, worked = 0, time.thread_time()
            for turn in range(OFTEN):
                late = time.monotonic() - began > WAITED or time.thread_time() - worked > WORKED
                if turn >= SELDOM and late:
                    break
                for call in vain:
                    if time.monotonic() - began > ENOUGH:
                        break
                    with suppress(NexusError, UnresolvedError):
                        act(place.store, call, results)
                    made += 1
            return made

        try:
            count = hands[0].make(be_refused, 2 * _hands.PATIENCE)
        except StuckError:
            bench.abandon(place.store)
            bench.fail(f"of many calls of {own} that are refused, one does not return")
        bench.figures["refused_often"] = count
        for scope in (*others, own):
            done = len(script.calls)
            work.write(script, scope, "often")
            for number, call in enumerate(script.calls[done:], done):
                try:
                    results[number] = make(call, number % 2)
                except NexusError as error:
                    bench.fail(
                        f"after {count} calls of {own} that were refused or cut short this raised "
                        f"{type(error).__name__}: {call.words()}: what a refused call takes it has "
                        "to give back"
                    )


def attempt(bench: Bench, store: Any, own: Scope, others: Sequence[Scope], text: str) -> None:
    """Be refused in a scope, in every way, with a text in whatever is refused."""
    script, work = Trials(), KINDS[bench.spec.role](bench)
    for scope in (*others, own):
        work.load(script, scope, refuser=scope == own)
    for number, way in enumerate(work.ways):
        way(script, own, f"{text}-{number:02}")
    results: dict[int, Any] = {}
    for number, call in enumerate(script.calls):
        with suppress(NexusError, UnresolvedError):
            results[number] = act(store, call, results)


def unmoved(bench: Bench, script: Trials) -> None:
    """Run the schedule without what is refused or cut, and with it; raise where they differ."""
    numbered = list(enumerate(script.calls))
    inserted = script.refused | script.cut

    def plain(pair: Numbered) -> bool:
        return pair[0] not in inserted

    def run(part: Sequence[Numbered]) -> Account:
        with bench.fresh_place() as place, two_hands() as (hand, other):
            apart = {id(call) for number, call in part if number in script.apart}

            def make(backend: Any, call: Call, results: Mapping[int, Any]) -> Any:
                which = other if id(call) in apart else hand
                try:
                    return which.make(partial(act, backend, call, results), _hands.PATIENCE)
                except StuckError:
                    bench.abandon(place.store)
                    bench.fail(
                        f"after calls that were refused, this one does not return: {call.words()}"
                    )

            return transcript(place, part, plain, make)

    def accepted(part: Sequence[Numbered], account: Account) -> list[Numbered]:
        return [
            pair for pair in part if pair[0] in script.refused and pair[0] not in account.raised
        ]

    who = "What a call left behind that was refused, raised or was cut short could be told"
    eyes = Eyes(plain, run, who, "without", lambda part, account: not accepted(part, account))
    # The one without comes first: a module may keep something from one store to the next.
    without, beside = eyes.both(numbered)
    for number, call in numbered:
        if number in without.raised and plain((number, call)) and call.method in WRITES:
            answer = dict(without.answers)[number]
            raise Violation(
                f"no call before it was refused, but this was: {call.words()}: {answer}"
            )
    bench.figures["refusals"] = len(script.refused)
    bench.figures["calls"] = 2 * len(numbered) - len(inserted)
    pairs = zip(without.answers, beside.answers, strict=True)
    met = next((right[0] for right, wrong in pairs if right != wrong), len(numbered))
    for number, call in accepted(numbered, beside):
        # Where something was met before, it may be why.
        bench.expect(number > met, f"this has to be refused, but returned: {call.words()}")
    if met == len(numbered):
        return
    if run(list(filter(plain, numbered))).answers != without.answers:
        raise Indeterminate("calls of which none is refused saw different things in two runs")
    raise told_apart(numbered, eyes, (without, beside), bench.effort)


for _role in StoreRole:
    check(REFUSED[_role].here)(leaves_nothing_here)
    check(REFUSED[_role].elsewhere)(leaves_nothing_elsewhere)
