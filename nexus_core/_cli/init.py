"""``nexus init``: a configuration, a root key, and the stores that it names."""

from __future__ import annotations

import argparse
import os
import tomllib
from pathlib import Path
from typing import Final

import attrs

from nexus_core import PluginNotFoundError
from nexus_core._cli.console import Console
from nexus_core._cli.failure import OK, UsageError
from nexus_core._cli.files import create
from nexus_core._cli.options import CONFIG, common, describe
from nexus_core._cli.provision import provision
from nexus_core._config import Config, fresh_config, fresh_root_key, load
from nexus_core._plugins import Registry

FILE: Final = "nexus.toml"
KEY: Final = Path("secrets", "root.key")


@attrs.frozen
class Made:
    """What ``initialise`` ends with: the configuration, and a line for each thing it made."""

    config: Config
    lines: tuple[str, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "Write nexus.toml and secrets/root.key, and create the stores that it names. Nothing that\n"
        "exists is written over: where there is a configuration already, only stores that are\n"
        "missing are created. Nothing else ever creates a store.",
        """
nexus init                       in this folder
nexus init deploy/               in another
nexus init --config prod.toml    create the stores of a configuration that you wrote
""",
    )
    parser.add_argument("folder", nargs="?", metavar="DIR", help="where (this folder)")
    common(parser, run, takes="[DIR]")


def run(options: argparse.Namespace, console: Console) -> int:
    """Make what is missing, and say each thing that was made."""
    named = options.config or (None if options.folder else os.environ.get(CONFIG))
    if named is not None and options.folder is not None:
        raise UsageError("DIR and --config both say where", "give one of them")
    if named is not None:
        path = Path(named)
        made = provision_only(path)
    else:
        path = Path(options.folder or ".") / FILE
        made = initialise(path.parent)
    console.document({"config": str(path), "made": list(made.lines)})
    if made.lines:
        console.say("made", *(f"  {line}" for line in made.lines))
    else:
        console.say(f"nothing to make: {path} and everything that it names is there")
    console.say("", "`nexus doctor` looks at all of it and proves that tenants are apart.")
    return OK


def initialise(folder: Path) -> Made:
    """Make a configuration with a root key unless there is one, then create its stores.

    Idempotent. Raises ``ConfigurationError`` for a configuration that is there and is broken.
    """
    lines: list[str] = []
    path = folder / FILE
    if not path.exists():
        _require_plugins()
        lines += _written(folder)
    made = provision_only(path)
    return attrs.evolve(made, lines=(*lines, *made.lines))


def provision_only(path: Path) -> Made:
    """Create the stores of a configuration that exists. Idempotent."""
    config = load(path, registry=Registry.discover())
    return Made(config, tuple(provision(config)))


def _require_plugins() -> None:
    """Refuse, before anything is written, where a fresh configuration could not be used."""
    fresh = tomllib.loads(fresh_config())
    tables = [*fresh["stores"].values(), *fresh["atomizers"].values(), *fresh["embedders"].values()]
    wanted = {str(table.get("backend") or table["plugin"]) for table in tables}
    missing = sorted(wanted.difference(Registry.discover().names()))
    if missing:
        raise PluginNotFoundError(
            f"a fresh configuration needs plugins that are not installed: {', '.join(missing)}",
            hint=f"pip install {' '.join(f'nexus-{name}' for name in missing)}",
        )


def _written(folder: Path) -> list[str]:
    key = folder / KEY
    lines: list[str] = []
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
        if not key.parent.exists():
            key.parent.mkdir(mode=0o700)
        if not key.exists():
            # A key that is there is kept: whatever was written under it needs it.
            create(key, f"{fresh_root_key()}\n".encode(), mode=0o600)
            lines.append(f"root key: {key}; keep a copy elsewhere")
        create(folder / FILE, fresh_config().encode("utf-8"))
        lines.append(f"configuration: {folder / FILE}; it explains itself")
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}",
            "name a folder that you may write to",
        ) from None
    return lines
