"""The suite's own disturbances: a store behind a network that fails, and schedules that shrink."""

from __future__ import annotations

import pickle
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import attrs
import pytest
from nexus_contracts import BackendHarness, run
from nexus_contracts._catalogue import catalogue
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._engine import run_one
from nexus_contracts._requirements import Profile
from nexus_contracts._shapes import misfit, named
from nexus_contracts._verdict import Outcome, Status, verdict_of
from nexus_contracts.faults import TcpFaults
from nexus_contracts.memory import MemoryAudit, MemoryConfig, memory_specs
from nexus_contracts.zoo import harness_for, legal_variants, mutants, variant_harness

from nexus_core import spi

REQUIREMENTS: Final = {each.id: each for each in catalogue()}


class Engine(socketserver.ThreadingTCPServer):
    """Audit logs in memory, behind a port: a request is a length and a pickle."""

    daemon_threads = True

    def __init__(self) -> None:
        self.logs = MemoryAudit()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.StreamRequestHandler):
    """One connection: one call."""

    server: Engine

    def handle(self) -> None:
        try:
            size = int(self.rfile.read(8))
            data = self.rfile.read(size)
            if len(data) < size:
                return
            method, args = pickle.loads(data)
            self.wfile.write(pickle.dumps(_answer(self.server.logs, method, args)))
        except (OSError, ValueError):
            return


def _answer(logs: MemoryAudit, method: str, args: Sequence[Any]) -> tuple[bool, Any]:
    try:
        return True, getattr(logs, method)(*args)
    except spi.StoreError as error:
        return False, error


class RemoteConfig(spi.BackendConfig):
    """Where the engine is."""

    port: int


class Remote(spi.AuditBackend):
    """The client; ``claim`` is what it says of a call whose answer was lost."""

    claim = spi.Outcome.UNKNOWN

    def __init__(self, config: RemoteConfig) -> None:
        self.port, self.closed = config.port, False

    def _call(self, method: str, *args: Any) -> Any:
        if self.closed:
            raise spi.ClosedError("this store is closed")
        request = pickle.dumps((method, args))
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(f"{len(request):08}".encode() + request)
                answer = b""
                while piece := connection.recv(1 << 16):
                    answer += piece
            good, found = pickle.loads(answer)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise spi.UnavailableError("no answer", outcome=self.claim) from None
        if not good:
            raise found
        return found

    def check(self) -> Sequence[spi.Problem]:
        return ()

    def close(self) -> None:
        self.closed = True

    def head(self, scope: spi.Scope) -> spi.LogHead | None:
        found: spi.LogHead | None = self._call("head", scope)
        return found

    def append(
        self,
        scope: spi.Scope,
        expected_size: int,
        entries: Sequence[spi.LogEntry],
        head: spi.LogHead,
    ) -> None:
        self._call("append", scope, expected_size, entries, head)

    def read(self, scope: spi.Scope, start: int, limit: int) -> Sequence[spi.LogEntry]:
        found: Sequence[spi.LogEntry] = self._call("read", scope, start, limit)
        return found

    def checkpoints(self, scope: spi.Scope, after_size: int, limit: int) -> Sequence[bytes]:
        found: Sequence[bytes] = self._call("checkpoints", scope, after_size, limit)
        return found

    def unsettled(self, scope: spi.Scope, before: int, limit: int) -> Sequence[spi.LogEntry]:
        found: Sequence[spi.LogEntry] = self._call("unsettled", scope, before, limit)
        return found

    def erase_sealed(self, scope: spi.Scope, subject_tag: bytes) -> int:
        return int(self._call("erase_sealed", scope, subject_tag))

    def erase(self, scope: spi.Scope) -> int:
        return int(self._call("erase", scope))


class Denying(Remote):
    """Says that a call was not applied whose answer was lost."""

    claim = spi.Outcome.NOT_APPLIED


class Repeating(Remote):
    """Makes an append once more where the answer was lost, at whatever place is the end by then."""

    def append(
        self,
        scope: spi.Scope,
        expected_size: int,
        entries: Sequence[spi.LogEntry],
        head: spi.LogHead,
    ) -> None:
        try:
            super().append(scope, expected_size, entries, head)
        except spi.UnavailableError:
            current = self.head(scope)
            size = 0 if current is None else current.size
            moved = [attrs.evolve(each, index=size + n) for n, each in enumerate(entries)]
            super().append(scope, size, moved, attrs.evolve(head, size=size + len(moved)))


class Forgetting(Remote):
    """Takes a log that does not answer for an empty one."""

    def read(self, scope: spi.Scope, start: int, limit: int) -> Sequence[spi.LogEntry]:
        try:
            return super().read(scope, start, limit)
        except spi.UnavailableError:
            return ()


class Leaking(Remote):
    """Lets what the network raises through."""

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return super()._call(method, *args)
        except spi.UnavailableError:
            raise ConnectionResetError from None


@pytest.fixture
def remote() -> Iterator[Callable[[type[Remote]], BackendHarness]]:
    """Harnesses of clients of one engine."""
    with Engine() as engine:
        thread = threading.Thread(target=engine.serve_forever, args=(0.01,))
        thread.start()
        address = ("127.0.0.1", int(engine.server_address[1]))

        def harness(kind: type[Remote]) -> BackendHarness:
            engine.logs.logs.clear()
            spec = attrs.evolve(
                memory_specs()[spi.StoreRole.AUDIT],
                config=RemoteConfig,
                factory=lambda config, _runtime: kind(config),
            )
            return BackendHarness(
                spec=spec,
                settings=lambda _: RemoteConfig(port=address[1]),
                reality="emulator",
                faults=lambda: TcpFaults([address], lambda _, port: RemoteConfig(port=port)),
            )

        yield harness
        engine.shutdown()
        thread.join()


