"""Checks of the raw store's own semantics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import KEYS, SCOPES, Bench, Violation
from nexus_contracts._checks.duels import fought
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    ChecksumMismatchError,
    ClosedError,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StoreError,
)

SCOPE = SCOPES[0]


def attributes(**metadata: str) -> ObjectAttributes:
    """Attributes as the core would send them."""
    return ObjectAttributes(
        content_type="text/plain", metadata=metadata, system={"stamp": "00", "kind": "data"}
    )


def put(store: Any, key: str, data: bytes, scope: Scope = SCOPE, **options: Any) -> Any:
    """Put bytes with plain attributes."""
    return store.put(scope, key, Body(data), attributes(), **options)


def read(store: Any, key: str, scope: Scope = SCOPE, **options: Any) -> bytes:
    """Read an object, or a range of it, to its end."""
    with store.open(scope, key, **options) as stream:
        data = b"".join(stream.chunks)
        if len(data) != stream.stop - stream.start:
            raise Violation(f"open announced {stream.stop - stream.start} bytes, gave {len(data)}")
        return data


def names(store: Any, scope: Scope = SCOPE, *, limit: int = 1000, **options: Any) -> list[str]:
    """All listed keys and prefixes, page by page, in the order they came."""
    found: list[str] = []
    after: str | None = None
    for _ in range(10_000):
        page = store.list(scope, after=after, limit=limit, **options)
        shown = [entry.key for entry in page.items] + list(page.prefixes)
        if len(shown) > limit:
            raise Violation(f"a page of at most {limit} holds {len(shown)}")
        found += sorted(shown, key=str.encode)
        if page.next_after is None:
            return found
        if after is not None and page.next_after.encode() <= after.encode():
            raise Violation("a page's next_after does not move on")
        after = page.next_after
    raise Violation("a listing does not end")


@check("RAW-001")
def what_is_put_comes_back(bench: Bench) -> None:
    """Every adversarial key keeps its own bytes, digest and attributes."""
    store = bench.open()
    wanted = {key: bench.random.randbytes(number * 37) for number, key in enumerate(KEYS)}
    # One to whoever looks at the size and the first block.
    wanted |= {f"twin-{mark}": b"t" * 65_536 + mark.encode() for mark in "ab"}
    for key, data in wanted.items():
        store.put(SCOPE, key, Body(data), attributes(n=str(len(data))))
    for key, data in wanted.items():
        bench.expect(read(store, key) == data, f"the key {key!r} gave back other bytes")
        info = store.head(SCOPE, key)
        bench.expect(info.key == key, f"head of {key!r} names another key")
        bench.expect(
            info.attributes == attributes(n=str(len(data))),
            f"the attributes of {key!r} are not those that were put",
        )


def _large(bench: Bench) -> Iterator[tuple[bytes, bytes]]:
    """What may be kept in a place of its own, which is the same for both."""
    most = bench.spec.capabilities.max_object_bytes  # type: ignore[union-attr]
    for usual in (70_000, (1 << 20) + 1):
        size = usual if most is None else min(usual, most)
        yield b"1" * size, b"2" * size


def _kept(bench: Bench, store: Any, held: bytes, what: str) -> None:
    bench.expect(
        read(store, "large") == held,
        f"a refused {what} changed the object, which has {len(held)} bytes",
    )


# A condition is about versions: what they hold says nothing of who has seen which.
ALIKE: Final = "with the very bytes and attributes that are there"


@check("RAW-002")
def put_creates_once(bench: Bench) -> None:
    """A taken key keeps its first object, also where the second is like it."""
    store = bench.open()
    first = put(store, "k", b"first", if_absent=True)
    bench.raises(
        AlreadyExistsError,
        lambda: put(store, "k", b"second", if_absent=True),
        "a second create of a taken key",
    )
    bench.expect(read(store, "k") == b"first", "a refused create changed the object")
    bench.raises(
        AlreadyExistsError,
        lambda: put(store, "k", b"first", if_absent=True),
        f"a create of a taken key {ALIKE}",
    )
    bench.expect(store.head(SCOPE, "k") == first, "a refused create made another version")
    for held, other in _large(bench):
        put(store, "large", held)
        for data, alike in ((other, ""), (held, f" {ALIKE}")):
            bench.raises(
                AlreadyExistsError,
                partial(put, store, "large", data, if_absent=True),
                f"a create of a taken key, of {len(data)} bytes{alike}",
            )
            _kept(bench, store, held, "create")


@check("RAW-003")
def put_replaces_the_named_version(bench: Bench) -> None:
    """Right, stale and absent versions, also where all of them are alike."""
    store = bench.open()
    first = put(store, "k", b"first")
    second = put(store, "k", b"second", if_match=first.etag)
    bench.raises(
        PreconditionFailedError,
        lambda: put(store, "k", b"third", if_match=first.etag),
        "a replace that names a stale version",
    )
    bench.raises(
        PreconditionFailedError,
        lambda: put(store, "absent", b"x", if_match=second.etag),
        "a replace of an absent key",
    )
    bench.expect(read(store, "k") == b"second", "a refused replace changed the object")
    bench.raises(NotFoundError, lambda: store.head(SCOPE, "absent"), "a refused replace created")
    third = put(store, "k", b"second", if_match=second.etag)
    bench.expect(third.etag != second.etag, f"a replace {ALIKE} made no version of its own")
    for stale in (first, second):
        bench.raises(
            PreconditionFailedError,
            partial(put, store, "k", b"second", if_match=stale.etag),
            f"a replace that names a stale version {ALIKE}",
        )
    bench.expect(store.head(SCOPE, "k") == third, "a refused replace made another version")
    for held, other in _large(bench):
        put(store, "large", held)
        for data, alike in ((other, ""), (held, f" {ALIKE}")):
            bench.raises(
                PreconditionFailedError,
                partial(put, store, "large", data, if_match=first.etag),
                f"a replace that names another version, of {len(data)} bytes{alike}",
            )
            _kept(bench, store, held, "replace")


@check("RAW-004")
def delete_removes_the_named_version(bench: Bench) -> None:
    """Right, stale and absent versions, also where they are alike."""
    store = bench.open()
    first = put(store, "k", b"first")
    second = put(store, "k", b"second")
    bench.raises(
        PreconditionFailedError,
        lambda: store.delete(SCOPE, "k", if_match=first.etag),
        "a delete that names a stale version",
    )
    bench.expect(read(store, "k") == b"second", "a refused delete removed the object")
    bench.raises(
        PreconditionFailedError,
        lambda: store.delete(SCOPE, "absent", if_match=first.etag),
        "a delete that names a version of an absent key",
    )
    store.delete(SCOPE, "k", if_match=second.etag)
    bench.raises(NotFoundError, lambda: store.head(SCOPE, "k"), "head after a delete")
    put(store, "k", b"second")
    bench.raises(
        PreconditionFailedError,
        lambda: store.delete(SCOPE, "k", if_match=second.etag),
        "a delete that names a stale version that was like the current one",
    )
    bench.expect(read(store, "k") == b"second", "a refused delete removed the object")


@check("RAW-005")
def absence_is_an_error(bench: Bench) -> None:
    """head and open, before any object and after a delete."""
    store = bench.open()
    put(store, "k", b"x")
    store.delete(SCOPE, "k")
    for key in ("never", "k", "k/below"):
        bench.raises(NotFoundError, partial(store.head, SCOPE, key), f"head of {key!r}")
        bench.raises(NotFoundError, partial(read, store, key), f"open of {key!r}")


@check("RAW-006")
def listings_are_complete_and_ordered(bench: Bench) -> None:
    """All keys once, in order, at several page sizes."""
    store = bench.open()
    keys = [*KEYS, *(f"n/{number}" for number in range(60))]
    for key in keys:
        put(store, key, b"")
    wanted = sorted(keys, key=str.encode)
    for limit in (1, 7, 1000):
        found = names(store, limit=limit)
        missing = [key for key in wanted if key not in found]
        bench.expect(not missing, f"at limit {limit} the listing leaves out {missing[:3]}")
        bench.expect(
            found == wanted, f"at limit {limit} the listing is out of order or repeats itself"
        )


@check("RAW-007")
def prefixes_are_literal(bench: Bench) -> None:
    """Prefixes full of wildcards match only themselves."""
    store = bench.open()
    for key in KEYS:
        put(store, key, b"")
    for prefix in ("k", "k_", "k%", "k*", "[k]", "k/", "K", "0", "é", "zz"):
        wanted = sorted((key for key in KEYS if key.startswith(prefix)), key=str.encode)
        found = names(store, prefix=prefix)
        bench.expect(found == wanted, f"the prefix {prefix!r} listed {found[:4]}…")


@check("RAW-008")
def delimiters_roll_up(bench: Bench) -> None:
    """Roll-ups, in pages of any size."""
    store = bench.open()
    for key in ("a", "a/b", "a/c/d", "a-b", "b/x", "b/y", "c"):
        put(store, key, b"")
    for limit in (1, 2, 100):
        found = names(store, delimiter="/", limit=limit)
        bench.expect(found == ["a", "a-b", "a/", "b/", "c"], f"at limit {limit}: {found}")
        found = names(store, delimiter="/", prefix="a/", limit=limit)
        bench.expect(found == ["a/b", "a/c/"], f"below 'a/' at limit {limit}: {found}")


@check("RAW-009")
def delete_is_exact_and_idempotent(bench: Bench) -> None:
    """One key at a time, all others stay."""
    store = bench.open()
    for key in KEYS:
        put(store, key, b"x")
    left = set(KEYS)
    for key in ("k", "k*", "k%", "k_", "a", "never"):
        store.delete(SCOPE, key)
        store.delete(SCOPE, key)
        left.discard(key)
        found = set(names(store))
        bench.expect(found == left, f"deleting {key!r} also removed {sorted(left - found)[:3]}")


@check("RAW-010")
def batches_delete_exactly(bench: Bench) -> None:
    """Hundreds of keys, duplicates and absent ones among them."""
    store = bench.open()
    keys = [*KEYS, *(f"n/{number}" for number in range(300)), "keep", "keep/k", "kee"]
    for key in keys:
        put(store, key, b"x")
    going = [key for key in keys if not key.startswith("kee")]
    failed = store.delete_many(SCOPE, [*going, *going[:5], "never", "kee*", "kee%"])
    bench.expect(dict(failed) == {}, f"delete_many reports {dict(failed)}")
    found = names(store)
    bench.expect(found == ["kee", "keep", "keep/k"], f"delete_many left {found[:5]}")


@check("RAW-011")
def ranges_are_exact(bench: Bench) -> None:
    """A table of ranges against plain slicing."""
    store = bench.open()
    data = bench.random.randbytes(1000)
    put(store, "k", data)
    table = [
        (ByteRange(0, 1), data[:1]),
        (ByteRange(0), data),
        (ByteRange(1, 999), data[1:999]),
        (ByteRange(999), data[999:]),
        (ByteRange(999, 1000), data[999:]),
        (ByteRange(990, 5000), data[990:]),
        (ByteRange.last(1), data[-1:]),
        (ByteRange.last(5000), data),
    ]
    for wanted, expected in table:
        bench.expect(read(store, "k", range=wanted) == expected, f"{wanted} gave other bytes")
    for wanted in (ByteRange(1000), ByteRange(5, 5), ByteRange(7, 3), ByteRange(2000, 3000)):
        bench.raises(RangeNotSatisfiableError, partial(read, store, "k", range=wanted), f"{wanted}")


class Broken(Exception):  # what a source raises is its own affair
    """What a failing source raises."""


@check("RAW-012")
def a_failing_body_leaves_nothing(bench: Bench) -> None:
    """Before and after the first chunk, on a new key and on a taken one."""
    store = bench.open()
    put(store, "taken", b"old")

    def breaking(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 1000
        raise Broken

    for key in ("new", "taken"):
        for count in (0, 1, 3):
            try:
                store.put(SCOPE, key, Body(breaking(count)), attributes())
            except (Broken, StoreError):
                pass
            else:
                bench.fail("a body that raises was stored")
    bench.expect(read(store, "taken") == b"old", "a failed put changed the object that was there")
    bench.expect(names(store) == ["taken"], "a failed put left something in the listing")


@check("RAW-013")
def a_wrong_body_leaves_nothing(bench: Bench) -> None:
    """Wrong digest, and too few or too many bytes."""
    store = bench.open()
    bodies = (
        Body(b"abc", sha256="0" * 64),
        Body(iter([b"abc"]), size=2),
        Body(iter([b"abc"]), size=4),
    )
    for body in bodies:
        bench.raises(
            ChecksumMismatchError,
            partial(store.put, SCOPE, "k", body, attributes()),
            "a body other than declared",
        )
        bench.raises(NotFoundError, lambda: store.head(SCOPE, "k"), "head after a refused body")


@check("RAW-014")
def streams_are_stored_whole(bench: Bench) -> None:
    """Six MiB in uneven chunks, of unknown length."""
    store = bench.open()
    chunks = [bench.random.randbytes(bench.random.randint(1, 400_000)) for _ in range(30)]
    data = b"".join(chunks)
    info = store.put(SCOPE, "k", Body(iter(chunks)), attributes())
    bench.expect(info.size == len(data), "put reports another size than was streamed")
    bench.expect(
        info.sha256 == hashlib.sha256(data).hexdigest(), "put reports another digest than streamed"
    )
    bench.expect(read(store, "k") == data, "a streamed object reads back otherwise")


@check("RAW-015")
def reads_come_from_one_version(bench: Bench) -> None:
    """Overwrite and delete while a read is under way."""
    store = bench.open()
    old, new = b"a" * 3_000_000, b"b" * 3_000_000
    for change in ("overwrite", "delete"):
        put(store, "k", old)
        try:
            with store.open(SCOPE, "k") as stream:
                first = next(iter(stream.chunks))
                if change == "overwrite":
                    put(store, "k", new)
                else:
                    store.delete(SCOPE, "k")
                rest = b"".join(stream.chunks)
        except (PreconditionFailedError, NotFoundError):
            continue
        bench.expect(first + rest == old, f"a read mixed two versions over an {change}")


@check("RAW-016")
def copies_carry_new_attributes(bench: Bench) -> None:
    """Bytes from the source, attributes from the call, conditions on both ends."""
    store = bench.open()
    source = put(store, "s", b"data")
    info = store.copy(SCOPE, "s", "t", attributes(new="yes"), if_absent=True)
    bench.expect(read(store, "t") == b"data", "the copy has other bytes")
    bench.expect(info.attributes == attributes(new="yes"), "the copy kept the source's attributes")
    bench.expect(store.head(SCOPE, "t").attributes == attributes(new="yes"), "and so does head")
    bench.expect(store.head(SCOPE, "s") == source, "copying changed the source")
    for given, alike in ((attributes(), ""), (attributes(new="yes"), f" {ALIKE}")):
        bench.raises(
            AlreadyExistsError,
            partial(store.copy, SCOPE, "s", "t", given, if_absent=True),
            f"a copy onto a taken key{alike}",
        )
    bench.expect(store.head(SCOPE, "t") == info, "a refused copy made another version")
    for data in (b"newer", b"data"):
        put(store, "s", data)
        bench.raises(
            PreconditionFailedError,
            lambda: store.copy(SCOPE, "s", "u", attributes(), if_source_match=source.etag),
            "a copy of a stale version" + " that was like the current one" * (data == b"data"),
        )
    bench.raises(NotFoundError, lambda: store.head(SCOPE, "u"), "a refused copy created")
    bench.raises(
        NotFoundError, lambda: store.copy(SCOPE, "no", "u", attributes()), "a copy of nothing"
    )


@check("RAW-017")
def open_names_a_version(bench: Bench) -> None:
    """The current one, and a stale one."""
    store = bench.open()
    first = put(store, "k", b"first")
    bench.expect(read(store, "k", if_match=first.etag) == b"first", "the current version")
    for data in (b"second", b"first"):
        put(store, "k", data)
        bench.raises(
            PreconditionFailedError,
            lambda: read(store, "k", if_match=first.etag),
            "open of a stale version" + " that was like the current one" * (data == b"first"),
        )


@check("RAW-018")
def keys_that_begin_one_another(bench: Bench) -> None:
    """A chain of keys, made and deleted in both orders."""
    chain = ["k", "k/m", "k/m/n", "k/m/n/o"]
    for order in (chain, chain[::-1]):
        store = bench.open()
        for key in order:
            put(store, key, key.encode())
        for key in order:
            bench.expect(read(store, key) == key.encode(), f"{key!r} lost its bytes")
        for number, key in enumerate(order):
            store.delete(SCOPE, key)
            left = sorted(order[number + 1 :], key=str.encode)
            bench.expect(names(store) == left, f"deleting {key!r} disturbed its neighbours")


@check("RAW-019")
def every_write_is_another_version(bench: Bench) -> None:
    """The same bytes again, and after others."""
    store = bench.open()
    etags = [put(store, "k", data).etag for data in (b"a", b"a", b"b", b"a")]
    store.delete(SCOPE, "k")
    etags.append(put(store, "k", b"a").etag)
    bench.expect(len(set(etags)) == len(etags), "two writes of one key have one ETag")
    bench.expect(store.head(SCOPE, "k").etag == etags[-1], "head and put disagree on the ETag")


@check("RAW-020")
def erase_is_complete(bench: Bench) -> None:
    """All keys, twice over; the scope can be used again."""
    store = bench.open()
    for key in KEYS:
        put(store, key, b"x")
    count = store.erase(SCOPE)
    bench.expect(count == len(KEYS), f"erase counted {count} of {len(KEYS)} objects")
    bench.expect(names(store) == [], "erase left objects in the listing")
    for key in KEYS[:5]:
        bench.raises(NotFoundError, partial(store.head, SCOPE, key), "head after erase")
    bench.expect(store.erase(SCOPE) == 0, "a second erase counted objects")
    put(store, "k", b"new")
    bench.expect(read(store, "k") == b"new", "an erased scope cannot be used again")


@check("RAW-021")
def empty_objects_are_objects(bench: Bench) -> None:
    """Stored, headed, listed, read, and without a satisfiable range."""
    store = bench.open()
    info = put(store, "k", b"")
    bench.expect((info.size, read(store, "k")) == (0, b""), "an empty object is not empty")
    if bench.spec.capabilities.ranges:  # type: ignore[union-attr]
        for wanted in (ByteRange(0), ByteRange(0, 1), ByteRange.last(1)):
            bench.raises(
                RangeNotSatisfiableError,
                partial(read, store, "k", range=wanted),
                f"{wanted} of an empty object",
            )


@check("RAW-022")
def one_creator_wins(bench: Bench) -> None:
    """Preempted races of four creators, several rounds."""
    store = bench.open()
    for number in range(12):
        key = f"race/{number}"

        def create(which: int, key: str = key) -> str:
            try:
                put(store, key, str(which).encode() * 50, if_absent=True)
            except AlreadyExistsError:
                return "lost"
            return str(which)

        won = [answer for answer in race(bench, create, 4) if answer != "lost"]
        bench.expect(len(won) == 1, f"{len(won)} of 4 racing creators won")
        bench.expect(
            read(store, key) == won[0].encode() * 50, "the bytes are not those of the winner"
        )
    fought(bench, "create")


@check("RAW-023")
def untouched_keys_stay_listed(bench: Bench) -> None:
    """Deletes and inserts between the pages of a listing."""
    store = bench.open()
    stable = [f"s/{number:03}" for number in range(40)]
    moving = [f"s/{number:03}x" for number in range(40)]
    for key in stable + moving:
        put(store, key, b"")
    found: list[str] = []
    after: str | None = None
    for number in range(1000):
        page = store.list(SCOPE, after=after, limit=4)
        found += [entry.key for entry in page.items]
        if page.next_after is None:
            break
        after = page.next_after
        store.delete(SCOPE, moving[number % 40])
        put(store, f"t/{number:03}", b"")
    missing = [key for key in stable if found.count(key) != 1]
    bench.expect(not missing, f"{missing[:3]} were untouched, and missed or repeated in a listing")


@check("RAW-024")
def closed_is_closed(bench: Bench) -> None:
    """Every method, after close."""
    store = bench.open()
    put(store, "k", b"x")
    store.close()
    store.close()
    calls = {
        "put": lambda: put(store, "k", b"y"),
        "head": lambda: store.head(SCOPE, "k"),
        "open": lambda: read(store, "k"),
        "list": lambda: store.list(SCOPE),
        "delete": lambda: store.delete(SCOPE, "k"),
        "erase": lambda: store.erase(SCOPE),
    }
    for name, call in calls.items():
        bench.raises(ClosedError, call, f"{name} after close")


@check("RAW-025")
def digests_are_of_the_stored_bytes(bench: Bench) -> None:
    """put and head against a digest of our own."""
    store = bench.open()
    data = bench.random.randbytes(5000)
    wanted = (5000, hashlib.sha256(data).hexdigest())
    for info in (put(store, "k", data), store.head(SCOPE, "k")):
        bench.expect((info.size, info.sha256) == wanted, "size or SHA-256 is not the bytes' own")


@check("RAW-026")
def after_is_exclusive(bench: Bench) -> None:
    """On a key, between keys, before the first, past the last."""
    store = bench.open()
    for key in ("b", "d", "f"):
        put(store, key, b"")
    for after, wanted in (
        ("a", "bdf"),
        ("b", "df"),
        ("c", "df"),
        ("d/", "f"),
        ("f", ""),
        ("z", ""),
    ):
        found = "".join(entry.key for entry in store.list(SCOPE, after=after).items)
        bench.expect(found == wanted, f"after {after!r} the listing gives {found!r}")
