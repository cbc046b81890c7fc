"""``nexus ingest``: files and folders from bytes to atoms to vectors."""

from __future__ import annotations

import argparse
from typing import Any, Final

import attrs

from nexus_core import Ingested, IngestReport
from nexus_core._cli.console import Console, plural
from nexus_core._cli.failure import FINDINGS, OK
from nexus_core._cli.files import require_paths
from nexus_core._cli.options import common, describe, requested, scoped

_STATES: Final = ("created", "completed", "unchanged", "failed")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "Ingest files and folders. Each file is whole or not there at all, also over a kill;\n"
        "one that was ingested before is reported unchanged and nothing is written.",
        """
nexus ingest handbook/ --kind data --space handbook
nexus ingest report.pdf notes.md --kind research --space papers --subject user-17
""",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files and folders")
    parser.add_argument("--kind", required=True, help="one of the configuration's kinds")
    parser.add_argument("--space", required=True, help="the collection that the files belong to")
    parser.add_argument("--index", help="name of the index (the configured one)")
    parser.add_argument("--index-version", type=int, metavar="N", help="its version (the latest)")
    parser.add_argument(
        "--pii-flag", action="append", default=[], metavar="FLAG", help="personal data within"
    )
    parser.add_argument("--train-ok", action="store_true", help="training on it is allowed")
    parser.add_argument("--legal-hold", action="store_true", help="it must not be deleted")
    scoped(parser)
    common(parser, run, takes="PATH... --kind KIND --space SPACE")


def run(options: argparse.Namespace, console: Console) -> int:
    """Ingest, and say what became of every file."""
    require_paths(options.paths)
    with (
        requested(options) as request,
        console.progress("ingesting") as tick,
    ):

        def done(item: Ingested) -> None:
            tick(item.logical_key)
            console.document({"type": "item", **item_data(item)})

        report = request.ingest(
            options.paths,
            kind=options.kind,
            space=options.space,
            index=options.index,
            index_version=options.index_version,
            pii_flags=options.pii_flag,
            train_ok=options.train_ok,
            legal_hold=options.legal_hold,
            progress=done,
        )
    console.document({"type": "report", **summary_data(report)})
    show(console, report)
    return FINDINGS if report.count("failed") else OK


def show(console: Console, report: IngestReport, *, indent: int = 0) -> None:
    """Say what became of the files: a line, and a table of those that failed."""
    console.say(" " * indent + summary(report))
    failed = [item for item in report.items if item.state == "failed"]
    console.table(
        [(item.logical_key, item.error or "", item.message or "") for item in failed],
        ("failed", "code", "why"),
        indent=indent,
    )


def summary(report: IngestReport) -> str:
    """One line on a whole ingest."""
    counts = {state: report.count(state) for state in _STATES}
    said = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    atoms, vectors = _sums(report)
    pieces = f"{plural(atoms, 'atom')}, {plural(vectors, 'vector')}"
    return f"{plural(len(report.items), 'document')}: {said or 'nothing to do'} ({pieces})"


def item_data(item: Ingested) -> dict[str, Any]:
    """One source's fate as JSON data."""
    return attrs.asdict(item)


def summary_data(report: IngestReport) -> dict[str, Any]:
    """A whole ingest's counts as JSON data."""
    atoms, vectors = _sums(report)
    counts = {state: report.count(state) for state in _STATES}
    return {"documents": len(report.items), **counts, "atoms": atoms, "vectors": vectors}


def _sums(report: IngestReport) -> tuple[int, int]:
    return sum(item.atoms for item in report.items), sum(item.vectors for item in report.items)
