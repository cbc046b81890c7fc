"""Indexes that are switched off refuse, lose nothing, and are woken by nothing but ``activate``."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import plugin

from nexus_core import (
    ConfigurationError,
    Eq,
    NotFoundError,
    TenantInactiveError,
    UnsupportedError,
    VectorItem,
)
from nexus_core.spi import BackendSpec, IndexState, Outcome, hookimpl

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}
ITEM = [VectorItem(id="v", vector=[1, 2])]

CALLS: dict[str, Callable[[Any], Any]] = {
    "upsert": lambda n: n.vectors.upsert("tiny", ITEM, **OWN),
    "delete": lambda n: n.vectors.delete("tiny", ["v"]),
    "delete_where": lambda n: n.vectors.delete_where("tiny", Eq("kind", "data")),
    "get": lambda n: n.vectors.get("tiny", "v"),
    "query": lambda n: n.vectors.query("tiny", [1, 2]),
    "count": lambda n: n.vectors.count("tiny"),
    "scan": lambda n: n.vectors.scan("tiny"),
    "statistics": lambda n: n.vectors.statistics("tiny"),
    "erase a subject": lambda n: n.erasure.subject("u1"),
    "erase the scope": lambda n: n.erasure.scope(confirm="acme/dev"),
}


def declaring(*states: IndexState) -> ModuleType:
    """The memory store as a plugin whose vector store declares these states."""
    module = ModuleType("states_for_test")
    module.__dict__.update(vars(plugin))
    spec = plugin.nexus_vector_store()
    declared: Any = {"states": frozenset(states)}
    capabilities = attrs.evolve(spec.capabilities, **declared)

    @hookimpl
    def nexus_vector_store() -> BackendSpec:
        return attrs.evolve(spec, capabilities=capabilities)

    module.__dict__.update(nexus_vector_store=nexus_vector_store)
    return module


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", ["deactivate", "offload"])
def test_an_index_that_is_switched_off_refuses(world: World, how: str, call: str) -> None:
    """Every read, write and erasure says so and leaves it off; the twin goes on; activated, the
    rows are there."""
    with world.nexus.request(context("globex")) as twin, world.nexus.request(context()) as n:
        for each in (n, twin):
            each.vectors.upsert("tiny", ITEM, **OWN)
        assert getattr(n.vectors, how)("tiny")
        with pytest.raises(TenantInactiveError) as caught:
            CALLS[call](n)
        assert caught.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(TenantInactiveError):
            n.vectors.count("tiny")
        assert [d.name for d in n.vectors.indexes()] == ["tiny"]
        assert twin.vectors.count("tiny") == 1
        assert n.vectors.activate("tiny")
        assert [hit.id for hit in n.vectors.query("tiny", [1, 2])] == ["v"]


def test_states_are_set_once_and_on_record(world: World) -> None:
    """Each change has intent and outcome in the trail, and a repetition changes nothing."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        begun = len(world.trail(context()))
        told = [n.vectors.deactivate("tiny", version=1), n.vectors.deactivate("tiny")]
        told += [n.vectors.activate("tiny"), n.vectors.activate("tiny")]
    assert told == [True, False, True, False]
    trail = world.trail(context())[begun:]
    assert [r for r in trail if r[1] == "index.state"] == [
        step
        for outcome in ("ok", "unchanged", "ok", "unchanged")
        for step in (("intent", "index.state", None), ("outcome", "index.state", outcome))
    ]


def test_an_index_that_is_not_there_has_no_state(world: World) -> None:
    """Setting a state makes no index."""
    with world.nexus.request(context()) as n:
        with pytest.raises(NotFoundError):
            n.vectors.deactivate("tiny")
        assert n.vectors.indexes() == []


@pytest.mark.parametrize(
    ("states", "refused"),
    [
        ((), ("activate", "deactivate", "offload")),
        ((IndexState.ACTIVE, IndexState.INACTIVE), ("offload",)),
    ],
    ids=["none", "two"],
)
def test_a_state_that_is_not_declared_is_refused(
    opened: Callable[..., World], states: tuple[IndexState, ...], refused: tuple[str, ...]
) -> None:
    """The store does not hear of a state that it does not declare."""
    world = opened(memory=declaring(*states))
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        for name in refused:
            with pytest.raises(UnsupportedError):
                getattr(n.vectors, name)("tiny")
        assert n.vectors.count("tiny") == 1


@pytest.mark.parametrize(
    "states",
    [(IndexState.INACTIVE,), (IndexState.ACTIVE,), (IndexState.ACTIVE, IndexState.OFFLOADED)],
    ids=lambda states: "+".join(states),
)
def test_states_that_lack_one_are_no_capability(
    opened: Callable[..., World], states: tuple[IndexState, ...]
) -> None:
    """A store that could put an index to sleep and not wake it is refused as a plugin."""
    with pytest.raises(ConfigurationError, match="impossible capability 'states'"):
        opened(memory=declaring(*states))
