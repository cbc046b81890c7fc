"""LocalStack's emulator of S3 and STS, in a virtual environment of its own.

It is kept at versions of one day, because it does not start with newer ones of what it stands on.
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

HERE = Path(__file__).parent
VERSION = "4.12.0"
ADVICE = "install it with `python -m tools.servers install localstack`"
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nexus-servers"
ENVIRONMENT = HOME / f"localstack-{VERSION}-{sys.version_info[0]}.{sys.version_info[1]}"

NEEDS: Mapping[str, type] = {
    "host": str,
    "port": int,
    "region": str,
    "access_key": str,
    "secret_key": str,
    "role_arn": str,
}
OWN: Mapping[str, type] = {}


def install() -> None:
    """Get it into its own environment, in the user's cache folder."""
    if (ENVIRONMENT / "ready").exists():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    _kit.run(
        [
            *(ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet"),
            *(f"localstack-core[base-runtime]=={VERSION}", "-c", HERE / "localstack.txt"),
        ]
    )
    (ENVIRONMENT / "ready").touch()


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """A fresh emulator. It takes any credentials and keeps objects in the server's directory."""
    if not (ENVIRONMENT / "ready").exists():
        raise _kit.ServerError(f"LocalStack is not on this machine: {ADVICE}")
    port = _kit.free_port()
    log = directory / "log"
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "SERVICES": "s3,sts",
        "GATEWAY_LISTEN": f"{_kit.HOST}:{port}",
        # The default one listens on all interfaces whatever it is told, and believes that it is in
        # a container.
        "GATEWAY_SERVER": "hypercorn",
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": str(directory),
        "LOCALSTACK_VOLUME_DIR": str(directory / "volume"),
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "EAGER_SERVICE_LOADING": "1",
        "PERSISTENCE": "0",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "STRICT_SERVICE_LOADING": "1",
    }
    command = (ENVIRONMENT / "bin" / "python", "-m", "localstack.runtime.main")
    with _kit.process(command, log, cwd=directory, env=environment) as child:
        _kit.wait_until(lambda: "Ready." in log.read_text(errors="replace"), child, log)
        yield {
            "host": _kit.HOST,
            "port": port,
            "region": "us-east-1",
            "access_key": "test",
            "secret_key": "test",
            "role_arn": "arn:aws:iam::000000000000:role/nexus-scopes",
        }
