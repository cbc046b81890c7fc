"""Duels of atom stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._duel import Alone, Answers, mark, one_wins, outcome
from nexus_core import Scope
from nexus_core.spi import (
    AlreadyExistsError,
    Insert,
    PreconditionFailedError,
    Record,
    Remove,
    Replace,
    Require,
)


def _record(name: str, side: int | str = "", version: int = 1) -> Record:
    from nexus_contracts._checks.atoms import record

    return record(name, version=version, body=f"side {side}".encode())


def _held(store: Any, scope: Scope, name: str) -> Any:
    return store.get(scope, "atoms", [name])[0]


@attrs.frozen
class Commit(Alone):
    """Two commits of which one can stand. ``operations(place, side)`` are a commit's; ``left`` is
    what they leave: bodies by id, for each winner."""

    about: str
    title: str
    operations: Callable[[str, int], Sequence[Any]]
    left: Callable[[str, int], dict[str, Any]]
    given: int = 0
    symmetric: bool = True

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """The record of a first version, where one is needed."""
        if self.given:
            store.commit(scope, [Insert(_record(place))])

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Commit; whoever may keep what is there has lost if it did."""
        changed: list[bool] = []
        said = outcome(
            lambda: changed.extend(store.commit(scope, self.operations(place, side))),
            AlreadyExistsError,
            PreconditionFailedError,
        )
        return said if any(changed) else "lost"

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """One commit, and its effect."""
        if bad := one_wins(answers):
            return bad
        wanted = self.left(place, answers.index("won"))
        held = {name: getattr(_held(store, scope, name), "body", None) for name in wanted}
        return "" if held == wanted else "the records are not those of the winner"


def _body(side: int) -> bytes:
    return f"side {side}".encode()


def _skew(place: str, side: int) -> Sequence[Any]:
    if side == 0:
        return [Require("atoms", place), Insert(_record(f"{place}-child", side))]
    return [Require("atoms", f"{place}-child", present=False), Remove("atoms", place)]


COMMITS: Final = (
    Commit(
        "insert",
        "Insert of one id",
        lambda place, side: [Insert(_record(place, side))],
        lambda place, side: {place: _body(side)},
    ),
    Commit(
        "insert",
        "Insert(keep) of one id",
        lambda place, side: [Insert(_record(place, side), "keep")],
        lambda place, side: {place: _body(side)},
    ),
    Commit(
        "replace",
        "Replace of one version",
        lambda place, side: [Replace(_record(place, side, 2))],
        lambda place, side: {place: _body(side)},
        given=1,
    ),
    Commit(
        "remove",
        "Remove and Replace of one version",
        lambda place, side: (
            [Replace(_record(place, side, 2))] if side == 0 else [Remove("atoms", place, 1)]
        ),
        lambda place, side: {place: _body(0) if side == 0 else None},
        given=1,
        symmetric=False,
    ),
    Commit(
        "require",
        "Require(parent) with an Insert of a child, and Require(no child) with a Remove of it",
        _skew,
        lambda place, side: {
            place: _body_of_parent() if side == 0 else None,
            f"{place}-child": _body(0) if side == 0 else None,
        },
        given=1,
        symmetric=False,
    ),
)


def _body_of_parent() -> bytes:
    return b"side "


class CommitBeside(Alone):
    """Commits of two ids."""

    about = "beside"
    title = "commits of two ids"

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Insert one of them."""
        mine = _record(f"{place}-{side}", mark(scope, side))
        return outcome(lambda: store.commit(scope, [Insert(mine)]))

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """Both are there, and found."""
        won = [side for side in (0, 1) if answers[side] == "won"]
        names = [f"{place}-{side}" for side in won]
        bodies = [getattr(_held(store, scope, name), "body", None) for name in names]
        page = store.query(scope, "atoms", None, after=f"{place}-", limit=2)
        listed = [each.id for each in page.records if each.id.startswith(f"{place}-")]
        wanted = [f"side {mark(scope, side)}".encode() for side in won]
        right = (listed, bodies) == (names, wanted)
        return "" if right else f"of the inserts of {names} in {scope} {listed} is found"


class CommitRefused(CommitBeside):
    """A commit that is refused for its last operation."""

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Insert one of them, with what cannot be."""
        mine = Insert(_record(f"{place}-{side}", mark(scope, side)))
        need = Require("atoms", "absent")
        return outcome(lambda: store.commit(scope, [mine, need]), PreconditionFailedError)
