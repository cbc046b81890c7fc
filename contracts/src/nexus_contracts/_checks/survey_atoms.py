"""The survey of the atom store."""

from __future__ import annotations

from typing import Any

from nexus_contracts._bench import IDS as ODD_IDS
from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._checks.atom_filters import FILTERS, ROWS, operators
from nexus_contracts._checks.atoms import edge, record
from nexus_contracts._registry import check
from nexus_contracts._survey import SCOPES, WORDS, Script, survey
from nexus_contracts._twins import perform
from nexus_core import Scope
from nexus_core.spi import (
    COLLECTIONS,
    Eq,
    Filter,
    In,
    Insert,
    Ne,
    NotIn,
    Record,
    Remove,
    Replace,
    Require,
    StoreRole,
)

SHARED = tuple(sorted((*ODD_IDS, *(f"s{number:02}" for number in range(48))), key=str.encode))
OWN = tuple(f"own{place}" for place in range(len(SCOPES)))
# Also past the end of what all have: a page that goes on may go on elsewhere.
LATE = tuple(f"z{place}" for place in range(len(SCOPES)))
FILLER = [f"nobody{number:04}" for number in range(950)]


OTHERS = tuple(sorted(set(COLLECTIONS) - {"atoms", "edges"}))
# Values that are false or nothing to a careless test, and lists of values that go out in parts.
VALUES: tuple[Filter, ...] = (
    Eq("train_ok", value=True),
    Eq("train_ok", value=False),
    Ne("train_ok", value=True),
    Eq("position", 0),
    Eq("position", 1),
    Eq("retain_until", 0),
    In("kind", (*(f"none{number}" for number in range(150)), "data")),
    NotIn("position", tuple(range(1000, 1150))),
)


class AtomLand:
    """Records under shared ids whose fields go round by scope, and a chain of edges with twigs."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        usable = [where for where, _ in FILTERS if operators(where) <= can.filter_ops]
        usable += [each for each in VALUES if operators(each) <= can.filter_ops]
        self.all_filters = usable
        # One for each set of operators, the last, which asks most of them.
        self.filters = list({frozenset(operators(where)): where for where in usable}.values())
        self.most = can.max_batch

    def _record(self, place: int, number: int, name: str, version: int = 1) -> Record:
        fields = ROWS[f"r{(number + place) % len(ROWS)}"]
        word = "same" if number % 4 == 0 else f"{WORDS[place % 3]} {number}"
        return record(name, body=word.encode(), version=version, **fields)

    def load(self, script: Script, place: int, scope: Scope, turn: int = 0) -> None:
        """The shared ids, the own ones, and the edges."""
        records = [
            self._record(place, number + turn, name)
            for number, name in enumerate((*SHARED, OWN[place], LATE[place]))
        ]
        for depth in range(5):
            records.append(edge(f"n{depth}", f"n{depth + 1}"))
            records.append(edge(f"n{depth}", f"twig{place}-{depth}"))
            records.append(edge(f"root{place}-{depth}", f"n{depth}"))
            records.append(edge(f"s{depth:02}", f"s{depth + place + 1:02}"))
        for name in OTHERS:
            records += [record(each, name) for each in ("both", f"own{place}", "y" * 128)]
        self._insert(script, scope, records)

    def _insert(self, script: Script, scope: Scope, records: list[Record]) -> None:
        step = min(self.most, 1000)
        for start in range(0, len(records), step):
            script.add(scope, "commit", [Insert(each) for each in records[start : start + step]])

    def bulk(self, script: Script, scope: Scope) -> None:
        """Many times what any other has."""
        self._insert(script, scope, [record(f"bulk{number}") for number in range(400)])

    def ask(self, script: Script, place: int, scope: Scope) -> None:
        """Every id at both ends of a long request, every operator, pages from every place."""
        everyone = [*SHARED, *OWN, *LATE]
        for wanted in (everyone, everyone + FILLER, FILLER + everyone):
            script.add(scope, "get", "atoms", wanted)
        script.add(
            scope,
            "get",
            "edges",
            [f"n{d}>twig{p}-{d}" for d in range(5) for p in range(len(SCOPES))],
        )
        for each in self.all_filters:
            script.add(scope, "query", "atoms", each, limit=1000)
        for where in (None, *self.filters):
            script.add(scope, "query", "atoms", where, after="own", limit=3)
            script.add(scope, "count", "atoms", where)
        for after in (*OWN, *SHARED[::7], *LATE):
            for limit in (1, 7):
                script.add(scope, "query", "atoms", None, after=after, limit=limit)
        for name in OTHERS:
            script.add(scope, "get", name, ["both", *OWN, "y" * 128])
            script.add(scope, "query", name, None, limit=1000)
            script.add(scope, "count", name, None)
        script.add(scope, "query", "edges", None, limit=1000)
        script.add(scope, "count", "edges", None)
        for start, way in ((["n0"], "down"), (["n5"], "up"), (["n1", "s08"], "up")):
            for depth in (1, 2, 3, 9):
                for limit in (3, 1000):
                    script.add(scope, "walk", start, way, max_depth=depth, limit=limit)
        foreign = [f"root{other}-0" for other in range(len(SCOPES)) if other != place]
        script.add(scope, "walk", foreign, "down", max_depth=9, limit=1000)

    def change(self, script: Script, place: int, scope: Scope) -> None:
        """Ids that are free here and taken elsewhere, and versions that are right and wrong."""
        foreign = OWN[place - 1]
        for batch in (
            [Require("atoms", foreign, present=False)],
            [Require("atoms", foreign)],
            [Remove("atoms", foreign)],
            [Replace(self._record(place, 1, foreign, 2))],
            [Insert(self._record(place, 1, foreign))],
            [Insert(self._record(place, 1, OWN[place - 2]), if_exists="keep")],
            [Insert(self._record(place, 2, foreign))],
            [Replace(self._record(place, 3, SHARED[0], 2)), Remove("atoms", SHARED[1], 1)],
            [Replace(self._record(place, 3, SHARED[0], 2))],
            [Remove("atoms", SHARED[0], 1)],
            [Remove("atoms", SHARED[2]), Require("atoms", SHARED[3], version=2)],
            [Remove("edges", "n2>n3"), Insert(edge("n1", "n4"))],
        ):
            script.add(scope, "commit", batch)
        for name in OTHERS:
            script.add(scope, "commit", [Insert(record(foreign, name))])
            script.add(scope, "commit", [Remove(name, "both")])

    def ravage(self, script: Script, place: int, scope: Scope) -> None:
        """Half of it one by one, and then all."""
        script.add(scope, "commit", [Remove("atoms", each) for each in SHARED[::2]])
        script.add(scope, "commit", [Remove("edges", f"n{depth}>n{depth + 1}") for depth in (0, 4)])
        script.add(scope, "erase")


@check(IDS[StoreRole.ATOMS].survey)
def atoms_survey(bench: Bench) -> None:
    """Every operator, page, depth and batch."""
    survey(bench, AtomLand(bench), perform)
