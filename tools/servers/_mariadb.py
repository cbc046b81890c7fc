"""MariaDB from Debian's packages, with a data directory of its own and no service started."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.servers import _kit

ADVICE = "install it with `apt-get install mariadb-server`"
# Durability is a setting that the store insists on, so it is on here; what slows starting is off.
SETTINGS = (
    "innodb-flush-log-at-trx-commit=1",
    "innodb-buffer-pool-size=64M",
    "innodb-log-file-size=32M",
    "max-allowed-packet=16M",
    "max-connections=100",
    "skip-log-bin",
    "skip-name-resolve",
)

NEEDS: Mapping[str, type] = {"host": str, "port": int, "user": str, "password": str}
OWN: Mapping[str, type] = {"pid": int, "data": str, "restart": list}


def install() -> None:
    """Get the packages. Where a policy lets packages start services, the service is stopped."""
    try:
        _kit.find("mariadbd", ADVICE)
        _kit.find("mariadb-install-db", ADVICE)
    except _kit.ServerError:
        _kit.apt("mariadb-server")


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """A fresh server; ``user`` and ``password`` are its superuser's.

    ``restart`` is a command line that starts it anew over the same files, for a test that
    has killed it and stops it again.
    """
    program = _kit.find("mariadbd", ADVICE)
    # As the machine's superuser it would change to the user that a configuration names.
    user = ["--user=root"] if os.geteuid() == 0 else []
    data = directory / "data"
    password = secrets.token_hex(12)
    _kit.run(
        [
            *(_kit.find("mariadb-install-db", ADVICE), "--no-defaults", f"--datadir={data}", *user),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
        ],
        cwd=directory,
    )
    first = directory / "first.sql"
    first.write_text(
        f"ALTER USER root@localhost IDENTIFIED BY '{password}';\n"
        f"CREATE OR REPLACE USER root@'{_kit.HOST}' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO root@'{_kit.HOST}' WITH GRANT OPTION;\n",
        encoding="utf-8",
    )
    first.chmod(0o600)
    port = _kit.free_port()
    log = directory / "log"
    # A socket's path has little room, so it is relative to the data.
    command = [
        *(program, "--no-defaults", f"--datadir={data}", *user, f"--port={port}"),
        *(f"--bind-address={_kit.HOST}", "--socket=socket", f"--pid-file={directory / 'pid'}"),
        *(f"--{setting}" for setting in SETTINGS),
    ]
    with _kit.process([*command, f"--init-file={first}"], log, cwd=directory) as child:
        _kit.wait_until(lambda: _greets(port), child, log)
        yield {
            "host": _kit.HOST,
            "port": port,
            "user": "root",
            "password": password,
            "pid": child.pid,
            "data": str(data),
            "restart": command,
        }


def _greets(port: int) -> bool:
    """Whether a server says the first word there, which it does when it is ready."""
    with socket.create_connection((_kit.HOST, port), timeout=1) as connection:
        return b"MariaDB" in connection.recv(256)
