"""The root directory: its marker, the place of each scope in it, and what may be wrong with it.

::

    <root>/nexus-embedded.json                     the marker: format and layout version
    <root>/v1/<env>/<tenant>/<token>.db            a scope's database, with its -wal and -shm
    <root>/v1/<env>/<tenant>.new.<token>/          one that is being made
    <root>/v1/<env>/<tenant>.erased.<token>/       one that is being removed

A scope's directory appears and disappears by one rename, so its database, write-ahead log and
shared memory always come and go together. The token is new for each database: no path is ever
used by two of them, so whoever still has the old one open cannot touch the files of the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from nexus_core.spi import ConfigurationError, Problem, Scope, UnavailableError, encode_scope_parts

MARKER: Final = "nexus-embedded.json"
FORMAT: Final = "nexus-embedded"
LAYOUT: Final = 1
# The first with JSON functions in every build; strict tables came one before.
OLDEST_SQLITE: Final = (3, 38, 0)


def scope_directory(root: Path, scope: Scope) -> Path:
    """Directory of a scope's database; no two scopes share one, however they are spelt."""
    return root.joinpath(*encode_scope_parts(scope))


def sweep(directory: Path) -> None:
    """Remove what a crash left while this scope was being made or removed."""
    # A tenant's name holds no dot, so these prefixes belong to one scope only.
    made, removed = f"{directory.name}.new.", f"{directory.name}.erased."
    try:
        neighbours = list(directory.parent.iterdir())
    except FileNotFoundError:
        return
    for path in neighbours:
        if path.name.startswith(removed):
            remove_directory(path)
        elif path.name.startswith(made):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), held(path, wait=False):
                remove_directory(path)


@contextlib.contextmanager
def held(directory: Path, *, wait: bool) -> Iterator[None]:
    """Hold a directory's lock, which goes with its process: a draft that nobody holds is dead.

    Raises ``BlockingIOError`` where somebody does and ``wait`` is false.
    """
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def beside(directory: Path, what: str) -> Path:
    """A new name beside a scope's directory, for what is being made or removed."""
    return directory.with_name(f"{directory.name}.{what}.{secrets.token_hex(8)}")


def remove_directory(directory: Path) -> None:
    """Unlink a flat directory and what it holds; fine if others are doing the same."""
    with contextlib.suppress(FileNotFoundError):
        for path in list(directory.iterdir()):
            path.unlink(missing_ok=True)
        directory.rmdir()


def make_directories(directory: Path) -> None:
    """Create a directory and its parents, durably."""
    if directory.is_dir():
        return
    make_directories(directory.parent)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make names created in, removed from or renamed within a directory survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_root(root: Path) -> None:
    """Refuse to take a root that is gone (an unmounted volume) for one that is empty."""
    if _marker_problem(root) is not None:
        raise UnavailableError(
            "the vector store's root is not there, or not one that this version can use",
            hint="run `nexus doctor`",
        )


def provision(root: Path) -> Sequence[str]:
    """Create the root and its marker; idempotent.

    Raises ``ConfigurationError`` for a root that holds something else, or a newer layout.
    """
    if os.path.lexists(root) and (wrong := _root_problems(root)):
        raise ConfigurationError(wrong)
    if (root / MARKER).exists():
        problem = _marker_problem(root)
        if problem is not None:
            raise ConfigurationError([problem])
        return ()
    if root.exists() and any(root.iterdir()):
        raise ConfigurationError(
            [
                Problem(
                    path="root",
                    what=f"{root} holds other files, and no {MARKER}",
                    fix="name a directory that is empty or does not exist",
                    code="store.occupied",
                )
            ]
        )
    make_directories(root)
    draft = root / f"{MARKER}.{secrets.token_hex(8)}"
    with draft.open("x", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "layout": LAYOUT}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(root / MARKER)
    sync_directory(root)
    return (f"made {root}, for the embedded vector store",)


def problems(root: Path) -> Sequence[Problem]:
    """Everything that stops the store from working; nothing is created or opened for writing."""
    found = _root_problems(root)
    marker = _marker_problem(root)
    if marker is not None and all(one.code != "store.missing" for one in found):
        found.append(marker)
    if os.name != "posix":
        found.append(
            Problem(
                path="root",
                what="this system does not let open files be renamed and removed",
                fix="use a POSIX system, or another vector store",
                code="store.platform",
            )
        )
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found.append(
            Problem(
                path="",
                what=f"Python's SQLite is {sqlite3.sqlite_version}",
                fix=f"use a Python with SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer",
                code="store.engine",
            )
        )
    return found


def _root_problems(root: Path) -> list[Problem]:
    try:
        status = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        what, readable = "does not exist", False
    except OSError:
        what, readable = "cannot be reached", False
    else:
        what, readable = "is not a directory", stat.S_ISDIR(status.st_mode)
    if not readable:
        return [
            Problem(
                path="root",
                what=f"{root} {what}",
                fix="correct the path or its permissions, or provision the store",
                code="store.missing",
            )
        ]
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return [
            Problem(
                path="root",
                what=f"{root} may not be read and written by this user",
                fix="give the user read, write and search permission, on a writable volume",
                code="store.permission",
            )
        ]
    return []


def _marker_problem(root: Path) -> Problem | None:
    marker = root / MARKER
    try:
        data: Any = json.loads(marker.read_bytes())
    except FileNotFoundError:
        return Problem(
            path="root",
            what=f"{marker} is missing",
            fix="provision the store, or mount its volume",
            code="store.unprovisioned",
        )
    except (OSError, ValueError):
        data = None
    layout = data.get("layout") if isinstance(data, dict) else None
    if type(layout) is not int or layout < 1 or data.get("format") != FORMAT:
        return Problem(
            path="root",
            what=f"{marker} is not this store's marker, or cannot be read",
            fix="name another directory, or restore the file",
            code="store.unprovisioned",
        )
    if layout > LAYOUT:
        return Problem(
            path="root",
            what=f"{root} has layout {layout}; this version knows up to {LAYOUT}",
            fix="upgrade nexus-embedded",
            code="store.newer",
        )
    return None
