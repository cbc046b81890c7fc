"""A scope has the indexes that its own records name, and no others are believed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from nexus_core import (
    IndexDefinition,
    NotFoundError,
    TenantIsolationError,
    UnavailableError,
    VectorItem,
)

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}
ITEM = [VectorItem(id="v", vector=[1, 2])]
THEIRS = IndexDefinition(name="theirs", version=1, dimension=2, metric="dot", embedder="mine@1")

READS: dict[str, Callable[[Any], Any]] = {
    "indexes": lambda n: n.vectors.indexes(),
    "query": lambda n: n.vectors.query("theirs", [1, 2]),
    "get": lambda n: n.vectors.get("theirs", "v", version=1),
    "statistics": lambda n: n.vectors.statistics("theirs", version=1),
}


@pytest.mark.parametrize("read", READS)
def test_an_index_of_another_scope_is_not_believed_in(world: World, read: str) -> None:
    """A store that lists or gives another scope's index trips the guard: nothing is returned, it is
    on record, and the store is closed for the scope."""
    honest_list, honest_get = world.vectors.list_indexes, world.vectors.get_index
    with world.nexus.request(context("globex")) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        n._ingest._rows.define(THEIRS)
    globex = context("globex").scope
    world.vectors.list_indexes = lambda scope: honest_list(globex)
    world.vectors.get_index = lambda scope, name, version: honest_get(globex, name, version)
    with world.nexus.request(context()) as n:
        with pytest.raises(TenantIsolationError) as caught:
            READS[read](n)
        assert "theirs" not in str(caught.value)
        with pytest.raises(UnavailableError):
            n.vectors.indexes()
    assert ("event", "isolation.alarm", "isolation.violated") in world.trail(context())


def test_another_definition_under_a_known_name_is_not_believed_in(world: World) -> None:
    """An index of the scope's own name with another definition is not the scope's."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        honest = world.vectors.list_indexes

        def lying(scope: Any) -> Any:
            return [
                attrs.evolve(ref, definition=attrs.evolve(ref.definition, metric="dot"))
                for ref in honest(scope)
            ]

        world.vectors.list_indexes = lying
        with pytest.raises(TenantIsolationError):
            n.vectors.indexes()


def test_a_store_gives_the_index_it_was_asked_for(world: World) -> None:
    """An index under another name or version than was asked for is refused."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        n._ingest._rows.define(THEIRS)
        honest = world.vectors.get_index
        world.vectors.get_index = lambda scope, name, version: honest(scope, "tiny", 1)
        with pytest.raises(TenantIsolationError):
            n.vectors.get("theirs", "v", version=1)


def test_a_definition_that_was_never_made_stands_in_nobodys_way(world: World) -> None:
    """Where a kill came between record and index, the next definition takes the name."""
    honest = world.vectors.create_index

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with world.nexus.request(context()) as n:
        world.vectors.create_index = killed
        with pytest.raises(KeyboardInterrupt):
            n._ingest._rows.define(THEIRS)
        world.vectors.create_index = honest
        assert n.vectors.indexes() == []
        other = attrs.evolve(THEIRS, dimension=3)
        n._ingest._rows.define(other)
        assert n.vectors.indexes() == [other]


def test_records_of_indexes_are_no_proposals(world: World) -> None:
    """What names a made index is neither listed nor found among proposals."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        assert n.definitions.list() == []
        (place,) = (p[2] for p, r in world.atoms.records.items() if r.fields.get("type") == "made")
        with pytest.raises(NotFoundError):
            n.definitions.get(place)


def test_an_erased_scope_may_define_anew(world: World) -> None:
    """After a scope's erasure its old indexes are unknown, and names are free."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", ITEM, **OWN)
        n.erasure.scope(confirm="acme/dev")
        assert n.vectors.indexes() == []
        n._ingest._rows.define(attrs.evolve(THEIRS, name="tiny"))
        assert [d.name for d in n.vectors.indexes()] == ["tiny"]
