"""Errors: SQLite's and the system's become the tree's, and a closed store stays closed."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from nexus_embedded._errors import translated

from nexus_core.spi import (
    BackendError,
    ClosedError,
    Eq,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
    VectorBackend,
)

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, StoreTimeoutError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreTimeoutError),
        (sqlite3.SQLITE_LOCKED, StoreTimeoutError),
        (sqlite3.SQLITE_CORRUPT, IntegrityError),
        (sqlite3.SQLITE_NOTADB, IntegrityError),
        (sqlite3.SQLITE_FULL, QuotaExceededError),
        (sqlite3.SQLITE_READONLY, PermissionDeniedError),
        (sqlite3.SQLITE_READONLY_DBMOVED, PermissionDeniedError),
        (sqlite3.SQLITE_PERM, PermissionDeniedError),
        (sqlite3.SQLITE_IOERR_FSYNC, UnavailableError),
        (sqlite3.SQLITE_CANTOPEN, UnavailableError),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, BackendError),
        (None, IntegrityError),
    ],
)
def test_every_sqlite_error_has_its_place(code: int | None, expected: type[StoreError]) -> None:
    """SQLite's codes map to the tree, and its text, which may name a file, goes no further."""
    error = sqlite3.OperationalError("at /secret/place")
    if code is not None:
        error.sqlite_errorcode = code
    with pytest.raises(StoreError) as caught, translated():
        raise error
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, QuotaExceededError),
        (errno.EDQUOT, QuotaExceededError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EROFS, PermissionDeniedError),
        (errno.EIO, UnavailableError),
        (errno.EMFILE, UnavailableError),
    ],
)
def test_every_system_error_has_its_place(number: int, expected: type[StoreError]) -> None:
    """The system's errors map to the tree without their paths."""
    with pytest.raises(StoreError) as caught, translated():
        raise OSError(number, os.strerror(number), "/secret/place")
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)


def test_the_trees_own_errors_pass_unchanged() -> None:
    """An error of the tree that is an OSError too is not translated a second time."""
    one = UnavailableError("mine")
    with pytest.raises(UnavailableError) as caught, translated():
        raise one
    assert caught.value is one


def calls(lab: Lab, store: VectorBackend, ref: Any) -> list[Callable[[], Any]]:
    """One call of each kind but erasure."""
    return [
        lambda: store.create_index(lab.a, lab.definition()),
        lambda: store.get_index(lab.a, "notes", 1),
        lambda: store.list_indexes(lab.a),
        lambda: store.upsert(lab.a, ref, lab.batch([("y", [1, 0, 0], {})])),
        lambda: store.get(lab.a, ref, ["x"]),
        lambda: store.delete(lab.a, ref, ["x"]),
        lambda: store.delete_where(lab.a, ref, Eq("kind", "data")),
        lambda: lab.ask(store, lab.a, ref, [[1, 0, 0]], 1),
        lambda: store.count(lab.a, ref, None),
        lambda: store.scan(lab.a, ref),
        lambda: store.statistics(lab.a, ref),
        lambda: store.drop_index(lab.a, ref),
    ]


def test_a_closed_store_refuses_every_call(lab: Lab, store: VectorBackend) -> None:
    """Closing is idempotent, leaves no connection open, and every later call says closed."""
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    store.close()
    store.close()
    erase: Callable[[], Any] = partial(store.erase, lab.a)
    for call in [*calls(lab, store, ref), erase]:
        with pytest.raises(ClosedError):
            call()
    # The last connection's end folds the log into the database.
    assert [path.suffix for path in lab.database(lab.a).parent.iterdir()] == [".db"]
    assert list(lab.build().get(lab.a, ref, ["x"])) != [None]


@pytest.mark.parametrize(
    "damage", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_database_is_reported_and_can_still_be_erased(lab: Lab, damage: bytes) -> None:
    """Nothing is read from a file that is no database; erasing it works, and begins anew."""
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})]))
    store.close()
    lab.database(lab.a).write_bytes(damage)
    store = lab.build()
    for call in calls(lab, store, ref):
        with pytest.raises(IntegrityError):
            call()
    assert lab.database(lab.a).read_bytes() == damage
    assert store.erase(lab.a) == 0
    new = store.create_index(lab.a, lab.definition())
    assert store.count(lab.a, new, None) == 0


