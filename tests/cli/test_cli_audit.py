"""The audit commands: what they prove, and that tampering and rollback end with 1."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def some_history(deployment: Path, nexus: Run) -> None:
    """A few records in acme's trail."""
    (deployment / "a.txt").write_text("words about words\n")
    assert nexus("ingest", "a.txt", "--kind", "data", "--space", "notes").code == 0


def test_audit_tail_shows_who_did_what(deployment: Path, nexus: Run) -> None:
    """The latest records come oldest first, as a table and as JSON lines."""
    some_history(deployment, nexus)
    ended = nexus("audit", "tail", "-n", "2", "--json")
    indexes = [record["index"] for record in ended.lines]
    assert (ended.code, indexes) == (0, sorted(indexes))
    assert ended.lines[-1]["actor"] == "tester"
    text = nexus("audit", "tail")
    assert text.out.splitlines()[0].split() == [
        "no",
        "time",
        "phase",
        "action",
        "outcome",
        "actor",
        "ids",
    ]
    assert "ingest" in text.out


def test_audit_trails_are_the_tenants_own(deployment: Path, nexus: Run) -> None:
    """Nothing that one tenant did is in the trail of another."""
    some_history(deployment, nexus)
    assert nexus("audit", "tail", "--json", NEXUS_TENANT="globex").lines == []


def test_audit_verify_checks_against_a_checkpoint_kept_elsewhere(
    deployment: Path, tmp_path: Path, nexus: Run
) -> None:
    """Without a checkpoint rollback is not checked, and it says so; with one it is."""
    some_history(deployment, nexus)
    kept = tmp_path / "acme.checkpoint"
    written = nexus("audit", "checkpoint", "--output", kept)
    assert (written.code, kept.read_text().splitlines()[0]) == (0, "nexus.audit/v1/dev/acme")
    plain = nexus("audit", "verify", "--json")
    assert (plain.code, plain.data["ok"], plain.data["rollback"]) == (0, True, "not checked")
    trusted = nexus("audit", "verify", "--checkpoint", kept, "--json")
    assert (trusted.code, trusted.data["rollback"]) == (0, "checked")
    assert trusted.data["verifier_key"].startswith("nexus.audit/v1/dev/acme+")
    text = nexus("audit", "verify", "--checkpoint", kept)
    assert text.out.startswith("ok  ")


def test_audit_verify_finds_a_rollback(deployment: Path, tmp_path: Path, nexus: Run) -> None:
    """A data folder put back to an earlier state is found out by the checkpoint of a later one."""
    some_history(deployment, nexus)
    shutil.copytree(deployment / "data", tmp_path / "before")
    for _ in range(3):
        assert nexus("audit", "tail").code == 0
    kept = tmp_path / "acme.checkpoint"
    assert nexus("audit", "checkpoint", "--output", kept).code == 0
    shutil.rmtree(deployment / "data")
    shutil.copytree(tmp_path / "before", deployment / "data")
    ended = nexus("audit", "verify", "--checkpoint", kept, "--json")
    assert (ended.code, ended.data["ok"], ended.data["rollback"]) == (1, False, "detected")
    text = nexus("audit", "verify", "--checkpoint", kept)
    assert text.out.startswith("finding  ")


def test_audit_verify_finds_an_edited_record(deployment: Path, nexus: Run) -> None:
    """One byte changed in the sink's own file is found, and the record is named."""
    some_history(deployment, nexus)
    database = sqlite3.connect(deployment / "data" / "records.db")
    ((first, leaf),) = database.execute("SELECT rowid, leaf FROM log_entries LIMIT 1")
    edited = leaf[:-1] + bytes([leaf[-1] ^ 1])
    database.execute("UPDATE log_entries SET leaf = ? WHERE rowid = ?", (edited, first))
    database.commit()
    database.close()
    ended = nexus("audit", "verify", "--json")
    assert (ended.code, ended.data["ok"]) == (1, False)
    assert ended.data["first_bad"] is not None


def test_audit_verify_of_a_false_checkpoint_is_a_finding(
    deployment: Path, tmp_path: Path, nexus: Run
) -> None:
    """A checkpoint file of another tenant, or none at all, is not believed."""
    some_history(deployment, nexus)
    other = tmp_path / "globex.checkpoint"
    assert nexus("audit", "tail", NEXUS_TENANT="globex").code == 0
    assert nexus("audit", "checkpoint", "--output", other, NEXUS_TENANT="globex").code == 0
    assert nexus("audit", "verify", "--checkpoint", other).code == 1
    missing = nexus("audit", "verify", "--checkpoint", tmp_path / "nope")
    assert (missing.code, missing.out) == (2, "")


def test_audit_checkpoint_goes_to_standard_output_as_it_is(deployment: Path, nexus: Run) -> None:
    """What is printed is the checkpoint that can be verified against, byte for byte."""
    assert nexus("audit", "checkpoint").code == 1
    some_history(deployment, nexus)
    printed = nexus("audit", "checkpoint")
    (deployment / "kept").write_text(printed.out)
    assert nexus("audit", "verify", "--checkpoint", "kept").code == 0


def test_audit_export_writes_every_record_in_each_format(deployment: Path, nexus: Run) -> None:
    """Each format is JSON lines, to standard output or whole into a file."""
    some_history(deployment, nexus)
    plain = nexus("audit", "export")
    assert [record["index"] for record in plain.lines] == list(range(len(plain.lines)))
    assert {
        json.loads(line)["specversion"]
        for line in nexus("audit", "export", "--format", "ocsf").out.splitlines()
    } == {"1.0"}
    ended = nexus("audit", "export", "--format", "bundle", "--output", "acme.bundle", "--json")
    lines = (deployment / "acme.bundle").read_text().splitlines()
    assert (ended.code, ended.data["lines"]) == (0, len(lines))
    assert json.loads(lines[0])["origin"] == "nexus.audit/v1/dev/acme"


def test_audit_export_that_fails_leaves_no_part_behind(deployment: Path, nexus: Run) -> None:
    """A place that cannot be written to is named, and nothing is left there."""
    ended = nexus("audit", "export", "--output", "no/such/folder/acme.jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert not list(deployment.rglob("*.part"))
