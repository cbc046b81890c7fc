"""Laws of ``n.atoms``, ``n.assets``, ``n.lineage``, ``n.vectors`` and ``n.definitions``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from nexus_core import (
    AccessDeniedError,
    AtomWritten,
    ContextMismatchError,
    Eq,
    IndexDefinition,
    IndexLockedError,
    InvalidArgumentError,
    InvalidFilterError,
    InvalidVectorError,
    NewAtom,
    NotFoundError,
    PreconditionFailedError,
    RetentionError,
    TenantIsolationError,
    VectorItem,
)
from nexus_core.spi import Record

from .conftest import World, context

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}
MADE = {"operation": "cut", "version": "1"}


def put(n: Any, parent: str, *texts: str, **options: Any) -> list[AtomWritten]:
    atoms = [NewAtom(position=i, text=text) for i, text in enumerate(texts)]
    written: list[AtomWritten] = n.atoms.put(parent, atoms, **{**OWN, **MADE, **options})
    return written


def asset(n: Any, key: str = "k", **options: Any) -> str:
    n.raw.put(key, key.encode(), **{**OWN, **options})
    return str(n.assets.register(key).id)


def test_atoms_are_derived_and_idempotent(world: World) -> None:
    """The same parent, operation, version, parameters and position is the same atom, left alone."""
    with world.nexus.request(context()) as n:
        parent = asset(n)
        first = put(n, parent, "a", "b")
        again = put(n, parent, "a", "b", "c")
        assert [w.created for w in first] == [True, True]
        assert [w.created for w in again] == [False, False, True]
        assert [w.id for w in again[:2]] == [w.id for w in first]
        other = put(n, parent, "a", version="2")
        assert other[0].id not in {w.id for w in again}


def test_a_batch_that_writes_nothing_emits_nothing(world: World) -> None:
    """Writing what is there already adds no record and no event."""
    with world.nexus.request(context()) as n:
        parent = asset(n)
        put(n, parent, "a")
        before = dict(world.atoms.records)
        put(n, parent, "a")
    assert world.atoms.records == before


def test_a_parent_must_exist_here(world: World) -> None:
    """A parent that is absent, or another scope's, is not found, and nothing is written."""
    with world.nexus.request(context("other")) as n:
        foreign = asset(n)
    texts = set()
    with world.nexus.request(context()) as n:
        for parent in (foreign, "ast_never"):
            with pytest.raises(NotFoundError) as caught:
                put(n, parent, "a")
            texts.add(str(caught.value))
        assert n.atoms.count() == 0
    assert len(texts) == 1


@pytest.mark.parametrize("wrong", [{"kind": "chat"}, {"space": "elsewhere"}])
def test_a_child_has_its_parents_kind_and_space(world: World, wrong: dict[str, str]) -> None:
    """A child that says another kind or space than its parent is refused."""
    with world.nexus.request(context()) as n:
        parent = asset(n)
        with pytest.raises(ContextMismatchError):
            put(n, parent, "a", **wrong)
        atom = put(n, parent, "a")[0].id
        with pytest.raises(ContextMismatchError):
            put(n, atom, "b", **wrong)
        with pytest.raises(ContextMismatchError):
            n.vectors.upsert("tiny", [VectorItem(id=atom, vector=[1, 2])], **{**OWN, **wrong})


def test_a_child_is_at_least_as_strict_as_its_parent(world: World) -> None:
    """Flags add up, train_ok is lost where anyone denies it, and holds are inherited."""
    with world.nexus.request(context()) as n:
        parent = asset(n, pii_flags=["name"], train_ok=False, legal_hold=True)
        atom = n.atoms.get(put(n, parent, "a", pii_flags=["email"], train_ok=True)[0].id)[0]
        assert atom is not None
        assert atom.governance.pii_flags == ("email", "name")
        assert (atom.governance.train_ok, atom.governance.legal_hold) == (False, True)
        with pytest.raises(RetentionError):
            n.atoms.delete([atom.id])


def test_another_users_parent_is_refused(world: World) -> None:
    """A child about one user under a parent about another is refused."""
    with world.nexus.request(context(subject="u1")) as n:
        parent = asset(n)
    with world.nexus.request(context(subject="u2")) as n, pytest.raises(ContextMismatchError):
        put(n, parent, "a")


