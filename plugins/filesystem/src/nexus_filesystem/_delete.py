"""Deleting one object, under the same lock as a put, and the directories that it leaves empty."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nexus_core.spi import Outcome
from nexus_filesystem._beneath import DIRECTORY, closing, open_beneath, sync
from nexus_filesystem._errors import UNCERTAIN, Translated
from nexus_filesystem._locks import locked
from nexus_filesystem._slot import Condition, Slot
from nexus_filesystem._tree import Home, home, open_if_there


def delete(root: Path, slot: Slot, condition: Condition) -> None:
    """See ``RawBackend.delete``. The deletion is on disk when it returns."""
    with Translated(), home(root, slot.scope) as mine:
        # The scope may be erased meanwhile; then its lock file cannot be opened any more.
        with suppress(FileNotFoundError):
            if mine is not None and _delete(mine, slot, condition):
                return
        condition.allows_absence()


def _delete(mine: Home, slot: Slot, condition: Condition) -> bool:
    """Delete the object if there is one; ``False`` if there is none."""
    with locked(mine.directory, slot.key):
        directory = open_if_there(mine.directory, "/".join(slot.directories) or ".")
        if directory is None:
            return False
        with closing(directory):
            if not condition.holds(slot, directory, slot.name):
                return False
            with Translated(Outcome.UNKNOWN, only=UNCERTAIN):
                os.unlink(slot.name, dir_fd=directory)
            with Translated(Outcome.UNKNOWN):
                sync(directory)
    _prune(mine.directory, slot.directories)
    return True


def _prune(scope_directory: int, names: tuple[str, ...]) -> None:
    """Remove directories that hold nothing any more, innermost first."""
    for depth in range(len(names), 0, -1):
        above = "/".join(names[: depth - 1]) or "."
        try:
            with closing(open_beneath(scope_directory, above, DIRECTORY)) as parent:
                os.rmdir(names[depth - 1], dir_fd=parent)
        except OSError:
            return
