"""The root: provisioned explicitly, checked without a trace, never taken for granted."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nexus_embedded._database import create_database

from nexus_core.spi import ConfigurationError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab

MARKER = "nexus-embedded.json"


def codes(lab: Lab) -> set[str]:
    """The codes of what ``check`` finds, which must leave no trace."""
    before = lab.tree()
    found = {problem.code for problem in lab.build().check()}
    assert lab.tree() == before
    return found


def test_a_provisioned_root_is_ready(lab: Lab) -> None:
    """After provisioning nothing is wrong, and doing it again makes nothing."""
    assert codes(lab) == set()
    before = lab.tree()
    assert lab.provision() == []
    assert lab.tree() == before


def test_check_reports_a_missing_root(lab: Lab) -> None:
    """A root that does not exist is a problem and is not created."""
    shutil.rmtree(lab.root)
    assert codes(lab) == {"store.missing"}


def test_check_reports_a_root_that_is_a_file(lab: Lab) -> None:
    """A root that is a file is a problem, for check and for provisioning."""
    shutil.rmtree(lab.root)
    lab.root.write_text("occupied")
    assert codes(lab) == {"store.missing"}
    with pytest.raises(ConfigurationError):
        lab.provision()


def test_check_reports_a_missing_marker(lab: Lab) -> None:
    """A directory without the marker is not taken for a root."""
    (lab.root / MARKER).unlink()
    assert codes(lab) == {"store.unprovisioned"}


@pytest.mark.parametrize(
    "text", ["", "[]", "not json", '{"format": "other", "layout": 1}', '{"layout": 1}', "\xff"]
)
def test_check_reports_a_marker_that_is_not_ours(lab: Lab, text: str) -> None:
    """Only a readable marker of this format makes a directory a root."""
    (lab.root / MARKER).write_bytes(text.encode("latin-1"))
    assert codes(lab) == {"store.unprovisioned"}


@pytest.mark.parametrize("layout", [0, -1, True, 1.0, "1", None])
def test_check_reports_a_layout_that_is_no_version(lab: Lab, layout: object) -> None:
    """A layout version is a positive integer."""
    (lab.root / MARKER).write_text(json.dumps({"format": "nexus-embedded", "layout": layout}))
    assert codes(lab) == {"store.unprovisioned"}


def test_a_newer_layout_is_refused(lab: Lab) -> None:
    """A root of a newer version is reported, not provisioned over, and not written to."""
    (lab.root / MARKER).write_text('{"format": "nexus-embedded", "layout": 2}')
    assert codes(lab) == {"store.newer"}
    with pytest.raises(ConfigurationError):
        lab.provision()
    with pytest.raises(UnavailableError):
        lab.build().create_index(lab.a, lab.definition())


def test_check_reports_an_engine_that_is_too_old(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without what the store needs is found before any write fails for it."""
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 37, 2))
    assert codes(lab) == {"store.engine"}


# A superuser without capabilities is a user like any other, and still the files' owner, however
# closed the directories above are (version 3 of the kernel's capset, every set empty).
BOUND = """
import ctypes, os
if os.geteuid() == 0:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
"""


@pytest.fixture
def open_lab(lab_type: type[Lab]) -> Iterator[Lab]:
    """A root that its owner has again after the test, whatever became of its permissions."""
    with tempfile.TemporaryDirectory() as base:
        lab = lab_type(Path(base))
        lab.provision()
        yield lab
        lab.base.chmod(0o755)
        lab.root.chmod(0o755)


def test_check_reports_everything_at_once(open_lab: Lab) -> None:
    """Missing permission and a missing marker are both found in one pass, leaving no trace."""
    (open_lab.root / MARKER).unlink()
    open_lab.root.chmod(0o555)
    before = open_lab.tree()
    with open_lab.worker(BOUND + "say(*sorted({p.code for p in store.check()}))") as other:
        out, _ = other.communicate()
    assert out.split() == ["store.permission", "store.unprovisioned"]
    assert open_lab.tree() == before


