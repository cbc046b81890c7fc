"""Laws that a second review asked for: protections that spread, failures that say what stands."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core import (
    AlreadyExistsError,
    ContextMismatchError,
    NewAtom,
    Outcome,
    RetentionError,
    Source,
    StoreError,
    UnavailableError,
    VectorItem,
)

from .conftest import World, context

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}
LATER = 1_900_000_000_000_000


def source(body: bytes = b"cab\n") -> Source:
    """A small text of one name."""
    return Source(logical_key="a", content_type="text/plain", body=body)


# -- what protects a thing protects what is made of it -------------------------------------------


def test_a_second_ingest_cannot_move_an_asset(world: World) -> None:
    """Bytes that are an asset already are refused under another kind or space."""
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN)
        for other in ({"kind": "research", "space": "docs"}, {"kind": "data", "space": "else"}):
            item = n.ingest([source()], **other).items[0]
            assert (item.state, item.error) == ("failed", ContextMismatchError.code)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"train_ok": True}, {}),
        ({}, {"legal_hold": True}),
        ({}, {"retain_until": LATER}),
        ({}, {"pii_flags": ["email"]}),
    ],
    ids=["train_ok", "legal_hold", "retain_until", "pii_flags"],
)
def test_a_stricter_ingest_is_not_called_unchanged(
    world: World, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """An ingest that asks for more protection than the asset has does not pretend."""
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN, **first)
        item = n.ingest([source()], **OWN, **second).items[0]
        assert (item.state, item.error) == ("failed", AlreadyExistsError.code)


def test_a_looser_ingest_loosens_nothing(world: World) -> None:
    """Rows made by a later ingest of an asset are as protected as the asset."""
    strict: dict[str, Any] = {"legal_hold": True, "retain_until": LATER, "pii_flags": ["email"]}
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN, **strict)
        atom = n.atoms.query().items[0]
        again = n.ingest([source()], **OWN, parameters={"x": 1}, train_ok=True).items[0]
        assert again.state == "created"
        for made in n.atoms.query().items:
            assert made.governance == atom.governance
        for row in n.vectors.scan("main").items:
            assert row.governance == atom.governance


def test_a_row_is_as_protected_as_its_atom(world: World) -> None:
    """A vector of an atom inherits its flags and retention, whatever the caller says."""
    strict: dict[str, Any] = {"legal_hold": True, "retain_until": LATER, "pii_flags": ["email"]}
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN, **strict)
        atom = n.atoms.query().items[0]
        item = VectorItem(id=atom.id, vector=[0, 0], asset=atom.asset)
        n.vectors.upsert("tiny", [item], **OWN, train_ok=True)
        (row,) = n.vectors.get("tiny", atom.id)
        assert row is not None
        assert row.governance == atom.governance
        with pytest.raises(RetentionError):
            n.vectors.delete("tiny", [atom.id])


def test_a_row_is_as_protected_as_the_asset_it_names(world: World) -> None:
    """A vector that points at an asset of this scope inherits its protection, or is refused."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN, legal_hold=True)
        asset = n.assets.register("k")
        item = VectorItem(id="v", vector=[0, 0], asset=asset.id)
        with pytest.raises(ContextMismatchError):
            n.vectors.upsert("tiny", [item], kind="research", space="docs")
        n.vectors.upsert("tiny", [item], **OWN, train_ok=True)
        (row,) = n.vectors.get("tiny", "v")
        assert row is not None
        assert (row.governance.legal_hold, row.governance.train_ok) == (True, False)


def test_a_held_row_is_not_overwritten(world: World) -> None:
    """Writing over a row that a hold protects is refused, as deleting it is."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="v", vector=[1, 2])], **OWN, legal_hold=True)
        with pytest.raises(RetentionError):
            n.vectors.upsert("tiny", [VectorItem(id="v", vector=[3, 4])], **OWN)
        assert n.vectors.query("tiny", [1, 2])[0].distance == 0


def test_a_stricter_registration_is_not_lost(world: World) -> None:
    """An object that came back under a hold is not catalogued as the free one it was."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN, train_ok=True)
        n.assets.register("k")
        n.raw.delete("k")
        n.raw.put("k", b"x", **OWN)
        with pytest.raises(AlreadyExistsError):
            n.assets.register("k")


