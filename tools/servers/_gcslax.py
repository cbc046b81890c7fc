"""The wheel ``gcp-storage-emulator``: it speaks of generations and preconditions, and ignores them.

It lives in a virtual environment of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.servers import _kit

VERSION = "2026.7.19"
ADVICE = "install it with `python -m tools.servers install gcslax`"
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nexus-servers"
ENVIRONMENT = HOME / f"gcslax-{VERSION}-{sys.version_info[0]}.{sys.version_info[1]}"

NEEDS: Mapping[str, type] = {"host": str, "port": int, "endpoint": str, "project": str}
OWN: Mapping[str, type] = {}


def install() -> None:
    """Get it into its own environment, in the user's cache folder."""
    if (ENVIRONMENT / "ready").exists():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    python = ENVIRONMENT / "bin" / "python"
    _kit.run([python, "-m", "pip", "install", "--quiet", f"gcp-storage-emulator=={VERSION}"])
    (ENVIRONMENT / "ready").touch()


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """An empty emulator that keeps everything in memory and asks nobody who he is."""
    if not (ENVIRONMENT / "ready").exists():
        raise _kit.ServerError(f"gcp-storage-emulator is not on this machine: {ADVICE}")
    port = _kit.free_port()
    log = directory / "log"
    program = ENVIRONMENT / "bin" / "gcp-storage-emulator"
    command: list[str | Path] = [
        program,
        "start",
        "--host",
        _kit.HOST,
        "--port",
        str(port),
        "-q",
        "-M",
    ]
    with _kit.process(command, log, cwd=directory) as child:
        _kit.wait_until(lambda: _kit.connects(port), child, log)
        yield {
            "host": _kit.HOST,
            "port": port,
            "endpoint": f"http://{_kit.HOST}:{port}",
            "project": "nexus-tests",
        }
