"""Checks of isolation in the raw store at its sizes: large objects, large batches, many tenants."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._checks.common import crowd
from nexus_contracts._checks.raw import names, put, read
from nexus_contracts._checks.sizes_atoms import parts
from nexus_contracts._checks.sizes_raw import LARGE, MANY, MIB, beside, changed, fill
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import AlreadyExistsError, ByteRange, StoreError

# Objects that are looked at while streams stand still, at least, and seconds for the others.
FEWEST: Final = 300
BUDGET: Final = 2.0


@check("TEN-130")
def raw_large_objects_are_apart(bench: Bench) -> None:
    """One key in several scopes, with as many bytes that differ in one: read in turns, and written
    and read at one moment."""
    store = bench.open()
    scopes = bench.cast(4)
    base = bench.random.randbytes(MIB + 77_777)
    made = {scope: changed(base, len(base) - 5 - n) for n, scope in enumerate(scopes)}
    for scope, data in made.items():
        put(store, "k", data, scope)
    for scope, data in made.items():
        bench.expect(
            read(store, "k", scope) == data,
            f"{scope} reads other bytes than its own where another's object begins alike",
        )
        if bench.spec.capabilities.ranges:  # type: ignore[union-attr]
            for span in (ByteRange(MIB - 5, MIB + 5), ByteRange.last(5), ByteRange.last(MIB)):
                start, stop = span.resolve(len(data))
                bench.expect(
                    read(store, "k", scope, range=span) == data[start:stop],
                    f"{scope} reads other bytes than its own in {span}",
                )
    beside(bench, store, [(scope, "k", data) for scope, data in made.items()])

    gate = threading.Barrier(len(scopes))

    def live(which: int) -> bool:
        scope, found = scopes[which], []
        for turn in range(4):
            now = changed(made[scope], 1000 + turn)
            try:
                # They begin together every time: what is shared is so for a moment only.
                gate.wait(60)
                put(store, "k", now, scope)
                found.append(read(store, "k", scope) == now)
            except BaseException:
                gate.abort()
                raise
        return all(found)

    for scope, right in zip(scopes, race(bench, live, len(scopes)), strict=True):
        bench.expect(
            right, f"with other scopes at work, {scope} put {len(base)} bytes and read others"
        )


@check("TEN-131")
def raw_large_batches_stay_inside(bench: Bench) -> None:
    """Over a thousand keys, deleted in one call and erased in one, where twins have the same."""
    store = bench.open()
    scopes = bench.cast(6)
    subject, *others = scopes
    keys = [f"n/{number:05}" for number in range(MANY)]
    # What neighbours have: at both ends, and on both sides of a page.
    some = [keys[number] for number in (0, 1, 99, 100, 499, 500, 999, 1000, 1001, MANY - 1)]
    for scope in others:
        for key in some:
            put(store, key, f"{scope} {key}".encode(), scope)
    store.delete_many(subject, keys)
    _unharmed(bench, store, others, some, f"a delete_many of {MANY} keys in {subject}")
    fill(store, subject, keys)
    _read_on(bench, store, others[0], (subject, keys))
    found = names(store, subject)
    bench.expect(found == keys, f"beside others {subject} lists {len(found)} of {MANY} objects")
    count = store.erase(subject)
    bench.expect(count == MANY, f"beside others erase counted {count} of {MANY} objects")
    _unharmed(bench, store, others, some, f"erasing {MANY} objects in {subject}")


def _read_on(bench: Bench, store: Any, holder: Scope, busy: tuple[Scope, Sequence[str]]) -> None:
    """Streams that stand still while another scope looks at more objects than are kept open."""
    data = bench.random.randbytes(LARGE)
    put(store, "stream", data, holder)
    spans = [None, ByteRange(5, LARGE - 5)] if bench.spec.capabilities.ranges else [None]  # type: ignore[union-attr]
    with ExitStack() as open_:
        streams = [open_.enter_context(store.open(holder, "stream", range=each)) for each in spans]
        begun = [next(stream.chunks) for stream in streams]
        seen, until = 0, time.monotonic() + BUDGET
        with ThreadPoolExecutor(4) as pool:
            for keys in parts(busy[1], FEWEST):
                list(pool.map(partial(store.head, busy[0]), keys))
                list(pool.map(lambda key: read(store, key, busy[0]), keys[::4]))
                seen += len(keys)
                if time.monotonic() > until:
                    break
        for span, stream, first in zip(spans, streams, begun, strict=True):
            start, stop = (0, len(data)) if span is None else span.resolve(len(data))
            bench.expect(
                first + b"".join(stream.chunks) == data[start:stop],
                f"a stream of {holder} gave other bytes after {busy[0]} had looked at "
                f"{seen} objects meanwhile",
            )
    store.delete(holder, "stream")


def _unharmed(
    bench: Bench, store: Any, scopes: Sequence[Scope], keys: Sequence[str], what: str
) -> None:
    for scope in scopes:
        listed = names(store, scope)
        bench.expect(
            listed == list(keys), f"{what} left {len(listed)} of {len(keys)} objects of {scope}"
        )
        for key in keys:
            try:
                found = read(store, key, scope)
            except StoreError:
                found = b""
            bench.expect(found == f"{scope} {key}".encode(), f"{what} took {key!r} from {scope}")


@check("TEN-132")
def raw_nothing_takes_nothing(bench: Bench) -> None:
    """Scopes that were never used, and one that is empty again: every deletion, and the end."""
    store = bench.open()
    empty, unused, *others = bench.cast(6)
    third = Scope(others[0].tenant_id, "staging")
    keys = ("k", "k/m", "x" * 300)
    for scope in others:
        for key in keys:
            put(store, key, f"{scope} {key}".encode(), scope)
    put(store, "k", b"x", empty)
    store.delete(empty, "k")
    kept = sorted(keys, key=str.encode)
    for scope in (empty, unused, third, SCOPES[-1]):
        if scope in others:
            continue
        for name, call in (
            ("delete", partial(store.delete, scope, "k")),
            ("delete_many", partial(store.delete_many, scope, list(keys))),
            ("a delete_many of nothing", partial(store.delete_many, scope, [])),
        ):
            call()
            _unharmed(bench, store, others, kept, f"{name} in {scope}, which has nothing,")
        for _ in range(2):
            count = store.erase(scope)
            bench.expect(count == 0, f"erasing {scope}, which has nothing, counted {count}")
            _unharmed(bench, store, others, kept, f"erasing {scope}, which has nothing,")
    if bench.spec.capabilities.conditional_create:  # type: ignore[union-attr]
        bench.raises(
            AlreadyExistsError,
            lambda: put(store, "k", b"y", others[0], if_absent=True),
            "a create of a key that was never deleted",
        )


@check("TEN-133")
def raw_crowds_are_apart(bench: Bench) -> None:
    """Hundreds of tenants with one key; then half of them erased."""
    store = bench.open()
    scopes = crowd(bench)
    for scope in scopes:
        put(store, "k", str(scope).encode(), scope)
    _each_its_own(bench, store, scopes, f"beside {len(scopes)} others")
    for scope in scopes[::3]:
        count = store.erase(scope)
        bench.expect(count == 1, f"erasing {scope}, which has one object, counted {count}")
    left = [scope for number, scope in enumerate(scopes) if number % 3]
    _each_its_own(bench, store, left, f"after others of {len(scopes)} were erased")


def _each_its_own(bench: Bench, store: Any, scopes: Sequence[Scope], when: str) -> None:
    for scope in scopes:
        try:
            found = read(store, "k", scope)
        except StoreError:
            found = b"nothing"
        bench.expect(
            found == str(scope).encode(),
            f"{when} {scope} reads {found!r}: a name for a scope that is cut or hashed to few "
            "bytes is soon another's too",
        )
