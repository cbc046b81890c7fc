"""Memory: the cache follows the file, within its budget, and never answers from the past."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nexus_embedded import _matrix, _parts
from nexus_embedded._backend import EmbeddedVectors
from nexus_embedded._lookups import EQUAL, Lookups

from nexus_core.spi import ContainsAll, Eq, Filter, In, IndexRef, IntegrityError, Ne, VectorBackend

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab


def cached(store: VectorBackend) -> list[_matrix.Matrix]:
    """The matrices that a store keeps."""
    assert isinstance(store, EmbeddedVectors)
    return list(store._cache._matrices.values())


def edit(lab: Lab, sql: str) -> None:
    """Change the database of scope ``a`` behind the store's back."""
    db = sqlite3.connect(lab.database(lab.a), isolation_level=None)
    db.execute(sql)
    db.close()


def numbered(count: int, start: int = 0) -> list[Any]:
    return [(f"r{n:04d}", [float(n), 1.0, 0.0], {}) for n in range(start, start + count)]


@pytest.mark.parametrize(("scan", "row_bytes"), [("float32", 4 * 3 + 12), ("int8", 5 * 3 + 20)])
def test_the_cache_keeps_within_its_budget(
    make_lab: Callable[..., Lab], scan: str, row_bytes: int
) -> None:
    """Ten indexes through a cache for two: all answers right, and never more than two kept."""
    lab = make_lab(cache_bytes=2 * 50 * row_bytes, scan=scan)
    store = lab.build()
    refs = [
        store.create_index(lab.a, lab.definition(name=f"i{n}", metric="l2sq")) for n in range(10)
    ]
    for number, ref in enumerate(refs):
        store.upsert(lab.a, ref, lab.batch(numbered(50, start=number)))
    order = [*range(10), *lab.dice(1).choices(range(10), k=60)]
    recent: list[int] = []
    for number in order:
        (hits,) = lab.ask(store, lab.a, refs[number], [[0, 1, 0]], 2)
        assert [name for name, _ in hits] == [f"r{number:04d}", f"r{number + 1:04d}"]
        recent = [*(n for n in recent if n != number), number]
        kept = {matrix.incarnation for matrix in cached(store)}
        assert kept == {refs[n].incarnation for n in recent[-2:]}
        assert sum(matrix.bytes for matrix in cached(store)) <= 2 * 50 * row_bytes


def test_an_index_larger_than_the_cache_is_answered_and_not_kept(
    make_lab: Callable[..., Lab],
) -> None:
    """With no budget at all every query still has its answer."""
    lab = make_lab(cache_bytes=0)
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(40)))
    for _ in range(3):
        assert lab.ask(store, lab.a, ref, [[7, 1, 0]], 1) == [[("r0007", 0.0)]]
        assert cached(store) == []


def test_new_rows_are_appended_without_reading_the_old(lab: Lab, store: VectorBackend) -> None:
    """An upsert of one row makes the next query read one row, into the same memory."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(500)))
    lab.ask(store, lab.a, ref, [[0, 1, 0]], 1)
    (matrix,) = cached(store)
    memory = matrix._rows
    # Old vectors that were changed in the file without a trace show whether they are read again.
    edit(lab, "UPDATE vec SET vector = zeroblob(12)")
    store.upsert(lab.a, ref, lab.batch([("new", [7.25, 1, 0], {}), ("r0003", [7.125, 1, 0], {})]))
    hits = lab.ask(store, lab.a, ref, [[7, 1, 0]], 4)[0]
    assert [name for name, _ in hits] == ["r0007", "r0003", "new", "r0006"]
    assert cached(store) == [matrix]
    assert matrix._rows is memory


def test_removed_rows_leave_memory_when_they_are_many(lab: Lab, store: VectorBackend) -> None:
    """Dead rows are passed over, and let go of before they are a third of the living."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(900)))
    lab.ask(store, lab.a, ref, [[0, 1, 0]], 1)
    (matrix,) = cached(store)
    for start in range(0, 850, 50):
        doomed = [f"r{n:04d}" for n in range(start, start + 50)]
        assert store.delete(lab.a, ref, doomed) == 50
        hits = lab.ask(store, lab.a, ref, [[0, 1, 0]], 1)[0]
        assert [name for name, _ in hits] == [f"r{start + 50:04d}"]
        assert matrix._dead.size * 4 <= matrix._used
    assert matrix._used - matrix._dead.size == 50
    assert cached(store) == [matrix]


