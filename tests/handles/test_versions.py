"""Histories: who sees them, what a restore keeps to, and that the erased are not in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import MemoryVersions, plugin

from nexus_core import (
    AccessDeniedError,
    IntegrityError,
    InvalidArgumentError,
    InvalidTokenError,
    NotFoundError,
    PreconditionFailedError,
    RetentionError,
    TenantIsolationError,
    UnsupportedError,
)
from nexus_core.spi import BackendSpec, Outcome, hookimpl

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}


def keeping(kind: type[MemoryVersions] = MemoryVersions, **flags: bool) -> ModuleType:
    """The memory plugin, whose raw store keeps versions and says so unless told otherwise."""
    module = ModuleType("versions_for_test")
    module.__dict__.update(vars(plugin))
    spec = plugin.nexus_raw_store()
    declared: Any = {"versions": True, **flags}
    capabilities = attrs.evolve(spec.capabilities, **declared)

    @hookimpl
    def nexus_raw_store() -> BackendSpec:
        return attrs.evolve(
            spec,
            capabilities=capabilities,
            factory=lambda _config, runtime: kind(runtime.now),
        )

    module.__dict__.update(nexus_raw_store=nexus_raw_store)
    return module


@pytest.fixture
def past(opened: Callable[..., World]) -> World:
    """A world whose raw store keeps versions."""
    return opened(memory=keeping())


def replaced(n: Any, key: str, *bodies: bytes, **options: Any) -> list[str]:
    """Write a key several times; gives the ids of its versions."""
    made = n.raw.put(key, bodies[0], **OWN, **options)
    ids = [made.version_id]
    for body in bodies[1:]:
        made = n.raw.put(key, body, if_match=made.etag, **OWN, **options)
        ids.append(made.version_id)
    return ids


def test_a_history_is_listed_read_and_restored(past: World) -> None:
    """Every version is there by its id, in pages, over a deletion; a restored one is a new one."""
    with past.nexus.request(context()) as n:
        ids = replaced(n, "k", b"1", b"22", b"333")
        n.raw.delete("k")
        first = n.raw.versions("k", limit=2)
        rest = n.raw.versions("k", limit=2, cursor=first.cursor)
        assert rest.cursor is None
        found = [*first.items, *rest.items]
        assert [each.marker for each in found] == [True, False, False, False]
        assert [each.version_id for each in found[1:]] == ids[::-1]
        assert not any(each.current for each in found)
        assert n.raw.get("k", version_id=ids[0]).data == b"1"
        assert n.raw.head("k", version_id=ids[1]).size == 2
        with n.raw.open("k", version_id=ids[2]) as stream:
            assert b"".join(stream.chunks) == b"333"
        made = n.raw.restore("k", ids[0])
        assert (n.raw.get("k").data, n.raw.get("k").object) == (b"1", made)
        assert made.version_id not in ids
        assert len(n.raw.versions("k").items) == 5
        assert n.raw.versions("never").items == ()


def test_only_who_may_delete_sees_a_history(past: World) -> None:
    """A member neither lists, reads nor restores what was replaced; each refusal is on record."""
    with past.nexus.request(context()) as n:
        ids = replaced(n, "k", b"1", b"2")
    calls: list[Callable[[Any], Any]] = [
        lambda n: n.raw.versions("k"),
        lambda n: n.raw.get("k", version_id=ids[0]),
        lambda n: n.raw.head("k", version_id=ids[0]),
        lambda n: n.raw.open("k", version_id=ids[0]).__enter__(),
        lambda n: n.raw.restore("k", ids[0]),
    ]
    with past.nexus.request(context(role="member")) as n:
        assert n.raw.get("k").data == b"2"
        for call in calls:
            with pytest.raises(AccessDeniedError):
                call(n)
    denied = [action for phase, action, _ in past.trail(context()) if phase == "denied"]
    assert denied == ["raw.versions"] * 4 + ["raw.restore"]


def test_a_history_is_on_record_and_told_of(past: World) -> None:
    """Reading a version is an access with its id; restoring one is an intent, an outcome and an
    event; a miss is told as one."""
    with past.nexus.request(context(role="owner")) as n:
        ids = replaced(n, "k", b"1", b"2")
        n.raw.get("k", version_id=ids[0])
        n.raw.versions("k")
        n.raw.restore("k", ids[0])
        with pytest.raises(NotFoundError):
            n.raw.head("k", version_id="nobodys")
        records: list[Any] = list(n.audit.read(limit=1000).items)
        told = [(r.phase, r.action, r.outcome, tuple(r.ids)) for r in records]
        assert ("access", "raw.versions", "ok", ("k", ids[0])) in told
        assert ("access", "raw.versions", "ok", ("k",)) in told
        assert ("intent", "raw.restore", None, ("k", ids[0])) in told
        assert ("access", "raw.versions", "store.not_found", ("k", "nobodys")) in told
        events = [e for e in n.events.list().items if e.action == "raw.restore"]
        assert [(e.source_ids, e.result_ids) for e in events] == [(("k",), ("k",))]


def test_a_restore_keeps_to_its_conditions(past: World) -> None:
    """A stale ETag, a protected object and a version of nobody's refuse it; nothing moves."""
    with past.nexus.request(context()) as n:
        old: Any = n.raw.put("k", b"1", **OWN)
        (held,) = replaced(n, "held", b"1", legal_hold=True)
        new = n.raw.put("k", b"2", if_match=old.etag, **OWN)
        before = {place: list(kept) for place, kept in past.raw.history.items()}
        with pytest.raises(PreconditionFailedError) as stale:
            n.raw.restore("k", old.version_id, if_match=old.etag)
        assert stale.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(RetentionError):
            n.raw.restore("held", held)
        for stranger in (held, "nobodys"):
            with pytest.raises(NotFoundError):
                n.raw.restore("k", stranger)
        with pytest.raises(PreconditionFailedError):
            n.raw.restore("k", old.version_id, if_match="0")
        assert past.raw.history == before
        assert n.raw.restore("k", old.version_id, if_match=new.etag).size == 1


