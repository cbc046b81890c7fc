"""Erasure at its edges: what refuses it, what is said of it, and who writes meanwhile."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from nexus_core import NewAtom, RetentionError, StoreError, UnavailableError, VectorItem
from nexus_core.spi import Outcome, StoreRole

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}
CUT: Any = {"operation": "cut", "version": "1"}


def filled(world: World, subject: str, **held: Any) -> dict[str, str]:
    """An object, an asset, an atom and a row of a subject's; gives their ids."""
    with world.nexus.request(context(subject=subject)) as n:
        n.raw.put(f"{subject}/k", b"1", **OWN, **held)
        asset = n.assets.register(f"{subject}/k").id
        (atom,) = n.atoms.put(asset, [NewAtom(position=0, text="t")], **OWN, **CUT)
        n.vectors.upsert("tiny", [VectorItem(id=f"{subject}-row", vector=[1, 2])], **OWN, **held)
    return {
        "object": f"{subject}/k",
        "asset": asset,
        "atom": atom.id,
        "row": f"{subject}-row",
    }


def test_everything_that_is_protected_is_named(world: World) -> None:
    """A hold on the object, and all that inherits it, refuses the erasure and is named by id;
    nothing has gone."""
    ids = filled(world, "eve", legal_hold=True)
    other = filled(world, "dan")
    before = (dict(world.raw.objects), len(world.atoms.records))
    with world.nexus.request(context()) as n:
        with pytest.raises(RetentionError) as caught:
            n.erasure.subject("eve")
        assert set(caught.value.ids) == set(ids.values())
        assert not set(caught.value.ids) & set(other.values())
        assert caught.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(RetentionError):
            n.erasure.scope(confirm="acme/dev")
        assert n.erasure.subject("dan").objects == 1
    assert world.raw.objects.keys() == {k for k in before[0] if k[1] != "dan/k"}


def test_retention_ends_and_erasure_goes_through(world: World) -> None:
    """A retention period refuses the erasure until it has passed."""
    filled(world, "eve", retain_until=world.clock.time + 3_600_000_000)
    with world.nexus.request(context()) as n:
        with pytest.raises(RetentionError):
            n.erasure.subject("eve")
        world.clock.time += 3_700_000_000
        assert n.erasure.subject("eve").vectors == 1
    assert not world.raw.objects


def test_another_scope_neither_sees_nor_loses_anything(world: World) -> None:
    """The same subject in another tenant and environment is whole, and its holds refuse nothing
    here."""
    filled(world, "eve")
    for who in (context("globex", subject="eve"), context(env="prod", subject="eve")):
        with world.nexus.request(who) as n:
            n.raw.put("eve/k", b"1", **OWN, legal_hold=True)
    with world.nexus.request(context()) as n:
        assert n.erasure.subject("eve").objects == 1
        assert n.erasure.scope(confirm="acme/dev").objects == 0
    assert sorted(scope.tenant_id for scope, _ in world.raw.objects) == ["acme", "globex"]


def test_events_of_others_forget_the_names(world: World) -> None:
    """An event about somebody else, or about nobody, keeps its place and loses the ids."""
    ids = filled(world, "eve")
    filled(world, "dan")
    with world.nexus.request(context()) as n:
        n.atoms.query()
        n.vectors.query("tiny", [1, 2])
        n.raw.copy("eve/k", "spare")
        n.raw.delete("spare")
        before = {event.event_id: event for event in n.events.list(limit=1000).items}
        n.erasure.subject("eve")
        after = {event.event_id: event for event in n.events.list(limit=1000).items}
    gone = {event for event in before if event not in after}
    assert {before[event].subject for event in gone} == {"eve"}
    for event in after.values():
        assert not {*event.source_ids, *event.result_ids} & set(ids.values())
    (query,) = (event for event in after.values() if event.action == "atom.query")
    assert len(query.result_ids) == 1


def test_what_is_written_meanwhile_goes_as_well(world: World) -> None:
    """An object that a writer puts while the erasure runs does not survive it."""
    filled(world, "eve")
    honest = world.audit.erase_sealed
    wrote: list[str] = []

    def interposed(scope: Any, tag: bytes) -> Any:
        if not wrote:
            wrote.append("late")
            with world.nexus.request(context(subject="eve")) as late:
                late.raw.put("late", b"1", **OWN)
        return honest(scope, tag)

    world.audit.erase_sealed = interposed
    with world.nexus.request(context()) as n:
        assert n.erasure.subject("eve").objects == 2
    assert not world.raw.objects


def test_a_hold_that_comes_meanwhile_stops_it_and_stays_open(world: World) -> None:
    """What becomes protected after the check stays, and so does the intent of the erasure."""
    filled(world, "eve")
    honest = world.vectors.delete

    def interposed(*arguments: Any) -> Any:
        with world.nexus.request(context(subject="eve")) as late:
            etag = late.raw.head("eve/k").etag
            late.raw.put("eve/k", b"2", **OWN, legal_hold=True, if_match=etag)
        world.vectors.delete = honest
        return honest(*arguments)

    world.vectors.delete = interposed
    with world.nexus.request(context()) as n:
        with pytest.raises(RetentionError) as caught:
            n.erasure.subject("eve")
        assert caught.value.outcome is Outcome.UNKNOWN
        assert n.raw.get("eve/k").data == b"2"


@pytest.mark.parametrize(
    ("role", "call"),
    [
        (StoreRole.VECTORS, "delete"),
        (StoreRole.RAW, "delete"),
        (StoreRole.AUDIT, "erase_sealed"),
    ],
)
def test_a_store_that_fails_leaves_an_erasure_that_recovery_finishes(
    world: World, role: StoreRole, call: str
) -> None:
    """Where any store is down the call says that its outcome is unknown, and recovery finishes."""
    filled(world, "eve")
    backend = world.backend(role)
    honest = getattr(backend, call)

    def failing(*_: Any, **__: Any) -> Any:
        raise UnavailableError("down")

    setattr(backend, call, failing)
    with world.nexus.request(context()) as n:
        with pytest.raises(StoreError) as caught:
            n.erasure.subject("eve")
        assert caught.value.outcome is Outcome.UNKNOWN
        setattr(backend, call, honest)
        (erased,) = n.recover(older_than=0).erasures
        assert n.assets.query().items == ()
    assert erased.sealed + erased.records > 0
    assert not world.raw.objects


def test_uploads_that_were_never_registered_go_as_well(world: World) -> None:
    """Staged bytes of the subject are deleted, those of others stay."""
    said: Any = {**OWN, "size": 1, "sha256": hashlib.sha256(b"1").hexdigest()}
    for subject in ("eve", "dan"):
        with world.nexus.request(context(subject=subject)) as n:
            world.raw.send(n.raw.presign_put("k", **said).url.url, b"1")
    with world.nexus.request(context()) as n:
        assert n.erasure.subject("eve").objects == 1
    assert len(world.raw.objects) == 1


def test_a_scope_without_a_ledger_erases_nothing(world: World) -> None:
    """An erasure needs a place for its intent; where there is none it is refused."""
    filled(world, "eve")
    runtime = world.nexus._deployment.runtime(context().scope)
    with world.nexus.request(context()) as n:
        del runtime._stores[StoreRole.ATOMS]
        with pytest.raises(Exception, match="no store is routed"):
            n.erasure.subject("eve")
    assert world.raw.objects
