"""``nexus config``: check it, show what is in force, describe the file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from nexus_core._cli.console import Console, plural, printable
from nexus_core._cli.failure import FINDINGS, OK, problem_data, problem_lines
from nexus_core._cli.options import config_path, verb, verbs
from nexus_core._config import inspect, json_schema, load
from nexus_core._plugins import Registry


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "One TOML file says everything; variables of the form NEXUS__STORES__FILES__ROOT override\n"
        "it. Nothing that names a place has a default."
    )
    family = verbs(parser)
    verb(
        family,
        "check",
        run_check,
        "Say everything that is wrong with the configuration. No store is opened; `nexus doctor`\n"
        "looks at those, too.",
        "nexus config check --config /etc/nexus.toml",
    )
    verb(
        family,
        "show",
        run_show,
        "Print what is in force: overrides applied, defaults filled in, secrets as references.",
        "nexus config show --json",
    )
    verb(
        family,
        "schema",
        run_schema,
        "Print the JSON Schema of nexus.toml, with the settings of the plugins installed here.",
        "nexus config schema > nexus.schema.json",
    )


def run_check(options: argparse.Namespace, console: Console) -> int:
    """Check."""
    path = config_path(options)
    config, problems = inspect(path, registry=Registry.discover())
    notes = [] if config is None else list(config.notes)
    console.document(
        {
            "config": str(path),
            "ok": not problems,
            "problems": [problem_data(problem) for problem in problems],
            "notes": notes,
            "hash": None if config is None else config.hash,
        }
    )
    if problems:
        console.say(f"{console.bad('finding')}  {path}: {plural(len(problems), 'problem')}")
        console.say(*problem_lines(problems))
        return FINDINGS
    console.say(f"{console.good('ok')}  {path}", *(f"    note: {note}" for note in notes))
    return OK


def run_show(options: argparse.Namespace, console: Console) -> int:
    """Show."""
    config = load(config_path(options), registry=Registry.discover())
    shown = config.redacted()
    console.document(shown | {"hash": config.hash})
    console.say(console.dim(f"# {config.path}"), console.dim(f"# hash {config.hash}"))
    for line in _lines(shown, ()):
        console.say(printable(line))
    return OK


def run_schema(_: argparse.Namespace, console: Console) -> int:
    """Describe."""
    schema = json_schema(Registry.discover())
    console.document(schema)
    if not console.json:
        import json

        console.say(json.dumps(schema, indent=2, ensure_ascii=False))
    return OK


def _lines(value: Any, place: Sequence[str]) -> list[str]:
    """Plain data as ``stores.files.root = "data"``, one line for each value."""
    import json

    if isinstance(value, Mapping) and value:
        return [line for key, each in value.items() for line in _lines(each, (*place, str(key)))]
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        return [
            line
            for position, each in enumerate(value)
            for line in _lines(each, (*place, str(position)))
        ]
    return [f"{'.'.join(place)} = {json.dumps(value, ensure_ascii=False)}"]