def test_lineage_goes_up_and_down(world: World) -> None:
    """Ancestors lead to the asset and descendants to every leaf, nearest first."""
    with world.nexus.request(context()) as n:
        root = asset(n)
        middle = put(n, root, "a")[0].id
        leaf = put(n, middle, "b", operation="split")[0].id
        up = n.lineage.ancestors(leaf)
        assert [(e.parent, e.child, e.depth) for e in up] == [(middle, leaf, 1), (root, middle, 2)]
        down = n.lineage.descendants(root, max_depth=1)
        assert [(e.child, e.operation) for e in down] == [(middle, "cut")]
        found = n.atoms.get(leaf)[0]
        assert found is not None
        assert (found.asset, found.parent) == (root, middle)
    with world.nexus.request(context("other")) as n:
        assert n.lineage.ancestors(leaf) == n.lineage.ancestors("never") == []


def test_metadata_changes_by_compare_and_set(world: World) -> None:
    """Only free metadata can change, and only from the version that was read."""
    with world.nexus.request(context()) as n:
        atom = put(n, asset(n), "a")[0].id
        updated = n.atoms.update(atom, metadata={"seen": True}, expected_version=1)
        assert (updated.version, updated.metadata, updated.text) == (2, {"seen": True}, "a")
        with pytest.raises(PreconditionFailedError):
            n.atoms.update(atom, metadata={}, expected_version=1)
        assert n.atoms.get(atom)[0] == updated


def test_a_parent_with_children_cannot_be_deleted(world: World) -> None:
    """Deleting leaves no orphan: children go first or together with their parent."""
    with world.nexus.request(context()) as n:
        parent = put(n, asset(n), "a")[0].id
        child = put(n, parent, "b")[0].id
        with pytest.raises(PreconditionFailedError):
            n.atoms.delete([parent])
        assert n.atoms.delete([parent, child]) == 2
        assert n.atoms.count() == 0
        assert n.lineage.descendants(parent) == []
        assert n.atoms.delete([parent]) == 0


def test_a_foreign_record_trips_the_alarm(world: World) -> None:
    """A record stamped for another scope or another id is never released."""
    with world.nexus.request(context("other")) as n:
        foreign = put(n, asset(n), "secret")[0].id
    with world.nexus.request(context()) as n:
        scope = n.context.scope
        mine = put(n, asset(n), "mine")[0].id
        stolen = next(r for p, r in world.atoms.records.items() if p[2] == foreign)
        world.atoms.records[scope, "atoms", foreign] = stolen
        with pytest.raises(TenantIsolationError):
            n.atoms.get(foreign)
    with world.nexus.request(context("third")) as n:
        record: Record = next(r for p, r in world.atoms.records.items() if p[2] == mine)
        world.atoms.records[n.context.scope, "atoms", "other-id"] = attrs.evolve(
            record, id="other-id"
        )
        with pytest.raises(TenantIsolationError):
            n.atoms.query()


@pytest.mark.parametrize("field", ["tenant_id", "env", "stamp", "body", "nonsense"])
def test_a_filter_cannot_name_the_scope(world: World, field: str) -> None:
    """Scope and internals are not fields: a filter cannot reach or override them."""
    with world.nexus.request(context()) as n:
        with pytest.raises(InvalidFilterError):
            n.atoms.query(Eq(field, "other"))
        n.vectors.upsert("tiny", [VectorItem(id="v", vector=[1, 2])], **OWN)
        with pytest.raises(InvalidFilterError):
            n.vectors.query("tiny", [1, 2], where=Eq(field, "other"))


