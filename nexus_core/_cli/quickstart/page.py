"""The story of one run as a person reads it, and as JSON data."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from nexus_core import IngestReport
from nexus_core._cli import ingest, lineage, retrieve
from nexus_core._cli.audit import report_data
from nexus_core._cli.console import Console, plural
from nexus_core._cli.quickstart.corpora import Corpus
from nexus_core._cli.quickstart.place import Place
from nexus_core._cli.quickstart.tour import ENV, Answer, Attempt, Origin, Trail

_ROLLBACK: Final = {
    "checked": "and it begins as it ended in the last run",
    "not checked": "kept from now on: the next run checks against this one",
    "detected": "and what the last run had is not all there",
}
_WHO: Final = "NEXUS_ACTOR=me NEXUS_ACTOR_KIND=human NEXUS_ROLE=owner"


@attrs.frozen(kw_only=True)
class Story:
    """Everything that one run did."""

    place: Place
    corpora: Mapping[str, Corpus]
    reports: Mapping[str, IngestReport]
    answers: Sequence[Answer]
    origin: Origin | None
    stranger: str
    attempts: Sequence[Attempt]
    trails: Sequence[Trail]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything was as promised."""
        return (
            not any(report.count("failed") for report in self.reports.values())
            and all(answer.own for answer in self.answers)
            and self.origin is not None
            and all(attempt.same for attempt in self.attempts)
            and all(trail.report.ok for trail in self.trails)
        )


def show(console: Console, story: Story) -> None:
    """Tell the story."""
    if console.json:
        return
    _deployment(console, story)
    _documents(console, story)
    _questions(console, story)
    _origin(console, story)
    _strangers(console, story)
    _trails(console, story)
    _next(console, story)


def _deployment(console: Console, story: Story) -> None:
    made = len(story.place.made.lines)
    console.say(console.bold("A deployment on this machine, without a server"))
    console.say(f"  {story.place.folder}")
    state = f"{made} things made: configuration, root key and stores" if made else "as it was left"
    console.say(f"  {state}; nexus.toml explains itself")


def _documents(console: Console, story: Story) -> None:
    console.heading("Two tenants, each with documents of its own")
    for tenant, report in story.reports.items():
        corpus = story.corpora[tenant]
        beyond = f"; {corpus.left_out} more left out" if corpus.left_out else ""
        console.say(f"  {console.bold(tenant)}  {corpus.title}{beyond}")
        ingest.show(console, report, indent=4)


def _questions(console: Console, story: Story) -> None:
    console.heading("The same questions, asked of each")
    console.say(console.dim("  exact distances, smaller is nearer; every hit is the tenant's own"))
    asked = ""
    for answer in story.answers:
        if answer.question != asked:
            asked = answer.question
            console.say("", f"  “{asked}”")
        console.say(f"    {console.bold(answer.tenant)}")
        if not answer.own:
            console.say(console.bad("      finding: a hit is not of its own documents"))
        retrieve.show(console, answer.hits, indent=6)


def _origin(console: Console, story: Story) -> None:
    console.heading("Where an answer comes from")
    if story.origin is None:
        console.say(console.bad("  finding: no answer could be traced"))
        return
    lineage.show(console, story.origin.atom, story.origin.asset, indent=2)
    console.say(f"  {console.dim('embedded by'.ljust(12))}{story.origin.embedder}")


def _strangers(console: Console, story: Story) -> None:
    first = story.trails[0].tenant
    console.heading(f"What {story.stranger} hears of {first}'s ids, and of ids that never were")
    console.table(
        [
            (
                attempt.asked,
                attempt.foreign,
                attempt.absent,
                "the same" if attempt.same else "FINDING: they differ",
            )
            for attempt in story.attempts
        ],
        ("asked for", "it exists there", "it never was", ""),
        indent=2,
    )


