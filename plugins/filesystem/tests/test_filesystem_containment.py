"""Nothing that is planted below the root leads out of it, or into another scope."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nexus_filesystem import _beneath

from nexus_core.spi import (
    IntegrityError,
    NotFoundError,
    PreconditionFailedError,
    Scope,
    StoreError,
    UnavailableError,
)

T1 = Scope("t1", "dev")
OTHER = Scope("t10", "prod")
SECRET = b"the neighbour's"


@pytest.fixture(params=["openat2", "step by step"], autouse=True)
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test here runs with the kernel's confined open, and with the one that replaces it."""
    if request.param != "openat2":
        monkeypatch.setattr(_beneath, "_openat2", lambda: None)
    _beneath._opener.cache_clear()
    stepwise = _beneath._opener() is _beneath._step_by_step
    assert stepwise == (request.param != "openat2")
    yield
    _beneath._opener.cache_clear()


@pytest.fixture
def outside(lab: Any, tmp_path: Path) -> Path:
    """A directory beside the root, with a copy of the root's other scope's object in it."""
    lab.put(OTHER, "k", SECRET)
    place = tmp_path / "outside"
    place.mkdir()
    (place / "k~o").write_bytes((lab.home(OTHER) / "k~o").read_bytes())
    (place / "plain").write_bytes(SECRET)
    return place


def snapshot(place: Path) -> dict[str, bytes]:
    return {str(f.relative_to(place)): f.read_bytes() for f in place.rglob("*") if f.is_file()}


def refuses_to_read(lab: Any, key: str) -> None:
    """The key is absent to every verb that reads."""
    for call in (lab.store.head, lab.get):
        with pytest.raises(NotFoundError):
            call(T1, key)
    with pytest.raises(NotFoundError):
        lab.store.copy(T1, key, "elsewhere", lab.attributes())
    for bounds in ({}, {"delimiter": "/"}, {"prefix": key}, {"prefix": key[:1]}):
        assert lab.keys(T1, **bounds) == [], bounds


Planter = Callable[[Path, Path, Any], object]

FILES: dict[str, Planter] = {
    "absolute link": lambda at, outside, lab: at.symlink_to(outside / "k~o"),
    "relative link": lambda at, outside, lab: at.symlink_to("../../../../outside/k~o"),
    "link to a scope": lambda at, outside, lab: at.symlink_to(lab.home(OTHER) / "k~o"),
    "link to plain": lambda at, outside, lab: at.symlink_to(outside / "plain"),
    "dangling link": lambda at, outside, lab: at.symlink_to(outside / "new"),
    "loop": lambda at, outside, lab: at.symlink_to(at.name),
    "magic link": lambda at, outside, lab: at.symlink_to(f"/proc/self/root{outside}/k~o"),
    "hard link": lambda at, outside, lab: at.hardlink_to(lab.home(OTHER) / "k~o"),
    "hard link to plain": lambda at, outside, lab: at.hardlink_to(outside / "plain"),
    "copy": lambda at, outside, lab: at.write_bytes((outside / "k~o").read_bytes()),
    "pipe": lambda at, outside, lab: os.mkfifo(at),
}


@pytest.mark.parametrize("kind", FILES)
def test_planted_file(lab: Any, outside: Path, kind: str) -> None:
    """A planted link, hard link, copy or pipe under a key's name is not there to read, list or
    delete; a put replaces the name itself and writes through nothing."""
    lab.put(T1, "gone", b"x")
    lab.store.delete(T1, "gone")
    at = lab.home(T1) / "k~o"
    FILES[kind](at, outside, lab)
    before = snapshot(outside)
    refuses_to_read(lab, "k")
    lab.store.delete(T1, "k")
    refuses_to_read(lab, "k")
    assert snapshot(outside) == before
    lab.put(T1, "k", b"mine", if_absent=True)
    assert lab.get(T1, "k") == b"mine"
    assert at.is_file()
    assert not at.is_symlink()
    assert snapshot(outside) == before
    assert lab.get(OTHER, "k") == SECRET
    lab.store.delete(T1, "k")
    assert lab.keys(T1) == []
    assert snapshot(outside) == before


@pytest.mark.parametrize("kind", FILES)
def test_erasing_a_planted_file(lab: Any, outside: Path, kind: str) -> None:
    """Erasing a scope removes what was planted in it, does not count it, and touches nothing that
    it leads to."""
    lab.put(T1, "mine", b"x")
    FILES[kind](lab.home(T1) / "k~o", outside, lab)
    before = snapshot(outside)
    assert lab.store.erase(T1) == 1
    assert not lab.home(T1).exists()
    assert snapshot(outside) == before
    assert lab.get(OTHER, "k") == SECRET


DIRECTORIES: dict[str, Callable[[Path, Any], str]] = {
    "absolute": lambda outside, lab: str(outside),
    "relative": lambda outside, lab: "../../../../outside",
    "another scope": lambda outside, lab: str(lab.home(OTHER)),
    "dangling": lambda outside, lab: str(outside / "new"),
    "magic": lambda outside, lab: f"/proc/self/root{outside}",
    "working directory": lambda outside, lab: "/proc/self/cwd",
    "itself": lambda outside, lab: ".",
}


