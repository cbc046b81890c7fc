"""From the status of each requirement to one verdict."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import attrs

from nexus_contracts._harness import Reality
from nexus_contracts._requirements import Level, Requirement


class Status(enum.StrEnum):
    """What became of one requirement."""

    PASSED = "passed"
    REFUSED = "refused"
    FAILED = "failed"
    DEVIATES = "deviates"
    INDETERMINATE = "indeterminate"
    UNTESTED = "untested"
    NOT_RUN = "not_run"
    ERROR = "error"


class Verdict(enum.StrEnum):
    """What a run says of a backend."""

    CONFORMANT = "CONFORMANT"
    CONFORMANT_EMULATOR = "CONFORMANT (emulator)"
    CONFORMANT_MEMORY = "CONFORMANT (memory)"
    PARTIAL = "PARTIAL"
    NOT_CONFORMANT = "NOT CONFORMANT"
    INCOMPLETE = "INCOMPLETE"
    ERROR = "ERROR"


@attrs.frozen(kw_only=True)
class Outcome:
    """One requirement's status, what was seen, how long it took (seconds), and its figures."""

    requirement: Requirement
    status: Status
    message: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = attrs.field(factory=dict)


def verdict_of(outcomes: Sequence[Outcome], reality: Reality) -> Verdict:
    """The verdict: the worst thing that happened, and never better than what was run.

    A suite at fault is ERROR; a broken MUST, SHOULD notwithstanding, is NOT CONFORMANT; anything
    skipped or indeterminate is INCOMPLETE; a declared deviation or a broken SHOULD is PARTIAL.
    """
    if not outcomes:
        return Verdict.INCOMPLETE
    statuses = [outcome.status for outcome in outcomes]
    if Status.ERROR in statuses:
        return Verdict.ERROR
    failed = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    if any(outcome.requirement.level is not Level.SHOULD for outcome in failed):
        return Verdict.NOT_CONFORMANT
    if Status.NOT_RUN in statuses or Status.INDETERMINATE in statuses:
        return Verdict.INCOMPLETE
    if failed or Status.DEVIATES in statuses:
        return Verdict.PARTIAL
    return {
        "real": Verdict.CONFORMANT,
        "emulator": Verdict.CONFORMANT_EMULATOR,
        "memory": Verdict.CONFORMANT_MEMORY,
    }[reality]
