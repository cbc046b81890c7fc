"""A provisioned SQLite file for each test, and both backends on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nexus_sql
import pytest

from nexus_core.spi import COLLECTIONS, AtomBackend, AuditBackend, Record, Runtime


@pytest.fixture
def config() -> nexus_sql.SqlConfig:
    return nexus_sql.SqlConfig(url="sqlite:///records.db", busy_timeout_seconds=10)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(store="main", base=tmp_path, now=lambda: 1_700_000_000_000_000)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as provisioning makes it; a copy is quicker than making one for each test."""
    runtime = Runtime(store="main", base=tmp_path_factory.mktemp("sql"), now=lambda: 0)
    provision = nexus_sql.nexus_atom_store().provision
    assert provision is not None
    provision(nexus_sql.SqlConfig(url="sqlite:///records.db"), runtime)
    return runtime.path("records.db")


@pytest.fixture
def provisioned(template: Path, runtime: Runtime) -> Path:
    """The database file, made."""
    return Path(shutil.copy(template, runtime.path("records.db")))


@pytest.fixture
def atoms(
    provisioned: Path, config: nexus_sql.SqlConfig, runtime: Runtime
) -> Iterator[AtomBackend]:
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    yield backend
    backend.close()


@pytest.fixture
def audit(
    provisioned: Path, config: nexus_sql.SqlConfig, runtime: Runtime
) -> Iterator[AuditBackend]:
    backend = nexus_sql.nexus_audit_sink().factory(config, runtime)
    assert isinstance(backend, AuditBackend)
    yield backend
    backend.close()


@pytest.fixture
def make() -> Callable[..., Record]:
    """Make a record: ``make("atoms", "a1", size=5)``; required fields have plain values."""
    plain: dict[str, Any] = {"str": "x", "int": 0, "bool": False, "float": 0.5}

    def record(collection: str, id: str, version: int = 1, **given: Any) -> Record:
        body = given.pop("body", b"body of " + id.encode())
        stamp = given.pop("stamp", b"stamp")
        required = {name: plain[kind] for name, kind in COLLECTIONS[collection].required.items()}
        return Record(collection, id, version, {**required, **given}, body, stamp)

    return record
