"""What goes wrong below arrives as an error of the tree: the right one, alone, and discreet."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import nexus_sql
import pytest
from nexus_sql import _sqlite_errors
from nexus_sql._atoms import SqlAtoms
from nexus_sql._audit import SqlAudit
from nexus_sql._sqlite import SqliteDatabase

from nexus_core.spi import (
    AlreadyExistsError,
    AtomBackend,
    AuditBackend,
    BackendError,
    ClosedError,
    Insert,
    IntegrityError,
    InvalidArgumentError,
    LogEntry,
    LogHead,
    Outcome,
    PermissionDeniedError,
    PreconditionFailedError,
    QuotaExceededError,
    Record,
    Remove,
    Replace,
    Require,
    Runtime,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]
MARK = "canary7f3a"

ENTRY = LogEntry(
    index=0,
    leaf=b"leaf",
    salt=b"salt",
    sealed=b"sealed",
    subject_tag=b"tag",
    operation="op",
    phase="intent",
    recorded_at=0,
)
HEAD = LogHead(size=1, edge=b"edge", checkpoint=b"checkpoint")


def assert_discreet(error: StoreError, *secrets: str) -> None:
    """No chain leads back to the engine's error, and no text repeats SQL, values or places."""
    assert error.__cause__ is None
    assert error.__context__ is None
    text = f"{error} {error!r} {error.args} {error.__dict__}"
    for word in ("SELECT", "INSERT", "nx_", "record_", "log_", "sqlite", "/", MARK, *secrets):
        assert word not in text


@contextmanager
def backdoor(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def calls(atoms: AtomBackend, audit: AuditBackend, make: Make) -> list[Callable[[], object]]:
    return [
        lambda: atoms.commit(SCOPE, [Insert(make("atoms", MARK))]),
        lambda: atoms.get(SCOPE, "atoms", [MARK]),
        lambda: atoms.query(SCOPE, "atoms", None),
        lambda: atoms.count(SCOPE, "atoms", None),
        lambda: atoms.walk(SCOPE, [MARK], "up", max_depth=2, limit=2),
        lambda: atoms.erase(SCOPE),
        lambda: audit.head(SCOPE),
        lambda: audit.append(SCOPE, 0, [ENTRY], HEAD),
        lambda: audit.read(SCOPE, 0, 1),
        lambda: audit.checkpoints(SCOPE, 0, 1),
        lambda: audit.unsettled(SCOPE, 1, 1),
        lambda: audit.erase_sealed(SCOPE, b"tag"),
        lambda: audit.erase(SCOPE),
    ]


def test_everything_is_closed_after_close(
    atoms: AtomBackend, audit: AuditBackend, make: Make
) -> None:
    """After closing, every call raises ``ClosedError``; closing again is no error."""
    atoms.commit(SCOPE, [Insert(make("atoms", "x"))])
    assert audit.head(SCOPE) is None
    for backend in (atoms, audit):
        backend.close()
        backend.close()
    for call in calls(atoms, audit, make):
        with pytest.raises(ClosedError) as error:
            call()
        assert error.value.outcome is Outcome.NOT_APPLIED
        assert_discreet(error.value)


def test_closing_leaves_one_clean_file(
    atoms: AtomBackend, audit: AuditBackend, make: Make, tmp_path: Path
) -> None:
    """When the last backend closes, the log is folded into the file and gone."""
    atoms.commit(SCOPE, [Insert(make("atoms", "x"))])
    audit.append(SCOPE, 0, [ENTRY], HEAD)
    assert len(list(tmp_path.iterdir())) == 3
    atoms.close()
    audit.close()
    assert [path.name for path in tmp_path.iterdir()] == ["records.db"]


def test_a_locked_database_is_a_timeout(provisioned: Path, make: Make) -> None:
    """A writer that stays makes writes time out, retryable and not applied; reads go on."""
    atoms = SqlAtoms(SqliteDatabase(provisioned, 0.05, "url"))
    audit = SqlAudit(SqliteDatabase(provisioned, 0.05, "url"))
    writes: list[Callable[[], object]] = [
        lambda: atoms.commit(SCOPE, [Insert(make("atoms", MARK))]),
        lambda: audit.append(SCOPE, 0, [ENTRY], HEAD),
        lambda: atoms.erase(SCOPE),
    ]
    with backdoor(provisioned) as other:
        other.execute("BEGIN IMMEDIATE")
        for write in writes:
            with pytest.raises(StoreTimeoutError) as error:
                write()
            assert error.value.retryable
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert_discreet(error.value)
        assert atoms.count(SCOPE, "atoms", None) == 0
        assert audit.head(SCOPE) is None
        other.execute("ROLLBACK")
    for write in writes:
        write()
    atoms.close()
    audit.close()


def test_a_write_in_the_same_process_waits_no_longer_than_told(
    provisioned: Path, make: Make
) -> None:
    """The queue of one process' writers has the same limit and the same error."""
    first = SqliteDatabase(provisioned, 5.0, "url")
    second = SqlAtoms(SqliteDatabase(provisioned, 0.05, "url"))
    with first.write(None), pytest.raises(StoreTimeoutError) as error:
        second.commit(SCOPE, [Insert(make("atoms", MARK))])
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert_discreet(error.value)
    assert second.commit(SCOPE, [Insert(make("atoms", MARK))]) == [True]
    first.close()
    second.close()


def test_a_full_disk_is_a_quota_and_leaves_nothing(provisioned: Path, make: Make) -> None:
    """A batch for which there is no room is refused as a whole, and smaller ones still fit."""
    database = SqliteDatabase(provisioned, 5.0, "url")
    atoms = SqlAtoms(database)
    connection = database.pool.borrow()
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 50}")
    connection.rollback()
    database.pool.give_back(connection, sound=True)
    batch = [Insert(make("atoms", f"{MARK}{n}", body=bytes(4000))) for n in range(100)]
    with pytest.raises(QuotaExceededError) as error:
        atoms.commit(SCOPE, batch)
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert_discreet(error.value)
    assert atoms.count(SCOPE, "atoms", None) == 0
    assert atoms.commit(SCOPE, batch[:2]) == [True, True]
    atoms.close()