def test_vectors_come_back_by_exact_distance(world: World) -> None:
    """Hits are the nearest rows by (distance, id), with fields where asked for."""
    with world.nexus.request(context()) as n:
        rows = [
            VectorItem(id=f"v{i}", vector=[float(i), 0.0], fields={"page": i, "tags": ("t",)})
            for i in (3, 1, 2, 0)
        ]
        assert n.vectors.upsert("tiny", rows, **OWN) == 4
        hits = n.vectors.query("tiny", [0.4, 0.0], k=3, include=True)
        assert [hit.id for hit in hits] == ["v0", "v1", "v2"]
        assert math.isclose(hits[0].distance, 0.16, rel_tol=1e-6)
        assert hits[0].row is not None
        assert hits[0].row.fields == {"page": 0, "tags": ("t",)}
        assert hits[0].row.governance.space == "docs"
        assert n.vectors.count("tiny", Eq("page", 2)) == 1
        assert n.vectors.delete_where("tiny", Eq("page", 2)) == 1
        assert n.vectors.delete("tiny", ["v0", "v9"]) == 1
        assert [r.id for r in n.vectors.scan("tiny", limit=1).items] == ["v1"]
        assert n.vectors.statistics("tiny").rows == 2


@pytest.mark.parametrize(
    ("vector", "error"),
    [
        ([math.nan, 0.0], InvalidVectorError),
        ([math.inf, 0.0], InvalidVectorError),
        ([1e30, 0.0], InvalidVectorError),
        ([1.0], InvalidVectorError),
        ([1.0, 2.0, 3.0], InvalidVectorError),
        (b"\0" * 4, InvalidVectorError),
        (["a", "b"], InvalidVectorError),
    ],
)
def test_bad_vectors_are_refused_whole(world: World, vector: Any, error: type) -> None:
    """One bad vector anywhere in a batch, or in a query, is refused and nothing is written."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[1, 2])], **OWN)
        good = [0.0, 0.0] if not isinstance(vector, bytes) else b"\0" * 8
        for position in range(3):
            batch = [VectorItem(id=f"x{i}", vector=good) for i in range(3)]
            batch[position] = VectorItem(id="bad", vector=vector)
            with pytest.raises(error):
                n.vectors.upsert("tiny", batch, **OWN)
        with pytest.raises(error):
            n.vectors.query("tiny", vector)
        assert n.vectors.count("tiny") == 1


def test_a_zero_vector_has_no_cosine(world: World) -> None:
    """Under cosine a zero vector is refused; under squared distance it is a place like others."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[0, 0])], **OWN)
        with pytest.raises(InvalidVectorError):
            n.vectors.upsert("main", [VectorItem(id="a", vector=[0.0] * 16)], **OWN)


@pytest.mark.parametrize("k", [0, -1, 10_001, True, 1.5, None])
def test_k_has_bounds(world: World, k: Any) -> None:
    """k out of bounds or not an integer is refused."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[0, 0])], **OWN)
        with pytest.raises(InvalidArgumentError):
            n.vectors.query("tiny", [0, 0], k=k)


@pytest.mark.parametrize("fields", [{"nope": 1}, {"page": "x"}, {"page": True}, {"kind": "data"}])
def test_undeclared_and_mistyped_fields_are_refused(world: World, fields: Any) -> None:
    """A field must be declared by the index and have its type; the system's cannot be set."""
    with world.nexus.request(context()) as n, pytest.raises(InvalidArgumentError):
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[0, 0], fields=fields)], **OWN)


