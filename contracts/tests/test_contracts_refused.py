"""How the suite meets stores in which a call that was refused is not over."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from nexus_contracts import _hands
from nexus_contracts._catalogue import catalogue
from nexus_contracts._catalogue.refused import REFUSED
from nexus_contracts._engine import run_one
from nexus_contracts._verdict import Status
from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo import variant_harness

from nexus_core.spi import Body, Scope, StoreRole, StoreTimeoutError

REQUIREMENTS = {each.id: each for each in catalogue()}
REQUIREMENT = REQUIREMENTS[REFUSED[StoreRole.RAW].here]


class Stuck(MemoryRaw):
    """A store that waits for ever for a writer whose body raised; closing waits for it too."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.gate = threading.Lock()

    def put(self, scope: Scope, key: str, body: Body, *args: Any, **options: Any) -> Any:
        self.gate.acquire()
        data = b"".join(body)
        self.gate.release()
        return super().put(scope, key, Body(data), *args, **options)

    def close(self) -> None:
        with self.gate:
            super().close()


def test_contracts_refused_stuck_calls_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that does not return fails the requirement, and holds up nobody."""
    monkeypatch.setattr(_hands, "PATIENCE", 2.0)
    outcome = run_one(
        variant_harness(StoreRole.RAW, lambda runtime: Stuck(runtime.now)), REQUIREMENT
    )
    assert outcome.status is Status.FAILED
    assert "does not return" in outcome.message
    assert "put(" in outcome.message


def test_contracts_refused_timeouts_are_answers() -> None:
    """A store that ends a call by a timeout of its own, instead of waiting for another's body, is
    told what was answered, at once."""

    class Hurried(MemoryRaw):
        busy = False

        def put(self, *args: Any, **options: Any) -> Any:
            self.busy = True
            try:
                return super().put(*args, **options)
            finally:
                self.busy = False

        def head(self, scope: Scope, key: str) -> Any:
            if self.busy:
                raise StoreTimeoutError("another write is waited for")
            return super().head(scope, key)

    harness = variant_harness(StoreRole.RAW, lambda runtime: Hurried(runtime.now))
    outcome = run_one(harness, REQUIREMENTS["TEN-151"], effort=0)
    assert outcome.status is Status.FAILED
    assert "it saw  ('raised', 'StoreTimeoutError'" in outcome.message


def test_contracts_refused_says_what_was_not_refused() -> None:
    """A store that takes what it has to refuse is told so, and nothing else."""

    class Takes(MemoryRaw):
        def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
            if if_match is None:
                super().delete(scope, key)

    harness = variant_harness(StoreRole.RAW, lambda runtime: Takes(runtime.now))
    outcome = run_one(harness, REQUIREMENT)
    assert outcome.status is Status.FAILED
    assert "this has to be refused, but returned" in outcome.message
    assert "delete(" in outcome.message
