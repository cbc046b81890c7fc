"""``n.retrieve``: the nearest rows in the store's own order, with pointers and an explanation.

Nothing is scored, ranked, cut or rewritten here. The explanation is made of metadata only: index,
metric, filter, embedder, and the lineage of each hit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, final

import attrs

from nexus_core._flows.tools import chosen_index, embed, embedder_for
from nexus_core._handles.catalogue import Asset, asset_of
from nexus_core._handles.derivation import Atom, atom_of
from nexus_core._handles.gate import Gate
from nexus_core._handles.ledger import Ledger
from nexus_core._handles.rows import Hit, Rows, VectorLike
from nexus_core._model.errors import InvalidArgumentError, InvalidVectorError
from nexus_core._model.filters import Filter, filter_to_data
from nexus_core._model.vectors import IndexDefinition
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole


@attrs.frozen(kw_only=True)
class Pointer:
    """Where a hit's atom is: the asset, its name, the operation that cut it, and the place."""

    asset: str
    logical_key: str | None
    parent: str
    operation: str
    operation_version: str
    position: int
    locator: Mapping[str, int | str]


@attrs.frozen(kw_only=True)
class RetrievedHit:
    """One answer. ``distance`` is exact under the index's metric; smaller is nearer.

    ``pointer`` is ``None`` for a vector that has no atom in this scope's ledger.
    """

    id: str
    distance: float
    pointer: Pointer | None


@attrs.frozen(kw_only=True)
class Explanation:
    """Why these hits: what was asked of which index, from metadata only."""

    index: str
    index_version: int
    fingerprint: str
    metric: str
    embedder: str
    k: int
    filter: Any
    exact: bool
    store_isolation: str


@attrs.frozen(kw_only=True)
class Retrieval:
    """Hits in the store's order, and the explanation."""

    hits: tuple[RetrievedHit, ...]
    explanation: Explanation


@final
class RetrieveFlow:
    """Retrieves from one scope, for one request."""

    __slots__ = ("_gate", "_ledger", "_rows")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._rows = Rows(gate)

    def run(
        self,
        text: str | None,
        *,
        vector: VectorLike | None,
        index: str | None,
        index_version: int | None,
        k: int,
        where: Filter | None,
    ) -> Retrieval:
        """See ``Request.retrieve``."""
        if (text is None) == (vector is None):
            raise InvalidArgumentError("retrieve takes either a text or a vector")
        if text is not None and type(text) is not str:
            raise InvalidArgumentError("the text is not a str")
        self._gate.admit(Action.RETRIEVE)
        self._gate.runtime.store(StoreRole.ATOMS)
        ref = self._rows.resolve(*chosen_index(self._gate, index, index_version))
        definition = ref.definition
        asked = self._vector(text, definition) if vector is None else vector
        packed = self._rows.pack([asked], definition)
        hits = self._rows.search(ref, packed, k=k, where=where, include=True)[0]
        pointers = self._pointers([hit.id for hit in hits])
        self._release(hits)
        return Retrieval(
            hits=tuple(
                RetrievedHit(id=hit.id, distance=hit.distance, pointer=pointer)
                for hit, pointer in zip(hits, pointers, strict=True)
            ),
            explanation=self._explain(definition, k, where),
        )

    def _vector(self, text: str | None, definition: IndexDefinition) -> bytes:
        embedder = embedder_for(self._gate, definition.embedder)
        made = embed(embedder, [cast("str", text)])
        if not any(made.data):
            raise InvalidVectorError(
                "the text has nothing that this index's embedder can embed",
                hint="ask with words or numbers",
            )
        return bytes(made.data)

    def _pointers(self, ids: Sequence[str]) -> list[Pointer | None]:
        atoms = [
            None if record is None else atom_of(record) for record in self._ledger.get("atoms", ids)
        ]
        wanted = list(dict.fromkeys(atom.asset for atom in atoms if atom is not None))
        assets: dict[str, Asset] = {
            record.id: asset_of(record)
            for record in self._ledger.get("assets", wanted)
            if record is not None
        }
        return [None if atom is None else _pointer(atom, assets.get(atom.asset)) for atom in atoms]

    def _release(self, hits: Sequence[Hit]) -> None:
        ids = [hit.id for hit in hits]
        found = [hit.row.governance for hit in hits if hit.row is not None]
        self._ledger.asked(Action.RETRIEVE, found, ids)
        self._gate.accessed(Action.RETRIEVE, StoreRole.VECTORS, ids)

    def _explain(
        self,
        definition: IndexDefinition,
        k: int,
        where: Filter | None,
    ) -> Explanation:
        return Explanation(
            index=definition.name,
            index_version=definition.version,
            fingerprint=definition.fingerprint,
            metric=definition.metric,
            embedder=definition.embedder,
            k=k,
            filter=None if where is None else filter_to_data(where),
            exact=self._rows.capabilities().exact,
            store_isolation=self._gate.runtime.store(StoreRole.VECTORS).spec.isolation.value,
        )


def _pointer(atom: Atom, asset: Asset | None) -> Pointer:
    return Pointer(
        asset=atom.asset,
        logical_key=None if asset is None else asset.logical_key,
        parent=atom.parent,
        operation=atom.operation,
        operation_version=atom.operation_version,
        position=atom.position,
        locator=atom.locator,
    )
