"""How the suite has reads and writes of one scope overlap, and what it says of what is left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from nexus_contracts import _hands
from nexus_contracts._catalogue import catalogue
from nexus_contracts._catalogue.raced import RACED
from nexus_contracts._checks import overlaps
from nexus_contracts._engine import run_one
from nexus_contracts._steps import Lines
from nexus_contracts._twins import plain
from nexus_contracts._verdict import Outcome, Status
from nexus_contracts.memory import MemoryAtoms, memory_specs
from nexus_contracts.zoo import variant_harness
from nexus_contracts.zoo._mutant import HONEST

from nexus_core import NexusError, Scope
from nexus_core.spi import Operation, Runtime, Step, StoreRole, UnavailableError

REQUIREMENTS = {each.id: each for each in catalogue()}


def outcome(role: StoreRole, make: Callable[[], Any] | None = None) -> Outcome:
    """What the requirement says of a store in memory, the honest one unless another is given."""
    build = None if make is None else lambda _: make()
    return run_one(variant_harness(role, build), REQUIREMENTS[RACED[role].stale])


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_overlaps_every_call_is_of_use(role: StoreRole) -> None:
    """Each write changes what some read gives, each read is changed by some write, and the states
    that they start from are made again from whatever is left."""
    ground: Any = overlaps.GROUNDS[role](memory_specs()[role].capabilities)
    store: Any = HONEST[role](Runtime(store="store", base=Path(), now=lambda: 0))
    scope, told = Scope("t1", "dev"), Counter[str]()

    def everything(known: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        names: dict[tuple[str, Any], str] = {}
        for name, read in ground.reads.items():
            try:
                found[name] = plain(read(store, scope, known), names)
            except NexusError as error:
                found[name] = type(error).__name__
        return found

    left, first = "", dict[str, Any]()
    for write in (*ground.writes, *ground.writes):
        known = ground.prepare(store, scope, write.start, left)
        before = everything(known)
        assert before == first.setdefault(write.start, before), f"before {write.words}"
        known = ground.known(known, write.make(store, scope, known))
        after = everything(known)
        changed = [name for name in before if before[name] != after[name]]
        assert changed, write.words
        told.update(changed)
        left = write.leaves
    assert told.keys() == ground.reads.keys()


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_overlaps_are_many(role: StoreRole) -> None:
    """On a store that is quick, each write and each read is held up several times."""
    found = outcome(role)
    assert found.status is Status.PASSED, found.message
    ground: Any = overlaps.GROUNDS[role](memory_specs()[role].capabilities)
    assert found.figures["held_writes"] >= 4 * len(ground.writes)
    assert found.figures["held_reads"] >= 3 * len(ground.reads)


def test_contracts_overlaps_a_cache_may_be_kept() -> None:
    """A store that keeps what it read with an age from before, which changes after each write,
    leaves nothing stale."""

    class Kept(MemoryAtoms):
        def __init__(self) -> None:
            super().__init__()
            self.writes = 0
            self.walks: dict[Any, tuple[int, Sequence[Step]]] = {}

        def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
            changed = super().commit(scope, operations)
            self.writes += 1
            return changed

        def erase(self, scope: Scope) -> int:
            gone = super().erase(scope)
            self.writes += 1
            return gone

        def walk(self, scope: Scope, start: Any, *way: Any, **most: Any) -> Sequence[Step]:
            asked, now = (scope, *start, *way), self.writes
            at, found = self.walks.get(asked, (-1, ()))
            if at != now:
                found = super().walk(scope, start, *way, **most)
                self.walks[asked] = now, found
            return found

    found = outcome(StoreRole.ATOMS, Kept)
    assert found.status is Status.PASSED, found.message


def test_contracts_overlaps_reads_may_wait_or_fail() -> None:
    """Reads that wait for a write, and reads that are refused while one is made, are let be."""

    class Waits(MemoryAtoms):
        def walk(self, *args: Any, **options: Any) -> Sequence[Step]:
            with self.lock:
                return super().walk(*args, **options)

        def count(self, *args: Any) -> int:
            if not self.lock.acquire(blocking=False):
                raise UnavailableError("a write is under way")
            self.lock.release()
            return super().count(*args)

    found = outcome(StoreRole.ATOMS, Waits)
    assert found.status is Status.PASSED, found.message


def test_contracts_overlaps_writes_may_not_fail() -> None:
    """A write that is refused because something is read meanwhile is told, with the read."""

    class Shy(MemoryAtoms):
        readers = 0

        def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
            if self.readers:
                raise UnavailableError("somebody reads")
            return super().commit(scope, operations)

        def walk(self, *args: Any, **options: Any) -> Sequence[Step]:
            self.readers += 1
            try:
                return super().walk(*args, **options)
            finally:
                self.readers -= 1

    found = outcome(StoreRole.ATOMS, Shy)
    assert found.status is Status.FAILED
    assert "while walk" in found.message
    assert "the write raised UnavailableError" in found.message


def test_contracts_overlaps_that_hang_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls of which one never returns fail the requirement, and hold up nobody."""
    monkeypatch.setattr(_hands, "PATIENCE", 1.0)

    class Stuck(MemoryAtoms):
        def __init__(self) -> None:
            super().__init__()
            self.reading = threading.Lock()

        def walk(self, *args: Any, **options: Any) -> Sequence[Step]:
            with self.reading:
                return super().walk(*args, **options)

        def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
            if not self.reading.acquire(blocking=False):
                threading.Event().wait()
            self.reading.release()
            return super().commit(scope, operations)

    found = outcome(StoreRole.ATOMS, Stuck)
    assert found.status is Status.FAILED
    assert "overlapping calls hang" in found.message


def test_contracts_overlaps_lines_after_the_engine_come_apart(tmp_path: Path) -> None:
    """Of the lines of a call those are told apart that come right after something that it asks its
    engine or tells it."""
    file = tmp_path / "file"

    class Store:
        def call(self) -> int:
            first = 1
            file.write_bytes(b"x")
            second = first + 1
            third = second + 1
            found = file.read_bytes()
            return third + len(found)

    answer, after, others = Lines(Store()).met_apart(Store().call)
    start = Store.call.__code__.co_firstlineno
    assert answer == 4
    assert [line - start for _, line in after] == [3, 6]
    assert [line - start for _, line in others] == [1, 2, 4, 5]
