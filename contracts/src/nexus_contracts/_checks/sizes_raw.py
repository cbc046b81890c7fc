"""Checks of the raw store at its sizes: declared maxima, chunks, streams beside each other, a
thousand objects and more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import Bench
from nexus_contracts._checks.canaries import Canary, canaries, places
from nexus_contracts._checks.raw import SCOPE, attributes, names, put, read
from nexus_contracts._checks.raw_versions import lines
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_core import NexusError, Scope
from nexus_core.spi import (
    Body,
    ByteRange,
    InvalidArgumentError,
    InvalidKeyError,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    QuotaExceededError,
)

KIB: Final = 1 << 10
MIB: Final = 1 << 20
# Where chunks, parts and buffers usually end.
BORDERS: Final = (4 * KIB, 64 * KIB, 256 * KIB, MIB, 2 * MIB)
LARGE: Final = 2 * MIB + 12_345
# Beyond this an object is too large to be tried; without a declared maximum so much is.
TRIED: Final = 32 * MIB
UNLIMITED: Final = 9 * MIB
# More than a page of a thousand, and a remainder.
MANY: Final = 1_010
# What one metadata value may hold, by the core's grammar.
VALUE: Final = 1024
# As the core sends it: the stamp is a MAC.
SYSTEM: Final = {"stamp": "5a" * 32, "kind": "data", "space": "space-1", "train_ok": "false"}


# -- declared maxima ------------------------------------------------------------------------------


def longest_keys(limit: int) -> list[str]:
    """Keys of exactly so many bytes: of each width of character, of one segment and of many, and
    pairs of which only the last character differs."""

    def filled(character: str, tail: str = "") -> str:
        width = len(character.encode())
        body = character * ((limit - len(tail.encode())) // width)
        return body + "b" * (limit - len((body + tail).encode())) + tail

    segments = ("a/" * (limit // 2))[:-1].ljust(limit, "b")
    return [
        *(filled("x"), filled("x", "y"), filled("K"), filled("%"), filled("_")),
        *(filled("é"), filled("日"), filled("🧪"), filled("🧪", "🧬")),
        *(segments, segments[:-1] + "c"),
    ]


def fullest_metadata(limit: int) -> list[dict[str, str]]:
    """Metadata of exactly so many bytes, names and values together: a few long values, many short
    ones."""
    found = []
    for longest in (VALUE, 60):
        made: dict[str, str] = {}
        left = limit
        while left > 3:
            name = f"m{len(made):02x}"
            size = min(longest, left - len(name))
            left -= len(name) + size
            text = "".join(chr(0x21 + (len(made) * 7 + n * 5) % 94) for n in range(size))
            made[name] = text.replace('"', "-").replace("\\", "/")
        found.append(made)
    return found


def most_bytes(bench: Bench) -> int | None:
    """The declared maximum of an object, where it is small enough to be tried."""
    limit: int | None = bench.spec.capabilities.max_object_bytes  # type: ignore[union-attr]
    return limit if limit is not None and limit <= TRIED else None


def in_pieces(data: bytes, size: int = 100_003) -> Iterator[bytes]:
    """The bytes as a stream, whose length is not known beforehand."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


@check("RAW-060")
def declared_maxima_are_kept(bench: Bench) -> None:
    """Keys, metadata and an object, each as large as is declared."""
    store, can = bench.open(), bench.spec.capabilities
    _longest_keys_are_keys(bench, store)
    for number, metadata in enumerate(fullest_metadata(can.max_metadata_bytes)):  # type: ignore[union-attr]
        given = ObjectAttributes(content_type="text/plain", metadata=metadata, system=SYSTEM)
        told = f"metadata of {can.max_metadata_bytes} bytes in {len(metadata)} values"  # type: ignore[union-attr]
        _taken(bench, told, partial(store.put, SCOPE, f"m{number}", Body(b"x"), given))
        found = store.head(SCOPE, f"m{number}").attributes
        bench.expect(found == given, f"{told} came back otherwise")
    size = most_bytes(bench) or min(UNLIMITED, can.max_object_bytes or UNLIMITED)  # type: ignore[union-attr]
    data = bench.random.randbytes(size)
    for how, body in (("of known length", Body(data)), ("streamed", Body(in_pieces(data)))):
        told = f"an object of {size} bytes, {how},"
        _taken(bench, told, partial(store.put, SCOPE, "large", body, attributes()))
        info = store.head(SCOPE, "large")
        bench.expect(
            (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest()),
            f"{told} is kept with another size or SHA-256",
        )
        bench.expect(read(store, "large") == data, f"{told} reads back otherwise")


