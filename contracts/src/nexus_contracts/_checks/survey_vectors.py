"""The survey of the vector store."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from nexus_contracts._bench import IDS as ODD_IDS
from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._checks.atom_filters import operators
from nexus_contracts._checks.vectors import FILTERS, ROWS, batch, definition
from nexus_contracts._registry import check
from nexus_contracts._survey import SCOPES, Script, survey
from nexus_contracts._twins import Call
from nexus_core import Scope
from nexus_core.spi import Eq, Filter, In, IndexDefinition, StoreRole, VectorBatch, Vectors

SHARED = tuple(sorted((*ODD_IDS, *(f"s{number:02}" for number in range(48))), key=str.encode))
OWN = tuple(f"own{place}" for place in range(len(SCOPES)))
# Also past the end of what all have: a page that goes on may go on elsewhere.
LATE = tuple(f"z{place}" for place in range(len(SCOPES)))


# Values that are false or nothing to a careless test, and a list that goes out in parts.
VALUES: tuple[Filter, ...] = (
    Eq("good", value=False),
    Eq("page", 0),
    Eq("label", ""),
    In("page", (*range(1000, 1150), 1)),
)


class VectorLand:
    """Rows under shared ids in an index for each metric, and an index that each shapes its way."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        self.can = can
        self.bench = bench
        usable = [*(where for where, _ in FILTERS), *VALUES]
        self.filters = [where for where in usable if operators(where) <= can.filter_ops]
        main = definition(bench, 3)
        others = sorted(can.metrics - {main.metric})
        self.shapes = [main, *(definition(bench, 3, each, name=each) for each in others)]

    def _row(self, place: int, number: int) -> list[float]:
        # Where the store says that ids decide, every fifth row is as far away as the one before.
        number -= self.can.stable_ties and number % 5 == 4
        drawn = random.Random(f"{place} {number}")  # noqa: S311  # reproducible, not secret
        # Every scope's row begins alike: what is kept of one by a part of it is another's too.
        return [1.0 + number % 7, drawn.gauss(0, 1), drawn.gauss(0, 1)]

    def _rows(self, place: int, names: Sequence[str], turn: int = 0) -> VectorBatch:
        fields = {
            name: ROWS[f"r{(number + place + turn) % len(ROWS)}"]
            for number, name in enumerate(names)
        }
        rows = {name: self._row(place, number + turn) for number, name in enumerate(names)}
        return batch(rows, fields)

    def _own_shape(self, place: int, version: int = 1) -> IndexDefinition:
        shape: IndexDefinition = definition(self.bench, 2 + place, name="shape", version=version)
        return shape

    def load(self, script: Script, place: int, scope: Scope, turn: int = 0) -> None:
        """The indexes, the shared ids and the own ones; an index that no other has."""
        names = (*SHARED, OWN[place], LATE[place])
        own = definition(self.bench, 3, name=OWN[place])
        for shape in (*self.shapes, self._own_shape(place), own):
            script.add(scope, "create_index", shape)
        for shape in self.shapes:
            script.add(scope, "upsert", shape.name, self._rows(place, names, turn))
        script.add(scope, "create_index", definition(self.bench, 3, version=2))
        script.add(scope, "upsert", "main", self._rows(place, names, 3 + turn), version=2)

    def bulk(self, script: Script, scope: Scope) -> None:
        """A thousand rows."""
        names = [f"bulk{number:04}" for number in range(1000)]
        step = min(self.can.max_batch, 1000)
        for start in range(0, len(names), step):
            some = names[start : start + step]
            script.add(scope, "upsert", "main", self._rows(2, some, start))

    def ask(self, script: Script, place: int, scope: Scope) -> None:
        """Every operator, every k, one query and several, every option, pages from every place."""
        asked = [self._row(place, number) for number in (1, 900, 901)]
        one, three = Vectors.from_rows(asked[:1], 3), Vectors.from_rows(asked, 3)
        most = min(self.can.max_k, 1000)
        for where in (None, *self.filters):
            script.add(scope, "query", "main", one, 100, where=where)
            script.add(scope, "query", "main", three, 4, where=where, include_fields=True)
            script.add(scope, "count", "main", where)
        for k in (1, len(SHARED), len(SHARED) + 1, len(SHARED) + 2, most):
            script.add(scope, "query", "main", three, k, include_vectors=True)
        both = {"include_fields": True, "include_vectors": True}
        script.add(scope, "query", "main", one, most, **both)
        for shape in self.shapes[1:]:
            script.add(scope, "query", shape.name, three, 20, include_vectors=True)
            script.add(scope, "query", shape.name, one, 5, where=self.filters[0])
        script.add(scope, "query", "main", one, 100, version=2, **both)
        script.add(scope, "scan", "main", limit=1000, version=2)
        script.add(scope, "count", "main", self.filters[0], version=2)
        for version in (1, 2):
            script.add(scope, "get", "main", [*SHARED, *OWN, *LATE], version=version)
        for after in (None, *OWN, *SHARED[::9], *LATE):
            script.add(scope, "scan", "main", after=after, limit=7)
        script.add(scope, "scan", "main", limit=1000)
        script.add(scope, "statistics", "main")
        script.add(scope, "list_indexes")
        for name in ("absent", *OWN):
            script.add(scope, "get_index", name, 1)

    def change(self, script: Script, place: int, scope: Scope) -> None:
        """Definitions and ids that others have, rows moved, rows gone by id and by filter."""
        for shape in (
            *(self._own_shape(place), self._own_shape(place + 1), self._own_shape(place, 2)),
            self._own_shape(place + 1, 3),
        ):
            script.add(scope, "create_index", shape)
        script.add(scope, "delete", "main", [OWN[place - 1], SHARED[0]])
        script.add(scope, "upsert", "main", self._rows(place, [OWN[place - 1], *SHARED[4:9]], 7))
        script.add(scope, "delete_where", "main", self.filters[0])
        script.add(scope, "statistics", "main")

    def ravage(self, script: Script, place: int, scope: Scope) -> None:
        """By every operator, each time on all rows; then the indexes, then everything."""
        for where in self.filters:
            script.add(scope, "delete_where", "main", where)
            script.add(scope, "upsert", "main", self._rows(place, SHARED))
        script.add(scope, "delete", "main", [*SHARED, *OWN, *LATE])
        for shape in self.shapes[1:]:
            script.add(scope, "drop_index", shape.name)
        script.add(scope, "erase")


def act(backend: Any, call: Call, _results: Mapping[int, Any]) -> Any:
    """Perform a call of the vector SPI; those on rows name their index."""
    if call.method in ("create_index", "list_indexes", "get_index", "erase"):
        return getattr(backend, call.method)(call.scope, *call.args)
    name, *args = call.args
    options = dict(call.kwargs)
    ref = backend.get_index(call.scope, name, options.pop("version", 1))
    return getattr(backend, call.method)(call.scope, ref, *args, **options)


@check(IDS[StoreRole.VECTORS].survey)
def vectors_survey(bench: Bench) -> None:
    """Every metric, operator, k, option and page."""
    survey(bench, VectorLand(bench), act)