def _trails(console: Console, story: Story) -> None:
    console.heading("An audit trail for each, verified")
    for trail in story.trails:
        report = trail.report
        mark = console.good("ok") if report.ok else console.bad("finding")
        console.say(
            f"  {console.bold(trail.tenant)}  {mark}  {plural(report.size, 'record')}, "
            f"{_ROLLBACK[report.rollback]}"
        )
        console.say(f"    {console.dim('root')}        {report.root}")
        console.say(f"    {console.dim('checkpoint')}  {story.place.checkpoint(trail.tenant)}")
        console.say_all(f"    {finding}" for finding in report.findings)
    console.say(
        "  A trail can be cut or rolled back by whoever holds the disk; that shows only against a",
        "  checkpoint kept elsewhere. Copy those files to another machine, or mail them.",
    )


def _next(console: Console, story: Story) -> None:
    console.heading("What next")
    console.say_all(f"  {command}" for command in next_steps(story))
    console.say("", console.dim(f"{story.seconds:.1f} s; delete the folder to start again"))


def next_steps(story: Story) -> list[str]:
    """Commands that work as they stand, in this order, in a POSIX shell."""
    config = shlex.quote(str(story.place.config))
    tenant = story.trails[0].tenant
    note = shlex.quote(str(story.place.folder / "note.txt"))
    question = shlex.quote(story.corpora[tenant].question)
    checkpoint = shlex.quote(str(story.place.checkpoint(tenant)))
    steps = [
        *_path(),
        f"export NEXUS_CONFIG={config}",
        f"export NEXUS_TENANT={tenant} NEXUS_ENV={ENV} {_WHO}",
        f"nexus retrieve {question} -k 3 --text",
        f"echo 'Scopes are kept apart.' > {note}",
        f"nexus ingest {note} --kind data --space notes",
        "nexus retrieve 'what is kept apart?' --space notes",
    ]
    if story.origin is not None:
        steps += [
            f"nexus lineage {story.origin.atom.id}",
            f"nexus lineage {story.origin.atom.id} --tenant {story.stranger}   # not found",
        ]
    return [
        *steps,
        "nexus audit tail -n 5",
        f"nexus audit verify --checkpoint {checkpoint}",
        "nexus doctor",
    ]


def _path() -> list[str]:
    """How the shell finds the command, where it does not yet."""
    beside = Path(sys.executable).with_name("nexus")
    found = shutil.which("nexus")
    if not beside.exists() or (found is not None and Path(found).samefile(beside)):
        return []
    return [f'export PATH={shlex.quote(str(beside.parent))}:"$PATH"']


def story_data(story: Story) -> dict[str, Any]:
    """The whole run as JSON data."""
    return {
        "ok": story.ok,
        "folder": str(story.place.folder),
        "config": str(story.place.config),
        "made": list(story.place.made.lines),
        "tenants": {
            tenant: {
                "documents": story.corpora[tenant].title,
                "left_out": story.corpora[tenant].left_out,
                **ingest.summary_data(report),
            }
            for tenant, report in story.reports.items()
        },
        "answers": [
            {
                "tenant": answer.tenant,
                "question": answer.question,
                "own": answer.own,
                "hits": [retrieve.hit_data(hit, {}) for hit in answer.hits],
            }
            for answer in story.answers
        ],
        "origin": None if story.origin is None else _origin_data(story.origin),
        "attempts": [attrs.asdict(each) | {"same": each.same} for each in story.attempts],
        "trails": [
            {
                "tenant": trail.tenant,
                "verifier_key": trail.verifier_key,
                "checkpoint_file": str(story.place.checkpoint(trail.tenant)),
                **report_data(trail.report),
            }
            for trail in story.trails
        ],
        "next": next_steps(story),
    }


def _origin_data(origin: Origin) -> dict[str, Any]:
    return {
        "atom": lineage.atom_data(origin.atom),
        "asset": lineage.asset_data(origin.asset),
        "embedder": origin.embedder,
    }
