"""What holds for every test of the checkout: no skips, and the same examples in every run."""

from __future__ import annotations

from collections.abc import Generator

import hypothesis
import pytest

# Random examples find a bug in somebody else's change; a deadline finds a busy machine.
hypothesis.settings.register_profile("nexus", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("nexus")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips, or is expected to fail, fails."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        # With this mark a failure would be shown, and not be counted.
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself fails."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
    return report