@pytest.mark.parametrize("depth", ["n", "n/o"])
@pytest.mark.parametrize("kind", DIRECTORIES)
def test_planted_directory(lab: Any, outside: Path, kind: str, depth: str) -> None:
    """A link in place of a directory is not followed by any verb, whatever it leads to."""
    key = f"{depth}/k"
    lab.put(T1, "gone", b"x")
    lab.store.delete(T1, "gone")
    at = lab.home(T1) / depth
    at.parent.mkdir(exist_ok=True)
    at.symlink_to(DIRECTORIES[kind](outside, lab))
    before = snapshot(outside), snapshot(lab.home(OTHER))
    refuses_to_read(lab, key)
    lab.store.delete(T1, key)
    for condition in ({}, {"if_absent": True}):
        with pytest.raises(IntegrityError) as caught:
            lab.put(T1, key, b"mine", **condition)
        assert caught.value.outcome == "not_applied"
        assert str(lab.root) not in f"{caught.value} {caught.value.__context__}"
    assert (snapshot(outside), snapshot(lab.home(OTHER))) == before
    assert at.is_symlink()
    assert lab.unfinished(T1) == []
    assert lab.store.erase(T1) == 0
    assert not lab.home(T1).exists()
    assert (snapshot(outside), snapshot(lab.home(OTHER))) == before


@pytest.mark.parametrize("moved", ["n/o/k~o", "n/o", "n"])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("place", ["outside", "raw/v1/dev/t1"])
def test_links_are_not_followed_even_to_the_object_itself(
    lab: Any, tmp_path: Path, moved: str, relative: bool, place: str
) -> None:
    """An object, or a directory of it, that was moved away and linked to is gone for every verb,
    and what lies there stays as it is."""
    lab.put(T1, "n/o/k", b"mine")
    lab.put(T1, "other", b"mine")
    (tmp_path / place).mkdir(exist_ok=True)
    away = tmp_path / place / "~away"
    at = lab.home(T1) / moved
    at.rename(away)
    at.symlink_to(os.path.relpath(away, at.parent) if relative else away)
    assert (lab.home(T1) / "n/o/k~o").read_bytes()
    for call in (lab.store.head, lab.get):
        with pytest.raises(NotFoundError):
            call(T1, "n/o/k")
    assert lab.keys(T1) == ["other"]
    assert lab.keys(T1, prefix="n/o/") == []
    assert lab.keys(T1, delimiter="/") == ["other"]
    lab.store.delete(T1, "n/o/k")
    with pytest.raises(PreconditionFailedError):
        lab.store.delete(T1, "n/o/k", if_match="x")
    assert (lab.home(T1) / "n/o/k~o").read_bytes()
    lab.store.erase(T1)
    assert away.exists() == (place == "outside")


def test_planted_scope(lab: Any, outside: Path) -> None:
    """A link in place of a scope's directory is an empty scope that cannot be written."""
    lab.home(T1).symlink_to(lab.home(OTHER))
    before = snapshot(lab.home(OTHER))
    refuses_to_read(lab, "k")
    lab.store.delete(T1, "k")
    assert lab.store.erase(T1) == 0
    with pytest.raises(IntegrityError):
        lab.put(T1, "k", b"mine")
    assert snapshot(lab.home(OTHER)) == before


def test_link_to_the_scope_itself(lab: Any, tmp_path: Path) -> None:
    """A scope's directory that was moved out and linked to is gone, and stays as it is."""
    lab.put(T1, "k", b"mine")
    away = tmp_path / "away"
    lab.home(T1).rename(away)
    lab.home(T1).symlink_to(away)
    before = snapshot(away)
    refuses_to_read(lab, "k")
    lab.store.delete(T1, "k")
    with pytest.raises(IntegrityError):
        lab.put(T1, "k", b"new")
    assert lab.store.erase(T1) == 0
    assert snapshot(away) == before


def test_planted_environment(lab: Any, outside: Path) -> None:
    """A link in place of an environment's directory makes it unavailable."""
    (lab.root / "v1/staging").rmdir()
    (lab.root / "v1/staging").symlink_to(lab.root / "v1/prod")
    scope = Scope(OTHER.tenant_id, "staging")
    calls: list[Callable[[], object]] = [
        lambda: lab.get(scope, "k"),
        lambda: lab.keys(scope),
        lambda: lab.put(scope, "k", b"mine"),
        lambda: lab.store.erase(scope),
    ]
    for call in calls:
        with pytest.raises(UnavailableError):
            call()
    assert lab.get(OTHER, "k") == SECRET


