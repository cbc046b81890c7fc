"""Batches: all or nothing, in order, with the right flags, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_core.spi import (
    COLLECTIONS,
    AlreadyExistsError,
    AtomBackend,
    Insert,
    InvalidArgumentError,
    Operation,
    PreconditionFailedError,
    Record,
    Remove,
    Replace,
    Require,
    Scope,
    StoreError,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]


def everything(store: AtomBackend, scope: Scope = SCOPE) -> dict[str, tuple[Record, ...]]:
    return {name: store.query(scope, name, None, limit=50_000).records for name in COLLECTIONS}


FAILING: list[tuple[str, Callable[[Make], Operation], type[StoreError]]] = [
    ("insert of a taken id", lambda make: Insert(make("atoms", "old")), AlreadyExistsError),
    (
        "replace of an absent one",
        lambda make: Replace(make("atoms", "no", 2)),
        PreconditionFailedError,
    ),
    (
        "replace past the version",
        lambda make: Replace(make("atoms", "old", 3)),
        PreconditionFailedError,
    ),
    (
        "replace of the version itself",
        lambda make: Replace(make("atoms", "old", 1)),
        PreconditionFailedError,
    ),
    ("remove at another version", lambda make: Remove("atoms", "old", 2), PreconditionFailedError),
    ("remove of an absent version", lambda make: Remove("atoms", "no", 1), PreconditionFailedError),
    ("require of an absent one", lambda make: Require("atoms", "no"), PreconditionFailedError),
    (
        "require of another version",
        lambda make: Require("atoms", "old", version=2),
        PreconditionFailedError,
    ),
    (
        "require absent of a present one",
        lambda make: Require("atoms", "old", present=False),
        PreconditionFailedError,
    ),
    (
        "a field of another type",
        lambda make: Insert(make("atoms", "n", size="5")),
        InvalidArgumentError,
    ),
]


@pytest.mark.parametrize("position", [0, 10, 20])
@pytest.mark.parametrize(
    ("failing", "error"), [f[1:] for f in FAILING], ids=[f[0] for f in FAILING]
)
def test_a_batch_that_fails_anywhere_leaves_nothing(
    atoms: AtomBackend,
    make: Make,
    position: int,
    failing: Callable[[Make], Operation],
    error: type[StoreError],
) -> None:
    """Whichever operation fails, and wherever it stands, the scope is as it was before."""
    atoms.commit(SCOPE, [Insert(make("atoms", f"{n:02d}")) for n in range(4)])
    atoms.commit(SCOPE, [Insert(make("atoms", "old")), Insert(make("edges", "e"))])
    before = everything(atoms)
    batch: list[Operation] = [Insert(make("atoms", f"new{n:02d}")) for n in range(12)]
    batch += [Insert(make("edges", "e2")), Insert(make("atoms", "kept"), "keep")]
    batch += [Replace(make("atoms", "00", 2)), Remove("atoms", "01"), Require("atoms", "02")]
    batch += [Replace(make("atoms", "00", 3)), Remove("edges", "e"), Insert(make("edges", "e"))]
    assert len(batch) == 20
    batch.insert(position, failing(make))
    with pytest.raises(error):
        atoms.commit(SCOPE, batch)
    assert everything(atoms) == before
    del batch[position]
    assert atoms.commit(SCOPE, batch) == [True] * 16 + [False] + [True] * 3


def test_the_first_failing_operation_decides_the_error(atoms: AtomBackend, make: Make) -> None:
    """With several that fail, the error is that of the earliest, whatever kinds they are."""
    atoms.commit(SCOPE, [Insert(make("atoms", "old"))])
    taken, unmet = Insert(make("atoms", "old")), Require("atoms", "no")
    fresh = Insert(make("edges", "new"))
    with pytest.raises(AlreadyExistsError):
        atoms.commit(SCOPE, [fresh, taken, unmet])
    with pytest.raises(PreconditionFailedError):
        atoms.commit(SCOPE, [fresh, unmet, taken])
    assert everything(atoms)["edges"] == ()


def test_operations_see_one_another(atoms: AtomBackend, make: Make) -> None:
    """In one batch a record can be made, required, replaced, removed and made again."""
    changed = atoms.commit(
        SCOPE,
        [
            Require("atoms", "x", present=False),
            Insert(make("atoms", "x")),
            Require("atoms", "x", version=1),
            Insert(make("atoms", "x", size=9), "keep"),
            Replace(make("atoms", "x", 2)),
            Require("atoms", "x", version=2),
            Remove("atoms", "x", 2),
            Require("atoms", "x", present=False),
            Remove("atoms", "x"),
            Insert(make("atoms", "x", size=5), "keep"),
            Insert(make("atoms", "x", size=6), "keep"),
        ],
    )
    assert changed == [False, True, False, False, True, False, True, False, False, True, False]
    assert atoms.get(SCOPE, "atoms", ["x"]) == [make("atoms", "x", size=5)]


def test_a_batch_can_undo_itself(atoms: AtomBackend, make: Make) -> None:
    """What was made and removed in one batch is not there, though both changed something."""
    assert atoms.commit(SCOPE, [Insert(make("atoms", "x")), Remove("atoms", "x")]) == [True, True]
    assert atoms.get(SCOPE, "atoms", ["x"]) == [None]


def test_an_id_means_something_only_in_its_collection(atoms: AtomBackend, make: Make) -> None:
    """Records of two collections may share an id, also in one batch."""
    atoms.commit(SCOPE, [Insert(make("atoms", "x")), Insert(make("assets", "x"))])
    atoms.commit(SCOPE, [Remove("atoms", "x"), Require("assets", "x", version=1)])
    assert atoms.get(SCOPE, "assets", ["x"]) == [make("assets", "x")]


def test_flags_of_a_large_batch_are_aligned(atoms: AtomBackend, make: Make) -> None:
    """In ten thousand interleaved operations each flag belongs to its own operation."""
    atoms.commit(SCOPE, [Insert(make("atoms", f"{n:05d}")) for n in range(0, 5000, 3)])
    kept = [Insert(make("atoms", f"{n:05d}"), "keep") for n in range(5000)]
    fresh = [Insert(make("edges", f"{n:05d}")) for n in range(5000)]
    batch = [operation for pair in zip(kept, fresh, strict=True) for operation in pair]
    expected = [flag for n in range(5000) for flag in (n % 3 != 0, True)]
    assert atoms.commit(SCOPE, batch) == expected
    assert atoms.commit(SCOPE, kept) == [False] * 5000
    assert atoms.count(SCOPE, "atoms", None) == atoms.count(SCOPE, "edges", None) == 5000
    removed = atoms.commit(SCOPE, [Remove("atoms", f"{n:05d}") for n in range(4000, 6000)])
    assert removed == [True] * 1000 + [False] * 1000


def test_an_empty_batch_is_no_error(atoms: AtomBackend) -> None:
    """Nothing to do is done."""
    assert list(atoms.commit(SCOPE, [])) == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {"str": TEXT, "int": INT64, "bool": st.booleans()}


@st.composite
def records(draw: st.DrawFn) -> Record:
    collection = COLLECTIONS[draw(st.sampled_from(sorted(COLLECTIONS)))]
    fields = st.fixed_dictionaries(
        {name: VALUES[kind] for name, kind in collection.required.items()},
        optional={name: VALUES[kind] for name, kind in collection.optional.items()},
    )
    version = draw(st.integers(1, 2**40))
    body, stamp = draw(st.binary(max_size=200)), draw(st.binary(max_size=40))
    return Record(collection.name, "id", version, draw(fields), body, stamp)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(record=records())
def test_a_record_comes_back_bit_for_bit(atoms: AtomBackend, record: Record) -> None:
    """What is read is what was written: text, 64-bit integers, flags, absence and bytes."""
    atoms.commit(SCOPE, [Remove(record.collection, "id"), Insert(record)])
    (got,) = atoms.get(SCOPE, record.collection, ["id"])
    assert got == record
    assert got is not None
    for name, value in record.fields.items():
        assert type(got.fields[name]) is type(value)


@pytest.mark.parametrize(
    "change",
    [
        {"size": None},
        {"size": True},
        {"size": 1.0},
        {"size": "1"},
        {"size": 2**63},
        {"kind": 1},
        {"kind": b"x"},
        {"kind": "\ud800"},
        {"pii": 1},
        {"pii": 0},
        {"subject": None},
        {"subject": 1},
        {"undeclared": "x"},
        {"nx_tenant": "t10"},
        {"body": "text"},
        {"body": bytearray(b"x")},
        {"stamp": None},
    ],
    ids=str,
)
def test_a_record_that_would_not_come_back_is_refused(
    atoms: AtomBackend, make: Make, change: dict[str, Any]
) -> None:
    """A field that is undeclared, or of another type or size, is refused; nothing is coerced."""
    for operation in (
        Insert(make("atoms", "x", **change)),
        Insert(make("atoms", "x", **change), "keep"),
    ):
        with pytest.raises(InvalidArgumentError):
            atoms.commit(SCOPE, [Insert(make("atoms", "w")), operation])
    assert atoms.count(SCOPE, "atoms", None) == 0


def test_a_record_without_a_required_field_is_refused(atoms: AtomBackend, make: Make) -> None:
    """A required field is never absent, and the error names it."""
    fields = dict(make("atoms", "x").fields)
    del fields["asset"]
    with pytest.raises(InvalidArgumentError, match="'asset'"):
        atoms.commit(SCOPE, [Insert(Record("atoms", "x", 1, fields, b"", b""))])


INJECTIONS = [
    "x'; DROP TABLE record_atoms; --",
    "x' OR '1'='1",
    'x" OR 1=1 --',
    "x') OR (nx_tenant='t2",
    "%",
    "_",
    ":of_tenant",
    "?",
    "%(nx_id)s",
    "[1]",
    "${x}",
    "\\",
    "NULL",
    "0",
]


def test_sql_in_a_value_is_a_value(atoms: AtomBackend, make: Make) -> None:
    """Whatever an id, a field or a body spells, it is stored and found as itself only."""
    other = Scope("t2", "dev")
    atoms.commit(other, [Insert(make("atoms", "secret"))])
    for text in INJECTIONS:
        record = make("atoms", text.replace(" ", ""), kind=text, subject=text, body=text.encode())
        assert atoms.commit(SCOPE, [Insert(record)]) == [True]
        assert atoms.get(SCOPE, "atoms", [record.id]) == [record]
        assert atoms.commit(SCOPE, [Require("atoms", record.id), Remove("atoms", record.id)]) == [
            False,
            True,
        ]
        assert atoms.query(SCOPE, "atoms", None, after=text).records == ()
        assert atoms.walk(SCOPE, [text], "down", max_depth=3, limit=10) == []
    assert atoms.count(SCOPE, "atoms", None) == 0
    assert atoms.count(other, "atoms", None) == 1


@pytest.mark.parametrize("collection", ["nothing", "", "record_atoms", "nexus_schema", "atoms; --"])
def test_an_unknown_collection_is_refused(atoms: AtomBackend, make: Make, collection: str) -> None:
    """No call reaches a table that is not one of the collections'."""
    record = Record(collection, "x", 1, {}, b"", b"")
    calls: list[Callable[[], object]] = [
        lambda: atoms.commit(SCOPE, [Insert(record)]),
        lambda: atoms.commit(SCOPE, [Require(collection, "x")]),
        lambda: atoms.get(SCOPE, collection, ["x"]),
        lambda: atoms.query(SCOPE, collection, None),
        lambda: atoms.count(SCOPE, collection, None),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError):
            call()
