"""From an error to the words on standard error and the exit code. Never a traceback by itself."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Final

from nexus_core._model.errors import (
    ConfigurationError,
    ContextError,
    InvalidArgumentError,
    NexusError,
    Problem,
)

OK: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
INTERNAL: Final = 3
INTERRUPTED: Final = 130


class UsageError(Exception):
    """The command line cannot be understood; ``hint`` says what to type instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def exit_code(error: BaseException) -> int:
    """The exit code that an error ends the command with."""
    if isinstance(error, UsageError | ContextError | InvalidArgumentError):
        return USAGE
    if isinstance(error, NexusError):
        return FINDINGS
    return INTERNAL


def describe(error: BaseException) -> list[str]:
    """What is wrong, where, and how to mend it, as lines."""
    if isinstance(error, ConfigurationError):
        return [_heading(error), *problem_lines(error.problems)]
    if isinstance(error, NexusError):
        return [f"{error.message} [{error.code}]", *_indented(error.hint)]
    if isinstance(error, UsageError):
        return [error.message, *_indented(error.hint)]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return [
        f"this is a fault of Nexus or of a plugin: {type(error).__name__}{place}",
        "  run it again with --debug and report what it shows",
    ]


def problem_lines(problems: tuple[Problem, ...] | list[Problem]) -> list[str]:
    """Problems as readers want them: the place, what is wrong with it, what to do."""
    lines: list[str] = []
    for problem in problems:
        lines += [f"  {problem.path}", f"    {problem.what}", f"    fix: {problem.fix}"]
    return lines


def problem_data(problem: Problem) -> dict[str, str]:
    """A problem as JSON data."""
    return {
        "path": problem.path,
        "what": problem.what,
        "fix": problem.fix,
        "code": problem.code,
    }


def error_data(error: BaseException) -> dict[str, Any]:
    """An error as JSON data, so that a reader of ``--json`` never takes a part for the whole."""
    if isinstance(error, NexusError):
        data: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
        if isinstance(error, ConfigurationError):
            data["message"] = _heading(error)
            data["problems"] = [problem_data(problem) for problem in error.problems]
        return {"error": data}
    if isinstance(error, UsageError):
        return {"error": {"code": "usage", "message": error.message, "hint": error.hint}}
    return {"error": {"code": "internal", "message": describe(error)[0], "hint": ""}}


def _heading(error: ConfigurationError) -> str:
    count = len(error.problems)
    return f"the configuration has {count} problem{'' if count == 1 else 's'}"


def _indented(hint: str) -> list[str]:
    return [f"  {line}" for line in hint.splitlines()]
