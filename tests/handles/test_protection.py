"""Legal holds and retention: who sets them, what they cover, and that nothing comes between."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import MemoryLocks

from nexus_core import (
    AccessDeniedError,
    InvalidArgumentError,
    NewAtom,
    NotFoundError,
    PreconditionFailedError,
    RetentionError,
    Source,
    UnavailableError,
    UnsupportedError,
    VectorItem,
)
from nexus_core.spi import Outcome

from .conftest import World, context
from .test_versions import keeping
from .test_windows import meanwhile

OWN: Any = {"kind": "data", "space": "s"}
CUT: Any = {"operation": "cut", "version": "1"}
HOUR = 3_600_000_000


@pytest.fixture
def engine(opened: Callable[..., World]) -> World:
    """A world whose raw store's engine has a lock of its own."""
    return opened(memory=keeping(MemoryLocks, object_lock=True))


@pytest.fixture
def past(opened: Callable[..., World]) -> World:
    """A world whose raw store keeps versions."""
    return opened(memory=keeping())


def asset(n: Any, key: str = "doc") -> str:
    """Store an object and catalogue it."""
    n.raw.put(key, b"bytes", **OWN)
    return str(n.assets.register(key).id)


def atom(n: Any, parent: str, text: str = "t", **options: Any) -> str:
    """Write one atom below a parent."""
    made = n.atoms.put(parent, [NewAtom(position=0, text=text)], **OWN, **{**CUT, **options})
    return str(made[0].id)


def test_a_hold_is_set_and_lifted(world: World) -> None:
    """While it holds nothing deletes or replaces the object; its bytes and metadata stay."""
    with world.nexus.request(context()) as n:
        put = n.raw.put("k", b"x", **OWN, metadata={"a": "b"}, pii_flags=["email"])
        held = n.raw.set_legal_hold("k", hold=True)
        assert held.governance.legal_hold
        assert held.etag != put.etag
        assert (held.sha256, held.metadata) == (put.sha256, {"a": "b"})
        assert held == n.raw.head("k")
        assert n.raw.set_legal_hold("k", hold=True) == held
        with pytest.raises(RetentionError, match="hold") as caught:
            n.raw.delete("k")
        assert "set_legal_hold" in str(caught.value.hint)
        with pytest.raises(RetentionError):
            n.raw.put("k", b"y", **OWN, if_match=held.etag)
        free = n.raw.set_legal_hold("k", hold=False)
        assert free.governance == put.governance
        n.raw.delete("k")
        with pytest.raises(NotFoundError):
            n.raw.set_legal_hold("k", hold=True)


