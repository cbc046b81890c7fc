"""Erasing: the scope's records and no others', out of reach and off the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nexus_core.spi import (
    COLLECTIONS,
    AtomBackend,
    AuditBackend,
    Insert,
    LogEntry,
    LogHead,
    Record,
    Scope,
)

SCOPE = Scope("t1", "dev")
TWINS = [
    Scope("t10", "dev"),
    Scope("t_1", "dev"),
    Scope("t-1", "dev"),
    Scope("t1", "prod"),
    Scope("t1", "staging"),
    Scope("t", "dev"),
]
Make = Callable[..., Record]


def on_disk(directory: Path, mark: bytes) -> int:
    return sum(path.read_bytes().count(mark) for path in directory.iterdir())


def test_erasing_a_scope_leaves_its_twins(atoms: AtomBackend, make: Make) -> None:
    """Everything of one scope goes, in every collection, and nothing of scopes with like names."""
    for scope in (SCOPE, *TWINS):
        atoms.commit(
            scope, [Insert(make(name, id_)) for name in COLLECTIONS for id_ in ("a", "b%", "t1")]
        )
    assert atoms.erase(SCOPE) == 3 * len(COLLECTIONS)
    assert atoms.erase(SCOPE) == 0
    for name in COLLECTIONS:
        assert atoms.query(SCOPE, name, None).records == ()
        for scope in TWINS:
            kept = tuple(make(name, id_) for id_ in ("a", "b%", "t1"))
            assert atoms.query(scope, name, None).records == kept


def test_erased_records_are_off_the_disk(atoms: AtomBackend, make: Make, tmp_path: Path) -> None:
    """No file of the store holds an erased byte, in pages, free space or the log."""
    marks = [b"canary-body-91", b"canary-stamp-92", b"canary-subject-93", b"canary-id-94"]
    others = Scope("t2", "dev")
    for scope in (SCOPE, others):
        subject = "canary-subject-93" if scope == SCOPE else "other"
        for n in range(300):
            record = make(
                "atoms",
                f"canary-id-94-{n}" if scope == SCOPE else f"other-{n}",
                subject=subject,
                body=marks[0] * (n * 3) if scope == SCOPE else b"other" * 50,
                stamp=marks[1] if scope == SCOPE else b"other",
            )
            atoms.commit(scope, [Insert(record)])
    assert all(on_disk(tmp_path, mark) for mark in marks)
    atoms.erase(SCOPE)
    assert [on_disk(tmp_path, mark) for mark in marks] == [0, 0, 0, 0]
    assert atoms.count(others, "atoms", None) == 300


def test_forgotten_openings_are_off_the_disk(audit: AuditBackend, tmp_path: Path) -> None:
    """After a subject is erased no file holds salt, sealed part or tag, while the leaves stay."""
    entries = [
        LogEntry(
            index=n,
            leaf=b"leaf-%03d" % n,
            salt=b"canary-salt-95",
            sealed=b"canary-sealed-96" * 9,
            subject_tag=b"canary-tag-97" if n % 2 else b"another-tag",
            operation=f"op{n}",
            phase="access",
            recorded_at=n,
        )
        for n in range(200)
    ]
    for entry in entries:
        head = LogHead(size=entry.index + 1, edge=b"edge", checkpoint=b"checkpoint")
        audit.append(SCOPE, entry.index, [entry], head)
    assert audit.erase_sealed(SCOPE, b"canary-tag-97") == 100
    assert on_disk(tmp_path, b"canary-tag-97") == 0
    assert on_disk(tmp_path, b"another-tag") > 0
    assert audit.erase_sealed(SCOPE, b"another-tag") == 100
    for mark in (b"canary-salt-95", b"canary-sealed-96", b"another-tag"):
        assert on_disk(tmp_path, mark) == 0
    assert [entry.leaf for entry in audit.read(SCOPE, 0, 500)] == [e.leaf for e in entries]
