"""Standard output and standard error: calm text for people, or JSON and nothing else.

Text that comes from stored content goes through ``printable``, so that no document can move the
cursor of whoever looks at it.
"""

from __future__ import annotations

import io
import json as _json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TextIO, final

from nexus_core._cli.progress import Ticker, ticker

_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_RED: Final = "\x1b[31m"
_GREEN: Final = "\x1b[32m"
_PLAIN: Final = "\x1b[0m"


@final
class Console:
    """Where one command writes. With ``json`` the methods for text write nothing."""

    __slots__ = ("_colour", "_err", "_out", "json")

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._out: TextIO = sys.stdout
        self._err: TextIO = sys.stderr
        if isinstance(self._out, io.TextIOWrapper):
            # JSON is UTF-8 wherever it is written; text shows what the terminal can show.
            self._out.reconfigure(encoding="utf-8" if json else None, errors="replace")
        self._colour = (
            not json
            and self._out.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )

    # -- text --------------------------------------------------------------------------------

    def say(self, *lines: str) -> None:
        """Write lines for a person; one empty line where none is given."""
        if not self.json:
            self._out.write("\n".join(lines) + "\n")

    def say_all(self, lines: Iterable[str]) -> None:
        """Write lines, and nothing where there are none."""
        for line in lines:
            self.say(line)

    def heading(self, text: str) -> None:
        """Write a heading, with an empty line before it."""
        self.say("", self.bold(text))

    def table(
        self, rows: Sequence[Sequence[str]], headings: Sequence[str], *, indent: int = 0
    ) -> None:
        """Write aligned columns; numbers, which a caller has formatted alike, align by themselves.

        The last column is not padded, so that no line ends in blanks.
        """
        if self.json or not rows:
            return
        lines = [tuple(headings), *(tuple(printable(cell) for cell in row) for row in rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(headings))]
        for number, line in enumerate(lines):
            padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            text = " " * indent + "  ".join(padded).rstrip()
            self.say(self.dim(text) if number == 0 else text)

    def warn(self, line: str) -> None:
        """Write a line to standard error, in both modes."""
        self._err.write(line + "\n")

    def traceback(self, error: BaseException) -> None:
        """Write an error's traceback to standard error."""
        self._err.write("".join(traceback.format_exception(error)))

    # -- JSON --------------------------------------------------------------------------------

    def document(self, data: Any) -> None:
        """Write one JSON document, or one of several JSON lines; whoever reads gets it at once."""
        if self.json:
            self._out.write(_json.dumps(data, ensure_ascii=False) + "\n")
            self._out.flush()

    def flush(self) -> None:
        """Hand everything to whoever reads it; a closed pipe raises here and not at exit."""
        self._out.flush()

    # -- style -------------------------------------------------------------------------------

    def bold(self, text: str) -> str:
        return self._styled(_BOLD, text)

    def dim(self, text: str) -> str:
        return self._styled(_DIM, text)

    def good(self, text: str) -> str:
        return self._styled(_GREEN, text)

    def bad(self, text: str) -> str:
        return self._styled(_RED, text)

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colour else text

    # -- progress ----------------------------------------------------------------------------

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Ticker]:
        """Show how far long work has come, on standard error and only where a person sees it."""
        with ticker(self._err, what, total) as tick:
            yield tick


def printable(text: str) -> str:
    """The text on one line, with whatever a terminal would act upon made visible."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def printable_lines(text: str) -> list[str]:
    """The text's lines, each printable."""
    return [printable(line.expandtabs()) for line in text.splitlines()]


def when(microseconds: int) -> str:
    """A time in UTC as text (RFC 3339), to the millisecond."""
    seconds, rest = divmod(microseconds, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:03d}Z"


def plural(count: int, noun: str) -> str:
    """``1 file``, ``2 files``; the noun forms its plural with an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