def test_a_period_is_only_extended(world: World) -> None:
    """A later end takes its place, an earlier one is refused, and the same is no change."""
    now = world.clock.time
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        one = n.raw.set_retention("k", now + HOUR)
        assert one.governance.retain_until == now + HOUR
        assert n.raw.set_retention("k", now + HOUR) == one
        n.raw.set_retention("k", now + 2 * HOUR)
        with pytest.raises(RetentionError, match="longer"):
            n.raw.set_retention("k", now + HOUR)
        wrong: Any
        for wrong in (now, -1, True, "tomorrow", None):
            with pytest.raises(InvalidArgumentError):
                n.raw.set_retention("k", wrong)
        with pytest.raises(InvalidArgumentError):
            n.raw.set_legal_hold("k", hold=wrong)
        with pytest.raises(RetentionError):
            n.raw.delete("k")
        world.clock.time = now + 3 * HOUR
        n.raw.delete("k")


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_owners_and_admins_alone_protect(world: World, role: str) -> None:
    """Whoever may write may not protect, nor lift, what is there."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
    with world.nexus.request(context(role=role)) as n:
        for hold in (True, False):
            with pytest.raises(AccessDeniedError):
                n.raw.set_legal_hold("k", hold=hold)
        with pytest.raises(AccessDeniedError):
            n.raw.set_retention("k", 2**60)


def test_each_change_is_on_record_and_told_of(world: World) -> None:
    """An intent goes before, an outcome follows, and one event names what was changed."""
    with world.nexus.request(context(), purpose="case_7") as n:
        root = asset(n)
        n.raw.set_legal_hold("doc", hold=True)
        n.atoms.set_legal_hold(atom(n, root), hold=True)
        n.raw.set_legal_hold("doc", hold=True)
        told = world.trail(context())
        holds = [(phase, outcome) for phase, action, outcome in told if action == "hold.set"]
        assert holds == [("intent", None), ("outcome", "ok")] * 2 + [
            ("intent", None),
            ("outcome", "unchanged"),
        ]
        events = [each for each in n.events.list().items if each.action == "hold.set"]
        assert len(events) == 2
        assert events[0].result_ids == ("doc",)


def test_a_change_is_of_the_version_that_was_named(world: World) -> None:
    """A stale ETag or version is refused, and nothing is protected then."""
    with world.nexus.request(context()) as n:
        old = n.raw.put("k", b"x", **OWN)
        new = n.raw.put("k", b"y", **OWN, if_match=old.etag)
        with pytest.raises(PreconditionFailedError):
            n.raw.set_legal_hold("k", hold=True, if_match=old.etag)
        root = asset(n)
        with pytest.raises(PreconditionFailedError):
            n.assets.set_legal_hold(root, hold=True, expected_version=2)
        assert not n.raw.head("doc").governance.legal_hold
        assert n.raw.set_legal_hold("k", hold=True, if_match=new.etag).governance.legal_hold
        held = n.assets.set_legal_hold(root, hold=True, expected_version=1)
        assert (held.version, held.governance.legal_hold) == (2, True)


def test_who_deletes_meanwhile_sees_the_hold(world: World) -> None:
    """A hold that is set between a deletion's look and its act keeps the object."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        n.raw.put("k", b"x", **OWN)
        meanwhile(world.raw, "delete", lambda: other.raw.set_legal_hold("k", hold=True))
        with pytest.raises(RetentionError):
            n.raw.delete("k")
        assert n.raw.get("k").data == b"x"


def test_what_is_replaced_meanwhile_is_looked_at_anew(world: World) -> None:
    """A hold lands on what the key has by then; with an ETag it lands on nothing else."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        old = n.raw.put("k", b"x", **OWN)
        meanwhile(
            world.raw,
            "set_system",
            lambda: other.raw.put("k", b"y", **OWN, if_match=old.etag),
        )
        held = n.raw.set_legal_hold("k", hold=True)
        assert n.raw.get("k").data == b"y"
        meanwhile(world.raw, "set_system", lambda: other.raw.set_retention("k", 2**60))
        with pytest.raises(PreconditionFailedError):
            n.raw.set_legal_hold("k", hold=False, if_match=held.etag)
        assert n.raw.head("k").governance.legal_hold


def test_an_assets_hold_covers_its_bytes_and_its_atoms(world: World) -> None:
    """Nothing that was made from it is deleted, though it was written before the hold."""
    with world.nexus.request(context()) as n:
        root = asset(n)
        middle = atom(n, root)
        leaf = atom(n, middle, operation="split")
        n.assets.set_legal_hold(root, hold=True)
        assert n.raw.head("doc").governance.legal_hold
        for ids in ([leaf], [middle, leaf]):
            with pytest.raises(RetentionError):
                n.atoms.delete(ids)
        with pytest.raises(RetentionError):
            n.raw.delete("doc")
        with pytest.raises(RetentionError):
            n.erasure.scope(confirm="acme/dev")
        n.assets.set_legal_hold(root, hold=False)
        n.atoms.set_retention(middle, world.clock.time + HOUR)
        with pytest.raises(RetentionError):
            n.atoms.delete([leaf])
        world.clock.time += 2 * HOUR
        assert n.atoms.delete([middle, leaf]) == 2
        n.raw.delete("doc")


def test_who_deletes_atoms_meanwhile_sees_the_parents_hold(world: World) -> None:
    """A hold of the asset that is set between look and commit keeps the atom."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        root = asset(n)
        leaf = atom(n, root)
        n.atoms.get(leaf)
        honest = world.atoms.commit
        armed = [False]

        def commit(scope: Any, operations: Any) -> Any:
            if not armed[0] and any(getattr(each, "id", None) == leaf for each in operations):
                armed[0] = True
                other.assets.set_legal_hold(root, hold=True)
            return honest(scope, operations)

        world.atoms.commit = commit
        with pytest.raises(PreconditionFailedError):
            n.atoms.delete([leaf])
        assert armed == [True]
        assert n.atoms.get(leaf)[0] is not None


