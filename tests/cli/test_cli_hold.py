"""Legal holds and retention from the command line, on real stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def asset(deployment: Path, nexus: Run) -> str:
    """An ingested note's asset."""
    (deployment / "note.txt").write_text("Umbrellas are sold here.\n")
    ended = nexus("ingest", "note.txt", "--kind", "data", "--space", "house", "--json")
    assert ended.code == 0, ended.err
    return str(json.loads(ended.out.splitlines()[0])["asset"])


def test_what_is_held_is_erased_once_it_is_lifted(nexus: Run, asset: str) -> None:
    """A hold refuses the erasure of the scope, by id; lifting it lets the erasure through."""
    ended = nexus("hold", "set", "asset", asset, "--purpose", "case_7")
    assert (ended.code, "held" in ended.out) == (0, True), ended.err
    refused = nexus("erase", "scope", "--confirm", "acme/dev", "--json")
    assert (refused.code, asset in refused.data["ids"]) == (1, True)
    lifted = nexus("hold", "lift", "asset", asset, "--json").data
    assert lifted == {"what": "asset", "name": asset, "legal_hold": False, "retain_until": None}
    assert nexus("erase", "scope", "--confirm", "acme/dev").code == 0


def test_a_period_is_extended_to_a_day(nexus: Run, asset: str) -> None:
    """The end of the period is the beginning of that day in UTC, and no earlier one is taken."""
    day = datetime(2100, 1, 1, tzinfo=UTC)
    made = nexus("hold", "extend", "asset", asset, "--until", "2100-01-01", "--json").data
    assert made["retain_until"] == int(day.timestamp()) * 1_000_000
    shorter = nexus("hold", "extend", "asset", asset, "--until", "2099-12-31T23:00:00+00:00")
    assert (shorter.code, "longer" in shorter.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("set", "table", "x"), 2),
        (("set", "object"), 2),
        (("extend", "object", "x"), 2),
        (("extend", "object", "x", "--until", "soon"), 2),
        (("extend", "object", "x", "--until", "2001-01-01"), 2),
        (("lift", "object", "x"), 1),
        (("lift", "object", "x", "--role", "member"), 1),
    ],
)
def test_what_cannot_be_held_is_said(nexus: Run, words: tuple[str, ...], code: int) -> None:
    """A thing or time that is none, an absent object, a role that may not: each is told."""
    ended = nexus("hold", *words)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err
