"""Scopes: what is done in one leaves no trace in another."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from nexus_embedded import _nearest

from nexus_core.spi import Eq, IndexRef, IntegrityError, Lt, NotFoundError, Scope, VectorBackend

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab

# Names that differ in what some file system, pattern or separator might overlook.
TWINS = [
    *(Scope(name, "prod") for name in ("a", "ab", "a-b", "a_b", "a0", "0", "con", "nul", "aux")),
    *(Scope(name, "prod") for name in ("new", "erased", "db", "v1", "prod", "x" * 63, "x" * 62)),
    *(Scope(name, "dev") for name in ("a", "ab", "con", "prod")),
]


def test_nearer_neighbours_of_another_scope_never_appear(lab: Lab, store: VectorBackend) -> None:
    """Another scope's rows, nearer than one's own and under the same ids, change no answer."""
    dice = lab.dice(2)
    own = {f"r{n}": [dice.gauss(0, 1) for _ in range(8)] for n in range(50)}
    query = [value + 1e-6 for value in own["r7"]]
    fields = {name: {"group": number % 5} for number, name in enumerate(own)}
    definition = lab.definition(dimension=8, fields={"group": "int"})
    ref = store.create_index(lab.a, definition)
    store.upsert(lab.a, ref, lab.batch([(n, v, fields[n]) for n, v in own.items()], 8))
    ks, filters = (1, 10, 50, 500), (None, Eq("group", 2), Lt("group", 4))
    alone = [lab.ask(store, lab.a, ref, [query], k, where) for k in ks for where in filters]
    for scope in (lab.b, lab.c):
        theirs = store.create_index(scope, definition)
        twins: list[Any] = [
            (
                name,
                [0.1 * x + 0.9 * y + dice.gauss(0, 1e-3) for x, y in zip(v, query, strict=True)],
                fields[name],
            )
            for name, v in own.items()
        ]
        twins += [(f"only{n}", query, {"group": 2}) for n in range(200)]
        store.upsert(scope, theirs, lab.batch(twins, 8))
    beside = [lab.ask(store, lab.a, ref, [query], k, where) for k in ks for where in filters]
    assert beside == alone
    assert alone[0] == [lab.ranked("cosine", query, own, 1)]
    assert store.count(lab.a, ref, Eq("group", 2)) == 10
    assert len(lab.ask(store, lab.c, theirs, [query], 500)[0]) == 250


@pytest.mark.parametrize("scan", ["float32", "int8"])
def test_no_answer_changes_when_another_brings_a_hundred_times_the_data(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, scan: str
) -> None:
    """Of a hundred lists of ten neighbours, none changes, nor in the control without the other."""
    monkeypatch.setattr(_nearest, "_WORTH", 0)
    store = lab.build(scan=scan)
    dice = lab.dice(4)
    definition = lab.definition(dimension=8, metric="l2sq")
    ref = store.create_index(lab.a, definition)
    own: list[Any] = [(f"r{n}", [dice.gauss(0, 1) for _ in range(8)], {}) for n in range(200)]
    store.upsert(lab.a, ref, lab.batch(own, 8))
    queries = [[value + dice.gauss(0, 0.1) for value in row] for _, row, _ in own[:100]]
    alone = lab.ask(store, lab.a, ref, queries, 10)
    control = lab.ask(store, lab.a, ref, queries, 10)
    theirs = store.create_index(lab.c, definition)
    for turn in range(10):
        nearer: list[Any] = [
            (f"r{turn}-{n}", [value + dice.gauss(0, 1e-3) for value in queries[n % 100]], {})
            for n in range(2000)
        ]
        store.upsert(lab.c, theirs, lab.batch(nearer, 8))
        lab.ask(store, lab.c, theirs, queries[:1], 10)
    beside = lab.ask(store, lab.a, ref, queries, 10)
    assert sum(one != other for one, other in zip(alone, control, strict=True)) == 0
    assert sum(one != other for one, other in zip(alone, beside, strict=True)) == 0
    assert store.count(lab.c, theirs, None) == 100 * len(own)


def test_one_id_lives_a_life_in_each_scope(lab: Lab, store: VectorBackend) -> None:
    """The same id in every twin of a scope is a row of its own, through all that happens."""
    refs: dict[Scope, IndexRef] = {}
    for number, scope in enumerate(TWINS):
        refs[scope] = store.create_index(scope, lab.definition(fields={"n": "int"}))
        store.upsert(scope, refs[scope], lab.batch([("x", [1, number, 0], {"n": number})]))
    for number, scope in enumerate(TWINS):
        (row,) = store.get(scope, refs[scope], ["x"])
        assert lab.floats(row) == [1, number, 0]
        assert store.count(scope, refs[scope], Eq("n", number)) == 1
        assert store.statistics(scope, refs[scope]).rows == 1
    odd, even = TWINS[1::2], TWINS[::2]
    for number, scope in enumerate(odd):
        if number % 2:
            assert store.erase(scope) == 1
        else:
            assert store.delete_where(scope, refs[scope], Lt("n", 1000)) == 1
    for scope in even:
        assert [row.id for row in store.scan(scope, refs[scope]).rows] == ["x"]
        assert lab.ask(store, scope, refs[scope], [[1, 0, 0]], 5)[0][0][0] == "x"


def test_scopes_share_no_file(lab: Lab, store: VectorBackend) -> None:
    """Every scope's rows are in its own database, and nowhere else under the root."""
    for number, scope in enumerate(TWINS):
        ref = store.create_index(scope, lab.definition(fields={"note": "str"}))
        canary = f"canary-{number:03d}-end"
        store.upsert(scope, ref, lab.batch([(canary, [1, 0, 0], {"note": canary})]))
    store.close()
    holders: dict[str, set[str]] = {}
    for path in (path for path in lab.root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for number in range(len(TWINS)):
            if f"canary-{number:03d}-end".encode() in content:
                holders.setdefault(str(path), set()).add(str(number))
    assert len(holders) == len(TWINS)
    assert all(len(found) == 1 for found in holders.values())


def test_another_scopes_file_in_ones_place_is_refused(lab: Lab, store: VectorBackend) -> None:
    """A database that was copied, moved or linked to another scope's place opens for nobody."""
    for scope in (lab.a, lab.b):
        ref = store.create_index(scope, lab.definition())
        store.upsert(scope, ref, lab.batch([("x", [1, 0, 0], {})]))
    store.close()
    mine, theirs = lab.database(lab.a).parent, lab.database(lab.b).parent
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    refused(lab)
    shutil.rmtree(mine)
    mine.symlink_to(theirs)
    refused(lab)
    assert lab.build().count(lab.b, ref, None) == 1


def refused(lab: Lab) -> None:
    """No call of scope ``a`` is answered, or says whose the file is."""
    store = lab.build()
    for call in (
        lambda: store.get_index(lab.a, "notes", 1),
        lambda: store.create_index(lab.a, lab.definition()),
        lambda: store.list_indexes(lab.a),
        lambda: store.erase(lab.a),
    ):
        with pytest.raises(IntegrityError) as caught:
            call()
        assert "dev" not in str(caught.value)


def test_errors_name_no_scope_and_no_place(lab: Lab, store: VectorBackend) -> None:
    """Absent here and present elsewhere is the same error as absent everywhere."""
    store.create_index(lab.b, lab.definition())
    store.create_index(lab.c, lab.definition(name="other"))
    texts = set()
    for scope in (lab.a, lab.c, Scope("nobody", "staging")):
        with pytest.raises(NotFoundError) as caught:
            store.get_index(scope, "notes", 1)
        texts.add((type(caught.value), str(caught.value), caught.value.__cause__))
    assert len(texts) == 1
    assert "acme" not in str(texts)
    assert str(lab.base) not in str(texts)


def test_erasing_a_scope_leaves_no_name_of_it(lab: Lab, store: VectorBackend) -> None:
    """No file of the scope stays, not even one that a crash left behind; others' stay."""
    for scope in (lab.a, lab.b, lab.c):
        ref = store.create_index(scope, lab.definition())
        store.upsert(scope, ref, lab.batch([("x", [1, 0, 0], {}), ("y", [0, 1, 0], {})]))
        lab.ask(store, scope, ref, [[1, 0, 0]], 1)
    folder = lab.database(lab.a).parent
    for what in ("new", "erased"):
        left = folder.with_name(f"{folder.name}.{what}.0123456789abcdef")
        left.mkdir()
        (left / "rest.db").write_bytes(b"canary")
    assert store.erase(lab.a) == 2
    assert sorted(path.name for path in folder.parent.iterdir()) == ["acme1"]
    assert store.erase(lab.a) == 0
    for scope in (lab.b, lab.c):
        assert store.count(scope, store.get_index(scope, "notes", 1), None) == 2


def test_an_erased_scope_begins_again_from_nothing(lab: Lab, store: VectorBackend) -> None:
    """After an erasure an index of the same name is new and empty, for every open store."""
    other = lab.build()
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    for one in (store, other):
        assert lab.ask(one, lab.a, ref, [[1, 0, 0]], 1) == [[("x", 0.0)]]
    path = lab.database(lab.a)
    assert store.erase(lab.a) == 1
    for one in (store, other):
        with pytest.raises(NotFoundError):
            lab.ask(one, lab.a, ref, [[1, 0, 0]], 1)
    new = other.create_index(lab.a, lab.definition())
    assert new.incarnation != ref.incarnation
    # Who still has the old file open may yet remove a log by its name.
    assert lab.database(lab.a) != path
    for one in (store, other):
        assert lab.ask(one, lab.a, new, [[1, 0, 0]], 1) == [[]]
        assert list(one.get(lab.a, new, ["x"])) == [None]
