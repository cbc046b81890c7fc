"""Checks of the audit sink at its sizes: logs longer than a page, full batches, large and empty
parts, and what is left below of what was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks.audit import SCOPE, append, entry, everything, head
from nexus_contracts._checks.canaries import Canary, canaries, places
from nexus_contracts._checks.common import crowd
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import LogEntry, LogHead, PreconditionFailedError

KIB: Final = 1 << 10
MIB: Final = 1 << 20
# More than a page of a thousand, and a remainder.
MANY: Final = 1_060
# More than a page of a hundred, and than one of 256.
HEADS: Final = 260
AGES: Final = 2**40


def grow(bench: Bench, store: Any, scope: Scope, entries: Sequence[LogEntry], mark: str) -> None:
    """Append entries in batches as large as the sink takes, at most a few hundred."""
    most = min(400, bench.spec.capabilities.max_batch)  # type: ignore[union-attr]
    for start in range(0, len(entries), most):
        append(store, *entries[start : start + most], scope=scope, mark=mark)


def forgotten(each: LogEntry) -> LogEntry:
    """What is left of an entry once its subject was forgotten."""
    return attrs.evolve(each, salt=None, sealed=None, subject_tag=None)


@check("AUD-040")
def open_intents_of_a_long_log(bench: Bench) -> None:
    """Hundreds of open intents among over a thousand entries, in an order of times that is not
    that of places; outcomes far from their intents."""
    store = bench.open()
    # Operations of which the intent comes first and the outcome last, or the other way round.
    times = [AGES + bench.random.randrange(300) for _ in range(MANY)]
    entries = [
        entry(n, operation=f"op{n}", phase="intent" if n % 5 else "access", at=times[n])
        for n in range(MANY)
    ]
    for early, late in ((1, MANY - 1), (2, MANY - 2), (1001, 3), (500, 501)):
        entries[late] = attrs.evolve(entries[late], operation=f"op{early}", phase="outcome")
    grow(bench, store, SCOPE, entries, "m")
    settled = {each.operation for each in entries if each.phase == "outcome"}
    still = [e for e in entries if e.phase == "intent" and e.operation not in settled]
    still.sort(key=lambda each: (each.recorded_at, each.index))
    for before in (AGES + 1000, AGES + 150, AGES):
        wanted = [each for each in still if each.recorded_at < before]
        for limit in (1, 7, 100, 500, MANY):
            found = list(store.unsettled(SCOPE, before, limit))
            told = f"of {len(wanted)} open intents in a log of {MANY} entries, at limit {limit},"
            bench.expect(len(found) <= limit, f"{told} it gives {len(found)}")
            missing = {each.index for each in wanted[:limit]} - {each.index for each in found}
            bench.expect(
                not missing,
                f"{told} it leaves out {len(missing)} of the oldest: the limit counts after the "
                "order by recorded_at, and the whole log is looked through",
            )
            bench.expect(found == wanted[:limit], f"{told} they are not oldest first")


@check("AUD-041")
def checkpoints_of_many_heads(bench: Bench) -> None:
    """Hundreds of heads, in pages of several sizes."""
    store = bench.open()
    for size in range(HEADS):
        append(store, entry(size))
    wanted = [head(size).checkpoint for size in range(1, HEADS + 1)]
    for limit in (7, 100, 1000):
        found: list[bytes] = []
        # One entry to a head, so that the number of heads is the size of the last.
        while page := list(store.checkpoints(SCOPE, len(found), limit)):
            bench.expect(len(page) <= limit, f"a page of {limit} holds {len(page)} checkpoints")
            found += page
            bench.expect(len(found) <= HEADS, "the checkpoints do not end")
        bench.expect(
            found == wanted,
            f"in pages of {limit}, {len(found)} of {HEADS} checkpoints are given, or not in order",
        )


def close_tags() -> list[bytes]:
    """Tags that are one to whoever cuts, trims, folds or ends them at a zero byte."""
    first = b"tag-" + bytes(range(0x41, 0x41 + 24)) + b"long"
    return [
        first,
        first[:-1] + b"!",
        first[:16] + b"#" * 16,
        first[:8] + b"#" * 24,
        first[:-1] + b" ",
        first[:-1] + b"\0",
        first[:-4] + b"\0" * 4,
        b"\0" + first[1:],
        first.lower(),
        b"#" + first[1:],
    ]


@check("AUD-042")
def a_subject_of_many_entries(bench: Bench) -> None:
    """Most of over a thousand entries are of one subject, the others of subjects with near tags."""
    store = bench.open()
    subject, *others = close_tags()
    tags = [others[n // 7 % len(others)] if n % 7 == 0 else subject for n in range(MANY + 200)]
    tags[13] = tags[-1] = None  # type: ignore[call-overload]
    entries = [entry(n, tag=tag) for n, tag in enumerate(tags)]
    grow(bench, store, SCOPE, entries, "m")
    for tag in (subject, others[0]):
        count = sum(each.subject_tag == tag for each in entries)
        changed = store.erase_sealed(SCOPE, tag)
        entries = [forgotten(each) if each.subject_tag == tag else each for each in entries]
        found = everything(store)
        bench.expect(len(found) == len(entries), "erase_sealed took entries with their leaves")
        pairs = list(zip(found, entries, strict=True))
        kept = [n for n, (now, due) in enumerate(pairs) if now != due and due == forgotten(due)]
        bench.expect(
            not kept, f"erase_sealed of {count} entries left {len(kept)}, the first at {kept[:1]}"
        )
        reached = [n for n, (now, due) in enumerate(pairs) if now != due]
        bench.expect(
            not reached,
            f"erase_sealed reached {len(reached)} entries with another tag that is alike",
        )
        bench.expect(changed == count, f"erase_sealed tells {changed} of {count} entries")
        bench.expect(store.erase_sealed(SCOPE, tag) == 0, "a second erasure tells of entries")
    bench.expect(store.head(SCOPE) == head(len(entries), "m"), "erasing a subject moved the head")


def large_entries(bench: Bench) -> list[LogEntry]:
    """Entries with parts that are empty, and of sizes around the usual borders; pairs of which
    only the last byte differs."""
    found: list[LogEntry] = []

    def add(sealed: bytes, leaf: bytes, tag: bytes | None) -> None:
        made = entry(len(found), leaf=leaf, tag=tag, operation="o" * 64, phase="access")
        found.append(attrs.evolve(made, sealed=sealed))

    for size in (0, 1, 255, 256, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB + 77):
        sealed, leaf = bench.random.randbytes(size), bench.random.randbytes(max(1, size // 4))
        add(sealed, leaf, b"x" * 32)
        if size:
            add(sealed[:-1] + bytes([sealed[-1] ^ 0xFF]), leaf + b"\0", None)
            add(sealed[:-1] + b" ", leaf + b" ", b"y" * 32)
    return found


@check("AUD-043")
def parts_of_every_size(bench: Bench) -> None:
    """Empty, around 64 KiB and over 1 MiB; alone, in a page, and after a subject is forgotten."""
    store = bench.open()
    entries = large_entries(bench)
    for each in entries:
        append(store, each)
    found = everything(store)
    bench.expect(len(found) == len(entries), "large entries are not all there")
    for now, due in zip(found, entries, strict=True):
        sizes = f"a leaf of {len(due.leaf)} and a sealed part of {len(due.sealed or b'')} bytes"
        bench.expect(now == due, f"an entry with {sizes} came back changed")
    for due in entries[::3]:
        bench.expect(list(store.read(SCOPE, due.index, 1)) == [due], "a page of one is another")
    if not bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
        return
    store.erase_sealed(SCOPE, b"x" * 32)
    wanted = [forgotten(each) if each.subject_tag == b"x" * 32 else each for each in entries]
    bench.expect(everything(store) == wanted, "forgetting a subject changed what is not its own")


@check("AUD-044")
def a_log_begins_anew(bench: Bench) -> None:
    """The same sizes, operations and tags as before the end, with other contents; read before and
    after in every way."""
    namespace = bench.provisioned()
    store = bench.open(namespace)
    for turn in range(3):
        # Of the first log more is settled and forgotten than of those that follow.
        entries = [
            attrs.evolve(
                entry(n, operation=f"op{n % 5}", phase="intent", at=n, tag=b"x" * 32),
                sealed=f"{n} in {turn}".encode(),
            )
            for n in range(8 - turn)
        ]
        if turn == 0:
            entries[7] = attrs.evolve(entries[7], operation="op0", phase="outcome")
        for each in entries:
            append(store, each, mark=f"in {turn}")
        settled = {each.operation for each in entries if each.phase == "outcome"}
        wanted: dict[str, object] = {
            "head": head(len(entries), f"in {turn}"),
            "entries": entries,
            "checkpoints": [head(n, f"in {turn}").checkpoint for n in range(1, len(entries) + 1)],
            "open intents": [
                e for e in entries if e.phase == "intent" and e.operation not in settled
            ],
        }
        for part, found in _whole(store).items():
            when = "after erase and a new beginning " if turn else ""
            bench.expect(found == wanted[part], f"{when}another log's {part} is given")
        if turn == 0 and bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
            store.erase_sealed(SCOPE, b"x" * 32)
        store.erase(SCOPE)
        if turn == 1 and bench.harness.survives_reopen:
            store.close()
            store = bench.open(namespace)
        gone = _whole(store)
        bench.expect(gone["head"] is None, "after erase there is a head")
        left = [part for part, found in gone.items() if found]
        bench.expect(not left, f"after erase the log's {', '.join(left)} are still there")


def _whole(store: Any, scope: Scope = SCOPE, limit: int = 1000) -> dict[str, object]:
    """Everything that a log shows."""
    return {
        "head": store.head(scope),
        "entries": everything(store, scope),
        "checkpoints": list(store.checkpoints(scope, 0, limit)),
        "open intents": list(store.unsettled(scope, 2**52, limit)),
    }


@check("AUD-045")
def forgotten_is_gone_below(bench: Bench) -> None:
    """Small and large sealed parts of one subject, forgotten beside others'; by the back door."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    store = bench.open(namespace)
    subject, other = bench.cast(2)
    going, stays, theirs = canaries(bench, [subject, subject, other])
    # What is forgotten; operation and leaf stay.
    tags = {own: own.meta.encode().ljust(32, b"-")[:32] for own in (going, stays, theirs)}
    order = [going, stays, going, stays, going]
    for index, own in enumerate(order):
        append(store, _sealed(own, index, tags[own]), scope=subject)
    append(store, _sealed(theirs, 0, tags[theirs]), scope=other)
    gone = [going.name[:32], going.value, tags[going].decode()]
    before = places(door.snapshot(), gone)
    bench.figures["places_before_erase_sealed"] = len(before)
    store.erase_sealed(subject, tags[going])
    for moment in ("after erase_sealed", "after erase_sealed and close"):
        left = places(door.snapshot(), gone)
        bench.expect(
            not left,
            f"{moment} {len(left)} places below the sink still hold salt, sealed part or tag of "
            "the subject: a mark is not enough, what an engine frees has to be overwritten",
        )
        store.close()
    for own in (stays, theirs):
        kept = places(door.snapshot(), (own.value,))
        bench.expect(kept or not before, "erase_sealed took what another subject stored")


