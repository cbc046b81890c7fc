"""``nexus plugins``: what is installed, and whether one of them is sound."""

from __future__ import annotations

import argparse
from typing import Any

import attrs

from nexus_core._cli.console import Console
from nexus_core._cli.failure import FINDINGS, OK, problem_data, problem_lines
from nexus_core._cli.options import verb, verbs
from nexus_core._plugins import Offer, Plugin, Registry


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "Plugins offer backends, atomizers, embedders and policies. Being installed is not enough\n"
        "to be run: one is imported when the configuration names it, or `check` does."
    )
    family = verbs(parser)
    verb(
        family,
        "list",
        run_list,
        "List what is installed. Reads metadata only; nothing is imported.",
        "nexus plugins list",
    )
    check = verb(
        family,
        "check",
        run_check,
        "Load plugins and say everything that is wrong with them, or what they offer.",
        "nexus plugins check filesystem sql",
        takes="NAME...",
    )
    check.add_argument("names", nargs="+", metavar="NAME", help="names that `list` shows")


def run_list(_: argparse.Namespace, console: Console) -> int:
    """List."""
    offers = Registry.discover().families()
    console.document({"plugins": [offer_data(offer) for offer in offers]})
    if not offers:
        console.say("no plugin is installed")
    console.table(
        [(offer.name, offer.distribution, offer.version, offer.module) for offer in offers],
        ("name", "distribution", "version", "module"),
    )
    names = [offer.name for offer in offers]
    if len(set(names)) < len(names):
        console.say("", "a name that is listed twice cannot be used; see `nexus plugins check`")
    return OK


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Check."""
    registry = Registry.discover()
    code = OK
    for name in options.names:
        problems = registry.check(name)
        if problems:
            code = FINDINGS
            console.document(
                {"name": name, "ok": False, "problems": [problem_data(p) for p in problems]}
            )
            console.say(f"{console.bad('finding')}  {name}", *problem_lines(problems))
            continue
        plugin = registry.plugin(name)
        console.document({"name": name, "ok": True, **plugin_data(plugin)})
        _show(console, plugin)
    return code


def offer_data(offer: Offer) -> dict[str, str]:
    """An offer as JSON data."""
    return attrs.asdict(offer)


def plugin_data(plugin: Plugin) -> dict[str, Any]:
    """What a plugin offers, as JSON data."""
    return {
        **offer_data(plugin.offer),
        "backends": [
            {
                "role": role.value,
                "summary": spec.summary,
                "isolation": spec.isolation.value,
                "durability": spec.durability.value,
                "capabilities": _plain(attrs.asdict(spec.capabilities)),
            }
            for role, spec in plugin.backends.items()
        ],
        **{
            kind: [
                {"name": spec.name, "version": spec.version, "summary": spec.summary}
                for spec in specs
            ]
            for kind, specs in _named(plugin).items()
        },
        "authorizes": plugin.authorize is not None,
        "observes": plugin.observe is not None,
    }


def _named(plugin: Plugin) -> dict[str, tuple[Any, ...]]:
    return {
        "atomizers": plugin.atomizers,
        "embedders": plugin.embedders,
        "redactors": plugin.redactors,
    }


def _show(console: Console, plugin: Plugin) -> None:
    offer = plugin.offer
    console.say(f"{console.good('ok')}  {offer.name}  ({offer.label})")
    console.table(
        [
            (role.value, spec.isolation.value, spec.durability.value, spec.summary)
            for role, spec in plugin.backends.items()
        ],
        ("role", "isolation", "durability", "summary"),
        indent=4,
    )
    for kind, specs in _named(plugin).items():
        console.table(
            [(f"{spec.name}@{spec.version}", spec.summary) for spec in specs],
            (kind, "summary"),
            indent=4,
        )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in values.items()
    }
