"""Three ways to run the suite, one verdict: the function, the command, and pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from nexus_contracts import explain, run, verify_report
from nexus_contracts.zoo import harness_for, mutants, variant_harness

from nexus_core.spi import StoreRole

MODULE: Final = """
from pathlib import Path

from nexus_contracts import conformance_tests
from nexus_contracts.zoo import harness_for, mutants, variant_harness
from nexus_core.spi import StoreRole

GOOD = variant_harness(StoreRole.AUDIT)
BAD = harness_for(next(each for each in mutants() if each.name == "{mutant}"))
harness = {which}
test_it = conformance_tests(harness, deviations={deviations})
"""

CASES: Final = {
    "good": ("GOOD", "audit-none", {}, "CONFORMANT (memory)"),
    "declared": ("BAD", "audit-swallows-denials", {"AUD-011": "no denials"}, "PARTIAL"),
    "never excused": ("BAD", "audit-contagious", {"TEN-403": "it happens"}, "NOT CONFORMANT"),
}


@pytest.mark.whole
@pytest.mark.parametrize("case", CASES)
def test_contracts_ways_agree(case: str, tmp_path: Path) -> None:
    """Function, command and pytest give one verdict and one status for each requirement, and
    what they write verifies; a deviation is in it with its reason."""
    which, mutant, reasons, verdict = CASES[case]
    declared = tmp_path / "deviations.toml"
    lines = [f'{name} = "{reason}"' for name, reason in reasons.items()]
    declared.write_text("\n".join(["[deviations]", *lines]), encoding="utf-8")
    text = MODULE.format(which=which, mutant=mutant, deviations=f"Path({str(declared)!r})")
    (tmp_path / "test_subject.py").write_text(text, encoding="utf-8")
    bad = next(each for each in mutants() if each.name == mutant)
    harness = variant_harness(StoreRole.AUDIT) if which == "GOOD" else harness_for(bad)

    called = run(harness, deviations=declared)
    command = "nexus_core conformance run --harness test_subject:harness --output command"
    ended = [
        started(tmp_path, *command.split(), "--deviations", str(declared)),
        started(tmp_path, *["pytest", "-q", "-p", "no:cacheprovider", "--nexus-report", "pytest"]),
    ]
    reports = [called]
    for folder in ("command", "pytest"):
        (path,) = (tmp_path / folder).glob("*.json")
        reports.append(verify_report(path.read_text(encoding="utf-8")))
    for report in reports:
        assert report.verdict == verdict
        assert report.deviations == reasons
        assert [(line.id, line.status) for line in report.requirements] == [
            (line.id, line.status) for line in called.requirements
        ]
    good = verdict.startswith("CONFORMANT")
    assert [process.returncode == 0 for process in ended] == [good, good or verdict == "PARTIAL"]
    verified = started(
        tmp_path, *["nexus_core", "conformance", "verify", "--json"], "command/memory-audit.json"
    )
    assert json.loads(verified.stdout)["verdict"] == verdict
    for name in reasons:
        said = started(tmp_path, *["nexus_core", "conformance", "explain"], name)
        assert explain(name).splitlines()[0] in said.stdout


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python program, run in a folder whose modules it can import."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
