"""Everything somebody with the sink in their hands can do to a log, but not with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from nexus_core._audit.leaf import encode_leaf, seal
from nexus_core._audit.merkle import Edge, leaf_hash
from nexus_core.spi import LogEntry, LogHead

from .making import OTHER, filled, record, tag
from .sink import Stored

BATCHES = (1, 3, 1, 2)
SIZE = sum(BATCHES)
BOUNDS = (0, 1, 4, 5, 7)


@attrs.frozen
class Tampering:
    """A deed: its name, what it does, and which records it makes bad, if any."""

    name: str
    do: Callable[[Stored], None]
    first: int | None
    # Whether it shows by itself; else only its batch does, by the next checkpoint, or, for None,
    # a neighbour of it in its batch.
    exact: bool | None = True


def flip(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def change(at: int, /, **fields: Any) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        log.entries[at] = attrs.evolve(log.entries[at], **fields)

    return do


def flipped(index: int, field: str, at: int) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        entry = log.entries[index]
        change(index, **{field: flip(getattr(entry, field), at)})(log)

    return do


def renumbered(log: Stored) -> None:
    log.entries[:] = [attrs.evolve(entry, index=i) for i, entry in enumerate(log.entries)]


def batch_of(index: int) -> tuple[int, int]:
    start = max(bound for bound in BOUNDS if bound <= index)
    return start, min(bound for bound in BOUNDS if bound > index)


def rewritten(index: int, *, base: int | None = None) -> Callable[[Stored], None]:
    """Another record in place of one, with a commitment, tag and columns that belong to it."""

    def do(log: Stored) -> None:
        made = record("mallory")
        sealed, salt = seal(made), bytes(32)
        at = batch_of(index)[0] if base is None else base
        leaf = encode_leaf(
            made,
            sealed,
            salt,
            origin="nexus.audit/v1/prod/acme",
            index=index,
            base=at,
            at=made.at or 0,
        )
        log.entries[index] = LogEntry(
            index=index,
            leaf=leaf,
            salt=salt,
            sealed=sealed,
            subject_tag=made.subject_tag,
            operation=made.operation,
            phase=made.phase,
            recorded_at=made.at or 0,
        )

    return do


def recomputed(log: Stored) -> None:
    """The end's edge made to fit the entries; its checkpoint cannot be."""
    edge = Edge()
    for entry in log.entries:
        edge.append(leaf_hash(entry.leaf))
    assert log.head is not None
    log.head = LogHead(size=edge.size, edge=edge.to_bytes(), checkpoint=log.head.checkpoint)


def both(*deeds: Callable[[Stored], None]) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        for deed in deeds:
            deed(log)

    return do


def deleted(i: int) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        del log.entries[i]

    return do


def doubled(i: int) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        log.entries.insert(i, log.entries[i])

    return do


def unnoted(i: int) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        del log.checkpoints[i]

    return do


def noted_twice(i: int) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        log.checkpoints.insert(i, log.checkpoints[i])

    return do


def swapped(i: int, j: int) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        log.entries[i], log.entries[j] = log.entries[j], log.entries[i]

    return do


def noted(index: int, note: bytes) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        log.checkpoints[index] = (log.checkpoints[index][0], note)

    return do


def headed(**fields: Any) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        assert log.head is not None
        log.head = attrs.evolve(log.head, **fields)

    return do


def cut(size: int, *, everything: bool) -> Callable[[Stored], None]:
    def do(log: Stored) -> None:
        del log.entries[size:]
        if everything:
            log.checkpoints[:] = [held for held in log.checkpoints if held[0] <= size]

    return do


def ended(size: int) -> Callable[[Stored], None]:
    """The genuine end that the log once had at this size."""

    def do(log: Stored) -> None:
        edge = Edge()
        for entry in log.entries[:size]:
            edge.append(leaf_hash(entry.leaf))
        note = dict(log.checkpoints)[size]
        log.head = LogHead(size=size, edge=edge.to_bytes(), checkpoint=note)

    return do


def beheaded(log: Stored) -> None:
    log.head = None


def rolled_back(size: int) -> Callable[[Stored], None]:
    """A complete and genuine older state, which only a checkpoint kept elsewhere gives away."""
    return both(ended(size) if size else beheaded, cut(size, everything=True))


def deeds(log: Stored) -> Iterator[Tampering]:
    """All of them, for a log of these batches, but for the flips of single bytes."""
    yield from records_changed(log)
    yield from records_moved(log)
    yield from signed_changed(log)


