"""What a store says that its backend's own code cannot make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from nexus_sql import nexus_audit_sink

from nexus_core._config import StoreConfig
from nexus_core._handles.opening import build_stores
from nexus_core.spi import AuditBackend, BackendConfig, Problem, StoreRole


class Settings(BackendConfig):
    """None."""


class Half(AuditBackend):
    """An author's first try."""

    def check(self) -> list[Problem]:
        """Nothing is wrong."""
        return []


def problem(tmp_path: Path, factory: Callable[..., Any]) -> Problem:
    """What is wrong with a store that the factory should have made."""
    spec = attrs.evolve(nexus_audit_sink(), name="half", config=Settings, factory=factory)
    store = StoreConfig(
        name="trail",
        backend="half",
        specs={StoreRole.AUDIT: spec},
        settings={StoreRole.AUDIT: Settings()},
    )
    opened, problems = build_stores({"trail": store}, tmp_path, None)
    assert opened == {}
    assert [each.path for each in problems] == ["stores.trail"]
    return problems[0]


def test_a_class_that_lacks_methods_is_told_by_their_names(tmp_path: Path) -> None:
    """Where a factory's class is abstract still, its author is told which methods to write."""
    make: Any = Half
    found = problem(tmp_path, lambda *_: make())
    for name in ("append", "close", "head"):
        assert name in found.what
    assert found.fix == "write every method that its base class leaves abstract"


def test_what_is_no_backend_of_the_role_is_refused(tmp_path: Path) -> None:
    """What a factory makes has to be of the role's own class, and which that is, is said."""
    found = problem(tmp_path, lambda *_: "a backend")
    assert "made no AuditBackend" in found.what
    assert "nexus_core.spi.AuditBackend" in found.fix


@pytest.mark.parametrize("kind", [RuntimeError, TypeError])
def test_the_text_of_a_plugins_failure_is_not_shown(tmp_path: Path, kind: type[Exception]) -> None:
    """A plugin's own failure is told by its kind, since its text may hold a secret."""

    def fail(*_: object) -> object:
        raise kind("hunter2")

    found = problem(tmp_path, fail)
    assert kind.__name__ in found.what
    assert "hunter2" not in f"{found.what} {found.fix}"
