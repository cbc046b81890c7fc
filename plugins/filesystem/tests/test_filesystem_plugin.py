"""What the plugin registers, and what its settings accept."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nexus_filesystem
import pydantic
import pytest
from nexus_filesystem import FilesystemConfig

import nexus_core
from nexus_core.spi import (
    ENTRY_POINT_GROUP,
    Durability,
    RawBackend,
    RawCapabilities,
    Scope,
    StoreRole,
    UnsupportedError,
)


def test_entry_point_names_the_module() -> None:
    """The family name is the entry point's name and leads to the module with the hooks."""
    (entry,) = entry_points(group=ENTRY_POINT_GROUP, name="filesystem")
    assert entry.value == "nexus_filesystem"
    assert entry.dist is not None
    assert entry.dist.name == "nexus-filesystem"


def test_exports_are_sorted_and_there() -> None:
    """``__all__`` is sorted and every name in it exists."""
    assert nexus_filesystem.__all__ == sorted(nexus_filesystem.__all__)
    assert all(hasattr(nexus_filesystem, name) for name in nexus_filesystem.__all__)


def test_spec_promises_what_is_tested_here(lab: Any) -> None:
    """The spec declares the raw role, power-loss durability and exactly these capabilities."""
    assert lab.spec.name == "filesystem"
    assert lab.spec.role is StoreRole.RAW
    assert lab.spec.durability is Durability.POWER_LOSS
    assert lab.spec.capabilities == RawCapabilities(
        conditional_create=True,
        conditional_replace=True,
        conditional_delete=True,
        ranges=True,
        delimiter=True,
        copy=True,
    )


def test_import_brings_no_engine() -> None:
    """Importing the plugin loads neither the store nor ctypes."""
    code = (
        "import sys; import nexus_core.spi; import nexus_filesystem;"
        "print([m for m in sys.modules if m.startswith('nexus_filesystem.')"
        " and m != 'nexus_filesystem._config'])"
    )
    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_filesystem)]
    seen = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "settings", [{}, {"root": ""}, {"root": "a\0b"}, {"root": 1}, {"root": "a", "fsync": False}]
)
def test_settings_are_closed(settings: dict[str, object]) -> None:
    """The root is required, is a text without NUL, and nothing else is accepted."""
    with pytest.raises(pydantic.ValidationError):
        FilesystemConfig.model_validate(settings)


def test_undeclared_verbs_are_unsupported(lab: Any) -> None:
    """What is not declared is refused by name."""
    store: RawBackend = lab.store
    with pytest.raises(UnsupportedError) as caught:
        store.presign_get(Scope("t1", "dev"), "k", expires_in=1)
    assert caught.value.capability == "presign_get"
