"""The check that lets what one scope's files lie in fail, and looks at the others.

Which files and folders are a scope's own nobody has to say: it is what the system is asked to
change by that scope's writes, and by no other's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.hurt import HURT
from nexus_contracts._registry import check
from nexus_contracts._work import OTHER, SCOPE, State, Work, told, work_of
from nexus_contracts.faults import Fault, FaultKind, OsFaults
from nexus_core import NexusError, Scope
from nexus_core.spi import StoreError, StoreRole

BESIDE: Final = (Scope(SCOPE.tenant_id, "prod"), OTHER)
# Writes by which it is learnt what is whose: one more than the work has kinds and sizes of.
LEARNT: Final = 8
POINTS: Final = 60
TRIES: Final = 4


@attrs.define
class Ward:
    """A store of which one scope's files are hurt, and what the others have in it.

    ``number`` is the next write's, of every scope.
    """

    bench: Bench
    work: Work
    store: Any
    states: dict[Scope, State] = attrs.field(factory=dict)
    number: int = 0

    def write(self, scope: Scope) -> str:
        """Make the next write of a scope; gives what it raised, if anything."""
        try:
            self.work.write(self.store, scope, self.number)
        except StoreError as error:
            return f"{type(error).__name__} ({error.code})"
        return ""

    def others(self, what: str) -> None:
        """One write of each of the others; they stand, and are all that there is."""
        for scope in BESIDE:
            raised = self.write(scope)
            self.bench.expect(
                not raised,
                f"{what}; a write of {scope} raised {raised}: what is the matter with one scope's "
                "files is no other's, nor is what was left undone for it",
            )
            self.states[scope] = self.work.after(self.states[scope], self.number)
        self.number += 1
        self.look(what)

    def look(self, what: str) -> None:
        """Read the others."""
        for scope in BESIDE:
            try:
                found = self.work.observe(self.store, scope)
            except NexusError as error:
                self.bench.fail(f"{what}; reading {scope} raised {type(error).__name__}")
            self.bench.expect(
                found == self.states[scope],
                f"{what}; {scope} is not as it was written"
                f"\n  expected {told(self.states[scope])}\n  got      {told(found)}",
            )

    def recovers(self, what: str) -> None:
        """The hurt one writes again."""
        raised = ""
        for _ in range(TRIES):
            raised = self.write(SCOPE)
            self.number += 1
            if not raised:
                return
        self.bench.fail(f"{what}; when they were sound again, a write of {SCOPE} raised {raised}")


def hurt_alone(bench: Bench) -> None:
    """Every point of one scope's writes, from which on all that is about its own files fails."""
    faults = OsFaults(bench.harness.settings)
    namespace = bench.provisioned()
    store = bench.open(namespace)
    ward = Ward(bench, work_of(bench.spec.role, bench.spec.capabilities), store)
    own = _own(ward, faults, namespace.path)
    bench.figures["files_of_its_own"] = len(own)
    for scope in BESIDE:
        ward.states[scope] = ward.work.observe(store, scope)
    struck = 0
    for kind in sorted(faults.kinds) if own else ():
        for after in range(POINTS):
            fault = Fault(kind, after=after)
            what = f"what {SCOPE} alone has files in fails: {fault.words()}"
            with faults.inject(fault, within=own) as strikes:
                for _ in range(2):
                    ward.write(SCOPE)
                    ward.others(what)
            ward.recovers(what)
            struck += strikes.count
            if not strikes.count:
                break
    with faults.inject(Fault(FaultKind.IO_ERROR), within=own):
        try:
            store.erase(SCOPE)
        except StoreError:
            bench.figures["erasures_refused"] = 1
        ward.others(f"what {SCOPE} alone has files in fails while it is erased")
    bench.figures["strikes"] = struck


def _own(ward: Ward, faults: OsFaults, root: Path) -> frozenset[Path]:
    """The files and folders below the store's place that only the one scope's writes touch."""
    seen: dict[Scope, set[Path]] = {}
    for scope in (SCOPE, *BESIDE):
        ward.number = 0
        with faults.touched() as seen[scope]:
            ward.work.prepare(ward.store, scope)
            for _ in range(LEARNT):
                ward.work.write(ward.store, scope, ward.number)
                ward.number += 1
    root = root.resolve()
    wide = {
        scope: {each for path in seen[scope] for each in (path, *path.parents)} for scope in seen
    }
    others = set().union(*(wide[scope] for scope in BESIDE))
    return frozenset(path for path in wide[SCOPE] - others if root in path.parents)


for _role in StoreRole:
    check(HURT[_role].alone)(hurt_alone)
