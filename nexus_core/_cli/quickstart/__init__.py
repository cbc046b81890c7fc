"""``nexus quickstart``: the whole of Nexus on this machine's own documents, in one folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

from nexus_core import Nexus
from nexus_core._cli.console import Console
from nexus_core._cli.failure import FINDINGS, OK
from nexus_core._cli.files import require_paths
from nexus_core._cli.options import common, describe
from nexus_core._cli.quickstart import tour
from nexus_core._cli.quickstart.corpora import Corpus, folder, packages, project
from nexus_core._cli.quickstart.page import Story, show, story_data
from nexus_core._cli.quickstart.place import DEFAULT, prepare

FIRST: Final = "acme"
SECOND: Final = "globex"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "Make a deployment in a folder, without a server and without a network: two tenants, each\n"
        "with documents of its own. The first keeps the files at PATH, the second the\n"
        "documentation of the packages installed here; without PATH, the first keeps that, and\n"
        "the second the documentation of Nexus. Ask both the same questions, see where an answer\n"
        "comes from, see that neither can tell that the other is there, and verify both audit\n"
        "trails. Safe to repeat: what was ingested before is unchanged.",
        """
nexus quickstart
nexus quickstart ~/Documents/notes --dir /tmp/try-nexus
""",
    )
    parser.add_argument("path", nargs="?", metavar="PATH", help="a file or folder of yours")
    parser.add_argument(
        "--dir", metavar="DIR", default=str(DEFAULT), help=f"where to make it (./{DEFAULT})"
    )
    parser.add_argument(
        "--limit", type=int, default=100, metavar="N", help="most documents a tenant (100)"
    )
    common(parser, run, takes="[PATH]")


def run(options: argparse.Namespace, console: Console) -> int:
    """Take every step, then tell the story."""
    began = time.monotonic()
    require_paths([] if options.path is None else [options.path])
    place = prepare(Path(options.dir))
    with Nexus.open(place.config) as nexus:
        corpora = _corpora(options, nexus)
        total = sum(len(corpus.sources) for corpus in corpora.values())
        with console.progress("ingesting", total) as tick:
            reports = {
                tenant: tour.ingest(nexus, tenant, corpus, tick)
                for tenant, corpus in corpora.items()
            }
        questions = dict.fromkeys(corpus.question for corpus in corpora.values())
        answers = [tour.ask(nexus, tenant, asked) for asked in questions for tenant in corpora]
        hits = next((each.hits for each in answers if each.tenant == FIRST and each.hits), ())
        origin = tour.trace(nexus, FIRST, hits[0]) if hits else None
        attempts = [] if origin is None else tour.try_as_stranger(nexus, SECOND, origin)
        trails = [tour.verify(nexus, place, tenant) for tenant in corpora]
    story = Story(
        place=place,
        corpora=corpora,
        reports=reports,
        answers=answers,
        origin=origin,
        stranger=SECOND,
        attempts=attempts,
        trails=trails,
        seconds=time.monotonic() - began,
    )
    console.document(story_data(story))
    show(console, story)
    return OK if story.ok else FINDINGS


def _corpora(options: argparse.Namespace, nexus: Nexus) -> dict[str, Corpus]:
    media_types = nexus.config.atomizers
    if options.path is not None:
        first = folder(Path(options.path), options.limit, media_types)
        return {FIRST: first, SECOND: packages(options.limit)}
    return {FIRST: packages(options.limit), SECOND: project(options.limit, media_types)}
