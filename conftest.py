"""What holds for every test of the checkout: no skips, the same examples in every run, servers,
and what a backend must show on one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Random examples find a bug in somebody else's change; a deadline finds a busy machine.
hypothesis.settings.register_profile("nexus", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("nexus")

ROOT = Path(__file__).parent


def _start(name: str, stack: contextlib.ExitStack) -> Mapping[str, Any]:
    # Found by path and not installed, so also where the checkout is kept off the search path.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(  # noqa: S603 - a program of this checkout
        [sys.executable, "-m", "tools.servers", "use", name],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.enter_context(child)
    assert child.stdin is not None
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the server {name} was asked for and is not there; it says why above")
    info: Mapping[str, Any] = json.loads(line)
    return info


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[str], Mapping[str, Any]]]:
    """Start a real server by its name in ``tools/servers``, once; it stops after the last test.

    Where ``NEXUS_SERVER_<NAME>`` says where one from elsewhere is, it is that one.
    """
    started: dict[str, Mapping[str, Any]] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Mapping[str, Any]:
            if name not in started:
                started[name] = _start(name, stack)
            return started[name]

        yield start


@pytest.fixture
def conformant(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Hold a backend to the whole suite, by its harness and the name of what stands behind it.

    Gives the report. Where ``NEXUS_REPORTS`` names a folder, the report is kept there, in a folder
    of its server's name. ``untried`` are ids of what cannot be tried there. The test that asks is
    called ``…_is_conformant…``, by which ``tox run -e servers`` finds the tests that need no server
    of their own.
    """
    assert "is_conformant" in request.node.name

    def certify(harness: Any, on: str, untried: Collection[str] = ()) -> Any:
        from nexus_contracts import run, verify_report
        from nexus_contracts._verdict import Status

        report = run(harness)
        if folder := os.environ.get("NEXUS_REPORTS"):
            report.write(Path(folder) / on)
        wrong = report.of_status(Status.FAILED, Status.ERROR, Status.INDETERMINATE, Status.NOT_RUN)
        assert [(line.id, line.message) for line in wrong if line.id not in untried] == []
        assert report.conformant or untried, report.verdict
        assert verify_report(report.to_json()) == report
        return report

    return certify


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in which a backend is held to the whole suite come first: they take longest, and what
    begins last is waited for by all others. Within a file nothing changes its place."""
    long = {item.path for item in items if "conformant" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips, or is expected to fail, fails."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        # With this mark a failure would be shown, and not be counted.
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself fails."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
    return report