# The kernel lets no file of this process grow past the limit, so the log cannot take the commit.
FAILING_COMMIT = """
import resource, signal, sys
from pathlib import Path
import nexus_sql
from nexus_core.spi import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
runtime = Runtime(store="main", base=Path(sys.argv[1]), now=lambda: 0)
config = nexus_sql.SqlConfig(url="sqlite:///records.db")
store = nexus_sql.nexus_atom_store().factory(config, runtime)
scope = Scope("t1", "dev")
def edge(n):
    fields = dict(parent="p", child="c", relation="r", created_at=n)
    return Record("edges", f"e{n:04d}", 1, fields, bytes(3000), b"s")
store.commit(scope, [Insert(edge(0))])
size = (Path(sys.argv[1]) / "records.db-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30_000, resource.RLIM_INFINITY))
try:
    store.commit(scope, [Insert(edge(n)) for n in range(1, 100)])
except StoreError as error:
    print(type(error).__name__, error.outcome, error.__context__, store.count(scope, "edges", None))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(store.commit(scope, [Insert(edge(n)) for n in range(1, 100)]).count(True))
store.close()
"""


def test_a_commit_that_the_disk_failed_is_unknown(provisioned: Path, tmp_path: Path) -> None:
    """When writing the commit itself fails, the outcome is unknown, and the store stays usable."""
    done = subprocess.run(
        [sys.executable, "-c", FAILING_COMMIT, tmp_path],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines() == ["UnavailableError unknown None 1", "99"]


def test_conflicts_say_nothing_of_what_they_met(atoms: AtomBackend, make: Make) -> None:
    """A refused batch does not repeat an id or a value, its own or a stored one."""
    atoms.commit(SCOPE, [Insert(make("atoms", MARK, kind=MARK))])
    with pytest.raises(AlreadyExistsError) as taken:
        atoms.commit(SCOPE, [Insert(make("atoms", MARK))])
    assert_discreet(taken.value)
    for operation in (
        Require("atoms", MARK, present=False),
        Replace(make("atoms", MARK, 9)),
        Remove("atoms", MARK, 9),
    ):
        with pytest.raises(PreconditionFailedError) as unmet:
            atoms.commit(SCOPE, [operation])
        assert_discreet(unmet.value)
        assert unmet.value.outcome is Outcome.NOT_APPLIED


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE record_atoms SET pii = 7",
        "UPDATE record_atoms SET kind = CAST(x'ff' AS TEXT)",
        "UPDATE record_atoms SET nx_version = NULL",
        "UPDATE record_atoms SET size = 'many'",
        "UPDATE record_atoms SET nx_body = 'text'",
    ],
)
def test_a_row_that_lost_its_shape_is_no_record(
    atoms: AtomBackend, make: Make, provisioned: Path, damage: str
) -> None:
    """A value of another type in a stored row is an ``IntegrityError``, never a guess."""
    atoms.commit(SCOPE, [Insert(make("atoms", "x"))])
    with backdoor(provisioned) as connection:
        (made,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'record_atoms'"
        ).fetchone()
        loose = made.replace("STRICT", "").replace("NOT NULL", "")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'record_atoms'", (loose,))
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(damage)
    for read in (
        lambda: atoms.get(SCOPE, "atoms", ["x"]),
        lambda: atoms.query(SCOPE, "atoms", None),
    ):
        with pytest.raises(IntegrityError, match=r"lost its shape|stored text") as error:
            read()
        assert_discreet(error.value)


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        ("UPDATE log_entries SET phase = 'nonsense'", lambda audit: audit.read(SCOPE, 0, 9)),
        ("UPDATE log_entries SET phase = 'nonsense'", lambda audit: audit.unsettled(SCOPE, 9, 9)),
        ("UPDATE log_entries SET operation = CAST(x'ff' AS TEXT)", lambda a: a.read(SCOPE, 0, 9)),
        ("UPDATE log_entries SET position = 5", lambda audit: audit.read(SCOPE, 0, 9)),
    ],
)
def test_a_log_that_lost_its_shape_is_no_log(
    audit: AuditBackend,
    provisioned: Path,
    damage: str,
    read: Callable[[AuditBackend], object],
) -> None:
    """An entry that could not have been appended, or a gap, is an ``IntegrityError``."""
    audit.append(SCOPE, 0, [ENTRY], HEAD)
    with backdoor(provisioned) as connection:
        connection.execute(damage)
    with pytest.raises(IntegrityError, match=r"lost its shape|stored text") as error:
        read(audit)
    assert_discreet(error.value)


