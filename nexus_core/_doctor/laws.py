"""The laws of one store, and the twins that are used to try them.

A law that does not hold is one of two things. A *leak* is something seen of the other tenant. A
*loss* is something missing of one's own, which another doctor that runs at the same time and erases
the probe scopes explains as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

import attrs

from nexus_core._doctor.report import Check
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._model.errors import NexusError, Problem
from nexus_core._nexus import Request

LEAK: Final = "probe.leak"
LOSS: Final = "probe.loss"

_FIXES: Final = {
    LEAK: "take the store out of service and report this to the backend's author",
    LOSS: "see that no other `nexus doctor` is running; if it stays, report it",
}


class BrokenLawError(Exception):
    """A law does not hold; ``code`` says of which kind it is."""

    def __init__(self, what: str, code: str) -> None:
        super().__init__(what)
        self.what = what
        self.code = code


def never(seen: object, what: str) -> None:
    """What must never be seen of the other tenant."""
    if seen:
        raise BrokenLawError(what, LEAK)


def needed(held: object, what: str) -> None:
    """What must be there of one's own."""
    if not held:
        raise BrokenLawError(what, LOSS)


@attrs.frozen(kw_only=True)
class Twin:
    """One of the two probe tenants: its gate, and the public handles over it."""

    gate: Gate
    n: Request


@attrs.frozen(kw_only=True)
class Twins:
    """Both probe tenants in one environment; ``nonce`` marks everything that this probe writes."""

    a: Twin
    b: Twin
    nonce: str
    kind: str

    @property
    def space(self) -> str:
        """The space that this probe writes in."""
        return f"probe-{self.nonce}"


@final
class Laws:
    """Collects the checks of one store in one role."""

    __slots__ = ("_area", "_path", "broken", "checks")

    def __init__(self, env: str, store: OpenStore) -> None:
        self._area = f"{env}/{store.role.value}/{store.name}"
        self._path = f"stores.{store.name}"
        self.checks: list[Check] = []
        self.broken = False

    @contextmanager
    def law(self, law: str) -> Iterator[None]:
        """Try a law inside the block. It holds unless ``never``, ``needed`` or a store raises."""
        problem: Problem | None = None
        try:
            yield
        except BrokenLawError as error:
            problem = self._problem(error.what, _FIXES[error.code], error.code)
        except NexusError as error:
            fix = error.hint or "see the operator's log"
            problem = self._problem(error.message, fix, error.code)
        except Exception as error:  # noqa: BLE001  # erasure calls a backend without the gate
            what = f"the backend failed with {type(error).__name__}"
            problem = self._problem(what, "report it to the backend's author", "store.failed")
        self.broken = self.broken or problem is not None
        self.checks.append(
            Check(area=self._area, law=law, problems=() if problem is None else (problem,))
        )

    def _problem(self, what: str, fix: str, code: str) -> Problem:
        return Problem(path=self._path, what=f"{self._area}: {what}", fix=fix, code=code)


def answer_of(error: NexusError) -> tuple[type[NexusError], str, str]:
    """Everything of an error that a caller can tell two by."""
    return type(error), str(error), error.code
