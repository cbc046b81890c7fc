"""The injector of backends that call the operating system through Python's ``os``."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from nexus_contracts.faults._model import Fault, FaultKind, Strikes
from nexus_contracts.faults._switch import Switch

if TYPE_CHECKING:
    from nexus_contracts._harness import Namespace

# What changes a file system, or makes a change last. `os.close` is not among them: after an error
# the descriptor is gone all the same, so that a failing one would only leak what the test opened.
CALLS: Final = (
    "fdatasync", "fsync", "ftruncate", "link", "makedirs", "mkdir", "open", "pwrite", "remove",
    "rename", "replace", "rmdir", "symlink", "truncate", "unlink", "write", "writev",
)  # fmt: skip
# Of these the second argument names a file as well.
_TWO: Final = ("link", "rename", "replace", "symlink")
_NUMBERS: Final = {FaultKind.IO_ERROR: errno.EIO, FaultKind.NO_SPACE: errno.ENOSPC}
_SUITE: Final = str(Path(__file__).parent.parent)
_SUBJECTS: Final = tuple(str(Path(_SUITE) / name) for name in ("memory", "zoo"))


class OsFaults:
    """A ``FaultInjector`` that fails the n-th call of a function of ``os`` that changes files.

    Counts calls from any thread, except those of the suite itself. What a C library does on its
    own, such as SQLite, goes past it, and so does a function that was imported by name.
    ``settings`` are the harness's own: there is no other road to the same files.
    """

    kinds: Final = frozenset(_NUMBERS)

    def __init__(self, settings: Callable[[Namespace], Any]) -> None:
        self._settings = settings
        self._switch = Switch()

    def settings(self, namespace: Namespace) -> Any:
        """The given settings."""
        return self._settings(namespace)

    @contextmanager
    def inject(self, fault: Fault, *, within: Collection[Path] | None = None) -> Iterator[Strikes]:
        """Let a call fail until the block ends; with ``within`` only one that is about one of these
        files, or about anything in one of these folders, and no other is counted."""
        number = _NUMBERS[fault.kind]
        places = None if within is None else frozenset(within)

        def fail(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            met = places is None or any(
                not places.isdisjoint((path, *path.parents)) for path in _about(name, args, kwargs)
            )
            if met and self._switch.strikes(fault.kind):
                raise OSError(number, os.strerror(number))

        strikes = self._switch.set(fault)
        try:
            with _before(fail):
                yield strikes
        finally:
            self._switch.set(None)

    @contextmanager
    def touched(self) -> Iterator[set[Path]]:
        """Note every file and folder that such a call is about, until the block ends."""
        found: set[Path] = set()
        with _before(lambda *call: found.update(_about(*call))):
            yield found

    def close(self) -> None:
        """Holds nothing."""


@contextmanager
def _before(act: Callable[[str, tuple[Any, ...], dict[str, Any]], None]) -> Iterator[None]:
    """Have something done before each of the ``CALLS`` that is not the suite's own."""

    def acting(name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(honest)
        def call(*args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1).f_code.co_filename  # noqa: SLF001  # whose call it is
            if not caller.startswith(_SUITE) or caller.startswith(_SUBJECTS):
                act(name, args, kwargs)
            return honest(*args, **kwargs)

        return call

    with ExitStack() as patched:
        for name in CALLS:
            if hasattr(os, name):
                call = acting(name, getattr(os, name))
                patched.enter_context(mock.patch.object(os, name, call))
        yield


def _about(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Path]:
    """The files that a call is about, without links; none where nobody can tell."""
    bases = (kwargs.get("dir_fd", kwargs.get("src_dir_fd")), kwargs.get("dst_dir_fd"))
    for each, base in zip(args[: 2 if name in _TWO else 1], bases, strict=False):
        # The system says no more of a descriptor than that it is closed, or where.
        with suppress(OSError, TypeError):
            if isinstance(each, int):
                yield _open(each)
            else:
                folder = Path() if base is None else _open(base)
                path = folder / os.fsdecode(each)
                yield Path(os.path.realpath(path.parent), path.name)


def _open(descriptor: int) -> Path:
    """What a descriptor leads to."""
    if hasattr(fcntl, "F_GETPATH"):
        return Path(
            os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        )
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115  # not Path's own calls
