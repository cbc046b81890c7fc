"""The plugins that need no server are conformant, through the public door, on real files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pytest
from nexus_contracts import BackendHarness, FolderBackDoor, Report

from nexus_core._plugins import Registry
from nexus_core.spi import StoreRole

SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "filesystem": {"root": "{}"},
    "sql": {"url": "sqlite:///{}/records.db"},
    "embedded": {"root": "{}"},
}


def harness(name: str, role: StoreRole) -> BackendHarness:
    """A harness as the plugin's author would write it."""
    spec = Registry.discover().backend(name, role)

    def settings(folder: str) -> object:
        return spec.config(**{key: form.format(folder) for key, form in SETTINGS[name].items()})

    return BackendHarness(
        spec=spec,
        settings=lambda _: settings("store"),
        back_door=lambda namespace: FolderBackDoor(namespace.path / "store"),
        broken_settings=lambda _: {"a place that is not there": settings("nowhere")},
    )


@pytest.mark.whole
@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("filesystem", StoreRole.RAW),
        ("sql", StoreRole.ATOMS),
        ("sql", StoreRole.AUDIT),
        ("embedded", StoreRole.VECTORS),
    ],
)
def test_contracts_embedded_plugin_is_conformant(
    name: str, role: StoreRole, conformant: Callable[[BackendHarness, str], Report]
) -> None:
    """Everything that applies to an embedded plugin was run, holds, and nothing was left out."""
    report = conformant(harness(name, role), "embedded")
    assert report.versions.plugin == f"nexus-{name}"
    assert "nexus-contracts-" not in report.to_json()
