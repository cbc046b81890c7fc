"""Reading ``nexus.toml`` into plain data, and what no value in it may be, whatever its key.

Problems name places, never values: a secret that somebody pasted into the wrong line stays there.
"""

from __future__ import annotations

import json
import math
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final, TypeAlias

from nexus_core._model.errors import Problem

Key: TypeAlias = str | int
Place: TypeAlias = tuple[Key, ...]

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32

_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WHERE: Final = re.compile(r"line (\d+), column (\d+)")
# A password inside a URL, as user info or as a parameter.
_URL_SECRET: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#\s@]*:[^/?#\s@]+@|\S*[?&](?:password|passwd|pwd|secret|token)=)",
    re.IGNORECASE,
)


def path_of(place: Place) -> str:
    """A place as problems show it: ``stores.files.root``, ``routes.0.raw``."""
    return ".".join(
        key if isinstance(key, str) and _BARE.fullmatch(key) else json.dumps(key)[:80]
        for key in place
    )


def read_file(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Read and parse the file; on any problem the data is empty and the problem is the only one."""
    data, reason, fix = _read_bytes(path)
    if not reason:
        document, reason = _parse(data)
        fix = "correct the file's syntax; see https://toml.io"
        if not reason:
            return document, []
    code = "config.unreadable" if not data else "config.syntax"
    return {}, [Problem(path=str(path), what=reason, fix=fix, code=code)]


def _read_bytes(path: Path) -> tuple[bytes, str, str]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b"", "is not a file", "name the configuration file itself"
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return b"", "does not exist", "write one with `nexus init`, or name another"
    except OSError as error:
        return b"", f"cannot be read: {error.strerror}", "let this user read it"
    except ValueError:
        return b"", "is not a path", "name the configuration file"
    if len(data) > MAX_BYTES:
        return b"", f"is larger than {MAX_BYTES} bytes", "name the configuration file itself"
    if not data.strip():
        return b"", "is empty", "write one with `nexus init`"
    return data, "", ""


def _parse(data: bytes) -> tuple[dict[str, Any], str]:
    # The parser's own texts quote the input, and some of its errors carry all of it.
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return {}, f"is not UTF-8 at line {line}"
    except RecursionError:
        return {}, "is nested too deeply"
    except ValueError as error:
        found = _WHERE.search(str(error))
        if found is None:
            lines = len(data.splitlines())
            return {}, f"is not valid TOML, at its end (line {lines}) or before"
        return {}, f"is not valid TOML at line {found[1]}, column {found[2]}"
    return ({}, "is nested too deeply") if _too_deep(document) else (document, "")


def _too_deep(document: dict[str, Any]) -> bool:
    # Dotted keys nest without end where the parser does not recurse; everything after it does.
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            each
            for value in level
            if isinstance(value, dict | list)
            for each in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def parse_value(text: str) -> Any:
    """Parse one TOML value; raises ``ValueError`` (without the text) for anything else."""
    document, reason = _parse(b"value = " + text.encode("utf-8"))
    if reason or document.keys() != {"value"}:
        raise ValueError("not one TOML value")
    return document["value"]


def plain(value: Any) -> Any:
    """The same data as JSON has it: dates and times as text, zero for NaN and the like.

    ``value_problems`` has the numbers that are lost here.
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if _is_unusable_number(value):
        return type(value)()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value


def _is_unusable_number(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is neither a table nor a list, with its place."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, (*place, key))
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            yield from leaves(each, (*place, position))
    else:
        yield place, value


def value_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What no value may be, whatever it means: blank, no number, a URL with a password."""
    for place, value in leaves(document):
        path = path_of(place)
        if any(isinstance(key, str) and not key.strip() for key in place):
            yield Problem(path=path, what="has a blank key", fix="name it", code="config.blank")
        if _is_unusable_number(value):
            yield Problem(
                path=path,
                what="is not a finite number of 64 bits",
                fix="write a usual number",
                code="config.number",
            )
        elif isinstance(value, str) and not value.strip():
            yield Problem(
                path=path,
                what="is blank",
                fix="give it a value, or take the line out if it is optional",
                code="config.blank",
            )
        elif isinstance(value, str) and _URL_SECRET.search(value) is not None:
            yield Problem(
                path=path,
                what="has a password in a URL",
                fix='take it out, and give it by reference: { env = "NAME" } or { file = "PATH" }',
                code="config.inline_secret",
            )