def test_an_empty_file_is_no_database_of_a_scope(lab: Lab) -> None:
    """A database file that was truncated to nothing is damage, not a scope without indexes."""
    store = lab.build()
    store.create_index(lab.a, lab.definition())
    store.close()
    lab.database(lab.a).write_bytes(b"")
    with pytest.raises(IntegrityError):
        lab.build().list_indexes(lab.a)


def test_a_newer_schema_is_refused_by_every_call(lab: Lab) -> None:
    """A database of a later version is neither read, written nor erased by this one."""
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition())
    store.close()
    db = sqlite3.connect(lab.database(lab.a))
    db.execute("PRAGMA user_version = 2")
    db.close()
    store = lab.build()
    erase: Callable[[], Any] = partial(store.erase, lab.a)
    for call in [*calls(lab, store, ref), erase]:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert not caught.value.retryable
        assert "upgrade" in caught.value.hint


def test_two_databases_in_a_scopes_directory_are_refused(lab: Lab, store: VectorBackend) -> None:
    """Which of two files is the scope's is not for the store to guess."""
    ref = store.create_index(lab.a, lab.definition())
    store.close()
    (lab.database(lab.a).parent / "copy.db").write_bytes(lab.database(lab.a).read_bytes())
    for call in calls(lab, lab.build(), ref):
        with pytest.raises(IntegrityError):
            call()


def test_a_scope_that_was_never_made_is_not_found(lab: Lab, store: VectorBackend) -> None:
    """An empty directory in a scope's place, as a restore may leave it, is an absent scope."""
    ref = store.create_index(lab.a, lab.definition())
    store.erase(lab.a)
    (lab.root / "v1" / "prod" / "acme").mkdir()
    with pytest.raises(NotFoundError):
        store.count(lab.a, ref, None)
    assert store.create_index(lab.a, lab.definition()).definition == ref.definition


def test_durability_is_asked_of_sqlite(lab: Lab, store: VectorBackend) -> None:
    """Each connection waits for the disk at every commit, and overwrites what it deletes."""
    ref = store.create_index(lab.a, lab.definition())
    with store._transaction(lab.a, "BEGIN") as db:  # type: ignore[attr-defined]
        wanted = {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1, "fullfsync": 1}
        assert {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted
    assert store.count(lab.a, ref, None) == 0


def test_deleted_content_is_overwritten(lab: Lab) -> None:
    """After the log was folded in, no byte of a deleted row is left in the file."""
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition(fields={"note": "str"}))
    rows: list[Any] = [(f"r{n}", [1, n, 0], {"note": f"canary{n}"}) for n in range(200)]
    store.upsert(lab.a, ref, lab.batch(rows))
    assert store.delete(lab.a, ref, [f"r{n}" for n in range(200) if n != 7]) == 199
    store.close()
    content = lab.database(lab.a).read_bytes()
    assert b"canary7" in content
    assert b"canary8" not in content
    assert b"stamp of r9" not in content


def test_a_dropped_index_is_overwritten(lab: Lab) -> None:
    """After the log was folded in, no byte of a dropped index's rows or filters is in the file."""
    store = lab.build()
    kept = store.create_index(lab.a, lab.definition(name="kept", fields={"note": "str"}))
    ref = store.create_index(lab.a, lab.definition(fields={"note": "str"}))
    store.upsert(lab.a, kept, lab.batch([("k", [1, 0, 0], {"note": "canary of the kept"})]))
    rows: list[Any] = [(f"r{n}", [1, n, 0], {"note": f"canary{n}"}) for n in range(50)]
    store.upsert(lab.a, ref, lab.batch(rows))
    store.delete(lab.a, ref, ["r3"])
    store.drop_index(lab.a, ref)
    store.close()
    content = lab.database(lab.a).read_bytes()
    assert content.count(b"canary") == content.count(b"canary of the kept") > 0
    db = sqlite3.connect(lab.database(lab.a))
    for table in ("vec", "term", "removed", "part"):
        parts = db.execute(f"SELECT DISTINCT part FROM {table}").fetchall()  # noqa: S608
        assert parts in ([(1,)], [])
    db.close()
