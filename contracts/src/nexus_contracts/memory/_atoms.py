"""Records in dictionaries, with copy-on-write commits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from nexus_contracts.memory._base import MemoryBase
from nexus_core.spi import (
    AlreadyExistsError,
    AtomBackend,
    Filter,
    Insert,
    Operation,
    PreconditionFailedError,
    Record,
    RecordPage,
    Remove,
    Replace,
    Scope,
    Step,
    matches,
)

Place = tuple[Scope, str, str]


class MemoryAtoms(MemoryBase, AtomBackend):
    """An atom store that keeps records in ``records``, by scope, collection and id."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[Place, Record] = {}

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        self.ensure_open()
        with self.lock:
            draft = dict(self.records)
            changed = [self._apply(draft, scope, operation) for operation in operations]
            self.records = draft
        return changed

    def _apply(self, draft: dict[Place, Record], scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Insert | Replace):
            record = operation.record
            place = (scope, record.collection, record.id)
            current = draft.get(place)
            if isinstance(operation, Insert):
                if current is not None:
                    if operation.if_exists == "keep":
                        return False
                    raise AlreadyExistsError("the id is taken")
            elif current is None or current.version != record.version - 1:
                raise PreconditionFailedError("the record has another version by now")
            draft[place] = record
            return True
        place = (scope, operation.collection, operation.id)
        current = draft.get(place)
        version = operation.version
        if version is not None and (current is None or current.version != version):
            raise PreconditionFailedError("the record has another version by now")
        if isinstance(operation, Remove):
            return draft.pop(place, None) is not None
        if operation.present != (current is not None):
            raise PreconditionFailedError("a record is not as it was required to be")
        return False

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        self.ensure_open()
        return [self.records.get((scope, collection, wanted)) for wanted in ids]

    def _mine(self, scope: Scope, collection: str) -> list[Record]:
        tenant, env = scope.tenant_id, scope.env
        mine = [
            record
            for (owner, kind, _), record in self.records.items()
            # Field by field, which is quicker: a suite asks this a million times.
            if kind == collection and owner.env == env and owner.tenant_id == tenant
        ]
        return sorted(mine, key=lambda record: record.id)

    def query(
        self,
        scope: Scope,
        collection: str,
        where: Filter | None,
        *,
        after: str | None = None,
        limit: int = 1000,
    ) -> RecordPage:
        self.ensure_open()
        found = [
            record
            for record in self._mine(scope, collection)
            if (after is None or record.id > after) and matches(where, record.fields)
        ]
        page = tuple(found[:limit])
        return RecordPage(page, page[-1].id if len(found) > limit else None)

    def count(self, scope: Scope, collection: str, where: Filter | None) -> int:
        self.ensure_open()
        return sum(matches(where, record.fields) for record in self._mine(scope, collection))

    def walk(
        self,
        scope: Scope,
        start: Sequence[str],
        direction: Literal["up", "down"],
        *,
        max_depth: int,
        limit: int,
    ) -> Sequence[Step]:
        self.ensure_open()
        here, there = ("child", "parent") if direction == "up" else ("parent", "child")
        edges = self._mine(scope, "edges")
        met: dict[str, Step] = {}
        front = set(start)
        for depth in range(1, max_depth + 1):
            fresh = [e for e in edges if e.fields[here] in front and e.id not in met]
            if not fresh:
                break
            met.update((edge.id, Step(depth, edge)) for edge in fresh)
            front = {str(edge.fields[there]) for edge in fresh}
        return sorted(met.values(), key=lambda step: (step.depth, step.edge.id))[:limit]

    def erase(self, scope: Scope) -> int:
        self.ensure_open()
        with self.lock:
            kept = {place: r for place, r in self.records.items() if place[0] != scope}
            gone = len(self.records) - len(kept)
            self.records = kept
        return gone
