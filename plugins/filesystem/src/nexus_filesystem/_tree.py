"""The directories of a store: its root, an environment's, a scope's. None is kept open.

A root that is not mounted has no marker, and another store's has another: such a root is
"unavailable", never an empty store that answers "not found" and takes new objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from nexus_core.spi import Scope, encode_scope_parts
from nexus_filesystem._beneath import DIRECTORY, closing, enter, open_beneath
from nexus_filesystem._errors import ABSENT, unprovisioned
from nexus_filesystem._layout import is_marked


@attrs.frozen
class Home:
    """A scope's directory, open, with its environment's and its name there."""

    environment: int
    name: str
    directory: int

    def current(self) -> bool:
        """Whether this is still the scope's directory; erasing the scope moves it away."""
        mine = os.fstat(self.directory)
        try:
            there = os.stat(self.name, dir_fd=self.environment, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(mine, there)


def scope_name(scope: Scope) -> str:
    """Name of a scope's directory in its environment's."""
    return encode_scope_parts(scope)[-1]


@contextmanager
def environment(root: Path, scope: Scope) -> Iterator[int]:
    """Open the directory of the scope's environment.

    Raises ``UnavailableError`` where the store's root is not there, or not this store's. The marker
    is read each time: another volume may have been mounted since.
    """
    path = "/".join(encode_scope_parts(scope)[:-1])
    found = None
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        closing(os.open(root, DIRECTORY | os.O_CLOEXEC)) as top,
    ):
        found = open_if_there(top, path) if is_marked(top) else None
    if found is None:
        raise unprovisioned()
    with closing(found):
        yield found


@contextmanager
def home(root: Path, scope: Scope, *, create: bool = False) -> Iterator[Home | None]:
    """Open a scope's directory; ``None`` where there is none and none is to be made."""
    name = scope_name(scope)
    with environment(root, scope) as around:
        found = enter(around, name) if create else open_if_there(around, name)
        if found is None:
            yield None
        else:
            with closing(found):
                yield Home(around, name, found)


def open_if_there(directory: int, path: str) -> int | None:
    """Open a directory below another; ``None`` where there is none, or a link in its place."""
    try:
        return open_beneath(directory, path, DIRECTORY)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
    return None
