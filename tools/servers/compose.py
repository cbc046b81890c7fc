"""The services of compose.yaml in Docker, and the conformance tests on each of them.

Ports are chosen free on the loopback interface, the credential is made for one run, and everything
goes when the tests are over. What the environment says of servers and accounts from elsewhere is
kept away from the tests.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.servers._kit import HOST, ServerError, find, free_port
from tools.servers._kit import run as run_program
from tools.servers.given import PREFIX, variable

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "compose.yaml"
SECRET: Final = "NEXUS_COMPOSE_SECRET"  # noqa: S105  # the variable's name
USER: Final = "nexus"
# What says where a server or an account of the user's own is.
FOREIGN: Final = (PREFIX, "NEXUS_LIVE_", "AWS_", "GOOGLE_")
ADVICE: Final = (
    "install Docker with its compose plugin; without it `tox run -e servers` runs the servers "
    "natively, and docs/servers.md says how to name servers of your own"
)
WAIT_SECONDS: Final = "300"

Ports = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Service:
    """A service of compose.yaml: its ports' variables, what tests are told of it, the tests."""

    ports: Sequence[str]
    told: Callable[[Ports, str], Mapping[str, str]]
    tests: str


def _server(name: str, **info: str | int) -> Mapping[str, str]:
    return {variable(name): json.dumps({"host": HOST, **info})}


def _minio(ports: Ports, secret: str) -> Mapping[str, str]:
    return {
        "NEXUS_LIVE_S3_BUCKET": "nexus-live",
        "NEXUS_LIVE_S3_ENDPOINT": f"http://{HOST}:{ports['NEXUS_COMPOSE_MINIO_PORT']}",
        "NEXUS_LIVE_S3_REGION": "us-east-1",
        "NEXUS_LIVE_S3_REALITY": "real",
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


def _fake_gcs(ports: Ports, secret: str) -> Mapping[str, str]:
    del secret  # it asks nobody who he is
    return {
        "NEXUS_LIVE_GCS_BUCKET": "nexus-live",
        "NEXUS_LIVE_GCS_ENDPOINT": f"http://{HOST}:{ports['NEXUS_COMPOSE_FAKE_GCS_PORT']}",
        "NEXUS_LIVE_GCS_PROJECT": "nexus-tests",
        "NEXUS_LIVE_GCS_LOCATION": "EU",
        "NEXUS_LIVE_GCS_REALITY": "emulator",
        "NEXUS_LIVE_GCS_IDENTITY": "anonymous",
    }


SERVICES: Final[Mapping[str, Service]] = {
    "fake-gcs-server": Service(
        ("NEXUS_COMPOSE_FAKE_GCS_PORT",), _fake_gcs, "plugins/gcs/tests/live_gcs.py"
    ),
    "mariadb": Service(
        ("NEXUS_COMPOSE_MARIADB_PORT",),
        lambda ports, secret: _server(
            "mariadb", port=ports["NEXUS_COMPOSE_MARIADB_PORT"], user="root", password=secret
        ),
        "plugins/sql/tests/mariadb/test_mariadb_conformant.py",
    ),
    "minio": Service(("NEXUS_COMPOSE_MINIO_PORT",), _minio, "plugins/s3/tests/live_s3.py"),
    "postgres": Service(
        ("NEXUS_COMPOSE_POSTGRES_PORT",),
        lambda ports, secret: _server(
            "postgres", port=ports["NEXUS_COMPOSE_POSTGRES_PORT"], user="postgres", password=secret
        ),
        "plugins/sql/tests/postgresql/test_postgresql_conformant.py",
    ),
    "weaviate": Service(
        ("NEXUS_COMPOSE_WEAVIATE_PORT", "NEXUS_COMPOSE_WEAVIATE_GRPC_PORT"),
        lambda ports, secret: _server(
            "weaviate",
            port=ports["NEXUS_COMPOSE_WEAVIATE_PORT"],
            grpc_port=ports["NEXUS_COMPOSE_WEAVIATE_GRPC_PORT"],
            key=secret,
        ),
        "plugins/weaviate/tests/test_weaviate_conformant.py",
    ),
}


def run(names: Sequence[str], more: Sequence[str]) -> int:
    """Run services, all unless some are named, and their tests; pytest's exit code.

    Raises ``ServerError`` where there is no Docker, or where a service does not become healthy.
    """
    chosen = sorted(names or SERVICES)
    docker = find("docker", ADVICE)
    try:
        run_program([docker, "compose", "version"])
    except ServerError as error:
        raise ServerError(f"Docker has no compose here: {ADVICE}\n{error}") from None
    ports = {port: free_port() for each in SERVICES.values() for port in each.ports}
    secret = secrets.token_hex(16)
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    own |= {SECRET: secret, **{name: str(port) for name, port in ports.items()}}
    project = f"nexus-tests-{secrets.token_hex(4)}"
    command = [docker, "compose", "--file", str(FILE), "--project-name", project]
    try:
        up = [*command, "up", "--wait", "--wait-timeout", WAIT_SECONDS, *chosen]
        if subprocess.run(up, cwd=ROOT, env=own, check=False).returncode:
            subprocess.run([*command, "logs", "--tail", "40"], cwd=ROOT, env=own, check=False)
            raise ServerError("not all services became healthy; Docker says why above")
        return _tests(chosen, own, ports, secret, more)
    finally:
        subprocess.run([*command, "down", "--volumes"], cwd=ROOT, env=own, check=False)


def _tests(
    chosen: Sequence[str],
    own: Mapping[str, str],
    ports: Ports,
    secret: str,
    more: Sequence[str],
) -> int:
    environment = {"NEXUS_REPORTS": str(ROOT / "build" / "compose"), **own}
    del environment[SECRET]
    for name in chosen:
        environment |= SERVICES[name].told(ports, secret)
    # Whatever its mark: a service was asked for by name.
    pytest = [sys.executable, "-m", "pytest", "-o", "faulthandler_timeout=0", "-m", ""]
    pytest += [
        "--show-capture=stderr",
        "-k",
        "is_conformant",
        *(SERVICES[name].tests for name in chosen),
        *more,
    ]
    return subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode
