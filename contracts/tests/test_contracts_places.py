"""The checks of places and streams: an honest store passes, and nothing is passed in silence."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import pytest
from nexus_contracts import BackendHarness, FolderBackDoor, Namespace
from nexus_contracts._catalogue import catalogue
from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._engine import run_one
from nexus_contracts._streams import overheard
from nexus_contracts._verdict import Outcome, Status
from nexus_contracts.zoo._damaged import any_mark, marked_harness
from nexus_contracts.zoo._places import placed_harness

from nexus_core.spi import StoreRole

REQUIREMENTS: Final = {each.id: each for each in catalogue()}


def outcome(harness: BackendHarness, name: str) -> Outcome:
    return run_one(harness, REQUIREMENTS[name])


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_an_honest_place_passes(role: StoreRole) -> None:
    """A store that looks for its place before every call does all that is asked of places."""
    for name in attrs.astuple(PLACED[role]):
        found = outcome(placed_harness(role), name)
        assert (found.status, found.message) == (Status.PASSED, ""), name


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_a_mark_that_is_read_passes(role: StoreRole) -> None:
    """A store that reads its mark before every call passes, whatever becomes of a file beside it
    that nobody reads."""
    for name in attrs.astuple(PLACED[role]):
        found = outcome(marked_harness(role), name)
        assert (found.status, found.message) == (Status.PASSED, ""), name


def test_contracts_a_place_without_a_back_door_is_not_damaged() -> None:
    """Where nobody can write below the store, that it reads its mark is a gap."""
    harness = attrs.evolve(marked_harness(StoreRole.RAW), reality="real", back_door=None)
    found = outcome(harness, PLACED[StoreRole.RAW].damaged)
    assert found.status is Status.NOT_RUN
    assert "nothing can be damaged" in found.message


def test_contracts_a_back_door_that_cannot_write_damages_nothing() -> None:
    """What an engine does not let anybody write under a name is not tried there."""

    @attrs.frozen
    class Door:
        """Shows files, and fails to write any."""

        behind: FolderBackDoor

        def snapshot(self) -> Mapping[str, bytes]:
            return self.behind.snapshot()

        def write(self, name: str, data: bytes) -> None:
            raise OSError(f"{name} takes no {len(data)} bytes")

        def remove(self, name: str) -> None:
            self.behind.remove(name)

    harness = attrs.evolve(
        marked_harness(StoreRole.RAW, reads=any_mark),
        back_door=lambda namespace: Door(FolderBackDoor(namespace.path / "store")),
    )
    assert outcome(harness, PLACED[StoreRole.RAW].damaged).status is Status.PASSED


def test_contracts_a_place_that_nobody_takes_away_is_not_tested() -> None:
    """Without a remove, and with another back door than a folder's, a vanished place is a gap."""

    @attrs.frozen
    class Door:
        """As the folder's, but of another class."""

        behind: FolderBackDoor

        def snapshot(self) -> Mapping[str, bytes]:
            return self.behind.snapshot()

        def write(self, name: str, data: bytes) -> None:
            self.behind.write(name, data)

        def remove(self, name: str) -> None:
            self.behind.remove(name)

    honest = placed_harness(StoreRole.AUDIT)
    harness = attrs.evolve(
        honest,
        reality="real",
        back_door=lambda namespace: Door(FolderBackDoor(namespace.path / "store")),
    )
    found = outcome(harness, "CFG-411")
    assert found.status is Status.NOT_RUN
    assert "no remove" in found.message

    def remove(namespace: Namespace) -> None:
        honest.take_away(namespace)

    assert outcome(attrs.evolve(harness, remove=remove), "CFG-411").status is Status.PASSED


def test_contracts_a_remove_that_removes_nothing_is_told() -> None:
    """A harness whose remove leaves the place there does not pass for a store that looks."""
    harness = attrs.evolve(placed_harness(StoreRole.RAW), remove=lambda _: None)
    found = outcome(harness, "CFG-111")
    assert found.status is Status.FAILED
    assert "still says" in found.message


def test_contracts_a_folder_is_taken_away_as_a_whole(tmp_path: Path) -> None:
    """Of a store that has the namespace's own folder, everything in it goes, links not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    place = tmp_path / "place"
    (place / "deep").mkdir(parents=True)
    (place / "file").touch()
    (place / "link").symlink_to(outside)
    harness = attrs.evolve(
        placed_harness(StoreRole.RAW),
        back_door=lambda namespace: FolderBackDoor(namespace.path),
    )
    harness.take_away(Namespace(place))
    assert list(place.iterdir()) == []
    assert (outside / "kept").is_file()


def test_contracts_streams_are_overheard_by_every_road(capfd: pytest.CaptureFixture[str]) -> None:
    """What is printed, and what is written to the descriptors, is heard, and said all the same."""
    with overheard() as heard:
        sys.stdout.write("by Python\n")
        sys.stderr.write("by Python too")
        os.write(1, b"by the system\n")
        os.write(2, b"by the system too")
    assert heard.said["stdout"].split(b"\n") == [b"by Python", b"by the system", b""]
    assert b"by Python too" in heard.said["stderr"]
    assert b"by the system too" in heard.said["stderr"]
    sys.stdout.write("afterwards\n")
    said = capfd.readouterr()
    assert said.out == "by Python\nby the system\nafterwards\n"
    assert "by Python too" in said.err
