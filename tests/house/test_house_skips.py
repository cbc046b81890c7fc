"""A skip is a failure, whoever wrote it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CARRY_ON = ("--continue-on-collection-errors", ".")
HEAD = "import pytest\n"
TEST = "def test_a(): ...\n"
# Names are put in from outside, so that this file is not itself found to skip.
SKIPPING = {
    "call": "def test_a():\n    pytest.{}('later')\n".format("skip"),
    "mark": "@pytest.mark.{}(reason='later')\n".format("skip") + TEST,
    "condition": "@pytest.mark.{}(True, reason='later')\n".format("skipif") + TEST,
    "expectation": "@pytest.mark.{}\ndef test_a(): assert False\n".format("xfail"),
    "fixture": "@pytest.fixture\ndef f(): pytest.{}('later')\n".format("skip")
    + "def test_a(f): ...\n",
    "module": "pytest.{}('later', allow_module_level=True)\n".format("skip") + TEST,
    "missing": "pytest.{}('no_such_module')\n".format("importorskip") + TEST,
}


def outcome(root: Path, folder: Path, **modules: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over modules, with the conftest of the checkout and nothing else of it."""
    shutil.copy(root / "conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(HEAD + text, encoding="utf-8")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--tb=no",
            "-rA",
            "-p",
            "no:cacheprovider",
            *CARRY_ON,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_skip_is_a_failure(root: Path, tmp_path: Path) -> None:
    """A test or module that skips in any way is reported as failed, and none as skipped."""
    done = outcome(root, tmp_path, fine="def test_a(): assert True\n", **SKIPPING)
    reported = {line.split("::")[0].split(" - ")[0] for line in done.stdout.splitlines()}
    for name in SKIPPING:
        assert {f"FAILED test_{name}.py", f"ERROR test_{name}.py"} & reported, done.stdout
    assert "PASSED test_fine.py" in reported
    assert " skipped" not in done.stdout
    assert " xfailed" not in done.stdout
    assert done.returncode != 0


@pytest.mark.parametrize("name", ["expectation", "module"])
def test_a_skip_alone_fails_the_run(root: Path, tmp_path: Path, name: str) -> None:
    """One test that is expected to fail, or one module that is skipped, fails the whole run."""
    assert outcome(root, tmp_path, **{name: SKIPPING[name]}).returncode != 0


def test_a_run_without_skips_passes(root: Path, tmp_path: Path) -> None:
    """A run in which nothing is skipped is not disturbed."""
    done = outcome(root, tmp_path, fine="def test_a(): assert True\n")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
