"""Checks of protection: what is said of an object is changed, and what is locked stays."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._checks.raw import attributes, put, read
from nexus_contracts._races import race
from nexus_contracts._registry import check
from nexus_core.spi import (
    Body,
    NotFoundError,
    ObjectAttributes,
    ObjectInfo,
    PreconditionFailedError,
    RetentionError,
    StoreError,
)

SCOPE, OTHER = SCOPES[:2]
# One name fewer and one more than `attributes` has, and one with another value.
HELD: Final = {"stamp": "00", "legal-hold": "1"}
FREE: Final = {"stamp": "00", "kind": "chat", "legal-hold": "0"}
KEYS: Final = ("k", "k/m", "K", "a b/%2e/é")
MINUTE: Final = 60_000_000


def seen(info: ObjectInfo) -> tuple[object, ...]:
    """What no change of protection alters."""
    said = info.attributes
    return info.key, info.size, info.sha256, said.content_type, dict(said.metadata)


def locked(
    retain_until: int | None = None, *, legal_hold: bool = False, **metadata: str
) -> ObjectAttributes:
    """Attributes with a lock."""
    return attrs.evolve(attributes(**metadata), retain_until=retain_until, legal_hold=legal_hold)


def later(bench: Bench, minutes: int = 2) -> int:
    """A time to come, by the suite's clock and by an engine's own."""
    return max(bench.clock(), time.time_ns() // 1000) + minutes * MINUTE


def has_lock(bench: Bench, info: ObjectInfo, wanted: ObjectAttributes, what: str) -> None:
    """Expect a lock, rounded up by a second at most."""
    until, asked = info.attributes.retain_until, wanted.retain_until
    same = until == asked or (
        until is not None and asked is not None and 0 <= until - asked <= 1_000_000
    )
    bench.expect(
        same and info.attributes.legal_hold == wanted.legal_hold,
        f"{what} does not have the lock that it was given",
    )


# -- what the core says of an object ------------------------------------------------------------


@check("RAW-070")
def system_metadata_is_replaced(bench: Bench) -> None:
    """Small, empty and larger objects, twice each; and their neighbours."""
    store = bench.open()
    bodies = {
        key: bench.random.randbytes(size) for key, size in zip(KEYS, (9, 0, 70_000, 1), strict=True)
    }
    made = {
        key: store.put(SCOPE, key, Body(data), attributes(n=str(len(data))))
        for key, data in bodies.items()
    }
    other = put(store, "k", b"theirs", OTHER)
    for system in (HELD, FREE):
        for key, before in made.items():
            told = store.set_system(SCOPE, key, system, if_match=before.etag)
            info = store.head(SCOPE, key)
            bench.expect(told == info, f"set_system of {key!r} tells another object than head")
            bench.expect(
                dict(info.attributes.system) == system,
                f"the system metadata of {key!r} is not what it was replaced by",
            )
            bench.expect(
                seen(info) == seen(before), f"set_system changed something else of {key!r}"
            )
            bench.expect(read(store, key) == bodies[key], f"set_system changed bytes of {key!r}")
            made[key] = info
    bench.expect(store.head(OTHER, "k") == other, "set_system reached another scope")


@check("RAW-071")
def system_metadata_is_replaced_of_one_version(bench: Bench) -> None:
    """Stale and absent versions, before and after a replacement; the ETag moves each time."""
    store = bench.open()
    first = put(store, "k", b"one")
    second = store.set_system(SCOPE, "k", HELD, if_match=first.etag)
    third = store.set_system(SCOPE, "k", HELD, if_match=second.etag)
    bench.expect(
        len({first.etag, second.etag, third.etag}) == 3,
        "set_system left the ETag as it was, so that a deletion or replacement goes through that "
        "knows nothing of it",
    )
    for stale in (first.etag, second.etag, "0"):
        told = "set_system that names a stale version"
        call = partial(store.set_system, SCOPE, "k", FREE, if_match=stale)
        bench.raises(PreconditionFailedError, call, told)
        call = partial(store.set_system, SCOPE, "k", HELD, if_match=stale)
        bench.raises(PreconditionFailedError, call, f"{told} with what is there already")
        told = "a put that names what set_system has replaced"
        bench.raises(PreconditionFailedError, partial(put, store, "k", b"x", if_match=stale), told)
    bench.expect(store.head(SCOPE, "k") == third, "a refused set_system changed the object")
    put(store, "k", b"two")
    call = partial(store.set_system, SCOPE, "k", FREE, if_match=third.etag)
    bench.raises(PreconditionFailedError, call, "set_system of what was replaced")
    bench.expect(read(store, "k") == b"two", "a refused set_system brought old bytes back")
    bench.expect(
        store.head(SCOPE, "k").attributes == attributes(),
        "a refused set_system left something on the newer version",
    )
    for scope, key in ((SCOPE, "absent"), (OTHER, "k")):
        call = partial(store.set_system, scope, key, FREE, if_match=store.head(SCOPE, "k").etag)
        bench.raises(PreconditionFailedError, call, "set_system of what is not there")
        bench.raises(NotFoundError, partial(store.head, scope, key), "a refused set_system")


@check("RAW-072")
def one_change_of_one_version(bench: Bench) -> None:
    """Writers and changers at once, all naming the same version."""
    store = bench.open()
    for number in range(5):
        info = put(store, f"k{number}", b"before")

        def work(which: int, info: ObjectInfo = info) -> bool:
            try:
                if which % 2:
                    put(store, info.key, b"after", if_match=info.etag)
                else:
                    store.set_system(SCOPE, info.key, HELD, if_match=info.etag)
            except (PreconditionFailedError, StoreError):
                return False
            return True

        won = race(bench, work, 4)
        bench.expect(sum(won) <= 1, f"{sum(won)} of 4 writers who named the same version have won")
        held = dict(store.head(SCOPE, info.key).attributes.system) == HELD
        wrote = read(store, info.key) == b"after"
        bench.expect(not (held and wrote), "a change of system metadata and a put were mixed")


# -- the engine's own lock ----------------------------------------------------------------------


@check("RAW-073")
def a_lock_comes_with_the_object(bench: Bench) -> None:
    """Whatever makes an object locks it, and every way to look tells."""
    store = bench.open()
    until = later(bench)
    ways = {
        "held": locked(legal_hold=True, n="1"),
        "kept": locked(until, n="2"),
        "both": locked(until, legal_hold=True, n="3"),
        "free": locked(n="4"),
    }
    for key, wanted in ways.items():
        store.put(SCOPE, key, Body(b"x"), wanted)
        store.copy(SCOPE, key, f"{key}/copy", wanted)
        store.copy(SCOPE, key, f"{key}/free", attributes())
        for name, lock in ((key, wanted), (f"{key}/copy", wanted), (f"{key}/free", attributes())):
            info = store.head(SCOPE, name)
            has_lock(bench, info, lock, f"head of {name!r}")
            with store.open(SCOPE, name) as stream:
                has_lock(bench, stream.info, lock, f"open of {name!r}")
            past = store.head_version(SCOPE, name, str(info.version_id))
            has_lock(bench, past, lock, f"head_version of {name!r}")
    for key, wanted in ways.items():
        version = str(store.head(SCOPE, key).version_id)
        try:
            store.put(SCOPE, key, Body(b"y"), attributes())
        except RetentionError:
            # Engines may refuse to replace what is locked: there is no old version then.
            continue
        made = store.restore(SCOPE, key, version)
        has_lock(bench, made, wanted, f"restore of {key!r}")
        has_lock(bench, store.head(SCOPE, key), wanted, f"what was restored under {key!r}")
    if not getattr(bench.spec.capabilities, "conditional_replace", False):
        return
    info = store.head(SCOPE, "free")
    held = store.set_lock(SCOPE, "free", str(info.version_id), legal_hold=True)
    try:
        told = store.set_system(SCOPE, "free", HELD, if_match=held.etag)
    except RetentionError:
        # Nor may all engines write anew what is locked.
        told = held
    has_lock(bench, told, locked(legal_hold=True), "set_system of what is held")
    store.set_lock(SCOPE, "free", str(info.version_id), legal_hold=False)
    info = store.set_lock(SCOPE, "free", str(told.version_id), legal_hold=False)
    told = store.set_system(SCOPE, "free", HELD, if_match=info.etag)
    has_lock(bench, told, attributes(), "set_system of what is free")


@check("RAW-074")
def a_lock_is_set_on_one_version(bench: Bench) -> None:
    """Set, lifted, extended, of the current version and an old one; never shortened."""
    store = bench.open()
    old, info, neighbour = put(store, "k", b"one"), put(store, "k", b"two"), put(store, "k/m", b"n")
    theirs = put(store, "k", b"theirs", OTHER)
    until = later(bench)

    def lock(version: object, **wish: Any) -> ObjectInfo:
        made: ObjectInfo = store.set_lock(SCOPE, "k", str(version), **wish)
        return made

    unlocked = attributes()
    wishes: tuple[tuple[dict[str, Any], ObjectAttributes], ...] = (
        ({"legal_hold": True}, locked(legal_hold=True)),
        ({"legal_hold": True}, locked(legal_hold=True)),
        ({"legal_hold": False}, unlocked),
        ({"retain_until": until}, locked(until)),
        ({"legal_hold": True}, locked(until, legal_hold=True)),
        ({"retain_until": until + MINUTE}, locked(until + MINUTE, legal_hold=True)),
        ({"legal_hold": False}, locked(until + MINUTE)),
    )
    for wish, wanted in wishes:
        has_lock(bench, lock(info.version_id, **wish), wanted, "what set_lock tells")
        now = store.head(SCOPE, "k")
        has_lock(bench, now, wanted, "what set_lock was told of")
        bench.expect(seen(now) == seen(info), "set_lock changed something else of the object")
        bench.expect(
            dict(now.attributes.system) == dict(info.attributes.system),
            "set_lock changed the system metadata",
        )
        bench.expect(read(store, "k") == b"two", "set_lock changed the object's bytes")
    call = partial(lock, info.version_id, retain_until=until)
    bench.raises(RetentionError, call, "set_lock to a shorter period")
    has_lock(bench, store.head(SCOPE, "k"), locked(until + MINUTE), "what was not to be shortened")
    past = store.head_version(SCOPE, "k", str(old.version_id))
    has_lock(bench, past, unlocked, "the version before the one that was locked")
    has_lock(
        bench, lock(old.version_id, legal_hold=True), locked(legal_hold=True), "an old version"
    )
    has_lock(bench, store.head(SCOPE, "k"), locked(until + MINUTE), "the version after it")
    lock(old.version_id, legal_hold=False)
    for stranger in (neighbour.version_id, theirs.version_id, "0"):
        call = partial(lock, stranger, legal_hold=True)
        bench.raises(NotFoundError, call, "set_lock of what is no version of the key")
    bench.expect(store.head(SCOPE, "k/m") == neighbour, "set_lock reached another key")
    bench.expect(store.head(OTHER, "k") == theirs, "set_lock reached another scope")


@check("RAW-075")
def what_is_locked_stays(bench: Bench) -> None:
    """Every way to destroy it, beside a free neighbour and another scope's; then it is lifted."""
    store = bench.open()
    for scope in (SCOPE, OTHER):
        put(store, "k", b"free", scope)
        put(store, "n", b"free", scope)
    made = store.put(SCOPE, "k", Body(b"held"), locked(legal_hold=True))
    version = str(made.version_id)

    def stays(after: str) -> None:
        try:
            with store.open_version(SCOPE, "k", version) as stream:
                found = b"".join(stream.chunks)
        except NotFoundError:
            found = None
        bench.expect(found == b"held", f"a locked version is not what it was {after}")

    for after, attempt in (
        ("after a put", partial(put, store, "k", b"new")),
        ("after a delete", partial(store.delete, SCOPE, "k")),
        ("after delete_many", partial(store.delete_many, SCOPE, ["k"])),
    ):
        _perhaps(attempt)
        stays(after)
    error = bench.raises(
        RetentionError, partial(store.erase, SCOPE), "erase of a scope with a locked version"
    )
    bench.expect(tuple(error.ids) == ("k",), "the error does not name the key that is locked")
    stays("after erase")
    if _current(store) != version:
        error = bench.raises(
            RetentionError,
            partial(store.purge, SCOPE, "k", [version]),
            "purge of a locked version",
        )
        bench.expect(tuple(error.ids) == ("k",), "the error does not name the key that is locked")
        stays("after purge")
    bench.expect(read(store, "n", OTHER) == b"free", "a lock's erase reached another scope")
    bench.expect(store.erase(OTHER) == 2, "a lock in one scope keeps what is in another")
    store.set_lock(SCOPE, "k", version, legal_hold=False)
    store.erase(SCOPE)
    call = partial(store.head_version, SCOPE, "k", version)
    bench.raises(NotFoundError, call, "head_version of what was erased once its hold was lifted")


def _perhaps(attempt: Any) -> None:
    """An engine may refuse, or keep the locked version in the history."""
    try:
        attempt()
    except RetentionError:
        return


def _current(store: Any) -> str | None:
    try:
        return str(store.head(SCOPE, "k").version_id)
    except NotFoundError:
        return None
