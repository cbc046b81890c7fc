"""The engine: which requirements apply, what becomes of each, and nothing skipped in silence."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from nexus_contracts._bench import EFFORT, Bench, Indeterminate, Violation
from nexus_contracts._catalogue import catalogue
from nexus_contracts._gaps import gap
from nexus_contracts._harness import BackendHarness
from nexus_contracts._inverse import run_inverse
from nexus_contracts._processes import Unreachable
from nexus_contracts._registry import checks
from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_contracts._verdict import Outcome, Status
from nexus_core import NexusError

DEFAULT_SEED: Final = 20_260_101

_OWN: Final = Path(__file__).parent
_SUBJECTS: Final = (_OWN / "memory", _OWN / "zoo")
_CHECKS: Final = _OWN / "_checks"
# What checks use to ask a backend.
_HELPERS: Final = ("_work.py", "_twins.py", "_models.py")
# What reading too little, or something else, out of a well-typed answer raises.
_UNUSABLE: Final = (LookupError, StopIteration, ValueError)


def applicable(harness: BackendHarness, profile: Profile) -> list[Requirement]:
    """The requirements of the backend's role in a profile, in order of id."""
    return [
        requirement
        for requirement in catalogue()
        if requirement.role is harness.spec.role
        and (profile is Profile.EXTENDED or requirement.profile is Profile.CORE)
    ]


def declared(harness: BackendHarness, capability: str) -> bool:
    """Whether the spec declares a capability: ``flag``, or ``set:member``."""
    name, _, member = capability.partition(":")
    value = getattr(harness.spec.capabilities, name)
    return member in value if member else bool(value)


def run_one(
    harness: BackendHarness,
    requirement: Requirement,
    *,
    seed: int = DEFAULT_SEED,
    profile: Profile = Profile.CORE,
    deviations: Mapping[str, str] | None = None,
    effort: int = EFFORT,
) -> Outcome:
    """Test one requirement. Never raises, except for an interrupt.

    About ``effort`` calls are made to find a smaller schedule that shows a failure.
    """
    if requirement.level is Level.UNTESTED:
        return Outcome(
            requirement=requirement, status=Status.UNTESTED, message=requirement.reason or ""
        )
    began = time.perf_counter()
    bench = Bench(harness, seed, profile, effort)
    inverse = requirement.capability is not None and not declared(harness, requirement.capability)
    try:
        missing = gap(bench, requirement)
        if missing is not None:
            status, message = missing.status, missing.why
        elif inverse:
            run_inverse(bench, str(requirement.capability))
            status, message = Status.REFUSED, f"{requirement.capability} is not declared"
        else:
            checks()[requirement.id](bench)
            status, message = Status.PASSED, ""
    except Violation as violation:
        status, message = Status.FAILED, _with_call(str(violation), bench)
    except Indeterminate as why:
        status, message = Status.INDETERMINATE, str(why)
    except Unreachable as why:
        status, message = Status.NOT_RUN, str(why)
    except NexusError as error:
        status = Status.FAILED
        message = _with_call(
            f"the backend raised {type(error).__name__} ({error.code}): {error.message}", bench
        )
    except KeyboardInterrupt:
        bench.close()
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit and a test's skip too; see _blame
        status, message = _blame(error, bench)
    try:
        bench.close()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # closing is the backend's own code too
        said = f"close raised {type(error).__name__}"
        # What went wrong before is the cause, and stays in front.
        message = f"{message}\n  and {said}" if status is Status.FAILED else said
        status = Status.FAILED
    reason = (deviations or {}).get(requirement.id)
    if reason is not None and status in (Status.FAILED, Status.PASSED):
        status, message = _deviating(requirement, status, message, reason)
    return Outcome(
        requirement=requirement,
        status=status,
        message=message,
        seconds=time.perf_counter() - began,
        figures=bench.figures,
    )


def _with_call(message: str, bench: Bench) -> str:
    if bench.trail.broken is not None and str(bench.trail.broken) not in message:
        # The core stood between, and told the check nothing but that something was amiss.
        message = f"{bench.trail.broken}\n  through the core: {message}"
    words = bench.trail.words()
    return f"{message}\n  last call: {words}" if words else message


def _blame(error: BaseException, bench: Bench) -> tuple[Status, str]:
    """Whose fault an exception is that no check expected: the backend's, or the suite's own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    path = Path(last.filename)
    kind, where = type(error).__name__, f"{path.name}:{last.lineno}"
    if bench.trail.broken is not None:
        return Status.FAILED, _with_call(f"it met a {kind}", bench)
    ours = path.is_relative_to(_OWN) and not any(path.is_relative_to(s) for s in _SUBJECTS)
    if error is bench.trail.escaped or not ours:
        who = bench.trail.method if error is bench.trail.escaped else "the backend"
        message = f"{who} raised {kind} at {where}, which is outside the error tree"
        return Status.FAILED, _with_call(message, bench)
    checking = path.is_relative_to(_CHECKS) or path.name in _HELPERS
    if bench.trail.method and checking and isinstance(error, _UNUSABLE):
        # Every type is right by then; what a check trips over is what is in the answer.
        message = f"an answer lacks what was asked for: using it, {where} met a {kind}"
        return Status.FAILED, _with_call(message, bench)
    return Status.ERROR, f"the suite itself failed with {kind} at {where}"


def _deviating(
    requirement: Requirement, status: Status, message: str, reason: str
) -> tuple[Status, str]:
    if requirement.absolute:
        return (
            Status.FAILED,
            f"no deviation is allowed from {requirement.area}: {message or reason}",
        )
    if status is Status.PASSED:
        return Status.FAILED, f"declared as a deviation ({reason}), but it holds: strike it out"
    return Status.DEVIATES, f"{reason}: {message}"


def run_all(
    harness: BackendHarness,
    *,
    profile: Profile = Profile.CORE,
    seed: int = DEFAULT_SEED,
    only: Collection[str] | None = None,
    deviations: Mapping[str, str] | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> Sequence[Outcome]:
    """Test every applicable requirement; those outside ``only`` are listed as not run."""
    outcomes: list[Outcome] = []
    for requirement in applicable(harness, profile):
        if only is not None and requirement.id not in only:
            outcome = Outcome(
                requirement=requirement, status=Status.NOT_RUN, message="it was deselected"
            )
        else:
            outcome = run_one(
                harness, requirement, seed=seed, profile=profile, deviations=deviations
            )
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome)
    return outcomes