@pytest.mark.parametrize("name", ["~tmp", "~lock"])
@pytest.mark.parametrize("target", ["", "new", "k~o"])
def test_planted_control_name(lab: Any, outside: Path, name: str, target: str) -> None:
    """A link in place of a control file is not followed: the write fails, nothing is written."""
    lab.home(T1).mkdir()
    (lab.home(T1) / name).symlink_to(outside / target)
    before = snapshot(outside)
    with pytest.raises(StoreError) as caught:
        lab.put(T1, "k", b"mine")
    assert caught.value.outcome == "not_applied"
    assert snapshot(outside) == before
    assert lab.keys(T1) == []


def test_planted_rubbish_in_tmp(lab: Any, outside: Path) -> None:
    """Sweeping removes names from ``~tmp``, never what links there lead to, nor waits for pipes."""
    lab.put(T1, "k", b"1")
    place = lab.home(T1) / "~tmp"
    (place / "link").symlink_to(outside / "k~o")
    (place / "directory").symlink_to(outside)
    (place / "hard").hardlink_to(outside / "k~o")
    (place / "deep").mkdir()
    (place / "deep/x").write_bytes(b"x")
    os.mkfifo(place / "pipe")
    before = snapshot(outside)
    lab.put(T1, "k", b"2")
    lab.put(T1, "k", b"3")
    assert snapshot(outside) == before
    assert lab.store.erase(T1) == 1
    assert snapshot(outside) == before
    assert not lab.home(T1).exists()


def test_directory_in_place_of_an_object(lab: Any) -> None:
    """A directory under an object's name is no object, and a put says that it is in the way."""
    (lab.home(T1) / "k~o").mkdir(parents=True)
    refuses_to_read(lab, "k")
    lab.store.delete(T1, "k")
    with pytest.raises(IntegrityError):
        lab.put(T1, "k", b"mine")
    assert lab.unfinished(T1) == []


def test_hard_link_beside_does_no_harm_to_its_owner(lab: Any) -> None:
    """Planting a second name for an object takes nothing from the scope that it belongs to, and
    replacing or deleting the object leaves nothing behind that another key could read."""
    lab.put(T1, "k", b"mine")
    (lab.home(T1) / "l~o").hardlink_to(lab.home(T1) / "k~o")
    assert lab.get(T1, "k") == b"mine"
    assert lab.keys(T1) == ["k"]
    lab.put(T1, "k", b"newer")
    assert lab.get(T1, "k") == b"newer"
    with pytest.raises(NotFoundError):
        lab.get(T1, "l")


def test_names_that_the_codec_does_not_make(lab: Any) -> None:
    """Files under names that no key has are not listed and stand for no key."""
    lab.put(T1, "k", b"x")
    data = (lab.home(T1) / "k~o").read_bytes()
    for name in (
        "K~o",
        "~6b~o",
        "k~_~o",
        "~o",
        "k",
        "k~x",
        "k.~o",
        "con~o",
        ".k~o",
        "k~o~o",
        "ä~o",
    ):
        (lab.home(T1) / name).write_bytes(data)
    os.close(os.open(os.fsencode(lab.home(T1)) + b"/\xff~o", os.O_CREAT))
    (lab.home(T1) / "A").mkdir()
    (lab.home(T1) / "A/k~o").write_bytes(data)
    deep = lab.home(T1)
    for _ in range(40):
        deep /= "a~_"
        deep.mkdir()
        (deep / "k~o").write_bytes(data)
    assert lab.keys(T1) == ["k"]
    assert lab.keys(T1, delimiter="/") == ["k"]
    assert lab.keys(T1, prefix="a" * 30) == []


def exchange(one: Path, other: Path) -> None:
    """Let two names change places in one step (renameat2 with RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = -100
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), 2):
        raise OSError(ctypes.get_errno(), "renameat2")


def test_race_between_directory_and_link(lab: Any, outside: Path) -> None:
    """While a directory is swapped for a link and back, 2,000 operations read nothing foreign,
    write nothing outside and lose nothing."""
    for number in range(4):
        lab.put(T1, f"n/k{number}", b"mine")
        (outside / f"k{number}~o").write_bytes((outside / "k~o").read_bytes())
    real, link = lab.home(T1) / "n", lab.home(T1) / "~link"
    link.symlink_to(outside)
    before = snapshot(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(real, link)
            exchange(real, link)

    swapper = threading.Thread(target=swap)
    swapper.start()
    served = refused = 0
    try:
        for turn in range(2_000):
            key = f"n/k{turn % 4}"
            try:
                if turn % 10 == 0:
                    lab.put(T1, key, b"mine")
                elif turn % 10 == 1:
                    lab.store.delete(T1, "n/absent")
                elif turn % 10 == 2:
                    assert set(lab.keys(T1)) <= {f"n/k{n}" for n in range(4)}
                else:
                    assert lab.get(T1, key) == b"mine"
                served += 1
            except (NotFoundError, IntegrityError):
                refused += 1
    finally:
        stop.set()
        swapper.join()
    assert served
    assert refused
    assert snapshot(outside) == before
    assert {f"n/k{n}" for n in range(4)} == set(lab.keys(T1))