def test_held_vectors_are_not_deleted(world: World) -> None:
    """A filter or a batch that would delete a protected row deletes nothing."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[0, 0])], **OWN)
        n.vectors.upsert("tiny", [VectorItem(id="h", vector=[0, 0])], **OWN, legal_hold=True)
        with pytest.raises(RetentionError):
            n.vectors.delete("tiny", ["a", "h"])
        with pytest.raises(RetentionError):
            n.vectors.delete_where("tiny", Eq("space", "docs"))
        assert n.vectors.count("tiny") == 2


def test_reading_never_makes_an_index(world: World) -> None:
    """Every read of an index that the scope has not is not found, and makes nothing."""
    with world.nexus.request(context()) as n:
        for call in (
            lambda: n.vectors.query("tiny", [0, 0]),
            lambda: n.vectors.get("tiny", "a"),
            lambda: n.vectors.count("tiny"),
            lambda: n.vectors.scan("tiny"),
            lambda: n.vectors.statistics("tiny"),
            lambda: n.vectors.delete("tiny", ["a"]),
            lambda: n.vectors.upsert("unknown", [VectorItem(id="a", vector=[0, 0])], **OWN),
        ):
            with pytest.raises(NotFoundError):
                call()
        assert n.vectors.indexes() == []
    assert not world.vectors.indexes


def test_a_bootstrap_definition_is_locked(opened: Callable[..., World]) -> None:
    """The operator's definition is applied and audited once; the same name with another
    definition is refused ever after, and another scope's definition never matters."""
    world = opened()
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[0, 0])], **OWN)
    assert ("outcome", "definition.apply", "ok") in world.trail(context())
    config = world.nexus.config
    changed = tuple(attrs.evolve(d, dimension=3) if d.name == "tiny" else d for d in config.indexes)
    object.__setattr__(world.nexus._deployment, "config", attrs.evolve(config, indexes=changed))
    item = [VectorItem(id="a", vector=[0, 0, 0])]
    with world.nexus.request(context()) as n, pytest.raises(IndexLockedError):
        n.vectors.upsert("tiny", item, **OWN)
    with world.nexus.request(context("other")) as n:
        assert n.vectors.upsert("tiny", item, **OWN) == 1


DEFINITION = IndexDefinition(name="own", version=1, dimension=2, metric="dot", embedder="e@1")


def test_a_definition_needs_two_people(world: World) -> None:
    """A proposal is approved by somebody else and applied exactly once."""
    with world.nexus.request(context(actor="ana")) as n:
        proposal = n.definitions.propose(DEFINITION)
        with pytest.raises(PreconditionFailedError):
            n.definitions.apply(proposal.id)
        with pytest.raises(AccessDeniedError):
            n.definitions.approve(proposal.id, hash=proposal.hash)
    with world.nexus.request(context(actor="ben")) as n:
        with pytest.raises(PreconditionFailedError):
            n.definitions.approve(proposal.id, hash="0" * 64)
        n.definitions.approve(proposal.id, hash=proposal.hash)
    with world.nexus.request(context(actor="ana")) as n:
        assert n.definitions.apply(proposal.id).state == "applied"
        with pytest.raises(PreconditionFailedError):
            n.definitions.apply(proposal.id)
        assert [d.name for d in n.vectors.indexes()] == ["own"]
        assert [p.state for p in n.definitions.list()] == ["applied"]
    trail = [r[1] for r in world.trail(context()) if r[2] == "ok"]
    assert {"definition.propose", "definition.approve", "definition.apply"} <= set(trail)


def test_an_edit_voids_the_approval(world: World) -> None:
    """A proposal that changes after its approval has to be approved again."""
    with world.nexus.request(context(actor="ana")) as n:
        proposal = n.definitions.propose(DEFINITION)
    with world.nexus.request(context(actor="ben")) as n:
        n.definitions.approve(proposal.id, hash=proposal.hash)
    with world.nexus.request(context(actor="ana")) as n:
        revised = n.definitions.revise(proposal.id, attrs.evolve(DEFINITION, dimension=3))
        assert revised.hash != proposal.hash
        with pytest.raises(PreconditionFailedError):
            n.definitions.apply(proposal.id)


def test_an_editor_cannot_approve_their_own_edit(world: World) -> None:
    """Whoever wrote the latest form of a proposal cannot approve it."""
    with world.nexus.request(context(actor="ana")) as n:
        proposal = n.definitions.propose(DEFINITION)
    with world.nexus.request(context(actor="ben")) as n:
        revised = n.definitions.revise(proposal.id, attrs.evolve(DEFINITION, dimension=3))
        with pytest.raises(AccessDeniedError):
            n.definitions.approve(proposal.id, hash=revised.hash)


def test_a_window_ends(world: World) -> None:
    """An approved proposal cannot be applied after its window."""
    with world.nexus.request(context(actor="ana")) as n:
        proposal = n.definitions.propose(DEFINITION, window=10**6)
    with world.nexus.request(context(actor="ben")) as n:
        n.definitions.approve(proposal.id, hash=proposal.hash)
    world.clock.time += 10**7
    with world.nexus.request(context(actor="ana")) as n, pytest.raises(PreconditionFailedError):
        n.definitions.apply(proposal.id)
