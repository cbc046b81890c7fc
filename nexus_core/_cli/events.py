"""``nexus events``: what happened to data, listed, and carried to where it has to be known."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Final

import attrs

from nexus_core import (
    DatasetEvent,
    EventExporter,
    JsonLinesExporter,
    Nexus,
    NexusError,
    OpenLineageExporter,
    ParkedEvent,
    Relayed,
    RequestContext,
)
from nexus_core._cli.console import Console, plural, when
from nexus_core._cli.failure import FINDINGS, OK, UsageError
from nexus_core._cli.options import config_path, context_of, requested, scoped, verb, verbs
from nexus_core._config import Config

PAUSE: Final = 5.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "Every write and every query leaves an event: who, what, which ids, never content. It is\n"
        "written with the change itself; a relay carries it to the [exporters] afterwards."
    )
    family = verbs(parser)
    shown = verb(
        family,
        "list",
        run_list,
        "Show the events of the scope: first those that no relay has numbered, then the others in\n"
        "the order of their delivery.",
        """
nexus events list -n 50
nexus events list --parked           what an exporter would not take
""",
    )
    shown.add_argument("-n", type=int, default=100, metavar="N", help="how many (100)")
    shown.add_argument("--parked", action="store_true", help="only events that were put aside")
    scoped(shown)
    relay = verb(
        family,
        "relay",
        run_relay,
        "Deliver events to the exporters of the configuration, each at least once and in order.\n"
        "Scopes are named, never looked up: no list of tenants is kept anywhere. Several relays\n"
        "may run at once. What an exporter will never take is put aside and said.",
        """
nexus events relay --scope acme/prod --scope globex/prod
nexus events relay --scope acme/prod --exporter lake --once
""",
    )
    relay.add_argument(
        "--scope",
        action="append",
        metavar="TENANT/ENV",
        help="a scope to relay for; again for each further one (--tenant and --env)",
    )
    relay.add_argument(
        "--exporter", action="append", metavar="NAME", help="only this one; again for others (all)"
    )
    relay.add_argument("--once", action="store_true", help="deliver what is there, then end")
    relay.add_argument(
        "--every", type=float, default=PAUSE, metavar="SECONDS", help="pause between looks (5)"
    )
    scoped(relay)


def run_list(options: argparse.Namespace, console: Console) -> int:
    """Show events, or those that were put aside."""
    with requested(options) as request:
        if options.parked:
            aside: list[ParkedEvent] = request.events.parked()
            for each in aside:
                console.document(attrs.asdict(each))
            console.table(
                [(p.exporter, str(p.sequence), p.event_id, p.error) for p in aside],
                ("exporter", "no", "event", "code"),
            )
            if not aside:
                console.say("nothing was put aside")
            return FINDINGS if aside else OK
        page = request.events.list(limit=options.n)
    for event in page.items:
        console.document(event.to_data())
    if not page.items:
        console.say("nothing has happened to data in this scope yet")
    console.table(
        [_row(event) for event in page.items], ("no", "time", "action", "actor", "from", "to")
    )
    for broken in page.broken:
        console.warn(f"the event {broken} cannot be read")
    return FINDINGS if page.broken else OK


def run_relay(options: argparse.Namespace, console: Console) -> int:
    """Relay once, or until somebody ends it."""
    if not 0 < options.every < 86_400:
        raise UsageError("--every is not a number of seconds up to a day")
    contexts = _contexts(options)
    ended = threading.Event()
    if not options.once:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda _number, _frame: _end(ended, _frame))
    with Nexus.open(config_path(options)) as nexus:
        exporters = chosen(nexus.config, options.exporter)
        sound = True
        while True:
            sound = _round(nexus, contexts, exporters, options, console)
            if options.once or ended.wait(options.every):
                break
    return OK if sound else FINDINGS


def _end(ended: threading.Event, _: FrameType | None) -> None:
    ended.set()


def _round(
    nexus: Nexus,
    contexts: Sequence[RequestContext],
    exporters: Mapping[str, EventExporter],
    options: argparse.Namespace,
    console: Console,
) -> bool:
    """Every scope once; what goes wrong in one touches no other."""
    sound = True
    for context in contexts:
        scope = f"{context.scope.tenant_id}/{context.scope.env}"
        try:
            with nexus.request(context, purpose=options.purpose) as request:
                results: Sequence[Relayed] = request.events.relay(exporters).exporters
        except NexusError as error:
            console.warn(f"{scope}: {error.message} [{error.code}]")
            console.document({"scope": scope, "error": error.code})
            sound = False
            continue
        for result in results:
            sound = sound and result.error is None and not result.parked
            # A relay that runs on says only what is new.
            if options.once or result.delivered or result.error or result.parked:
                _say(console, scope, result)
    return sound


def _say(console: Console, scope: str, result: Relayed) -> None:
    console.document({"scope": scope, **attrs.asdict(result)})
    arrived = plural(result.delivered, "event")
    console.say(f"{scope} {result.exporter}: {arrived} delivered, up to no {result.position}")
    for parked in result.parked:
        console.warn(f"{scope} {result.exporter}: put aside {parked.event_id} [{parked.error}]")
    if result.error is not None:
        console.warn(f"{scope} {result.exporter}: {result.message} [{result.error}]")


def chosen(config: Config, names: Sequence[str] | None) -> dict[str, EventExporter]:
    """The exporters that were named, or all that are configured."""
    wanted = list(config.exporters) if names is None else list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in config.exporters]
    if unknown or not wanted:
        raise UsageError(
            f"the configuration has no exporter {', '.join(unknown)}".rstrip(),
            f"it has {', '.join(config.exporters) or 'none: add an [exporters.NAME]'}",
        )
    made: dict[str, EventExporter] = {}
    for name in wanted:
        use = config.exporters[name]
        if use.format == "jsonl":
            assert use.path is not None
            made[name] = JsonLinesExporter(use.path)
        else:
            made[name] = OpenLineageExporter(
                path=use.path, url=use.url, token=use.token, namespace=use.namespace
            )
    return made


def _contexts(options: argparse.Namespace) -> list[RequestContext]:
    """One context for each scope that was named."""
    if options.scope is None:
        return [context_of(options)]
    if options.tenant is not None or options.env is not None:
        raise UsageError("--scope and --tenant both say where", "name every scope with --scope")
    contexts = []
    for scope in dict.fromkeys(options.scope):
        tenant, slash, env = scope.partition("/")
        if not slash:
            raise UsageError(f"{scope!r} is not TENANT/ENV", "for example --scope acme/prod")
        own = argparse.Namespace(**{**vars(options), "tenant": tenant, "env": env})
        contexts.append(context_of(own))
    return contexts


def _row(event: DatasetEvent) -> tuple[str, ...]:
    def ids(some: Sequence[str]) -> str:
        return " ".join(some[:2]) + (" …" if len(some) > 2 else "")

    number: Any = "" if event.sequence is None else event.sequence
    return (
        str(number),
        when(event.time),
        event.action,
        event.actor_id,
        ids(event.source_ids),
        ids(event.result_ids),
    )