def test_the_bytes_of_an_ingested_asset_are_held_with_it(world: World) -> None:
    """An asset whose bytes lie out of every handle's reach is held whole, and erased when free."""
    source = Source(logical_key="a", content_type="text/plain", body=b"cab\n")
    with world.nexus.request(context(subject="u1")) as n:
        done = n.ingest([source], **OWN).items[0]
        assert done.asset is not None
        n.assets.set_legal_hold(done.asset, hold=True)
        kept = [each for each in world.raw.objects.values() if done.asset in each.info.key]
        assert [each.info.attributes.system["legal-hold"] for each in kept] == ["1"]
    with world.nexus.request(context()) as n:
        with pytest.raises(RetentionError) as caught:
            n.erasure.subject("u1")
        assert done.asset in caught.value.ids
        n.assets.set_legal_hold(done.asset, hold=False)
        n.erasure.subject("u1")
        assert n.assets.get(done.asset) == [None]


def test_rows_are_held_and_set_free(world: World) -> None:
    """A row's hold keeps it from deletion and replacement; its vector and fields stay."""
    with world.nexus.request(context()) as n:
        items = [VectorItem(id=each, vector=[1.5, 2.25]) for each in ("a", "b")]
        n.vectors.upsert("tiny", items, **OWN)
        before = n.vectors.get("tiny", ["a"], include_vectors=True)[0]
        assert n.vectors.set_legal_hold("tiny", ["a", "a"], hold=True) == 1
        assert n.vectors.set_legal_hold("tiny", ["a"], hold=True) == 0
        with pytest.raises(NotFoundError):
            n.vectors.set_legal_hold("tiny", ["b", "never"], hold=True)
        with pytest.raises(RetentionError):
            n.vectors.delete("tiny", ["a"])
        with pytest.raises(RetentionError):
            n.vectors.upsert("tiny", items, **OWN)
        n.vectors.delete("tiny", ["b"])
        held = n.vectors.get("tiny", ["a"], include_vectors=True)[0]
        assert before is not None
        assert held is not None
        assert (held.vector, held.fields, held.asset) == (before.vector, {}, None)
        assert n.vectors.set_retention("tiny", ["a"], world.clock.time + HOUR) == 1
        assert n.vectors.set_legal_hold("tiny", ["a"], hold=False) == 1
        with pytest.raises(RetentionError):
            n.vectors.delete("tiny", ["a"])
        world.clock.time += 2 * HOUR
        assert n.vectors.delete("tiny", ["a"]) == 1


def test_a_lifted_hold_leaves_no_held_version(past: World) -> None:
    """Where versions are kept, changed protection adds none, and what a kill left goes with the
    next lifting, so that the subject can be erased."""
    with past.nexus.request(context(subject="u1")) as n:
        n.raw.put("k", b"x", **OWN)
        n.raw.set_legal_hold("k", hold=True)
        n.raw.set_legal_hold("k", hold=False)
        assert len(n.raw.versions("k").items) == 1
        honest = past.raw.purge

        def killed(*_: Any) -> None:
            raise UnavailableError("killed")

        past.raw.purge = killed
        n.raw.set_legal_hold("k", hold=True)
        with pytest.raises(UnavailableError) as caught:
            n.raw.set_legal_hold("k", hold=False)
        assert caught.value.outcome is Outcome.UNKNOWN
        past.raw.purge = honest
    with past.nexus.request(context()) as n:
        with pytest.raises(RetentionError):
            n.erasure.subject("u1")
        n.raw.set_legal_hold("k", hold=False)
        assert not any(
            n.raw.head("k", version_id=each.version_id).governance.legal_hold
            for each in n.raw.versions("k").items
        )
        n.erasure.subject("u1")


