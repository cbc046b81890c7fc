"""Duels of vector stores."""

from __future__ import annotations

from typing import Any

import attrs

from nexus_contracts._duel import Alone, Answers, one_wins, outcome
from nexus_core import Scope
from nexus_core.spi import (
    IndexDefinition,
    IndexLockedError,
    NotFoundError,
    StaleReferenceError,
    VectorBatch,
    Vectors,
)


def _shape(place: str, capabilities: Any, dimension: int = 4) -> IndexDefinition:
    metrics = sorted(capabilities.metrics)
    metric: Any = "l2sq" if "l2sq" in metrics else metrics[0]
    return IndexDefinition(
        name=place, version=1, dimension=dimension, metric=metric, embedder="e@1", fields={}
    )


def _rows(*names: str) -> VectorBatch:
    return VectorBatch(
        names,
        Vectors.from_rows([[1.0, 2.0, 3.0, 4.0]] * len(names), 4),
        ({"kind": "data"},) * len(names),
        (b"stamp",) * len(names),
    )


@attrs.frozen
class Define(Alone):
    """Two definitions of one index: others, or the same."""

    capabilities: Any
    same: bool
    about = "define"

    @property
    def title(self) -> str:
        """The call."""
        return f"create_index of one name by {'one definition' if self.same else 'two definitions'}"

    def _definition(self, place: str, side: int) -> Any:
        return _shape(place, self.capabilities, 4 if self.same else 4 + side)

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Define it; where both may, the answer is which index it is."""
        made: list[Any] = []
        said = outcome(
            lambda: made.append(store.create_index(scope, self._definition(place, side))),
            IndexLockedError,
        )
        return str(made[0].incarnation) if self.same and made else said

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """One definition, which is the index's; or one index."""
        held = store.get_index(scope, place, 1)
        if self.same:
            ids = {*answers, held.incarnation}
            return "" if len(ids) == 1 else "one definition at one moment made two indexes"
        if bad := one_wins(answers):
            return bad
        wanted = self._definition(place, answers.index("won")).fingerprint
        return "" if held.definition.fingerprint == wanted else "the index is not the winner's"


@attrs.frozen
class DropUnder(Alone):
    """An upsert, and somebody who drops the index and makes it again."""

    capabilities: Any
    about = "drop"
    title = "upsert and drop_index"
    symmetric = False

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """The index."""
        store.create_index(scope, _shape(place, self.capabilities))

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """The reference, which is about to be old."""
        return store.get_index(scope, place, 1)

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Write with it, or drop it."""
        if side == 0:
            return outcome(
                lambda: store.upsert(scope, known, _rows("a", "b")),
                StaleReferenceError,
                NotFoundError,
            )
        store.drop_index(scope, known)
        store.create_index(scope, known.definition)
        return "won"

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """The new index is empty, whenever the upsert came."""
        ref = store.get_index(scope, place, 1)
        rows = len(store.scan(scope, ref).rows)
        return f"an upsert left {rows} rows in an index that was made after it" if rows else ""


@attrs.frozen
class UpsertBeside(Alone):
    """Upserts of two rows."""

    capabilities: Any
    about = "beside"
    title = "upserts of two rows"

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """The index."""
        store.create_index(scope, _shape("main", self.capabilities))

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """Its reference."""
        return store.get_index(scope, "main", 1)

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Write one of them."""
        return outcome(lambda: store.upsert(scope, known, _rows(f"{place}-{side}")))

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """Both are there, and found."""
        ref = store.get_index(scope, "main", 1)
        names = [f"{place}-{side}" for side in (0, 1) if answers[side] == "won"]
        held = [row.id for row in store.get(scope, ref, names) if row is not None]
        page = store.scan(scope, ref, after=f"{place}-", limit=2)
        listed = [row.id for row in page.rows if row.id.startswith(f"{place}-")]
        right = listed == held == names
        return "" if right else f"of the upserts of {names} in {scope} {listed} is found"


class UpsertRefused(UpsertBeside):
    """An upsert into an index that was dropped."""

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """The reference, which is good for nothing."""
        ref = store.create_index(scope, _shape("dropped", self.capabilities))
        store.drop_index(scope, ref)
        return ref

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Write one of them."""
        return outcome(
            lambda: store.upsert(scope, known, _rows(f"{place}-{side}")),
            StaleReferenceError,
            NotFoundError,
        )
