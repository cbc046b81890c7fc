"""A survey: every form of every call, asked among scopes that hold the same ids with other values.

Random schedules meet few of the pairs of a call's form and a neighbour's state; a survey goes
through the forms one by one. Each role writes its own *land*; the order of events, in which one
subject acts before all others and one after them, stands here.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import attrs

from nexus_contracts._bench import Bench, Indeterminate
from nexus_contracts._twins import OPEN_AGAIN, Call, Perform, interference, named
from nexus_core import Scope

_LONG: Final = "a" * 62
# One number to a careless column, one name where names are cut, one tenant where `env` is lost.
SCOPES: Final = (
    Scope(_LONG + "a", "dev"),
    Scope(_LONG + "a", "prod"),
    Scope(_LONG + "a", "staging"),
    Scope(_LONG + "b", "dev"),
    Scope("1e1", "dev"),
    Scope("010", "dev"),
    Scope("010", "prod"),
    Scope("10", "dev"),
    Scope("10", "prod"),
    Scope("10", "staging"),
)
# One of each environment, before all others, among them and after them.
SUBJECTS: Final = (SCOPES[0], SCOPES[6], SCOPES[-1])
# Two subjects' tenants in another environment: they do what there is to do most thoroughly.
SIBLINGS: Final = (SCOPES[1], SCOPES[8])
BULKY: Final = SCOPES[7]
# One word to whoever folds case.
WORDS: Final = ("Word", "word", "WORD")


@attrs.define
class Script:
    """A schedule being written: calls in the order in which they will be made."""

    calls: list[Call] = attrs.field(factory=list)

    def add(self, scope: Scope, method: str, *args: Any, **options: Any) -> int:
        """Add a call; returns its number, for references to what it will return."""
        self.calls.append(Call(scope, method, args, options))
        return len(self.calls) - 1


class Land(Protocol):
    """What one role's scopes hold, and everything that can be asked of them and done to them.

    ``place`` is the scope's among ``SCOPES``; by it, values differ under the same ids.
    """

    def load(self, script: Script, place: int, scope: Scope, turn: int = 0) -> None:
        """Fill the scope: ids that all have, with values of its own, and ids that it alone has.

        In another turn the values are others again.
        """

    def bulk(self, script: Script, scope: Scope) -> None:
        """Fill it with much more than any other has."""

    def ask(self, script: Script, place: int, scope: Scope) -> None:
        """Every form of every read, over the ids of all scopes."""

    def change(self, script: Script, place: int, scope: Scope) -> None:
        """Forms of every write, over the ids of all scopes; refused ones too."""

    def ravage(self, script: Script, place: int, scope: Scope) -> None:
        """Every form of deletion, and the end of the scope."""


def survey(bench: Bench, land: Land, how: Perform) -> None:
    """Write the schedule, and run it for the eyes of each subject."""
    script = Script()
    places = list(enumerate(SCOPES))
    subjects = [(place, scope) for place, scope in places if scope in SUBJECTS]
    for place, scope in places:
        land.load(script, place, scope)
    land.bulk(script, BULKY)
    for place, scope in places:
        # Also by neighbours: an answer that is kept for the wrong scope was somebody's first.
        if scope in (*SUBJECTS, *SIBLINGS):
            land.ask(script, place, scope)
    for place, scope in places:
        land.change(script, place, scope)
        if scope in SIBLINGS:
            land.ravage(script, place, scope)
            for _ in range(3):  # the last of them finds nothing, whatever came before
                script.add(scope, "erase")
    if bench.harness.survives_reopen:
        for scope in SUBJECTS:
            script.add(scope, OPEN_AGAIN)
    for place, scope in subjects:
        land.ask(script, place, scope)
    # Whoever comes back after the end begins anew.
    for place, scope in subjects:
        script.add(scope, "erase")
        script.add(scope, "erase")
        land.load(script, place, scope, turn=1)
    for place, scope in subjects:
        land.ask(script, place, scope)
    for subject in SUBJECTS:
        alone = interference(bench, script.calls, subject, how=how)
        if all(number in alone.raised for number, _ in alone.answers):
            raise Indeterminate(
                f"every call of {named(subject)} raised, so that nothing can be said; the harness "
                "of a backend that has to know its tenants names all of nexus_contracts.TENANTS"
            )
