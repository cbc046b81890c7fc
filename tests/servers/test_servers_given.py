"""A server from elsewhere, named by the environment: taken as it is said, or refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRET = "hunter2"
INFO: Mapping[str, Any] = {"host": "127.0.0.1", "port": 4321, "user": "root", "password": SECRET}
Asked = subprocess.CompletedProcess[str]


@pytest.fixture
def ask() -> Callable[..., Asked]:
    """Ask for MariaDB, which is not on every machine, in an environment that says something."""

    def ask(*words: str, **said: str) -> Asked:
        return subprocess.run(
            [sys.executable, "-m", "tools.servers", *(words or ("use", "mariadb"))],
            cwd=ROOT,
            env={"PATH": "", "PYTHONPATH": str(ROOT), **said},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return ask


def test_a_server_from_elsewhere_is_taken_as_it_is(ask: Callable[..., Asked]) -> None:
    """What the environment says is what the tests are told, and nothing is started."""
    done = ask(NEXUS_SERVER_MARIADB=json.dumps(INFO))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"name": "mariadb", **INFO}


def test_a_server_from_elsewhere_can_stand_in_a_file(
    ask: Callable[..., Asked], tmp_path: Path
) -> None:
    """The line that a server printed can be kept in a file, and the file be named."""
    kept = tmp_path / "mariadb.json"
    kept.write_text(json.dumps({"name": "mariadb", **INFO}), encoding="utf-8")
    assert json.loads(ask(NEXUS_SERVER_MARIADB=f"@{kept}").stdout) == {"name": "mariadb", **INFO}


def test_a_server_from_elsewhere_has_no_process_to_kill(ask: Callable[..., Asked]) -> None:
    """What only a server that was started here has is left out, so that no test acts on it."""
    own = {"pid": 1, "data": "elsewhere", "restart": ["mariadbd"]}
    done = ask(NEXUS_SERVER_MARIADB=json.dumps({**INFO, **own}))
    assert json.loads(done.stdout) == {"name": "mariadb", **INFO}


WRONG: Mapping[str, tuple[str, str]] = {
    "nothing": ("", "neither JSON nor @FILE"),
    "no JSON": (f"password={SECRET}", "neither JSON nor @FILE"),
    "JSON cut off": (f'{{"password": "{SECRET}"', "neither JSON nor @FILE"),
    "no object": (f'["{SECRET}"]', "no JSON object"),
    "no file": (f"@{SECRET}", "its file cannot be read"),
    "a field of nothing": (json.dumps({**INFO, "user": None}), "the field user is not a text"),
    "a field too many": (json.dumps({**INFO, "passwort": SECRET}), "the field passwort is unknown"),
    "a secret for a field": (json.dumps({**INFO, f"{SECRET} ": 1}), "the field with no field's"),
    "a port in words": (json.dumps({**INFO, "port": SECRET}), "the field port is not a whole"),
    "a port that is true": (json.dumps({**INFO, "port": True}), "the field port is not a whole"),
    "a port beyond": (json.dumps({**INFO, "port": 65536}), "the field port is no port"),
    "a host elsewhere": (json.dumps({**INFO, "host": SECRET}), "the field host is not 127.0.0.1"),
    "another server": (json.dumps({**INFO, "name": "postgres"}), "the field name is another"),
}


@pytest.mark.parametrize(("said", "named"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_and_no_value_told(
    said: str, named: str, ask: Callable[..., Asked]
) -> None:
    """A server that is said wrongly is refused by the variable and the field, without a value."""
    done = ask(NEXUS_SERVER_MARIADB=said)
    assert (done.returncode, done.stdout) == (3, "")
    assert "NEXUS_SERVER_MARIADB" in done.stderr
    assert named in done.stderr
    assert SECRET not in done.stderr


def test_everything_that_is_missing_is_named_at_once(ask: Callable[..., Asked]) -> None:
    """Of a server that says nothing, every field is asked for."""
    done = ask(NEXUS_SERVER_MARIADB="{}")
    assert done.returncode == 3
    assert [field for field in INFO if f"the field {field} is missing" not in done.stderr] == []


def test_a_variable_of_no_server_is_refused(ask: Callable[..., Asked]) -> None:
    """A misspelt name does not lead to a server being started in silence."""
    done = ask(NEXUS_SERVER_MARIA=json.dumps(INFO))
    assert (done.returncode, done.stdout) == (3, "")
    assert "NEXUS_SERVER_MARIA names no server" in done.stderr
    assert SECRET not in done.stderr


def test_a_server_from_elsewhere_is_not_installed(ask: Callable[..., Asked]) -> None:
    """Nothing is installed for a server that the environment names."""
    done = ask("install", "mariadb", NEXUS_SERVER_MARIADB=json.dumps(INFO))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "mariadb: NEXUS_SERVER_MARIADB names one\n"


def test_the_fixture_takes_a_server_from_elsewhere(tmp_path: Path) -> None:
    """A test that asks for a server gets the one that the environment names."""
    test = tmp_path / "test_it.py"
    wanted = {"name": "mariadb", **INFO}
    test.write_text(f"def test_it(server):\n    assert server('mariadb') == {wanted!r}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
         "--confcutdir", str(ROOT), "-p", "conftest", str(test)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NEXUS_SERVER_MARIADB": json.dumps(INFO)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
