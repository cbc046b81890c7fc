"""Progress of long work: rich's bar where it is installed, else a line that counts, else nothing.

It is written to a terminal only, so logs and pipes stay clean.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

Ticker = Callable[[str], None]

_EVERY: Final = 0.1


@contextmanager
def ticker(stream: TextIO, what: str, total: int | None) -> Iterator[Ticker]:
    """Give a function to be called with a short name after each step."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield _silent
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    except ImportError:
        with _counter(stream, what, total) as tick:
            yield tick
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[name]}", markup=False),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(what, total=total, name="")
        yield lambda name: progress.update(task, advance=1, name=_short(name, 40))


def _silent(_: str) -> None:
    return


@contextmanager
def _counter(stream: TextIO, what: str, total: int | None) -> Iterator[Ticker]:
    done = 0
    shown = 0.0
    width = 0

    def tick(name: str) -> None:
        nonlocal done, shown, width
        done += 1
        now = time.monotonic()
        if now - shown < _EVERY:
            return
        shown = now
        count = f"{done}" if total is None else f"{done}/{total}"
        line = _short(f"{what}: {count}  {name}", shutil.get_terminal_size().columns - 1)
        stream.write("\r" + line.ljust(width))
        stream.flush()
        width = len(line)

    try:
        yield tick
    finally:
        stream.write("\r" + " " * width + "\r")
        stream.flush()


def _short(text: str, width: int) -> str:
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= width else clean[: max(width - 1, 0)] + "…"