def test_a_restore_follows_who_writes_meanwhile(past: World) -> None:
    """What was written between its look and its write is looked at again, and may be protected."""
    with past.nexus.request(context()) as n:
        ids = replaced(n, "k", b"1", b"2")
        honest = past.raw.restore
        turns: Iterator[dict[str, Any]] = iter(({}, {"legal_hold": True}))

        def meanwhile(*args: Any, **options: Any) -> Any:
            if (held := next(turns, None)) is not None:
                n.raw.put("k", b"3", if_match=n.raw.head("k").etag, **OWN, **held)
            return honest(*args, **options)

        past.raw.restore = meanwhile
        with pytest.raises(RetentionError):
            n.raw.restore("k", ids[0])
        assert n.raw.get("k").data == b"3"


def test_a_store_that_gives_another_version_is_caught(past: World) -> None:
    """A version must be the one that was asked for, and is proved by its stamp."""
    with past.nexus.request(context("globex")) as n:
        (theirs,) = replaced(n, "k", b"1")
    with past.nexus.request(context()) as n:
        ids = replaced(n, "k", b"1", b"2")
        newer = past.raw.head_version(context().scope, "k", ids[1])
        foreign = past.raw.head_version(context("globex").scope, "k", theirs)
        past.raw.head_version = lambda *_: newer
        with pytest.raises(IntegrityError):
            n.raw.head("k", version_id=ids[0])
        past.raw.head_version = lambda *_: attrs.evolve(foreign, version_id=ids[0])
        with pytest.raises(TenantIsolationError):
            n.raw.restore("k", ids[0])


def test_a_cursor_is_of_one_history(past: World) -> None:
    """A cursor of another key, of another tenant, and of a listing opens nothing."""
    with past.nexus.request(context("globex")) as other, past.nexus.request(context()) as n:
        for each in (n, other):
            for key in ("k", "l"):
                replaced(each, key, b"1", b"2")
        strangers = [
            n.raw.versions("l", limit=1).cursor,
            other.raw.versions("k", limit=1).cursor,
            n.raw.list(limit=1).cursor,
        ]
        for cursor in strangers:
            assert cursor is not None
            with pytest.raises(InvalidTokenError):
                n.raw.versions("k", limit=1, cursor=cursor)


def test_a_version_is_named_in_one_way(past: World) -> None:
    """An id that is none, and one beside an ETag, are refused before the store hears of them."""
    with past.nexus.request(context()) as n:
        for wrong in ("", "x" * 1025, "é", 7):
            with pytest.raises(InvalidArgumentError):
                n.raw.get("k", version_id=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError):
            n.raw.get("k", version_id="1", if_match="2")