def test_the_engines_lock_is_set_and_believed(engine: World) -> None:
    """Where the engine has a lock, it alone says what protects an object, from the first moment."""
    until = engine.clock.time + HOUR
    with engine.nexus.request(context()) as n:
        put = n.raw.put("k", b"x", **OWN, legal_hold=True)
        stored = engine.raw.head(context().scope, "k").attributes
        assert (stored.legal_hold, stored.system["legal-hold"]) == (True, "0")
        assert put.governance.legal_hold
        n.raw.copy("k", "l")
        assert engine.raw.head(context().scope, "l").attributes.legal_hold
        kept = n.raw.set_retention("k", until)
        assert (kept.etag, kept.version_id) == (put.etag, put.version_id)
        assert kept.governance.legal_hold
        free = n.raw.set_legal_hold("k", hold=False)
        assert (free.governance.legal_hold, free.governance.retain_until) == (False, until)
        assert len(n.raw.versions("k").items) == 1
        # What the operator does at the engine is true.
        engine.raw.set_lock(context().scope, "k", put.version_id, legal_hold=True)
        engine.clock.time = until + HOUR
        with pytest.raises(RetentionError):
            n.raw.delete("k")
        n.raw.set_legal_hold("k", hold=False)
        n.raw.delete("k")


def test_an_upload_is_registered_again_where_engines_round(
    opened: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A period that the engine has rounded up is the one that the ticket says."""
    world = opened(memory=keeping(MemoryLocks, object_lock=True))
    honest = world.raw._write

    def rounding(scope: Any, key: str, data: bytes, said: Any, **options: Any) -> Any:
        if said.retain_until is not None:
            whole = -(-said.retain_until // 1_000_000) * 1_000_000
            said = attrs.evolve(said, retain_until=whole)
        return honest(scope, key, data, said, **options)

    monkeypatch.setattr(world.raw, "_write", rounding)
    until = world.clock.time // 1_000_000 * 1_000_000 + HOUR + 7
    with world.nexus.request(context()) as n:
        digest = hashlib.sha256(b"x").hexdigest()
        made = n.raw.presign_put("k", **OWN, size=1, sha256=digest, retain_until=until)
        world.raw.send(made.url.url, b"x")
        first = n.raw.register(made.ticket)
        assert until < (first.governance.retain_until or 0) < until + 1_000_000
        assert n.raw.register(made.ticket) == first
        assert n.raw.set_retention("k", until) == first


def test_a_hold_from_before_the_engines_lock_is_lifted(engine: World) -> None:
    """What an object's own metadata says is believed too, and goes with the lifting."""
    with engine.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        there = engine.raw.head(context().scope, "k")
        system = {**there.attributes.system, "legal-hold": "1"}
        engine.raw.set_system(context().scope, "k", system, if_match=there.etag)
        with pytest.raises(RetentionError):
            n.raw.delete("k")
        assert not n.raw.set_legal_hold("k", hold=False).governance.legal_hold
        n.raw.delete("k")


@pytest.mark.parametrize("hold", [True, False], ids=["held", "retained"])
def test_words_from_before_the_engines_lock_may_stay_beside_it(
    engine: World, monkeypatch: pytest.MonkeyPatch, hold: bool
) -> None:
    """Where the engine rewrites nothing that it locks, the first change locks what an object's own
    metadata said was protected; a lifting that the metadata withstands is refused."""
    with engine.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        there = engine.raw.head(context().scope, "k")
        system = {**there.attributes.system, "legal-hold": "1"}
        engine.raw.set_system(context().scope, "k", system, if_match=there.etag)
        honest = engine.raw.set_system

        def strict(scope: Any, key: str, system: Any, *, if_match: str) -> Any:
            said = engine.raw.head(scope, key).attributes
            if said.legal_hold or said.retain_until is not None:
                raise RetentionError("it is locked")
            return honest(scope, key, system, if_match=if_match)

        monkeypatch.setattr(engine.raw, "set_system", strict)
        until = engine.clock.time + HOUR
        if hold:
            kept = n.raw.set_retention("k", until).governance
            assert (kept.legal_hold, kept.retain_until) == (True, until)
            assert engine.raw.head(context().scope, "k").attributes.legal_hold
        else:
            info = engine.raw.head(context().scope, "k")
            assert info.version_id is not None
            engine.raw.set_lock(context().scope, "k", info.version_id, retain_until=until)
            with pytest.raises(RetentionError):
                n.raw.set_legal_hold("k", hold=False)
            assert n.raw.head("k").governance.legal_hold


def test_a_locked_version_that_was_replaced_is_set_free_by_its_id(engine: World) -> None:
    """A hold that lands on a version which is replaced at that moment goes to its successor too,
    and the old one is lifted by name."""
    with engine.nexus.request(context()) as n, engine.nexus.request(context()) as other:
        old = n.raw.put("k", b"x", **OWN)
        meanwhile(
            engine.raw, "set_lock", lambda: other.raw.put("k", b"y", **OWN, if_match=old.etag)
        )
        new = n.raw.set_legal_hold("k", hold=True)
        assert new.version_id != old.version_id
        for version in (old.version_id, new.version_id):
            assert n.raw.head("k", version_id=version).governance.legal_hold
        with pytest.raises(RetentionError):
            n.erasure.scope(confirm="acme/dev")
        for version in (old.version_id, new.version_id):
            made = n.raw.set_legal_hold("k", hold=False, version_id=version)
            assert made.version_id == version
        with pytest.raises(InvalidArgumentError):
            n.raw.set_legal_hold("k", hold=True, version_id="v", if_match="e")
        n.erasure.scope(confirm="acme/dev")


def test_an_old_version_is_locked_by_engines_only(past: World) -> None:
    """Where protection is written with an object, what is past keeps what it said."""
    with past.nexus.request(context()) as n:
        made = n.raw.put("k", b"x", **OWN)
        with pytest.raises(UnsupportedError) as caught:
            n.raw.set_legal_hold("k", hold=True, version_id=made.version_id)
        assert caught.value.capability == "object_lock"


def test_a_store_without_conditions_protects_nothing_later(opened: Callable[..., World]) -> None:
    """Where a version cannot be named, a hold could land on another; the call is refused."""
    plain = opened(memory=keeping(conditional_replace=False))
    with plain.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        with pytest.raises(UnsupportedError) as caught:
            n.raw.set_legal_hold("k", hold=True)
        assert caught.value.capability == "conditional_replace"


def test_recovery_tells_of_a_change_once(world: World) -> None:
    """An atom's hold whose outcome was lost is told of by its own event and no second one."""
    with world.nexus.request(context()) as n:
        held = atom(n, asset(n))
        honest = world.audit.append
        lost = [False]

        def append(scope: Any, head: Any, leaves: Any, checkpoint: Any) -> Any:
            if not lost[0] and _is_held(world, held):
                lost[0] = True
                raise UnavailableError("killed")
            return honest(scope, head, leaves, checkpoint)

        world.audit.append = append
        with pytest.raises(Exception, match="outcome could not be recorded"):
            n.atoms.set_legal_hold(held, hold=True)
        world.clock.time += 100 * HOUR
        n.recover(older_than=0)
        events = [each for each in n.events.list().items if each.action == "hold.set"]
        assert [each.outcome for each in events] == ["ok"]


def _is_held(world: World, atom_id: str) -> bool:
    return any(
        record.id == atom_id and record.fields["legal_hold"] is True
        for record in world.atoms.records.values()
        if record.collection == "atoms"
    )
