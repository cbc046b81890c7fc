"""Checks of isolation, hygiene and durability in the audit sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nexus_contracts._bench import SCOPES, SUBJECTS, Bench
from nexus_contracts._checks.audit import append, entry, everything, head
from nexus_contracts._checks.common import (
    broken_settings_are_reported,
    errors_are_clean,
    ready_check_is_silent,
    survives_reopening,
    unprovisioned_is_refused,
)
from nexus_contracts._checks.held_alike import stays
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, interference, interleaved
from nexus_core import NexusError, Scope
from nexus_core.spi import Outcome, PreconditionFailedError, UnavailableError

check("CFG-401")(ready_check_is_silent)
check("CFG-402")(unprovisioned_is_refused)
check("CFG-403")(broken_settings_are_reported)

TAGS = (b"x" * 32, b"y" * 32, None)
VERBS = ("add", "add", "add", "late", "head", "read", "checkpoints", "unsettled", "forget", "erase")


def stream_of(bench: Bench, scope: Scope, length: int) -> list[Call]:
    """One scope's calls: every verb, with operations and tags that all scopes share."""
    rng = bench.random
    calls: list[Call] = []
    for _ in range(length):
        verb = rng.choice(VERBS)
        details = (rng.choice("abc"), rng.choice(("intent", "outcome")), rng.choice(TAGS))
        if verb in ("add", "late"):
            calls.append(Call(scope, verb, details))
        elif verb == "forget":
            calls.append(Call(scope, "erase_sealed", (TAGS[0],)))
        elif verb == "read":
            calls.append(Call(scope, "read", (rng.randint(0, 3), rng.randint(1, 9))))
        elif verb == "checkpoints":
            calls.append(Call(scope, "checkpoints", (rng.randint(0, 3), 5)))
        elif verb == "unsettled":
            calls.append(Call(scope, "unsettled", (10, 5)))
        elif verb == "erase" and rng.random() < 0.8:
            calls.append(Call(scope, "head"))
        else:
            calls.append(Call(scope, verb))
    return calls


def act(backend: Any, call: Call, _results: Mapping[int, Any]) -> Any:
    """Perform a call of the audit SPI; appends go to the end, or one entry too late."""
    if call.method not in ("add", "late"):
        return getattr(backend, call.method)(call.scope, *call.args)
    current = backend.head(call.scope)
    size = (0 if current is None else current.size) + (call.method == "late")
    operation, phase, tag = call.args
    new = entry(size, operation=operation, phase=phase, tag=tag)
    return backend.append(call.scope, size, [new], head(size + 1))


@check("TEN-401")
def audit_two_run(bench: Bench) -> None:
    """Two-run over all verbs, for several subjects among adversarial twins."""
    for subject in SUBJECTS:
        scopes = bench.cast(subject=subject)
        mixed, _places = interleaved(
            bench.random, [stream_of(bench, scope, 24) for scope in scopes]
        )
        interference(bench, mixed, scopes[0], how=act)


@check("TEN-402")
def audit_twins_outlive(bench: Bench) -> None:
    """Every twin keeps its log while one scope forgets a subject and is erased; also what
    two hold in the same bytes."""
    store = bench.open()
    scopes = bench.cast(6)
    for scope in scopes:
        append(store, *(entry(n, tag=TAGS[n % 3]) for n in range(6)), scope=scope)
    before = {scope: (everything(store, scope), store.head(scope)) for scope in scopes[1:]}
    steps: dict[str, Callable[[], object]] = {
        "erase_sealed": lambda: store.erase_sealed(scopes[0], TAGS[0]),
        "erase": lambda: store.erase(scopes[0]),
    }
    for name, step in steps.items():
        step()
        for scope in scopes[1:]:
            bench.expect(
                (everything(store, scope), store.head(scope)) == before[scope],
                f"{name} in {scopes[0]} changed the log of {scope}",
            )
    stays(bench)


@check("TEN-403")
def audit_failures_stay_inside(bench: Bench) -> None:
    """A refused append between two good ones of another scope."""
    store = bench.open()
    subject, other = bench.cast(2)
    append(store, entry(0), scope=other)
    bench.raises(
        PreconditionFailedError,
        lambda: store.append(subject, 5, [entry(5)], head(6)),
        "an append to the wrong size",
    )
    append(store, entry(1), scope=other)
    bench.expect(len(everything(store, other)) == 2, f"a failure in {subject} stopped {other}")
    bench.expect(store.head(subject) is None, "a refused append left a head")


@check("SEC-401")
def audit_errors_are_clean(bench: Bench) -> None:
    """Failing calls of the audit sink."""

    def failing(store: Any) -> list[Callable[[], object]]:
        append(store, entry(0))
        return [
            lambda: append(store, entry(0)),
            lambda: append(store, entry(7)),
            store.close,
            lambda: store.head(SCOPES[0]),
        ]

    errors_are_clean(bench, failing, hidden="leaf\\x00")


@check("SEC-402")
def content_stays_out(bench: Bench) -> None:
    """A canary in bytes and metadata, searched for in everything the sink was given."""
    store = bench.open()
    given: list[Any] = []
    honest = store.append

    def watching(*args: Any) -> None:
        given.append(args)
        honest(*args)

    store.append = watching
    with bench.nexus(store) as nexus, nexus.request(bench.context(SCOPES[0])) as n:
        n.raw.put("k", b"CANARY-BODY", kind="data", space="s", metadata={"m": "CANARY-META"})
        n.raw.get("k")
        text = repr([n.audit.read(limit=100).items, list(n.audit.export("bundle"))])
    bench.expect("CANARY" not in text + repr(given), "content reached the audit sink")


@check("CFG-404")
def a_failing_sink_stops_everything(bench: Bench) -> None:
    """The sink fails at its n-th append, for every n of a put, a get and a delete."""
    for number in range(5):
        store = bench.open()
        honest, count = store.append, [0]

        def failing(*args: Any, honest: Any = honest, count: Any = count, n: int = number) -> None:
            count[0] += 1
            if count[0] > n:
                raise UnavailableError("the sink is down", outcome=Outcome.NOT_APPLIED)
            honest(*args)

        store.append = failing
        done: list[str] = []
        with bench.nexus(store) as nexus, nexus.request(bench.context(SCOPES[0])) as n:
            steps: dict[str, Callable[[], object]] = {
                "put": partial(n.raw.put, "k", b"x", kind="data", space="s"),
                "get": partial(n.raw.get, "k"),
                "delete": partial(n.raw.delete, "k"),
            }
            for name, call in steps.items():
                try:
                    call()
                except NexusError:
                    break
                done.append(name)
        allowed = {0: [], 1: [], 2: ["put"], 3: ["put", "get"], 4: ["put", "get"]}[number]
        bench.expect(
            done == allowed, f"with a sink that takes {number} records, {done} went through"
        )


@check("DUR-401")
def audit_survives_reopening(bench: Bench) -> None:
    """Entries, head, checkpoints and open intents, over closing and opening."""

    def write(store: Any) -> None:
        for number in range(5):
            append(store, entry(number, phase="intent", operation=f"o{number}", tag=TAGS[0]))

    def seen(store: Any) -> object:
        return (
            everything(store),
            store.head(SCOPES[0]),
            list(store.checkpoints(SCOPES[0], 0, 9)),
            list(store.unsettled(SCOPES[0], 10, 9)),
        )

    survives_reopening(bench, write, seen)
