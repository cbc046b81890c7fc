"""The pytest plugin: one module, one command; and nothing where it is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from nexus_contracts import Report, Verdict, verify_report
from nexus_contracts._verdict import Status

MODULE: Final = """
import attrs
from nexus_contracts import conformance_tests
from nexus_contracts.zoo import harness_for, mutants, variant_harness
from nexus_core.spi import StoreRole

folds = next(each for each in mutants() if each.killed_by == "RAW-007")
harness = {harness}
test_conformance = conformance_tests(harness, deviations={deviations})
"""
GOOD: Final = "variant_harness(StoreRole.RAW)"
BAD: Final = "harness_for(folds)"
# The laws of this checkout about skips are not those of a plugin's author.
OPTIONS: Final = ("-q", "-p", "no:cacheprovider", "-W", "error", "--strict-config", "-rA")


def write(folder: Path, harness: str = GOOD, deviations: str = "None", extra: str = "") -> None:
    (folder / "pytest.ini").write_text("[pytest]\nxfail_strict = true\n", encoding="utf-8")
    text = MODULE.format(harness=harness, deviations=deviations)
    (folder / "test_store.py").write_text(text + extra, encoding="utf-8")


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def report_in(folder: Path) -> Report:
    (path,) = folder.glob("*.json")
    return verify_report(path.read_text(encoding="utf-8"))


def test_contracts_pytest_runs_every_requirement(tmp_path: Path) -> None:
    """One module and one command run a test for each requirement, and write a sound report."""
    write(tmp_path)
    ended = pytest_in(tmp_path, "--nexus-report", "out")
    assert ended.returncode == 0, ended.stdout
    report = report_in(tmp_path / "out")
    assert report.verdict is Verdict.CONFORMANT_MEMORY
    assert report.reproduce == "pytest test_store.py"
    assert "memory raw (core): CONFORMANT (memory)" in ended.stdout
    for line in report.of_status(Status.PASSED, Status.REFUSED):
        assert f"PASSED test_store.py::test_conformance[{line.id}]" in ended.stdout
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [
        ".html", ".json", ".xml",
    ]  # fmt: skip


def test_contracts_pytest_fails_a_faulty_backend(tmp_path: Path) -> None:
    """A broken requirement is a failed test that says how, and the report says the same."""
    write(tmp_path, BAD)
    ended = pytest_in(tmp_path, "--nexus-report", "out")
    assert ended.returncode == 1
    assert "FAILED test_store.py::test_conformance[RAW-007]" in ended.stdout
    report = report_in(tmp_path / "out")
    assert report.verdict is Verdict.NOT_CONFORMANT
    failed = {line.id for line in report.of_status(Status.FAILED)}
    assert f"{len(failed)} failed" in ended.stdout
    assert "RAW-007, failed: A list prefix matches" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("-k", "RAW-001 or RAW-005"), ""),
        (("--deselect", "test_store.py::test_conformance[TEN-101]"), ""),
        (("test_store.py::test_conformance[RAW-001]",), ""),
        ((), "import pytest\ntest_conformance = pytest.mark.skip(test_conformance)\n"),
    ],
)
def test_contracts_pytest_cannot_be_cut_down(
    tmp_path: Path, arguments: tuple[str, ...], extra: str
) -> None:
    """What is deselected or skipped is listed as not run, and the verdict is never conformant."""
    write(tmp_path, extra=extra)
    ended = pytest_in(tmp_path, "--nexus-report", "out", *arguments)
    if "no requirement was run" in ended.stdout:
        assert not (tmp_path / "out").exists()
        assert "CONFORMANT" not in ended.stdout
    else:
        report = report_in(tmp_path / "out")
        assert report.verdict is Verdict.INCOMPLETE
        assert report.of_status(Status.NOT_RUN)


@pytest.mark.parametrize("mark", ["xfail(strict=False)", "xfail(run=False)"])
def test_contracts_pytest_expected_failures_are_none(tmp_path: Path, mark: str) -> None:
    """A mark that expects failures makes the run green, and the report no better."""
    write(tmp_path, BAD, extra=f"import pytest\npytest.mark.{mark}(test_conformance)\n")
    ended = pytest_in(tmp_path, "--nexus-report", "out", "-k", "RAW-007")
    assert ended.returncode == 0, ended.stdout
    if "run=False" in mark:
        assert "no requirement was run" in ended.stdout
    else:
        assert report_in(tmp_path / "out").verdict is Verdict.NOT_CONFORMANT


def test_contracts_pytest_stops_early(tmp_path: Path) -> None:
    """A run that stops at the first failure lists the rest as not run."""
    write(tmp_path, BAD)
    pytest_in(tmp_path, "--nexus-report", "out", "-x")
    report = report_in(tmp_path / "out")
    assert report.verdict is Verdict.NOT_CONFORMANT
    assert len(report.of_status(Status.FAILED)) == 1
    assert report.of_status(Status.NOT_RUN)


def test_contracts_pytest_deviations_are_strict(tmp_path: Path) -> None:
    """A declared deviation is an expected failure, and a failure where the requirement holds."""
    (tmp_path / "known.toml").write_text('[deviations]\nRAW-007 = "patterns"\n', encoding="utf-8")
    where = "__import__('pathlib').Path(__file__).with_name('known.toml')"
    write(tmp_path, BAD, where)
    ended = pytest_in(tmp_path, "-k", "RAW-007")
    assert (ended.returncode, "1 xfailed" in ended.stdout) == (0, True), ended.stdout
    write(tmp_path, GOOD, where)
    ended = pytest_in(tmp_path, "-k", "RAW-007")
    assert ended.returncode == 1
    assert "strike it out" in ended.stdout


def test_contracts_pytest_costs_others_nothing(tmp_path: Path) -> None:
    """A run that makes no conformance tests loads nothing of the suite but the plugin's module."""
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test_loaded():\n"
        "    loaded = {n for n in sys.modules if n.startswith(('nexus_', 'pydantic'))}\n"
        "    assert loaded <= {'nexus_contracts', 'nexus_contracts._pytest_plugin'}, loaded\n",
        encoding="utf-8",
    )
    ended = pytest_in(tmp_path, "-rA")
    assert ended.returncode == 0, ended.stdout
    assert "nexus conformance" not in ended.stdout
