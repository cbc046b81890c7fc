"""The table from statuses to one verdict."""

from __future__ import annotations

from typing import Final

import attrs
import pytest
from nexus_contracts import Verdict
from nexus_contracts._catalogue import catalogue
from nexus_contracts._engine import run_one
from nexus_contracts._harness import Reality
from nexus_contracts._requirements import Level, Requirement
from nexus_contracts._verdict import Outcome, Status, verdict_of
from nexus_contracts.zoo import Mutant, harness_for, mutants, variant_harness

from nexus_core.spi import StoreRole

MUST: Final = next(each for each in catalogue() if each.id == "RAW-001")
SHOULD: Final = attrs.evolve(MUST, level=Level.SHOULD)
STOCHASTIC: Final = attrs.evolve(MUST, level=Level.STOCHASTIC)
PASSED: Final = Outcome(requirement=MUST, status=Status.PASSED)

TABLE: Final = [
    (Status.PASSED, MUST, "CONFORMANT"),
    (Status.REFUSED, MUST, "CONFORMANT"),
    (Status.UNTESTED, MUST, "CONFORMANT"),
    (Status.FAILED, MUST, "NOT CONFORMANT"),
    (Status.FAILED, STOCHASTIC, "NOT CONFORMANT"),
    (Status.FAILED, SHOULD, "PARTIAL"),
    (Status.DEVIATES, MUST, "PARTIAL"),
    (Status.INDETERMINATE, MUST, "INCOMPLETE"),
    (Status.NOT_RUN, SHOULD, "INCOMPLETE"),
    (Status.ERROR, SHOULD, "ERROR"),
]


@pytest.mark.parametrize(("status", "requirement", "verdict"), TABLE)
def test_contracts_verdict_of_one(status: Status, requirement: Requirement, verdict: str) -> None:
    """One outcome among good ones decides the verdict, wherever it stands."""
    one = attrs.evolve(PASSED, requirement=requirement, status=status)
    assert verdict_of([PASSED, one], "real") == verdict
    assert verdict_of([one, PASSED], "real") == verdict


def test_contracts_verdict_is_the_worst() -> None:
    """Of two bad outcomes the worse decides."""
    order = ["ERROR", "NOT CONFORMANT", "INCOMPLETE", "PARTIAL", "CONFORMANT"]
    for status, requirement, verdict in TABLE:
        for other, wanted, second in TABLE:
            both = [
                attrs.evolve(PASSED, status=status, requirement=requirement),
                attrs.evolve(PASSED, status=other, requirement=wanted),
            ]
            worst = min(verdict, second, key=order.index)
            assert verdict_of(both, "real") == worst


def test_contracts_verdict_of_nothing() -> None:
    """Where nothing was run, nothing is claimed."""
    assert verdict_of([], "real") is Verdict.INCOMPLETE


@pytest.mark.parametrize(
    ("reality", "verdict"),
    [
        ("real", Verdict.CONFORMANT),
        ("emulator", Verdict.CONFORMANT_EMULATOR),
        ("memory", Verdict.CONFORMANT_MEMORY),
    ],
)
def test_contracts_verdict_says_what_stood_behind(reality: Reality, verdict: Verdict) -> None:
    """A pass against an emulator, or in memory, is never called by the name of a real one."""
    assert verdict_of([PASSED], reality) is verdict


def faulty(killed_by: str) -> Mutant:
    """A mutant that a requirement kills."""
    return next(each for each in mutants() if each.killed_by == killed_by)


def test_contracts_deviation_is_a_strict_expected_failure() -> None:
    """A declared deviation excuses a failure, and is itself one where the requirement holds."""
    reason = {MUST.id: "our names fold"}
    bad = run_one(harness_for(faulty(MUST.id)), MUST, deviations=reason)
    assert bad.status is Status.DEVIATES
    assert bad.message.startswith("our names fold: ")
    good = run_one(variant_harness(StoreRole.RAW), MUST, deviations=reason)
    assert good.status is Status.FAILED
    assert "strike it out" in good.message


@pytest.mark.parametrize("name", ["TEN-101", "CFG-102", "SEC-101"])
def test_contracts_no_deviation_from_the_absolute(name: str) -> None:
    """Isolation, fail-closed configuration and hygiene are excused by no reason."""
    requirement = next(each for each in catalogue() if each.id == name)
    outcome = run_one(harness_for(faulty(name)), requirement, deviations={name: "we like it so"})
    assert outcome.status is Status.FAILED
    assert "no deviation is allowed" in outcome.message
