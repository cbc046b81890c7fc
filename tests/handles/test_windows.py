"""Between a check and the act that it allows: whoever acts in the window makes nothing untrue.

Each test puts somebody else's call exactly there, by a backend that makes it before its own work.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nexus_core import (
    Eq,
    IndexDefinition,
    IndexLockedError,
    NewAtom,
    PreconditionFailedError,
    RetentionError,
    Source,
    StoreError,
    UnavailableError,
    VectorItem,
)
from nexus_core._handles import fence
from nexus_core.spi import Outcome

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands in a window waits for nobody: the other goes on only when it has ended."""
    monkeypatch.setattr(fence, "_WAITS", 2)


CUT: Any = {"operation": "cut", "version": "1"}
LATER = 4_000_000_000_000_000


def meanwhile(backend: Any, method: str, act: Callable[[], Any]) -> list[Any]:
    """Have ``act`` happen just before the backend's next ``method``; gives what became of it."""
    honest = getattr(backend, method)
    became: list[Any] = []

    def interposed(*arguments: Any, **options: Any) -> Any:
        if not became:
            became.append(None)
            try:
                became[0] = act()
            except StoreError as error:
                became[0] = error
        return honest(*arguments, **options)

    setattr(backend, method, interposed)
    return became


def fences(world: World) -> list[Any]:
    return [r for r in world.atoms.records.values() if r.fields.get("type") in ("fence", "sweep")]


# -- raw objects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", [{"legal_hold": True}, {"retain_until": LATER}])
@pytest.mark.parametrize("many", [False, True])
def test_an_object_that_becomes_protected_is_not_deleted(
    world: World, many: bool, protection: Any
) -> None:
    """An object that is replaced by a protected one after it was looked at stays."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        etag = n.raw.put("k", b"1", **OWN).etag
        became = meanwhile(
            world.raw,
            "delete",
            lambda: other.raw.put("k", b"2", **OWN, **protection, if_match=etag),
        )
        if many:
            assert n.raw.delete_many(["k"]) == {"k": "store.retained"}
        else:
            with pytest.raises(RetentionError):
                n.raw.delete("k")
        assert became[0].etag == n.raw.head("k").etag
        assert n.raw.get("k").data == b"2"


def test_an_object_that_is_replaced_by_a_free_one_is_deleted(world: World) -> None:
    """Where what came in between is not protected either, the deletion goes through."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        etag = n.raw.put("k", b"1", **OWN).etag
        meanwhile(world.raw, "delete", lambda: other.raw.put("k", b"2", **OWN, if_match=etag))
        n.raw.delete("k")
        assert n.raw.list().items == ()


