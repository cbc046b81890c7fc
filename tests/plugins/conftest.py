"""Real distributions, written to disk and put on the path, for the registry to find."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
import pytest

_counter = itertools.count()

GOOD = '''
from nexus_core import spi


class Settings(spi.BackendConfig):
    root: str
    """Where."""


@spi.hookimpl
def nexus_raw_store():
    return spi.BackendSpec(
        name="NAME",
        role=spi.StoreRole.RAW,
        summary="Objects for tests.",
        config=Settings,
        capabilities=spi.RawCapabilities(),
        isolation=spi.Isolation.PREFIX,
        durability=spi.Durability.PROCESS_CRASH,
        factory=lambda config, runtime: None,
    )
'''


@attrs.frozen
class Site:
    """A folder on ``sys.path`` that distributions are written into."""

    folder: Path

    def distribution(
        self,
        name: str,
        version: str = "1.0",
        *,
        offers: Mapping[str, str],
        suffix: str = "dist-info",
        folder: str | None = None,
    ) -> Path:
        """Write the metadata of a distribution that offers ``{family: module}``."""
        stem = folder or f"{name.replace('-', '_')}-{version}"
        info = self.folder / f"{stem}.{suffix}"
        info.mkdir(parents=True)
        metadata = "METADATA" if suffix == "dist-info" else "PKG-INFO"
        (info / metadata).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{family} = {value}\n" for family, value in offers.items())
        (info / "entry_points.txt").write_text(f"[nexus.plugins]\n{lines}")
        return info

    def module(self, source: str, *, family: str = "fake") -> str:
        """Write a module under a name no other test uses; return the name."""
        name = f"nexus_fake_{next(_counter)}"
        (self.folder / f"{name}.py").write_text(source.replace("NAME", family))
        importlib.invalidate_caches()
        return name

    def offer(self, source: str, *, family: str = "fake", distribution: str = "nexus-fake") -> str:
        """Write a module and a distribution that offers it; return the module's name."""
        module = self.module(source, family=family)
        self.distribution(distribution, offers={family: module})
        return module


@pytest.fixture
def new_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Site]]:
    """Makes folders on the path; what was imported from them is forgotten afterwards."""

    def make() -> Site:
        folder = tmp_path / f"site{next(_counter)}"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        return Site(folder)

    yield make
    for name in [name for name in sys.modules if name.startswith("nexus_fake_")]:
        del sys.modules[name]


@pytest.fixture
def site(new_site: Callable[[], Site]) -> Site:
    """One folder on the path."""
    return new_site()


@pytest.fixture
def good() -> str:
    """The source of a sound plugin with one raw store; ``NAME`` stands for the family's name."""
    return GOOD
