"""The test of the suite: it fails every faulty backend, for the right reason, and no lawful one."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Final

import pytest
from nexus_contracts import Profile, Verdict, run, zoo
from nexus_contracts._catalogue import catalogue
from nexus_contracts._engine import run_one
from nexus_contracts._requirements import Level, Requirement
from nexus_contracts._verdict import Status
from nexus_contracts.zoo import Mutant, harness_for, legal_variants, mutants, variant_harness

from nexus_core.spi import StoreRole

pytestmark = pytest.mark.zoo

REQUIREMENTS: Final = {each.id: each for each in catalogue()}
# Roles whose zoo is complete: each of their requirements has to be seen to bite.
STOCKED: Final = tuple(StoreRole)


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_contracts_zoo_mutant_is_killed(mutant: Mutant) -> None:
    """A faulty backend fails the requirement that it breaks, in words that say how."""
    requirement = REQUIREMENTS[mutant.killed_by]
    assert requirement.role is mutant.role
    outcome = run_one(harness_for(mutant), requirement, effort=0)
    assert outcome.status is Status.FAILED, outcome.message
    assert mutant.says in outcome.message


@pytest.mark.parametrize("name", sorted(legal_variants()))
def test_contracts_zoo_legal_variant_passes(name: str) -> None:
    """A backend that is unusual but right is conformant."""
    report = run(legal_variants()[name])
    wrong = list(report.of_status(Status.FAILED, Status.ERROR, Status.INDETERMINATE))
    assert wrong == []
    assert report.verdict is Verdict.CONFORMANT_MEMORY


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_zoo_honest_backend_passes(role: StoreRole) -> None:
    """The backend in memory that mutants are made from is conformant, in the whole suite."""
    report = run(variant_harness(role), profile=Profile.EXTENDED)
    assert report.verdict is Verdict.CONFORMANT_MEMORY, report.of_status(Status.FAILED)


@pytest.mark.parametrize(
    "requirement",
    [each for each in catalogue() if each.level is Level.MUST and each.role in STOCKED],
    ids=lambda each: each.id,
)
def test_contracts_zoo_every_must_kills(requirement: Requirement) -> None:
    """No binding requirement is there for show: at least one faulty backend fails it."""
    own = [mutant for mutant in mutants() if mutant.role is requirement.role]
    if any(mutant.killed_by == requirement.id for mutant in own):
        return  # that it does is the law above
    assert any(run_one(harness_for(m), requirement, effort=0).status is Status.FAILED for m in own)


def test_contracts_zoo_has_them_all() -> None:
    """No module of the zoo keeps mutants or lawful variants that nobody runs."""
    names = {mutant.name for mutant in mutants()}
    for found in pkgutil.iter_modules(zoo.__path__, "nexus_contracts.zoo."):
        module = importlib.import_module(found.name)
        assert {mutant.name for mutant in getattr(module, "MUTANTS", ())} <= names, found.name
        assert set(getattr(module, "LEGAL", ())) <= set(legal_variants()), found.name


def test_contracts_zoo_is_stocked() -> None:
    """The roles that are said to be stocked have more mutants than binding requirements."""
    for role in STOCKED:
        musts = [e for e in catalogue() if e.role is role and e.level is Level.MUST]
        assert sum(mutant.role is role for mutant in mutants()) >= len(musts)
