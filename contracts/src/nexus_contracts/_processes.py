"""Another process that works on the same store, from the suite's side."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from nexus_contracts._answers import Answer
from nexus_contracts._bench import Bench, Violation
from nexus_contracts._child import Job
from nexus_contracts._harness import BackendHarness, Namespace
from nexus_contracts._twins import Call

_PROBE = (
    "import pickle, sys; sys.path[:] = pickle.loads(bytes.fromhex(sys.stdin.readline()));"
    "from nexus_contracts._child import main; main()"
)


class Unreachable(Exception):
    """Another process cannot open the backend; the text says why."""


def portable(harness: BackendHarness, settings: Any) -> str | None:
    """Why another process could not open the backend, or ``None`` if it can."""
    try:
        pickle.dumps((harness.spec.factory, settings))
    except Exception:  # noqa: BLE001  # pickling runs whatever the settings are made of
        return (
            "another process cannot open the backend: the spec's factory has to be a function or "
            "class of an importable module, and the settings have to be of an importable class"
        )
    return None


@attrs.define
class Child:
    """A process at work."""

    process: subprocess.Popen[str]

    def hear(self) -> dict[str, Any]:
        """The next thing that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Violation(
                f"the process that was to write ended with {self.process.wait()} before it had"
            )
        said: dict[str, Any] = json.loads(line)
        return said

    def ask(self, calls: Sequence[Call]) -> Sequence[Answer]:
        """Have it make calls, in the mode ``answer``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(pickle.dumps(list(calls)).hex() + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Violation(
                f"another process ended with {self.process.wait()} while it was asked "
                + "; ".join(call.words() for call in calls)[:300]
            )
        # From the suite's own program in it.
        answers: list[Answer] = pickle.loads(bytes.fromhex(line))  # noqa: S301
        return answers

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextmanager
def child(
    bench: Bench, namespace: Namespace, mode: str, *, rounds: int, first: int = 0, limit: int = 0
) -> Iterator[Child]:
    """A process that has imported what it needs. Raises ``Unreachable`` where it cannot."""
    job = Job(
        factory=bench.spec.factory,
        settings=bench.harness.settings(namespace),
        base=str(namespace.path),
        proofs=dict(bench.harness.proofs),
        role=bench.spec.role,
        capabilities=bench.spec.capabilities,
        mode=mode,
        seed=bench.random.randrange(2**32),
        rounds=rounds,
        first=first,
        limit=limit,
    )
    with subprocess.Popen(  # noqa: S603  # this Python, and a program of our own
        [sys.executable, "-c", _PROBE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for each in (list(map(str, sys.path)), job):
                process.stdin.write(pickle.dumps(each).hex() + "\n")
            process.stdin.flush()
            if not process.stdout.readline():
                raise Unreachable(
                    "another process could not import the spec's factory or the settings' class"
                )
            yield Child(process)
        finally:
            process.kill()
