"""What holds for the store on SQLite holds on MariaDB: the same tests, on the same promises."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core.spi import AtomBackend

pytestmark = pytest.mark.servers

MODULES = ("audit", "commit", "erasure", "filters", "reading", "scopes")
# What these ask for is an engine's own: its file, or the memory that one statement takes.
OF_SQLITE = frozenset(("provisioned", "tmp_path", "runtime", "config", "monkeypatch"))


def laws() -> Iterator[tuple[str, Any]]:
    """Tests of the shared promises, by name, that ask for the backends alone."""
    for name in MODULES:
        path = Path(__file__).parent.parent / f"test_sql_{name}.py"
        found = importlib.util.spec_from_file_location(f"shared_laws_{name}", path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        for each, test in vars(module).items():
            if each.startswith("test_") and not OF_SQLITE & set(inspect.signature(test).parameters):
                yield f"{each}_on_mariadb", test


globals().update(laws())


@pytest.fixture
def store(atoms: AtomBackend) -> AtomBackend:
    """The store of the tests of filters."""
    return atoms


@pytest.fixture
def graphs(atoms: AtomBackend) -> AtomBackend:
    """The store of the tests of walks."""
    return atoms


def test_there_are_laws() -> None:
    """The shared tests are found, most of them."""
    assert sum(name.endswith("_on_mariadb") for name in globals()) > 30
