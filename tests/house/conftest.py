"""What the laws of the repository are about: its files, sources, tests and distributions."""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Made by tools, or by a run, and ignored by version control.
MADE = {"__pycache__", "build", "dist", "node_modules", "nexus-quickstart"}


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> dict[str, str]:
    """Every text file of the checkout: its path from the root, and what it says."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name
            for name in folders
            if name not in MADE
            and not name.endswith(".egg-info")
            and (name[0] != "." or name == ".ci")
        )
        for name in sorted(names):
            path = Path(folder, name)
            try:
                found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


@pytest.fixture(scope="session")
def distributions() -> dict[str, dict[str, Any]]:
    """Every distribution: its folder from the root, and its pyproject."""
    folders = [
        ROOT,
        ROOT / "contracts",
        *(file.parent for file in ROOT.glob("plugins/*/pyproject.toml")),
    ]
    return {
        folder.relative_to(ROOT).as_posix(): tomllib.loads(
            (folder / "pyproject.toml").read_text(encoding="utf-8")
        )
        for folder in sorted(folders)
    }


@pytest.fixture(scope="session")
def package_of() -> Callable[[str], str]:
    """Path from the root of the package that a distribution's folder holds."""

    def path(folder: str) -> str:
        if folder == ".":
            return "nexus_core"
        (package,) = (ROOT / folder / "src").glob("nexus_*")
        return package.relative_to(ROOT).as_posix()

    return path


@pytest.fixture(scope="session")
def sources(
    files: dict[str, str],
    distributions: dict[str, dict[str, Any]],
    package_of: Callable[[str], str],
) -> dict[str, dict[str, ast.Module]]:
    """The product's modules: of each distribution's folder, paths from the root and their trees."""
    return {
        folder: {
            path: ast.parse(text, path)
            for path, text in files.items()
            if path.startswith(package_of(folder) + "/") and path.endswith(".py")
        }
        for folder in distributions
    }


@pytest.fixture(scope="session")
def tests(files: dict[str, str]) -> dict[str, ast.Module]:
    """The modules of all test folders: paths from the root and their trees."""
    return {
        path: ast.parse(text, path)
        for path, text in files.items()
        if path.endswith(".py") and (path.startswith("tests/") or "/tests/" in path)
    }
