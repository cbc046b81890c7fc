"""What a vector store may refuse: calls on indexes that are not there, and locked definitions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

from nexus_contracts._bench import Bench
from nexus_contracts._checks import vectors
from nexus_contracts._checks.refusals import SOME, Trials, Way
from nexus_contracts._twins import Ref
from nexus_core import Scope
from nexus_core.spi import Eq, IndexState, VectorBatch, Vectors

DIMENSION: Final = 4


class VectorRefusals:
    """Calls on indexes that are gone, that were made anew, that are another scope's, and that are
    not active; and definitions that are locked."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        self.bench = bench
        self.most: int = min(can.max_batch, SOME)
        self.exact: bool = can.exact
        self.sleeps = IndexState.INACTIVE in can.states
        self.where = Eq("label", "of nobody") if "eq" in can.filter_ops else None
        # By scope and name the call that made the index, and the one that made it before.
        self.made: dict[tuple[Scope, str], int] = {}
        self.before: dict[str, int] = {}
        self.ways: Sequence[Way] = (
            self._upserts,
            self._many,
            self._deletions,
            self._reads,
            self._definitions,
            self._in_vain,
            self._cut_scan,
            self._cut_query,
        )

    def _shape(self, name: str, dimension: int = DIMENSION) -> Any:
        return vectors.definition(self.bench, dimension, name=name)

    def _rows(self, names: Sequence[str], text: str, first: float) -> VectorBatch:
        # No two are equally near to anything.
        rows = [
            [first, zlib.crc32(name.encode()) % 65_521 / 65_521, *([1.0] * (DIMENSION - 2))]
            for name in names
        ]
        own: dict[str, Any] = {"kind": "data", "label": text, "page": int(first)}
        return VectorBatch(
            tuple(names),
            Vectors.from_rows(rows, DIMENSION),
            (own,) * len(names),
            (text.encode(),) * len(names),
        )

    def _stale(self, scope: Scope) -> list[Ref]:
        """References of this scope's that are none: dropped, made anew, another's, asleep."""
        others = [number for (owner, name), number in self.made.items() if name == "gone"]
        refs = [self.before["gone"], self.before["main"], others[0]]
        if self.sleeps:
            refs.append(self.made[scope, "asleep"])
        return [Ref(number) for number in refs]

    def _upserts(self, script: Trials, scope: Scope, thing: str) -> None:
        for ref in self._stale(scope):
            names = [thing, "theirs", "held"]
            script.refuse(scope, "upsert", ref, self._rows(names, thing, 9.0))

    def _many(self, script: Trials, scope: Scope, thing: str) -> None:
        names = [f"{thing}-next", *(f"{thing}-{n}" for n in range(self.most - 1))]
        for ref in self._stale(scope)[:2]:
            script.refuse(scope, "upsert", ref, self._rows(names, thing, 9.0))

    def _deletions(self, script: Trials, scope: Scope, thing: str) -> None:
        for ref in self._stale(scope):
            script.refuse(scope, "delete", ref, ["held", "theirs", thing])
            if self.where is not None:
                script.refuse(scope, "delete_where", ref, Eq("kind", "data"))
        script.refuse(scope, "drop_index", Ref(self.before["main"]))
        script.cut_short(scope, "drop_index", Ref(self.before["gone"]))

    def _reads(self, script: Trials, scope: Scope, thing: str) -> None:
        asked = Vectors.from_rows([[9.0, 1.0, 1.0, 1.0]], DIMENSION)
        for ref in self._stale(scope):
            script.refuse(scope, "get", ref, [thing, "held"])
            script.refuse(scope, "query", ref, asked, 3)
            script.refuse(scope, "scan", ref, after="a", limit=1)
            script.refuse(scope, "count", ref, None)
            script.refuse(scope, "statistics", ref)
        script.refuse(scope, "get_index", "gone", 1)

    def _definitions(self, script: Trials, scope: Scope, _thing: str) -> None:
        for dimension in (DIMENSION + 1, DIMENSION - 1):
            script.refuse(scope, "create_index", self._shape("main", dimension))

    def _in_vain(self, script: Trials, scope: Scope, thing: str) -> None:
        ref = Ref(self.made[scope, "main"])
        script.cut_short(scope, "get", ref, [thing, "theirs"])
        script.cut_short(scope, "delete", ref, [thing, "theirs"])
        if self.where is not None:
            script.cut_short(scope, "delete_where", ref, self.where)

    def _cut_scan(self, script: Trials, scope: Scope, _thing: str) -> None:
        script.cut_short(scope, "scan", Ref(self.made[scope, "main"]), limit=1)

    def _cut_query(self, script: Trials, scope: Scope, _thing: str) -> None:
        ref, asked = Ref(self.made[scope, "main"]), Vectors.from_rows([[2.0] * 4] * 2, DIMENSION)
        script.cut_short(scope, "query", ref, asked, 1, where=self.where, include_fields=True)

    def load(self, script: Trials, scope: Scope, *, refuser: bool) -> None:
        """Rows in two indexes, of which the one that will be refused has the one no more and the
        other anew."""
        names = ["held", "kept", *([] if refuser else ["theirs"])]
        for name in ("main", "gone", *(["asleep"] if self.sleeps else [])):
            made = script.add(scope, "create_index", self._shape(name))
            if refuser and name != "asleep":
                script.add(scope, "upsert", Ref(made), self._rows(["held"], "before", 1.0))
                script.add(scope, "drop_index", Ref(made))
                self.before[name] = made
                if name == "gone":
                    continue
                made = script.add(scope, "create_index", self._shape(name))
            script.add(scope, "upsert", Ref(made), self._rows(names, str(scope), 2.0))
            self.made[scope, name] = made
            if refuser and name == "asleep":
                script.add(scope, "set_state", Ref(made), IndexState.INACTIVE)

    def _indexes(self, scope: Scope) -> list[int]:
        """The scope's indexes that answer."""
        whose = [name for owner, name in self.made if owner == scope]
        awake = whose if "gone" in whose else [name for name in whose if name != "asleep"]
        return [self.made[scope, name] for name in awake]

    def look(self, script: Trials, scope: Scope, thing: str) -> None:
        """Rows by id, the nearest to what was refused, and how many there are."""
        asked = Vectors.from_rows([[9.0, 1.0, 1.0, 1.0]], DIMENSION)
        names = ["held", "theirs", thing, f"{thing}-next", f"{thing}-5"]
        for made in self._indexes(scope):
            script.add(scope, "get", Ref(made), names)
            script.add(scope, "count", Ref(made), None)
        if self.exact:
            ref = Ref(self.made[scope, "main"])
            script.add(scope, "query", ref, asked, 1, include_fields=True)
        script.add(scope, "get_index", "main", 1)

    def write(self, script: Trials, scope: Scope, thing: str) -> None:
        """The thing and another into every index."""
        for made in self._indexes(scope):
            rows = self._rows([thing, f"{thing}-next"], str(scope), 3.0)
            script.add(scope, "upsert", Ref(made), rows)

    def everything(self, script: Trials, scope: Scope) -> None:
        """What indexes there are, and every row; the index that was dropped, once more."""
        script.add(scope, "list_indexes")
        for made in self._indexes(scope):
            script.add(scope, "scan", Ref(made), limit=1000)
        if (scope, "gone") not in self.made:
            made = script.add(scope, "create_index", self._shape("gone"))
            script.add(scope, "upsert", Ref(made), self._rows(["after"], str(scope), 4.0))
            script.add(scope, "scan", Ref(made), limit=1000)
            script.add(scope, "drop_index", Ref(made))

    def end(self, script: Trials, scope: Scope) -> None:
        """The erasure."""
        script.add(scope, "erase")
