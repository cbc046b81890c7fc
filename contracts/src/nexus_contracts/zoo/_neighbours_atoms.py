"""Atom stores that lose the scope in one branch only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nexus_contracts.memory import MemoryAtoms
from nexus_contracts.zoo._mutant import Mutant
from nexus_contracts.zoo._neighbours import neighbour
from nexus_core._model.filters import FILTER_OPS
from nexus_core.spi import (
    AlreadyExistsError,
    PreconditionFailedError,
    Record,
    RecordPage,
    Scope,
    Step,
    StoreRole,
    matches,
)


def atoms_blind_in(operator: str) -> Any:
    """An atom store whose filters with this operator on top match in all environments."""

    class Blind(MemoryAtoms):
        def query(self, scope: Scope, collection: str, where: Any, **options: Any) -> RecordPage:
            if where is None or FILTER_OPS[type(where)] != operator:
                return super().query(scope, collection, where, **options)
            found = {
                record.id: record
                for (owner, kind, _), record in self.records.items()
                if owner.tenant_id == scope.tenant_id
                and kind == collection
                and matches(where, record.fields)
                and (options.get("after") is None or record.id > options["after"])
            }
            page = tuple(found[name] for name in sorted(found)[: options["limit"]])
            return RecordPage(page, page[-1].id if len(found) > len(page) else None)

    return Blind


def atoms_counts_blind_in(operator: str) -> Any:
    """An atom store that counts for this operator in all environments."""

    class Blind(MemoryAtoms):
        def count(self, scope: Scope, collection: str, where: Any) -> int:
            if where is None or FILTER_OPS[type(where)] != operator:
                return super().count(scope, collection, where)
            return sum(
                matches(where, record.fields)
                for (owner, kind, _), record in self.records.items()
                if owner.tenant_id == scope.tenant_id and kind == collection
            )

    return Blind


class SecondPage(MemoryAtoms):
    """Loses the environment where a query goes on."""

    def query(self, scope: Scope, *args: Any, **options: Any) -> RecordPage:
        page = super().query(scope, *args, **options)
        if options.get("after") is None or page.records:
            return page
        others = [Scope(scope.tenant_id, env) for env in ("dev", "staging", "prod")]
        pages = (super(SecondPage, self).query(other, *args, **options) for other in others)
        return next((found for found in pages if found.records), page)


class SecondChunk(MemoryAtoms):
    """Loses the environment past the first 500 ids of a get."""

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        found = list(super().get(scope, collection, ids))
        for place in range(500, len(ids)):
            for env in ("dev", "staging", "prod"):
                other = Scope(scope.tenant_id, env)
                found[place] = found[place] or self.records.get((other, collection, ids[place]))
        return found


class DeepWalk(MemoryAtoms):
    """Loses the environment in the third step of a walk."""

    def walk(self, scope: Scope, start: Any, direction: Any, **options: Any) -> Sequence[Step]:
        own = list(super().walk(scope, start, direction, **options))
        if options["max_depth"] < 3:
            return own
        near = "child" if direction == "up" else "parent"
        far = "parent" if direction == "up" else "child"
        front = {str(step.edge.fields[far]) for step in own if step.depth == 2}
        met = {step.edge.id for step in own}
        own += [
            Step(3, edge)
            for (owner, kind, name), edge in self.records.items()
            if owner.tenant_id == scope.tenant_id
            and kind == "edges"
            and edge.fields[near] in front
            and name not in met
        ]
        own.sort(key=lambda step: (step.depth, step.edge.id))
        return own[: options["limit"]]


class CascadingErase(MemoryAtoms):
    """Erases also the edges of other environments that begin at what it erases."""

    def erase(self, scope: Scope) -> int:
        mine = {name for owner, kind, name in self.records if owner == scope and kind == "atoms"}
        for place, record in list(self.records.items()):
            foreign = place[0].tenant_id == scope.tenant_id and place[0] != scope
            if foreign and place[1] == "edges" and record.fields["parent"] in mine:
                del self.records[place]
        return super().erase(scope)


class HelpfulConflict(MemoryAtoms):
    """Says in a conflict whether trying elsewhere would help, by looking there."""

    def commit(self, scope: Scope, operations: Any) -> Sequence[bool]:
        try:
            return super().commit(scope, operations)
        except (AlreadyExistsError, PreconditionFailedError) as error:
            names = {getattr(each, "id", None) or each.record.id for each in operations}
            error.retryable = any(
                owner != scope and name in names for owner, _, name in self.records
            )
            raise


_ATOM_OPERATORS: Final = tuple(
    op for op in sorted(FILTER_OPS.values()) if not op.startswith("contains")
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *(
        neighbour(
            StoreRole.ATOMS, f"{name}-{op}", make(op), f"Loses the environment {where} `{op}`."
        )
        for op in _ATOM_OPERATORS
        for name, make, where in (
            ("blind-in", atoms_blind_in, "in a query by"),
            ("counts-blind-in", atoms_counts_blind_in, "counting by"),
        )
    ),
    neighbour(StoreRole.ATOMS, "second-page", SecondPage),
    neighbour(StoreRole.ATOMS, "second-chunk", SecondChunk),
    neighbour(StoreRole.ATOMS, "deep-walk", DeepWalk),
    neighbour(StoreRole.ATOMS, "cascading-erase", CascadingErase),
    neighbour(StoreRole.ATOMS, "helpful-conflict", HelpfulConflict),
)