def _taken(bench: Bench, what: str, call: Any) -> None:
    try:
        call()
    except NexusError as error:
        bench.fail(f"{what} is refused with {type(error).__name__}, and declared to be possible")


def _longest_keys_are_keys(bench: Bench, store: Any) -> None:
    limit = bench.spec.capabilities.max_key_bytes  # type: ignore[union-attr]
    keys = longest_keys(min(limit, 1024))
    told = f"a key of {len(keys[0])} bytes"
    for number, key in enumerate(keys):
        data = f"{number}".encode()
        _taken(bench, told, partial(put, store, key, data))
    for number, key in enumerate(keys):
        bench.expect(read(store, key) == f"{number}".encode(), f"{told} gives another's bytes")
        bench.expect(store.head(SCOPE, key).key == key, f"head of {told} names another key")
    wanted = sorted(keys, key=str.encode)
    bench.expect(names(store, limit=3) == wanted, f"{told} is listed otherwise")
    for key in keys:
        # Two of them may begin alike.
        some = [each for each in wanted if each.startswith(key[:-1])]
        bench.expect(names(store, prefix=key[:-1]) == some, f"{told} is listed by no prefix of it")
    store.delete(SCOPE, keys[0])
    bench.raises(NotFoundError, partial(store.head, SCOPE, keys[0]), f"head of {told}, deleted")
    failed = store.delete_many(SCOPE, keys[2:])
    bench.expect(dict(failed) == {}, f"delete_many fails for {told}")
    bench.expect(names(store) == [keys[1]], f"deleting {told} took another, or left it")
    store.delete(SCOPE, keys[1])


@check("RAW-061")
def more_than_declared_is_refused(bench: Bench) -> None:
    """One byte more than the declared maximum, streamed; and what the core refuses."""
    store, can = bench.open(), bench.spec.capabilities
    limit = most_bytes(bench)
    if limit is not None:
        old = put(store, "taken", b"old")
        data = bytes(limit + 1)
        for key in ("new", "taken"):
            for body in (Body(in_pieces(data)), Body(data)):
                bench.raises(
                    QuotaExceededError,
                    partial(store.put, SCOPE, key, body, attributes()),
                    f"an object of {limit + 1} bytes, where {limit} are declared",
                )
        bench.expect(names(store) == ["taken"], "an object that was too large is listed")
        bench.expect(store.head(SCOPE, "taken") == old, "a refused object changed what was there")
        bench.expect(read(store, "taken") == b"old", "a refused object changed what was there")
        store.delete(SCOPE, "taken")
    key = "k" * (can.max_key_bytes + 1)  # type: ignore[union-attr]
    over: dict[str, str] = fullest_metadata(can.max_metadata_bytes)[1]  # type: ignore[union-attr]
    over |= {"one": "x"}
    with (
        bench.nexus(store) as nexus,
        nexus.request(bench.context(SCOPE)) as n,
    ):
        write = partial(n.raw.put, kind="data", space="s")
        bench.raises(InvalidKeyError, lambda: write(key, b"x"), "a key that is too long")
        bench.raises(
            InvalidArgumentError,
            lambda: write("k", b"x", metadata=over),
            "metadata that is too large",
        )
        bench.expect(n.raw.list().items == (), "what the core refused was stored")


# -- chunks ---------------------------------------------------------------------------------------


