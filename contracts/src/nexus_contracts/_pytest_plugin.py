"""What pytest loads in every run that has the suite installed: two options, and nothing else.

The suite is imported by a module that makes tests with it. Where none does, this costs the import
of one small module.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from nexus_contracts._tests import Run

_TESTS: Final = "nexus_contracts._tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare where reports go."""
    group = parser.getgroup("nexus", "conformance of Nexus storage plugins")
    group.addoption(
        "--nexus-report",
        metavar="DIR",
        default=None,
        help="write the conformance reports (JSON, JUnit XML, HTML) into this folder",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would give a report with holes."""
    spread = getattr(config.option, "numprocesses", None)
    if config.getoption("--nexus-report") and spread:
        raise pytest.UsageError(
            "--nexus-report needs all tests in one process: no worker sees the others' results"
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say each backend's verdict, and write its report where one was asked for."""
    runs = [run for run in _runs() if run.outcomes]
    target = config.getoption("--nexus-report")
    if target and not runs:
        terminalreporter.section("nexus conformance")
        terminalreporter.line("no requirement was run, so no report was written", red=True)
        return
    for number, run in enumerate(runs):
        if number == 0:
            terminalreporter.section("nexus conformance")
        report = run.report()
        good = report.conformant
        what = f"{report.backend.name} {report.backend.role} ({report.profile})"
        terminalreporter.line(f"{what}: {report.verdict}", green=good, red=not good)
        if target:
            for path in report.write(Path(str(target))):
                terminalreporter.line(f"  {path}")


def pytest_unconfigure() -> None:
    """Forget this run's results, for another run in the same process."""
    _runs().clear()


def _runs() -> list[Run]:
    # Not an import: whoever did not use the suite does not pay for it.
    module = sys.modules.get(_TESTS)
    found: list[Run] = [] if module is None else module.RUNS
    return found
