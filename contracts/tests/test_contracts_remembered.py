"""How the suite meets stores that are opened twice, or that cannot be."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from nexus_contracts._catalogue import catalogue
from nexus_contracts._catalogue.remembered import REMEMBERED
from nexus_contracts._engine import run_one
from nexus_contracts._harness import BackendHarness
from nexus_contracts._verdict import Outcome, Status
from nexus_contracts.zoo import variant_harness
from nexus_contracts.zoo._filed import filed_harness, opened
from nexus_contracts.zoo._remembered import faulty

from nexus_core.spi import StoreRole

ROLE = StoreRole.AUDIT
REQUIREMENT = next(each for each in catalogue() if each.id == REMEMBERED[ROLE])


def tried(harness: BackendHarness) -> Outcome:
    """What comes of it."""
    return run_one(harness, REQUIREMENT, effort=0)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of factories beside this one; another process finds it as this one does."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("remembered_stores")


def test_contracts_remembered_stores_may_be_opened_once(stores: Any) -> None:
    """A store that refuses a second opening keeps the promise, and the report says that it does."""
    outcome = tried(filed_harness(ROLE, stores.once))
    assert outcome.status is Status.PASSED, outcome.message
    assert [key for key in outcome.figures if key.startswith("beside")] == [
        "beside the first opening",
        "beside this process",
    ]


def test_contracts_remembered_needs_another_process() -> None:
    """Where no other process can import the factory two openings in one are tried all the same, and
    a store that passes them was not tried whole."""
    sound = filed_harness(ROLE, lambda config, runtime: opened(ROLE, "whole", config, runtime))
    outcome = tried(sound)
    assert outcome.status is Status.NOT_RUN
    assert "another process cannot open" in outcome.message
    keeping = partial(faulty, ROLE, "descriptor-kept")
    spec = attrs.evolve(sound.spec, factory=lambda config, runtime: keeping(config, runtime))
    assert tried(attrs.evolve(sound, spec=spec)).status is Status.FAILED


def test_contracts_remembered_asks_nothing_of_memory() -> None:
    """Of a store that is declared ephemeral nothing is promised."""
    assert tried(variant_harness(ROLE)).status is Status.REFUSED


def test_contracts_remembered_tells_what_escapes(stores: Any) -> None:
    """What another process raises outside the error tree is told as that."""
    outcome = tried(filed_harness(ROLE, stores.escaping))
    assert outcome.status is Status.FAILED
    assert "the other process was asked" in outcome.message
    assert "it raised RuntimeError, which is outside the error tree" in outcome.message
