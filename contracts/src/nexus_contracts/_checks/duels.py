"""Checks in which two calls meet, one of them held up before every line of the backend's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nexus_contracts._arena import (
    BUDGET,
    LINES,
    Bout,
    Hangs,
    Thread,
    bouts,
    said_by,
)
from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._checks.queued import beside_refused
from nexus_contracts._duel import SCOPE, Duel
from nexus_contracts._duels import duels_of, erasures, meeting
from nexus_contracts._processes import child
from nexus_contracts._registry import check
from nexus_contracts._steps import thinned
from nexus_core.spi import StoreRole

# Another tenant, whose writes come between.
THIRD = "t10"
# Seconds for an erasure or a first write that is held up.
BRIEFLY = 1.0
# How long someone who may have to wait is given before the next one moves.
MOMENT = 0.005


@contextmanager
def threads(bench: Bench, duels: Sequence[Duel], count: int) -> Iterator[list[Thread]]:
    """Sides in threads of this process, on a store of their own."""
    store = bench.open()
    sides = [Thread(store, store.backend, duels) for _ in range(count)]
    try:
        yield sides
    except Hangs as why:
        bench.fail(str(why))
    finally:
        for side in sides:
            side.tell(None)


def judge(bench: Bench, bout: Bout, duel: Duel) -> None:
    """Nothing may be wrong with it."""
    bench.expect(not bout.wrong, f"{bout.wrong}: {duel.title}, {bout.words()}")


def fought(bench: Bench, *about: str) -> None:
    """Every duel of these kinds, by two threads."""
    duels = [
        duel for duel in duels_of(bench.spec.role, bench.spec.capabilities) if duel.about in about
    ]
    met = 0
    with threads(bench, duels, 2) as sides:
        for bout in bouts(sides, duels, SCOPE.tenant_id):
            judge(bench, bout, duels[bout.duel])
            met += 1
    bench.figures |= {"duels": len(duels), "meetings": met}


def of_kinds(*about: str) -> Callable[[Bench], None]:
    """The check that fights the duels of these kinds."""

    def run(bench: Bench) -> None:
        fought(bench, *about)

    return run


def by_processes(bench: Bench) -> None:
    """Every duel of the role, by two other processes."""
    with child(bench, bench.provisioned(), "duel", rounds=0) as conductor:
        said = conductor.hear()
    if "refused" in said:
        bench.expect(said["opened"], f"another process cannot open the store: {said['refused']}")
        bench.figures["a_second_process"] = "is refused"
        return
    bench.expect(
        "wrong" not in said,
        f"in two processes {said.get('wrong')}: {said.get('title')}, {said.get('where')}",
    )
    bench.figures["meetings"] = said["bouts"]


def waited_for(bench: Bench) -> None:
    """A write held up before every line; one of its scope, and one of another's, meanwhile."""
    duel = meeting(bench.spec.role, bench.spec.capabilities)
    with threads(bench, [duel], 3) as sides:
        first, second, other = sides
        tenants = {first: SCOPE.tenant_id, second: SCOPE.tenant_id, other: THIRD}
        numbers = {first: 0, second: 1, other: 1}

        def tell(side: Thread, verb: str, place: str, at: object = None) -> None:
            side.tell((verb, 0, tenants[side], place, numbers[side], at))

        def set_out(place: str) -> None:
            for side, verb in (
                *((first, "prepare"), (other, "prepare")),
                *((each, "ready") for each in sides),
            ):
                tell(side, verb, place)
                said_by(side)

        began = time.monotonic()
        set_out("w0")
        tell(first, "act", "w0", "look")
        met = said_by(first)[2]
        patience = min(max(0.01, 3 * (time.monotonic() - began)), 0.25)
        for number, line in enumerate(thinned(met, LINES), 1):
            if time.monotonic() - began > BUDGET:
                break
            place = f"w{number}"
            set_out(place)
            tell(first, "act", place, line)
            heard = said_by(first)
            tell(second, "act", place)
            waits = second.hear(MOMENT)
            tell(other, "act", place)
            beside = other.hear(patience)
            if heard[0] == "held":
                tell(first, "go", place)
                heard = said_by(first)
            waits, beside = waits or said_by(second), beside or said_by(other)
            file, at = line[0].replace("\\", "/").rpartition("/")[2], line[1]
            where = f"while one write is held up before {file}:{at}, and others come"
            for _, said, *_ in (heard, waits, beside):
                raised = said.startswith("raised ")
                bench.expect(not raised, f"a write {said} {where}: {duel.title}")
            tell(first, "judge", place, (heard[1], waits[1]))
            tell(other, "judge", place, ("lost", beside[1]))
            for side in (first, other):
                wrong = said_by(side)[1]
                bench.expect(not wrong, f"{wrong} {where}: {duel.title}")
        bench.figures["meetings"] = len(met)


def erased_beside(bench: Bench) -> None:
    """An erasure held up before every line while another scope is written to for the first time,
    and the other way round."""
    duels = erasures(bench.spec.role, bench.spec.capabilities)
    with threads(bench, duels, 2) as sides:
        for bout in bouts(sides, duels, SCOPE.tenant_id, LINES, BRIEFLY):
            judge(bench, bout, duels[bout.duel])
            bench.figures["meetings"] = bench.figures.get("meetings", 0) + 1


def unharmed_by_others(bench: Bench) -> None:
    """What others write meanwhile, what they erase, and what is refused to them."""
    waited_for(bench)
    erased_beside(bench)
    beside_refused(bench)


for role in StoreRole:
    check(RACED[role].processes)(by_processes)
    check(RACED[role].waiting)(unharmed_by_others)
    check(RACED[role].beside)(of_kinds("beside"))

check("RAW-050")(of_kinds("replace"))
check("RAW-051")(of_kinds("delete"))
check("ATOM-040")(of_kinds("insert"))
check("ATOM-041")(of_kinds("require", "remove"))
check("VEC-040")(of_kinds("define"))
check("VEC-041")(of_kinds("drop"))