# -- what a failure leaves -----------------------------------------------------------------------


def test_a_long_text_that_was_never_committed_is_not_taken_for_another(world: World) -> None:
    """An atom's long text is its own, also after a put that failed with another one."""
    made = {"operation": "cut", "version": "1"}
    honest = world.atoms.commit
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        asset = n.assets.register("k")

        def down(*_: Any, **__: Any) -> None:
            raise UnavailableError("down", outcome=Outcome.NOT_APPLIED)

        world.atoms.commit = down
        with pytest.raises(UnavailableError):
            n.atoms.put(asset.id, [NewAtom(position=0, text="a" * 70_000)], **OWN, **made)
        world.atoms.commit = honest
        n.atoms.put(asset.id, [NewAtom(position=0, text="b" * 70_000)], **OWN, **made)
        (atom,) = n.atoms.query().items
        assert n.atoms.text(atom) == "b" * 70_000
        assert n.atoms.delete([atom.id]) == 1
        assert not [key for _, key in world.raw.objects if key.startswith("_nexus/atoms")]


def test_an_unrecorded_failure_keeps_its_own_outcome(world: World) -> None:
    """A write in doubt stays in doubt when the audit sink fails before it can say so."""
    honest = world.audit.append

    def torn(*_: Any, **__: Any) -> None:
        world.audit.append = down
        raise UnavailableError("torn", outcome=Outcome.UNKNOWN)

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("audit", outcome=Outcome.NOT_APPLIED)

    world.raw.put = torn
    with world.nexus.request(context()) as n, pytest.raises(StoreError) as caught:
        n.raw.put("k", b"x", **OWN)
    world.audit.append = honest
    assert caught.value.message == "torn"
    assert caught.value.outcome is Outcome.UNKNOWN
    assert caught.value.__notes__ == ["audit: store.unavailable"]


def test_an_interrupt_is_not_lost_with_the_audit_sink(world: World) -> None:
    """An interrupt in the middle of a write goes on as an interrupt, whatever the sink does."""
    honest = world.audit.append

    def stopped(*_: Any, **__: Any) -> None:
        world.audit.append = down
        raise KeyboardInterrupt

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("audit", outcome=Outcome.NOT_APPLIED)

    world.raw.put = stopped
    with world.nexus.request(context()) as n, pytest.raises(KeyboardInterrupt):
        n.raw.put("k", b"x", **OWN)
    world.audit.append = honest


def test_a_deletion_that_left_a_text_behind_says_so(world: World) -> None:
    """A deleted atom's long text that could not be removed is an error whose effect is unknown,
    and deleting again does not lose it."""
    made = {"operation": "cut", "version": "1"}
    honest = world.raw.delete_many
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        asset = n.assets.register("k")
        (written,) = n.atoms.put(asset.id, [NewAtom(position=0, text="a" * 70_000)], **OWN, **made)
        world.raw.delete_many = lambda _, keys: dict.fromkeys(keys, "store.unavailable")
        with pytest.raises(StoreError) as caught:
            n.atoms.delete([written.id])
        assert caught.value.outcome is Outcome.UNKNOWN
        world.raw.delete_many = honest
        n.atoms.delete([written.id])
    assert not [key for _, key in world.raw.objects if key.startswith("_nexus/atoms")]


def test_an_undone_ingest_leaves_no_bytes_unnoticed(world: World) -> None:
    """An ingest whose bytes could not be taken back stays open until they are."""
    honest = world.raw.delete_many
    world.raw.delete_many = lambda _, keys: dict.fromkeys(keys, "store.unavailable")
    with world.nexus.request(context()) as n:
        with pytest.raises(StoreError):
            n.ingest([source(b"cab\n!bad\n")], **OWN)
        world.raw.delete_many = honest
        assert [item.state for item in n.recover(older_than=0).ingests] == ["undone"]
    assert not world.raw.objects
