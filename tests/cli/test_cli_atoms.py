"""Atoms written out and counted, and proofs of the trail, on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_proof.py"


def test_atoms_are_written_as_lines(filled: Run, tmp_path: Path) -> None:
    """The file has one line for each atom that was chosen, with its text."""
    file = tmp_path / "atoms.jsonl"
    ended = filled("atoms", "export", "--space", "house", "--output", file, "--json")
    assert (ended.code, ended.err) == (0, "")
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert ended.data["atoms"] == len(lines) == filled("atoms", "count", "--json").data["atoms"]
    assert any("kitchen closes" in line["text"] for line in lines)
    assert filled("atoms", "count", "--kind", "data", "--space", "attic").out == "0 atoms\n"
    assert filled("atoms", "export", "--training", "--output", file, "--json").data["atoms"] == 0


def proved(*words: str | Path) -> tuple[int, str]:
    """What the stand-alone tool says."""
    ended = subprocess.run(
        [sys.executable, "-I", str(TOOL), *map(str, words)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout.decode()


def test_a_proof_is_checked_by_a_stranger(filled: Run, tmp_path: Path) -> None:
    """A record's proof and a proof of growth hold for whoever has the key and the checkpoint."""
    note, record, growth = (tmp_path / name for name in ("note", "record", "growth"))
    key = filled("audit", "checkpoint", "--json").data["verifier_key"]
    assert filled("audit", "checkpoint", "--output", note).code == 0
    size = int(note.read_text().splitlines()[1])
    assert filled("audit", "prove", "0", "--output", record).code == 0
    assert filled("audit", "prove", "--grown-from", str(size), "--output", growth).code == 0
    assert proved(record, "--key", key)[0] == 0
    code, said = proved(growth, "--key", key, "--trusted", note)
    assert (code, said.startswith("proved: the log has only grown")) == (0, True)
    assert proved(growth, "--key", key)[0] == 1


@pytest.mark.parametrize("words", [(), ("1", "--grown-from", "1"), ("999999",)])
def test_what_cannot_be_proved_is_refused(filled: Run, words: tuple[str, ...]) -> None:
    """Neither, both, or a record that is not there is an error of the command line."""
    assert filled("audit", "prove", *words).code == 2