def test_the_erased_are_in_no_history(past: World) -> None:
    """Erasing a subject destroys its replaced and deleted versions and their markers, also under
    keys that are somebody else's now, and brings nothing older back."""
    with past.nexus.request(context(subject="eve")) as n:
        replaced(n, "gone", b"eve 1", b"eve 2")
        n.raw.delete("gone")
        replaced(n, "there", b"eve 3", b"eve 4")
        mine = n.raw.put("shared", b"eve 5", **OWN)
    with past.nexus.request(context(subject="dan")) as n:
        theirs = n.raw.put("shared", b"dan 1", if_match=mine.etag, **OWN)
        older = n.raw.put("older", b"dan 2", **OWN)
    with past.nexus.request(context(subject="eve")) as n:
        n.raw.put("older", b"eve 6", if_match=older.etag, **OWN)
    with past.nexus.request(context()) as n:
        assert n.erasure.subject("eve").objects == 4
        assert n.raw.get("shared").object.version_id == theirs.version_id
        with pytest.raises(NotFoundError):
            n.raw.head("older")
        assert n.raw.get("older", version_id=older.version_id).data == b"dan 2"
        for key in ("gone", "there"):
            assert n.raw.versions(key).items == ()
        assert n.erasure.subject("eve").objects == 0
    kept = [each.found for past_ in past.raw.history.values() for each in past_ if each.found]
    assert sorted(each.data for each in kept) == [b"dan 1", b"dan 2"]


def test_a_protected_version_refuses_the_erasure(past: World) -> None:
    """A version that nobody sees any more holds the erasure up as long as it is retained."""
    with past.nexus.request(context(subject="eve")) as n:
        n.raw.put("k", b"1", retain_until=past.clock.time + 10_000_000, **OWN)
        past.raw.delete(context().scope, "k")
    with past.nexus.request(context()) as n:
        erasures: list[Callable[[], Any]] = [
            lambda: n.erasure.subject("eve"),
            lambda: n.erasure.scope(confirm="acme/dev"),
        ]
        for erase in erasures:
            with pytest.raises(RetentionError) as caught:
                erase()
            assert caught.value.ids == ("k",)
        past.clock.time += 11_000_000
        assert n.erasure.subject("eve").objects == 1
    assert past.raw.history == {}


def test_no_history_keeps_an_upload_a_second_time(past: World) -> None:
    """What was uploaded is kept under its key alone once it is registered or swept; that a lock
    keeps it where it was uploaded stops nothing."""
    data = b"announced"
    digest = hashlib.sha256(data).hexdigest()
    with past.nexus.request(context()) as n:

        def uploaded(key: str) -> str:
            made = n.raw.presign_put(key, size=len(data), sha256=digest, **OWN)
            past.raw.send(made.url.url, data)
            return str(made.ticket)

        n.raw.register(uploaded("k"))
        assert [key for _, key in past.raw.history] == ["k"]
        uploaded("swept")
        past.clock.time += 2 * 86_400_000_000
        assert n.recover(older_than=0).uploads == 1
        assert [key for _, key in past.raw.history] == ["k"]

        def locked(*_: Any) -> None:
            raise RetentionError("the engine's own lock")

        past.raw.purge = locked
        assert n.raw.register(uploaded("l")).size == len(data)


def test_what_the_engine_has_locked_is_said_to_stay(past: World) -> None:
    """A lock that only the engine knows of stops the erasure with an error that names the key; the
    erasure is not over, and recovery finishes it when the lock is off."""
    with past.nexus.request(context(subject="eve")) as n:
        replaced(n, "k", b"1", b"2")
    honest = past.raw.purge

    def locked(_scope: Any, key: str, _ids: Any) -> None:
        raise RetentionError("the engine's own lock", ids=(key,))

    past.raw.purge = locked
    with past.nexus.request(context()) as n:
        with pytest.raises(RetentionError) as caught:
            n.erasure.subject("eve")
        assert (caught.value.ids, caught.value.outcome) == (("k",), Outcome.UNKNOWN)
        past.raw.purge = honest
        assert [each.objects for each in n.recover(older_than=0).erasures] == [1]
    assert past.raw.history == {}


def test_versions_out_of_reach_refuse_the_erasure(opened: Callable[..., World]) -> None:
    """A store that keeps versions and declares none cannot forget a subject, and says so first."""
    world = opened(memory=keeping(versions=False))
    with world.nexus.request(context(subject="eve")) as n:
        n.raw.put("k", b"1", **OWN)
    with world.nexus.request(context()) as n:
        with pytest.raises(UnsupportedError) as caught:
            n.erasure.subject("eve")
        assert caught.value.capability == "versions"
        assert n.raw.get("k").data == b"1"
        with pytest.raises(UnsupportedError):
            n.raw.versions("k")
        with pytest.raises(UnsupportedError):
            n.raw.restore("k", "v")
