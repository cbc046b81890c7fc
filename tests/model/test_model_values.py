"""What is printed of a value: never the bytes that it carries."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core._model.audit import LogEntry, LogHead
from nexus_core._model.records import Record
from nexus_core._model.vectors import StoredHit, StoredVector, VectorBatch, Vectors
from nexus_core._spi.spec import Piece

MARK = b"\x5a\x5a\x5a-never-shown-"
VALUES: list[Any] = [
    LogEntry(
        index=1,
        leaf=b"leaf",
        salt=MARK,
        sealed=MARK,
        subject_tag=MARK,
        operation="op",
        phase="intent",
        recorded_at=0,
    ),
    LogHead(size=1, edge=MARK, checkpoint=b"note"),
    Record("atoms", "id", 1, {}, MARK, MARK),
    Piece(text=MARK.decode()),
    StoredVector("id", MARK, {}, MARK),
    StoredHit("id", 0.5, MARK, vector=MARK),
    VectorBatch(("id",), Vectors.from_buffer(MARK, 1), ({},), (MARK,)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_keys_and_contents_are_not_printed(value: Any) -> None:
    """Salts, sealed parts, stamps and vectors appear in no printed form of what holds them."""
    for text in (repr(value), str(value), f"{value}", f"{[value]}"):
        assert "never-shown" not in text
        assert repr(MARK)[2:-1] not in text
