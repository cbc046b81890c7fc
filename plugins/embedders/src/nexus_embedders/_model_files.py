"""What a model directory holds: refused where loading it could run code, and fingerprinted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nexus_core.spi import ConfigurationError, Problem, canonical_json

MODULES: Final = "modules.json"
# Formats that are programs: reading a weight from them may do anything.
PICKLED: Final = frozenset((".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"))
# Modules of a model that are imported by name must be the library's own.
LIBRARY: Final = "sentence_transformers."


def refusal(what: str, fix: str) -> ConfigurationError:
    """The error for a model that cannot be used."""
    return ConfigurationError([Problem(path="model", what=what, fix=fix, code="embedder.model")])


def fingerprint(folder: Path, settings: dict[str, Any]) -> str:
    """SHA-256 of every file's name and content and of the settings, 64 hex digits.

    Hidden files do not count. Raises ``ConfigurationError`` for a directory that is absent, that
    cannot be read, or that is no model of safe formats.
    """
    if not folder.is_dir():
        raise refusal("the directory is not there", "put the model's files into it")
    try:
        digests = {path.relative_to(folder).as_posix(): _digest(path) for path in _files(folder)}
        modules = json.loads((folder / MODULES).read_bytes()) if MODULES in digests else None
    except ConfigurationError:
        raise
    except (OSError, ValueError, RecursionError):
        raise refusal("its files cannot be read", "check owner, mode and content") from None
    _check_modules(modules)
    pickled = [name for name in digests if Path(name).suffix.lower() in PICKLED]
    if pickled:
        raise refusal(
            f"{pickled[0]} is of a format that can run code when it is loaded",
            "keep the weights as safetensors and take the others out",
        )
    return hashlib.sha256(canonical_json({"files": digests, "settings": settings})).hexdigest()


def _check_modules(modules: Any) -> None:
    if not isinstance(modules, list) or not modules:
        raise refusal(
            f"{MODULES} is absent or empty", "name the directory that the library's save() has made"
        )
    for module in modules:
        kind = module.get("type") if isinstance(module, dict) else None
        if not isinstance(kind, str) or not kind.startswith(LIBRARY):
            raise refusal(
                f"{MODULES} names code that is not the library's own",
                "use a model that needs no code of its own",
            )


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(at, name).is_symlink():
                raise refusal(f"{name} is a link to a directory", "put the files themselves there")
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(at, name)


def _raise(error: OSError) -> None:
    raise error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