def records_changed(log: Stored) -> Iterator[Tampering]:
    stranger = filled(BATCHES, OTHER).of(OTHER)
    for i, entry in enumerate(log.entries):
        start = batch_of(i)[0]
        lone = batch_of(i) == (i, i + 1)
        yield Tampering(f"number {i}", change(i, index=i + 1), i)
        yield Tampering(f"operation {i}", change(i, operation="op-x"), i)
        yield Tampering(f"phase {i}", change(i, phase="event"), i)
        yield Tampering(f"time {i}", change(i, recorded_at=1), i)
        yield Tampering(f"salt gone {i}", change(i, salt=None), i)
        yield Tampering(f"sealed gone {i}", change(i, sealed=None), i)
        yield Tampering(f"tag changed {i}", change(i, subject_tag=tag(OTHER, "x")), i)
        yield Tampering(f"no leaf {i}", change(i, leaf=b""), i)
        gone = change(i, salt=None, sealed=None, subject_tag=None)
        if entry.subject_tag is None:
            yield Tampering(f"erased what was not erasable {i}", gone, i)
        else:
            yield Tampering(f"tag gone {i}", change(i, subject_tag=None), i)
            yield Tampering(f"tag left {i}", change(i, salt=None, sealed=None), i)
            yield Tampering(f"salt and tag gone {i}", change(i, salt=None, subject_tag=None), i)
            yield Tampering(f"sealed, tag gone {i}", change(i, sealed=None, subject_tag=None), i)
            # An erased record's leaf can only be caught by what was signed.
            at = len(entry.leaf) - 1
            yield Tampering(f"erased and edited {i}", both(gone, flipped(i, "leaf", at)), i, lone)
        yield Tampering(f"spliced {i}", change(i, **_fields(stranger.entries[i])), i)
        yield Tampering(f"rewritten {i}", rewritten(i), i, lone)
        yield Tampering(f"rewritten whole {i}", both(rewritten(i), recomputed), i, lone)
        if i != start:
            yield Tampering(f"rewritten as its own batch {i}", rewritten(i, base=i), i, None)
            yield Tampering(f"rewritten into the future {i}", rewritten(i, base=i + 1), i)
        if i > start + 1:
            yield Tampering(f"rewritten into another batch {i}", rewritten(i, base=start + 1), i)


def _fields(entry: LogEntry) -> dict[str, Any]:
    return attrs.asdict(entry, recurse=False)


def records_moved(log: Stored) -> Iterator[Tampering]:
    for i in range(SIZE):
        gone, twice = deleted(i), doubled(i)
        yield Tampering(f"deleted {i}", gone, i)
        yield Tampering(f"deleted and renumbered {i}", both(gone, renumbered), i)
        yield Tampering(f"deleted and recomputed {i}", both(gone, renumbered, recomputed), i)
        yield Tampering(f"doubled {i}", twice, i + 1)
        yield Tampering(f"doubled and renumbered {i}", both(twice, renumbered), i + 1)
        yield Tampering(f"doubled and recomputed {i}", both(twice, renumbered, recomputed), i + 1)
        yield Tampering(f"cut at {i}", cut(i, everything=False), i)
        yield Tampering(f"cut and recomputed at {i}", both(cut(i, everything=True), recomputed), i)
        for j in range(i + 1, min(i + 4, SIZE)):
            yield Tampering(f"swapped {i} {j}", swapped(i, j), i)
            yield Tampering(f"swapped and renumbered {i} {j}", both(swapped(i, j), renumbered), i)
            copied = _fields(log.entries[j]) | {"index": i}
            yield Tampering(f"copied {j} to {i}", change(i, **copied), i)
    yield Tampering("emptied", lambda log: log.entries.clear(), 0)


def signed_changed(log: Stored) -> Iterator[Tampering]:
    assert log.head is not None
    stranger = filled(BATCHES, OTHER).of(OTHER)
    assert stranger.head is not None
    head, notes = log.head, [note for _, note in log.checkpoints]
    for i, note in enumerate(notes):
        for at in range(0, len(note), 13):
            yield Tampering(f"checkpoint {i} byte {at}", noted(i, flip(note, at)), None)
        yield Tampering(
            f"checkpoint {i} cosigned", noted(i, note + "— w AAAAAAA=\n".encode()), None
        )
        yield Tampering(f"checkpoint {i} foreign", noted(i, stranger.checkpoints[i][1]), None)
        yield Tampering(f"checkpoint {i} empty", noted(i, b""), None)
        yield Tampering(f"checkpoint {i} deleted", unnoted(i), None)
        yield Tampering(f"checkpoint {i} doubled", noted_twice(i), None)
        yield Tampering(f"checkpoint {i} replaced", noted(i, notes[i - 1]), None)
        for j in range(i + 1, len(notes)):
            yield Tampering(
                f"checkpoints {i} {j} swapped", both(noted(i, notes[j]), noted(j, note)), None
            )
    last = both(rewritten(SIZE - 1), recomputed, unnoted(-1))
    yield Tampering("rewritten, checkpoint gone", last, SIZE - 1, exact=False)
    yield Tampering("checkpoints gone", lambda log: log.checkpoints.clear(), None)
    for at in range(0, len(head.checkpoint), 7):
        yield Tampering(f"end's byte {at}", headed(checkpoint=flip(head.checkpoint, at)), None)
    for at in range(0, len(head.edge), 5):
        yield Tampering(f"edge byte {at}", headed(edge=flip(head.edge, at)), None)
    for size in (-1, 0, 1, SIZE - 1, SIZE + 1, 1 << 62):
        yield Tampering(f"end's size {size}", headed(size=size), None)
    yield Tampering("end's edge gone", headed(edge=b""), None)
    yield Tampering("end foreign", headed(**attrs.asdict(stranger.head, recurse=False)), None)
    yield Tampering("end gone", beheaded, 0)
    for size in BOUNDS[1:-1]:
        yield Tampering(f"end older {size}", ended(size), size)
        yield Tampering(
            f"end older, cut {size}", both(cut(size, everything=False), ended(size)), size
        )
    yield Tampering("another log", lambda log: _replace(log, stranger), 0)


def _replace(log: Stored, other: Stored) -> None:
    log.entries, log.checkpoints, log.head = other.entries, other.checkpoints, other.head