def _sealed(own: Canary, index: int, tag: bytes) -> LogEntry:
    """An entry with texts of a canary in whatever is to be forgotten of it."""
    made = entry(index, tag=tag)
    large = own.value.encode() * (1 if index % 4 else 4000)
    return attrs.evolve(made, salt=own.name.encode().ljust(32, b"-")[:32], sealed=large)


@check("AUD-046")
def full_batches_and_pages(bench: Bench) -> None:
    """As many entries as the sink takes, twice, after a few; pages of every size, from every
    place."""
    store = bench.open()
    most: int = bench.spec.capabilities.max_batch  # type: ignore[union-attr]
    entries = [entry(n, at=AGES + n, tag=bytes([n % 256]) * 32) for n in range(3 + 2 * most)]
    sizes = [3, 3 + most, 3 + 2 * most]
    start = 0
    for size in sizes:
        append(store, *entries[start:size])
        start = size
        found = len(everything(store))
        bench.expect(found == size, f"of a full batch of {most} entries some are missing: {found}")
    for limit in (100, 1000, 1001, 10 * most):
        bench.expect(everything(store, limit=limit) == entries, f"at limit {limit} others came")
    for first in (0, 99, 100, 999, 1000, most, most + 3, 2 * most + 2):
        page = list(store.read(SCOPE, first, 5))
        wanted = entries[first : first + 5]
        bench.expect(
            page == wanted[: len(page)] and (page or not wanted), f"from {first} others came"
        )
    bench.expect(list(store.read(SCOPE, len(entries), 5)) == [], "past the end there are entries")
    bench.raises(
        PreconditionFailedError,
        partial(store.append, SCOPE, most, entries[most : most + 2], head(most + 2)),
        "an append into a log that is longer by now",
    )
    bench.expect(store.head(SCOPE) == head(len(entries)), "the head is not of the last batch")
    heads = [head(size).checkpoint for size in sizes]
    bench.expect(list(store.checkpoints(SCOPE, 0, 1000)) == heads, "a batch has no checkpoint")


