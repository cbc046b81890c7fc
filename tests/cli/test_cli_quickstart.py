"""The quickstart, as a newcomer runs it: twice, on a folder of their own, and every step after."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart ran once, without a path."""
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def story(ran: Path) -> Mapping[str, Any]:
    """What the first run said."""
    ended = in_process(ran)("quickstart", "--json", "--limit", "12")
    assert (ended.returncode, ended.stderr) == (0, "")
    import json

    found: Mapping[str, Any] = json.loads(ended.stdout)
    return found


def in_process(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command without any context in its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nexus_core", *arguments],
            cwd=folder,
            env={**kept, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_quickstart_keeps_two_tenants_documents_apart(story: Mapping[str, Any]) -> None:
    """Both tenants have documents, every hit is the asker's own, and both were asked the same."""
    assert story["ok"] is True
    assert set(story["tenants"]) == {"acme", "globex"}
    assert all(tenant["created"] == tenant["documents"] > 0 for tenant in story["tenants"].values())
    assert all(answer["own"] and answer["hits"] for answer in story["answers"])
    asked = {
        tenant: [a["question"] for a in story["answers"] if a["tenant"] == tenant]
        for tenant in story["tenants"]
    }
    assert asked["acme"] == asked["globex"]
    ids = {
        tenant: {hit["id"] for a in story["answers"] if a["tenant"] == tenant for hit in a["hits"]}
        for tenant in story["tenants"]
    }
    assert not ids["acme"] & ids["globex"]


def test_quickstart_traces_an_answer(story: Mapping[str, Any]) -> None:
    """The lineage that is shown leads from an atom through its operation to its document."""
    origin = story["origin"]
    assert origin["atom"]["asset"] == origin["asset"]["id"]
    assert origin["atom"]["operation_version"]
    assert "@" in origin["embedder"]


def test_quickstart_shows_that_a_stranger_hears_nothing(story: Mapping[str, Any]) -> None:
    """Every id of the other tenant gives what an id that never was gives."""
    assert len(story["attempts"]) >= 5
    assert all(attempt["foreign"] == attempt["absent"] for attempt in story["attempts"])
    assert "something" not in {attempt["foreign"] for attempt in story["attempts"]}


def test_quickstart_verifies_both_trails_and_keeps_checkpoints(story: Mapping[str, Any]) -> None:
    """Both trails verify, and a checkpoint of each is kept for the next run."""
    for trail in story["trails"]:
        assert trail["ok"] is True
        assert trail["size"] > 0
        assert Path(trail["checkpoint_file"]).read_text().startswith("nexus.audit/v1/dev/")


def test_quickstart_again_changes_nothing(ran: Path, story: Mapping[str, Any]) -> None:
    """A second run finds all unchanged, checks the trails against the first, and reads well."""
    assert story["ok"] is True
    ended = in_process(ran)("quickstart", "--limit", "12")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "12 unchanged" in ended.stdout
    assert ended.stdout.count("begins as it ended in the last run") == 2
    assert "created" not in ended.stdout
    headings = [line for line in ended.stdout.splitlines() if line and not line.startswith(" ")]
    assert len(headings) == 8
    assert "\x1b" not in ended.stdout


def test_quickstarts_next_steps_all_work(story: Mapping[str, Any], tmp_path: Path) -> None:
    """Every command that it ends with does what it says, in a shell, in that order."""
    bash = shutil.which("bash")
    assert bash is not None
    beside = Path(sys.executable).parent
    assert (beside / "nexus").exists(), "the tests run where the distributions are installed"
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    steps = story["next"]
    assert len(steps) >= 10
    # One shell for all, because some steps set variables for those after them.
    script = "\n".join(f'{step}\necho "exit $?" >&2' for step in steps)
    ended = subprocess.run(
        [bash, "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    codes = [line for line in ended.stderr.splitlines() if line.startswith("exit ")]
    expected = ["exit 1" if "# not found" in step else "exit 0" for step in steps]
    assert codes == expected, ended.stderr
    assert sum("# not found" in step for step in steps) == 1
    assert "note.txt" in ended.stdout
    assert "the probe tenants are erased again" in ended.stdout


def test_quickstart_with_a_path_gives_it_to_the_first_tenant(
    tmp_path: Path, nexus_in: Callable[[Path], Run]
) -> None:
    """A folder of one's own becomes acme's, and its words the question; the rest is left out."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "rail.md").write_text("The board approves every journey by rail or by sea.\n" * 3)
    (notes / "picture.bin").write_bytes(b"\0\1\2")
    ended = nexus_in(tmp_path)("quickstart", "notes", "--dir", "try it", "--limit", "3", "--json")
    assert (ended.code, ended.err) == (0, "")
    acme = ended.data["tenants"]["acme"]
    assert (acme["documents"], acme["created"], acme["left_out"]) == (1, 1, 1)
    assert ended.data["tenants"]["globex"]["documents"] == 3
    first = ended.data["answers"][0]
    assert first["question"] == "The board approves every journey by rail or"
    assert first["hits"][0]["pointer"]["logical_key"] == "rail.md"


def test_quickstart_leaves_other_folders_alone(
    deployment: Path, tmp_path: Path, nexus_in: Callable[[Path], Run]
) -> None:
    """A deployment that it did not make, or any folder in use, is refused and stays as it is."""
    before = sorted(deployment.rglob("*"))
    ended = nexus_in(tmp_path)("quickstart", "--dir", str(deployment))
    assert (ended.code, ended.out) == (2, "")
    assert "--dir" in ended.err
    assert sorted(deployment.rglob("*")) == before


def test_quickstart_of_nothing_makes_nothing(
    tmp_path: Path, nexus_in: Callable[[Path], Run]
) -> None:
    """A path that leads nowhere is refused before anything is made."""
    ended = nexus_in(tmp_path)("quickstart", "nope")
    assert (ended.code, ended.out, list(tmp_path.iterdir())) == (2, "", [])