def test_check_reports_a_root_that_it_may_not_even_look_at(open_lab: Lab) -> None:
    """A root behind a directory that this user may not search is a problem, not an exception."""
    open_lab.base.chmod(0o600)
    with open_lab.worker(BOUND + "say(*[p.code for p in store.check()])") as other:
        out, _ = other.communicate()
    assert out.split() == ["store.missing"]


def test_a_database_is_never_made_in_a_root_that_is_gone(lab: Lab) -> None:
    """Even in the instant between looking and making, the marker must be there."""
    shutil.rmtree(lab.root)
    with pytest.raises(UnavailableError):
        create_database(lab.root, lab.a, 1.0)
    assert lab.tree() == {}


def test_provisioning_refuses_a_directory_that_holds_something_else(lab: Lab) -> None:
    """An occupied directory without the marker is never adopted."""
    (lab.root / MARKER).unlink()
    (lab.root / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError):
        lab.provision()
    assert [path.name for path in lab.root.iterdir()] == ["thesis.txt"]


def test_the_factory_writes_nothing(lab: Lab) -> None:
    """Building, checking and closing a store leaves no trace, provisioned or not."""
    for provisioned in (True, False):
        if not provisioned:
            shutil.rmtree(lab.root)
        before = lab.tree()
        store = lab.build()
        store.check()
        store.close()
        assert lab.tree() == before


def test_an_unprovisioned_root_is_never_made_by_use(lab: Lab) -> None:
    """Without its root the store is unavailable, for reads and writes, and creates nothing."""
    shutil.rmtree(lab.root)
    store = lab.build()
    for call in (
        lambda: store.create_index(lab.a, lab.definition()),
        lambda: store.get_index(lab.a, "notes", 1),
        lambda: store.list_indexes(lab.a),
        lambda: store.erase(lab.a),
    ):
        with pytest.raises(UnavailableError):
            call()
    assert lab.tree() == {}


def test_a_root_that_goes_away_is_not_an_empty_store(lab: Lab) -> None:
    """When the volume is unmounted, data is unavailable rather than not found; it comes back."""
    store = lab.build()
    store.create_index(lab.a, lab.definition())
    away = lab.base / "away"
    lab.root.rename(away)
    lab.root.mkdir()
    with pytest.raises(UnavailableError):
        store.get_index(lab.a, "notes", 1)
    with pytest.raises(UnavailableError):
        store.create_index(lab.b, lab.definition())
    assert list(lab.root.iterdir()) == []
    lab.root.rmdir()
    away.rename(lab.root)
    assert store.get_index(lab.a, "notes", 1).definition == lab.definition()


def test_relative_roots_are_relative_to_the_configuration(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The process's own directory has no say in where the store is."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    lab.build().create_index(lab.a, lab.definition())
    assert lab.database(lab.a).is_relative_to(lab.root)
    assert list(Path.cwd().iterdir()) == []


def test_reads_create_nothing(lab: Lab) -> None:
    """No read of a scope that holds nothing makes a file or a directory."""
    store = lab.build()
    ref = store.create_index(lab.b, lab.definition())
    before = lab.tree()
    calls: list[Callable[[], object]] = [
        lambda: store.get_index(lab.a, "notes", 1),
        lambda: store.upsert(lab.a, ref, lab.batch([("x", [1, 0, 0], {})])),
        lambda: store.get(lab.a, ref, ["x"]),
        lambda: store.delete(lab.a, ref, ["x"]),
        lambda: lab.ask(store, lab.a, ref, [[1, 0, 0]], 1),
        lambda: store.count(lab.a, ref, None),
        lambda: store.scan(lab.a, ref),
        lambda: store.statistics(lab.a, ref),
    ]
    for call in calls:
        with pytest.raises(NotFoundError):
            call()
    assert list(store.list_indexes(lab.a)) == []
    store.drop_index(lab.a, ref)
    assert store.erase(lab.a) == 0
    assert lab.tree() == before
