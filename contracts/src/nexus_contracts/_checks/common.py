"""Checks that all roles share: configuration that fails closed, hygiene, durability.

Each role has requirements of its own for them; the work is the same and stands here once.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any, Final

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._kinds import kinds_of
from nexus_contracts._registry import check
from nexus_contracts._work import told
from nexus_core import NexusError, Scope
from nexus_core.spi import Isolation, Problem, StoreError

CROWD: Final = 300


def ready_check_is_silent(bench: Bench) -> None:
    """check on a ready store: no problem, no change."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    before = None if door is None else door.snapshot()
    store = bench.open(namespace)
    problems = list(store.check())
    bench.expect(problems == [], f"check of a ready store reports {[str(p) for p in problems]}")
    list(store.check())
    after = None if door is None else door.snapshot()
    bench.expect(before == after, "check changed what is stored")


def unprovisioned_is_refused(bench: Bench) -> None:
    """check on a bare place: a problem, and the place stays bare."""
    if bench.spec.provision is None:
        return
    namespace = bench.namespace()
    store = bench.open(namespace)
    problems = list(store.check())
    bench.expect(problems, "check is silent about a place that was never provisioned")
    bench.expect(
        all(isinstance(problem, Problem) and problem.what and problem.fix for problem in problems),
        "check reports something that is not a Problem with a fix",
    )
    made = sorted(path.name for path in namespace.path.rglob("*"))
    bench.expect(not made, f"building or checking created {made[:3]}")


def broken_settings_are_reported(bench: Bench) -> None:
    """Every broken setting of the harness."""
    if bench.harness.broken_settings is None:
        return
    namespace = bench.namespace()
    for name, settings in bench.harness.broken_settings(namespace).items():
        try:
            store = bench.watched(bench.harness.build(namespace, bench.clock, settings))
            problems = list(store.check())
            store.close()
        except NexusError:
            continue
        bench.expect(problems, f"check is silent about {name}")


def errors_are_clean(
    bench: Bench,
    exercise: Callable[[Any], list[Callable[[], object]]],
    *,
    hidden: str = "",
) -> None:
    """Make calls fail; look at what they say."""
    namespace = bench.provisioned()
    store = bench.open(namespace)
    secrets = tuple(filter(None, (str(namespace.path), namespace.token, hidden)))
    for call in exercise(store):
        try:
            call()
        except StoreError as error:
            seen = f"{error} {error!r} {error.args} {vars(error)} {error.__cause__!r}"
            for secret in secrets:
                bench.expect(secret not in seen, f"{type(error).__name__} shows the physical place")
        except NexusError:
            continue
        except Exception as error:  # noqa: BLE001  # this is what must not happen
            bench.fail(f"{type(error).__name__} escaped, which is outside the error tree")


def survives_reopening(
    bench: Bench, write: Callable[[Any], None], seen: Callable[[Any], object]
) -> None:
    """Write, close, open again, compare."""
    if not bench.harness.survives_reopen:
        return
    namespace = bench.provisioned()
    store = bench.open(namespace)
    write(store)
    before = seen(store)
    store.close()
    try:
        after = seen(bench.open(namespace))
    except NexusError:
        after = None
    bench.expect(before == after, "what was acknowledged is not there after opening again")
    _kinds_survive(bench)


def _kinds_survive(bench: Bench) -> None:
    """Make a write of each kind, and open the store again after each."""
    scope, work = SCOPES[0], kinds_of(bench.spec.role, bench.spec.capabilities)
    with bench.fresh_place() as place:
        work.prepare(place.store, scope)
        state = work.observe(place.store, scope)
        for number in range(work.turns):
            work.write(place.store, scope, number)
            state = work.after(state, number)
            found = work.observe(place.open_again(), scope)
            bench.expect(
                found == state,
                f"what was acknowledged is not there after opening again: {work.words(number)}\n"
                f"  expected {told(state)}\n  got      {told(found)}",
            )


def crowd(bench: Bench) -> list[Scope]:
    """Scopes of hundreds of tenants, with names of many lengths in which nothing is alike: enough
    for two of them to meet in a hash of a dozen bits.

    Where a scope is a column of every row no name is made of it, and logins are made for few.
    """
    if bench.spec.isolation in (Isolation.PREDICATE, Isolation.ROW_POLICY):
        return list(SCOPES)
    letters = string.ascii_lowercase + string.digits
    names = {
        bench.random.choice(string.ascii_lowercase)
        + "".join(bench.random.choices(letters, k=bench.random.randint(4, 40)))
        for _ in range(CROWD)
    }
    return [Scope(name, "dev") for name in sorted(names)]


check("CFG-101")(ready_check_is_silent)
check("CFG-102")(unprovisioned_is_refused)
check("CFG-103")(broken_settings_are_reported)


@check("SEC-101")
def raw_errors_are_clean(bench: Bench) -> None:
    """Failing calls of the raw store."""
    from nexus_contracts._checks.raw import put, read

    def failing(store: Any) -> list[Callable[[], object]]:
        put(store, "k", b"x")
        return [
            lambda: read(store, "absent"),
            lambda: store.head(SCOPES[0], "absent"),
            lambda: put(store, "k", b"y", if_absent=True),
            lambda: put(store, "k", b"y", if_match="stale"),
            store.close,
            lambda: store.head(SCOPES[0], "k"),
        ]

    errors_are_clean(bench, failing)


@check("DUR-101")
def raw_survives_reopening(bench: Bench) -> None:
    """Objects with their bytes and ETags, over closing and opening."""
    from nexus_contracts._bench import KEYS
    from nexus_contracts._checks.raw import names, put, read

    def write(store: Any) -> None:
        for key in KEYS:
            put(store, key, key.encode())

    def seen(store: Any) -> object:
        return [(key, read(store, key), store.head(SCOPES[0], key)) for key in names(store)]

    survives_reopening(bench, write, seen)