def test_a_version_that_was_not_looked_at_is_not_replaced(world: World) -> None:
    """Replacing names a version; where another one was looked at, nothing is replaced."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"1", **OWN)
        with pytest.raises(PreconditionFailedError):
            n.raw.put("k", b"2", **OWN, if_match="guessed")


# -- vectors ---------------------------------------------------------------------------------------


ACTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "delete": ("delete", lambda n: n.vectors.delete("tiny", ["v"])),
    "delete_where": ("delete_where", lambda n: n.vectors.delete_where("tiny", Eq("kind", "data"))),
    "upsert": (
        "upsert",
        lambda n: n.vectors.upsert("tiny", [VectorItem(id="v", vector=[3, 4])], **OWN),
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_row_cannot_become_protected_under_an_act(world: World, act: str) -> None:
    """Whoever protects a row while it is being deleted or replaced is told to come again; so no
    acknowledged protection is ever lost."""
    method, call = ACTS[act]
    item = [VectorItem(id="v", vector=[1, 2])]
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        n.vectors.upsert("tiny", item, **OWN)
        became = meanwhile(
            world.vectors,
            method,
            lambda: other.vectors.upsert("tiny", item, **OWN, legal_hold=True),
        )
        call(n)
        assert isinstance(became[0], UnavailableError)
        assert became[0].outcome is Outcome.NOT_APPLIED
        other.vectors.upsert("tiny", item, **OWN, legal_hold=True)
        with pytest.raises(RetentionError):
            call(n)
    assert fences(world) == []


@pytest.mark.parametrize("act", ACTS)
def test_nobody_acts_under_a_write_that_protects(world: World, act: str) -> None:
    """While a protected row is being written nothing is deleted or replaced in that index."""
    item = [VectorItem(id="v", vector=[1, 2])]
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        n.vectors.upsert("tiny", item, **OWN)
        became = meanwhile(world.vectors, "upsert", lambda: ACTS[act][1](other))
        n.vectors.upsert("tiny", item, **OWN, retain_until=LATER)
        assert isinstance(became[0], UnavailableError)
        (row,) = n.vectors.get("tiny", ["v"])
        assert row is not None
        assert row.governance.retain_until == LATER
    assert fences(world) == []


def test_a_protected_ingest_is_fenced_as_well(world: World) -> None:
    """Rows that an ingest writes under a hold are not deleted under its hands."""
    source = Source(logical_key="a", content_type="text/plain", body=b"cab\n")
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        n.ingest([Source(logical_key="b", content_type="text/plain", body=b"bac\n")], **OWN)
        became = meanwhile(
            world.vectors,
            "upsert",
            lambda: other.vectors.delete_where("main", Eq("kind", "data")),
        )
        n.ingest([source], **OWN, legal_hold=True)
        assert isinstance(became[0], UnavailableError)
        assert n.vectors.count("main") == 2
    assert fences(world) == []


def test_writers_that_protect_nothing_do_not_hinder_each_other(world: World) -> None:
    """Two plain writes at once both go through."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        became = meanwhile(
            world.vectors,
            "upsert",
            lambda: other.vectors.upsert("tiny", [VectorItem(id="w", vector=[1, 2])], **OWN),
        )
        n.vectors.upsert("tiny", [VectorItem(id="v", vector=[1, 2])], **OWN)
        assert became == [1]
        assert n.vectors.count("tiny") == 2


def test_writers_that_protect_wait_for_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protected and plain writes by several threads at once all go through, one after the other."""
    monkeypatch.setattr(fence, "_WAITS", 2000)

    def write(number: int) -> int:
        held: Any = {"legal_hold": True} if number % 2 else {}
        item = [VectorItem(id=f"v{number}", vector=[1, 2])]
        with world.nexus.request(context()) as n:
            return int(n.vectors.upsert("tiny", item, **OWN, **held))

    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="first", vector=[1, 2])], **OWN)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, range(16))) == [1] * 16
    assert fences(world) == []


def test_a_fence_that_a_kill_left_holds_up_nobody_for_long(world: World) -> None:
    """A fence older than abandoned work is taken over, and recovery takes it down."""
    item = [VectorItem(id="v", vector=[1, 2])]
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", item, **OWN)
        honest = world.atoms.commit

        def killed(*arguments: Any) -> Any:
            raise KeyboardInterrupt

        def down(scope: Any, operations: Any) -> Any:
            answer = honest(scope, operations)
            world.atoms.commit = killed
            return answer

        world.atoms.commit = down
        with pytest.raises(KeyboardInterrupt):
            n.vectors.upsert("tiny", item, **OWN, retain_until=world.clock.time + 10)
        world.atoms.commit = honest
        assert len(fences(world)) == 1
        with pytest.raises(UnavailableError):
            n.vectors.upsert("tiny", item, **OWN)
        world.clock.time += 61_000_000
        assert n.vectors.upsert("tiny", item, **OWN) == 1
        assert fences(world) == []


def test_recovery_takes_down_fences(world: World) -> None:
    """What a kill left standing is gone after recovery, and what is younger stays."""
    with world.nexus.request(context()) as n:
        (atom,) = _atoms(n)
        honest = world.atoms.walk

        def killed(*_: Any, **__: Any) -> Any:
            world.atoms.commit, honest_commit = failing, world.atoms.commit
            world.atoms.restore = honest_commit
            raise KeyboardInterrupt

        def failing(*_: Any) -> Any:
            raise UnavailableError("down")

        world.atoms.walk = killed
        with pytest.raises(KeyboardInterrupt):
            n.atoms.delete([atom])
        world.atoms.walk, world.atoms.commit = honest, world.atoms.restore
        assert len(fences(world)) == 1
        n.recover()
        assert len(fences(world)) == 1
        n.recover(older_than=0)
        assert fences(world) == []


# -- atoms -----------------------------------------------------------------------------------------


def _atoms(n: Any) -> list[str]:
    n.raw.put("k", b"1", **OWN)
    asset = n.assets.register("k").id
    return [a.id for a in n.atoms.put(asset, [NewAtom(position=0, text="t")], **OWN, **CUT)]


def _child(n: Any, parent: str) -> Any:
    return n.atoms.put(parent, [NewAtom(position=0, text="child")], **OWN, **CUT)


def test_no_child_is_born_to_an_atom_that_is_being_deleted(world: World) -> None:
    """A child that comes between the walk and the commit of a deletion is refused."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        (atom,) = _atoms(n)
        honest = world.atoms.walk
        became: list[Any] = []

        def interposed(*arguments: Any, **options: Any) -> Any:
            found = honest(*arguments, **options)
            with pytest.raises(PreconditionFailedError):
                _child(other, atom)
            became.append(found)
            return found

        world.atoms.walk = interposed
        assert n.atoms.delete([atom]) == 1
        assert [list(found) for found in became] == [[]]
        assert n.atoms.count() == 0
    assert fences(world) == []


