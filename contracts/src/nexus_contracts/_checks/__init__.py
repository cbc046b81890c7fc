"""The checks, one function for each requirement. Loaded when they are first needed."""

from __future__ import annotations

import importlib
from functools import cache

_MODULES = (
    "raw",
    "raw_isolation",
    "raw_locks",
    "raw_signed",
    "raw_versions",
    "atoms",
    "atoms_isolation",
    "sizes_atoms",
    "vectors",
    "vectors_rows",
    "vectors_isolation",
    "sizes_vectors",
    "sizes_vectors_isolation",
    "vectors_states",
    "audit",
    "audit_isolation",
    "common",
    "models",
    "matching",
    "names",
    "pages",
    "survey_atoms",
    "survey_audit",
    "survey_raw",
    "survey_vectors",
    "at_once",
    "canaries",
    "sizes_raw",
    "sizes_raw_isolation",
    "sizes_audit",
    "crashes",
    "halves",
    "duels",
    "overlaps",
    "faults",
    "places",
    "odd_places",
    "refused",
    "remembered",
    "hashed",
    "crossings",
    "damaged",
    "streams",
    "hurt",
    "held_files",
)


@cache
def load() -> None:
    """Import every module of checks, once; importing is what registers them."""
    for name in _MODULES:
        importlib.import_module(f"nexus_contracts._checks.{name}")
