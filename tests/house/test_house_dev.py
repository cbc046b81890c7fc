"""The command for working on the checkout: it installs all, once, and says what is wrong."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def checkout(root: Path, tmp_path: Path, distributions: dict[str, Any]) -> Path:
    """A copy of what the command reads of a checkout."""
    for folder in distributions:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(root / folder / "pyproject.toml", tmp_path / folder)
    shutil.copytree(root / "requirements", tmp_path / "requirements")
    shutil.copy(root / "dev.py", tmp_path)
    return tmp_path


@pytest.fixture
def dev(checkout: Path) -> ModuleType:
    """The command's module, in a copy of the checkout."""
    found = importlib.util.spec_from_file_location("dev_under_test", checkout / "dev.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(checkout / "dev.py"), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_needs_nothing_but_python(root: Path) -> None:
    """The command imports the standard library only, and can be read by Pythons that it refuses."""
    text = (root / "dev.py").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    modules = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
    }
    assert modules <= sys.stdlib_module_names
    top = {
        name for node in tree.body if isinstance(node, ast.Import) for name in [node.names[0].name]
    }
    assert "tomllib" not in top


def test_it_finds_every_distribution(dev: ModuleType, checkout: Path, distributions: Any) -> None:
    """It installs the core, the suite, and every plugin that has a pyproject, the core first."""
    found = [path.relative_to(checkout).as_posix() for path in dev.distributions()]
    assert found[:2] == [".", "contracts"]
    assert sorted(found) == sorted(distributions)


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "contracts/pyproject.toml", "requirements/test.txt"]
)
def test_it_notices_a_change(dev: ModuleType, checkout: Path, path: str) -> None:
    """A change of any pyproject or requirement, and a new plugin, call for a new installation."""
    before = dev.fingerprint(oldest=False)
    assert dev.fingerprint(oldest=False) == before
    assert dev.fingerprint(oldest=True) != before
    file = checkout / path
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    changed = dev.fingerprint(oldest=False)
    assert changed != before
    (checkout / "plugins" / "added").mkdir(parents=True)
    (checkout / "plugins" / "added" / "pyproject.toml").touch()
    assert dev.fingerprint(oldest=False) not in (before, changed)


def test_it_installs_once(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second installation of the same does nothing, and one more group is installed with all."""
    commands: list[list[str]] = []

    def record(_log: Path, _what: str, *command: object) -> None:
        commands.append([str(part) for part in command])

    monkeypatch.setattr(dev, "run_logged", record)
    environment = dev.Environment(tmp_path)
    for _ in range(2):
        environment.install({"test"})
    assert len(commands) == 1
    environment.install({"check"})
    assert len(commands) == 2
    assert f"{dev.ROOT}[cli]" in commands[0]
    assert [part for part in commands[0] if part.endswith("]")] == [f"{dev.ROOT}[cli]"]
    for path in dev.distributions():
        assert commands[0].count("-e") == len(dev.distributions())
        assert any(part.startswith(str(path)) for part in commands[0])
    for group in ("test", "check"):
        assert any(part.endswith(f"{group}.txt") for part in commands[1])


def test_wheels_want_a_new_environment(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheels are never installed over what is there, where pip would keep an older one."""
    monkeypatch.setattr(dev, "run_logged", lambda *_: None)
    environment = dev.Environment(tmp_path)
    environment.install({"test"})
    with pytest.raises(dev.SetupError, match="new environment"):
        environment.install({"test"}, wheels=True)


def test_a_failing_step_shows_its_last_lines(dev: ModuleType, tmp_path: Path) -> None:
    """When pip or another program fails, the error has its exit code and its last lines."""
    lines = ["first", *map(str, range(99)), "why"]
    code = f"print(*{lines}, sep=chr(10)); raise SystemExit(3)"
    with pytest.raises(dev.SetupError) as caught:
        dev.run_logged(tmp_path / "log", "pip", sys.executable, "-c", code)
    text = str(caught.value)
    assert "pip failed with exit code 3" in text
    assert "why" in text
    assert "first" not in text
    assert "first" in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("theirs", [[], ["-x"]], ids=repr)
def test_tests_run_on_all_cores_unless_asked_otherwise(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, theirs: list[str]
) -> None:
    """The whole of the tests runs on every core, and what was asked of pytest is all it is told."""
    asked: list[tuple[Any, ...]] = []

    def run(*command: Any) -> int:
        asked.append(command)
        return 0

    monkeypatch.setattr(dev.Environment, "make", lambda _: None)
    monkeypatch.setattr(dev.Environment, "install", lambda *_: None)
    monkeypatch.setattr(dev, "run", run)
    assert dev.main(["test", *theirs]) == 0
    [(_, *told)] = asked
    assert told == (theirs or ["-n", "auto", "--dist", "worksteal"])


def test_an_old_python_is_named(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Python that is too old it says which is needed and which this is."""
    monkeypatch.setattr(dev.sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(dev.SetupError, match=r"Python 3\.11 or newer is needed, and this is 3\."):
        dev.main(["test"])
    assert not dev.VENV.exists()


def test_a_python_that_cannot_make_environments_is_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the module venv or ensurepip it says so, and how to get it."""
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(dev.SetupError, match=r"(?s)'ensurepip'.*apt install python3-venv"):
        dev.main(["test"])


def test_a_broken_environment_is_an_error_and_not_a_trace(checkout: Path) -> None:
    """A failure of the installation ends with one message and exit code 2."""
    scripts = checkout / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    scripts.mkdir(parents=True)
    fake = scripts / ("python.exe" if os.name == "nt" else "python")
    fake.write_text("#!/bin/sh\necho 'no pip here' >&2\nexit 9\n", encoding="utf-8")
    fake.chmod(0o755)
    done = run(checkout, "install")
    assert done.returncode == 2
    assert "pip failed with exit code 9" in done.stderr
    assert "no pip here" in done.stderr
    assert "Traceback" not in done.stderr


def test_arguments_reach_pytest_untouched(dev: ModuleType) -> None:
    """Whatever follows ``test`` belongs to pytest, options and further commands included."""
    options, rest = dev.parse(["--here", "test", "-x", "-k", "test and not check", "--", "--here"])
    assert (options.here, options.command) == (True, "test")
    assert rest == ["-x", "-k", "test and not check", "--", "--here"]
    options, rest = dev.parse(["quickstart", "some folder"])
    assert (options.command, rest) == ("quickstart", ["some folder"])
    assert dev.parse(["check", "types"])[0].what == "types"


@pytest.mark.parametrize("arguments", [[], ["tset"], ["check", "spelling"], ["install", "x"]])
def test_a_misspelt_command_is_refused(checkout: Path, arguments: list[str]) -> None:
    """An unknown command or option is refused with the usage, and nothing is made."""
    done = run(checkout, *arguments)
    assert done.returncode == 2
    assert "usage: dev.py" in done.stderr
    assert not (checkout / ".venv").exists()


def test_the_readmes_commands_are_these(root: Path) -> None:
    """Every ``dev.py`` command that a page shows is one that the script has."""
    parser = (root / "dev.py").read_text(encoding="utf-8")
    for page in ("README.md", "CONTRIBUTING.md"):
        shown = re.findall(r"python3 dev\.py (\w+)", (root / page).read_text(encoding="utf-8"))
        assert "test" in shown
        for command in shown:
            assert f'commands.add_parser("{command}"' in parser
