"""What a harness does not supply: a requirement that could not be tested is never a pass.

Some requirements stand on what the plugin's author gives: a place to provision, settings that are
broken, a store that can be opened again and by another process, a way below the interface, faults.
Where that is not given the requirement was not run, and the verdict is incomplete. Only memory has
nothing to give, and only a store that is declared ephemeral may keep nothing.
"""

from __future__ import annotations

from typing import Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._catalogue.remembered import REMEMBERED
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._processes import portable
from nexus_contracts._requirements import Requirement
from nexus_contracts._verdict import Status
from nexus_core.spi import Durability

PROVISION: Final = ("CFG", 2)
BROKEN: Final = ("CFG", 3)
REOPEN: Final = ("DUR", 1)
PROCESS: Final = (("DUR", 2), ("DUR", 3), ("DUR", 4), ("DUR", 5))
# What goes by other calls than erase is looked for in the same way.
BELOW: Final = ("RAW-066", "ATOM-066", "VEC-066", "AUD-045")
ERASED: Final = frozenset((*(each.erased for each in IDS.values()), *BELOW))
GONE: Final = frozenset(each.gone for each in PLACED.values())
DAMAGED: Final = frozenset(each.damaged for each in PLACED.values())
PLACES: Final = (
    GONE
    | DAMAGED
    | {name for each in PLACED.values() for name in (each.bare, each.again, each.odd)}
)
# Openings in one process are tried also where no other process can import the factory.
TWICE: Final = frozenset(REMEMBERED.values())
FAULTS: Final = frozenset(each.faults for each in IDS.values())


@attrs.frozen
class Gap:
    """What becomes of a requirement that the harness leaves nothing to test with, and why."""

    status: Status
    why: str


def kind_of(requirement: Requirement) -> tuple[str, int]:
    """The area and the last two digits: the same for all roles where they share a check."""
    return requirement.area, int(requirement.id[-2:])


def gap(bench: Bench, requirement: Requirement) -> Gap | None:
    """The gap that keeps a requirement from being tested, or ``None``."""
    harness, kind = bench.harness, kind_of(requirement)
    bare = Status.REFUSED if harness.reality == "memory" else Status.NOT_RUN
    if (kind == PROVISION or requirement.id in PLACES) and harness.spec.provision is None:
        return Gap(bare, "the spec has no provision, so that no place can be found bare")
    if requirement.id in GONE and not harness.removes(bench.namespace()):
        return Gap(
            bare, "the harness has no remove, nor a FolderBackDoor, so that no place can vanish"
        )
    if kind == BROKEN and not (
        harness.broken_settings is not None and harness.broken_settings(bench.namespace())
    ):
        return Gap(bare, "the harness names no broken_settings")
    if (kind == REOPEN or requirement.id in TWICE) and not harness.survives_reopen:
        if harness.spec.durability is Durability.EPHEMERAL:
            return Gap(Status.REFUSED, "the store is declared ephemeral: it promises nothing")
        return Gap(
            Status.NOT_RUN, "the harness says that nothing survives; the spec does not say so"
        )
    if kind in PROCESS:
        return _of_processes(bench)
    if requirement.id in DAMAGED and harness.back_door is None:
        return Gap(bare, "the harness has no back_door, so that nothing can be damaged")
    if requirement.id in ERASED and harness.back_door is None:
        return Gap(
            bare, "the harness has no back_door, so that nobody sees what is left below the store"
        )
    if requirement.id in FAULTS and harness.faults is None:
        return Gap(bare, "the harness has no faults, so that nothing can be made to fail")
    return None


def _of_processes(bench: Bench) -> Gap | None:
    harness = bench.harness
    if harness.spec.durability is Durability.EPHEMERAL:
        return Gap(Status.REFUSED, "the store is declared ephemeral: it promises nothing")
    why = portable(harness, harness.settings(bench.namespace()))
    return None if why is None else Gap(Status.NOT_RUN, why)


def may_be_refused(
    requirement: Requirement, *, declared: bool, memory: bool, ephemeral: bool
) -> bool:
    """Whether a report may say that a requirement does not apply to what was declared.

    ``declared`` is whether the capability that it depends on is.
    """
    if requirement.capability is not None and not declared:
        return True
    kind = kind_of(requirement)
    if memory and (kind in (PROVISION, BROKEN) or requirement.id in ERASED | FAULTS | PLACES):
        return True
    return ephemeral and (kind == REOPEN or kind in PROCESS or requirement.id in TWICE)
