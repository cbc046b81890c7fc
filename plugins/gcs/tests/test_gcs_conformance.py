"""The store is conformant on a Google Cloud Storage of our own, on both transports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from nexus_contracts import BackendHarness, Report


@pytest.mark.whole
def test_gcs_is_conformant(
    gcs: Mapping[str, Any],
    gcs_harness: Callable[..., BackendHarness],
    transport: str,
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies to a raw store was run, holds, and nothing was left out."""
    name = "gcs" if transport == "sdk" else f"gcs-{transport}"
    report = conformant(gcs_harness(gcs, transport=transport), name)
    assert report.versions.plugin == "nexus-gcs"
    assert str(gcs["port"]) not in report.to_json()
