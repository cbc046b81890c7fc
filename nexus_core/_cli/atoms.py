"""``nexus atoms``: the atoms of the scope, counted and written out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from nexus_core import And, Eq, Filter
from nexus_core._cli.console import Console, plural
from nexus_core._cli.failure import OK
from nexus_core._cli.files import written_whole
from nexus_core._cli.options import Run, Subparsers, requested, scoped, verb, verbs

_FIELDS = ("kind", "space", "asset", "operation")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = "Atoms are the pieces that documents were cut into."
    family = verbs(parser)
    export = _chosen(
        family,
        "export",
        run_export,
        "Write atoms with their text, one JSON object a line, in the order of their ids.",
        """
nexus atoms export --space handbook > atoms.jsonl
nexus atoms export --training --output training.jsonl
""",
    )
    export.add_argument(
        "--training", action="store_true", help="only what may be trained on (train_ok)"
    )
    export.add_argument("--output", metavar="FILE", help="a file, instead of standard output")
    _chosen(family, "count", run_count, "Count atoms, exactly.", "nexus atoms count --kind data")


def _chosen(
    family: Subparsers, name: str, run: Run, text: str, examples: str
) -> argparse.ArgumentParser:
    parser = verb(family, name, run, text, examples)
    for field in _FIELDS:
        parser.add_argument(f"--{field}", metavar=field.upper(), help=f"only of this {field}")
    scoped(parser)
    return parser


def run_export(options: argparse.Namespace, console: Console) -> int:
    """Write atoms."""
    with requested(options) as request, console.progress("exporting") as tick:
        lines: Iterator[bytes] = request.atoms.export(_where(options), training=options.training)
        if options.output is None:
            for line in lines:
                sys.stdout.buffer.write(line)
            return OK
        count = 0
        with written_whole(Path(options.output)) as file:
            for line in lines:
                file.write(line)
                count += 1
                tick(f"atom {count:,}")
    console.document({"output": options.output, "atoms": count})
    console.say(f"wrote {plural(count, 'atom')} to {options.output}")
    return OK


def run_count(options: argparse.Namespace, console: Console) -> int:
    """Count atoms."""
    with requested(options) as request:
        count: int = request.atoms.count(_where(options))
    console.document({"atoms": count})
    console.say(plural(count, "atom"))
    return OK


def _where(options: argparse.Namespace) -> Filter | None:
    wanted: list[Filter] = [
        Eq(name, value) for name in _FIELDS if (value := getattr(options, name)) is not None
    ]
    if len(wanted) < 2:
        return wanted[0] if wanted else None
    return And(tuple(wanted))
