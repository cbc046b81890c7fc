"""What the distribution registers, and what its settings accept."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import nexus_embedded
import pytest
from pydantic import ValidationError

from nexus_core.spi import ALL_FILTER_OPS, Durability, Isolation, StoreRole, VectorCapabilities

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab


def test_the_spec_declares_what_the_other_tests_prove(lab: Lab) -> None:
    """The backend declares exact, stable, atomic, bit-exact vectors in a file for each scope."""
    assert (lab.spec.name, lab.spec.role) == ("embedded", StoreRole.VECTORS)
    assert lab.spec.isolation is Isolation.FILE
    assert lab.spec.durability is Durability.POWER_LOSS
    capabilities = lab.spec.capabilities
    assert isinstance(capabilities, VectorCapabilities)
    assert capabilities.exact
    assert capabilities.stable_ties
    assert capabilities.atomic_batch
    assert capabilities.session_reads
    assert capabilities.round_trip == "bitexact"
    assert capabilities.filter_ops == ALL_FILTER_OPS
    assert capabilities.metrics == {"cosine", "dot", "l2sq"}


def test_the_entry_point_names_the_module_with_the_hook() -> None:
    """The family is registered as ``embedded`` and its module offers the vector store hook."""
    (entry,) = entry_points(group="nexus.plugins", name="embedded")
    assert entry.load() is nexus_embedded
    assert nexus_embedded.__all__ == ["EmbeddedConfig", "nexus_vector_store"]


def test_importing_the_plugin_imports_no_engine() -> None:
    """The module that is imported to read the spec brings neither numpy nor SQLite."""
    code = (
        "import sys, nexus_embedded; nexus_embedded.nexus_vector_store(); "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'sqlite3')))"
    )
    roots = [str(Path(nexus_embedded.__file__).parents[1]), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {roots!r}; {code}"], check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"root": ""},
        {"root": "a\0b"},
        {"root": 3},
        {"root": "v", "cache_bytes": -1},
        {"root": "v", "busy_timeout": 0.0},
        {"root": "v", "connections": 0},
        {"root": "v", "path": "w"},
    ],
)
def test_settings_that_name_no_place_or_make_no_sense_are_refused(
    settings: dict[str, object],
) -> None:
    """The root has no default, and nothing unknown or out of range is accepted."""
    with pytest.raises(ValidationError):
        nexus_embedded.EmbeddedConfig(**settings)  # type: ignore[arg-type]
