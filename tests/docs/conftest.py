"""A place to run what the pages show: a deployment, and the plugins that they give."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from nexus_core._cli.init import initialise
from nexus_core._plugins import Registry

from .reading import files_of


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """Temporary files in memory where there is such a place: nothing here is about power cuts."""
    memory = Path("/dev/shm")  # noqa: S108  # only a parent; each test makes a folder of its own
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield
        return
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        mock.patch.object(tempfile, "tempdir", folder),
    ):
        yield


@pytest.fixture(scope="session")
def fresh(quick_disk: None) -> Iterator[Path]:
    """A deployment as ``nexus init`` leaves it; to be copied, not used."""
    with tempfile.TemporaryDirectory() as folder:
        initialise(Path(folder))
        yield Path(folder)


@pytest.fixture
def deployment(fresh: Path) -> Iterator[Path]:
    """A deployment of the test's own."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(fresh, folder, dirs_exist_ok=True)
        yield Path(folder)


@pytest.fixture
def written(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with every file that ``docs/plugins.md`` gives, its modules on the path."""
    site = deployment / "site"
    site.mkdir()
    files = files_of("docs/plugins.md")
    for name, text in files.items():
        (site / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.fixture
def module(written: Path) -> Callable[[str], ModuleType]:
    """Imports one of the modules that ``docs/plugins.md`` gives."""
    importlib.invalidate_caches()
    return importlib.import_module


@pytest.fixture
def installed(written: Path) -> Registry:
    """What is installed, and the modules of ``docs/plugins.md`` as distributions beside it."""
    project = tomllib.loads((written / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    offers = {
        project["name"]: project["entry-points"]["nexus.plugins"],
        **{f"nexus-{each}": {each: f"nexus_{each}"} for each in ("lines", "letters", "house")},
    }
    for name, entries in offers.items():
        info = written / f"{name.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        lines = "".join(f"{family} = {value}\n" for family, value in entries.items())
        (info / "entry_points.txt").write_text(f"[nexus.plugins]\n{lines}")
    return Registry.discover()
