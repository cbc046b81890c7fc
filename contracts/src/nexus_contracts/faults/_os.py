"""The injector of backends that call the operating system through Python's ``os``."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
    def inject(self, fault: Fault) -> Iterator[Strikes]:
        """Let a call fail until the block ends."""
        number = _NUMBERS[fault.kind]

        def failing(honest: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(honest)
            def call(*args: Any, **kwargs: Any) -> Any:
                caller = sys._getframe(1).f_code.co_filename  # noqa: SLF001  # whose call it is
                own = caller.startswith(_SUITE) and not caller.startswith(_SUBJECTS)
                if not own and self._switch.strikes(fault.kind):
                    raise OSError(number, os.strerror(number))
                return honest(*args, **kwargs)

            return call

        strikes = self._switch.set(fault)
        try:
            with ExitStack() as patched:
                for name in CALLS:
                    if hasattr(os, name):
                        call = failing(getattr(os, name))
                        patched.enter_context(mock.patch.object(os, name, call))
                yield strikes
        finally:
            self._switch.set(None)

    def close(self) -> None:
        """Holds nothing."""
