"""The distribution is what its metadata says."""

from __future__ import annotations

from importlib.metadata import metadata, version
from pathlib import Path

import nexus_contracts


def test_version_agrees_with_metadata() -> None:
    """The module and its installed distribution state the same version."""
    assert nexus_contracts.__version__ == version("nexus-contracts")


def test_is_typed_and_licensed() -> None:
    """The package ships its typing marker, and its metadata states the licence."""
    assert (Path(nexus_contracts.__path__[0]) / "py.typed").is_file()
    assert metadata("nexus-contracts")["License-Expression"] == "Apache-2.0"