def lookalikes(bench: Bench, size: int = LARGE) -> dict[str, bytes]:
    """Objects of one length, each of which differs from the first in one byte only: at its ends,
    and on both sides of every border."""
    data = bench.random.randbytes(size)
    places = {0, size - 1, *(border - 1 for border in BORDERS[1:]), *BORDERS[1:]}
    found = {"like": data}
    for place in sorted(each for each in places if each < size):
        found[f"like-{place}"] = changed(data, place)
    return found


def changed(data: bytes, place: int) -> bytes:
    """The same bytes but for one."""
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def spans(bench: Bench, size: int) -> list[ByteRange]:
    """Ranges across every border, and over several; suffixes; a few at random."""
    found = [ByteRange(1), ByteRange(0, size - 1), ByteRange(size - 1)]
    for border in (each for each in BORDERS if each < size):
        found += [
            ByteRange(border - 1, border + 1),
            ByteRange(border, border + 1),
            ByteRange(border - 3, border + border),
            ByteRange(border + 1),
            ByteRange.last(border),
            ByteRange.last(border + 1),
        ]
    for _ in range(6):
        start, stop = sorted(bench.random.sample(range(size), 2))
        found.append(ByteRange(start, stop))
    return found


@check("RAW-062")
def every_byte_of_every_chunk(bench: Bench) -> None:
    """Objects that differ in one byte, whole; one of them in ranges that cross every border."""
    store = bench.open()
    made = lookalikes(bench)
    digests = {key: put(store, key, data).sha256 for key, data in made.items()}
    for key, data in made.items():
        right = hashlib.sha256(data).hexdigest()
        info = store.head(SCOPE, key)
        bench.expect(
            digests[key] == info.sha256 == right, f"of {LARGE} bytes another SHA-256 is reported"
        )
        bench.expect(
            read(store, key) == data,
            f"one of several objects of {LARGE} bytes that differ in one byte gives other bytes",
        )
    if not bench.spec.capabilities.ranges:  # type: ignore[union-attr]
        return
    data = made["like"]
    etag = store.head(SCOPE, "like").etag
    for number, span in enumerate(spans(bench, LARGE)):
        start, stop = span.resolve(LARGE)
        condition = {"if_match": etag} if number % 2 else {}
        with store.open(SCOPE, "like", range=span, **condition) as stream:
            announced = (stream.start, stream.stop)
            found = b"".join(stream.chunks)
        told = f"of {LARGE} bytes, {span}"
        bench.expect(announced == (start, stop), f"{told} was announced as {announced}")
        if found != data[start:stop]:
            bench.fail(f"{told} gave other bytes, from byte {_parting(found, data, start)} on")


def _parting(found: bytes, data: bytes, start: int) -> int:
    """The place in the object at which bytes are no longer its own."""
    pairs = enumerate(zip(found, data[start:], strict=False), start)
    return next((place for place, (one, other) in pairs if one != other), start + len(found))


# -- streams beside each other --------------------------------------------------------------------


def in_turns(opened: Sequence[tuple[Any, bytes]]) -> list[bool]:
    """Read opened streams chunk by chunk in turns; whether each gave its bytes."""
    found = [bytearray() for _ in opened]
    left = {number: iter(stream.chunks) for number, (stream, _) in enumerate(opened)}
    while left:
        for number in list(left):
            chunk = next(left[number], None)
            if chunk is None:
                del left[number]
            else:
                found[number] += chunk
    return [bytes(got) == data for got, (_, data) in zip(found, opened, strict=True)]


def beside(bench: Bench, store: Any, wanted: Sequence[tuple[Scope, str, bytes]]) -> None:
    """Open all, and a range of the first; read them in turns."""
    with ExitStack() as stack:
        opened = [
            (stack.enter_context(store.open(scope, key)), data) for scope, key, data in wanted
        ]
        if bench.spec.capabilities.ranges:  # type: ignore[union-attr]
            scope, key, data = wanted[0]
            some = stack.enter_context(store.open(scope, key, range=ByteRange(MIB - 5)))
            opened.append((some, data[MIB - 5 :]))
        right = in_turns(opened)
    bench.expect(
        all(right), f"{len(right)} streams read in turns: {right.count(False)} gave other bytes"
    )


