"""Importing is cheap: what is not used is not loaded."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

HEAVY = {"numpy", "sqlalchemy", "rich", "pypdf", "markdown_it", "bs4", "torch", "asyncio"}


@cache
def loaded(statement: str) -> frozenset[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return frozenset(name.partition(".")[0] for name in result.stdout.split())


def foreign(modules: frozenset[str]) -> set[str]:
    """Those of neither the standard library nor the project, nor brought by every interpreter."""
    return {
        name
        for name in modules - loaded("pass")
        if name not in sys.stdlib_module_names and not name.startswith(("nexus_", "_"))
    }


def test_import_of_the_core_loads_nothing_else() -> None:
    """``import nexus_core`` loads no dependency at all: names are loaded when they are used."""
    modules = loaded("import nexus_core")
    assert foreign(modules) == set()
    assert not modules & HEAVY


def test_the_plugin_interface_loads_no_engine() -> None:
    """``import nexus_core.spi`` loads what its values are made of, and nothing heavy."""
    modules = loaded("import nexus_core.spi")
    assert {"attrs", "pydantic", "pluggy"} <= modules
    assert not modules & (HEAVY | {"cryptography"})


def test_every_public_name_loads_without_an_engine() -> None:
    """Using all of the core's public names loads neither an engine nor a nicety."""
    modules = loaded("import nexus_core\nfor name in nexus_core.__all__: getattr(nexus_core, name)")
    assert not modules & (HEAVY - {"asyncio"})


def test_entry_points_are_cheap(distributions: dict[str, dict[str, Any]]) -> None:
    """Importing what a plugin's entry point names loads nothing that the interface did not."""
    allowed = foreign(loaded("import nexus_core.spi"))
    modules = {
        module
        for pyproject in distributions.values()
        for module in pyproject["project"].get("entry-points", {}).get("nexus.plugins", {}).values()
    }
    assert modules
    assert {
        module: extra
        for module in modules
        if (extra := foreign(loaded(f"import {module}")) - allowed)
    } == {}


def test_a_heavy_module_would_be_seen() -> None:
    """The measure sees a dependency that is loaded, also through another module."""
    assert "pydantic" in foreign(loaded("import pydantic"))
    assert "asyncio" in loaded("import concurrent.futures, asyncio.events")
