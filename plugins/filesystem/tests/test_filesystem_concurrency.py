"""Threads and processes at work on the same keys: conditions are exact, readers see one version."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import nexus_filesystem
import pytest
from nexus_filesystem import _locks, _write

from nexus_core.spi import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionFailedError,
    Scope,
    UnavailableError,
)

T1 = Scope("t1", "dev")
MIB = 1 << 20
SOURCES = str(nexus_filesystem.__file__).removesuffix("__init__.py")


@pytest.fixture(params=["byte ranges", "whole file"])
def either_lock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the locks of Linux, and with those of other systems."""
    if request.param == "whole file":
        monkeypatch.setattr(_locks, "_WAIT", None)
    assert (_locks._WAIT is None) == (request.param == "whole file")


@contextmanager
def preemption(seed: int) -> Iterator[None]:
    """Let threads that start in this block lose the processor between any two lines of ours."""
    chance = random.Random(seed)  # noqa: S311

    def local(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and chance.random() < 0.05:
            time.sleep(chance.choice((0, 0.0002)))
        return local

    def everywhere(frame: FrameType, event: str, argument: object) -> Any:
        return local if frame.f_code.co_filename.startswith(SOURCES) else None

    threading.settrace(everywhere)
    try:
        yield
    finally:
        threading.settrace(None)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in threads that begin at the same moment; what it returned, or raise."""
    gate = threading.Barrier(count)

    def begin(number: int) -> Any:
        gate.wait(60)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return [future.result(30) for future in [pool.submit(begin, n) for n in range(count)]]


def test_create_race(lab: Any) -> None:
    """Of 16 threads and 2 processes that create the same keys exactly one succeeds for each, and
    the bytes are the winner's."""
    count = 12
    workers = [lab.worker("create", f"process {n}", str(count)) for n in range(2)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"

    def create(number: int) -> list[int]:
        if number == 0:
            for worker in workers:
                worker.stdin.write("\n")
                worker.stdin.flush()
        won = []
        for turn in range(count):
            try:
                lab.put(T1, f"k{turn}", f"thread {number}".encode(), if_absent=True)
                won.append(turn)
            except AlreadyExistsError:
                pass
        return won

    wins = {f"thread {n}": won for n, won in enumerate(together(16, create))}
    for number, worker in enumerate(workers):
        answer, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        wins[f"process {number}"] = json.loads(answer)
    assert sorted(turn for won in wins.values() for turn in won) == list(range(count))
    for name, won in wins.items():
        for turn in won:
            assert lab.get(T1, f"k{turn}") == name.encode()
    assert lab.unfinished(T1) == []


@pytest.mark.usefixtures("either_lock")
def test_create_race_line_by_line(lab: Any) -> None:
    """Creation stays exclusive when threads are interrupted between any two lines."""
    for seed in range(15):

        def create(number: int, seed: int = seed) -> bool:
            try:
                lab.put(T1, f"n/k{seed}", str(number).encode(), if_absent=True)
            except AlreadyExistsError:
                return False
            return True

        with preemption(seed):
            won = together(4, create)
        assert won.count(True) == 1
        assert lab.get(T1, f"n/k{seed}") == str(won.index(True)).encode()


def test_counter(lab: Any) -> None:
    """5 workers that each add one 20 times by compare-and-set, interrupted between any two lines,
    arrive at 100."""
    lab.put(T1, "counter", b"0")

    def add(number: int) -> None:
        done = 0
        while done < 20:
            with lab.store.open(T1, "counter") as stream:
                value = int(b"".join(stream.chunks))
            try:
                lab.put(T1, "counter", str(value + 1).encode(), if_match=stream.info.etag)
                done += 1
            except PreconditionFailedError:
                pass

    with preemption(1):
        together(5, add)
    assert lab.get(T1, "counter") == b"100"


def test_counter_across_processes(lab: Any) -> None:
    """Three processes and a thread that count by compare-and-set lose no count."""
    lab.put(T1, "counter", b"0")
    workers = [lab.worker("count", "25") for _ in range(3)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    done = 0
    while done < 25:
        with lab.store.open(T1, "counter") as stream:
            value = int(b"".join(stream.chunks))
        try:
            lab.put(T1, "counter", str(value + 1).encode(), if_match=stream.info.etag)
            done += 1
        except PreconditionFailedError:
            pass
    for worker in workers:
        assert worker.communicate(timeout=60)[0] == "25\n"
    assert lab.get(T1, "counter") == b"100"


def test_unconditional_put_is_not_lost_to_a_conditional_one(lab: Any) -> None:
    """A conditional write never replaces a version that it did not name, even one that an
    unconditional put or a delete made in between."""
    for seed in range(15):
        first = lab.put(T1, "k", b"first")

        def change(number: int, seed: int = seed, etag: str = first.etag) -> str:
            if number == 0:
                lab.put(T1, "k", b"plain")
                return "put"
            try:
                if number == 1:
                    lab.put(T1, "k", b"conditional", if_match=etag)
                else:
                    lab.store.delete(T1, "k", if_match=etag)
            except PreconditionFailedError:
                return "refused"
            return "applied"

        with preemption(seed):
            outcomes = together(3, change)
        assert outcomes.count("applied") <= 1
        assert lab.get(T1, "k") == b"plain"


def test_reader_sees_whole_versions(lab: Any) -> None:
    """While 8 MiB are overwritten again and again, a reader gets all of one version, with its own
    size, hash and metadata, and never nothing."""
    versions = {letter: letter.encode() * (8 * MIB + ord(letter)) for letter in "AB"}
    store = lab.build()

    def write(letter: str) -> str:
        from nexus_core.spi import Body

        return str(store.put(T1, "k", Body(versions[letter]), lab.attributes(v=letter)).sha256)

    hashes = {letter: write(letter) for letter in "AB"}
    stop = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not stop.is_set():
            with store.open(T1, "k") as stream:
                letter = stream.info.attributes.metadata["v"]
                data = b"".join(stream.chunks)
            assert data == versions[letter]
            assert stream.info.sha256 == hashes[letter]
            assert store.head(T1, "k").size in {len(each) for each in versions.values()}
            assert [item.key for item in store.list(T1).items] == ["k"]
            seen.add(letter)

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for turn in range(16):
                write("AB"[turn % 2])
        finally:
            stop.set()
        for reader in readers:
            reader.result(30)
    assert seen


def test_directories_come_and_go(lab: Any) -> None:
    """Puts and deletes that make and remove the same directories do not fail each other, and what
    was put last is there."""

    def work(number: int) -> None:
        chance = random.Random(number)  # noqa: S311
        for turn in range(12):
            depth = chance.randint(1, 3)
            key = "/".join(["d"] * depth) + f"/{number}"
            lab.put(T1, key, str(turn).encode())
            assert lab.get(T1, key) == str(turn).encode()
            lab.store.delete(T1, key)
            with pytest.raises(NotFoundError):
                lab.get(T1, key)
        lab.put(T1, f"d/d/{number}", b"last")

    with preemption(3):
        together(4, work)
    assert lab.keys(T1) == [f"d/d/{n}" for n in range(4)]


def test_erase_beside_writers(lab: Any) -> None:
    """An acknowledged put that began after the last erasure returned is there, one that ended
    before an erasure began is not, and nothing is counted twice."""
    puts: list[tuple[int, int, str]] = []
    erasures: list[tuple[int, int]] = []
    erased = threading.Event()
    counts: list[int] = []

    def work(number: int) -> None:
        if number == 0:
            for _ in range(8):
                begun = time.monotonic_ns()
                counts.append(lab.store.erase(T1))
                erasures.append((begun, time.monotonic_ns()))
            erased.set()
            return
        turn = after = 0
        while after < 5:
            after += erased.is_set()
            key = f"w{number}/{turn}"
            begun = time.monotonic_ns()
            try:
                lab.put(T1, key, key.encode())
                puts.append((begun, time.monotonic_ns(), key))
            except UnavailableError:
                pass
            turn += 1

    with preemption(5):
        together(4, work)
    listed = set(lab.keys(T1))
    lasting = {key for begun, _, key in puts if all(end <= begun for _, end in erasures)}
    erased_keys = {key for _, end, key in puts if any(end <= begun for begun, _ in erasures)}
    assert len(lasting) >= 12
    assert lasting <= listed
    assert not listed & erased_keys
    assert all(lab.get(T1, key) == key.encode() for key in listed)
    assert sum(counts) == len({key for _, _, key in puts} - listed)
    assert lab.store.erase(T1) == len(listed)
    assert list(lab.home(T1).parent.iterdir()) == []


@pytest.mark.parametrize("moment", ["while the body is read", "before the lock is taken"])
def test_no_put_into_a_scope_that_was_moved_away(
    lab: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A put whose scope's directory was moved away, by an erasure that is not done yet or has
    died, is not acknowledged."""
    lab.put(T1, "n/k", b"1")
    gone = lab.home(T1).with_name("t1~gone")

    def move_away() -> None:
        if not gone.exists():
            gone.mkdir()
            lab.home(T1).rename(gone / "0")

    def body() -> Iterator[bytes]:
        yield b"new"
        if moment == "while the body is read":
            move_away()

    def locked(directory: int, key: str) -> Any:
        move_away()
        return _locks.locked(directory, key)

    monkeypatch.setattr(_write, "locked", locked)
    with pytest.raises(UnavailableError):
        lab.put(T1, "n/k", body())
    assert gone.exists()
    assert lab.keys(T1) == []
    lab.put(T1, "n/k", b"2")
    assert lab.get(T1, "n/k") == b"2"


def test_erasure_waits_for_commits(lab: Any) -> None:
    """A scope is not moved away while any of its keys is locked by a writer."""
    lab.put(T1, "k", b"1")
    home = os.open(lab.home(T1), os.O_RDONLY)
    with ThreadPoolExecutor(1) as pool:
        with _locks.locked(home, "k"):
            erasure = pool.submit(lab.store.erase, T1)
            # However long one looks; a store that does not wait is done by then.
            for _ in range(20):
                time.sleep(0.01)
                assert lab.home(T1).exists()
        assert erasure.result(30) == 1
    os.close(home)


def test_one_scope_never_waits_for_another(lab: Any) -> None:
    """While a scope, or another key, is locked, everybody else's writes go through."""
    lab.put(T1, "k", b"1")
    home = os.open(lab.home(T1), os.O_RDONLY)
    other = Scope("t10", "dev")
    try:
        # A store that waits fails here: the lock is given back before the pool is waited for.
        with ThreadPoolExecutor(1) as pool, _locks.locked(home):
            pool.submit(lab.put, other, "k", b"2").result(30)
            pool.submit(lab.store.erase, other).result(30)
            assert lab.get(T1, "k") == b"1"
        with ThreadPoolExecutor(1) as pool, _locks.locked(home, "k"):
            pool.submit(lab.put, T1, "l", b"2").result(30)
            pool.submit(lab.store.delete, T1, "l").result(30)
    finally:
        os.close(home)


def test_lock_is_not_kept_by_a_child(lab: Any) -> None:
    """A process that was forked while a lock was held does not keep it."""
    lab.put(T1, "k", b"1")
    home = os.open(lab.home(T1), os.O_RDONLY)
    reader, writer = os.pipe()
    with _locks.locked(home, "k"):
        # pytest's own watchdog thread is all that runs beside, and holds nothing.
        child = fork()
        if child == 0:
            try:
                os.close(writer)
                os.read(reader, 1)
            finally:
                os._exit(0)
    os.close(reader)
    lab.put(T1, "k", b"2")
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    os.close(home)


def test_use_after_fork(lab: Any) -> None:
    """A store made before a fork works in the child and in the parent, streams included."""
    data = os.urandom(4 * MIB)
    lab.put(T1, "k", data)
    store = lab.build()
    with store.open(T1, "k") as stream:
        first = next(stream.chunks)
        child = fork()
        if child == 0:
            code = 1
            try:
                lab.put(T1, "child", b"1")
                code = int(first + b"".join(stream.chunks) != data)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert first + b"".join(stream.chunks) == data
    assert lab.keys(T1) == ["child", "k"]


def fork() -> int:
    """Fork without Python's warning about threads, which here hold no lock that matters."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sys.stdout.flush()
        return os.fork()
