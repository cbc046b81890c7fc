"""Every configuration that a page shows is read, and every output that it shows is real."""

from __future__ import annotations

import re
import secrets
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from nexus_core._config import fresh_config, inspect
from nexus_core._plugins import Registry
from nexus_core.spi import Problem

from .reading import Block, blocks, command, completed, files_of

PAGE = "docs/configuration.md"
SNIPPETS = [block for block in blocks("toml") if not block.mark.startswith("file: ")]
LAWFUL = [block for block in SNIPPETS if block.mark != "broken" and "refused" not in block.mark]
REFUSED = [block for block in SNIPPETS if block.mark.startswith("refused: ")]
WHOLE = ("whole", "as init writes it")
OUTPUTS = [block for block in blocks("console", within=PAGE) if block.mark == "output"]


def problems_of(block: Block, folder: Path, registry: Registry) -> list[Problem]:
    """What is wrong with a snippet, in a folder that has every secret it refers to."""
    text = block.text if block.mark in WHOLE else completed(block.text)
    for name in re.findall(r"['\"](/run/[^'\"]+)['\"]", text):
        (folder / "given.key").write_text(secrets.token_hex(32))
        text = text.replace(name, "given.key")
    path = folder / "nexus.toml"
    path.write_text(text, encoding="utf-8")
    environ = {name: secrets.token_hex(32) for name in re.findall(r"[\"']([A-Z_]+)[\"']", text)}
    return inspect(path, registry=registry, environ=environ)[1]


@pytest.mark.parametrize("block", LAWFUL, ids=str)
def test_what_a_page_shows_is_accepted(block: Block, deployment: Path, installed: Registry) -> None:
    """A configuration on any page is accepted as it stands, or over that of ``nexus init``."""
    assert problems_of(block, deployment, installed) == []


@pytest.mark.parametrize("block", REFUSED, ids=str)
def test_what_a_page_calls_refused_is_refused(
    block: Block, deployment: Path, installed: Registry
) -> None:
    """A configuration that a page calls refused is refused, in the words of the page alone."""
    (problem,) = problems_of(block, deployment, installed)
    assert block.mark.removeprefix("refused: ") in str(problem)
    assert not [value for value in re.findall(r'"(\w{64})"', block.text) if value in str(problem)]


def test_the_page_shows_what_init_writes() -> None:
    """The first configuration of the page is the one that ``nexus init`` writes."""
    (block,) = (block for block in SNIPPETS if block.mark == "as init writes it")
    assert tomllib.loads(block.text) == tomllib.loads(fresh_config())


def test_every_remark_before_a_configuration_is_known() -> None:
    """No configuration escapes the tests by a remark that they do not know."""
    known = re.compile(r"|file: .+|refused: .+|broken|whole|as init writes it")
    assert [str(block) for block in blocks("toml") if not known.fullmatch(block.mark)] == []
    assert len(LAWFUL) > 10
    assert len(REFUSED) > 2
    assert "pyproject.toml" in files_of("docs/plugins.md")


def environment(words: list[str]) -> tuple[Mapping[str, str], list[str]]:
    """The variables that a command line begins with, and the rest of it."""
    extra: dict[str, str] = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        extra[name] = value
    return extra, words


@pytest.mark.parametrize("block", OUTPUTS, ids=str)
def test_an_output_that_the_page_shows_is_real(block: Block, deployment: Path) -> None:
    """What the page prints under a command is what the command prints, with the page's files."""
    (broken,) = (each for each in blocks("toml", within=PAGE) if each.mark == "broken")
    (deployment / "nexus.toml").rename(deployment / "working.toml")
    (deployment / "nexus.toml").write_text(broken.text, encoding="utf-8")
    line, _, shown = block.text.partition("\n")
    extra, words = environment(shlex.split(line.removeprefix("$ ")))
    assert words.pop(0) == "nexus"
    ended = command(deployment, *words, **extra)
    said = ended.said.replace(f"{deployment}/", "")
    assert said == shown
    assert ended.code == 1
