"""A pytest test for each requirement, for a plugin author's own test module.

    from nexus_contracts import conformance_tests

    test_conformance = conformance_tests(harness)

What the tests find is kept here until the run is over; then the plugin writes the report. Only a
requirement whose test ran to its end is in it as run: however one is left out (skipped, deselected,
expected to fail without being run, a run that stops early), it is listed as not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

from nexus_contracts._engine import DEFAULT_SEED, applicable, run_one
from nexus_contracts._harness import BackendHarness
from nexus_contracts._report import Report, report_of
from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_contracts._run import Deviations, read_deviations
from nexus_contracts._verdict import Outcome, Status

GOOD: Final = (Status.PASSED, Status.REFUSED, Status.UNTESTED)

# Every module's tests in this process, in the order of their making.
RUNS: Final[list[Run]] = []


@attrs.define(eq=False)
class Run:
    """One backend's tests in one pytest run, and what has become of them."""

    harness: BackendHarness
    profile: Profile
    seed: int
    deviations: Mapping[str, str]
    module: str = ""
    outcomes: dict[str, Outcome] = attrs.field(factory=dict)

    @property
    def requirements(self) -> list[Requirement]:
        """Everything that applies."""
        return applicable(self.harness, self.profile)

    def test(self, requirement: Requirement) -> Outcome:
        """Run one; of several tries the first that was not good is kept."""
        outcome = run_one(
            self.harness,
            requirement,
            seed=self.seed,
            profile=self.profile,
            deviations=self.deviations,
        )
        kept = self.outcomes.get(requirement.id)
        if kept is None or kept.status in GOOD:
            self.outcomes[requirement.id] = outcome
        return outcome

    def report(self) -> Report:
        """The report of what was run, with the rest of what applies as not run."""
        found = [
            self.outcomes.get(requirement.id) or self._left(requirement)
            for requirement in self.requirements
        ]
        return report_of(
            self.harness,
            found,
            profile=self.profile,
            seed=self.seed,
            deviations=self.deviations,
            reproduce=f"pytest {Path(self.module).name}",
        )

    def _left(self, requirement: Requirement) -> Outcome:
        if requirement.level is Level.UNTESTED:
            return run_one(self.harness, requirement, seed=self.seed)
        return Outcome(
            requirement=requirement,
            status=Status.NOT_RUN,
            message="its test was skipped, deselected, or never came to its end",
        )


def conformance_tests(
    harness: BackendHarness,
    *,
    profile: Profile | str = Profile.CORE,
    seed: int = DEFAULT_SEED,
    deviations: Deviations = None,
) -> Callable[[Requirement], None]:
    """Make a pytest test for each requirement of the backend's role, its id in the test's name.

    Assign it to a name that begins with ``test``. A declared deviation is a strict expected
    failure: the test fails when the requirement holds. With ``--nexus-report DIR`` pytest writes
    the report when the run is over. Raises ``ValueError`` for arguments that make no sense.
    Where pytest is not installed there is nobody to run the test: the module can still be imported
    for its harness, and calling the test raises ``ModuleNotFoundError``.
    """
    import sys

    try:
        import pytest
    except ModuleNotFoundError:
        return _untestable

    kept = Run(
        harness=harness,
        profile=Profile(profile),
        seed=seed,
        deviations=read_deviations(deviations, harness),
        module=sys._getframe(1).f_globals.get("__file__", ""),  # noqa: SLF001  # for the report
    )
    RUNS.append(kept)
    tested = [each for each in kept.requirements if each.level is not Level.UNTESTED]

    @pytest.mark.parametrize("requirement", tested, ids=[each.id for each in tested])
    def test_conformance(requirement: Requirement) -> None:
        """Each requirement of the backend's role holds."""
        outcome = kept.test(requirement)
        if outcome.status is Status.DEVIATES:
            pytest.xfail(outcome.message)
        if outcome.status not in GOOD:
            said = f"{requirement.id}, {outcome.status}: {requirement.sentence}"
            pytest.fail(f"{said}\n{outcome.message}", pytrace=False)

    return test_conformance


def _untestable(requirement: Requirement) -> None:
    """Stand where a test would, in a process that has no pytest."""
    raise ModuleNotFoundError(
        f"{requirement.id} needs pytest: pip install 'nexus-contracts[pytest]'", name="pytest"
    )
