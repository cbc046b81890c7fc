"""Rows: written as a whole or not at all, and read back bit for bit."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pytest

from nexus_core.spi import And, Eq, Exists, Ne, Not, StoredVector, VectorBackend, VectorBatch

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab

SCHEMA: dict[str, Any] = {
    "title": "str",
    "year": "int",
    "share": "float",
    "final": "bool",
    "tags": "str[]",
}
FULL: dict[str, Any] = {
    "title": "Ünïcode ‘quotes’ \u2028 😀 \" \\ %_'",
    "year": -(2**63),
    "share": 5e-324,
    "final": False,
    "tags": ("b", "a", "b", ""),
}


def everything(store: VectorBackend, lab: Lab, ref: Any, limit: int = 1000) -> list[StoredVector]:
    """All rows by scanning, a page at a time."""
    found: list[StoredVector] = []
    after = None
    while True:
        page = store.scan(lab.a, ref, after=after, limit=limit)
        assert len(page.rows) <= limit
        found += page.rows
        if page.next_after is None:
            return found
        assert page.next_after == page.rows[-1].id
        after = page.next_after


@pytest.mark.parametrize(
    "row",
    [
        [0.1, -0.0, 2.0**-149],
        [2.0**-126, 1.0 + 2.0**-23, -1e17],
        [3.4e17, -3.4e17, 1.17549421e-38],
    ],
)
def test_vectors_come_back_bit_for_bit(lab: Lab, store: VectorBackend, row: list[float]) -> None:
    """What is read is the float32 that was written: subnormals, negative zero, any length."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", row, {})]))
    lab.ask(store, lab.a, ref, [[1, 1, 1]], 1)
    for one in (store, lab.build()):
        (found,) = one.get(lab.a, ref, ["x"])
        assert found is not None
        assert found.vector == struct.pack("<3f", *row)
        assert one.scan(lab.a, ref).rows[0].vector == struct.pack("<3f", *row)


def test_fields_and_stamps_come_back_as_written(lab: Lab, store: VectorBackend) -> None:
    """Values keep their types and their order; stamps are bytes like any others."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    other = {"year": 3.0, "share": 3, "final": True, "tags": ()}
    rows = lab.batch([("x", [1, 0, 0], FULL), ("y", [0, 1, 0], other), ("z", [0, 0, 1], {})])
    stamps = (bytes(range(256)), b"", b"\0")
    store.upsert(lab.a, ref, VectorBatch(rows.ids, rows.vectors, rows.fields, stamps))
    found = store.get(lab.a, ref, ["z", "x", "y"])
    assert [repr(dict(row.fields)) for row in found if row] == list(map(repr, ({}, FULL, other)))
    assert [row.stamp for row in found if row] == [b"\0", bytes(range(256)), b""]


def test_get_is_aligned_with_what_was_asked(lab: Lab, store: VectorBackend) -> None:
    """Absent ids give ``None`` in their places, and an id asked for twice comes twice."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {}), ("y", [0, 1, 0], {})]))
    found = store.get(lab.a, ref, ["y", "?", "x", "y", "X"])
    assert [row and row.id for row in found] == ["y", None, "x", "y", None]
    assert list(store.get(lab.a, ref, [])) == []


def test_an_upsert_replaces_the_whole_row(lab: Lab, store: VectorBackend) -> None:
    """Fields that the new row does not have are gone, and filters no longer find them."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], FULL)]))
    assert store.count(lab.a, ref, Exists("tags")) == 1
    store.upsert(lab.a, ref, lab.batch([("x", [0, 1, 0], {"year": 7})]))
    (row,) = store.get(lab.a, ref, ["x"])
    assert row is not None
    assert (dict(row.fields), lab.floats(row)) == ({"year": 7}, [0, 1, 0])
    for field, value in FULL.items():
        assert store.count(lab.a, ref, Exists(field)) == (field == "year")
        if field != "tags":
            assert store.count(lab.a, ref, Eq(field, value)) == 0
    assert store.count(lab.a, ref, None) == 1
    assert lab.ask(store, lab.a, ref, [[1, 0, 0]], 9) == [[("x", 1.0)]]


def test_the_last_of_duplicates_wins(lab: Lab, store: VectorBackend) -> None:
    """An id that comes several times in a batch is one row, the last."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    store.upsert(
        lab.a,
        ref,
        lab.batch(
            [
                ("x", [1, 0, 0], {"year": 1}),
                ("y", [0, 0, 1], {"year": 5}),
                ("x", [1, 1, 0], {"year": 2}),
                ("x", [0, 1, 0], {"year": 3}),
            ]
        ),
    )
    assert [store.count(lab.a, ref, Eq("year", y)) for y in (1, 2, 3, 5)] == [0, 0, 1, 1]
    assert [lab.floats(row) for row in store.get(lab.a, ref, ["x"])] == [[0, 1, 0]]
    assert store.count(lab.a, ref, None) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_batch_with_one_bad_row_writes_nothing(
    lab: Lab, store: VectorBackend, place: int
) -> None:
    """Whatever goes wrong in the middle of a batch, the index is as it was before."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {"year": 1})]))
    before = everything(store, lab, ref)
    rows: list[Any] = [("x", [0, 1, 0], {"year": 2}), ("y", [0, 0, 1], {}), ("z", [1, 1, 1], {})]
    rows[place] = ("bad", [1, 0, 1], {"share": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        store.upsert(lab.a, ref, lab.batch(rows))
    after = everything(store, lab, ref)
    assert [(r.id, r.vector, r.fields) for r in after] == [
        (r.id, r.vector, r.fields) for r in before
    ]
    assert store.count(lab.a, ref, Eq("year", 1)) == 1
    store.upsert(lab.a, ref, lab.batch([("y", [0, 0, 1], {})]))
    assert store.count(lab.a, ref, None) == 2


def test_delete_counts_rows_that_existed(lab: Lab, store: VectorBackend) -> None:
    """Absent and repeated ids count for nothing, and deleting again deletes nothing."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([(name, [1, 0, 0], {}) for name in "abcd"]))
    assert store.delete(lab.a, ref, ["a", "?", "c", "a"]) == 2
    assert store.delete(lab.a, ref, ["a", "c"]) == 0
    assert [row.id for row in everything(store, lab, ref)] == ["b", "d"]
    assert [hit for hit, _ in lab.ask(store, lab.a, ref, [[1, 0, 0]], 9)[0]] == ["b", "d"]


