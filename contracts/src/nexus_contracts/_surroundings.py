"""What a process has once, for all its threads: a call has to leave it alone."""

from __future__ import annotations

import gc
import locale
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_SIGNALS: Final = tuple(sorted(signal.valid_signals()))


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def _umask() -> int:
    # There is no other way to ask. The strictest of all harms no file that is made meanwhile.
    held = os.umask(0o077)
    os.umask(held)
    return held


def _to_environment(values: Mapping[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)


def _to_path(values: list[str]) -> None:
    sys.path[:] = values


# How each is read and, where any thread may do so, put back.
_KINDS: Final[Mapping[str, tuple[Callable[[], Any], Callable[[Any], object] | None]]] = {
    "the working directory": (_folder, os.chdir),
    "the umask": (_umask, os.umask),
    "the environment": (lambda: dict(os.environ), _to_environment),
    "the handlers of signals": (lambda: [signal.getsignal(each) for each in _SIGNALS], None),
    "the locale": (
        lambda: locale.setlocale(locale.LC_ALL),
        lambda value: locale.setlocale(locale.LC_ALL, value),
    ),
    "the timeout of new sockets": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "the path of modules": (lambda: list(sys.path), _to_path),
    "the standard streams": (lambda: [id(sys.stdin), id(sys.stdout), id(sys.stderr)], None),
    "the level of the root logger": (
        lambda: logging.root.level,
        logging.root.setLevel,
    ),
    "what is disabled of logging": (lambda: logging.root.manager.disable, logging.disable),
    "the limit of recursion": (sys.getrecursionlimit, sys.setrecursionlimit),
    "the collection of garbage": (
        gc.isenabled,
        lambda value: gc.enable() if value else gc.disable(),
    ),
}


def surroundings() -> Mapping[str, Any]:
    """The state of the process, by what it is called."""
    return {name: read() for name, (read, _) in _KINDS.items()}


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first of them that is another by now; never what it is, since that may be a secret."""
    return next((name for name in before if before[name] != now[name]), "")


@contextmanager
def unusual(folder: Path) -> Iterator[Mapping[str, Any]]:
    """A state such as nobody would set, since what a call leaves behind is set again by the next,
    and not seen; gives it. Afterwards all is as it was before."""
    before = surroundings()
    os.chdir(folder)
    os.umask(0o057)
    socket.setdefaulttimeout(61.5)
    sys.setrecursionlimit(sys.getrecursionlimit() + 7)
    try:
        yield surroundings()
    finally:
        now = surroundings()
        for name, (_, write) in _KINDS.items():
            if write is not None and now[name] != before[name]:
                with suppress(OSError):
                    write(before[name])