def outcome(harness: BackendHarness, name: str) -> Outcome:
    """What becomes of one requirement."""
    return run_one(harness, REQUIREMENTS[name], profile=Profile.CORE)


def test_contracts_disturbed_network_is_told_truly(
    remote: Callable[[type[Remote]], BackendHarness],
) -> None:
    """A client that says what it knows passes under every fault of the road, each having struck."""
    found = outcome(remote(Remote), "AUD-015")
    assert (found.status, found.message) == (Status.PASSED, "")
    strikes = {name: count for name, count in found.figures.items() if "strikes" in name}
    assert len(strikes) == 6
    assert all(strikes.values()), strikes


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Denying, "said not to be applied"),
        (Repeating, "is there by half"),
        (Forgetting, "a read gave something else than is there"),
        (Leaking, "raised ConnectionResetError"),
    ],
)
def test_contracts_disturbed_network_is_told_falsely(
    kind: type[Remote], says: str, remote: Callable[[type[Remote]], BackendHarness]
) -> None:
    """A client that denies, repeats, forgets or leaks is failed, in words that name the fault."""
    found = outcome(remote(kind), "AUD-015")
    assert found.status is Status.FAILED
    assert says in found.message, found.message
    assert "fault" in found.message or "Backend." in found.message


def test_contracts_disturbed_injector_that_never_strikes() -> None:
    """Faults that are offered and never happen prove nothing."""
    nowhere = [("127.0.0.1", 9)]
    harness = attrs.evolve(
        legal_variants()["atoms-in-a-file"],
        faults=lambda: TcpFaults(nowhere, lambda _place, _port: MemoryConfig()),
    )
    found = outcome(harness, "ATOM-025")
    assert found.status is Status.INDETERMINATE
    assert "never struck" in found.message


def test_contracts_disturbed_schedule_is_the_same_each_time() -> None:
    """A random schedule that fails is the same in every run of one seed, which the report has."""
    (mutant,) = [each for each in mutants() if each.name == "raw-remembers-metadata"]
    first, again = (outcome(harness_for(mutant), "RAW-027") for _ in range(2))
    assert first.message.partition("last call")[0] == again.message.partition("last call")[0]
    assert first.figures == again.figures
    lines = first.message.partition("smallest schedule:\n")[2].partition("\nIn the last")[0]
    assert 2 <= len(lines.splitlines()) <= 4, lines
    other = run_one(harness_for(mutant), REQUIREMENTS["RAW-027"], seed=7)
    assert other.figures["hypothesis_seed"] == 7
    report = run(variant_harness(spi.StoreRole.RAW), only=["RAW-027"], seed=7)
    (line,) = report.of_status(Status.PASSED)
    assert line.figures["hypothesis_seed"] == 7
    assert line.figures["schedule_calls"] == line.figures["schedules"] * 50


@pytest.mark.parametrize("reality", ["real", "emulator"])
@pytest.mark.parametrize("role", list(spi.StoreRole))
def test_contracts_disturbed_without_a_back_door(role: spi.StoreRole, reality: Any) -> None:
    """Nothing but memory is conformant where nobody can look below it, and the reason is given."""
    harness = attrs.evolve(variant_harness(role), reality=reality)
    (unseen,) = [line for line in run(harness, only=[]).requirements if line.id == IDS[role].erased]
    found = outcome(harness, unseen.id)
    assert found.status is Status.NOT_RUN
    assert "no back_door" in found.message
    assert verdict_of([attrs.evolve(found, status=Status.PASSED), found], reality) == "INCOMPLETE"


@pytest.mark.parametrize(
    ("value", "hint", "says"),
    [
        (None, int, "returned None"),
        (True, int, "returned bool"),
        ("text", Sequence[str], "returned str"),
        ([1, None], Sequence[int], "its [1] is None, expected int"),
        ({"a": 1}, dict[str, str], "its ['a'] is int, expected str"),
        (spi.RecordPage((None,), None), spi.RecordPage, "its records[0] is None, expected Record"),  # type: ignore[arg-type]
        ((1, 2), tuple[int, int], None),
        (3, float, None),
        (None, int | None, None),
        (memoryview(b""), bytes, None),
    ],
)
def test_contracts_shapes(value: object, hint: Any, says: str | None) -> None:
    """A value that is not what an annotation states is told by its place, its type and the due."""
    assert misfit(value, hint) == says
    assert named(hint)


CONDUCTOR: Final = """
import time
from nexus_contracts._arena import Process

class Store:
    def check(self):
        return []

sides = [Process(Store, []) for _ in range(2)]
print("begun", flush=True)
time.sleep(600)
"""


def test_contracts_disturbed_sides_end_with_their_conductor() -> None:
    """Processes that a killed suite leaves behind end by themselves."""
    command = [sys.executable, "-c", CONDUCTOR]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as conductor:
        assert conductor.stdout is not None
        assert conductor.stdout.readline() == b"begun\n"
        conductor.kill()
        # Both sides have this pipe from their conductor: it ends when the last of them has.
        assert conductor.communicate(timeout=60)[0] == b""
