"""``nexus retrieve``: the nearest atoms, in the store's order, as pointers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_core import And, Atom, Eq, Filter, RetrievedHit
from nexus_core._cli.console import Console, printable_lines
from nexus_core._cli.failure import OK
from nexus_core._cli.options import common, describe, requested, scoped

# What people look for a place by, in the order in which they say it.
_PLACES: Final = ("page", "section", "row", "path", "line")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "Return the nearest atoms to a text: exact distances, and where each atom is. Nothing is\n"
        "ranked or rewritten; smaller is nearer. The text that you ask with is kept nowhere.",
        """
nexus retrieve "who approves travel?" -k 5
nexus retrieve "who approves travel?" --space handbook --text
""",
    )
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("-k", type=int, default=10, help="how many (10)")
    parser.add_argument("--text", dest="show_text", action="store_true", help="show the atoms too")
    parser.add_argument("--kind", help="only atoms of this kind")
    parser.add_argument("--space", help="only atoms of this space")
    parser.add_argument("--index", help="name of the index (the configured one)")
    parser.add_argument("--index-version", type=int, metavar="N", help="its version (the latest)")
    scoped(parser)
    common(parser, run, takes="TEXT")


def run(options: argparse.Namespace, console: Console) -> int:
    """Ask, and show the hits."""
    with requested(options) as request:
        found = request.retrieve(
            options.text,
            index=options.index,
            index_version=options.index_version,
            k=options.k,
            where=_filter(options),
        )
        texts = texts_of(request, found.hits) if options.show_text else {}
    console.document(
        {
            "hits": [hit_data(hit, texts) for hit in found.hits],
            "explanation": attrs.asdict(found.explanation),
        }
    )
    if not found.hits:
        console.say("nothing in this scope's index matches")
    elif options.show_text:
        for hit in found.hits:
            show_with_text(console, hit, texts.get(hit.id, ""))
    else:
        show(console, found.hits)
    return OK


def show(console: Console, hits: Sequence[RetrievedHit], *, indent: int = 0) -> None:
    """Hits as a table, in the order in which the store gave them."""
    console.table(
        [(f"{hit.distance:.4f}", *_where(hit), hit.id) for hit in hits],
        ("distance", "document", "place", "atom"),
        indent=indent,
    )


def show_with_text(console: Console, hit: RetrievedHit, text: str) -> None:
    """One hit with the atom's own words below it."""
    document, place = _where(hit)
    console.say(console.bold(f"{hit.distance:.4f}  {document}  {place}"), console.dim(hit.id))
    console.say(*(f"    {line}" for line in printable_lines(text)), "")


def texts_of(request: Any, hits: Sequence[RetrievedHit]) -> dict[str, str]:
    """The texts of the hits' atoms, read through the audited handle."""
    atoms: list[Atom | None] = request.atoms.get([hit.id for hit in hits]) if hits else []
    return {atom.id: request.atoms.text(atom) for atom in atoms if atom is not None}


def hit_data(hit: RetrievedHit, texts: Mapping[str, str]) -> dict[str, Any]:
    """A hit as JSON data; with its text where that was asked for."""
    pointer = None if hit.pointer is None else attrs.asdict(hit.pointer)
    data: dict[str, Any] = {"id": hit.id, "distance": hit.distance, "pointer": pointer}
    return data | {"text": texts[hit.id]} if hit.id in texts else data


def place_of(locator: Mapping[str, int | str]) -> str:
    """A locator as a person would say it: ``page 3, line 12``; in full where that says nothing."""
    names = [name for name in _PLACES if name in locator] or list(locator)
    return ", ".join(f"{name.replace('_', ' ')} {locator[name]}" for name in names)


def _where(hit: RetrievedHit) -> tuple[str, str]:
    if hit.pointer is None:
        return "(no atom)", ""
    return hit.pointer.logical_key or hit.pointer.asset, place_of(hit.pointer.locator)


def _filter(options: argparse.Namespace) -> Filter | None:
    parts = tuple(
        Eq(name, value)
        for name, value in (("kind", options.kind), ("space", options.space))
        if value is not None
    )
    return And(parts) if parts else None
