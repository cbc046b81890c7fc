"""The store is conformant on a Google Cloud Storage of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nexus_contracts import BackendHarness, Report


def test_gcs_is_conformant(
    gcs: Mapping[str, Any],
    gcs_harness: Callable[[Mapping[str, Any]], BackendHarness],
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies to a raw store was run, holds, and nothing was left out."""
    report = conformant(gcs_harness(gcs), "gcs")
    assert report.versions.plugin == "nexus-gcs"
    assert str(gcs["port"]) not in report.to_json()
