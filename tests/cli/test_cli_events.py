"""Events on the command line: listed, and carried away over kills, by several relays at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import environment

Run = Callable[..., Any]

DYING = """
import os, signal, sys
from nexus_core import JsonLinesExporter, Nexus, RequestContext

class Dying(JsonLinesExporter.__bases__[0]):
    '''Delivers for good, and is killed before anybody hears of it.'''
    def __init__(self):
        self.file, self.batches = JsonLinesExporter("lake.jsonl"), 0
    def export(self, events):
        self.file.export(events)
        self.batches += 1
        if self.batches == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)

context = RequestContext.build(
    tenant_id="acme", env="dev", actor_id="relay", actor_kind="system", role="owner"
)
with Nexus.open() as nexus, nexus.request(context) as n:
    report = n.events.relay({"lake": Dying()}, batch=2)
    assert report.ok, report
"""


@pytest.fixture
def exporting(deployment: Path, nexus: Run) -> Run:
    """The command in a deployment with two exporters and a dozen events."""
    with (deployment / "nexus.toml").open("a") as config:
        config.write('[exporters.lake]\nformat = "jsonl"\npath = "lake.jsonl"\n')
        config.write('[exporters.lineage]\nformat = "openlineage"\npath = "lineage.jsonl"\n')
    for number in range(4):
        (deployment / f"note{number}.txt").write_text(f"Note {number} is about parcels.\n")
        ended = nexus("ingest", f"note{number}.txt", "--kind", "data", "--space", "house")
        assert ended.code == 0, ended.err
    return nexus


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_relay_delivers_everything_once_to_every_exporter(deployment: Path, exporting: Run) -> None:
    """Each configured exporter gets every event in order; a second run has nothing to do."""
    ended = exporting("events", "relay", "--once", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert [(r["exporter"], r["delivered"], r["error"]) for r in ended.lines] == [
        ("lake", 12, None),
        ("lineage", 12, None),
    ]
    events = lines(deployment / "lake.jsonl")
    assert [event["sequence"] for event in events] == list(range(1, 13))
    assert [event["action"] for event in events[:3]] == ["asset.put", "atom.put", "ingest"]
    assert {run["job"]["namespace"] for run in lines(deployment / "lineage.jsonl")} == {
        "nexus/dev/acme"
    }
    again = exporting("events", "relay", "--once", "--scope", "acme/dev", "--exporter", "lake")
    assert again.out == "acme/dev lake: 0 events delivered, up to no 12\n"
    assert len(lines(deployment / "lake.jsonl")) == 12


def test_list_shows_events_and_what_was_put_aside(exporting: Run) -> None:
    """Events are listed with who, what and which ids; nothing was put aside."""
    ended = exporting("events", "list", "--json")
    assert len(ended.lines) == 12
    assert {event["actor_id"] for event in ended.lines} == {"tester"}
    assert "asset.put" in exporting("events", "list").out
    assert exporting("events", "list", "--parked").out == "nothing was put aside\n"


def test_relay_survives_kill_9_at_every_batch(deployment: Path, exporting: Run) -> None:
    """Killed after any delivery, the relay repeats what it had not noted and loses nothing; every
    line is whole and first deliveries are in order."""
    killed = 0
    for batch in (1, 2, 3, 1, 9):
        ended = subprocess.run(
            [sys.executable, "-c", DYING, str(batch)],
            cwd=deployment,
            env=environment({}),
            capture_output=True,
            check=False,
            timeout=60,
        )
        killed += ended.returncode == -signal.SIGKILL
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    assert killed == 4
    events = lines(deployment / "lake.jsonl")
    first = list(dict.fromkeys(event["sequence"] for event in events))
    assert first == list(range(1, 13))
    assert len(events) > 12
    assert len({event["event_id"] for event in events}) == 12
    assert exporting("events", "relay", "--once", "--exporter", "lake").code == 0
    assert len(lines(deployment / "lake.jsonl")) == len(events)


def test_relays_of_several_processes_share_a_file(deployment: Path, exporting: Run) -> None:
    """Three relays at once deliver every event, in whole lines."""
    command = [sys.executable, "-m", "nexus_core", "events", "relay", "--once"]
    running = [
        subprocess.Popen(
            [*command, "--exporter", "lake"],
            cwd=deployment,
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for each in running:
        _, err = each.communicate(timeout=60)
        assert each.returncode == 0, err
    events = lines(deployment / "lake.jsonl")
    assert {event["sequence"] for event in events} == set(range(1, 13))
    assert exporting("events", "relay", "--once", "--exporter", "lineage").code == 0


def test_relay_runs_until_it_is_told_to_end(deployment: Path, exporting: Run) -> None:
    """Without --once it goes on, sees what comes later, and ends well on SIGTERM."""
    command = [sys.executable, "-m", "nexus_core", "events", "relay", "--every", "0.05"]
    with subprocess.Popen(
        [*command, "--exporter", "lake", "--json"],
        cwd=deployment,
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as running:
        assert running.stdout is not None
        while not (deployment / "lake.jsonl").exists():
            assert running.poll() is None
        exporting("retrieve", "parcels")
        while lines(deployment / "lake.jsonl")[-1]["action"] != "retrieve":
            assert running.poll() is None
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scope", "acme"), "is not TENANT/ENV"),
        (("--scope", "acme/dev", "--tenant", "acme"), "both say where"),
        (("--exporter", "gone"), "no exporter gone"),
        (("--every", "0"), "not a number of seconds"),
    ],
)
def test_relay_refuses_what_it_cannot_understand(
    exporting: Run, words: tuple[str, ...], said: str
) -> None:
    """A scope, exporter or pause that is none ends the command before anything is delivered."""
    ended = exporting("events", "relay", "--once", *words)
    assert ended.code == 2
    assert said in ended.err


def test_one_scope_that_fails_keeps_no_other_from_its_events(
    deployment: Path, exporting: Run
) -> None:
    """Where one scope is not served, the others are, and the exit code says that something is
    wrong."""
    config = deployment / "nexus.toml"
    config.write_text(config.read_text().replace("# environments =", 'environments = ["dev"]\n#'))
    ended = exporting(
        "events", "relay", "--once", "--exporter", "lake", "--scope", "a/prod", "--scope",
        "acme/dev",
    )  # fmt: skip
    assert ended.code == 1
    assert "a/prod: " in ended.err
    assert len(lines(deployment / "lake.jsonl")) == 12


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('format = "jsonl"', "exporters.other"),
        ('format = "jsonl"\nurl = "https://example.org"', "exporters.other"),
        ('format = "openlineage"\nurl = "https://u:p@example.org"', "exporters.other.url"),
        ('format = "openlineage"\nurl = "ftp://example.org"', "exporters.other.url"),
        ('format = "jsonl"\npath = "x"\ntoken = { env = "T" }', "exporters.other"),
        ('format = "openlineage"\nurl = "https://a.org"\ntoken = "t"', "exporters.other.token"),
    ],
)
def test_an_exporter_that_makes_no_sense_is_refused(
    deployment: Path, exporting: Run, text: str, path: str
) -> None:
    """A destination that is none, or two, is a problem of the configuration at its place."""
    with (deployment / "nexus.toml").open("a") as config:
        config.write(f"[exporters.other]\n{text}\n")
    ended = exporting("config", "check", "--json")
    assert ended.code == 1
    assert path in [problem["path"] for problem in ended.data["problems"]]


class Collector(BaseHTTPRequestHandler):
    """An endpoint that answers what the test says and keeps what it accepted."""

    answers: list[int]
    accepted: list[Any]
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(f"{self.path} {self.headers['Authorization']}")
        status = self.answers.pop(0) if self.answers else 201
        if status < 300:
            self.accepted.append(json.loads(body))
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[Collector]]]:
    """A lineage endpoint on this machine."""
    kind = type("Own", (Collector,), {"answers": [], "accepted": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api/v1/lineage", kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_gets_each_run_event(
    deployment: Path, exporting: Run, endpoint: tuple[str, type[Collector]]
) -> None:
    """An endpoint that is down, redirects or refuses us gets everything later; an event that it
    refuses is put aside."""
    url, collector = endpoint
    with (deployment / "nexus.toml").open("a") as config:
        config.write(f'[exporters.net]\nformat = "openlineage"\nurl = "{url}"\n')
        config.write('token = { env = "TOKEN" }\n')

    def relay() -> Any:
        return exporting(
            "events", "relay", "--once", "--exporter", "net", "--json", TOKEN="hush", http_proxy="http://127.0.0.1:1"
        )  # fmt: skip

    refusals = {503: "store.unavailable", 307: "store.unavailable", 401: "store.unauthenticated"}
    for status, code in refusals.items():
        collector.answers[:] = [status]
        ended = relay()
        assert (ended.code, ended.lines[0]["error"]) == (1, code)
        assert "hush" not in ended.out + ended.err
    assert collector.accepted == []
    collector.answers[:] = [422, 422]
    ended = relay()
    assert ended.code == 1
    assert [parked["sequence"] for parked in ended.lines[0]["parked"]] == [1]
    runs = [run["run"]["facets"]["nexus_datasetEvent"]["sequence"] for run in collector.accepted]
    assert runs == list(range(2, 13))
    assert set(collector.asked) == {"/api/v1/lineage Bearer hush"}
    assert exporting("events", "list", "--parked", "--json", TOKEN="hush").code == 1