def test_delete_where_deletes_what_matches(lab: Lab, store: VectorBackend) -> None:
    """Only matching rows go, also when the filter is a negation."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    rows: list[Any] = [(f"n{n}", [1, n, 0], {"year": n}) for n in range(10)]
    store.upsert(lab.a, ref, lab.batch([*rows, ("none", [1, 0, 1], {})]))
    assert store.delete_where(lab.a, ref, And((Ne("year", 3), Exists("year"), Ne("year", 4)))) == 8
    assert [row.id for row in everything(store, lab, ref)] == ["n3", "n4", "none"]
    assert store.delete_where(lab.a, ref, Not(Eq("year", 3))) == 2
    assert store.delete_where(lab.a, ref, Eq("year", 99)) == 0
    assert [row.id for row in everything(store, lab, ref)] == ["n3"]
    assert [hit for hit, _ in lab.ask(store, lab.a, ref, [[1, 0, 0]], 9)[0]] == ["n3"]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_scan_walks_ids_by_byte(lab: Lab, store: VectorBackend, limit: int) -> None:
    """Pages of any size give every row once, in the order of the ids' bytes."""
    ref = store.create_index(lab.a, lab.definition())
    ids = ["b", "a", "A", "a0", "~", "!", "a-", "Z", "é", "😀", "\uffee", "a" * 128, "%", "_"]
    store.upsert(lab.a, ref, lab.batch([(name, [1, 0, 0], {}) for name in ids]))
    found = [row.id for row in everything(store, lab, ref, limit)]
    assert found == sorted(ids, key=str.encode)


def test_a_scan_goes_on_where_its_row_was_deleted(lab: Lab, store: VectorBackend) -> None:
    """A page begins after an id, whether or not that id is still there."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([(name, [1, 0, 0], {}) for name in "abcdef"]))
    page = store.scan(lab.a, ref, limit=3)
    store.delete(lab.a, ref, ["c", "d"])
    assert [row.id for row in store.scan(lab.a, ref, after=page.next_after).rows] == ["e", "f"]


def test_statistics_count_what_is_there(lab: Lab, store: VectorBackend) -> None:
    """Rows and bytes are those of the index, and go back when rows go."""
    ref = store.create_index(lab.a, lab.definition(fields=SCHEMA))
    other = store.create_index(lab.a, lab.definition(name="other"))
    assert store.statistics(lab.a, ref).rows == store.statistics(lab.a, ref).bytes == 0
    store.upsert(lab.a, other, lab.batch([("o", [1, 0, 0], {})]))
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {}), ("é", [0, 1, 0], {"year": 1})]))
    size = store.statistics(lab.a, ref)
    texts = len("x") + len("é".encode()) + len("stamp of x") + len("stamp of é".encode())
    assert (size.rows, size.bytes) == (2, texts + len('{}{"year":1}') + 2 * 12)
    store.delete(lab.a, ref, ["x", "é"])
    assert store.statistics(lab.a, ref).bytes == 0
    assert store.statistics(lab.a, other).rows == 1


def test_an_empty_batch_writes_nothing(lab: Lab, store: VectorBackend) -> None:
    """No rows in, no rows there."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([]))
    assert store.count(lab.a, ref, None) == 0
