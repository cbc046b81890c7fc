"""The catalogue and the checks agree with each other."""

from __future__ import annotations

import pytest
from nexus_contracts import Profile, explain
from nexus_contracts._catalogue import catalogue, catalogue_hash
from nexus_contracts._engine import declared
from nexus_contracts._gaps import BROKEN, PROVISION, REOPEN, kind_of
from nexus_contracts._registry import checks
from nexus_contracts._requirements import Level, Requirement
from nexus_contracts.zoo import variant_harness

from nexus_core.spi import StoreRole


def test_contracts_every_requirement_has_its_check() -> None:
    """Each tested requirement has one check, and each check and no other has a requirement."""
    tested = {each.id for each in catalogue() if each.level is not Level.UNTESTED}
    assert tested == set(checks())
    assert len(tested) > 50


def test_contracts_every_untested_requirement_says_why() -> None:
    """What nobody tests is listed with a reason, and a reason excuses nothing that is tested."""
    assert all((each.level is Level.UNTESTED) == bool(each.reason) for each in catalogue())
    with pytest.raises(ValueError, match="reason belongs to"):
        Requirement(
            id="RAW-999", role=StoreRole.RAW, level=Level.MUST, sentence="a", rationale="b",
            reason="c",
        )  # fmt: skip


def test_contracts_capabilities_of_the_catalogue_exist() -> None:
    """Every capability that a requirement depends on is a flag of its role."""
    harnesses = {role: variant_harness(role) for role in StoreRole}
    named = [each for each in catalogue() if each.capability is not None]
    assert named
    for each in named:
        assert each.capability is not None
        assert declared(harnesses[each.role], each.capability) in (True, False), each.id


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_what_a_harness_has_to_give_is_known_for_every_role(role: StoreRole) -> None:
    """Of the three that stand on the harness, every role has exactly one each, and it is a MUST."""
    of_role = [each for each in catalogue() if each.role is role]
    for kind in (PROVISION, BROKEN, REOPEN):
        (found,) = [each for each in of_role if kind_of(each) == kind]
        assert (found.level, found.profile) == (Level.MUST, Profile.CORE)


def test_contracts_hash_is_of_the_catalogue_alone() -> None:
    """The catalogue's hash is 64 hex digits, and the same each time."""
    assert len(bytes.fromhex(catalogue_hash())) == 32
    catalogue_hash.cache_clear()
    catalogue.cache_clear()
    first = catalogue_hash()
    catalogue_hash.cache_clear()
    assert catalogue_hash() == first


def test_contracts_explains_every_requirement() -> None:
    """Each requirement is explained by its sentence, its reason to be, and how binding it is."""
    for each in catalogue():
        text = explain(each.id.lower())
        assert each.sentence in text
        assert each.rationale in text
        assert each.absolute == ("no deviation" in text)
    with pytest.raises(ValueError, match="no requirement XYZ-001"):
        explain("XYZ-001")
