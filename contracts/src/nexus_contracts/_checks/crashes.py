"""Checks that end a writer without a word: killed processes, and files that cannot grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench, Violation
from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._checks.canaries import places
from nexus_contracts._kinds import Kinds, erases, following, kinds_of
from nexus_contracts._lives import BLANK, scope_of
from nexus_contracts._processes import child
from nexus_contracts._registry import check
from nexus_contracts._requirements import Profile
from nexus_contracts._work import OTHER, SCOPE, State, Work, between, told, work_of
from nexus_core import NexusError, Scope
from nexus_core.spi import StoreRole

# Of each kind of write.
EFFECTS: Final = {Profile.CORE: 12, Profile.EXTENDED: 48}
ROUNDS: Final = {Profile.CORE: 8, Profile.EXTENDED: 40}
LIMITS: Final = (1 << 12, 1 << 15, 1 << 16, 3 << 16, 1 << 19)


def partial_batches(bench: Bench) -> bool:
    """Whether the store says that a batch of it may be written in part."""
    return not getattr(bench.spec.capabilities, "atomic_batch", True)


def killed(bench: Bench) -> None:
    """Kill a writer at many points of a stream of writes; look at what is there, and write on."""
    namespace = bench.provisioned()
    work = kinds_of(bench.spec.role, bench.spec.capabilities)
    store = bench.open(namespace)
    for scope in (SCOPE, OTHER):
        work.prepare(store, scope)
    work.write(store, OTHER, 0)
    other, state = work.observe(store, OTHER), work.observe(store, SCOPE)
    store.close()
    acknowledged = last = 0
    with child(bench, namespace, "die", rounds=ROUNDS[bench.profile]) as writer:
        for _ in range(ROUNDS[bench.profile]):
            said = writer.hear()
            bench.expect(not said["failed"], f"a writer was stopped by {said['failed']}")
            for number in said["done"]:
                state = work.after(state, number)
            acknowledged += len(said["done"])
            last = max([last, *said["begun"]])
            open_ = [number for number in said["begun"] if number not in said["done"]]
            found = _reopened(bench, namespace, work, other, open_)
            seen = Seen(state, found, open_[0] if open_ else None, "a kill")
            state = _living(bench, work, seen)
            writer.go()
    # What the others left was written on by those who came after them.
    store = bench.open(namespace)
    state, what = _gone_on(bench, work, store, SCOPE, Seen(state, state, last, "a kill"))
    bench.release(store)
    settled(bench, work, Seen(state, _reopened(bench, namespace, work, other), None, what))
    bench.figures |= {"kills": ROUNDS[bench.profile], "acknowledged_writes": acknowledged}


def _living(bench: Bench, work: Kinds, seen: Seen) -> State:
    """``settled``, for writes of every kind."""
    if seen.open is None:
        return settled(bench, work, seen)
    if erases(work, seen.open):
        state, what = work.after(seen.before, seen.open), f"{seen.what}, and erase once more"
        return settled(bench, work, Seen(state, seen.found, None, what))
    if seen.found == work.readied(seen.before, seen.open):
        return seen.found
    return settled(bench, work, attrs.evolve(seen, partial=work.partial(seen.open)))


def killed_in_steps(bench: Bench) -> None:
    """Kill a writer after each effect that a write of each kind has, and after its return; look at
    what is there, write on, and look again by a store that is opened anew."""
    namespace = bench.provisioned()
    work = kinds_of(bench.spec.role, bench.spec.capabilities)
    store = bench.open(namespace)
    work.prepare(store, BLANK)
    start = work.observe(store, BLANK)
    bench.release(store)
    count = done = 0
    with child(bench, namespace, "steps", rounds=EFFECTS[bench.profile]) as writer:
        while lives := writer.hear()["lives"]:
            store = _opened(bench, namespace)
            scopes = [scope_of(life["life"]) for life in lives]
            seen = [_judged_life(bench, work, store, start, life) for life in lives]
            _nothing_left(bench, work, namespace, seen)
            pairs = zip(scopes, seen, strict=True)
            ends = [_gone_on(bench, work, store, scope, each) for scope, each in pairs]
            bench.release(store)
            store = _opened(bench, namespace)
            for scope, (state, what) in zip(scopes, ends, strict=True):
                found = _observed(bench, work, store, scope, what)
                settled(bench, work, Seen(state, found, None, what))
                # What is left makes the next ones slow in a store that keeps all in one.
                store.erase(scope)
            bench.release(store)
            count, done = count + len(lives), done + sum(life["done"] for life in lives)
            writer.go()
    bench.figures |= {"kills": count, "kills_within_a_write": count - done}


def _opened(bench: Bench, namespace: Any) -> Any:
    store = bench.open(namespace)
    problems = [str(problem) for problem in store.check()]
    bench.expect(not problems, f"when it is opened again check reports {problems}")
    return store


def _observed(bench: Bench, work: Kinds, store: Any, scope: Scope, what: str) -> State:
    try:
        return work.observe(store, scope)
    except NexusError as error:
        bench.fail(f"after {what} the store cannot be read: {type(error).__name__}")


def _gone_on(bench: Bench, work: Kinds, store: Any, scope: Scope, seen: Seen) -> tuple[State, str]:
    """Write on after a write that was cut short; the state that is to be there, and what befell."""
    assert seen.open is not None
    state = seen.found
    for number in following(work, seen.open):
        try:
            work.write(store, scope, number)
        except NexusError as error:
            bench.fail(
                f"after {seen.what} a later write raises {type(error).__name__}: "
                f"{work.words(number)}: what a killed process leaves must stand in nobody's way"
            )
        state = work.after(state, number)
    later = " and ".join(work.words(number) for number in following(work, seen.open))
    return state, f"{seen.what}, and then {later},"


def _nothing_left(bench: Bench, work: Kinds, namespace: Any, seen: Sequence[Seen]) -> None:
    """Of what was erased, by lives that ended within it and have made it once more, the back door
    shows nothing."""
    door, number = bench.back_door(namespace), seen[0].open
    if door is None or number is None or not work.gone(number):
        return
    left = places(door.snapshot(), work.gone(number))
    bench.expect(
        not left,
        f"after {seen[-1].what}, and once more to its end, {len(left)} places below the store "
        "still hold what was erased: who makes it again takes away what the first left behind",
    )


def _judged_life(
    bench: Bench, work: Kinds, store: Any, start: State, life: Mapping[str, Any]
) -> Seen:
    """Judge what is there; where something was to be gone, make it once more. The state from which
    it is written on."""
    number, scope = life["number"], scope_of(life["life"])
    state, words = start, work.words(number)
    failed = life.get("failed") or ("" if life["done"] or "at" in life else "its silence")
    bench.expect(not failed, f"a writer was stopped by {failed}: {words}")
    for each in work.needs(number):
        state = work.after(state, each)
    if life["done"]:
        what, under_way = f"a kill as soon as this was acknowledged: {words}", None
        state = work.after(state, number)
    else:
        what, under_way = f"a kill after {life['at']}", number
        if erases(work, number) or work.gone(number):
            work.write(store, scope, number)
    found = _observed(bench, work, store, scope, what)
    state = _living(bench, work, Seen(state, found, under_way, what))
    return Seen(state, state, number, what)


def _reopened(
    bench: Bench, namespace: Any, work: Any, other: State, under_way: Sequence[int] = ()
) -> State:
    try:
        store = bench.open(namespace)
        problems = [str(problem) for problem in store.check()]
        for number in under_way:
            if erases(work, number):
                work.write(store, SCOPE, number)
        found: State = work.observe(store, SCOPE)
        beside = work.observe(store, OTHER)
        store.close()
    except NexusError as error:
        bench.fail(f"when it is opened again the store cannot be read: {type(error).__name__}")
    bench.expect(not problems, f"when it is opened again check reports {problems}")
    bench.expect(beside == other, f"what befell {SCOPE} changed {OTHER}")
    return found


@attrs.frozen
class Seen:
    """What was there, what is, the write whose outcome is open, and what happened between.

    ``partial`` says whether a part of that write may stand, where that is not the same for all.
    """

    before: State
    found: State
    open: int | None
    what: str
    partial: bool | None = None


def settled(bench: Bench, work: Work, seen: Seen) -> State:
    """The state to go on from; a violation unless it is that of the acknowledged writes, with or
    without the one whose outcome is open."""
    state, found = seen.before, seen.found
    if found == state:
        return found
    shown = f"\n  expected {told(state)}\n  got      {told(found)}"
    damaged = sorted(name for name, held in found.items() if held == "damaged")
    bench.expect(not damaged, f"after {seen.what} {damaged[:3]} is there by half{shown}")
    if seen.open is not None:
        applied = work.after(state, seen.open)
        partial = partial_batches(bench) if seen.partial is None else seen.partial
        if found == applied or (partial and between(state, applied, found)):
            return found
        bench.expect(
            not between(state, applied, found),
            f"after {seen.what} a write is there by half: {work.words(seen.open)}{shown}",
        )
    beside = "" if seen.open is None else f", and this was under way: {work.words(seen.open)}"
    raise Violation(
        f"after {seen.what} an acknowledged write is not there, or one that nobody made"
        f"{beside}{shown}"
    )


def judged(bench: Bench, work: Work, seen: Seen, outcome: str) -> State:
    """The state to go on from, after a write of which this was told: nothing where it returned."""
    assert seen.open is not None
    applied = work.after(seen.before, seen.open)
    if outcome == "unknown":
        return settled(bench, work, seen)
    if outcome == "not_applied":
        bench.expect(
            seen.found != applied or applied == seen.before,
            f"after {seen.what} a write stands that was said not to be applied: "
            f"{work.words(seen.open)}",
        )
        return settled(bench, work, attrs.evolve(seen, open=None))
    return settled(bench, work, attrs.evolve(seen, before=applied, open=None))


def full(bench: Bench) -> None:
    """Let files grow no further than several sizes; look at what is said and what is there."""
    struck = 0
    for limit in LIMITS:
        namespace = bench.provisioned()
        work = work_of(bench.spec.role, bench.spec.capabilities)
        store = bench.open(namespace)
        for scope in (SCOPE, OTHER):
            work.prepare(store, scope)
            work.write(store, scope, 0)
        state, other = work.observe(store, SCOPE), work.observe(store, OTHER)
        store.close()
        with child(bench, namespace, "fill", rounds=200, first=1, limit=limit) as writer:
            said = writer.hear()
            foreign, number, outcome = said["foreign"], said["stopped"], said["outcome"]
            bench.expect(
                not foreign, f"with full files {foreign} escaped, which is outside the error tree"
            )
            for done in range(1, number):
                state = work.after(state, done)
            what = f"files could be no larger than {limit} bytes"
            found = _reopened(bench, namespace, work, other)
            if outcome:
                state = judged(bench, work, Seen(state, found, number, what), outcome)
            else:
                state = settled(bench, work, Seen(state, found, None, what))
            struck += bool(outcome)
            writer.go()
            again = writer.hear()["again"]
            bench.expect(not again, f"with space again, the store goes on raising {again}")
            found = _reopened(bench, namespace, work, other)
            wanted = work.after(state, number + 1)
            settled(bench, work, Seen(wanted, found, None, "there was space again"))
    bench.figures["limits_met"] = struck


for _role in StoreRole:
    check(IDS[_role].killed)(killed)
    check(RACED[_role].in_steps)(killed_in_steps)
    check(IDS[_role].full)(full)
