"""Stores whose files are hurt or held: no sound one fails, and what was looked for was found."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest
from nexus_contracts import Profile
from nexus_contracts._catalogue import catalogue
from nexus_contracts._catalogue.hurt import HURT
from nexus_contracts._engine import run_one
from nexus_contracts._verdict import Outcome, Status
from nexus_contracts.zoo._filed import filed_harness, opened
from nexus_contracts.zoo._hurt import foldered, in_rows

from nexus_core.spi import StoreRole

REQUIREMENTS: Final = {each.id: each for each in catalogue()}
ROLES: Final = list(StoreRole)


def tried(role: StoreRole, factory: Any, name: str) -> Outcome:
    """One requirement, of a store that a factory opens."""
    return run_one(filed_harness(role, factory), REQUIREMENTS[name], profile=Profile.EXTENDED)


@pytest.mark.parametrize("role", ROLES)
def test_contracts_hurt_folders_of_scopes(role: StoreRole) -> None:
    """A store that syncs a folder for each scope passes if it leaves nothing undone for others; the
    folder was found, and failed."""
    outcome = tried(role, partial(foldered, role, remembers=False), HURT[role].alone)
    assert outcome.status is Status.PASSED, outcome.message
    assert outcome.figures["files_of_its_own"] == 1
    assert outcome.figures["strikes"] > 0
    assert outcome.figures["erasures_refused"] == 1


@pytest.mark.parametrize("role", ROLES)
def test_contracts_hurt_one_file_for_all(role: StoreRole) -> None:
    """Where scopes have no files of their own there is nothing to hurt, and nothing to blame."""
    outcome = tried(role, partial(opened, role, "whole"), HURT[role].alone)
    assert outcome.status is Status.PASSED, outcome.message
    assert outcome.figures["files_of_its_own"] == 0


@pytest.mark.parametrize("role", ROLES)
def test_contracts_hurt_rows_that_are_held(role: StoreRole) -> None:
    """A store in rows that rolls back what is refused passes, and was refused something."""
    outcome = tried(role, partial(in_rows, role, leaves_open=False), HURT[role].held)
    assert outcome.status is Status.PASSED, outcome.message
    assert outcome.figures["files_held"] == 1
    assert outcome.figures["refused_while_held"] > 0
