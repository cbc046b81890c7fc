"""A provisioned store under a temporary directory, and short words for using it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nexus_filesystem
import pytest

import nexus_core
from nexus_core.spi import (
    BackendSpec,
    Body,
    ByteRange,
    ObjectAttributes,
    ObjectInfo,
    RawBackend,
    Runtime,
    Scope,
)

WORKER = Path(__file__).with_name("filesystem_worker.py")
NOBODY = 65534


class Lab:
    """One root and the stores opened on it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "raw"
        self.spec: BackendSpec = nexus_filesystem.nexus_raw_store()
        self.config = nexus_filesystem.FilesystemConfig(root="raw")
        self.time = 1_700_000_000_000_000
        self.runtime = Runtime(store="raw", base=base, now=self._tick)

    def _tick(self) -> int:
        self.time += 1
        return self.time

    def provision(self) -> list[str]:
        assert self.spec.provision is not None
        return list(self.spec.provision(self.config, self.runtime))

    def build(self) -> RawBackend:
        store = self.spec.factory(self.config, self.runtime)
        assert isinstance(store, RawBackend)
        return store

    @property
    def store(self) -> RawBackend:
        return self.build()

    def attributes(self, **metadata: str) -> ObjectAttributes:
        return ObjectAttributes(content_type="text/plain", metadata=metadata, system={"s": "1"})

    def put(self, scope: Scope, key: str, data: Any, **condition: Any) -> ObjectInfo:
        return self.store.put(scope, key, Body(data), self.attributes(), **condition)

    def get(self, scope: Scope, key: str, range: ByteRange | None = None) -> bytes:
        with self.store.open(scope, key, range=range) as stream:
            return b"".join(stream.chunks)

    def keys(self, scope: Scope, *, limit: int = 1000, **bounds: Any) -> list[str]:
        """All keys and rolled-up prefixes, page by page, in the order in which they came."""
        found: list[str] = []
        after = bounds.pop("after", None)
        while True:
            page = self.store.list(scope, after=after, limit=limit, **bounds)
            entries = [*(item.key for item in page.items), *page.prefixes]
            assert len(entries) <= limit
            found += sorted(entries, key=str.encode)
            if page.next_after is None:
                return found
            after = page.next_after

    def home(self, scope: Scope) -> Path:
        return self.root / "v1" / scope.env / scope.tenant_id

    def files(self, scope: Scope) -> list[Path]:
        """Every regular file of a scope, control files apart."""
        home = self.home(scope)
        return sorted(
            path
            for path in home.rglob("*")
            if path.is_file() and not path.relative_to(home).parts[0].startswith(("~lock", "~tmp"))
        )

    def unfinished(self, scope: Scope) -> list[str]:
        directory = self.home(scope) / "~tmp"
        return [path.name for path in directory.iterdir()] if directory.exists() else []

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Start another Python process on the same root."""
        sources = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_filesystem)]
        return subprocess.Popen(
            [sys.executable, str(WORKER), str(self.base), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sources)},
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A laboratory whose store is provisioned."""
    laboratory = Lab(tmp_path)
    laboratory.provision()
    return laboratory


@pytest.fixture
def bare(tmp_path: Path) -> Lab:
    """A laboratory with nothing in it."""
    return Lab(tmp_path)


@pytest.fixture
def make_lab() -> Callable[[Path], Lab]:
    """For tests that need another place than ``tmp_path``."""
    return Lab


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the waiting for the disk where only names and contents are at stake."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def without_privileges(tmp_path: Path) -> Iterator[Path]:
    """A directory of a user whom permissions bind, and that user in charge of the process."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with _public_directory(tmp_path) as place:
        os.seteuid(NOBODY)
        try:
            yield place
        finally:
            os.seteuid(0)


@contextmanager
def _public_directory(tmp_path: Path) -> Iterator[Path]:
    # The user must be able to pass through the directories above, which belong to the superuser.
    closed = [path for path in (tmp_path, *tmp_path.parents) if path.stat().st_mode & 0o5 != 0o5]
    modes = [path.stat().st_mode for path in closed]
    for path in closed:
        path.chmod(0o755)
    place = tmp_path / "public"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    try:
        yield place
    finally:
        for path, mode in zip(closed, modes, strict=True):
            path.chmod(mode)
