"""The conformance suite for Nexus storage plugins.

It holds a requirement for each promise of the four store roles, and a check for each requirement
that can be tested. Describe a backend with a ``BackendHarness``; then ``run`` gives a ``Report``
with one verdict, and ``conformance_tests`` makes a pytest test of each requirement. What tests the
suite is ``nexus_contracts.zoo``: faulty backends, each of which the suite must fail.

Names are resolved at first use: pytest imports this package in every run that has it installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nexus_contracts._harness import BackDoor, BackendHarness, FolderBackDoor, Namespace
    from nexus_contracts._report import InvalidReportError, Report
    from nexus_contracts._requirements import Profile
    from nexus_contracts._run import explain, run
    from nexus_contracts._tenants import TENANTS
    from nexus_contracts._tests import conformance_tests
    from nexus_contracts._verdict import Verdict
    from nexus_contracts._verify import verify_report

__all__ = [
    "TENANTS",
    "BackDoor",
    "BackendHarness",
    "FolderBackDoor",
    "InvalidReportError",
    "Namespace",
    "Profile",
    "Report",
    "Verdict",
    "__version__",
    "conformance_tests",
    "explain",
    "run",
    "verify_report",
]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "BackDoor": "_harness",
    "BackendHarness": "_harness",
    "FolderBackDoor": "_harness",
    "InvalidReportError": "_report",
    "Namespace": "_harness",
    "Profile": "_requirements",
    "Report": "_report",
    "TENANTS": "_tenants",
    "Verdict": "_verdict",
    "conformance_tests": "_tests",
    "explain": "_run",
    "run": "_run",
    "verify_report": "_verify",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
