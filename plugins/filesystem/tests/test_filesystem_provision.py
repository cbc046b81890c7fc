"""Only ``provision`` creates; ``check`` tells everything that is wrong, and writes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nexus_core.spi import (
    Body,
    ClosedError,
    ConfigurationError,
    Outcome,
    PermissionDeniedError,
    Scope,
    StoreError,
    UnavailableError,
)

T1 = Scope("t1", "dev")


def tree(path: Path) -> dict[str, tuple[int, int]]:
    """Everything below a path, with what changes when it is touched."""
    return {
        str(found.relative_to(path)): (found.lstat().st_ino, found.lstat().st_mtime_ns)
        for found in path.rglob("*")
    }


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_provision_makes_a_store_that_checks(bare: Any) -> None:
    """Provisioning names what it made, after which there is no problem; again, it makes nothing."""
    made = bare.provision()
    assert [line.split()[0] for line in made] == ["directory"] * 5 + ["marker"]
    assert list(bare.store.check()) == []
    before = tree(bare.base)
    assert bare.provision() == []
    assert tree(bare.base) == before
    marker = json.loads((bare.root / "nexus-filesystem.json").read_text())
    assert marker == {"format": "nexus-filesystem", "layout": 1}


def test_provision_makes_directories_above(bare: Any) -> None:
    """A root several directories deep is made whole, and its files are the owner's alone."""
    bare.config = type(bare.config)(root="a/b/raw")
    bare.provision()
    assert list(bare.store.check()) == []
    assert (bare.base / "a/b/raw").stat().st_mode & 0o077 == 0


def test_provision_finishes_what_was_cut_short(bare: Any) -> None:
    """A provisioning that died before its marker is completed by the next."""
    bare.provision()
    marker = bare.root / "nexus-filesystem.json"
    marker.rename(bare.root / "nexus-filesystem.json~new")
    (bare.root / "v1/prod").rmdir()
    assert len(bare.provision()) == 2
    assert list(bare.store.check()) == []
    assert not (bare.root / "nexus-filesystem.json~new").exists()


def test_factory_and_check_create_nothing(bare: Any) -> None:
    """Building a store and checking it leave an empty directory empty."""
    assert len(bare.store.check()) == 1
    assert tree(bare.base) == {}


@pytest.mark.parametrize("name", ["put", "head", "open", "list", "delete", "copy", "erase"])
def test_unprovisioned_store_is_unavailable(bare: Any, name: str) -> None:
    """Without its root a store neither creates one nor calls an object absent."""
    with pytest.raises(UnavailableError) as caught:
        call(bare, name)
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert tree(bare.base) == {}


@pytest.mark.parametrize("name", ["put", "head", "open", "list", "delete", "copy", "erase"])
def test_unmounted_store_is_unavailable(lab: Any, name: str) -> None:
    """The empty directory where the root was mounted is not taken for an empty store."""
    lab.put(T1, "k", b"1")
    shutil.rmtree(lab.root)
    lab.root.mkdir()
    with pytest.raises(UnavailableError):
        call(lab, name)
    assert tree(lab.root) == {}


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": "nexus-embedded", "layout": 1}', "\udcff", None]
)
@pytest.mark.parametrize("name", ["put", "head", "open", "list", "delete", "copy", "erase"])
def test_root_of_another_store_is_unavailable(lab: Any, name: str, text: str | None) -> None:
    """A root whose marker is another's, is damaged or is newer is not worked in; mended, it is."""
    lab.put(T1, "k", b"1")
    marker = lab.root / "nexus-filesystem.json"
    whole = marker.read_bytes()
    newer = whole.replace(b"1", b"2")
    marker.write_bytes(newer if text is None else text.encode("utf-8", "surrogateescape"))
    before = tree(lab.root)
    assert len(lab.store.check()) == 1
    with pytest.raises(UnavailableError) as caught:
        call(lab, name)
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert tree(lab.root) == before
    marker.write_bytes(whole)
    call(lab, "head")


@pytest.mark.parametrize("name", ["put", "head", "open", "list", "delete", "copy", "erase"])
def test_closed_store_refuses(lab: Any, name: str) -> None:
    """After ``close``, which may be called twice, every call raises ``ClosedError``."""
    store = lab.store
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        call(lab, name, store)
    with pytest.raises(ClosedError):
        store.check()
    assert lab.files(T1) == []


def call(lab: Any, name: str, store: Any = None) -> None:
    """Call a verb of a store with sensible arguments."""
    store = store or lab.store
    attributes = lab.attributes()
    calls: dict[str, Callable[[], object]] = {
        "put": lambda: store.put(T1, "k", Body(b"x"), attributes),
        "head": lambda: store.head(T1, "k"),
        "open": lambda: store.open(T1, "k").__enter__(),
        "list": lambda: store.list(T1),
        "delete": lambda: store.delete(T1, "k"),
        "copy": lambda: store.copy(T1, "k", "l", attributes),
        "erase": lambda: store.erase(T1),
    }
    calls[name]()


