"""What the plugin registers, and which settings it takes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import nexus_sql
import pytest
from nexus_sql._atoms import SqlAtoms
from pydantic import ValidationError

from nexus_core.spi import (
    ALL_FILTER_OPS,
    AtomBackend,
    AtomCapabilities,
    AuditBackend,
    AuditCapabilities,
    Durability,
    Isolation,
    Runtime,
    SecretRef,
    StoreRole,
)


def test_the_entry_point_names_the_module() -> None:
    """The family `sql` is offered by the module `nexus_sql`, once."""
    offered = {e.value for e in entry_points(group="nexus.plugins", name="sql")}
    assert offered == {"nexus_sql"}


def test_specs_say_what_is_true() -> None:
    """Both specs share name, settings, isolation and durability, and declare no more than is so."""
    atoms, audit = nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()
    assert (atoms.role, audit.role) == (StoreRole.ATOMS, StoreRole.AUDIT)
    for spec in (atoms, audit):
        assert spec.name == "sql"
        assert spec.config is nexus_sql.SqlConfig
        assert spec.isolation is Isolation.PREDICATE
        assert spec.durability is Durability.POWER_LOSS
        assert spec.provision is not None
    assert isinstance(atoms.capabilities, AtomCapabilities)
    assert atoms.capabilities.filter_ops == ALL_FILTER_OPS - {"contains_any", "contains_all"}
    assert isinstance(audit.capabilities, AuditCapabilities)
    assert audit.capabilities.erase_sealed


def test_specs_can_be_asked_for_again(config: nexus_sql.SqlConfig, runtime: Runtime) -> None:
    """A hook gives a working factory on every call, also after a backend was built."""
    for _ in range(2):
        atoms = nexus_sql.nexus_atom_store().factory(config, runtime)
        audit = nexus_sql.nexus_audit_sink().factory(config, runtime)
        assert isinstance(atoms, AtomBackend)
        assert isinstance(audit, AuditBackend)


def test_importing_the_plugin_imports_no_engine() -> None:
    """Naming the plugin costs no import of SQLAlchemy; that waits for a configuration."""
    code = "import sys, nexus_sql; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_building_creates_nothing(
    config: nexus_sql.SqlConfig, runtime: Runtime, tmp_path: Path
) -> None:
    """A factory touches no file, and neither does closing what it made."""
    for spec in (nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()):
        spec.factory(config, runtime).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is not a database URL"),
        ("records.db", "is not a database URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file::memory:", "in memory"),
        ("sqlite:///file:x.db", "in memory"),
        ("sqlite:///x.db?mode=memory&uri=true", "has options"),
        ("sqlite:///x.db?timeout=1", "has options"),
        ("sqlite:///records%41.db", "without escapes"),
        ("sqlite:///records\0.db", "a NUL"),
        ("sqlite://host/x.db", "a user, host or port"),
        ("sqlite://user@/x.db", "a user, host or port"),
        ("sqlite+aiosqlite:///x.db", "names a driver"),
        ("sqlite+pysqlcipher:///x.db", "names a driver"),
        ("postgresql+psycopg://db.example/nexus", "lacks the user or the database"),
        ("mysql+pymysql://db.example/nexus", "MySQL, which is not served"),
        ("oracle://db.example/nexus", "an engine, which is not served"),
        ("postgresql://nexus:hunter2@db.example/nexus", "holds a password"),
        ("sqlite://:hunter2@/x.db", "holds a password"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_its_reason(url: str, reason: str) -> None:
    """Every unusable URL is refused when the settings are read, and no text repeats a password."""
    with pytest.raises(ValidationError) as refused:
        nexus_sql.SqlConfig(url=url)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_there_is_no_default_place() -> None:
    """Settings without a URL are refused."""
    with pytest.raises(ValidationError):
        nexus_sql.SqlConfig.model_validate({})


def test_a_password_has_no_use_for_sqlite() -> None:
    """A password for an engine that has none is refused instead of being ignored."""
    with pytest.raises(ValidationError, match="has no use"):
        nexus_sql.SqlConfig(url="sqlite:///x.db", password=SecretRef(env="PASSWORD"))


@pytest.mark.parametrize("seconds", [0, -1, 601, "5", True])
def test_the_busy_timeout_is_bounded(seconds: object) -> None:
    """A timeout that waits never, for ever, or is no number is refused."""
    with pytest.raises(ValidationError):
        nexus_sql.SqlConfig.model_validate(
            {"url": "sqlite:///x.db", "busy_timeout_seconds": seconds}
        )


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("secure_delete", 1),
        ("temp_store", 2),
        ("trusted_schema", 0),
        ("busy_timeout", 10_000),
        ("fullfsync", 1),
        ("checkpoint_fullfsync", 1),
    ],
)
def test_every_connection_is_durable_and_discreet(
    atoms: AtomBackend, pragma: str, value: object
) -> None:
    """What a connection must be told is told to the first one and to those beside it."""
    assert isinstance(atoms, SqlAtoms)
    with atoms._database.read(None) as first, atoms._database.read(None) as second:
        for connection in (first, second):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value


@pytest.mark.parametrize("name", ["plain.db", "blank and#hash&+.db", "ü/ñ'.db"])
def test_a_path_means_exactly_itself(name: str, runtime: Runtime, tmp_path: Path) -> None:
    """No character of a path is taken for an option, an escape or a pattern."""
    config = nexus_sql.SqlConfig(url=f"sqlite:///{name}")
    spec = nexus_sql.nexus_atom_store()
    assert spec.provision is not None
    spec.provision(config, runtime)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / name]
    backend = spec.factory(config, runtime)
    assert backend.check() == []
    backend.close()
