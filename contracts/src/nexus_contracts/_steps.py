"""Steps of a backend's own code: where a call can be held up, and where its process can die.

A *line* is one of the backend's own; a call that is held there stands between any two of its reads
and writes. An *effect* is a return from what reaches the engine: a write to a file or a socket, a
statement of a database. Both are found by making a call once and watching it, so that no chance is
needed to strike the one place that matters.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final, TypeVar

T = TypeVar("T")
Line = tuple[str, int]
# A file's name, a function's, an instruction in it, and which time it is there.
Effect = tuple[str, str, int, int]

# How far back it is looked where an effect came from.
CALLERS: Final = 2

_SUITE: Final = Path(__file__).parent
_ALSO_OWN: Final = (str(_SUITE / "memory"), str(_SUITE / "zoo"))
_ENGINES: Final = frozenset(
    ("posix", "_io", "_socket", "socket", "_ssl", "ssl", "sqlite3", "_sqlite3", "mmap")
)
# They come with C code that reaches nothing.
_INERT: Final = frozenset(("attr", "attrs", "cffi", "numpy", "pydantic_core", "typing_extensions"))
# What they do not change the engine by.
_LOOKS: Final = frozenset(
    (
        *("stat", "lstat", "fstat", "fspath", "access", "scandir", "listdir", "fileno"),
        *("getpid", "getcwd", "getuid", "geteuid", "urandom", "waitpid", "_exit", "kill"),
        *("tell", "seek", "lseek", "getvalue", "isatty", "readable", "writable", "seekable"),
        *("cursor", "fetchone", "fetchall", "fetchmany", "get_inheritable"),
        *("gettimeout", "settimeout", "getsockopt", "setsockopt"),
    )
)
_READS: Final = frozenset(("read", "readinto", "readline", "readlines"))
# Nothing that another call could have changed between.
_OWN_AFFAIRS: Final = frozenset(("fspath", "getpid", "getcwd", "getuid", "geteuid", "urandom"))


def thinned(found: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly."""
    if len(found) <= most:
        return list(found)
    return [found[place * len(found) // most] for place in range(most)]


def halved(found: Sequence[T]) -> list[T]:
    """The same, those in the middle of what is left first: whoever stops early was everywhere."""
    order = sorted(range(len(found)), key=lambda place: f"{place:016b}"[::-1])
    return [found[place] for place in order]


def where(line: Line) -> str:
    """A line as a person would write it down."""
    return f"{line[0].replace(chr(92), '/').rpartition('/')[2]}:{line[1]}"


class Lines:
    """The lines of a backend's own modules that calls run through."""

    def __init__(self, backend: object) -> None:
        kinds = type(backend).__mro__
        files = [getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in kinds]
        folders = {str(Path(file).parent) for file in files if file}
        self._own = tuple(sorted(folder for folder in folders if _may_be_own(folder)))

    def met(self, call: Callable[[], T]) -> tuple[T, list[Line]]:
        """Make a call; gives its answer, and the lines in the order in which they were met."""
        found: dict[Line, None] = {}
        return self._traced(call, found.setdefault), list(found)

    def met_apart(self, call: Callable[[], T]) -> tuple[T, list[Line], list[Line]]:
        """``met``, with the lines that came right after the engine was asked or told something
        apart from the others: between two of those the engine is the same at every line."""
        found: dict[Line, bool] = {}
        touched = False

        def see(line: Line) -> None:
            nonlocal touched
            if line not in found:
                found[line], touched = touched, False

        def profile(_frame: FrameType, event: str, function: Any) -> None:
            nonlocal touched
            touched = touched or (event == "c_return" and _touches(function))

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            answer = self._traced(call, see)
        finally:
            sys.setprofile(before)
        after = [line for line, first in found.items() if first]
        return answer, after, [line for line, first in found.items() if not first]

    def each(self, call: Callable[[], T], see: Callable[[Line], object]) -> T:
        """Make a call, and look around before each line when it first comes there."""
        found: set[Line] = set()

        def first(line: Line) -> None:
            if line not in found:
                found.add(line)
                see(line)

        return self._traced(call, first)

    def held(self, call: Callable[[], T], at: Line, hold: Callable[[], object]) -> T:
        """Make a call that is held up before a line, when it first comes there."""
        waiting = [hold]

        def see(line: Line) -> None:
            if line == at and waiting:
                waiting.pop()()

        return self._traced(call, see)

    def _traced(self, call: Callable[[], T], see: Callable[[Line], object]) -> T:
        def line(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                see((frame.f_code.co_filename, frame.f_lineno))
            return line

        def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
            return line if frame.f_code.co_filename.startswith(self._own) else None

        before = sys.gettrace()
        sys.settrace(enter)
        try:
            return call()
        finally:
            sys.settrace(before)


def _may_be_own(folder: str) -> bool:
    import abc

    import nexus_core

    if folder.startswith(_ALSO_OWN):
        return True
    foreign = [str(_SUITE), str(Path(nexus_core.__file__).parent), str(Path(abc.__file__).parent)]
    packages = str(Path(abc.__file__).parent / "site-packages")
    return folder.startswith(packages) or not folder.startswith(tuple(foreign))


class Effects:
    """The effects of the calls of one process. Made before the store is opened."""

    def __init__(self) -> None:
        self.met: list[Effect] = []
        self._ways: dict[tuple[object, ...], list[Effect]] = {}
        self._times: dict[tuple[str, str, int], int] = {}
        self._armed = False
        self._fatal: Effect | None = None
        self._last_words: Callable[[str], object] = print
        threading.setprofile(self._see)

    def arm(self, fatal: Effect | None, last_words: Callable[[str], object]) -> None:
        """From now on watch; after this effect say where, and die."""
        self._fatal, self._last_words, self._armed = fatal, last_words, True
        sys.setprofile(self._see)

    def disarm(self) -> None:
        """Watch no longer."""
        sys.setprofile(None)
        self._armed = False

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        if not self._armed or event != "c_return" or not _reaches(function):
            return
        code = frame.f_code
        site = (code.co_filename, code.co_name, frame.f_lasti)
        time = self._times[site] = self._times.get(site, -1) + 1
        met = (*site, time)
        self.met.append(met)
        self._ways.setdefault((*site, *_callers(frame)), []).append(met)
        if met == self._fatal:
            name = getattr(function, "__qualname__", "a call")
            self._last_words(f"{name} in {Path(code.co_filename).name}:{frame.f_lineno}")
            os.kill(os.getpid(), signal.SIGKILL)

    def chosen(self) -> list[Effect]:
        """The effects to die after: for each place in the code, and each that it was called from,
        one, that in the middle."""
        return [times[len(times) // 2] for times in self._ways.values()]


def _callers(frame: FrameType) -> Iterator[tuple[str, int]]:
    """Where a call came from: a helper that all use is not one place."""
    for _ in range(CALLERS):
        if frame.f_back is None:
            return
        frame = frame.f_back
        yield frame.f_code.co_name, frame.f_lasti


def _touches(function: Any) -> bool:
    """Whether a call asks the engine something or tells it something."""
    owner = getattr(function, "__self__", None)
    module = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__
    name = getattr(function, "__name__", "")
    return (module in _ENGINES and name not in _OWN_AFFAIRS) or _reaches(function)


def _reaches(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    module = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__
    if name in _LOOKS or (module in ("posix", "_io") and name in _READS):
        return False
    if module in _ENGINES:
        return (module, name) != ("posix", "close") and type(owner).__name__ not in (
            "BytesIO",
            "StringIO",
        )
    top = module.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in _INERT