@check("RAW-063")
def streams_are_apart(bench: Bench) -> None:
    """Streams of one scope, of several sizes: in turns, and from several threads."""
    store = bench.open()
    for size in (200_000, MIB + 77_777):
        base = bench.random.randbytes(size)
        made = {f"s{number}": changed(base, number) for number in range(3)}
        for key, data in made.items():
            put(store, key, data)
        if size > MIB:
            beside(bench, store, [(SCOPE, key, data) for key, data in made.items()])
        pairs = list(made.items())

        def reading(which: int, pairs: Any = pairs) -> bool:
            key, data = pairs[which]
            return all(read(store, key) == data for _ in range(2))

        told = f"of {len(pairs)} objects of {size} bytes read at one moment"
        bench.expect(all(race(bench, reading, len(pairs))), f"{told} one gave other bytes")

        def writing(which: int, pairs: Any = pairs) -> bool:
            key, data = pairs[which]
            found = []
            for turn in range(2):
                now = changed(data, 100 + turn)
                put(store, key, now)
                found.append(read(store, key) == now)
            return all(found)

        told = f"of {len(pairs)} objects of {size} bytes written at one moment"
        bench.expect(all(race(bench, writing, len(pairs))), f"{told} one has other bytes")


# -- a thousand and more --------------------------------------------------------------------------


