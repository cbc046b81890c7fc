"""Whether a report says what its own lines say, and leaves nothing out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from nexus_contracts._catalogue import catalogue, catalogue_hash
from nexus_contracts._gaps import may_be_refused
from nexus_contracts._report import InvalidReportError, Line, Report, digest_of
from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_contracts._verdict import Outcome, Status, Verdict, verdict_of
from nexus_core.spi import Durability


def verify_report(data: str | Mapping[str, Any]) -> Report:
    """Read a report and hold it against the catalogue of this suite and against itself.

    Every applicable requirement must be there once, with a status that it can have, and the verdict
    must be the one that follows. Raises ``InvalidReportError`` with everything that is wrong. It is
    no proof of origin: a report says what somebody's run said, and its ``reproduce`` repeats it.
    """
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            raise InvalidReportError(["it is not JSON"]) from None
    report = Report.from_data(data)
    assert isinstance(data, Mapping)
    problems = list(_problems(report))
    if data.get("digest") != digest_of(data):
        problems.append("its digest is not that of its content: it was changed after it was made")
    if problems:
        raise InvalidReportError(problems)
    return report


def _problems(report: Report) -> Iterator[str]:
    if report.catalogue != catalogue_hash():
        yield (
            f"it was made with another catalogue (suite {report.versions.suite}); "
            "verify it with that version of the suite"
        )
        return
    wanted = {
        requirement.id: requirement
        for requirement in catalogue()
        if requirement.role is report.backend.role
        and (report.profile is Profile.EXTENDED or requirement.profile is Profile.CORE)
    }
    counted = Counter(line.id for line in report.requirements)
    for name in sorted(wanted.keys() - counted.keys()):
        yield f"{name} is missing"
    for name in sorted(counted.keys() - wanted.keys()):
        yield f"{name} does not apply to {report.backend.role} in the profile {report.profile}"
    for name in sorted(name for name, times in counted.items() if times > 1):
        yield f"{name} is there {counted[name]} times"
    known = [line for line in report.requirements if line.id in wanted]
    for line in known:
        yield from _line_problems(report, line, wanted[line.id])
    outcomes = [
        Outcome(requirement=wanted[line.id], status=line.status, message=line.message)
        for line in known
    ]
    verdict = verdict_of(outcomes, report.backend.reality)
    if counted.keys() != wanted.keys() and verdict is not Verdict.ERROR:
        return
    if verdict is not report.verdict:
        yield f"it says {report.verdict}, but what it lists is {verdict}"


def _line_problems(report: Report, line: Line, requirement: Requirement) -> Iterator[str]:
    if (line.level, line.sentence) != (requirement.level, requirement.sentence):
        yield f"{line.id} is worded or ranked as the catalogue does not"
    untested = requirement.level is Level.UNTESTED
    # A run that was cut down lists what it left out, the untested among it.
    if line.status is not Status.NOT_RUN and untested != (line.status is Status.UNTESTED):
        yield f"{line.id} cannot be {line.status}"
    declared = _declared(report, requirement)
    refusable = may_be_refused(
        requirement,
        declared=declared,
        memory=report.backend.reality == "memory",
        ephemeral=report.backend.durability is Durability.EPHEMERAL,
    )
    if line.status is Status.REFUSED and not refusable:
        yield f"{line.id} is said not to apply, but what it depends on is declared"
    if line.status is Status.PASSED and not declared:
        yield f"{line.id} is said to hold, but what it depends on is not declared"
    if line.status is Status.DEVIATES and (
        requirement.absolute or line.id not in report.deviations
    ):
        yield f"{line.id} deviates, which it may not, or for no reason that is given"


def _declared(report: Report, requirement: Requirement) -> bool:
    if requirement.capability is None:
        return True
    name, _, member = requirement.capability.partition(":")
    value = report.backend.capabilities.get(name)
    if member:
        return isinstance(value, str | list) and member in value
    return bool(value)
