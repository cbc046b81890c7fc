"""``n.lineage``: where a thing came from and what came of it, by ids only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import attrs

from nexus_core._handles.checks import check_many
from nexus_core._handles.gate import Gate
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._model.errors import InvalidArgumentError
from nexus_core._model.ids import check_id
from nexus_core._model.records import Step
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole

MAX_DEPTH = 64
MAX_EDGES = 10_000


@attrs.frozen(kw_only=True)
class Edge:
    """One step of lineage: ``child`` was made from ``parent`` by a named, versioned operation.

    ``depth`` counts edges from where the walk began.
    """

    parent: str
    child: str
    relation: str
    operation: str
    operation_version: str
    parameters: Mapping[str, Any]
    trace_id: str
    created_at: int
    depth: int


@final
class LineageHandle:
    """The lineage graph of one scope."""

    __slots__ = ("_gate", "_ledger")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)

    def ancestors(
        self, ids: str | Sequence[str], *, max_depth: int = MAX_DEPTH, limit: int = 1000
    ) -> list[Edge]:
        """Return the edges that lead up from ``ids``, nearest first, by (depth, edge id).

        An id that this scope does not have has no edges.
        """
        return self._walk(ids, "up", max_depth, limit)

    def descendants(
        self, ids: str | Sequence[str], *, max_depth: int = MAX_DEPTH, limit: int = 1000
    ) -> list[Edge]:
        """Return the edges that lead down from ``ids``, nearest first, by (depth, edge id)."""
        return self._walk(ids, "down", max_depth, limit)

    def _walk(
        self,
        ids: str | Sequence[str],
        direction: Literal["up", "down"],
        max_depth: int,
        limit: int,
    ) -> list[Edge]:
        check_many([ids] if isinstance(ids, str) else ids, "ids")
        start = [check_id(i) for i in ([ids] if isinstance(ids, str) else ids)]
        if not 1 <= max_depth <= MAX_DEPTH or not 1 <= limit <= MAX_EDGES or not start:
            raise InvalidArgumentError(
                f"a walk needs a start, a depth of 1 to {MAX_DEPTH} and a limit of 1 to {MAX_EDGES}"
            )
        self._gate.admit(Action.LINEAGE_READ, start)
        steps = self._ledger.walk(start, direction, max_depth=max_depth, limit=limit)
        self._gate.accessed(Action.LINEAGE_READ, StoreRole.ATOMS, start)
        return [edge_of(step) for step in steps]


def edge_of(step: Step) -> Edge:
    """Read an edge back from its record."""
    fields = step.edge.fields
    body = body_of(step.edge)
    return Edge(
        parent=str(fields["parent"]),
        child=str(fields["child"]),
        relation=str(fields["relation"]),
        operation=body["operation"],
        operation_version=body["operation_version"],
        parameters=body["parameters"],
        trace_id=body["trace_id"],
        created_at=int(fields["created_at"]),
        depth=step.depth,
    )
