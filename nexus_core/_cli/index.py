"""``nexus index``: the scope's indexes, and the Strategy Lock that new ones go through."""

from __future__ import annotations

import argparse
from typing import Any, Final

import attrs

from nexus_core import IndexDefinition, Proposal
from nexus_core._cli.console import Console, when
from nexus_core._cli.failure import OK, UsageError
from nexus_core._cli.options import requested, scoped, verb, verbs
from nexus_core._model.vectors import METRICS

_DAY: Final = 24 * 3600 * 1_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "Indexes are defined once and locked. A new one takes two people: one proposes it, an\n"
        "owner or admin other than that one approves it by its hash, and it is applied once."
    )
    family = verbs(parser)
    scoped(verb(family, "list", run_list, "List indexes and proposals.", "nexus index list"))
    _define(family)
    _approve(family)
    apply = verb(
        family,
        "apply",
        run_apply,
        "Apply an approved proposal. The index exists from then on, exactly as proposed.",
        "nexus index apply 0197f3c2-…",
        takes="PROPOSAL",
    )
    apply.add_argument("id", metavar="PROPOSAL", help="the proposal's id")
    scoped(apply)


def _define(family: Any) -> None:
    parser = verb(
        family,
        "define",
        run_define,
        "Propose an index. Nothing is defined until somebody else approves and it is applied.",
        """
nexus index define papers --dimension 384 --metric cosine --embedder lexical@1
nexus index define papers --index-version 2 --dimension 384 --metric cosine \\
    --embedder lexical@1 --field year:int --field tags:str[]
""",
        takes="NAME --dimension N --metric METRIC --embedder NAME@VERSION",
    )
    parser.add_argument("name", metavar="NAME", help="name of the index")
    parser.add_argument("--index-version", type=int, default=1, metavar="N", help="version (1)")
    parser.add_argument("--dimension", type=int, required=True, metavar="N")
    parser.add_argument("--metric", required=True, choices=METRICS)
    parser.add_argument(
        "--embedder", required=True, metavar="NAME@VERSION", help="what makes its vectors"
    )
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME:TYPE",
        help="a field to filter by: str, int, float, bool or str[]",
    )
    parser.add_argument(
        "--window", type=float, default=7.0, metavar="DAYS", help="how long it may be applied (7)"
    )
    scoped(parser)


def _approve(family: Any) -> None:
    parser = verb(
        family,
        "approve",
        run_approve,
        "Approve a proposal. Its hash says that it is the one you read; nobody approves their own.",
        "nexus index approve 0197f3c2-… --hash 5e884898da…",
        takes="PROPOSAL --hash HASH",
    )
    parser.add_argument("id", metavar="PROPOSAL", help="the proposal's id")
    parser.add_argument("--hash", required=True, help="its hash, as `define` and `list` show it")
    scoped(parser)


def run_define(options: argparse.Namespace, console: Console) -> int:
    """Propose."""
    definition = IndexDefinition(
        name=options.name,
        version=options.index_version,
        dimension=options.dimension,
        metric=options.metric,
        embedder=options.embedder,
        fields=dict(_field(text) for text in options.field),
    )
    with requested(options) as request:
        proposal = request.definitions.propose(definition, window=int(options.window * _DAY))
    console.document(proposal_data(proposal))
    _show(console, proposal)
    console.say(
        "",
        "Another owner or admin approves exactly this with",
        f"  nexus index approve {proposal.id} --hash {proposal.hash}",
    )
    return OK


def run_approve(options: argparse.Namespace, console: Console) -> int:
    """Approve."""
    with requested(options) as request:
        proposal = request.definitions.approve(options.id, hash=options.hash)
    console.document(proposal_data(proposal))
    _show(console, proposal)
    console.say("", "It takes effect with", f"  nexus index apply {proposal.id}")
    return OK


def run_apply(options: argparse.Namespace, console: Console) -> int:
    """Apply."""
    with requested(options) as request:
        proposal = request.definitions.apply(options.id)
    console.document(proposal_data(proposal))
    _show(console, proposal)
    return OK


def run_list(options: argparse.Namespace, console: Console) -> int:
    """List."""
    with requested(options) as request:
        definitions: list[IndexDefinition] = request.vectors.indexes()
        proposals: list[Proposal] = request.definitions.list()
    console.document(
        {
            "indexes": [each.to_data() | {"fingerprint": each.fingerprint} for each in definitions],
            "proposals": [proposal_data(proposal) for proposal in proposals],
        }
    )
    if not definitions:
        console.say("this scope has no index yet; one of the configuration's comes with first use")
    console.table(
        [(*_columns(each), each.fingerprint[:16]) for each in definitions],
        ("index", "dimension", "metric", "embedder", "fields", "fingerprint"),
    )
    if proposals:
        console.heading("Proposals")
    for proposal in proposals:
        _show(console, proposal)
    return OK


def proposal_data(proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON data."""
    return attrs.asdict(proposal, recurse=False) | {"definition": proposal.definition.to_data()}


def _show(console: Console, proposal: Proposal) -> None:
    name, dimension, metric, embedder, fields = _columns(proposal.definition)
    by = f"proposed by {proposal.proposed_by}"
    if proposal.approved_by is not None:
        by += f", approved by {proposal.approved_by}"
    for label, value in (
        ("proposal", proposal.id),
        ("state", f"{proposal.state}; {by}"),
        ("index", f"{name}, dimension {dimension}, {metric}, {embedder}"),
        ("fields", fields),
        ("until", when(proposal.valid_until)),
        ("hash", proposal.hash),
    ):
        console.say(console.dim(label.ljust(10)) + value)


def _columns(definition: IndexDefinition) -> tuple[str, str, str, str, str]:
    fields = ", ".join(f"{name}:{kind}" for name, kind in definition.fields.items())
    return (
        f"{definition.name}@{definition.version}",
        str(definition.dimension),
        definition.metric,
        definition.embedder,
        fields or "none",
    )


def _field(text: str) -> tuple[str, Any]:
    name, separator, kind = text.partition(":")
    if not separator or not name or not kind:
        raise UsageError(f"{text!r} is not a field", "write it as NAME:TYPE, for example year:int")
    return name, kind
