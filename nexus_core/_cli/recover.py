"""``nexus recover``: finish or undo what a killed process left half done."""

from __future__ import annotations

import argparse

from nexus_core._cli.console import Console, plural
from nexus_core._cli.failure import OK
from nexus_core._cli.ingest import item_data
from nexus_core._cli.options import common, describe, requested, scoped


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "Complete the ingests of this scope that a kill interrupted, or undo them where the bytes\n"
        "never arrived, and give every audit intent without an outcome one. Safe to repeat.",
        """
nexus recover
nexus recover --older-than 0        right when no other process is running
""",
    )
    parser.add_argument(
        "--older-than",
        type=float,
        metavar="SECONDS",
        help="leave younger work alone, since its process may be alive",
    )
    scoped(parser)
    common(parser, run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Recover one scope and say what was done."""
    with requested(options) as request:
        recovery = request.recover(older_than=options.older_than)
    console.document(
        {
            "ingests": [item_data(item) for item in recovery.ingests],
            "settled": recovery.settled,
            "uploads": recovery.uploads,
            "erasures": len(recovery.erasures),
        }
    )
    console.table(
        [
            (item.logical_key, item.state, plural(item.atoms, "atom"), item.error or "")
            for item in recovery.ingests
        ],
        ("document", "state", "atoms", "code"),
    )
    interrupted = plural(len(recovery.ingests), "interrupted ingest")
    console.say(f"{interrupted}, {plural(recovery.settled, 'audit record')} settled")
    if recovery.erasures:
        console.say(f"{plural(len(recovery.erasures), 'interrupted erasure')} finished")
    if recovery.uploads:
        console.say(f"{plural(recovery.uploads, 'abandoned upload')} removed")
    return OK