def test_a_head_behind_its_entries_is_no_place_to_append(
    audit: AuditBackend, provisioned: Path
) -> None:
    """An entry that is there already, though the head says not, is damage and not overwritten."""
    audit.append(SCOPE, 0, [ENTRY], HEAD)
    with backdoor(provisioned) as connection:
        connection.execute("DELETE FROM log_heads")
        connection.execute("DELETE FROM log_checkpoints")
    with pytest.raises(IntegrityError, match="contradicts itself") as error:
        audit.append(SCOPE, 0, [ENTRY], HEAD)
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert_discreet(error.value)
    assert audit.head(SCOPE) is None


def test_damaged_pages_are_an_integrity_error(provisioned: Path, make: Make) -> None:
    """Garbage in the file is reported as damage, not as an absence."""
    atoms = SqlAtoms(SqliteDatabase(provisioned, 5.0, "url"))
    atoms.commit(SCOPE, [Insert(make("atoms", f"{n:04d}", body=bytes(200))) for n in range(2000)])
    atoms.close()
    with provisioned.open("r+b") as file:
        file.seek(8 * 4096)
        for _ in range(100):
            file.write(b"\xa5" * 2048)
            file.seek(2048, os.SEEK_CUR)
    atoms = SqlAtoms(SqliteDatabase(provisioned, 5.0, "url"))
    with pytest.raises(IntegrityError) as error:
        atoms.query(SCOPE, "atoms", None, limit=5000)
    assert_discreet(error.value)
    atoms.close()


def test_a_file_that_vanished_is_unavailable(
    config: nexus_sql.SqlConfig, runtime: Runtime, provisioned: Path
) -> None:
    """A store whose file is gone says so at the next connection, and makes no new one."""
    provisioned.unlink()
    atoms = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(atoms, AtomBackend)
    with pytest.raises(UnavailableError) as error:
        atoms.count(SCOPE, "atoms", None)
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert_discreet(error.value)
    assert not provisioned.exists()
    atoms.close()


def test_a_schema_that_vanished_is_unavailable(atoms: AtomBackend, provisioned: Path) -> None:
    """A missing table is a matter of provisioning, and not worth a retry."""
    with backdoor(provisioned) as connection:
        connection.execute("DROP TABLE record_atoms")
    with pytest.raises(UnavailableError, match="provision") as error:
        atoms.count(SCOPE, "atoms", None)
    assert not error.value.retryable
    assert_discreet(error.value, "atoms")


