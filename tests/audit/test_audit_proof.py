"""Proofs that are carried away: made by the product, checked by a tool that shares no code."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from nexus_core import InvalidArgumentError
from nexus_core._audit import AuditProof, prove_consistency, prove_inclusion

from .making import OTHER, SCOPE, filled, verifier
from .sink import MemorySink

TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_proof.py"
SINK = filled((1, 2, 1, 3, 1, 5))
SIZE = 13


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("verify_proof_under_test", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = loaded()
KEY = MODULE.Key(str(verifier()))
NOTES = {int(note.split(b"\n")[1]): note for note in SINK.checkpoints(SCOPE, 0, 100)}


def checked(proof: AuditProof, folder: Path, trusted: bytes | None = None) -> str | None:
    """What the tool says is proved; nothing where it refuses."""
    path = folder / "proof.json"
    path.write_bytes(proof.to_json())
    try:
        said: str = MODULE.check_proof(path, KEY, trusted)
    except ValueError:
        return None
    return said


@pytest.mark.parametrize("index", range(SIZE))
def test_every_record_can_be_proved(index: int, tmp_path: Path) -> None:
    """The tool agrees that a record is in the log, and with no other place or record."""
    proof = prove_inclusion(SINK, SCOPE, verifier(), index)
    assert checked(proof, tmp_path) == f"record {index} is one of the {SIZE} records"
    assert checked(attrs.evolve(proof, index=(index + 1) % SIZE), tmp_path) is None
    assert checked(attrs.evolve(proof, leaf=(proof.leaf or b"") + b" "), tmp_path) is None
    assert checked(attrs.evolve(proof, path=proof.path[:-1]), tmp_path) is None
    assert checked(attrs.evolve(proof, path=(*proof.path, b"x" * 32)), tmp_path) is None


@pytest.mark.parametrize("old", sorted(NOTES))
def test_growth_can_be_proved_from_every_checkpoint(old: int, tmp_path: Path) -> None:
    """The tool agrees that the log only grew from a checkpoint, and not from a different one."""
    proof = prove_consistency(SINK, SCOPE, verifier(), old)
    assert checked(proof, tmp_path, NOTES[old]) is not None
    assert checked(proof, tmp_path) is None
    for size, note in NOTES.items():
        assert (checked(proof, tmp_path, note) is not None) is (size == old)
    other = filled((1, 2, 1, 3, 1, 5))
    twin = next(n for n in other.checkpoints(SCOPE, 0, 100) if n.split(b"\n")[1] == b"%d" % old)
    assert checked(proof, tmp_path, twin) is None


def test_an_erased_subject_takes_no_proof_away(tmp_path: Path) -> None:
    """A proof from before an erasure holds, and the same proof can be made after."""
    sink = filled((4, 4))
    before = prove_inclusion(sink, SCOPE, verifier(), 0)
    tag = sink.read(SCOPE, 0, 1)[0].subject_tag
    assert tag is not None
    assert sink.erase_sealed(SCOPE, tag) > 0
    assert prove_inclusion(sink, SCOPE, verifier(), 0) == before
    assert checked(before, tmp_path) is not None


def test_a_proof_of_another_log_proves_nothing(tmp_path: Path) -> None:
    """A proof is bound to its log by the key's name and signature."""
    theirs = prove_inclusion(filled((2,), OTHER), OTHER, verifier(OTHER), 0)
    assert checked(theirs, tmp_path) is None
    ours = prove_inclusion(SINK, SCOPE, verifier(), 0)
    assert checked(attrs.evolve(ours, checkpoint=theirs.checkpoint), tmp_path) is None
    assert checked(attrs.evolve(ours, size=SIZE - 1), tmp_path) is None


@pytest.mark.parametrize("number", [-1, SIZE, SIZE + 5, True, "1"])
def test_what_is_not_in_the_log_is_refused(number: Any) -> None:
    """An index or size that the log does not have has no proof."""
    with pytest.raises(InvalidArgumentError):
        prove_inclusion(SINK, SCOPE, verifier(), number)
    if number not in (SIZE, True):
        with pytest.raises(InvalidArgumentError):
            prove_consistency(SINK, SCOPE, verifier(), number)
    with pytest.raises(InvalidArgumentError, match="empty"):
        prove_inclusion(MemorySink(), SCOPE, verifier(), 0)


def test_the_tool_runs_on_its_own(tmp_path: Path) -> None:
    """As a program it says what is proved and exits 0, or what is wrong and exits 1."""
    proof = prove_inclusion(SINK, SCOPE, verifier(), 3)
    path = tmp_path / "proof.json"
    for data, code, said in (
        (proof.to_json(), 0, "proved: record 3"),
        (json.dumps({"format": 1}).encode(), 1, "finding: "),
    ):
        path.write_bytes(data)
        ended = subprocess.run(
            [sys.executable, "-I", str(TOOL), str(path), "--key", str(verifier())],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == code, ended.stderr
        assert ended.stdout.decode().startswith(said)
