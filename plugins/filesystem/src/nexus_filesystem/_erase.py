"""Erasing a scope: moved out of sight by one rename, then deleted, following nothing."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from nexus_core.spi import IntegrityError, NotFoundError, Outcome, Scope
from nexus_filesystem._beneath import DIRECTORY, closing, enter, open_beneath, sync
from nexus_filesystem._errors import Translated
from nexus_filesystem._locks import locked
from nexus_filesystem._names import GONE, OBJECT
from nexus_filesystem._record import read
from nexus_filesystem._tree import environment, home, open_if_there, scope_name


def erase(root: Path, scope: Scope) -> int:
    """See ``RawBackend.erase``. Finishes what an erasure that was cut short left behind."""
    name = scope_name(scope) + GONE
    with Translated(Outcome.UNKNOWN):
        while not _out_of_sight(root, scope):
            pass
        count = 0
        with environment(root, scope) as around:
            while (gone := open_if_there(around, name)) is not None:
                with closing(gone):
                    count += _drain(gone, gone, scope)
                _rmdir(around, name)
            sync(around)
    return count


def _out_of_sight(root: Path, scope: Scope) -> bool:
    """Move the scope's directory away if there is one; ``False`` if that must be tried again."""
    with home(root, scope) as mine:
        if mine is None:
            return True
        # Another erasure may have moved it while this one waited for the lock, or be just
        # removing the directory that it would be moved to.
        with suppress(FileNotFoundError), locked(mine.directory):
            if mine.current():
                with closing(enter(mine.environment, mine.name + GONE)) as gone:
                    os.rename(mine.name, _any(), src_dir_fd=mine.environment, dst_dir_fd=gone)
                    sync(gone)
                sync(mine.environment)
                return True
    return False


def _drain(directory: int, gone: int, scope: Scope) -> int:
    """Delete what a directory holds; count the scope's objects among it.

    Directories below it are moved up into ``gone`` and drained there, so no path grows and few
    descriptors are open, however deep the tree is.
    """
    count = 0
    with os.scandir(directory) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in listed:
        # Another erasure of the scope may be at work here too.
        with suppress(FileNotFoundError):
            if not is_directory:
                counts = name.endswith(OBJECT) and _is_object(directory, name, scope)
                os.unlink(name, dir_fd=directory)
                count += counts
            elif directory != gone:
                os.rename(name, _any(), src_dir_fd=directory, dst_dir_fd=gone)
            else:
                with closing(open_beneath(gone, name, DIRECTORY)) as child:
                    count += _drain(child, gone, scope)
                _rmdir(gone, name)
    return count


def _rmdir(parent: int, name: str) -> None:
    """Remove a directory unless it is gone already, or a late writer has put something there."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def _any() -> str:
    return secrets.token_hex(16)


def _is_object(directory: int, name: str, scope: Scope) -> bool:
    try:
        descriptor, record = read(directory, name)
    except NotFoundError:
        return False
    except IntegrityError:
        return True
    os.close(descriptor)
    return record.scope == (scope.tenant_id, scope.env)
