"""Commands that other distributions bring, known by metadata and imported only when named.

The entry point group is ``nexus.commands``: the name is the command, the value a module with
``arguments(parser)``, which declares the options and, by ``common``, what is run. A command of the
core cannot be replaced, and a name that two distributions claim runs neither.
"""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final

GROUP: Final = "nexus.commands"

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")


def installed(own: frozenset[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Module and distribution for each further command; several of them where they conflict.

    Imports nothing. ``own`` are the names that are taken.
    """
    found: dict[str, dict[str, str]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        if _NAME.fullmatch(entry.name) is not None and entry.name not in own:
            source = "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
            found.setdefault(entry.name, {}).setdefault(entry.value, source)
    return {name: tuple(sorted(values.items())) for name, values in sorted(found.items())}


def listed(own: frozenset[str]) -> str:
    """Lines for the page of help, or nothing where no distribution brings a command."""
    lines = [
        f"  {name.ljust(20)}  from {', '.join(source for _, source in offers)}"
        for name, offers in installed(own).items()
    ]
    return "\n".join(["", "Also installed", *lines, ""]) if lines else ""
