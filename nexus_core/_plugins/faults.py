"""Faults of plugins as values: collected first, all of them, and raised only at the end.

An error that is raised while another is handled drags that one along, text and all. Checks here
therefore return faults, and errors are made from them outside every ``except`` block.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from nexus_core._model.errors import PluginContractError, PluginError, Problem

_TEXT_LIMIT: Final = 300


@attrs.frozen
class Fault:
    """One thing wrong with one plugin: the kind of error, what it is, and how to mend it."""

    kind: type[PluginError]
    what: str
    fix: str

    def error(self, distribution: str | None) -> PluginError:
        """A new error, ready to be raised; ``distribution`` is name and version."""
        source = "" if distribution is None else f"{distribution}: "
        return self.kind(source + self.what, distribution=distribution, hint=self.fix)

    def problem(self, path: str, distribution: str | None) -> Problem:
        """The same as a line of a report."""
        source = "" if distribution is None else f"{distribution}: "
        return Problem(path=path, what=source + self.what, fix=self.fix, code=self.kind.code)


def broken(what: str, fix: str) -> Fault:
    """A fault of the commonest kind: the plugin breaks a rule of registration."""
    return Fault(PluginContractError, what, fix)


def describe(error: BaseException, module: str = "") -> str:
    """Type, text and place of what a plugin raised, on one line, for the operator.

    The place is the innermost one in the module's own package, or else the innermost of all.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # a broken __str__ must not hide which error it was
        text = "(its text cannot be shown)"
    words = " ".join(text.split())[:_TEXT_LIMIT]
    said = f": {words}" if words else ""
    frames = traceback.extract_tb(error.__traceback__)
    package = module.partition(".")[0]
    own = [frame for frame in frames if package in Path(frame.filename).with_suffix("").parts]
    place = ""
    if frames:
        frame = (own or frames)[-1]
        place = f", at {Path(frame.filename).name} line {frame.lineno}"
    return f"{type(error).__name__}{said}{place}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""