def fill(store: Any, scope: Scope, keys: Sequence[str], data: bytes = b"x") -> None:
    """Put one byte under every key, several at a time."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: put(store, key, data, scope), keys))


@check("RAW-064")
def more_than_a_page(bench: Bench) -> None:
    """Over a thousand objects, in pages around a thousand; most of them deleted in one call."""
    store = bench.open()
    keys = [f"n/{number:05}" for number in range(MANY)]
    fill(store, SCOPE, keys)
    for limit in (1000, 1001, MANY, 5 * MANY):
        found = names(store, limit=limit)
        bench.expect(found == keys, f"at limit {limit} {MANY} objects are listed as {len(found)}")
    last = store.list(SCOPE, after=keys[-2])
    bench.expect([each.key for each in last.items] == keys[-1:], "the last of many is not listed")
    if bench.spec.capabilities.delimiter:  # type: ignore[union-attr]
        found = names(store, delimiter="/")
        bench.expect(found == ["n/"], f"{MANY} objects are rolled up as {found[:3]}")
    going = [key for key in keys if not key.endswith("7")]
    failed = store.delete_many(SCOPE, [*going, *(f"absent/{n}" for n in range(MANY - len(going)))])
    bench.expect(dict(failed) == {}, f"a delete_many of {MANY} keys reports {len(failed)} failures")
    left = names(store)
    bench.expect(
        left == [key for key in keys if key.endswith("7")],
        f"a delete_many of {MANY} keys, all but {MANY - len(going)} of {MANY}, left {len(left)}",
    )


# -- ETags ----------------------------------------------------------------------------------------


@check("RAW-065")
def etags_never_come_back(bench: Bench) -> None:
    """One key, over writes, deletions, erasures and openings; every old ETag is refused."""
    namespace = bench.provisioned()
    store, again = bench.open(namespace), bench.harness.survives_reopen
    told: dict[str, str] = {}

    def write(when: str, *, times: int = 3) -> None:
        for _ in range(times):
            etag = put(store, "k", f"bytes {len(told)}".encode()).etag
            bench.expect(
                etag not in told, f"a write {when} has an ETag that was given {told.get(etag)}"
            )
            told[etag] = when
        _refused(bench, store, [each for each in told if each != etag], when)

    write("at first")
    store.delete(SCOPE, "k")
    write("after a deletion")
    if again:
        store.close()
        store = bench.open(namespace)
        write("after opening again")
    store.erase(SCOPE)
    write("after an erasure")
    store.delete(SCOPE, "k")
    if again:
        store.close()
        store = bench.open(namespace)
    write("after a deletion and opening again" if again else "after another deletion")


def _refused(bench: Bench, store: Any, stale: Sequence[str], when: str) -> None:
    """Whatever goes by an ETag refuses each of the old ones."""
    can: Any = bench.spec.capabilities
    current = store.head(SCOPE, "k")
    right = read(store, "k")
    for etag in stale:
        calls = {"open": partial(read, store, "k", if_match=etag)}
        if can.ranges:
            calls["open of a range"] = partial(
                read, store, "k", if_match=etag, range=ByteRange(1, 4)
            )
        if can.conditional_replace:
            calls["put"] = partial(put, store, "k", b"stale", if_match=etag)
        if can.conditional_delete:
            calls["delete"] = partial(store.delete, SCOPE, "k", if_match=etag)
        if can.copy:
            calls["copy"] = partial(store.copy, SCOPE, "k", "t", attributes(), if_source_match=etag)
        for name, call in calls.items():
            bench.raises(
                PreconditionFailedError, call, f"{when}, {name} that names a version long gone"
            )
    if can.ranges:
        some = read(store, "k", if_match=current.etag, range=ByteRange(1, 4))
        bench.expect(some == right[1:4], "a range of the current version gave other bytes")
    bench.expect(
        store.head(SCOPE, "k") == current and read(store, "k") == right,
        "a refused call changed the object",
    )


# -- below the interface --------------------------------------------------------------------------


@check("RAW-066")
def deleted_is_gone_below(bench: Bench) -> None:
    """Small and large objects, deleted in every way, beside some that stay; by the back door."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    store, can = bench.open(namespace), bench.spec.capabilities
    subject, other = bench.cast(2)
    # One for each way of deletion, and two that stay.
    *going, stays, theirs = canaries(bench, [*[subject] * 5, other])
    replaced = canaries(bench, [subject])[0]
    _plant(store, replaced, going[0].name, 200_000)
    for own, size in zip(going, (10, 3 * KIB, 100_000, 300_000), strict=True):
        _plant(store, own, own.name, size)
    for own in (stays, theirs):
        _plant(store, own, own.name, 3 * KIB)
    gone = [text for own in (*going, replaced) for text in own.told]
    before = places(door.snapshot(), gone)
    bench.figures["places_before_delete"] = len(before)
    first, second, *rest = (own.name for own in going)
    store.delete(subject, first)
    condition = store.head(subject, second).etag
    store.delete(subject, second, **({"if_match": condition} if can.conditional_delete else {}))  # type: ignore[union-attr]
    store.delete_many(subject, rest)
    if can.versions:  # type: ignore[union-attr]
        for own in going:
            _purged(store, subject, own.name)
    told = "purge of what was deleted" if can.versions else "delete"  # type: ignore[union-attr]
    for moment in (f"after {told}", f"after {told} and close"):
        left = places(door.snapshot(), gone)
        bench.expect(
            not left,
            f"{moment} {len(left)} places below the store still hold what was stored, renamed or "
            "hidden perhaps: what an engine frees has to be overwritten or removed",
        )
        store.close()
    for own in (stays, theirs):
        kept = places(door.snapshot(), own.told)
        bench.expect(kept or not before, f"{told} in {subject} took what it was not to take")


def _plant(store: Any, own: Canary, key: str, size: int) -> None:
    text = own.value.encode()
    given = attributes(m=own.meta)
    store.put(own.scope, key, Body(text * (size // len(text) + 1)), given)


def _purged(store: Any, scope: Scope, key: str) -> None:
    """Destroy a deleted key's history: what it covers first, and then the marker."""
    for marker in (False, True):
        found = [each.version_id for each in lines(store, key, scope) if each.marker is marker]
        store.purge(scope, key, found)
