"""What a writing probe proved of a store's endpoint, kept in the configuration's state folder.

One JSON file for each store and role, written whole, bound to the store's settings by a fingerprint
(the format is in ``docs/formats.md``). ``open`` only reads it; ``nexus init`` and ``nexus doctor``
write it. A file that is absent, spoilt or made under other settings proves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nexus_core._config import StoreConfig
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import BackendError
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import Proof, Runtime

FORMAT: Final = "nexus-proofs/1"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MOST: Final = 64 << 10


def settings_fingerprint(store: StoreConfig, role: StoreRole) -> str:
    """SHA-256 of everything that decides what a proof is about; secrets go in as references."""
    spec = store.specs[role]
    settings = store.settings[role].model_dump(mode="json")
    about = [store.backend, role.value, sorted(spec.proves), settings]
    return hashlib.sha256(canonical_json(about)).hexdigest()


def read_proofs(state: Path | None, store: StoreConfig, role: StoreRole) -> Mapping[str, Proof]:
    """What is proved of a store in a role under its present settings; empty where nothing is."""
    if state is None or store.specs[role].prove is None:
        return {}
    try:
        with _file(state, store, role).open("rb") as file:
            data = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return {}
    if (
        not isinstance(data, dict)
        or data.get("format") != FORMAT
        or data.get("fingerprint") != settings_fingerprint(store, role)
        or not _are_proofs(data.get("proofs"))
    ):
        return {}
    proofs: dict[str, Proof] = data["proofs"]
    return proofs


def prove(
    state: Path, store: StoreConfig, role: StoreRole, runtime: Runtime
) -> Mapping[str, Proof]:
    """Let a store's backend prove what it can, and keep the answer durably; return it.

    Whatever was known before is forgotten first, so that a probe which fails leaves no old proof.
    Raises what the backend raises, and ``BackendError`` for an answer that is none.
    """
    spec = store.specs[role]
    assert spec.prove is not None
    _file(state, store, role).unlink(missing_ok=True)
    found: Any = spec.prove(store.settings[role], runtime)
    if not isinstance(found, Mapping) or not _are_proofs(dict(found)):
        raise BackendError("prove did not return names with a bool, an int or a str each")
    data = {
        "format": FORMAT,
        "store": store.name,
        "role": role.value,
        "backend": store.backend,
        "fingerprint": settings_fingerprint(store, role),
        "proved_at": runtime.now(),
        "proofs": dict(found),
    }
    _keep(_file(state, store, role), canonical_json(data) + b"\n")
    return dict(found)


def _file(state: Path, store: StoreConfig, role: StoreRole) -> Path:
    return state / "proofs" / f"{store.name}.{role.value}.json"


def _are_proofs(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(name) is str and _NAME.fullmatch(name) is not None and type(proof) in (bool, int, str)
        for name, proof in value.items()
    )


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
