"""Weaviate, built from its Go module: no registry of programs has it.

Weaviate has no setting for the interface of its gRPC port and of its cluster's data port; both are
on all of them, the first behind the key, the second behind a password of this run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.servers import _kit

VERSION = "1.38.11"
MODULE = "github.com/weaviate/weaviate"
ADVICE = (
    "install Go 1.26 or newer and run `python -m tools.servers install weaviate` (some minutes, "
    f"4 GB of caches), or run the image semitechnologies/weaviate:{VERSION} elsewhere"
)
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nexus-servers"
PROGRAM = HOME / f"weaviate-{VERSION}" / "weaviate-server"

NEEDS: Mapping[str, type] = {"host": str, "port": int, "grpc_port": int, "key": str}
OWN: Mapping[str, type] = {"version": str, "pid": int}


def install() -> None:
    """Build it into the user's cache folder."""
    if PROGRAM.exists():
        return
    go = _kit.find("go", ADVICE, "/usr/local/go/bin")
    unfinished = PROGRAM.parent.with_suffix(".unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "HOME": str(Path.home()),  # where Go keeps what it built, also where tox hides it
        "GOBIN": str(unfinished),
        "CGO_ENABLED": "0",
        "GOFLAGS": f"-trimpath {os.environ.get('GOFLAGS', '')}".strip(),
    }
    # A build from the module does not know its version, which clients ask for.
    flags = f"-s -w -X {MODULE}/usecases/build.Version={VERSION}"
    command = [go, "install", "-ldflags", flags, f"{MODULE}/cmd/weaviate-server@v{VERSION}"]
    _kit.run(command, env=environment)
    shutil.rmtree(PROGRAM.parent, ignore_errors=True)
    unfinished.rename(PROGRAM.parent)


def _two_ports() -> tuple[int, int]:
    # A node on the loopback interface takes for granted that its peers' second port is the next.
    while True:
        first = _kit.free_port()
        with contextlib.suppress(OSError, OverflowError), socket.socket() as probe:
            probe.bind((_kit.HOST, first + 1))
            return first, first + 1


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """A fresh server of one node, with one key and no modules."""
    if not PROGRAM.exists():
        raise _kit.ServerError(f"Weaviate is not on this machine: {ADVICE}")
    port, grpc = _kit.free_port(), _kit.free_port()
    gossip, data = _two_ports()
    raft, raft_rpc = _two_ports()
    key = secrets.token_urlsafe(24)
    log = directory / "log"
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PERSISTENCE_DATA_PATH": str(directory / "data"),
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
        "AUTHENTICATION_APIKEY_USERS": "nexus",
        "AUTHORIZATION_ADMINLIST_ENABLED": "true",
        "AUTHORIZATION_ADMINLIST_USERS": "nexus",
        "AUTOSCHEMA_ENABLED": "false",
        "CLUSTER_ADVERTISE_ADDR": _kit.HOST,
        "CLUSTER_BASIC_AUTH_PASSWORD": secrets.token_urlsafe(24),
        "CLUSTER_BASIC_AUTH_USERNAME": "nexus",
        "CLUSTER_BIND_ADDR": _kit.HOST,
        "CLUSTER_DATA_BIND_PORT": str(data),
        "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
        "CLUSTER_HOSTNAME": "one",
        "CLUSTER_IN_LOCALHOST": "true",
        "DEFAULT_VECTORIZER_MODULE": "none",
        "DISABLE_TELEMETRY": "true",
        "DISK_USE_READONLY_PERCENTAGE": "0",
        "DISK_USE_WARNING_PERCENTAGE": "0",
        "ENABLE_API_BASED_MODULES": "false",
        "ENABLE_MODULES": "",
        "GO_PROFILING_DISABLE": "true",
        "GRPC_PORT": str(grpc),
        "LOG_LEVEL": "warning",
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "RAFT_BOOTSTRAP_TIMEOUT": "30",
        "RAFT_ELECTION_TIMEOUT": "1",
        "RAFT_HEARTBEAT_TIMEOUT": "1",
        "RAFT_INTERNAL_RPC_PORT": str(raft_rpc),
        "RAFT_JOIN": f"one:{raft}",
        "RAFT_PORT": str(raft),
    }
    command = (PROGRAM, "--host", _kit.HOST, "--port", str(port), "--scheme", "http")
    with _kit.process(command, log, cwd=directory, env=environment) as child:
        ready = f"http://{_kit.HOST}:{port}/v1/.well-known/ready"

        def answers() -> bool:
            with urllib.request.urlopen(ready, timeout=1) as answer:
                return bool(answer.status == 200) and _kit.connects(grpc)

        _kit.wait_until(answers, child, log)
        yield {
            "host": _kit.HOST,
            "port": port,
            "grpc_port": grpc,
            "key": key,
            "version": VERSION,
            "pid": child.pid,
        }
