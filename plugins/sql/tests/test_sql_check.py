"""Checking reads and says everything; provisioning is what creates, upgrades, or refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import nexus_sql
import pytest
import sqlalchemy as sa
from nexus_sql import _migrations, _sqlite_place

from nexus_core.spi import (
    AtomBackend,
    AuditBackend,
    ClosedError,
    ConfigurationError,
    Insert,
    LogEntry,
    LogHead,
    Problem,
    Record,
    Runtime,
    Scope,
    UnavailableError,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]
Config = nexus_sql.SqlConfig


def check(config: Config, runtime: Runtime) -> list[Problem]:
    """Ask both roles, which must agree, and hold them to having written nothing."""
    before = snapshot(runtime.base)
    answers = []
    for spec in (nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()):
        backend = spec.factory(config, runtime)
        answers.append(list(backend.check()))
        backend.close()
    assert snapshot(runtime.base) == before
    assert answers[0] == answers[1]
    for problem in answers[0]:
        assert problem.path == "url"
        assert problem.fix
    return answers[0]


def codes(config: Config, runtime: Runtime) -> list[str]:
    return [problem.code for problem in check(config, runtime)]


def provision(config: Config, runtime: Runtime) -> Sequence[str]:
    make = nexus_sql.nexus_audit_sink().provision
    assert make is not None
    return make(config, runtime)


def refused(config: Config, runtime: Runtime) -> list[str]:
    """Provision where that must be refused, and hold it to having changed nothing."""
    before = snapshot(runtime.base)
    with pytest.raises(ConfigurationError) as error:
        provision(config, runtime)
    assert snapshot(runtime.base) == before
    return [problem.code for problem in error.value.problems]


def snapshot(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Names, times and contents. Readers of a live log note themselves in its shared memory."""
    found = {}
    for path in sorted(directory.rglob("*")):
        state = path.stat()
        shared = path.name.endswith("-shm")
        content = b"" if path.is_dir() or shared else path.read_bytes()
        changed = 0 if shared else state.st_mtime_ns
        digest = hashlib.sha256(content).hexdigest()
        found[str(path.relative_to(directory))] = (state.st_size, changed, digest)
    return found


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def schema(file: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {(name, " ".join(sql.split())) for name, sql in rows}


def test_a_missing_file_is_reported_and_not_made(config: Config, runtime: Runtime) -> None:
    """Without a file there is one problem, and afterwards there is still no file."""
    assert codes(config, runtime) == ["sql.missing"]
    deep = Config(url="sqlite:///not/there/records.db")
    assert codes(deep, runtime) == ["sql.missing"]


def test_an_unprovisioned_store_refuses_to_work(config: Config, runtime: Runtime) -> None:
    """No call makes the file, and the error says what to do."""
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    for call in (lambda: backend.get(SCOPE, "atoms", ["x"]), lambda: backend.commit(SCOPE, [])):
        with pytest.raises(UnavailableError, match="provision") as error:
            call()
        assert not error.value.retryable
    backend.close()
    assert list(runtime.base.iterdir()) == []


@pytest.mark.parametrize("theirs", [False, True])
def test_a_file_without_the_schema_is_left_as_it_is(
    config: Config, runtime: Runtime, *, theirs: bool
) -> None:
    """A file that was emptied, or is another's database, is not even put into another mode."""
    file = runtime.path("records.db")
    file.touch()
    if theirs:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE theirs (a TEXT)")
    before = snapshot(runtime.base)
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    for call in (lambda: backend.get(SCOPE, "atoms", ["x"]), lambda: backend.commit(SCOPE, [])):
        with pytest.raises(UnavailableError, match="provision"):
            call()
    assert codes(config, runtime) == ["sql.schema_foreign" if theirs else "sql.schema_missing"]
    backend.close()
    assert snapshot(runtime.base) == before


def test_a_restored_copy_keeps_a_log_again(config: Config, runtime: Runtime) -> None:
    """A database that a backup gave another mode is the store's own, and is put into its mode."""
    provision(config, runtime)
    with closing(sqlite3.connect(runtime.path("records.db"))) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    assert list(backend.get(SCOPE, "atoms", ["x"])) == [None]
    backend.close()
    with closing(sqlite3.connect(runtime.path("records.db"))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_provisioning_makes_what_was_missing_once(config: Config, runtime: Runtime) -> None:
    """The first run makes directory, file and schema and says so; the second does nothing."""
    config = Config(url="sqlite:///data/inner/records.db")
    done = provision(config, runtime)
    file = runtime.path("data/inner/records.db")
    assert [line.split()[0] for line in done] == [
        "directory",
        "directory",
        "file",
        "schema",
        "schema",
    ]
    assert check(config, runtime) == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for directory in (file.parent, file.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    before = snapshot(runtime.base)
    assert list(provision(config, runtime)) == []
    assert snapshot(runtime.base) == before


def test_both_roles_provision_the_same(provisioned: Path, config: Config, runtime: Runtime) -> None:
    """What the atom store made is all that the audit sink needs."""
    assert list(provision(config, runtime)) == []
    assert check(config, runtime) == []


def test_an_empty_file_is_not_a_schema(config: Config, runtime: Runtime) -> None:
    """A file of no bytes needs provisioning, which then fills it."""
    runtime.path("records.db").touch()
    assert codes(config, runtime) == ["sql.schema_missing"]
    provision(config, runtime)
    assert check(config, runtime) == []


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 2" + bytes(100), bytes(4096)])
def test_a_file_of_something_else_is_left_alone(
    config: Config, runtime: Runtime, content: bytes
) -> None:
    """A file that is no SQLite database is reported, and provisioning refuses it."""
    runtime.path("records.db").write_bytes(content)
    assert codes(config, runtime) == ["sql.not_a_database"]
    assert refused(config, runtime) == ["sql.not_a_database"]


def test_a_damaged_database_is_left_alone(
    provisioned: Path, config: Config, runtime: Runtime
) -> None:
    """A database whose pages are garbage is reported, and provisioning refuses it."""
    with provisioned.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 20_000)
    assert codes(config, runtime) == ["sql.damaged"]
    assert refused(config, runtime) == ["sql.damaged"]


def test_a_directory_is_not_a_database(config: Config, runtime: Runtime) -> None:
    """A directory in the place of the file is reported, and provisioning refuses it."""
    runtime.path("records.db").mkdir()
    assert codes(config, runtime) == ["sql.place"]
    assert refused(config, runtime) == ["sql.place"]


def test_a_file_in_the_place_of_the_directory_is_reported(runtime: Runtime) -> None:
    """A path through a file leads nowhere, and provisioning says so."""
    config = Config(url="sqlite:///taken/records.db")
    runtime.path("taken").touch()
    assert codes(config, runtime) == ["sql.place"]
    assert refused(config, runtime) == ["sql.place"]


def test_a_database_of_something_else_is_left_alone(config: Config, runtime: Runtime) -> None:
    """A database with other tables is reported; provisioning changes neither it nor its mode."""
    execute(runtime.path("records.db"), "CREATE TABLE customers (name TEXT)")
    assert codes(config, runtime) == ["sql.schema_foreign"]
    assert refused(config, runtime) == ["sql.schema_foreign"]


@pytest.mark.usefixtures("provisioned")
def test_a_schema_that_is_just_being_made_is_nobody_elses(
    config: Config, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program makes between two looks at one database is not taken for foreign."""
    honest, looks = _migrations._version, []

    def version(*given: Any) -> int | None:
        looks.append(given)
        return None if len(looks) == 1 else honest(*given)

    monkeypatch.setattr(_migrations, "_version", version)
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert backend.check() == []
    backend.close()
    assert len(looks) == 2


def test_an_older_schema_is_refused_until_it_is_provisioned(
    provisioned: Path, config: Config, runtime: Runtime, make: Make
) -> None:
    """A database from before the audit sink is upgraded in place, and keeps its records."""
    today = schema(provisioned)
    logs = ("log_entries", "log_heads", "log_checkpoints", "log_open_intents")
    execute(
        provisioned,
        *(f"DROP TABLE {name}" for name in logs),
        "DELETE FROM nexus_schema WHERE version = 2",
    )
    record = make("atoms", "x")
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    backend.commit(SCOPE, [Insert(record)])
    backend.close()
    (problem,) = check(config, runtime)
    assert problem.code == "sql.schema_older"
    assert "version 1, older than 2" in problem.what
    assert list(provision(config, runtime)) == ["schema version 2: tables of the audit sink"]
    assert check(config, runtime) == []
    assert schema(provisioned) == today
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    assert backend.get(SCOPE, "atoms", ["x"]) == [record]
    backend.close()


def test_a_step_that_fails_leaves_the_schema_as_it_was(
    provisioned: Path, config: Config, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are taken together or not at all, and a later run takes them."""

    def add(connection: sa.Connection, tables: object) -> None:
        connection.exec_driver_sql("CREATE TABLE log_extra (x TEXT)")

    def fail(connection: sa.Connection, tables: object) -> None:
        connection.exec_driver_sql("CREATE TABLE log_extra (x TEXT)")

    steps = (*_migrations.STEPS, _migrations.Step(3, "one", add), _migrations.Step(4, "two", fail))
    before = schema(provisioned)
    for defaults in (_migrations.migrate, _migrations.schema_problems):
        monkeypatch.setattr(defaults, "__defaults__", (steps,))
    assert codes(config, runtime) == ["sql.schema_older"]
    with pytest.raises(Exception, match="refused a statement"):
        provision(config, runtime)
    assert schema(provisioned) == before
    for defaults in (_migrations.migrate, _migrations.schema_problems):
        monkeypatch.setattr(defaults, "__defaults__", (steps[:3],))
    assert list(provision(config, runtime)) == ["schema version 3: one"]
    assert check(config, runtime) == []


def test_steps_are_numbered_without_gaps() -> None:
    """The list of steps is ordered, and begins at one."""
    assert [step.version for step in _migrations.STEPS] == [1, 2]


def test_a_newer_schema_is_refused(provisioned: Path, config: Config, runtime: Runtime) -> None:
    """A schema from the future is neither used nor touched."""
    execute(provisioned, "INSERT INTO nexus_schema VALUES (99, 0)")
    assert codes(config, runtime) == ["sql.schema_newer"]
    assert refused(config, runtime) == ["sql.schema_newer"]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE record_dreams (nx_tenant TEXT)",
        "ALTER TABLE record_atoms ADD COLUMN mood TEXT",
        "ALTER TABLE log_entries ADD COLUMN mood TEXT",
    ],
)
def test_what_is_not_known_here_is_newer(
    provisioned: Path, config: Config, runtime: Runtime, change: str
) -> None:
    """Tables and columns that this version would neither fill nor erase are refused."""
    execute(provisioned, change)
    assert codes(config, runtime) == ["sql.schema_newer"]
    assert refused(config, runtime) == ["sql.schema_newer"]


def test_provisioning_follows_the_collections(
    provisioned: Path, config: Config, runtime: Runtime, make: Make
) -> None:
    """A collection or an optional field that the core has and the database not yet is added."""
    today = schema(provisioned)
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    backend.commit(SCOPE, [Insert(make("atoms", "x"))])
    backend.close()
    execute(
        provisioned,
        "DROP TABLE record_intents",
        "DROP INDEX ix_record_atoms_subject",
        "ALTER TABLE record_atoms DROP COLUMN subject",
    )
    assert codes(config, runtime) == ["sql.schema_incomplete"] * 2
    assert list(provision(config, runtime)) == [
        "column record_atoms.subject",
        "table record_intents",
    ]
    assert check(config, runtime) == []
    assert {name for name, _ in schema(provisioned)} == {name for name, _ in today}
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    assert backend.get(SCOPE, "atoms", ["x"]) == [make("atoms", "x")]
    backend.commit(SCOPE, [Insert(make("atoms", "y", subject="s"))])
    backend.close()


@pytest.mark.parametrize(
    "change", ["DROP TABLE log_heads", "ALTER TABLE log_entries DROP COLUMN leaf"]
)
def test_what_held_a_log_is_not_made_anew(
    provisioned: Path, config: Config, runtime: Runtime, change: str
) -> None:
    """A part of the log that was lost is a loss, which provisioning must not paint over."""
    execute(provisioned, change)
    (problem,) = check(config, runtime)
    assert problem.code == "sql.schema_incomplete"
    assert "backup" in problem.fix
    assert refused(config, runtime) == ["sql.schema_incomplete"]


def test_a_copy_in_another_journal_mode_is_used_as_provisioned(
    provisioned: Path, config: Config, runtime: Runtime, make: Make
) -> None:
    """A restored copy that lost its journal mode is no problem, and gets it back when written."""
    execute(provisioned, "PRAGMA journal_mode = DELETE")
    assert check(config, runtime) == []
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    backend.commit(SCOPE, [Insert(make("atoms", "x"))])
    assert runtime.path("records.db-wal").exists()
    backend.close()


def test_checking_drops_no_lock_of_a_live_connection(
    atoms: AtomBackend, config: Config, runtime: Runtime, provisioned: Path, make: Make
) -> None:
    """Another process that comes and goes after a check finds the log in use, and leaves it."""
    visit = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
    visit += "print(c.execute('SELECT count(*) FROM record_atoms').fetchone()[0]); c.close()"
    atoms.commit(SCOPE, [Insert(make("atoms", "x"))])
    assert nexus_sql.nexus_audit_sink().factory(config, runtime).check() == []
    assert list(provision(config, runtime)) == []
    for count, id_ in enumerate(("y", "z"), 1):
        command = [sys.executable, "-c", visit, str(provisioned)]
        seen = subprocess.run(command, check=True, capture_output=True, text=True)
        assert int(seen.stdout) == count
        assert runtime.path("records.db-wal").exists()
        atoms.commit(SCOPE, [Insert(make("atoms", id_))])


def test_an_old_library_is_reported(
    provisioned: Path, config: Config, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SQLite that lacks what the tables need is named before anything is opened."""
    monkeypatch.setattr(_sqlite_place, "OLDEST", (99, 0, 0))
    assert codes(config, runtime) == ["sql.library"]
    assert refused(config, runtime) == ["sql.library"]
    monkeypatch.undo()
    monkeypatch.setattr(_sqlite_place, "JSON_PROBE", "SELECT value FROM yaml_each('[1]')")
    assert codes(config, runtime) == ["sql.library"]
    assert refused(config, runtime) == ["sql.library"]


def test_a_live_database_is_checked_without_a_trace(
    atoms: AtomBackend, audit: AuditBackend, config: Config, runtime: Runtime, make: Make
) -> None:
    """With a log beside the file and transactions in it, checking changes neither."""
    atoms.commit(SCOPE, [Insert(make("atoms", "x"))])
    entry = LogEntry(
        index=0,
        leaf=b"l",
        salt=None,
        sealed=None,
        subject_tag=None,
        operation="o",
        phase="event",
        recorded_at=0,
    )
    audit.append(SCOPE, 0, [entry], LogHead(size=1, edge=b"e", checkpoint=b"c"))
    assert runtime.path("records.db-wal").stat().st_size > 0
    assert check(config, runtime) == []


def test_what_a_kill_left_is_checked_without_a_trace(
    provisioned: Path, config: Config, runtime: Runtime
) -> None:
    """With a log that nobody closed, checking reads through it and leaves it for the next user."""
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('INSERT INTO nexus_schema VALUES (99, 0)'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, provisioned], check=False)
    assert runtime.path("records.db-wal").stat().st_size > 0
    assert codes(config, runtime) == ["sql.schema_newer"]


def test_a_closed_backend_checks_nothing(
    provisioned: Path, config: Config, runtime: Runtime
) -> None:
    """After closing, a check raises like every other call, and closing again is no error."""
    for spec in (nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()):
        backend = spec.factory(config, runtime)
        backend.close()
        backend.close()
        with pytest.raises(ClosedError):
            backend.check()


# A superuser may write anywhere, so these run without its capabilities (version 3 of the kernel's
# capset, every set empty): a user like any other, and still the files' owner.
AS_SOMEBODY = """
import ctypes, os, sys
from pathlib import Path
import nexus_sql, nexus_sql._atoms, nexus_sql._engines, sqlalchemy.dialects.sqlite
from nexus_core.spi import Runtime, ConfigurationError
if os.geteuid() == 0:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
runtime = Runtime(store="main", base=Path(sys.argv[1]), now=lambda: 0)
config = nexus_sql.SqlConfig(url="sqlite:///" + sys.argv[2])
spec = nexus_sql.nexus_atom_store()
backend = spec.factory(config, runtime)
print(*sorted(p.code for p in backend.check()))
try:
    print(spec.provision(config, runtime))
except ConfigurationError as error:
    print(*sorted(p.code for p in error.problems))
"""


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that is there to be closed, and is opened again to be removed."""
    directory = Path(tempfile.mkdtemp(prefix="nexus-sql-"))
    yield directory
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(directory)


def as_somebody(base: Path, name: str) -> list[str]:
    before = snapshot(base)
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, base, name],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert snapshot(base) == before
    return done.stdout.splitlines()


def test_everything_is_reported_at_once(config: Config, open_place: Path) -> None:
    """A file and a directory that refuse writes, and an older schema: three problems."""
    runtime = Runtime(store="main", base=open_place, now=lambda: 0)
    provision(config, runtime)
    file = runtime.path("records.db")
    execute(file, "DELETE FROM nexus_schema WHERE version = 2", "PRAGMA journal_mode = DELETE")
    file.chmod(0o444)
    open_place.chmod(0o555)
    assert as_somebody(open_place, "records.db") == [
        "sql.not_writable sql.not_writable sql.schema_older",
        "sql.not_writable sql.not_writable",
    ]


def test_a_place_where_nothing_can_be_made_is_reported(open_place: Path) -> None:
    """A missing file in a directory that refuses writes is both missing and unwritable."""
    open_place.chmod(0o555)
    assert as_somebody(open_place, "data/records.db") == [
        "sql.missing sql.not_writable",
        "sql.place",
    ]


def test_a_file_that_cannot_be_read_is_reported(config: Config, open_place: Path) -> None:
    """A file of another user is reported without an attempt to open it."""
    runtime = Runtime(store="main", base=open_place, now=lambda: 0)
    provision(config, runtime)
    runtime.path("records.db").chmod(0)
    open_place.chmod(0o777)  # so that the file alone is in the way
    assert as_somebody(open_place, "records.db") == ["sql.not_writable", "sql.not_writable"]
