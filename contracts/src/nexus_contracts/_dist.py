"""Which installed distribution a backend's code belongs to, and what it was installed from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from typing import Any

import attrs

from nexus_core._plugins.offers import read_installed
from nexus_core.spi import BackendSpec


@attrs.frozen(kw_only=True)
class Versions:
    """What ran: versions, and where the plugin came from.

    ``plugin_record`` is the SHA-256 of the installed RECORD, which lists the hash of every file of
    the wheel; an editable install has none worth the name, and is said to be one.
    """

    suite: str
    core: str
    plugin: str | None
    plugin_version: str | None
    plugin_record: str | None
    plugin_editable: bool
    python: str
    platform: str


def versions(spec: BackendSpec) -> Versions:
    """Everything about the versions at work, for a spec that is there."""
    found = _distribution(spec.config.__module__.partition(".")[0])
    editable = found is not None and _is_editable(found)
    record = None if found is None or editable else found.read_text("RECORD")
    return Versions(
        suite=_version("nexus-contracts"),
        core=_version("nexus-core"),
        plugin=None if found is None else found.metadata["Name"],
        plugin_version=None if found is None else found.version,
        plugin_record=None if record is None else hashlib.sha256(record.encode()).hexdigest(),
        plugin_editable=editable,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.machine()}",
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _distribution(package: str) -> importlib.metadata.Distribution | None:
    # Offers name modules, also where an editable install lists no file.
    for offer in read_installed().offers:
        if offer.module.partition(".")[0] == package:
            return importlib.metadata.distribution(offer.distribution)
    if package == __name__.partition(".")[0]:
        return importlib.metadata.distribution("nexus-contracts")
    return None


def _is_editable(found: importlib.metadata.Distribution) -> bool:
    text = found.read_text("direct_url.json")
    if text is None:
        return False
    origin: Any = json.loads(text)
    return bool(origin.get("dir_info", {}).get("editable", False))
