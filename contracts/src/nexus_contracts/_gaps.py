"""What a harness does not supply: a requirement that could not be tested is never a pass.

Three requirements stand on what the plugin's author gives: a place to provision, settings that are
broken, a store that can be opened again. Where that is not given the requirement was not run, and
the verdict is incomplete. Only memory has nothing to give, and only a store that is declared
ephemeral may keep nothing.
"""

from __future__ import annotations

from typing import Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._requirements import Requirement
from nexus_contracts._verdict import Status
from nexus_core.spi import Durability

PROVISION: Final = ("CFG", 2)
BROKEN: Final = ("CFG", 3)
REOPEN: Final = ("DUR", 1)


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
    if kind == PROVISION and harness.spec.provision is None:
        return Gap(bare, "the spec has no provision, so that no place can be found bare")
    if kind == BROKEN and not (
        harness.broken_settings is not None and harness.broken_settings(bench.namespace())
    ):
        return Gap(bare, "the harness names no broken_settings")
    if kind == REOPEN and not harness.survives_reopen:
        if harness.spec.durability is Durability.EPHEMERAL:
            return Gap(Status.REFUSED, "the store is declared ephemeral: it promises nothing")
        return Gap(
            Status.NOT_RUN, "the harness says that nothing survives; the spec does not say so"
        )
    return None


def may_be_refused(
    requirement: Requirement, *, declared: bool, memory: bool, ephemeral: bool
) -> bool:
    """Whether a report may say that a requirement does not apply to what was declared.

    ``declared`` is whether the capability that it depends on is.
    """
    if requirement.capability is not None and not declared:
        return True
    kind = kind_of(requirement)
    return (memory and kind in (PROVISION, BROKEN)) or (ephemeral and kind == REOPEN)
