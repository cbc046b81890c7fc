"""What an atom store may refuse: commits whose last operation fails, or whose only one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nexus_contracts._bench import Bench
from nexus_contracts._checks import atoms
from nexus_contracts._checks.refusals import SOME, Trials, Way, cut
from nexus_core import Scope
from nexus_core.spi import Eq, Insert, Remove, Replace, Require


class AtomRefusals:
    """Commits whose last operation fails, after others of every kind would have been applied."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        self.most: int = min(can.max_batch, SOME)

        def record(name: str, version: int) -> Callable[[str], Any]:
            return lambda text: atoms.record(
                name, version=version, body=text.encode(), stamp=text.encode()
            )

        taken, stale, absent = record("kept", 1), record("kept", 7), record("absent", 2)
        fatal: tuple[Callable[[str], Any], ...] = (
            lambda _: Require("atoms", "absent"),
            lambda _: Require("atoms", "kept", present=False),
            lambda _: Require("atoms", "held", version=1),
            lambda text: Insert(taken(text)),
            lambda text: Replace(stale(text)),
            lambda text: Replace(absent(text)),
            lambda _: Remove("atoms", "kept", 9),
        )
        self.ways: Sequence[Way] = (
            *(self._late(last) for last in fatal),
            self._at_once,
            self._many,
            self._in_vain,
            cut("query", "atoms", None, limit=1),
            *(cut("walk", ["n0"], "down", max_depth=9, limit=limit) for limit in (1, 3)),
            cut("walk", ["n4", "n3"], "up", max_depth=9, limit=2),
            cut("walk", ["n0"], "down", max_depth=1, limit=9),
        )

    @staticmethod
    def _before(thing: str) -> list[Any]:
        text = thing.encode()
        made = [atoms.record(thing, body=text, stamp=text, kind=thing)]
        made += [atoms.record("theirs", body=text, stamp=text)]
        made += [atoms.record(thing, "definitions", body=text), atoms.edge("n2", thing)]
        held = atoms.record("held", version=3, body=text, stamp=text, kind=thing)
        gone = [Remove("atoms", "gone"), Remove("edges", "n0>n1")]
        return [*map(Insert, made), Replace(held), *gone]

    def _late(self, last: Callable[[str], Any]) -> Way:
        def way(script: Trials, scope: Scope, thing: str) -> None:
            script.refuse(scope, "commit", [*self._before(thing), last(thing)])

        return way

    def _at_once(self, script: Trials, scope: Scope, thing: str) -> None:
        """Where nothing else is asked for."""
        text = thing.encode()
        for version in (2, 4):
            changed = atoms.record("held", version=version, body=text, stamp=text)
            script.refuse(scope, "commit", [Replace(changed)])
        script.refuse(scope, "commit", [Replace(atoms.record(thing, version=2, body=text))])
        script.refuse(scope, "commit", [Insert(atoms.record("held", body=text, stamp=text))])
        script.refuse(scope, "commit", [Remove("atoms", thing, 1)])

    def _many(self, script: Trials, scope: Scope, thing: str) -> None:
        text = thing.encode()
        names = [thing, f"{thing}-next", *(f"{thing}-{n}" for n in range(self.most - 3))]
        made = [Insert(atoms.record(name, body=text, stamp=text)) for name in names]
        script.refuse(scope, "commit", [*made, Require("atoms", "absent")])

    @staticmethod
    def _in_vain(script: Trials, scope: Scope, thing: str) -> None:
        script.cut_short(scope, "get", "atoms", [thing, "theirs", "held"])
        script.cut_short(scope, "count", "atoms", Eq("kind", thing))
        script.cut_short(scope, "query", "atoms", Eq("kind", thing), limit=1)

    def load(self, script: Trials, scope: Scope, *, refuser: bool) -> None:
        """Records at several versions, and a small tree."""
        body = f"{scope}".encode()

        def record(name: str, version: int = 1) -> Any:
            return atoms.record(name, version=version, body=body, stamp=body)

        names = ["held", "kept", "gone", *([] if refuser else ["theirs"])]
        edges = ("n0>n1", "n0>n2", "n1>n3", "n2>n3", "n3>n4")
        made = [*map(record, names), *(atoms.edge(*each.split(">")) for each in edges)]
        script.add(scope, "commit", [Insert(each) for each in made])
        script.add(scope, "commit", [Replace(record("held", 2))])

    def look(self, script: Trials, scope: Scope, thing: str) -> None:
        """Records by id, and walks over the whole tree."""
        names = ["held", "gone", "theirs", "absent", thing, f"{thing}-next", f"{thing}-5"]
        script.add(scope, "get", "atoms", names)
        script.add(scope, "walk", ["n0"], "down", max_depth=9, limit=100)
        script.add(scope, "walk", ["n4"], "up", max_depth=9, limit=100)

    def write(self, script: Trials, scope: Scope, thing: str) -> None:
        """The thing at two versions, with others that come and go."""
        body = f"{scope}".encode()
        first, second = (
            atoms.record(thing, version=version, body=body, stamp=body) for version in (1, 2)
        )
        following = atoms.record(f"{thing}-next", body=body)
        own = [Insert(first), Insert(following), Insert(atoms.edge("n2", thing))]
        script.add(scope, "commit", [*own, Insert(atoms.record(thing, "definitions", body=body))])
        need = [Require("atoms", thing, version=1), Require("atoms", "absent", present=False)]
        script.add(scope, "commit", [*need, Replace(second), Remove("edges", f"n2>{thing}")])

    def everything(self, script: Trials, scope: Scope) -> None:
        """Three collections."""
        for collection in ("atoms", "edges", "definitions"):
            script.add(scope, "query", collection, None, limit=1000)
            script.add(scope, "count", collection, None)

    def end(self, script: Trials, scope: Scope) -> None:
        """The erasure."""
        script.add(scope, "erase")
