"""Running the command in a folder of its own with nothing inherited: as a process, or in this one.

Both give the same; a process pays for its imports each time, so what needs no process of its own is
run in this one, through the same ``main``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import pytest

from nexus_core._cli.main import main

SCOPE = {
    "NEXUS_TENANT": "acme",
    "NEXUS_ENV": "dev",
    "NEXUS_ACTOR": "tester",
    "NEXUS_ACTOR_KIND": "human",
    "NEXUS_ROLE": "owner",
}


@attrs.frozen
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The one JSON document that it wrote."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines that it wrote."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ended]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without anything that Nexus reads, and what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    return {**kept, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error", **SCOPE, **extra}


def runner(folder: Path) -> Run:
    """A function that runs ``nexus`` in a folder, as the owner of acme/dev unless told."""

    def run(*arguments: str | Path, **extra: str) -> Ended:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            mock.patch.dict(os.environ, environment(extra), clear=True),
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else -1
        return Ended(code, *(_text(stream) for stream in (out, err)))

    return run


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def process(folder: Path) -> Run:
    """The same, in a process of its own; ``preexec`` is called in it before it begins."""

    def run(
        *arguments: str | Path, preexec: Callable[[], None] | None = None, **extra: str
    ) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "nexus_core", *map(str, arguments)],
            cwd=folder,
            env=environment(extra),
            capture_output=True,
            check=False,
            preexec_fn=preexec,  # no threads here; the test drops a privilege
            timeout=120,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return run


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``nexus init`` leaves it; to be copied, not used."""
    folder = tmp_path_factory.mktemp("fresh")
    ended = process(folder)("init")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def deployment(fresh: Path, tmp_path: Path) -> Path:
    """A deployment of the test's own."""
    folder = tmp_path / "deployment"
    shutil.copytree(fresh, folder)
    return folder


@pytest.fixture
def nexus(deployment: Path) -> Run:
    """The command, run in the test's own deployment."""
    return runner(deployment)


@pytest.fixture
def nexus_process(deployment: Path) -> Run:
    """The command as a process, run in the test's own deployment."""
    return process(deployment)


@pytest.fixture
def nexus_in() -> Callable[[Path], Run]:
    """The command, to be run in a folder that the test names."""
    return runner


@pytest.fixture
def process_in() -> Callable[[Path], Run]:
    """The command as a process, to be run in a folder that the test names."""
    return process


@pytest.fixture(scope="session")
def filled(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command in a deployment with two notes of acme's; for tests that only read it."""
    folder = tmp_path_factory.mktemp("filled") / "deployment"
    shutil.copytree(fresh, folder)
    notes = folder / "notes"
    notes.mkdir()
    (notes / "travel.md").write_text("# Travel\n\nThe board approves every journey by rail.\n")
    (notes / "food.txt").write_text("The kitchen closes at nine.\n")
    ended = process(folder)("ingest", "notes", "--kind", "data", "--space", "house")
    assert ended.code == 0, ended.err
    return runner(folder)
