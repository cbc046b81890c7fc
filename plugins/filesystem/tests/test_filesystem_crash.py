"""Killed writers, full disks, failing disks and lost power: nothing partial is ever visible,
nothing acknowledged is lost, and the outcome that is told is the one that happened."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core.spi import (
    BackendError,
    Body,
    IntegrityError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    Scope,
    StoreError,
    UnavailableError,
)

T1 = Scope("t1", "dev")
MIB = 1 << 20


def test_kill_at_random_points(lab: Any) -> None:
    """After each of 60 kills every key holds what was last acknowledged, or what was begun when
    the kill came, whole; nothing else is visible, and what is left in ``~tmp`` is swept."""
    rounds = 60
    lab.provision()
    worker = lab.worker("die", str(rounds))
    settled: dict[str, int | None] = {}
    kills_in_a_change = leftovers = 0
    for _ in range(rounds):
        open_change: tuple[str, int | None] | None = None
        for word, verb, key, number in json.loads(worker.stdout.readline()):
            change = (key, int(number) if verb == "put" else None)
            if word == "begin":
                open_change = change
            else:
                open_change = None
                settled[key] = change[1]
        listed = lab.keys(T1)
        for key in {*settled, *listed, *([open_change[0]] if open_change else [])}:
            possible = {settled.get(key)}
            if open_change and open_change[0] == key:
                possible.add(open_change[1])
            found = version(lab, key, possible)
            assert (key in listed) == (found is not None)
            settled[key] = found
        kills_in_a_change += open_change is not None
        leftovers += bool(lab.unfinished(T1))
        worker.stdin.write("\n")
        worker.stdin.flush()
    worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert kills_in_a_change > rounds // 2
    assert leftovers
    lab.put(T1, "last", b"x")
    assert lab.unfinished(T1) == []


SIZES = (0, 1, 4000, 70_000, 2_500_000)


def content(key: str, number: int) -> bytes:
    """What the worker puts under a key as its write of this number."""
    seed = hashlib.sha256(f"{key} {number}".encode()).digest()
    size = SIZES[number % len(SIZES)]
    return (seed * (size // len(seed) + 1))[:size]


def version(lab: Any, key: str, possible: set[int | None]) -> int | None:
    """Which of the possible writes the key holds; fail if it is none of them."""
    try:
        data = lab.get(T1, key)
    except NotFoundError:
        assert None in possible, key
        return None
    for number in possible - {None}:
        assert number is not None
        if data == content(key, number):
            return number
    pytest.fail(f"{key} holds something else than was written")


def test_dead_upload_is_swept_and_a_living_one_is_not(lab: Any) -> None:
    """A put removes what a killed writer left, and not what another writer is still writing."""

    def body() -> Iterator[bytes]:
        yield b"first "
        (lab.home(T1) / "~tmp/dead").write_bytes(b"x" * 100)
        assert len(lab.unfinished(T1)) == 2
        lab.put(T1, "other", b"y")
        assert len(lab.unfinished(T1)) == 1
        yield b"second"

    lab.put(T1, "k", body())
    assert lab.get(T1, "k") == b"first second"
    assert lab.unfinished(T1) == []


def test_sweeping_is_bounded_and_ends(lab: Any) -> None:
    """However much was left behind, a few puts remove all of it."""
    lab.put(T1, "k", b"1")
    for number in range(100):
        (lab.home(T1) / f"~tmp/{number}").write_bytes(b"x")
    for _ in range(4):
        lab.put(T1, "k", b"2")
    assert lab.unfinished(T1) == []


def test_full_file_system(lab: Any) -> None:
    """An object that the file system has no room for is refused as ``QuotaExceededError``, and
    the old one, other keys and the free space are as before."""
    lab.put(T1, "k", b"old")
    worker = lab.worker("fill", str(5 * MIB))
    answer, _ = worker.communicate(timeout=60)
    assert answer == "store.quota_exceeded not_applied\n"
    assert lab.get(T1, "k") == b"old"
    assert lab.keys(T1) == ["k"]
    assert lab.unfinished(T1) == []


class Faults:
    """Makes one call to the operating system fail, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.left = 0

    def plan(self, name: str, code: int, *, nth: int = 1, after: bool = False) -> None:
        """Let the nth call of ``os.<name>`` fail; ``after`` it has done its work."""
        real: Callable[..., Any] = getattr(os, name)
        self.left = nth

        def faulty(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                if after:
                    real(*args, **kwargs)
                raise OSError(code, os.strerror(code), "/secret/place")
            return real(*args, **kwargs)

        self._monkeypatch.setattr(os, name, faulty)

    def end(self) -> None:
        """Say that the fault came, and let the calls be."""
        assert self.left <= 0, "the fault was never reached"
        self._monkeypatch.undo()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


NOT, UNKNOWN = Outcome.NOT_APPLIED, Outcome.UNKNOWN

# The call that fails, its code, how many such calls go well before, and what must be told. A put
# syncs the file first and its directory last; what fails before the rename has changed nothing.
PUT_FAULTS: list[tuple[str, int, int, type[StoreError], Outcome]] = [
    ("pwrite", errno.ENOSPC, 1, QuotaExceededError, NOT),
    ("pwrite", errno.ENOSPC, 2, QuotaExceededError, NOT),
    ("pwrite", errno.EDQUOT, 1, QuotaExceededError, NOT),
    ("pwrite", errno.EFBIG, 1, QuotaExceededError, NOT),
    ("pwrite", errno.EIO, 1, UnavailableError, NOT),
    ("pwrite", errno.EINVAL, 1, BackendError, NOT),
    ("fsync", errno.EIO, 1, UnavailableError, NOT),
    ("fsync", errno.ENOSPC, 1, QuotaExceededError, NOT),
    ("fsync", errno.EIO, 2, UnavailableError, UNKNOWN),
    ("fsync", errno.ENOSPC, 2, QuotaExceededError, UNKNOWN),
    ("rename", errno.ENOSPC, 1, QuotaExceededError, NOT),
    ("rename", errno.EACCES, 1, PermissionDeniedError, NOT),
    ("rename", errno.EROFS, 1, PermissionDeniedError, NOT),
    ("rename", errno.EISDIR, 1, IntegrityError, NOT),
    ("rename", errno.EIO, 1, UnavailableError, UNKNOWN),
    ("rename", errno.ESTALE, 1, UnavailableError, UNKNOWN),
    ("open", errno.EMFILE, 1, UnavailableError, NOT),
    ("open", errno.ENFILE, 1, UnavailableError, NOT),
    ("open", errno.EIO, 1, UnavailableError, NOT),
    ("dup", errno.EMFILE, 1, UnavailableError, NOT),
    ("listdir", errno.EIO, 1, UnavailableError, NOT),
]


@pytest.mark.parametrize(
    "fault", PUT_FAULTS, ids=lambda fault: f"{fault[0]}-{fault[2]}-{errno.errorcode[fault[1]]}"
)
def test_put_that_fails(
    lab: Any, faults: Faults, fault: tuple[str, int, int, type[StoreError], Outcome]
) -> None:
    """A failing call becomes its error of the tree, without a path, and with the truth about the
    outcome; nothing is half-done, nothing is left behind, and the next put succeeds."""
    call, code, nth, kind, outcome = fault
    lab.put(T1, "k", b"old")
    faults.plan(call, code, nth=nth)
    with pytest.raises(StoreError) as caught:
        lab.put(T1, "k", b"new")
    faults.end()
    told(caught.value, kind, outcome)
    assert lab.unfinished(T1) == []
    if outcome is NOT:
        assert lab.get(T1, "k") == b"old"
    else:
        assert lab.get(T1, "k") in (b"old", b"new")
    lab.put(T1, "k", b"third")
    assert lab.get(T1, "k") == b"third"


def told(error: StoreError, kind: type[StoreError], outcome: Outcome) -> None:
    assert type(error) is kind
    assert error.outcome is outcome
    assert error.retryable is (kind is UnavailableError)
    assert "/secret/place" not in f"{error} {error.args} {error.__cause__} {error.__context__}"


@pytest.mark.parametrize(
    "fault",
    [
        ("unlink", errno.EIO, False, UNKNOWN),
        ("unlink", errno.EIO, True, UNKNOWN),
        ("unlink", errno.EBUSY, False, NOT),
        ("fsync", errno.EIO, False, UNKNOWN),
        ("open", errno.EMFILE, False, NOT),
    ],
)
def test_delete_that_fails(lab: Any, faults: Faults, fault: tuple[str, int, bool, Outcome]) -> None:
    """A delete that fails tells whether the object may be gone; repeated, it succeeds."""
    call, code, after, outcome = fault
    lab.put(T1, "k", b"old")
    faults.plan(call, code, after=after)
    with pytest.raises(StoreError) as caught:
        lab.store.delete(T1, "k")
    faults.end()
    told(caught.value, UnavailableError, outcome)
    if outcome is NOT:
        assert lab.get(T1, "k") == b"old"
    lab.store.delete(T1, "k")
    assert lab.keys(T1) == []


@pytest.mark.parametrize(
    ("call", "nth"), [("rename", 1), ("fsync", 1), ("unlink", 1), ("unlink", 3), ("rmdir", 1)]
)
def test_erase_that_fails(lab: Any, faults: Faults, call: str, nth: int) -> None:
    """An erasure that fails half-way says "unknown"; the next one finishes it, and the scope is
    either still whole or gone in between."""
    keys = ["a", "a/b", "c"]
    for key in keys:
        lab.put(T1, key, b"x")
    faults.plan(call, errno.EIO, nth=nth)
    with pytest.raises(StoreError) as caught:
        lab.store.erase(T1)
    faults.end()
    told(caught.value, UnavailableError, UNKNOWN)
    assert lab.keys(T1) in ([], keys)
    lab.store.erase(T1)
    assert list(lab.home(T1).parent.iterdir()) == []


@pytest.mark.parametrize("call", ["pread", "open", "fstat"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_read_that_fails(lab: Any, faults: Faults, call: str, code: int) -> None:
    """A read that the disk fails is "unavailable", never "not found" and never a short object."""
    lab.put(T1, "k", bytes(2 * MIB))
    for read in (lab.store.head, lab.get, lambda scope, key: lab.keys(scope)):
        faults.plan(call, code)
        with pytest.raises(StoreError) as caught:
            read(T1, "k")
        faults.end()
        told(caught.value, UnavailableError, NOT)


def test_stream_that_fails(lab: Any, faults: Faults) -> None:
    """A disk that fails in the middle of a stream raises there."""
    lab.put(T1, "k", bytes(3 * MIB))
    with lab.store.open(T1, "k") as stream:
        next(stream.chunks)
        faults.plan("pread", errno.EIO)
        with pytest.raises(UnavailableError):
            next(stream.chunks)
        faults.end()


def test_out_of_descriptors(lab: Any) -> None:
    """A process that has no descriptor left gets "unavailable", nothing applied, and goes on."""
    import resource

    lab.put(T1, "n/k", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    store = lab.build()
    for spare in range(10):
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            while True:
                try:
                    taken.append(os.open("/", os.O_RDONLY))
                except OSError:
                    break
            for descriptor in taken[:spare]:
                os.close(descriptor)
            del taken[:spare]
            outcome: Outcome | None = None
            try:
                store.put(T1, "n/k", Body(b"old"), lab.attributes())
            except UnavailableError as error:
                outcome = error.outcome
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert outcome in (NOT, None)
        assert (outcome is None) == (spare >= 7), spare
        assert lab.get(T1, "n/k") == b"old"
        assert lab.unfinished(T1) == []


class Disk:
    """Watches the calls that change directories and knows what a loss of power would leave.

    A name is on disk once the directory that holds it was synced after it was made.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.volatile: set[tuple[int, str]] = set()
        self.synced_files: set[int] = set()
        self.unsynced_renames = 0
        real = {name: getattr(os, name) for name in ("mkdir", "rename", "fsync")}

        def mkdir(name: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            real["mkdir"](name, mode, dir_fd=dir_fd)
            if dir_fd is not None:
                self.volatile.add((os.fstat(dir_fd).st_ino, name))

        def rename(old: Any, new: Any, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            moved = os.stat(old, dir_fd=src_dir_fd)
            if not stat.S_ISDIR(moved.st_mode) and moved.st_ino not in self.synced_files:
                self.unsynced_renames += 1
            real["rename"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            self.volatile.add((os.fstat(dst_dir_fd).st_ino, new))

        def fsync(descriptor: int) -> None:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                self.volatile = {each for each in self.volatile if each[0] != status.st_ino}
            else:
                self.synced_files.add(status.st_ino)
            real["fsync"](descriptor)

        for replacement in (mkdir, rename, fsync):
            monkeypatch.setattr(os, replacement.__name__, replacement)

    def keeps(self, path: Path, root: Path) -> bool:
        """Whether every name on the way from the root to a path is on disk."""
        steps = [path, *path.parents]
        steps = steps[: steps.index(root)]
        return not any((step.parent.stat().st_ino, step.name) in self.volatile for step in steps)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_acknowledged_means_on_disk(bare: Any, disk: Disk) -> None:
    """When ``put`` and ``provision`` return, the file was synced before its rename, and every
    name on the way to it after it was made."""
    bare.provision()
    for path in (*bare.root.glob("v1/*"), bare.root / "nexus-filesystem.json"):
        assert disk.keeps(path, bare.root)
    for key in ("k", "a/b/c", "a/b/d", "a/b", "x" * 900, "k"):
        bare.put(T1, key, b"x")
        assert all(disk.keeps(file, bare.root) for file in bare.files(T1))
    bare.store.delete(T1, "a/b/c")
    bare.store.delete(T1, "a/b/d")
    bare.put(T1, "a/b/c", b"x")
    bare.store.erase(T1)
    bare.put(T1, "a/b/c", b"x")
    assert all(disk.keeps(file, bare.root) for file in bare.files(T1))
    assert disk.unsynced_renames == 0


@pytest.mark.parametrize("nth", range(1, 8))
def test_directories_of_a_dead_writer_are_synced_by_the_next(
    lab: Any, disk: Disk, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """A writer that finds a directory whose maker died before syncing it syncs it itself."""
    real = os.fsync
    left = nth

    def dying(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        real(descriptor)

    monkeypatch.setattr(os, "fsync", dying)
    with pytest.raises(KeyboardInterrupt):
        lab.put(T1, "a/b/c/k", b"x")
    monkeypatch.setattr(os, "fsync", real)
    lab.put(T1, "a/b/c/k", b"x")
    assert disk.keeps(lab.home(T1) / "a/b/c/k~o", lab.root)


def test_settled_directories_are_not_synced_again(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put into directories that are on disk syncs its file and its directory, and no more."""
    lab.put(T1, "a/b/c/k", b"x")
    real = os.fsync
    calls: list[int] = []

    def counting(descriptor: int) -> None:
        calls.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", counting)
    lab.put(T1, "a/b/c/k", b"y")
    lab.put(T1, "a/b/c/l", b"y")
    assert len(calls) == 4
