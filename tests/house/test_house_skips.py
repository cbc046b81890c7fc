"""A skip is a failure, whoever wrote it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = {
    "a call": "import pytest\ndef test_a():\n    pytest.{}('later')\n".format("skip"),
    "a mark": "import pytest\n@pytest.mark.{}(reason='later')\ndef test_a(): ...\n".format("skip"),
    "an expectation": "import pytest\n@pytest.mark.{}\ndef test_a(): assert False\n".format(
        "xfail"
    ),
    "a fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.{}('later')\n"
    "def test_a(f): ...\n".format("skip"),
    "a module": "import pytest\npytest.{}('later', allow_module_level=True)\n"
    "def test_a(): ...\n".format("skip"),
    "a missing module": "import pytest\npytest.{}('no_such_module')\ndef test_a(): ...\n".format(
        "importorskip"
    ),
}


def outcome(root: Path, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(root / "conftest.py", folder)
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("text", SKIPPING.values(), ids=SKIPPING)
def test_a_skip_fails_the_run(root: Path, tmp_path: Path, text: str) -> None:
    """A test or module that is skipped, or expected to fail, fails the whole run."""
    done = outcome(root, tmp_path, text)
    assert done.returncode != 0, done.stdout
    assert "passed" not in done.stdout
    assert " skipped" not in done.stdout


def test_a_passing_run_passes(root: Path, tmp_path: Path) -> None:
    """A run without skips is not disturbed."""
    done = outcome(root, tmp_path, "def test_a(): assert True\n")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
