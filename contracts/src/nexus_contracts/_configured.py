"""A harness from a store of ``nexus.toml``: its backend and its settings, in a place of its own.

Tenants' data must not be touched. The store's settings are therefore taken over only where every
one of them is understood: a place in the file system is exchanged for a fresh temporary folder;
numbers, flags and the code's own defaults stay. Anything else (a bucket, a server, a credential)
may lead to where the data is, and the store is refused: a harness of its own has to say what a
fresh place is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from pydantic import ValidationError

from nexus_contracts._harness import BackendHarness, FolderBackDoor, Namespace
from nexus_core.spi import BackendConfig, BackendSpec

FOLDERS: Final = frozenset(("root", "directory", "folder", "data_dir"))
SQLITE: Final = re.compile(r"sqlite:///(?!:memory:|file:)[^?]+")


class UnsafeStoreError(Exception):
    """The store cannot be tested without coming near its data; the text names the settings."""


def configured_harness(spec: BackendSpec, settings: BackendConfig) -> BackendHarness:
    """A harness with a store's settings, its places exchanged for a fresh one in each namespace.

    Opens, reads and writes nothing. Raises ``UnsafeStoreError`` where that cannot be done.
    """
    places = dict[str, str]()
    unclear = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, str) and name in FOLDERS:
            places[name] = "{}"
        elif isinstance(value, str) and SQLITE.fullmatch(value):
            # With an absolute path, a URL of this form has four slashes.
            places[name] = "sqlite:///{}/store.db"
        elif not _is_plain(value, field.default):
            unclear.append(name)
    if unclear:
        raise UnsafeStoreError(
            f"it cannot be known that {', '.join(unclear)} would not lead to the store's own data"
        )
    if not places:
        raise UnsafeStoreError("none of its settings is a place that could be exchanged")

    def moved(namespace: Namespace, folder: str) -> BackendConfig:
        where = (namespace.path / folder).as_posix()
        fresh = {name: form.format(where) for name, form in places.items()}
        return _validated(spec, settings, fresh)

    def broken(namespace: Namespace) -> Mapping[str, Any]:
        return {"a place that is not there": moved(namespace, "nowhere")}

    return BackendHarness(
        spec=spec,
        settings=lambda namespace: moved(namespace, "store"),
        back_door=lambda namespace: FolderBackDoor(namespace.path / "store"),
        broken_settings=broken,
    )


def _validated(
    spec: BackendSpec, settings: BackendConfig, fresh: Mapping[str, str]
) -> BackendConfig:
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    try:
        return spec.config.model_validate({**values, **fresh})
    except ValidationError:
        pass  # its text repeats the input
    raise UnsafeStoreError(f"{', '.join(fresh)} cannot be exchanged for a temporary folder")


def _is_plain(value: Any, default: Any) -> bool:
    """Whether a value cannot lead anywhere: it is a number, a flag, a choice, or the default."""
    if value is None or isinstance(value, bool | int | float | Enum):
        return True
    return isinstance(value, str | tuple) and value == default
