"""The laws of an atom store: records with the same ids in two tenants, and the lineage over them.

Ids that the core derives never repeat in another scope, so records with twin ids are written
through the ledger, beneath the handles; everything else goes through the handles.
"""

from __future__ import annotations

from typing import Any, Final

from nexus_core._doctor.laws import Laws, Twin, Twins, answer_of, needed, never
from nexus_core._handles.derivation import NewAtom
from nexus_core._handles.ledger import Ledger
from nexus_core._model.errors import NexusError, NotFoundError
from nexus_core._model.filters import Eq
from nexus_core._model.records import Insert, Record, Remove
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

_COLLECTION: Final = "edges"


def try_atoms(twins: Twins, laws: Laws, *, has_raw: bool) -> None:
    """Write twins, and look whether either tenant can tell that the other is there."""
    a, b = twins.a, twins.b
    twin, own = f"twin-{twins.nonce}", f"only-a-{twins.nonce}"
    with laws.law("a tenant alone reads back what it wrote"):
        _insert(twins, a, twin, "a")
        _insert(twins, a, own, "a")
        before = _seen(twins, a, twin)
        needed(before[1] == (own, twin), "a query is not what was written")
        needed(before[2] == 2, "a count is not what was written")
        needed(before[3] == (own, twin), "a walk is not what was written")
    if laws.broken:
        return
    with laws.law("the same id in two tenants is two records"):
        _insert(twins, b, twin, "b")
        never(_seen(twins, a, twin) != before, "one tenant's write changed what the other sees")
        of_b = Ledger(b.gate).get(_COLLECTION, [twin])[0]
        needed(of_b is not None, "a record is not there after it was written")
        never(of_b == before[0], "a tenant read the other's record")
    with laws.law("queries, counts and walks have one's own records only"):
        _, ids, count, walked = _seen(twins, b, twin)
        never(own in ids, "a query has a record of the other tenant")
        never(own in walked, "a walk follows an edge of the other tenant")
        never(count != 1, "a count counts records of the other tenant")
    if has_raw:
        _try_handles(twins, laws)
    with laws.law("removing in one tenant removes nothing in the other"):
        _mutate(a, twin, [Remove(_COLLECTION, twin)])
        needed(Ledger(a.gate).get(_COLLECTION, [twin])[0] is None, "a removed record is there")
        never(Ledger(b.gate).get(_COLLECTION, [twin])[0] != of_b, "the other's record changed")


def _try_handles(twins: Twins, laws: Laws) -> None:
    a, b = twins.a, twins.b
    with laws.law("another tenant's ids and ids that never were give the same answer"):
        asset_of_a, atom_of_a = _derive(twins, a)
        asset_of_b, atom_of_b = _derive(twins, b)
        never(
            {asset_of_a, atom_of_a} & {asset_of_b, atom_of_b},
            "the same content has the same id in two tenants",
        )
        never(any(b.n.assets.get(asset_of_a)), "a tenant read the other's asset")
        never(any(b.n.atoms.get(atom_of_a)), "a tenant read the other's atom")
        never(b.n.lineage.ancestors(atom_of_a), "a tenant walked the other's lineage")
        never(
            _put_below(twins, b, asset_of_a) != _put_below(twins, b, "ast_never-was"),
            "a parent in the other tenant is told apart from one that never was",
        )
    with laws.law("atoms are found by their own tenant only"):
        for twin, atom in ((a, atom_of_a), (b, atom_of_b)):
            page = twin.n.atoms.query(Eq("space", twins.space))
            ids = [found.id for found in page.items]
            never(set(ids) - {atom}, "a query has an atom of the other tenant")
            needed(ids == [atom], "an atom is not found after it was written")


def _derive(twins: Twins, twin: Twin) -> tuple[str, str]:
    key = f"{twins.nonce}/asset"
    twin.n.raw.put(key, b"the same bytes in both", kind=twins.kind, space=twins.space)
    asset = twin.n.assets.register(key)
    made = twin.n.atoms.put(
        asset.id,
        [NewAtom(position=0, text="the same text in both")],
        kind=twins.kind,
        space=twins.space,
        operation="probe",
        version="1",
    )
    return asset.id, made[0].id


def _put_below(twins: Twins, twin: Twin, parent: str) -> Any:
    try:
        twin.n.atoms.put(
            parent,
            [NewAtom(position=0, text="probe")],
            kind=twins.kind,
            space=twins.space,
            operation="probe",
            version="1",
        )
    except NotFoundError as error:
        return answer_of(error)
    except NexusError as error:
        return (error.code, parent)
    return ("written", parent)


def _insert(twins: Twins, twin: Twin, record_id: str, owner: str) -> None:
    fields: dict[str, str | int | float | bool] = {
        "parent": f"root-{twins.nonce}",
        "child": record_id,
        "relation": "probe",
        "created_at": twin.gate.now(),
    }
    record = Ledger(twin.gate).record(_COLLECTION, record_id, fields, {"owner": owner})
    _mutate(twin, record_id, [Insert(record)])


def _mutate(twin: Twin, record_id: str, operations: list[Insert | Remove]) -> None:
    with twin.gate.mutation(Action.ATOM_PUT, StoreRole.ATOMS, (record_id,)):
        Ledger(twin.gate).commit(operations)


def _seen(
    twins: Twins, twin: Twin, record_id: str
) -> tuple[Record | None, tuple[str, ...], int, tuple[str, ...]]:
    """Everything that a tenant can see of its own records."""
    ledger = Ledger(twin.gate)
    root = f"root-{twins.nonce}"
    where = Eq("parent", root)
    records, _ = ledger.page(_COLLECTION, where, after=None, limit=100)
    steps = ledger.walk([root], "down", max_depth=2, limit=100)
    return (
        ledger.get(_COLLECTION, [record_id])[0],
        tuple(record.id for record in records),
        ledger.count(_COLLECTION, where),
        tuple(sorted(step.edge.id for step in steps)),
    )