# -- between scopes -------------------------------------------------------------------------------


def _long_log(place: int, big: bytes) -> Iterator[LogEntry]:
    """Over a thousand entries that all scopes have under the same numbers, each with its own
    contents; a few of them large, and the same but for one byte."""
    for n in range(MANY):
        made = entry(
            n,
            operation=f"op{n}",
            # What is settled in one scope is open in another.
            phase="outcome" if n % 10 == place else "intent",
            at=AGES + n,
            tag=(b"x" if n % 3 else b"y") * 32,
        )
        sealed = b"%d of %d" % (n, place) if n % 500 else big + bytes([place])
        yield attrs.evolve(made, sealed=sealed, leaf=b"leaf %d of %d" % (n, place))


@check("TEN-430")
def audit_long_logs_are_apart(bench: Bench) -> None:
    """Logs of over a thousand entries with the same operations and tags: read, forgotten, ended."""
    store = bench.open()
    scopes = bench.cast(3)
    big = bench.random.randbytes(64 * KIB + 5)
    logs: dict[Scope, list[LogEntry]] = {}
    for place, scope in enumerate(scopes):
        logs[scope] = list(_long_log(place, big))
        grow(bench, store, scope, logs[scope], f"of {place}")
    _all_their_own(bench, store, logs, scopes, "beside others")
    subject, *others = scopes
    if bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
        tag = b"x" * 32
        store.erase_sealed(subject, tag)
        logs[subject] = [forgotten(e) if e.subject_tag == tag else e for e in logs[subject]]
        _all_their_own(bench, store, logs, scopes, f"after erase_sealed in {subject}")
    count = store.erase(subject)
    bench.expect(count == MANY, f"beside others erase counted {count} of {MANY} entries")
    _all_their_own(bench, store, logs, others, f"after {subject} was erased")


