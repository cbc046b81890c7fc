"""What is tested is what is said: built wheels where they are asked for, else the checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

INSTALLED = os.environ.get("NEXUS_TEST_INSTALLED") == "1"
SITE = Path(sysconfig.get_path("purelib")).resolve()


def packages(distributions: dict[str, Any], package_of: Callable[[str], str]) -> list[str]:
    return [package_of(folder).rpartition("/")[2] for folder in distributions]


def is_where_it_should_be(origin: str, root: Path) -> bool:
    path = Path(origin).resolve()
    if INSTALLED:
        return path.is_relative_to(SITE)
    return path.is_relative_to(root) and not path.is_relative_to(SITE)


def test_modules_come_from_where_they_should(
    root: Path, distributions: dict[str, Any], package_of: Callable[[str], str]
) -> None:
    """Every package is imported from site-packages if wheels are tested, else from the checkout."""
    for package in packages(distributions, package_of):
        found = importlib.util.find_spec(package)
        assert found is not None
        assert found.origin is not None
        assert is_where_it_should_be(found.origin, root), found.origin


def test_processes_import_the_same(
    root: Path, distributions: dict[str, Any], package_of: Callable[[str], str]
) -> None:
    """A process that a test starts, in the checkout's own folder, imports the same packages."""
    names = packages(distributions, package_of)
    code = f"import {', '.join(names)}\nfor m in ({', '.join(names)},): print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    for origin in done.stdout.splitlines():
        assert is_where_it_should_be(origin, root), origin
    assert len(done.stdout.splitlines()) == len(names)


def test_the_checkout_is_not_on_the_path_of_wheels(root: Path) -> None:
    """Where wheels are tested, no source folder of the checkout can be imported from."""
    sources = {root, root / "contracts" / "src", *root.glob("plugins/*/src")}
    reachable = {Path(entry).resolve() for entry in sys.path if entry} & sources
    assert not INSTALLED or reachable == set()
    assert INSTALLED or root in reachable
