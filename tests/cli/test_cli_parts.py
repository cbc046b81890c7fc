"""The small parts: what is printable, what errors say, what is written whole, what is shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus_core import (
    AccessDeniedError,
    ConfigurationError,
    ContextMissingError,
    InvalidArgumentError,
    NexusError,
    Problem,
    TenantIsolationError,
    UnavailableError,
)
from nexus_core._cli import failure
from nexus_core._cli.console import plural, printable, printable_lines, when
from nexus_core._cli.files import create, written_whole
from nexus_core._cli.progress import ticker
from nexus_core._cli.retrieve import place_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failure.UsageError("x"), 2),
        (ContextMissingError("x"), 2),
        (InvalidArgumentError("x"), 2),
        (ConfigurationError([Problem(path="a", what="b", fix="c")]), 1),
        (AccessDeniedError("x"), 1),
        (TenantIsolationError("x"), 1),
        (UnavailableError("x"), 1),
        (RuntimeError("x"), 3),
        (OSError("x"), 3),
    ],
)
def test_every_error_has_an_exit_code_and_words(error: Exception, code: int) -> None:
    """Usage is 2, everything else of the error tree is 1, and what is in no tree is 3."""
    assert failure.exit_code(error) == code
    assert all(failure.describe(error))
    assert failure.error_data(error)["error"]["message"]


def test_a_fault_is_named_by_type_and_place_and_never_by_its_text() -> None:
    """The text of an error that nobody foresaw may quote content, so it is not shown."""
    try:
        raise RuntimeError("the quarterly figures")
    except RuntimeError as error:
        said = "\n".join(failure.describe(error)) + str(failure.error_data(error))
    assert "quarterly" not in said
    assert "RuntimeError at test_cli_parts.py:" in said


def test_problems_say_where_what_and_how_to_mend() -> None:
    """Each problem is three lines: the place, what is wrong, the fix."""
    problem = Problem(path="stores.files.root", what="is missing", fix="name a folder")
    assert failure.problem_lines([problem]) == [
        "  stores.files.root",
        "    is missing",
        "    fix: name a folder",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünï — ☃", "plain, ünï — ☃"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\r", "a\\nb\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_printable_shows_what_a_terminal_would_act_upon(text: str, shown: str) -> None:
    """Controls and direction marks become visible; letters of any script stay as they are."""
    assert printable(text) == shown


def test_printable_lines_keep_the_lines() -> None:
    """Text of several lines stays several lines, tabs become blanks."""
    assert printable_lines("a\tb\n\nc\x00") == ["a       b", "", "c\\x00"]


def test_times_and_numbers_read_well() -> None:
    """Times are in UTC to the millisecond; a count agrees with its noun."""
    assert when(1_700_000_000_123_456) == "2023-11-14T22:13:20.123Z"
    assert [plural(n, "file") for n in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]


def test_places_are_said_as_people_say_them() -> None:
    """A locator shows page, section, row and line; where it has none of them, all that it has."""
    assert place_of({"start": 5, "line": 3, "page": 2, "end": 9}) == "page 2, line 3"
    assert place_of({"start_byte": 5, "stop": 9}) == "start byte 5, stop 9"
    assert place_of({}) == ""


def test_create_never_writes_over_anything(tmp_path: Path) -> None:
    """A file that is there, also as a dangling link, is an error and stays."""
    create(tmp_path / "new", b"new", mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("new", "link"):
        with pytest.raises(FileExistsError):
            create(tmp_path / name, b"other")
    assert (tmp_path / "new").read_bytes() == b"new"
    assert not (tmp_path / "target").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """An error in the middle leaves the old file and nothing beside it, and passes through."""
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def lines() -> Iterator[bytes]:
        yield b"new"
        raise UnavailableError("the sink went away")

    with pytest.raises(NexusError, match="the sink went away"), written_whole(path) as file:
        file.writelines(lines())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a pipe nothing is written; a terminal without rich gets a line that is taken away."""
    pipe = io.StringIO()
    with ticker(pipe, "ingesting", 2) as tick:
        tick("a")
    assert pipe.getvalue() == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    terminal = Terminal()
    with ticker(terminal, "ingesting", 2) as tick:
        tick("a\x1b.txt")
    shown = terminal.getvalue()
    assert "ingesting: 1/2  a?.txt" in shown
    assert shown.endswith("\r")
    assert "\x1b" not in shown


def test_progress_with_rich_ends_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rich installed the bar shows names as they are, markup and all, and goes away."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    with ticker(terminal, "ingesting", 2) as tick:
        tick("[bold]a.txt")
        tick("b.txt")
    assert terminal.getvalue()
