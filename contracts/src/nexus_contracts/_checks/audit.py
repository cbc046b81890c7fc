"""Checks of the audit sink's own semantics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from nexus_contracts._bench import SCOPES, Bench, Violation
from nexus_contracts._checks.duels import fought
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_core import AccessDeniedError, NotFoundError, Scope
from nexus_core.spi import ClosedError, LogEntry, LogHead, Phase, PreconditionFailedError

SCOPE = SCOPES[0]


def entry(
    index: int,
    *,
    operation: str = "op",
    phase: Phase = "event",
    at: int = 0,
    tag: bytes | None = None,
    leaf: bytes | None = None,
) -> LogEntry:
    """An entry with recognisable bytes."""
    return LogEntry(
        index=index,
        leaf=b"leaf\x00\xff" + str(index).encode() if leaf is None else leaf,
        salt=bytes([index % 256]) * 32,
        sealed=b'{"n":' + str(index).encode() + b"}\xc3\xa9",
        subject_tag=tag,
        operation=operation,
        phase=phase,
        recorded_at=at,
    )


def head(size: int, mark: str = "") -> LogHead:
    """A head with recognisable bytes."""
    return LogHead(
        size=size,
        edge=bytes([size % 256]) * 32,
        checkpoint=f"checkpoint {size} {mark}\n\u2014 signature\n".encode(),
    )


def append(store: Any, *entries: LogEntry, scope: Scope = SCOPE, mark: str = "") -> None:
    """Append entries to a log that ends before them."""
    size = entries[0].index
    store.append(scope, size, list(entries), head(size + len(entries), mark))


def everything(store: Any, scope: Scope = SCOPE, limit: int = 1000) -> list[LogEntry]:
    """All entries, page by page."""
    found: list[LogEntry] = []
    for _ in range(100_000):
        page = list(store.read(scope, len(found), limit))
        if not page:
            return found
        if len(page) > limit:
            raise Violation(f"a page of at most {limit} holds {len(page)} entries")
        found += page
    raise Violation("a log does not end")


@check("AUD-001")
def entries_come_back(bench: Bench) -> None:
    """Sixty entries, pages of several sizes, any start."""
    store = bench.open()
    wanted = [
        entry(n, operation=f"op-{n}", phase="access", at=2**50 + n, tag=bytes([n]) * 32)
        for n in range(60)
    ]
    for start in range(0, 60, 7):
        append(store, *wanted[start : start + 7])
    for limit in (1, 7, 1000):
        bench.expect(
            everything(store, limit=limit) == wanted, f"at limit {limit} entries came back changed"
        )
    bench.expect(list(store.read(SCOPE, 58, 10)) == wanted[58:], "reading from an index")
    bench.expect(list(store.read(SCOPE, 60, 10)) == [], "reading past the end gives entries")


@check("AUD-002")
def heads_are_current(bench: Bench) -> None:
    """Before the first entry, and after each append."""
    store = bench.open()
    bench.expect(store.head(SCOPE) is None, "an empty log has a head")
    for size in range(5):
        append(store, entry(size), mark=f"m{size}")
        bench.expect(store.head(SCOPE) == head(size + 1, f"m{size}"), "the head is not the last")


@check("AUD-003")
def appends_compare_and_set(bench: Bench) -> None:
    """Too early, too late, and again."""
    store = bench.open()
    append(store, entry(0), entry(1))
    before = (everything(store), store.head(SCOPE))
    for size in (0, 1, 3):
        bench.raises(
            PreconditionFailedError,
            partial(store.append, SCOPE, size, [entry(size)], head(size + 1, "wrong")),
            f"an append to size {size} of a log of 2",
        )
        bench.expect((everything(store), store.head(SCOPE)) == before, "a refused append wrote")


@check("AUD-004")
def one_append_wins(bench: Bench) -> None:
    """Preempted races of four writers for each size."""
    store = bench.open()
    for size in range(8):

        def move(which: int, size: int = size) -> bool:
            try:
                append(store, entry(size, operation=f"w{which}"), mark=str(which))
            except PreconditionFailedError:
                return False
            return True

        won = race(bench, move, 4)
        bench.expect(sum(won) == 1, f"{sum(won)} of 4 racing appends won one size")
        winner = won.index(True)
        bench.expect(
            [e.operation for e in store.read(SCOPE, size, 9)] == [f"w{winner}"]
            and store.head(SCOPE) == head(size + 1, str(winner)),
            "the log is not the winner's",
        )
    bench.expect([e.index for e in everything(store)] == list(range(8)), "the log has a gap")
    fought(bench, "append")


@check("AUD-005")
def checkpoints_are_kept(bench: Bench) -> None:
    """One for each append, in order, in pages."""
    store = bench.open()
    sizes: list[int] = []
    for count in (1, 3, 2, 5, 1):
        start = sizes[-1] if sizes else 0
        append(store, *(entry(start + n) for n in range(count)))
        sizes.append(start + count)
    wanted = [head(size).checkpoint for size in sizes]
    bench.expect(list(store.checkpoints(SCOPE, 0, 100)) == wanted, "checkpoints are not all there")
    bench.expect(list(store.checkpoints(SCOPE, sizes[1], 2)) == wanted[2:4], "pages of them")
    bench.expect(list(store.checkpoints(SCOPE, sizes[-1], 9)) == [], "checkpoints past the end")


@check("AUD-006")
def intents_are_followed(bench: Bench) -> None:
    """Answered and unanswered, with an event on the way, old and young, in a page."""
    store = bench.open()
    steps: Sequence[tuple[str, Phase, int]] = [
        ("a", "intent", 10),
        ("b", "intent", 20),
        ("a", "outcome", 30),
        ("c", "intent", 40),
        ("b", "event", 45),
        ("d", "access", 5),
        ("e", "intent", 15),
        ("f", "intent", 90),
        ("c", "outcome", 95),
    ]
    for number, (operation, phase, at) in enumerate(steps):
        append(store, entry(number, operation=operation, phase=phase, at=at))

    def open_before(time: int, limit: int = 100) -> list[str]:
        return [e.operation for e in store.unsettled(SCOPE, time, limit)]

    for time, wanted in ((1000, ["b", "e", "f"]), (90, ["b", "e"]), (15, []), (16, ["e"])):
        found = open_before(time)
        bench.expect(sorted(found) == wanted, f"before {time} the open intents are {found}")
    bench.expect(len(open_before(1000, 2)) == 2, "a page of open intents is larger than asked")
    whole = next(iter(store.unsettled(SCOPE, 1000, 1)))
    bench.expect(whole in everything(store), "an open intent came back changed")


@check("AUD-007")
def erasure_is_exact(bench: Bench) -> None:
    """Two subjects and entries of nobody."""
    store = bench.open()
    tags = [b"x" * 32, b"y" * 32, None]
    wanted = [entry(n, tag=tags[n % 3]) for n in range(12)]
    append(store, *wanted)
    changed = store.erase_sealed(SCOPE, tags[0])
    bench.expect(changed == 4, f"erase_sealed tells {changed} of 4 entries")
    for before, after in zip(wanted, everything(store), strict=True):
        bench.expect(after.leaf == before.leaf, "erasing a subject changed a leaf")
        if before.subject_tag == tags[0]:
            left = (after.salt, after.sealed, after.subject_tag)
            bench.expect(left == (None, None, None), "erasing a subject left something of it")
        else:
            bench.expect(after == before, "erasing a subject reached somebody else's entry")
    bench.expect(store.erase_sealed(SCOPE, tags[0]) == 0, "a second erasure tells of entries")
    bench.expect(store.head(SCOPE) == head(12), "erasing a subject moved the head")


@check("AUD-008")
def erase_is_complete(bench: Bench) -> None:
    """Entries, head, checkpoints and open intents; twice over; and a new log."""
    store = bench.open()
    append(store, *(entry(n, phase="intent", operation=f"o{n}") for n in range(5)))
    bench.expect(store.erase(SCOPE) == 5, "erase does not tell how many entries")
    gone = (store.head(SCOPE), everything(store), list(store.checkpoints(SCOPE, 0, 9)))
    bench.expect(gone == (None, [], []), "erase left something of the log")
    bench.expect(list(store.unsettled(SCOPE, 10**9, 9)) == [], "erase left open intents")
    bench.expect(store.erase(SCOPE) == 0, "a second erase tells of entries")
    append(store, entry(0))
    bench.expect(store.head(SCOPE) == head(1), "an erased scope cannot begin a new log")


@check("AUD-009")
def batches_are_whole(bench: Bench) -> None:
    """As many entries as the sink takes in one batch."""
    store = bench.open()
    size = bench.spec.capabilities.max_batch  # type: ignore[union-attr]
    wanted = [entry(n) for n in range(size)]
    append(store, *wanted)
    bench.expect(everything(store) == wanted, "a batch was not appended whole")
    bench.expect(store.head(SCOPE) == head(size), "a batch moved the head elsewhere")


@check("AUD-010")
def closed_is_closed(bench: Bench) -> None:
    """Every method, after close."""
    store = bench.open()
    append(store, entry(0))
    store.close()
    store.close()
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: append(store, entry(1)),
        "head": lambda: store.head(SCOPE),
        "read": lambda: store.read(SCOPE, 0, 1),
        "checkpoints": lambda: store.checkpoints(SCOPE, 0, 1),
        "unsettled": lambda: store.unsettled(SCOPE, 1, 1),
        "erase": lambda: store.erase(SCOPE),
    }
    for name, call in calls.items():
        bench.raises(ClosedError, call, f"{name} after close")


@check("AUD-011")
def trails_verify(bench: Bench) -> None:
    """Writes, reads, failures and denials through the core; then the trail."""
    with bench.nexus(bench.open()) as nexus:
        with nexus.request(bench.context(SCOPE)) as n:
            n.raw.put("k", b"x", kind="data", space="s")
            n.raw.get("k")
            with suppress(NotFoundError):
                n.raw.get("absent")
            n.raw.delete("k")
        with (
            nexus.request(bench.context(SCOPE, role="viewer")) as n,
            suppress(AccessDeniedError),
        ):
            n.raw.put("k", b"x", kind="data", space="s")
        with nexus.request(bench.context(SCOPE)) as n:
            seen = [(r.phase, r.action) for r in n.audit.read(limit=100).items]
            report = n.audit.verify()
    bench.expect(report.ok, f"the trail does not verify: {report.findings[:1]}")
    bench.expect(report.unsettled == 0, "an intent has no outcome")
    wanted = [
        ("intent", "raw.put"),
        ("outcome", "raw.put"),
        ("access", "raw.get"),
        ("intent", "raw.delete"),
        ("outcome", "raw.delete"),
        ("denied", "raw.put"),
    ]
    # Between them there may be more: whether a read that found nothing is recorded is the core's.
    left: Iterator[tuple[str, str]] = iter(seen)
    bench.expect(all(each in left for each in wanted), f"the trail holds {seen}, not {wanted}")


@check("AUD-012")
def large_entries_are_kept(bench: Bench) -> None:
    """A sealed part and a leaf of a hundred kilobytes."""
    store = bench.open()
    large = LogEntry(
        index=0,
        leaf=bench.random.randbytes(100_000),
        salt=bytes(32),
        sealed=bench.random.randbytes(150_000),
        subject_tag=bytes(32),
        operation="o" * 64,
        phase="access",
        recorded_at=2**53 - 1,
    )
    append(store, large)
    bench.expect(everything(store) == [large], "a large entry came back changed")
