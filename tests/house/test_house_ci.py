"""What a change must pass: every part of it runs, and each one that fails is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Stands for the README's command and for tox: says what it was asked for, and fails where told to.
PART = """#!{python}
import os, sys, pathlib
said = " ".join(sys.argv[1:])
with pathlib.Path({asked!r}).open("a") as log:
    log.write(said + "\\n")
print("this is", said)
sys.exit(said.split(" -- ")[0].startswith(tuple(os.environ["FAILING"].split(";"))))
"""
TESTS = ("test", "run -e servers", "run -e mindeps", "run -e wheel")


@pytest.fixture(scope="module")
def tree(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of which nothing is left but what decides what runs."""
    tree = tmp_path_factory.mktemp("ci")
    for name in (".ci/run", "requirements/ci.txt", ".tox/tools/bin/tox", "dev.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    shutil.copy(root / ".ci" / "run", tree / ".ci" / "run")
    for name in (".tox/tools/bin/tox", "dev.py"):
        (tree / name).write_text(PART.format(python=sys.executable, asked=str(tree / "asked")))
        (tree / name).chmod(0o755)
    return tree


def ran(tree: Path, failing: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Run it: what was asked for, and how it ended."""
    (tree / "asked").write_text("")
    done = subprocess.run(
        [tree / ".ci" / "run"],
        cwd=tree,
        env={**os.environ, "FAILING": failing},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return (tree / "asked").read_text().splitlines(), done


def test_ci_runs_everything(tree: Path, root: Path) -> None:
    """Lint, types, the README's command, the oldest dependencies, wheels and servers are run."""
    asked, done = ran(tree, "nothing")
    assert done.returncode == 0, done.stderr
    part = " -- -m not servers and not whole and not zoo"
    wheel = next(each for each in asked if "wheel" in each)
    assert sorted(asked) == sorted(
        ["test", "run -e servers", "run -e lint", "run -e typing", f"run -e mindeps{part}", wheel]
    )
    assert re.fullmatch(rf"run -e wheel(-py31[1-3])?{part}", wheel)
    tox = (root / "tox.ini").read_text(encoding="utf-8")
    for name in ("lint", "typing", "mindeps", "wheel", "servers"):
        assert re.search(rf"^\[testenv:{name}[{{\]]", tox, re.MULTILINE)


@pytest.mark.parametrize("part", ["lint", "typing"])
def test_ci_ends_with_what_is_seen_at_once(tree: Path, part: str) -> None:
    """Where lint or types fail, the run fails and the tests that come after them are not begun."""
    asked, done = ran(tree, f"run -e {part}")
    assert done.returncode == 1
    assert f"run -e {part}" in asked
    assert not [said for said in asked if "mindeps" in said or "wheel" in said]


@pytest.mark.parametrize("parts", [TESTS[::2], TESTS[1::2]], ids=repr)
def test_ci_tells_which_tests_failed(tree: Path, parts: tuple[str, ...]) -> None:
    """Where some tests fail, the others are run all the same, what they said is shown, and the run
    fails and names them."""
    asked, done = ran(tree, ";".join(parts))
    assert done.returncode == 1
    for each in TESTS:
        assert [said for said in asked if said.startswith(each)], each
        assert f"this is {each}" in done.stdout
    named = re.search(r"^these failed: (.*)$", done.stderr, re.MULTILINE)
    assert named is not None
    for each in TESTS:
        assert (each.split()[-1] in named.group(1)) is (each in parts)