def test_root_that_is_a_file(bare: Any) -> None:
    """A root that is a file is one problem, is not provisioned and is left alone."""
    bare.root.write_text("mine")
    (problem,) = bare.store.check()
    assert problem.path == "root"
    assert "is not a directory" in problem.what
    with pytest.raises(ConfigurationError):
        bare.provision()
    assert bare.root.read_text() == "mine"


def test_root_below_a_file(bare: Any) -> None:
    """A root below a file is a problem, and provisioning it an error that names it."""
    (bare.base / "raw").write_text("mine")
    bare.config = type(bare.config)(root="raw/below")
    (problem,) = bare.store.check()
    assert "raw/below" in problem.what
    with pytest.raises(ConfigurationError, match="raw/below"):
        bare.provision()


def test_root_with_other_things(bare: Any) -> None:
    """A directory that holds other things is not turned into a store."""
    bare.root.mkdir()
    (bare.root / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="other things"):
        bare.provision()
    assert list(tree(bare.root)) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("marker", "word"),
    [
        ('{"format": "nexus-filesystem", "layout": 2}', "layout 2"),
        ('{"format": "other", "layout": 1}', "not one of this store's"),
        ('{"format": "nexus-filesystem", "layout": "1"}', "not one of this store's"),
        ("[]", "not one of this store's"),
        ("", "not one of this store's"),
        ("\udc80".encode("utf-8", "surrogateescape").decode("latin-1"), "not one of this store's"),
    ],
)
def test_marker_that_is_not_ours(lab: Any, marker: str, word: str) -> None:
    """A newer or foreign marker is a problem, and provisioning refuses it and changes nothing."""
    (lab.root / "nexus-filesystem.json").write_text(marker)
    before = tree(lab.root)
    (problem,) = lab.store.check()
    assert problem.path == "root"
    assert word in problem.what
    with pytest.raises(ConfigurationError, match=word):
        lab.provision()
    assert tree(lab.root) == before


def test_problems_come_all_at_once(
    without_privileges: Path, make_lab: Callable[[Path], Any]
) -> None:
    """Unwritable and missing directories and a newer marker are told in one go."""
    lab = make_lab(without_privileges)
    lab.provision()
    (lab.root / "nexus-filesystem.json").write_text('{"format": "nexus-filesystem", "layout": 9}')
    (lab.root / "v1/staging").rmdir()
    with mode(lab.root / "v1/prod", 0o500), mode(lab.root, 0o500):
        problems = lab.store.check()
    assert {problem.path for problem in problems} == {"root"}
    told = [problem.what.removeprefix("the directory ") for problem in problems]
    assert told == [
        f"{lab.root} cannot be read, written and entered",
        f"{lab.root}/v1/staging does not exist",
        f"{lab.root}/v1/prod cannot be read, written and entered",
        f"{lab.root} has layout 9; this version knows layouts up to 1",
    ]
    assert all(problem.fix for problem in problems)


def test_unreachable_root_is_a_problem(
    without_privileges: Path, make_lab: Callable[[Path], Any]
) -> None:
    """A root behind a directory that may not be entered is a problem, not an exception."""
    lab = make_lab(without_privileges)
    lab.provision()
    with mode(without_privileges, 0o000):
        (problem,) = lab.store.check()
    assert "cannot be reached" in problem.what


def test_refused_permissions(without_privileges: Path, make_lab: Callable[[Path], Any]) -> None:
    """What the file system refuses is ``PermissionDeniedError`` without a path, nothing applied."""
    lab = make_lab(without_privileges)
    lab.provision()
    lab.put(T1, "n/k", b"1")
    for path, names in (
        (lab.root / "v1/dev/t1/n", ("put_deep", "delete_deep")),
        (lab.root / "v1/dev/t1/~tmp", ("put_deep",)),
        (lab.root / "v1/dev", ("erase",)),
    ):
        with mode(path, 0o500):
            for name in names:
                with pytest.raises(PermissionDeniedError) as caught:
                    deep(lab, name)
                refused(caught.value, lab.root)
    with mode(lab.files(T1)[0], 0o000):
        for name in ("head", "list"):
            with pytest.raises(PermissionDeniedError) as caught:
                deep(lab, name)
            refused(caught.value, lab.root)
    assert lab.get(T1, "n/k") == b"1"


def deep(lab: Any, name: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "put_deep": lambda: lab.put(T1, "n/k", b"2"),
        "delete_deep": lambda: lab.store.delete(T1, "n/k"),
        "erase": lambda: lab.store.erase(T1),
        "head": lambda: lab.store.head(T1, "n/k"),
        "list": lambda: lab.store.list(T1),
    }
    calls[name]()


def refused(error: StoreError, root: Path) -> None:
    chain = f"{error} {error!r} {error.args} {error.__cause__} {error.__context__}"
    assert str(root) not in chain
    assert "~tmp" not in chain
    assert os.sep + "dev" not in chain