def test_a_child_that_was_there_first_keeps_its_parent(world: World) -> None:
    """A child that comes before the deletion has barred its parent is found by the walk."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        (atom,) = _atoms(n)
        meanwhile(world.atoms, "commit", lambda: _child(other, atom))
        with pytest.raises(PreconditionFailedError, match="children"):
            n.atoms.delete([atom])
        assert n.atoms.count() == 2
        assert fences(world) == []
        _child(n, atom)


def test_two_deletions_of_one_atom_do_not_meet(world: World) -> None:
    """While an atom is being deleted a second deletion is refused; it can be made again after."""
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        (atom,) = _atoms(n)
        became = meanwhile(world.atoms, "walk", lambda: other.atoms.delete([atom]))
        assert n.atoms.delete([atom]) == 1
        assert isinstance(became[0], PreconditionFailedError)
        assert other.atoms.delete([atom]) == 0
    assert fences(world) == []


# -- ingest ----------------------------------------------------------------------------------------


BAD = Source(logical_key="a", content_type="text/plain", body=b"cab\n!bad\n")


def test_taking_back_an_ingest_spares_what_another_makes_of_the_asset(
    opened: Callable[..., World],
) -> None:
    """An ingest of the same bytes into a second index that begins under the first one's undoing
    is refused or finds everything; what it acknowledged stays."""
    world = opened(
        '[[indexes]]\nname="second"\nversion=1\ndimension=16\nmetric="cosine"\n'
        'embedder="letters@1"\n'
    )
    source = Source(logical_key="a", content_type="text/plain", body=b"cab\n")
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        honest = world.vectors.upsert

        def killed(*_: Any) -> Any:
            raise KeyboardInterrupt

        world.vectors.upsert = killed
        with pytest.raises(KeyboardInterrupt):
            n.ingest([source], **OWN)
        world.vectors.upsert = honest
        (key,) = (key for _, key in world.raw.objects)
        del world.raw.objects[context().scope, key]
        # Its bytes are lost, so recovery takes it back; the second begins before the bytes go.
        became = meanwhile(
            world.raw,
            "delete_many",
            lambda: other.ingest([source], **OWN, index="second"),
        )
        (undone,) = n.recover(older_than=0).ingests
        assert undone.state == "undone"
        assert isinstance(became[0], UnavailableError)
        (made,) = other.ingest([source], **OWN, index="second").items
        assert made.state == "created"
        assert len(other.assets.query().items) == 1
        assert other.raw.list().items == ()
        assert [key for _, key in world.raw.objects] == [key]
    assert fences(world) == []


def test_an_ingest_that_had_begun_keeps_the_asset(opened: Callable[..., World]) -> None:
    """Where another ingest of the asset is open when one is taken back, asset and bytes stay for
    it; once that one is taken back as well, they go."""
    world = opened(
        '[[indexes]]\nname="second"\nversion=1\ndimension=16\nmetric="cosine"\n'
        'embedder="letters@1"\n'
    )
    with world.nexus.request(context()) as n:
        honest = world.raw.put

        def killed(*arguments: Any, **options: Any) -> Any:
            honest(*arguments, **options)
            raise KeyboardInterrupt

        world.raw.put = killed
        with pytest.raises(KeyboardInterrupt):
            n.ingest([BAD], **OWN, index="second")
        world.raw.put = honest
        (failed,) = n.ingest([BAD], **OWN).items
        assert failed.state == "failed"
        assert len(world.raw.objects) == 1
        assert [each.state for each in n.recover(older_than=0).ingests] == ["undone"]
        assert world.raw.objects == {}
        assert n.assets.query().items == ()
    assert fences(world) == []


def test_a_sweep_that_a_kill_interrupted_is_ended_by_recovery(world: World) -> None:
    """Asset and bytes of an undone ingest go at the next recovery, if the kill came before."""
    honest = world.raw.delete_many

    def down(*_: Any) -> Any:
        raise KeyboardInterrupt

    world.raw.delete_many = down
    with world.nexus.request(context()) as n:
        with pytest.raises(KeyboardInterrupt):
            n.ingest([BAD], **OWN)
        world.raw.delete_many = honest
        assert len(fences(world)) == 1
        n.recover(older_than=0)
    assert fences(world) == []
    assert not world.raw.objects


# -- definitions -----------------------------------------------------------------------------------


def _approved(world: World, definition: IndexDefinition) -> str:
    with world.nexus.request(context()) as n:
        proposal = n.definitions.propose(definition)
    with world.nexus.request(context(actor="bob")) as n:
        n.definitions.approve(proposal.id, hash=proposal.hash)
    return proposal.id


OTHER = IndexDefinition(name="other", version=1, dimension=2, metric="dot", embedder="mine@1")


def test_no_index_is_made_of_a_proposal_that_was_edited_meanwhile(world: World) -> None:
    """A revision between the reading and the moving on of a proposal leaves no index behind."""
    proposal = _approved(world, OTHER)
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        meanwhile(world.atoms, "commit", lambda: other.definitions.revise(proposal, OTHER))
        with pytest.raises(PreconditionFailedError):
            n.definitions.apply(proposal)
        assert n.vectors.indexes() == []


def test_a_proposal_that_is_being_applied_cannot_be_edited(world: World) -> None:
    """A revision while the index is being made is refused."""
    proposal = _approved(world, OTHER)
    with world.nexus.request(context()) as n, world.nexus.request(context()) as other:
        became = meanwhile(
            world.vectors, "create_index", lambda: other.definitions.revise(proposal, OTHER)
        )
        assert n.definitions.apply(proposal).state == "applied"
        assert isinstance(became[0], PreconditionFailedError)


def test_an_interrupted_application_can_be_finished(world: World) -> None:
    """A proposal whose application was killed is applied by applying it again."""
    proposal = _approved(world, OTHER)
    honest = world.vectors.create_index

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with world.nexus.request(context()) as n:
        world.vectors.create_index = killed
        with pytest.raises(KeyboardInterrupt):
            n.definitions.apply(proposal)
        world.vectors.create_index = honest
        assert n.definitions.get(proposal).state == "applying"
        assert n.definitions.apply(proposal).state == "applied"
        assert [d.name for d in n.vectors.indexes()] == ["other"]


def test_a_definition_that_cannot_be_made_leaves_its_approval(world: World) -> None:
    """Where the name is taken by another definition, the proposal stays approved."""
    _applied = _approved(world, OTHER)
    second = _approved(
        world, IndexDefinition(name="other", version=1, dimension=3, metric="dot", embedder="e@1")
    )
    with world.nexus.request(context()) as n:
        n.definitions.apply(_applied)
        with pytest.raises(IndexLockedError):
            n.definitions.apply(second)
        assert n.definitions.get(second).state == "approved"
