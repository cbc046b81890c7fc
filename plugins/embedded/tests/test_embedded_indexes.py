"""Indexes: explicit, locked by their definition, reborn with a new incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nexus_core.spi import (
    Eq,
    IndexLockedError,
    InvalidVectorError,
    NotFoundError,
    StaleReferenceError,
    VectorBackend,
    Vectors,
)

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab


def test_creating_an_index_twice_gives_one_index(lab: Lab, store: VectorBackend) -> None:
    """The same definition gives the same incarnation, also after the store was opened anew."""
    first = store.create_index(lab.a, lab.definition(fields={"year": "int"}))
    again = lab.build().create_index(lab.a, lab.definition(fields={"year": "int"}))
    assert first == again
    assert store.get_index(lab.a, "notes", 1) == first


def test_another_definition_under_a_taken_name_is_locked_out(
    lab: Lab, store: VectorBackend
) -> None:
    """Dimension, metric and fields are fixed for a name and version; a new version is empty."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    for other in (
        lab.definition(dimension=4),
        lab.definition(metric="dot"),
        lab.definition(fields={"year": "int"}),
    ):
        with pytest.raises(IndexLockedError) as caught:
            store.create_index(lab.a, other)
        assert caught.value.expected == ref.definition.fingerprint
        assert caught.value.actual == other.fingerprint
    second = store.create_index(lab.a, lab.definition(version=2, dimension=4))
    assert store.count(lab.a, second, None) == 0
    assert store.count(lab.a, ref, None) == 1


def test_definitions_of_other_scopes_never_matter(lab: Lab, store: VectorBackend) -> None:
    """Two scopes give one name to different indexes, and neither hears of the other's."""
    store.create_index(lab.a, lab.definition(dimension=3))
    theirs = store.create_index(lab.b, lab.definition(dimension=5, metric="dot"))
    assert store.get_index(lab.b, "notes", 1) == theirs
    assert [ref.definition.dimension for ref in store.list_indexes(lab.a)] == [3]
    assert list(store.list_indexes(lab.c)) == []


def test_indexes_are_listed_by_name_and_version(lab: Lab, store: VectorBackend) -> None:
    """The order is that of (name, version), the version as a number."""
    for name, version in (("b", 2), ("b", 10), ("a", 3), ("a-b", 1), ("b", 1)):
        store.create_index(lab.a, lab.definition(name=name, version=version))
    found = [(r.definition.name, r.definition.version) for r in store.list_indexes(lab.a)]
    assert found == [("a", 3), ("a-b", 1), ("b", 1), ("b", 2), ("b", 10)]


def test_a_dropped_index_is_gone_and_its_reference_stale(lab: Lab, store: VectorBackend) -> None:
    """After a drop nothing is found; after it is made again old references are refused."""
    fields = {"year": 1999}
    ref = store.create_index(lab.a, lab.definition(fields={"year": "int"}))
    kept = store.create_index(lab.a, lab.definition(name="kept", fields={"year": "int"}))
    for one in (ref, kept):
        store.upsert(lab.a, one, lab.batch([("x", [1, 0, 0], fields), ("y", [0, 1, 0], fields)]))
    assert len(lab.ask(store, lab.a, ref, [[1, 0, 0]], 5)[0]) == 2
    store.drop_index(lab.a, ref)
    store.drop_index(lab.a, ref)
    with pytest.raises(NotFoundError):
        store.get_index(lab.a, "notes", 1)
    with pytest.raises(NotFoundError):
        lab.ask(store, lab.a, ref, [[1, 0, 0]], 5)
    new = store.create_index(lab.a, lab.definition(fields={"year": "int"}))
    assert new.incarnation != ref.incarnation
    assert lab.ask(store, lab.a, new, [[1, 0, 0]], 5) == [[]]
    assert store.count(lab.a, new, Eq("year", 1999)) == 0
    store.upsert(lab.a, new, lab.batch([("z", [0, 0, 1], fields)]))
    for call in (
        lambda: store.upsert(lab.a, ref, lab.batch([("w", [1, 0, 0], {})])),
        lambda: store.get(lab.a, ref, ["x"]),
        lambda: store.delete(lab.a, ref, ["x"]),
        lambda: store.delete_where(lab.a, ref, Eq("year", 1999)),
        lambda: store.count(lab.a, ref, None),
        lambda: store.scan(lab.a, ref),
        lambda: store.statistics(lab.a, ref),
        lambda: store.drop_index(lab.a, ref),
        lambda: lab.ask(store, lab.a, ref, [[1, 0, 0]], 5),
    ):
        with pytest.raises(StaleReferenceError):
            call()
    assert [hit for hit, _ in lab.ask(store, lab.a, new, [[1, 0, 0]], 5)[0]] == ["z"]
    assert store.count(lab.a, kept, Eq("year", 1999)) == 2
    assert len(lab.ask(store, lab.a, kept, [[1, 0, 0]], 5)[0]) == 2


def test_a_reference_of_another_scope_is_stale(lab: Lab, store: VectorBackend) -> None:
    """A reference opens nothing outside the scope that it was given in."""
    mine = store.create_index(lab.a, lab.definition())
    store.create_index(lab.b, lab.definition())
    with pytest.raises(StaleReferenceError):
        store.count(lab.b, mine, None)


def test_vectors_of_another_dimension_are_refused(lab: Lab, store: VectorBackend) -> None:
    """A block of the wrong dimension is neither written nor compared."""
    ref = store.create_index(lab.a, lab.definition(dimension=3))
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    with pytest.raises(InvalidVectorError):
        store.upsert(lab.a, ref, lab.batch([("y", [1.0] * 6, {})], dimension=6))
    with pytest.raises(InvalidVectorError):
        store.query(lab.a, ref, Vectors.from_rows([[1.0] * 6], 6), 1)
    assert store.count(lab.a, ref, None) == 1
