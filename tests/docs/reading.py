"""The pages as data, and what it takes to run what they show."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from nexus_core._config import fresh_config

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ROLES = {"raw": "filesystem", "atoms": "sql", "vectors": "embedded", "audit": "sql"}
SCOPE = {
    "NEXUS_TENANT": "acme",
    "NEXUS_ENV": "dev",
    "NEXUS_ACTOR": "ana",
    "NEXUS_ACTOR_KIND": "human",
    "NEXUS_ROLE": "owner",
}


@attrs.frozen
class Block:
    """One fenced block: where it is, its language, the remark before it, and what it says."""

    page: str
    line: int
    language: str
    mark: str
    text: str = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """Every page of the checkout that is for readers: its path from the root, and its text."""
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("contracts/*.md"),
        *ROOT.glob("contracts/docs/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("plugins/*/*.md"),
    ]
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(found)
    }


def blocks(language: str, *, within: str = "") -> list[Block]:
    """The blocks of a language, in the pages whose paths begin with ``within``."""
    return [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            match["mark"] or "",
            match["text"],
        )
        for page, text in pages().items()
        if page.startswith(within)
        for match in FENCE.finditer(text)
        if match["language"] == language
    ]


def files_of(page: str) -> dict[str, str]:
    """The files that a page gives in full: blocks with the remark ``file: NAME``."""
    return {
        block.mark.removeprefix("file: "): block.text
        for language in ("python", "toml")
        for block in blocks(language, within=page)
        if block.mark.startswith("file: ")
    }


def inline(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {inline(each)}' for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else f"'{value}'"


def completed(snippet: str) -> str:
    """A snippet put over the configuration that ``nexus init`` writes, as TOML.

    Stores, embedders and indexes are joined, everything else is replaced. A store that a route
    names and the snippet does not show is made up, of the family that the release has for the role.
    """
    shown = tomllib.loads(snippet)
    whole = tomllib.loads(fresh_config())
    for key, value in shown.items():
        if key in ("stores", "embedders"):
            whole[key] |= value
        elif key == "indexes":
            whole[key] += value
        else:
            whole[key] = value
    for route in whole["routes"]:
        for role, family in ROLES.items():
            name = route.get(role)
            if name is not None and name not in whole["stores"]:
                place = {"url": f"sqlite:///data/{name}.db"} if family == "sql" else {"root": name}
                whole["stores"][name] = {"backend": family, **place}
    if not any(route.get("audit") for route in whole["routes"]):
        whole["routes"].append({"audit": "records"})
    return "".join(f"{key} = {inline(value)}\n" for key, value in whole.items())


@attrs.frozen
class Ended:
    """A command that has ended: its exit code and what it said on both streams together."""

    code: int
    said: str


def command(folder: Path, *arguments: str, **extra: str) -> Ended:
    """Run ``nexus`` in this process, in a folder, as the owner of acme/dev."""
    from nexus_core._cli.main import main

    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with (
        mock.patch.dict(os.environ, {**kept, **SCOPE, **extra}, clear=True),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        try:
            code = main(list(arguments))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else -1
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return Ended(code, stream.buffer.getvalue().decode())
