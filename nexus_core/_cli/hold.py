"""``nexus hold``: legal holds and retention of what is stored."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any, Final

from nexus_core._cli.console import Console, when
from nexus_core._cli.failure import OK, UsageError
from nexus_core._cli.options import requested, scoped, verb, verbs

_THINGS: Final = ("object", "asset", "atom")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "What is held, or in its retention period, is not deleted, replaced or erased by anybody.\n"
        "An asset's hold covers its bytes and the atoms made from it. Owners and admins only."
    )
    family = verbs(parser)
    _named(
        family,
        "set",
        run_set,
        "Place a legal hold. It stays until it is lifted.",
        "nexus hold set object contracts/2031.pdf --purpose case_7",
    )
    _named(
        family,
        "lift",
        run_lift,
        "Lift a legal hold. A retention period goes on.",
        "nexus hold lift asset ast_…",
    )
    extend = _named(
        family,
        "extend",
        run_extend,
        "Retain until a day, or extend the period to it; nothing shortens one.",
        "nexus hold extend object contracts/2031.pdf --until 2041-12-31",
        more=" --until TIME",
    )
    extend.add_argument(
        "--until", metavar="TIME", required=True, help="a day or time (ISO 8601; UTC if not said)"
    )


def _named(
    family: Any, name: str, run: Any, text: str, example: str, *, more: str = ""
) -> argparse.ArgumentParser:
    parser = verb(family, name, run, text, example, takes=f"WHAT NAME{more}")
    parser.add_argument("what", metavar="WHAT", choices=_THINGS, help=", ".join(_THINGS))
    parser.add_argument("name", metavar="NAME", help="an object's key, or an id")
    scoped(parser)
    return parser


def run_set(options: argparse.Namespace, console: Console) -> int:
    """Hold."""
    return _changed(options, console, "set_legal_hold", {"hold": True})


def run_lift(options: argparse.Namespace, console: Console) -> int:
    """Lift."""
    return _changed(options, console, "set_legal_hold", {"hold": False})


def run_extend(options: argparse.Namespace, console: Console) -> int:
    """Retain for longer."""
    return _changed(options, console, "set_retention", {"until": _moment(options.until)})


def _changed(
    options: argparse.Namespace, console: Console, method: str, wish: dict[str, Any]
) -> int:
    handle = {"object": "raw", "asset": "assets", "atom": "atoms"}[options.what]
    with requested(options) as request:
        made = getattr(getattr(request, handle), method)(options.name, **wish)
    own = made.governance
    console.document(
        {
            "what": options.what,
            "name": options.name,
            "legal_hold": own.legal_hold,
            "retain_until": own.retain_until,
        }
    )
    period = "" if own.retain_until is None else f", retained until {when(own.retain_until)}"
    console.say(f"{options.what} {options.name}: {'held' if own.legal_hold else 'no hold'}{period}")
    return OK


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", "for example 2041-12-31") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