def test_a_file_that_may_only_be_read_is_a_refusal(provisioned: Path) -> None:
    """SQLite's own refusal to write is ``PermissionDeniedError``."""
    uri = f"file:{provisioned}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        with pytest.raises(sqlite3.OperationalError) as refusal:
            connection.execute("INSERT INTO nexus_schema VALUES (98, 0)")
        translated = _sqlite_errors.translate(refusal.value, Outcome.NOT_APPLIED)
    assert type(translated) is PermissionDeniedError


def _coded(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError(MARK)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind", "outcome", "retryable"),
    [
        (sqlite3.SQLITE_BUSY, StoreTimeoutError, Outcome.NOT_APPLIED, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreTimeoutError, Outcome.NOT_APPLIED, True),
        (sqlite3.SQLITE_LOCKED, StoreTimeoutError, Outcome.NOT_APPLIED, True),
        (sqlite3.SQLITE_FULL, QuotaExceededError, Outcome.NOT_APPLIED, False),
        (sqlite3.SQLITE_CORRUPT, IntegrityError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_NOTADB, IntegrityError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_READONLY, PermissionDeniedError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_READONLY_DBMOVED, UnavailableError, Outcome.UNKNOWN, True),
        (sqlite3.SQLITE_PERM, PermissionDeniedError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_IOERR, UnavailableError, Outcome.UNKNOWN, True),
        (sqlite3.SQLITE_IOERR_FSYNC, UnavailableError, Outcome.UNKNOWN, True),
        (sqlite3.SQLITE_IOERR_CORRUPTFS, IntegrityError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_NOMEM, UnavailableError, Outcome.UNKNOWN, True),
        (sqlite3.SQLITE_CANTOPEN, UnavailableError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_TOOBIG, InvalidArgumentError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, IntegrityError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_CONSTRAINT_NOTNULL, InvalidArgumentError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_ERROR, BackendError, Outcome.UNKNOWN, False),
        (sqlite3.SQLITE_INTERNAL, BackendError, Outcome.UNKNOWN, False),
    ],
)
def test_every_result_code_has_its_error(
    code: int, kind: type[StoreError], outcome: Outcome, retryable: bool
) -> None:
    """At a commit, only a lock and a full disk are known to have applied nothing."""
    error = _sqlite_errors.translate(_coded(code), Outcome.UNKNOWN)
    assert type(error) is kind
    assert (error.outcome, error.retryable) == (outcome, retryable)
    assert MARK not in str(error)


def test_a_fault_of_our_own_is_not_disguised(provisioned: Path) -> None:
    """What is not the engine's passes as it is, and the transaction is rolled back."""
    database = SqliteDatabase(provisioned, 5.0, "url")

    def fail() -> None:
        with database.write(None) as connection:
            connection.exec_driver_sql("INSERT INTO nexus_schema VALUES (98, 0)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read(None) as connection:
        versions = connection.exec_driver_sql("SELECT max(version) FROM nexus_schema")
        assert versions.scalar_one() == 2
    database.close()


def test_a_file_that_vanished_is_missed_by_every_transaction(
    atoms: AtomBackend, make: Make, provisioned: Path
) -> None:
    """A connection to a file that was removed answers no more, and acknowledges nothing."""
    atoms.commit(SCOPE, [Insert(make("atoms", "a"))])
    for file in provisioned.parent.glob(f"{provisioned.name}*"):
        file.unlink()
    for _ in range(2):
        with pytest.raises(UnavailableError) as failure:
            atoms.commit(SCOPE, [Insert(make("atoms", "b"))])
        assert failure.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(UnavailableError):
            atoms.get(SCOPE, "atoms", ["a"])
    assert list(atoms.check())
    assert not provisioned.exists()


def test_a_file_that_was_put_back_is_the_one_that_answers(
    atoms: AtomBackend, make: Make, provisioned: Path, template: Path
) -> None:
    """With another file under the name, none of what the removed one held is read or written."""
    atoms.commit(SCOPE, [Insert(make("atoms", "a"))])
    for file in provisioned.parent.glob(f"{provisioned.name}*"):
        file.unlink()
    provisioned.write_bytes(template.read_bytes())
    assert atoms.get(SCOPE, "atoms", ["a"]) == [None]
    atoms.commit(SCOPE, [Insert(make("atoms", "b"))])
    with closing(sqlite3.connect(provisioned)) as connection:
        found = connection.execute("SELECT nx_id FROM record_atoms").fetchall()
    assert found == [("b",)]
