"""The root: making it, and saying what is wrong with it.

::

    <root>/nexus-filesystem.json          format and layout version
    <root>/v1/<env>/<tenant>/             a scope
        ~lock                             its lock file
        ~tmp/                             what is being written
        <part>/.../<part>~o               an object
    <root>/v1/<env>/<tenant>~gone/        what is being erased
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nexus_core.spi import ENVIRONMENTS, ConfigurationError, Problem, Scope, encode_scope_parts
from nexus_filesystem._beneath import DIRECTORY, DIRECTORY_MODE, closing, enter, open_beneath, sync
from nexus_filesystem._names import MARKER

FORMAT: Final = "nexus-filesystem"
LAYOUT: Final = 1

_TEXT: Final = json.dumps({"format": FORMAT, "layout": LAYOUT}).encode() + b"\n"
_LONGEST: Final = 4096  # of a marker

_MISSING: Final = "does not exist"
_FILE: Final = "is not a directory"
_UNREACHABLE: Final = "cannot be reached"
_REFUSED: Final = "cannot be read, written and entered"
_REMEDY: Final = {
    _MISSING: "mount or provision it",
    _FILE: "name a directory",
    _UNREACHABLE: "let the program's user enter the directories above it",
    _REFUSED: "give it to the program's user",
}

# The codec's first two path parts, the same for every tenant.
_PLACES: Final = tuple(encode_scope_parts(Scope("any", env))[:-1] for env in ENVIRONMENTS)
_UNFINISHED: Final = MARKER + "~new"
_OURS: Final = frozenset(("lost+found", MARKER, _UNFINISHED, *(place[0] for place in _PLACES)))


def provision(root: Path) -> list[str]:
    """Make the root, the environments' directories and, last, the marker; say what was made.

    Idempotent; what it made is on disk when it returns. Raises ``ConfigurationError`` for a root
    that is a file, that holds other things, that a newer version made, or that cannot be made.
    """
    root = root.absolute()
    try:
        return _provision(root)
    except ConfigurationError:
        raise
    except OSError as error:
        reason = error.strerror
    raise ConfigurationError(
        [_problem(f"{root} cannot be made: {reason}", "let this user write there, or name another")]
    )


def _provision(root: Path) -> list[str]:
    made: list[str] = []
    if _fault(root) != _MISSING and (stranger := _stranger(root)) is not None:
        raise ConfigurationError([stranger])
    for path in (*reversed(root.parents), root):
        with suppress(FileExistsError):
            path.mkdir(mode=DIRECTORY_MODE)
            made.append(f"directory {path}")
            with closing(os.open(path.parent, DIRECTORY | os.O_CLOEXEC)) as parent:
                sync(parent)
    with closing(os.open(root, DIRECTORY | os.O_CLOEXEC)) as top:
        for place in _PLACES:
            made += _make(root, top, place)
        if _fault(root / MARKER) == _MISSING:
            _write_marker(top)
            made.append(f"marker {root / MARKER}")
    return made


def check(root: Path) -> Sequence[Problem]:
    """Everything that is wrong with the root; nothing is written."""
    problems: list[Problem] = []
    for place in ((), *_PLACES):
        path = root.joinpath(*place)
        fault = _fault(path) or _unusable(path)
        if fault is not None:
            problems.append(_problem(f"the directory {path} {fault}", _REMEDY[fault]))
            if not place and fault != _REFUSED:
                return problems
    if (reason := _marker_fault(root)) is not None:
        problems.append(_problem(*reason))
    return problems


def _problem(what: str, fix: str) -> Problem:
    return Problem(path="root", what=what, fix=fix)


def _fault(path: Path) -> str | None:
    """What keeps a path from being there; ``None`` if it is."""
    try:
        path.stat()
    except FileNotFoundError:
        return _MISSING
    except NotADirectoryError:
        return _FILE
    except OSError:
        return _UNREACHABLE
    return None


def _unusable(path: Path) -> str | None:
    if not path.is_dir():
        return _FILE
    effective = os.access in os.supports_effective_ids
    if os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective):
        return None
    return _REFUSED


def _marker_fault(root: Path) -> tuple[str, str] | None:
    """What is wrong with the marker and how to mend it."""
    marker = root / MARKER
    try:
        text = marker.read_bytes()
    except FileNotFoundError:
        return f"the marker {marker} does not exist", _REMEDY[_MISSING]
    except OSError as error:
        return f"the marker {marker} cannot be read: {error.strerror}", _REMEDY[_REFUSED]
    layout = _layout_in(text)
    if layout is None:
        return f"the marker {marker} is not one of this store's", "name another directory"
    if layout > LAYOUT:
        what = f"{root} has layout {layout}; this version knows layouts up to {LAYOUT}"
        return what, "install the version that made it, or a newer one"
    return None


def _layout_in(text: bytes) -> int | None:
    """The layout that a marker names; ``None`` if it is not one of this store's."""
    try:
        content: Any = json.loads(text)
        layout = content["layout"]
        if content["format"] == FORMAT and type(layout) is int:
            return layout
    except (KeyError, TypeError, ValueError):
        pass
    return None


def is_marked(top: int) -> bool:
    """Whether the root that is open has this store's marker, of a layout that is known here."""
    try:
        with closing(os.open(MARKER, os.O_RDONLY | os.O_CLOEXEC, dir_fd=top)) as marker:
            text = os.read(marker, _LONGEST)
    except (FileNotFoundError, IsADirectoryError):
        return False
    layout = LAYOUT if text == _TEXT else _layout_in(text)
    return layout is not None and layout <= LAYOUT


def _stranger(root: Path) -> Problem | None:
    """Why provisioning must not touch a root that is there already."""
    if not root.is_dir():
        return _problem(f"{root} is not a directory", "name a directory")
    if _fault(root / MARKER) != _MISSING:
        reason = _marker_fault(root)
        return None if reason is None else _problem(*reason)
    if any(child.name not in _OURS for child in root.iterdir()):
        return _problem(f"{root} holds other things than a store", "name an empty directory")
    return None


def _make(root: Path, top: int, place: Sequence[str]) -> list[str]:
    made: list[str] = []
    here = os.dup(top)
    path = root
    for name in place:
        path /= name
        if _fault(path) == _MISSING:
            made.append(f"directory {path}")
        with closing(here):
            here = enter(here, name)
    os.close(here)
    return made


def _write_marker(top: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_UNFINISHED, dir_fd=top)
    with closing(open_beneath(top, _UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)) as file:
        os.write(file, _TEXT)
        sync(file)
    os.rename(_UNFINISHED, MARKER, src_dir_fd=top, dst_dir_fd=top)
    sync(top)
