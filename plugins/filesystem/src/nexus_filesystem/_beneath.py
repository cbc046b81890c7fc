"""Opening names below a directory without ever following a symbolic link.

On Linux one ``openat2`` call resolves the whole path in the kernel and refuses links, magic links
and ways out of the directory. Elsewhere each component is opened on its own with ``O_NOFOLLOW``.
Either way the result is a descriptor, and what is renamed, removed or made is named relative to
one, so swapping a directory for a link between two calls leads nowhere.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY

# Without O_NONBLOCK, opening a planted pipe would wait for its other end.
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_STEP = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)

# openat2(2): the number is the same on every architecture that Python runs on under Linux.
_OPENAT2 = 437
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08

# Set by a directory's users once its own entry in its parent is known to be on disk.
_SETTLED = stat.S_ISVTX

Opener = Callable[[int, str, int], int]


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open a relative path below a directory; raise ``OSError`` (without a name) where it fails.

    ``path`` is one of the codec's or a control name. A link anywhere in it gives ``ELOOP`` or
    ``ENOTDIR``. With ``O_CREAT`` the file is made for the store's user alone.
    """
    return _opener()(directory, path, flags | _ALWAYS)


@functools.cache
def _opener() -> Opener:
    return _openat2() or _step_by_step


def _openat2() -> Opener | None:
    """The kernel's own confined open, or ``None`` where kernel or sandbox do not offer it."""
    if sys.platform != "linux":
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.POINTER(_How),
        ctypes.c_size_t,
    )
    resolve = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS
    size = ctypes.sizeof(_How)

    def confined(directory: int, path: str, flags: int) -> int:
        mode = FILE_MODE if flags & os.O_CREAT else 0
        how = _How(flags, mode, resolve)
        name = path.encode("ascii")
        while True:
            descriptor: int = syscall(_OPENAT2, directory, name, ctypes.byref(how), size)
            if descriptor >= 0:
                return descriptor
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))

    try:
        with closing(os.open("/", _STEP)) as top, closing(confined(top, ".", DIRECTORY)):
            return confined
    except OSError:
        return None


def _step_by_step(directory: int, path: str, flags: int) -> int:
    """The same by one ``openat`` for each component, none of which may be a link."""
    *directories, last = path.split("/")
    here = directory
    try:
        for name in directories:
            following = _open(name, _STEP, here)
            if here != directory:
                os.close(here)
            here = following
        return _open(last, flags, here)
    finally:
        if here != directory:
            os.close(here)


def _open(name: str, flags: int, directory: int) -> int:
    try:
        return os.open(name, flags, FILE_MODE, dir_fd=directory)
    except OSError as error:
        code = error.errno
    raise OSError(code, os.strerror(code or 0))


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of a block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def names(directory: int) -> list[str]:
    """Names in a directory, in no order, control names and planted ones too."""
    return os.listdir(directory)


def sync(descriptor: int) -> None:
    """Return when a file's bytes, or a directory's entries, would survive a loss of power."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def enter(parent: int, name: str) -> int:
    """Open a directory, made if it is not there; its entry in the parent is on disk on return.

    Another process may have made it and not have synced the parent yet, or have died before it
    could. So every directory carries a mark, the sticky bit, set after a sync of the parent; who
    finds none syncs the parent itself.
    """
    while True:
        try:
            descriptor = open_beneath(parent, name, DIRECTORY)
            break
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    try:
        mode = os.fstat(descriptor).st_mode
        if not mode & _SETTLED:
            sync(parent)
            # A directory that another user owns is synced again at every write instead.
            with suppress(PermissionError):
                os.fchmod(descriptor, stat.S_IMODE(mode) | _SETTLED)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def enter_all(directory: int, path: Sequence[str]) -> int:
    """``enter`` a chain of directories; the last one's descriptor is the caller's to close."""
    here = os.dup(directory)
    for name in path:
        with closing(here):
            here = enter(here, name)
    return here
