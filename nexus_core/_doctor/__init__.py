"""The doctor: look at everything without writing; only then write, to prove that scopes are apart.

``examine`` takes the same steps as ``open`` and goes on where that would stop. ``prove_stores``
asks backends what only a write can tell of their endpoints, and keeps it. ``probe`` writes in
the two reserved probe tenants alone, and erases them again.
"""

from __future__ import annotations

from nexus_core._doctor.examine import Examination, examine
from nexus_core._doctor.probe import probe
from nexus_core._doctor.proofs import prove_stores
from nexus_core._doctor.report import Check

__all__ = ["Check", "Examination", "examine", "probe", "prove_stores"]