def test_a_reader_that_fell_behind_the_log_reads_anew(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the log of removals no longer reaches back far enough, nothing is missed."""
    monkeypatch.setattr(_parts, "_LOG_LEAST", 5)
    writer, near, behind = lab.build(), lab.build(), lab.build()
    ref = writer.create_index(lab.a, lab.definition(metric="l2sq"))
    writer.upsert(lab.a, ref, lab.batch(numbered(30)))
    for one in (near, behind):
        lab.ask(one, lab.a, ref, [[0, 1, 0]], 1)
    model = {name: vector for name, vector, _ in numbered(30)}
    dice = lab.dice(3)
    for turn in range(100):
        name = f"r{dice.randrange(30):04d}"
        if turn % 2:
            assert writer.delete(lab.a, ref, [name]) == (model.pop(name, None) is not None)
        else:
            model[name] = [float(turn), 1.0, 0.0]
            writer.upsert(lab.a, ref, lab.batch([(name, model[name], {})]))
        readers = [near] if turn % 33 else [near, behind]
        for one in readers:
            found = lab.ask(one, lab.a, ref, [[50, 1, 0]], 40)
            assert found == [lab.ranked("l2sq", [50, 1, 0], model, 40)]
    db = sqlite3.connect(lab.database(lab.a))
    (kept,) = db.execute("SELECT count(*) FROM removed").fetchone()
    db.close()
    assert kept <= 2 * max(5, 30 // 4)


def test_a_file_restored_from_an_older_copy_is_read_anew(lab: Lab) -> None:
    """A cache that is ahead of its file does not believe itself."""
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(20)))
    store.close()
    folder = lab.database(lab.a).parent
    shutil.copytree(folder, lab.base / "backup")
    store = lab.build()
    store.upsert(lab.a, ref, lab.batch(numbered(20, start=100)))
    assert len(lab.ask(store, lab.a, ref, [[0, 1, 0]], 99)[0]) == 40
    folder.rename(lab.base / "away")
    shutil.copytree(lab.base / "backup", folder)
    assert len(lab.ask(store, lab.a, ref, [[0, 1, 0]], 99)[0]) == 20
    store.upsert(lab.a, ref, lab.batch(numbered(1, start=500)))
    assert len(lab.ask(store, lab.a, ref, [[0, 1, 0]], 99)[0]) == 21


def test_an_index_made_again_elsewhere_is_read_anew(lab: Lab, store: VectorBackend) -> None:
    """A cached index that another store dropped and made again with as many rows is not used."""
    other = lab.build()
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(5)))
    assert lab.ask(store, lab.a, ref, [[4, 1, 0]], 1) == [[("r0004", 0.0)]]
    other.drop_index(lab.a, ref)
    new = other.create_index(lab.a, lab.definition(metric="l2sq"))
    other.upsert(lab.a, new, lab.batch(numbered(5, start=4)))
    assert lab.ask(store, lab.a, new, [[4, 1, 0]], 9) == [
        lab.ranked("l2sq", [4, 1, 0], {n: v for n, v, _ in numbered(5, start=4)}, 9)
    ]


def test_what_was_dropped_or_erased_leaves_memory(lab: Lab, store: VectorBackend) -> None:
    """A store lets go of vectors when it drops or erases them, or learns that another did."""
    other = lab.build()
    refs = [store.create_index(lab.a, lab.definition(name=f"i{n}")) for n in range(3)]
    for ref in refs:
        store.upsert(lab.a, ref, lab.batch(numbered(3)))
        for one in (store, other):
            lab.ask(one, lab.a, ref, [[1, 0, 0]], 1)
    store.drop_index(lab.a, refs[0])
    assert [matrix.incarnation for matrix in cached(store)] == [r.incarnation for r in refs[1:]]
    assert store.erase(lab.a) == 6
    assert cached(store) == []
    assert len(cached(other)) == 3
    assert list(other.list_indexes(lab.a)) == []
    assert cached(other) == []


def test_filters_follow_the_rows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept answers for single values are right after any writes, near the log's end or past it."""
    monkeypatch.setattr(_parts, "_LOG_LEAST", 4)
    writer, near, behind = lab.build(), lab.build(), lab.build()
    definition = lab.definition(metric="l2sq", fields={"n": "int", "l": "str[]"})
    ref = writer.create_index(lab.a, definition)
    dice = lab.dice(9)
    model: dict[str, Any] = {}
    filters: list[Filter] = [Eq("n", 0), In("n", (1, 2)), Ne("n", 2), ContainsAll("l", ("a", "b"))]
    filters += [Eq("n", value) for value in range(3, 25)]
    for turn in range(150):
        name = f"r{dice.randrange(20)}"
        if turn % 3 == 2:
            assert writer.delete(lab.a, ref, [name]) == (model.pop(name, None) is not None)
        else:
            fields = {"n": dice.randrange(4), "l": tuple(dice.sample("abc", 2))}
            model[name] = ([float(turn), 0.0, 0.0], fields)
            writer.upsert(lab.a, ref, lab.batch([(name, *model[name])]))
        for one in [near] if turn % 29 else [near, behind]:
            for where in filters[:4] if turn % 10 else filters:
                rows = {i: v for i, (v, f) in model.items() if lab.holds(where, f)}
                found = lab.ask(one, lab.a, ref, [[9, 0, 0]], 30, where)
                assert found == [lab.ranked("l2sq", [9, 0, 0], rows, 30)]
    (matrix,) = cached(near)
    assert len(matrix.lookups._known) == 16
    assert matrix.bytes > matrix.lookups.bytes > 0


def test_a_value_once_looked_up_is_not_read_again(lab: Lab, store: VectorBackend) -> None:
    """The second query with a filter reads only what was written since the first."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq", fields={"n": "int"}))
    rows: list[Any] = [(name, vector, {"n": 7}) for name, vector, _ in numbered(50)]
    store.upsert(lab.a, ref, lab.batch(rows))
    assert len(lab.ask(store, lab.a, ref, [[0, 1, 0]], 99, Eq("n", 7))[0]) == 50
    edit(lab, "DELETE FROM term WHERE number < 40")
    store.upsert(lab.a, ref, lab.batch([("new", [0.5, 1, 0], {"n": 7})]))
    assert len(lab.ask(store, lab.a, ref, [[0, 1, 0]], 99, Eq("n", 7))[0]) == 51


def test_a_transaction_older_than_a_kept_answer_reads_its_own(lab: Lab) -> None:
    """What one thread has looked up later is no answer for another that began before."""
    old, new = lab.build(), lab.build()
    assert isinstance(old, EmbeddedVectors)
    assert isinstance(new, EmbeddedVectors)
    ref = old.create_index(lab.a, lab.definition(fields={"n": "int"}))
    old.upsert(lab.a, ref, lab.batch([("a", [1, 0, 0], {"n": 1}), ("b", [1, 0, 0], {"n": 1})]))
    lookups = Lookups()
    with old._transaction(lab.a, "BEGIN") as before:
        early = _parts.require_part(before, ref)
        for write in (
            lambda: new.upsert(lab.a, ref, lab.batch([("c", [1, 0, 0], {"n": 1})])),
            lambda: new.delete(lab.a, ref, ["a"]),
        ):
            write()
            with new._transaction(lab.a, "BEGIN") as after:
                late = _parts.require_part(after, ref)
                seen = lookups.find(after, late, EQUAL, "n", 1).tolist()
            assert lookups.find(before, early, EQUAL, "n", 1).tolist() == [1, 2]
            assert seen == ([1, 2, 3] if late.gone == 0 else [2, 3])


def test_a_transaction_older_than_the_cache_is_begun_again(lab: Lab, store: VectorBackend) -> None:
    """A query whose snapshot another thread has overtaken answers from the later one."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(3)))
    assert isinstance(store, EmbeddedVectors)
    with store._transaction(lab.a, "BEGIN") as db:
        before = _parts.require_part(db, ref)
        lab.build().upsert(lab.a, ref, lab.batch(numbered(1, start=9)))
        matrix = store._cache.matrix(lab.a, before)
        with lab.build()._transaction(lab.a, "BEGIN") as later:  # type: ignore[attr-defined]
            matrix.view(later, _parts.require_part(later, ref))
        assert matrix.ahead_of(_parts.require_part(db, ref))
        part, view, _ = store._view(db, lab.a, ref)
    assert (part.rows, len(view)) == (4, 4)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE vec SET vector = zeroblob(11) WHERE id = 'r0002'",
        "UPDATE vec SET vector = zeroblob(16) WHERE id = 'r0002'",
        "UPDATE vec SET vector = x'0000c07f0000000000000000' WHERE id = 'r0002'",
        "UPDATE vec SET vector = x'00000000000000000000807f' WHERE id = 'r0002'",
        "DELETE FROM vec WHERE id = 'r0002'",
        "UPDATE part SET next = next + 1",
    ],
)
def test_damaged_rows_are_an_integrity_error(lab: Lab, store: VectorBackend, sql: str) -> None:
    """A row that is not what was written, or is missing, is reported and never passed over."""
    ref = store.create_index(lab.a, lab.definition(metric="l2sq"))
    store.upsert(lab.a, ref, lab.batch(numbered(5)))
    edit(lab, sql)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            lab.ask(store, lab.a, ref, [[0, 1, 0]], 1)
    if "zeroblob" in sql:
        with pytest.raises(IntegrityError):
            store.get(lab.a, ref, ["r0002"])
        with pytest.raises(IntegrityError):
            store.scan(lab.a, ref)


