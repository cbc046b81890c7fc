"""compose.yaml is closed and whole, and the command that runs it tests what it starts, and ends it.

There need be no Docker here: a program that writes down what it is told stands in for it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = """#!/bin/sh
echo "$*" >> {log}
case " $* " in *" up "*)
    env | grep ^NEXUS_COMPOSE_ >> {variables}
    exit {code};;
esac
"""
# Writes down what the tests are told.
PLUGIN = """
import json, os, pathlib
FOREIGN = ("NEXUS_", "AWS_", "GOOGLE_")
told = {name: value for name, value in os.environ.items() if name.startswith(FOREIGN)}
pathlib.Path(os.environ["TOLD"]).write_text(json.dumps(told))
"""
Composed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of compose.yaml."""
    yaml: Any = import_module("yaml")
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return dict(found["services"])


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """What the command knows of each service, told by a Python that can import it."""
    program = """
import json
from tools.servers.compose import SERVICES
from tools.servers.__main__ import NAMES
ports = {port: 1 for each in SERVICES.values() for port in each.ports}
print(json.dumps({
    "servers": NAMES,
    "services": {
        name: {"ports": each.ports, "told": each.told(ports, "s"), "tests": each.tests}
        for name, each in SERVICES.items()
    },
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def images(service: dict[str, Any]) -> list[str]:
    """Every image that a service is, or is built from."""
    steps = service.get("build", {}).get("dockerfile_inline", "")
    return [service["image"], *re.findall(r"^FROM (\S+)", steps, re.MULTILINE)]


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    """No image is taken without a tag, or by one that says only that it is new."""
    found = [image for service in services.values() for image in images(service)]
    assert len(found) > len(services)
    assert [image for image in found if not re.search(r":v?\d[\w.-]*$", image)] == []


def test_every_port_is_on_the_loopback_interface(services: dict[str, Any]) -> None:
    """Each service can be reached from this machine alone, at ports that the command gives."""
    form = re.compile(r"127\.0\.0\.1:\$\{(NEXUS_COMPOSE_\w+_PORT):\?[^}]+\}:\d+")
    assert {
        name: service["ports"]
        for name, service in services.items()
        if not service["ports"] or not all(map(form.fullmatch, service["ports"]))
    } == {}
    assert [name for name in services if "network_mode" in services[name]] == []


def test_every_service_is_whole(services: dict[str, Any]) -> None:
    """Each says when it is healthy and keeps its data in memory; nothing has a default."""
    for service in services.values():
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
        assert service.get("volumes") is None
        assert service.get("tmpfs") or "-backend=memory" in service["command"]
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"\$\{?([^}]*)", text) if ":?" not in name] == []


def test_every_service_that_can_asks_for_the_credential(services: dict[str, Any]) -> None:
    """All but the emulator, which knows no credentials, are given the one of the run."""
    open_to_all = [
        name for name, each in services.items() if "NEXUS_COMPOSE_SECRET" not in str(each)
    ]
    assert open_to_all == ["fake-gcs-server"]
    assert services["weaviate"]["environment"]["DISABLE_TELEMETRY"] == "true"
    assert services["weaviate"]["environment"]["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] == "false"


def test_every_service_is_tested(services: dict[str, Any], table: dict[str, Any]) -> None:
    """The command knows each service, its ports, and tests that ask for what it is told of it."""
    assert sorted(services) == sorted(table["services"])
    for name, known in table["services"].items():
        asked = {re.split(r"[{:]", port)[2] for port in services[name]["ports"]}
        assert asked == set(known["ports"])
        folder = (ROOT / known["tests"]).parent
        texts = (ROOT / known["tests"]).read_text() + (folder / "conftest.py").read_text()
        assert "is_conformant" in texts
        for variable in known["told"]:
            server = variable.removeprefix("NEXUS_SERVER_").lower()
            asked_for = f'server("{server}")' if server in table["servers"] else f'"{variable}"'
            assert asked_for in texts


@pytest.fixture
def composed(tmp_path: Path) -> Composed:
    """Run the command with the stand-in; pytest only says which tests it would run."""
    (tmp_path / "told_plugin.py").write_text(PLUGIN)

    def composed(*names: str, up: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        docker = tmp_path / "docker"
        log, variables = tmp_path / "log", tmp_path / "variables"
        docker.write_text(DOCKER.format(log=log, variables=variables, code=up))
        docker.chmod(0o755)
        command = [sys.executable, "-m", "tools.servers", "compose", *names, "--"]
        return subprocess.run(
            [*command, "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "told_plugin"],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
                "TOLD": str(tmp_path / "told"),
                **more,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return composed


def test_the_command_starts_tests_and_removes(composed: Composed, tmp_path: Path) -> None:
    """Services come up healthy, their conformance tests run, and all goes with its volumes."""
    done = composed("minio", "weaviate")
    assert done.returncode == 0, done.stderr
    version, up, down = (tmp_path / "log").read_text().splitlines()
    project = re.escape(re.findall(r"--project-name (nexus-tests-\w{8}) ", up)[0])
    start = rf"compose --file {re.escape(str(ROOT))}/compose\.yaml --project-name {project}"
    assert version == "compose version"
    assert re.fullmatch(rf"{start} up --wait --wait-timeout \d+ minio weaviate", up)
    assert re.fullmatch(rf"{start} down --volumes", down)
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert [line.partition("::")[0] for line in collected] == [
        "plugins/s3/tests/live_s3.py",
        "plugins/weaviate/tests/test_weaviate_conformant.py",
    ]


def test_the_command_tells_tests_what_it_tells_docker(composed: Composed, tmp_path: Path) -> None:
    """The tests get ports and credential of the run, and nothing of what else the shell knows."""
    shell = {"AWS_SESSION_TOKEN": "mine", "NEXUS_SERVER_POSTGRES": "mine", "GOOGLE_X": "mine"}
    assert composed("minio", "mariadb", **shell).returncode == 0
    lines = (tmp_path / "variables").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    secret = given.pop("NEXUS_COMPOSE_SECRET")
    assert len(secret) >= 32
    assert len(set(given.values())) == len(given)
    told = json.loads((tmp_path / "told").read_text())
    port = given["NEXUS_COMPOSE_MINIO_PORT"]
    assert told["NEXUS_LIVE_S3_ENDPOINT"] == f"http://127.0.0.1:{port}"
    assert told["AWS_SECRET_ACCESS_KEY"] == secret
    assert json.loads(told["NEXUS_SERVER_MARIADB"]) == {
        "host": "127.0.0.1",
        "port": int(given["NEXUS_COMPOSE_MARIADB_PORT"]),
        "user": "root",
        "password": secret,
    }
    assert not {*shell, "NEXUS_COMPOSE_SECRET", "NEXUS_LIVE_GCS_BUCKET"} & set(told)


def test_a_service_that_does_not_come_up_ends_the_run(composed: Composed, tmp_path: Path) -> None:
    """No test runs then; Docker's log is shown, all is removed, and the exit code says so."""
    done = composed(up=1)
    assert done.returncode == 3
    assert "not all services became healthy" in done.stderr
    assert not (tmp_path / "told").exists()
    verbs = [line.split()[5:6] for line in (tmp_path / "log").read_text().splitlines()]
    assert verbs == [[], ["up"], ["logs"], ["down"]]


def test_without_docker_it_says_what_to_do() -> None:
    """A machine without Docker is told so, and how to run the tests without it."""
    done = subprocess.run(
        [sys.executable, "-c", MISSING],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "the program docker is not on this machine" in done.stderr
    assert "tox run -e servers" in done.stderr


# Nothing is to be found on this machine, wherever Docker may be on it.
MISSING = """
import shutil, sys
shutil.which = lambda *_, **__: None
sys.argv = ["tools.servers", "compose"]
from tools.servers.__main__ import main
sys.exit(main())
"""