def _all_their_own(
    bench: Bench,
    store: Any,
    logs: dict[Scope, list[LogEntry]],
    scopes: Sequence[Scope],
    when: str,
) -> None:
    for scope in scopes:
        log = logs[scope]
        bench.expect(
            everything(store, scope) == log, f"{when} {scope} reads other entries than its own"
        )
        for start in (100, 500, 1000):
            page = list(store.read(scope, start, 3))
            bench.expect(
                page == log[start : start + len(page)] and page,
                f"{when} {scope} reads other entries than its own from {start} on",
            )
        settled = {each.operation for each in log if each.phase == "outcome"}
        still = [e for e in log if e.phase == "intent" and e.operation not in settled]
        for limit in (5, MANY):
            bench.expect(
                list(store.unsettled(scope, AGES * 2, limit)) == still[:limit],
                f"{when} {scope} has other open intents than its own",
            )
        last: LogHead = store.head(scope)
        notes = list(store.checkpoints(scope, 0, 1000))
        bench.expect(
            last.size == len(log) and notes[-1:] == [last.checkpoint],
            f"{when} {scope} has another end than its own",
        )


@check("TEN-431")
def audit_nothing_takes_nothing(bench: Bench) -> None:
    """Scopes that were never used, one whose only append was refused, one that is empty again."""
    store = bench.open()
    empty, unused, refused, *others = bench.cast(6)
    others.append(Scope(empty.tenant_id, "staging"))
    for place, scope in enumerate(others):
        append(
            store,
            *(entry(n, operation=f"o{n}", phase="intent", tag=b"x" * 32) for n in range(4)),
            scope=scope,
            mark=str(place),
        )
    before = {scope: _whole(store, scope) for scope in others}
    append(store, entry(0, tag=b"x" * 32), scope=empty)
    store.erase(empty)
    bench.raises(
        PreconditionFailedError,
        lambda: store.append(refused, 5, [entry(5)], head(6)),
        "an append to the wrong size",
    )
    for scope in (empty, unused, refused):
        steps: dict[str, Callable[[], int]] = {
            "erase_sealed": partial(store.erase_sealed, scope, b"x" * 32),
            "erase": partial(store.erase, scope),
            "a second erase": partial(store.erase, scope),
        }
        if not bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
            del steps["erase_sealed"]
        for name, step in steps.items():
            count = step()
            bench.expect(count == 0, f"{name} in {scope}, which has nothing, tells of {count}")
            for other in others:
                bench.expect(
                    _whole(store, other) == before[other],
                    f"{name} in {scope}, which has nothing, changed the log of {other}",
                )


@check("TEN-432")
def audit_crowds_are_apart(bench: Bench) -> None:
    """Hundreds of tenants with a log of one entry; then some of them erased."""
    store = bench.open()
    scopes = crowd(bench)
    told = f"among {len(scopes)} tenants"
    why = "a name for a scope that is cut or hashed to few bytes is soon another's too"
    for scope in scopes:
        try:
            append(store, _own(scope), scope=scope, mark=str(scope))
        except PreconditionFailedError:
            bench.fail(f"{told} {scope} cannot begin its log, which is another's: {why}")
    for number, scope in enumerate(scopes):
        if number % 3 == 0:
            count = store.erase(scope)
            bench.expect(count == 1, f"erasing {scope}, which has one entry, counted {count}")
    for number, scope in enumerate(scopes):
        wanted = ([_own(scope)], head(1, str(scope))) if number % 3 else ([], None)
        found = (list(store.read(scope, 0, 5)), store.head(scope))
        bench.expect(found == wanted, f"{told} {scope} has another's log: {why}")


def _own(scope: Scope) -> LogEntry:
    return attrs.evolve(entry(0), sealed=str(scope).encode())
