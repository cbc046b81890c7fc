"""Running the suite over one backend, and saying what a requirement is."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from nexus_contracts._catalogue import catalogue
from nexus_contracts._engine import DEFAULT_SEED, run_all
from nexus_contracts._harness import BackendHarness
from nexus_contracts._report import Report, report_of
from nexus_contracts._requirements import Profile, Requirement
from nexus_contracts._verdict import Outcome

Deviations = Mapping[str, str] | Path | None


def run(
    harness: BackendHarness,
    *,
    profile: Profile | str = Profile.CORE,
    seed: int = DEFAULT_SEED,
    only: Collection[str] | None = None,
    deviations: Deviations = None,
    progress: Callable[[Outcome], None] | None = None,
    reproduce: str | None = None,
) -> Report:
    """Run every requirement of the backend's role, and report. Blocks, for some seconds or more.

    Works in fresh temporary folders, each removed again. Whatever the backend raises becomes a
    status of the report; raised are only ``KeyboardInterrupt``, and ``ValueError`` for arguments
    that make no sense. ``only`` names the requirements to run; the rest is listed as not run, and
    the verdict is incomplete. ``deviations`` gives a reason for each requirement that is known not
    to hold, or a TOML file with a table ``deviations``. ``progress`` is told each outcome.
    ``reproduce`` is the command that repeats the run, as the report states it.
    """
    wanted = Profile(profile)
    known = read_deviations(deviations, harness)
    unknown = sorted(set(only or ()) - ids_of(harness))
    if unknown:
        raise ValueError(f"not requirements of the role {harness.spec.role}: {', '.join(unknown)}")
    outcomes = run_all(
        harness, profile=wanted, seed=seed, only=only, deviations=known, progress=progress
    )
    return report_of(
        harness,
        outcomes,
        profile=wanted,
        seed=seed,
        deviations=known,
        reproduce=reproduce or _call(wanted, seed, only),
    )


def ids_of(harness: BackendHarness) -> set[str]:
    """The ids of every requirement of the backend's role."""
    return {each.id for each in catalogue() if each.role is harness.spec.role}


def read_deviations(given: Deviations, harness: BackendHarness) -> Mapping[str, str]:
    """Reasons by requirement id; raises ``ValueError`` for what is no requirement, or no reason."""
    if given is None:
        return {}
    found: Any = given
    if isinstance(given, Path):
        document = tomllib.loads(given.read_text(encoding="utf-8"))
        found = document.get("deviations")
        if set(document) != {"deviations"} or not isinstance(found, dict):
            raise ValueError("a file of deviations has one table, [deviations], and nothing else")
    for name, reason in found.items():
        if name not in ids_of(harness):
            raise ValueError(f"{name} is no requirement of the role {harness.spec.role}")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"the deviation from {name} needs a reason in words")
    return dict(found)


def explain(requirement_id: str) -> str:
    """What a requirement asks, how binding it is, and why it is there, as text.

    Raises ``ValueError`` for an id that the catalogue does not have.
    """
    found = {each.id: each for each in catalogue()}.get(requirement_id.upper())
    if found is None:
        raise ValueError(f"the catalogue has no requirement {requirement_id}")
    return "\n".join([f"{found.id}  {found.sentence}", "", *_binding(found), "", found.rationale])


def _binding(requirement: Requirement) -> list[str]:
    lines = [f"role: {requirement.role}", f"level: {requirement.level}"]
    lines.append(f"profile: {requirement.profile}, since {requirement.since}")
    if requirement.capability is not None:
        lines.append(
            f"capability: {requirement.capability}; where it is not declared, the core must refuse"
        )
    if requirement.reason is not None:
        lines.append(f"not tested, because {requirement.reason}")
    if requirement.absolute:
        lines.append("no deviation from it is ever allowed")
    return lines


def _call(profile: Profile, seed: int, only: Collection[str] | None) -> str:
    chosen = "" if only is None else f", only={sorted(only)!r}"
    return f"nexus_contracts.run(harness, profile={profile.value!r}, seed={seed}{chosen})"
