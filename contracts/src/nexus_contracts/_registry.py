"""Which check tests which requirement: a bijection, held by a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexus_contracts._bench import Bench

Check = Callable[["Bench"], None]

_CHECKS: dict[str, Check] = {}


def check(requirement_id: str) -> Callable[[Check], Check]:
    """Register the function that tests a requirement. It raises ``Violation`` or returns."""

    def register(function: Check) -> Check:
        if requirement_id in _CHECKS:
            raise ValueError(f"{requirement_id} has two checks")
        _CHECKS[requirement_id] = function
        return function

    return register


def checks() -> Mapping[str, Check]:
    """Every registered check by requirement id."""
    from nexus_contracts import _checks

    _checks.load()
    return dict(_CHECKS)
