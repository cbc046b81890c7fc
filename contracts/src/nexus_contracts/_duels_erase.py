"""The duel of an erasure and another scope's first write, for every role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from nexus_contracts._bench import SCOPES
from nexus_contracts._duel import SCOPE, Alone, Answers, outcome
from nexus_contracts._kinds import Kinds
from nexus_core import Scope

# Each meeting has a tenant of its own as long as there are any: what a store makes for a tenant it
# makes once. Other duels leave things in their scope.
TENANTS: Final = tuple(
    dict.fromkeys(scope.tenant_id for scope in SCOPES if scope.tenant_id != SCOPE.tenant_id)
)


@attrs.frozen
class EraseBeside(Alone):
    """The erasure of a scope, or the removal of the last that it has, and another's first write.

    The two are of one tenant, or of two.
    Nobody else has anything, so that whatever the two share is there for them alone.
    """

    work: Kinds
    one_tenant: bool
    # Takes the last away, where that is another call than the erasure.
    last: Callable[[Any, Scope], object] | None = None
    about = "erase"
    symmetric = False

    @property
    def title(self) -> str:
        """The calls."""
        whose = "another environment of its tenant" if self.one_tenant else "another tenant"
        what = "erasure of a scope" if self.last is None else "removal of the last in a scope"
        return f"the {what}, and the first write of {whose}"

    def _scopes(self, place: str) -> tuple[Scope, Scope]:
        number = int(place.rpartition("-")[2])
        erased = TENANTS[number % len(TENANTS)]
        if self.one_tenant:
            return Scope(erased, "dev"), Scope(erased, "prod")
        return Scope(erased, "dev"), Scope(TENANTS[(number + 1) % len(TENANTS)], "dev")

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """What is erased."""
        self.work.write(store, self._scopes(place)[0], 0)

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Erase, or write."""
        own = self._scopes(place)[side]
        if side == 1:
            return outcome(lambda: self.work.write(store, own, self.work.turns))
        return outcome(lambda: self.last(store, own) if self.last else store.erase(own))

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """One scope is empty, and the other has its write; then both are empty again."""
        work, (erased, written) = self.work, self._scopes(place)
        empty = work.after({}, work.turns - 1)
        wanted = (empty, work.after(empty, work.turns))
        found = (work.observe(store, erased), work.observe(store, written))
        for each in (erased, written):
            store.erase(each)
        if found[0] != wanted[0]:
            return f"the erased {erased} still has something"
        return "" if found[1] == wanted[1] else f"the first write of {written} is not there whole"
