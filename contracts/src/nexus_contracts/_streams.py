"""What a process says on its standard streams while something is done, by whatever road."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Final

NAMES: Final = {1: "stdout", 2: "stderr"}


class Heard:
    """The bytes that went to each stream, by its name; to be asked when it is over."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = dict.fromkeys(NAMES.values(), b"")


@contextmanager
def overheard() -> Iterator[Heard]:
    """Take both streams, as Python has them and as the system has them; pass on what was said."""
    heard = Heard()
    with ExitStack() as stack:
        for number, name in NAMES.items():
            stack.enter_context(_taken(heard, number, name))
        yield heard


@contextmanager
def _taken(heard: Heard, number: int, name: str) -> Iterator[None]:
    usual: IO[str] | None = getattr(sys, name)
    _flush(name)
    try:
        kept = os.dup(number)
    except OSError:  # the process has none
        kept = None
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), number)
        # A test runner's own object may lead elsewhere than the descriptor.
        own = io.TextIOWrapper(
            io.FileIO(os.dup(file.fileno()), "w"), "utf-8", "replace", write_through=True
        )
        setattr(sys, name, own)
        try:
            yield
        finally:
            _flush(name)
            setattr(sys, name, usual)
            own.close()
            if kept is None:
                os.close(number)
            else:
                os.dup2(kept, number)
                os.close(kept)
            file.seek(0)
            said = heard.said[name] = file.read()
            if kept is not None and said:
                with os.fdopen(os.dup(number), "wb") as again:
                    again.write(said)


def _flush(name: str) -> None:
    """Write out what Python holds back for a stream."""
    for each in (getattr(sys, name), getattr(sys, f"__{name}__")):
        with suppress(OSError, ValueError, AttributeError):
            each.flush()
