"""What holds for every page: links lead somewhere, code runs, commands exist, names are there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from nexus_contracts import run
from nexus_contracts._verdict import Status

import nexus_core
from nexus_core import RequestContext, spi
from nexus_core._cli.more import installed as further
from nexus_core._cli.options import command_parser
from nexus_core._cli.page import COMMANDS
from nexus_core._spi import hookspecs

from .reading import FENCE, ROOT, Block, blocks, files_of, pages

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)
LINES = [
    (block, match[1])
    for language in ("console", "sh")
    for block in blocks(language)
    for match in COMMAND.finditer(block.text)
]


def prose(text: str) -> str:
    """A page without its blocks."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    found: dict[str, int] = {}
    out = set()
    for heading in HEADING.findall(prose(text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        seen = found.get(anchor, 0)
        found[anchor] = seen + 1
        out.add(f"{anchor}-{seen}" if seen else anchor)
    return out


def broken_links(page: str, text: str) -> Iterator[str]:
    """Links of a page that lead to no file, or to no heading of one."""
    for target in LINK.findall(prose(text)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists():
            yield f"{page}: {target} leads nowhere"
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
            yield f"{page}: {target} has no such heading"


def test_every_link_leads_somewhere() -> None:
    """Each link of each page leads to a file of the checkout, and to a heading that it has."""
    found = pages()
    assert len(found) > 12
    assert [each for page, text in found.items() for each in broken_links(page, text)] == []


@pytest.mark.parametrize(
    "text", ["[a](gone.md)", "[a](README.md#gone)", "[a](#gone)", "# Here\n[a](#here-1)"]
)
def test_a_planted_link_is_found(text: str) -> None:
    """A link to a file or heading that is not there is found, and one in a block is left alone."""
    assert list(broken_links("README.md", text))
    assert not list(broken_links("README.md", f"```\n{text.splitlines()[-1]}\n```\n"))


def test_every_page_is_in_the_index() -> None:
    """The index names every page of the folder."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    names = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    assert [name for name in names if f"({name}" not in index] == []


def parsed(line: str) -> None:
    """Parse a ``nexus`` command line with the command's own parser; ``SystemExit`` if it cannot."""
    command, *rest = shlex.split(line, comments=True)[1:]
    module = COMMANDS.get(command)
    if module is None:
        ((module, _),) = further(frozenset(COMMANDS))[command]
    parser = command_parser(command)
    import_module(module).arguments(parser)
    parser.parse_args(rest)


@pytest.mark.parametrize(("block", "line"), LINES, ids=str)
def test_every_command_of_a_page_exists(block: Block, line: str) -> None:
    """A command that a page shows is one that can be given: its words and its flags exist."""
    line = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)
    words = shlex.split(line, comments=True)
    if words[0] == "nexus":
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                parsed(line)
            except SystemExit as ended:
                assert ended.code == 0, said.getvalue()  # noqa: PT017  # argparse's only sign
    elif words[:3] == ["tox", "run", "-e"]:
        assert f"[testenv:{words[3]}]" in (ROOT / "tox.ini").read_text(encoding="utf-8")
    elif words[:3] == ["python", "-m", "tools.servers"]:
        assert (ROOT / "tools" / "servers" / f"_{words[3]}.py").is_file()
    elif words[:2] == ["python3", "-c"]:
        compile(words[2], line, "exec")
    elif words[0].startswith("python"):
        assert (ROOT / words[1]).is_file() or (ROOT / block.page).parent.joinpath(
            words[1]
        ).is_file()
        if words[1] == "dev.py":
            assert re.search(rf"^    python3 dev.py {words[2]}\b", dev_help(), re.MULTILINE)
    else:
        assert words[0] in ("pip", "pytest"), line


def dev_help() -> str:
    """What the checkout's script says of itself."""
    return (ROOT / "dev.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "line", ["nexus doctr", "nexus doctor --fast", "nexus config", "nexus x y"]
)
def test_a_planted_command_is_refused(line: str) -> None:
    """A command or flag that does not exist is not taken for one that does."""
    with contextlib.redirect_stderr(io.StringIO()), pytest.raises((SystemExit, KeyError)):
        parsed(line)


PROGRAMS = blocks("python", within="README.md")
SUITE = blocks("python", within="contracts/README.md")


def test_the_programs_of_all_pages_are_known() -> None:
    """Every Python block of every page is run by a test: here, or with the page on plugins."""
    given = [
        block
        for block in blocks("python", within="docs/plugins.md")
        if block.mark.startswith("file: ") or "run(harness" in block.text
    ]
    files = [name for name in files_of("docs/plugins.md") if name.endswith(".py")]
    assert len(given) == len(files) + 1
    assert {str(block) for block in blocks("python")} == {
        str(block) for block in (*given, *PROGRAMS, *SUITE)
    }


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_of_the_readme_runs(block: Block, deployment: Path) -> None:
    """The program of the front page runs as it stands beside a fresh deployment."""
    (deployment / "handbook").mkdir()
    (deployment / "handbook" / "parcels.md").write_text(
        "# Parcels\n\nTo return a parcel, bring it to the front desk within a month.\n"
    )
    with contextlib.chdir(deployment), contextlib.redirect_stdout(io.StringIO()) as printed:
        names: dict[str, object] = {}
        exec(compile(block.text, str(block), "exec"), names)  # noqa: S102  # the page's own code
    assert isinstance(names["context"], RequestContext)
    lines = printed.getvalue().splitlines()
    assert any("parcels.md" in line for line in lines)
    assert any("→" in line for line in lines)


@pytest.mark.parametrize("block", SUITE, ids=str)
def test_a_harness_of_the_suites_page_works(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness that the suite's own page shows serves a plugin such as the page imagines."""
    import nexus_filesystem

    imagined = ModuleType("my_plugin")
    spec = nexus_filesystem.nexus_raw_store()
    vars(imagined).update(SPEC=spec, MyConfig=spec.config)
    monkeypatch.setitem(sys.modules, "my_plugin", imagined)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(block.text, str(block), "exec"), names)  # noqa: S102  # the page's own code
    wanted = {"RAW-001", "CFG-101", "CFG-102", "CFG-103"}
    report = run(names["harness"], only=wanted)
    assert {line.id for line in report.of_status(Status.PASSED)} == wanted


def test_the_reference_is_current() -> None:
    """The reference is what its tool writes from the code."""
    ended = subprocess.run(
        [sys.executable, ROOT / "tools" / "generate_docs.py", "--check"],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, "run python tools/generate_docs.py"


WRITING = (*pages(), "examples/subtitles.py", "examples/first_steps.py", "examples/two_tenants.py")


def said() -> str:
    """Everything that pages and examples say."""
    return "\n".join((ROOT / each).read_text(encoding="utf-8") for each in WRITING)


def test_every_hook_is_explained() -> None:
    """The page on plugins names every hook; the reference lists it."""
    hooks = [name for name in vars(hookspecs) if name.startswith("nexus_")]
    assert len(hooks) == 9
    page, reference = (
        (ROOT / "docs" / name).read_text(encoding="utf-8")
        for name in ("plugins.md", "reference.md")
    )
    assert [hook for hook in hooks if f"def {hook}(" not in page and f"`{hook}`" not in page] == []
    assert [hook for hook in hooks if f"`{hook}`" not in reference] == []


# Names that a newcomer meets as values of other things, and never has to write.
MET = re.compile(r".*(Page|Handle|Listing|Hit|Row|Statistics|Capabilities|Written|Stream|Content)")


def unmentioned(names: list[str]) -> list[str]:
    """Names that neither a page nor an example says."""
    text = said()
    return [
        name
        for name in names
        if not MET.fullmatch(name) and re.search(rf"\b{name}\b", text) is None
    ]


def test_names_that_applications_need_are_mentioned() -> None:
    """What an application can import from the core, a page or an example mentions."""
    assert unmentioned(list(nexus_core.__all__)) == []


def test_names_that_plugin_authors_need_are_mentioned() -> None:
    """What a plugin can import from the interface, a page or an example mentions."""
    assert unmentioned(list(spi.__all__)) == []
