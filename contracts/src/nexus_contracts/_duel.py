"""Duels: two calls that are made of one thing at one moment, and what may come of them.

The suite and the processes that it starts share them. A duel is prepared in a place of its own (a
key, an id, an index, a scope); each side gets ready, which may read; then each acts, and says
whether it won or lost. ``wrong`` is told both answers, and looks at what the store holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from nexus_core import Scope

SCOPE: Final = Scope("t1", "dev")
Answers = tuple[str, str]


class Duel(Protocol):
    """Two calls of one thing."""

    @property
    def about(self) -> str:
        """Its kind."""

    @property
    def title(self) -> str:
        """What is told of it."""

    @property
    def symmetric(self) -> bool:
        """Whether both sides make the same call."""

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """Make what the sides fight for."""

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """What a side has to know before."""

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Make the call; ``"won"`` or ``"lost"``."""

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """What is not as it must be, or nothing."""


def outcome(call: Callable[[], object], *lost: type[Exception]) -> str:
    """Make a call that may lose in these ways."""
    try:
        call()
    except lost:
        return "lost"
    return "won"


def one_wins(answers: Answers) -> str:
    """That exactly one of two won."""
    won = answers.count("won")
    return "" if won == 1 else f"{('none', 'one', 'both')[won]} of 2 racing calls won"


class Alone:
    """What most duels have in common: nothing to prepare, nothing to know."""

    @property
    def symmetric(self) -> bool:
        """It is."""
        return True

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """Nothing."""

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """Nothing."""


def mark(scope: Scope, side: int) -> str:
    """What tells whose a value is."""
    return f"{scope.tenant_id} {side}"
