"""Limits that are said, reads that find nothing, a disk that refuses, and atoms written out."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core import (
    ByteRange,
    Eq,
    InvalidArgumentError,
    NewAtom,
    NotFoundError,
    QuotaExceededError,
    Source,
    UnavailableError,
)

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}
MANY = [f"id-{number}" for number in range(10_001)]

CALLS: dict[str, Callable[[Any, list[str]], Any]] = {
    "assets.get": lambda n, ids: n.assets.get(ids),
    "atoms.get": lambda n, ids: n.atoms.get(ids),
    "vectors.get": lambda n, ids: n.vectors.get("tiny", ids),
    "vectors.delete": lambda n, ids: n.vectors.delete("tiny", ids),
    "lineage.ancestors": lambda n, ids: n.lineage.ancestors(ids),
    "raw.delete_many": lambda n, ids: n.raw.delete_many(ids),
    "raw.get_ranges": lambda n, ids: n.raw.get_ranges("k", [ByteRange(0, 1)] * len(ids)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_takes_ten_thousand_and_no_more(world: World, call: str) -> None:
    """Ten thousand are taken; one more is refused by name before anything is on record."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"1", **OWN)
        with pytest.raises(InvalidArgumentError, match="at most 10000"):
            CALLS[call](n, MANY)
    assert [r for r in world.trail(context()) if r[1] not in ("raw.put",)] == []


@pytest.mark.parametrize(
    ("call", "action"),
    [
        (lambda n: n.raw.head("absent"), "raw.head"),
        (lambda n: n.raw.get("absent"), "raw.get"),
        (lambda n: n.raw.open("absent").__enter__(), "raw.get"),
        (lambda n: n.raw.get_ranges("absent", [ByteRange(0, 1)]), "raw.get"),
        (lambda n: n.raw.presign_get("absent"), "raw.presign"),
    ],
)
def test_a_read_that_finds_nothing_is_on_record(
    world: World, call: Callable[[Any], Any], action: str
) -> None:
    """Whoever asked for what is not there is in the trail, with the key and the answer."""
    with world.nexus.request(context()) as n, pytest.raises(NotFoundError):
        call(n)
    assert world.trail(context()) == [("access", action, "store.not_found")]
    with world.nexus.request(context(role="owner")) as n:
        (record, *_) = n.audit.read().items
        assert record.ids == ("absent",)  # type: ignore[union-attr]  # nothing is erased


REFUSALS = {
    errno.ENOSPC: QuotaExceededError,
    errno.EDQUOT: QuotaExceededError,
    errno.EIO: UnavailableError,
}


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("form", ["bytes", "file"])
def test_a_temporary_folder_that_refuses_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, form: str
) -> None:
    """A full or broken temporary folder is an error of the tree, and not taken for the file's."""
    (tmp_path / "a.txt").write_bytes(b"cab\n")
    body: Any = b"cab\n" if form == "bytes" else tmp_path / "a.txt"

    class Full:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def fileno(self) -> int:
            return 0

        def write(self, _: bytes) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    source = Source(logical_key="a", content_type="text/plain", body=body)
    with world.nexus.request(context()) as n:
        if REFUSALS[number] is UnavailableError:
            with pytest.raises(UnavailableError, match="temporary folder"):
                n.ingest([source], **OWN)
        else:
            (item,) = n.ingest([source], **OWN).items
            assert item.error == QuotaExceededError.code
            assert "temporary folder" in str(item.message)


def test_a_temporary_folder_that_is_gone_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A temporary folder that is not there is unavailable, whatever else is wrong."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    source = Source(logical_key="a", content_type="text/plain", body=b"cab\n")
    with (
        world.nexus.request(context()) as n,
        pytest.raises(UnavailableError, match="temporary folder"),
    ):
        n.ingest([source], **OWN)


def test_atoms_are_exported_with_their_texts(world: World) -> None:
    """Every atom that matches is one line of JSON with its text, long ones too, in id order."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"1", **OWN, train_ok=True)
        asset = n.assets.register("k").id
        made: Any = {"operation": "cut", "version": "1"}
        texts = [f"text {number}" for number in range(450)] + ["long " * 20_000]
        new = [NewAtom(position=at, text=text) for at, text in enumerate(texts)]
        n.atoms.put(asset, new, **OWN, **made, train_ok=True)
        n.atoms.put(asset, [NewAtom(position=900, text="kept out")], **OWN, **made)
        lines = [json.loads(line) for line in n.atoms.export()]
        assert sorted(line["text"] for line in lines) == sorted([*texts, "kept out"])
        assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
        assert lines[0]["governance"]["space"] == "s"
        training = [json.loads(line) for line in n.atoms.export(training=True)]
        assert sorted(line["text"] for line in training) == sorted(texts)
        (one,) = n.atoms.export(Eq("position", 900))
        assert json.loads(one)["text"] == "kept out"
        kinds = {event.action for event in n.events.list(limit=1000).items}
    assert "atom.export" in kinds
    assert ("access", "atom.export", "ok") in world.trail(context())


def test_an_export_ends_with_its_request(world: World) -> None:
    """Lines that are asked for after the request has ended are refused."""
    with world.nexus.request(context()) as n:
        lines = n.atoms.export()
    with pytest.raises(Exception, match="request has ended"):
        next(lines)