@pytest.mark.parametrize("text", ["''", "'{'", "'[]'", "'3'", "CAST(x'ff' AS TEXT)"])
def test_damaged_fields_are_an_integrity_error(lab: Lab, store: VectorBackend, text: str) -> None:
    """Fields that cannot be read are reported by every call that would return them."""
    ref: IndexRef = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch(numbered(2)))
    edit(lab, f"UPDATE vec SET fields = {text} WHERE id = 'r0001'")  # noqa: S608
    for call in (
        lambda: store.get(lab.a, ref, ["r0001"]),
        lambda: store.scan(lab.a, ref),
        lambda: store.delete(lab.a, ref, ["r0001"]),
    ):
        with pytest.raises(IntegrityError):
            call()
    assert store.count(lab.a, ref, None) == 2


def test_terms_of_rows_that_are_not_there_are_an_integrity_error(
    lab: Lab, store: VectorBackend
) -> None:
    """A filter table that disagrees with the rows is reported, in whatever place it does."""
    ref = store.create_index(lab.a, lab.definition(fields={"n": "int"}))
    rows = [(f"r{n}", [1.0, n, 0.0], {"n": n % 2}) for n in range(8)]
    store.upsert(lab.a, ref, lab.batch(rows))
    for number in (0, 9, 10**6):
        edit(lab, f"INSERT INTO term VALUES (1, 'n', 7, {number})")  # noqa: S608
        with pytest.raises(IntegrityError):
            lab.ask(store, lab.a, ref, [[1, 0, 0]], 1, Eq("n", 7))
        edit(lab, "DELETE FROM term WHERE value = 7")
    assert np.isfinite(lab.ask(store, lab.a, ref, [[1, 0, 0]], 1, Eq("n", 1))[0][0][1])
