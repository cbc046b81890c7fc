"""``nexus lineage``: where an asset or atom came from, and what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import attrs

from nexus_core import Asset, Atom, Edge
from nexus_core._cli.console import Console, plural, when
from nexus_core._cli.failure import FINDINGS, OK
from nexus_core._cli.options import common, describe, requested, scoped
from nexus_core._cli.retrieve import place_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "Show what an id is, what it came from and what was made of it, by ids only.\n"
        "An id that this scope does not have is not found, whoever else may have it.",
        """
nexus lineage atm_7d3k…
nexus lineage ast_q2nf… --down --limit 20
""",
    )
    parser.add_argument("id", metavar="ID", help="an asset (ast_…) or an atom (atm_…)")
    parser.add_argument("--down", action="store_true", help="what was made of it, not the origin")
    parser.add_argument("--limit", type=int, default=100, help="most edges to show (100)")
    scoped(parser)
    common(parser, run, takes="ID")


def run(options: argparse.Namespace, console: Console) -> int:
    """Look the id up and walk its edges."""
    with requested(options) as request:
        thing = find(request, options.id)
        walk = request.lineage.descendants if options.down else request.lineage.ancestors
        edges: list[Edge] = walk(options.id, limit=options.limit) if thing is not None else []
        source = thing
        if isinstance(thing, Atom):
            source = request.assets.get(thing.asset)[0]
    if thing is None:
        console.document({"id": options.id, "found": False})
        console.say("this scope has no asset and no atom with that id")
        return FINDINGS
    console.document(
        {
            "id": options.id,
            "found": True,
            "asset": asset_data(source) if isinstance(source, Asset) else None,
            "atom": atom_data(thing) if isinstance(thing, Atom) else None,
            "direction": "down" if options.down else "up",
            "edges": [attrs.asdict(edge) for edge in edges],
        }
    )
    show(console, thing, source if isinstance(source, Asset) else None)
    show_edges(console, edges, down=options.down, limit=options.limit)
    return OK


def find(request: Any, wanted: str) -> Asset | Atom | None:
    """The asset or atom of that id in this scope."""
    found: Asset | Atom | None = request.assets.get(wanted)[0]
    return found if found is not None else request.atoms.get(wanted)[0]


def show(console: Console, thing: Asset | Atom, asset: Asset | None, *, indent: int = 0) -> None:
    """What an asset or atom is, in a few aligned lines."""
    rows: list[tuple[str, str]] = []
    if asset is not None:
        rows += [
            ("asset", asset.id),
            ("document", asset.logical_key),
            ("content", f"{asset.content_type}, {plural(asset.size, 'byte')}"),
            ("sha256", asset.sha256),
            ("stored", f"{when(asset.created_at)} by {asset.created_by}"),
        ]
    if isinstance(thing, Atom):
        rows += [
            ("atom", thing.id),
            ("made by", f"{thing.operation}@{thing.operation_version}"),
            ("parent", thing.parent),
            ("place", place_of(thing.locator)),
        ]
    governance = thing.governance
    rows.append(("kind, space", f"{governance.kind}, {governance.space}"))
    if governance.subject is not None:
        rows.append(("subject", governance.subject))
    for name, value in rows:
        console.say(" " * indent + console.dim(name.ljust(12)) + value)


def show_edges(console: Console, edges: Sequence[Edge], *, down: bool, limit: int) -> None:
    """The edges of a walk as a table."""
    if not edges:
        console.say(
            "", "nothing was made of it" if down else "it is an origin; nothing is above it"
        )
        return
    console.say("")
    console.table(
        [
            (
                str(edge.depth),
                edge.parent,
                edge.child,
                f"{edge.operation}@{edge.operation_version}",
                when(edge.created_at),
            )
            for edge in edges
        ],
        ("depth", "parent", "child", "made by", "at"),
    )
    if len(edges) == limit:
        console.say(console.dim(f"the first {limit}; --limit shows more"))


def asset_data(asset: Asset) -> dict[str, Any]:
    """An asset as JSON data."""
    return attrs.asdict(asset)


def atom_data(atom: Atom) -> dict[str, Any]:
    """An atom as JSON data, without its text and metadata."""
    return attrs.asdict(atom, filter=lambda field, _: field.name not in ("text", "metadata"))
