"""Erasure on real stores: nothing is found afterwards, by any read or on the disk, over a kill."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import Nexus, RequestContext

from .conftest import environment

Run = Callable[..., Any]

SECRET = "xylophone-sonata"

KILLED = """
import os, signal, sys
from nexus_core import Nexus, RequestContext
from nexus_core._handles import erasing

step = sys.argv[1]
honest = getattr(erasing.Erasing, step)

def dying(self, *arguments):
    honest(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(erasing.Erasing, step, dying)
context = RequestContext.build(
    tenant_id="acme", env="dev", actor_id="ana", actor_kind="human", role="owner"
)
with Nexus.open() as nexus, nexus.request(context) as n:
    n.erasure.subject("eve")
"""


@pytest.fixture
def subjects(deployment: Path, nexus: Run) -> Run:
    """The command in a deployment that holds the same note about eve and about dan."""
    (deployment / "note.txt").write_text(f"Eve plays the {SECRET} at night.\n")
    (deployment / "other.txt").write_text("Dan sells umbrellas.\n")
    for subject, file in (("eve", "note.txt"), ("dan", "other.txt")):
        own = ("--kind", "data", "--space", "house", "--subject", subject)
        ended = nexus("ingest", file, *own)
        assert ended.code == 0, ended.err
    (deployment / "note.txt").unlink()
    assert nexus("retrieve", SECRET).code == 0
    return nexus


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    )


def everything(deployment: Path) -> tuple[str, str]:
    """All that the public reads of the scope give: of its data and events, and of its trail."""
    context = RequestContext.build(
        tenant_id="acme", env="dev", actor_id="auditor", actor_kind="human", role="owner"
    )
    with Nexus.open(deployment / "nexus.toml") as nexus, nexus.request(context) as n:
        seen: list[Any] = [n.assets.query().items, n.raw.list().items]
        seen += [(atom, atom.text) for atom in n.atoms.query().items]
        seen += [(row, row.stored) for row in n.vectors.scan("main").items]
        seen += [n.retrieve(SECRET).hits, n.events.list(limit=1000).items]
        trail: list[Any] = [n.audit.read(limit=1000).items]
        trail += [*n.audit.export("jsonl"), *n.audit.export("bundle"), *n.audit.export("ocsf")]
        report = n.audit.verify()
        assert report.ok, report.findings
    return repr(seen), repr(trail)


def test_nothing_of_an_erased_subject_is_found(deployment: Path, subjects: Run) -> None:
    """No public read and no file on the disk has the text, the name or an id of the subject; the
    other subject is whole, and the trail and its old checkpoint still verify."""
    assert files_with(deployment / "data", SECRET) != []
    checkpoint = deployment / "kept.checkpoint"
    assert subjects("audit", "checkpoint", "--output", checkpoint).code == 0
    before = "".join(everything(deployment))
    assert SECRET in before
    assert "'eve'" in before
    theirs = set(re.findall(r"(?:ast|atm)_[a-z2-7]{32}", before))
    assert len(theirs) == 4
    ended = subjects("erase", "subject", "eve", "--confirm", "eve", "--json")
    assert (ended.code, ended.err) == (0, "")
    erased = ended.data
    assert (erased["objects"], erased["vectors"]) == (1, 1)
    assert erased["records"] > 4
    assert erased["sealed"] > 2
    data, trail = everything(deployment)
    for trace in (SECRET, "'eve'", '"eve"', "note.txt"):
        assert trace not in data + trail
    assert len(set(re.findall(r"(?:ast|atm)_[a-z2-7]{32}", data))) == 2
    assert "umbrellas" in data
    assert files_with(deployment / "data", SECRET) == []
    assert files_with(deployment / "data", '"eve"') == []
    assert subjects("audit", "verify", "--checkpoint", checkpoint).code == 0
    again = subjects("erase", "subject", "eve", "--confirm", "eve", "--json")
    assert set(again.data.values()) == {0}


def test_an_erasure_is_on_record_with_counts_and_without_names(subjects: Run) -> None:
    """The trail has intent and outcome of the erasure, how much went, and not of whom."""
    counts = subjects("erase", "subject", "eve", "--confirm", "eve", "--json").data
    tail = subjects("audit", "tail", "--json").lines
    records = [record for record in tail if record["action"] == "erase.subject"]
    assert [(r["phase"], r["outcome"]) for r in records] == [("intent", None), ("outcome", "ok")]
    assert records[1]["details"] == {**counts, "reason": "applied"}
    assert "eve" not in json.dumps(records)


@pytest.mark.parametrize(
    "step", ["_opened", "_erase_rows", "_erase_objects", "_erase_records", "_erase_sealed"]
)
def test_a_killed_erasure_is_finished_by_recovery(
    deployment: Path, subjects: Run, step: str
) -> None:
    """Killed after any step, the erasure is finished by the next recovery, and recorded."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, step],
        cwd=deployment,
        env=environment({}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    recovered = subjects("recover", "--older-than", "0", "--json")
    assert recovered.data["erasures"] == 1
    assert recovered.data["settled"] == 1
    data, trail = everything(deployment)
    assert SECRET not in data + trail
    assert "'eve'" not in data + trail
    assert "umbrellas" in data
    assert files_with(deployment / "data", SECRET) == []
    assert subjects("recover", "--older-than", "0", "--json").data["erasures"] == 0


def test_an_erased_scope_keeps_its_permanent_trail_only(deployment: Path, subjects: Run) -> None:
    """Nothing of any subject is left; the trail verifies against a checkpoint from before; the
    neighbour is whole."""
    (deployment / "theirs.txt").write_text("Globex keeps its own counsel.\n")
    own = ("--kind", "data", "--space", "house", "--tenant", "globex")
    assert subjects("ingest", "theirs.txt", *own).code == 0
    checkpoint = deployment / "kept.checkpoint"
    assert subjects("audit", "checkpoint", "--output", checkpoint).code == 0
    ended = subjects("erase", "scope", "--confirm", "acme/dev", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert (ended.data["objects"], ended.data["vectors"]) == (2, 2)
    assert subjects("audit", "verify", "--checkpoint", checkpoint).code == 0
    assert files_with(deployment / "data", SECRET) == []
    assert files_with(deployment / "data", "umbrellas") == []
    tail = subjects("audit", "tail", "--json").lines
    assert [r["outcome"] for r in tail if r["action"] == "erase.scope"] == [None, "ok"]
    assert {r["actor"] for r in tail if not r["erased"]} == {"tester"}
    found = subjects("retrieve", "counsel", "--tenant", "globex", "--json")
    assert found.code == 0
    assert len(found.data["hits"]) == 1


def test_what_is_held_refuses_the_whole_erasure(deployment: Path, subjects: Run) -> None:
    """One object under a legal hold keeps everything, and the refusal names it."""
    context = RequestContext.build(
        tenant_id="acme", env="dev", actor_id="a", actor_kind="human", role="owner", subject="eve"
    )
    with Nexus.open(deployment / "nexus.toml") as nexus, nexus.request(context) as n:
        n.raw.put("held/contract", b"x", kind="data", space="house", legal_hold=True)
    before = files_with(deployment / "data", SECRET)
    for words in (("subject", "eve", "--confirm", "eve"), ("scope", "--confirm", "acme/dev")):
        ended = subjects("erase", *words)
        assert ended.code == 1
        assert "held/contract" in ended.err
        assert subjects("erase", *words, "--json").data["ids"] == ["held/contract"]
    assert files_with(deployment / "data", SECRET) == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("subject", "eve"), 2),
        (("subject", "eve", "--confirm", "dan"), 2),
        (("scope", "--confirm", "acme"), 2),
        (("scope", "--confirm", "globex/dev"), 2),
        (("subject", "eve", "--confirm", "eve", "--role", "member"), 1),
        (("subject", "eve", "--confirm", "eve", "--role", "viewer"), 1),
        (("subject", "eve", "--confirm", "eve", "--subject", "eve"), 2),
    ],
)
def test_an_erasure_that_is_not_meant_erases_nothing(
    deployment: Path, subjects: Run, words: tuple[str, ...], code: int
) -> None:
    """Without the confirmation, the role, or a request about nobody, everything stays."""
    before = files_with(deployment / "data", SECRET)
    assert subjects("erase", *words).code == code
    assert files_with(deployment / "data", SECRET) == before
