"""How the command starts: quickly, with a page worth reading, and with words for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_core._cli.main import main
from nexus_core._cli.options import CONFIG, CONTEXT
from nexus_core._cli.page import COMMANDS, HELP

HEAVY = ("pydantic", "cryptography", "attrs", "attr", "pluggy", "sqlalchemy", "numpy", "rich")
FAMILIES = {
    "config": ("check", "show", "schema"),
    "plugins": ("list", "check"),
    "atoms": ("export", "count"),
    "index": ("list", "define", "approve", "apply"),
    "hold": ("set", "lift", "extend"),
    "erase": ("subject", "scope"),
    "events": ("list", "relay"),
    "audit": ("tail", "verify", "checkpoint", "prove", "export"),
}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_cli_page_and_version_import_nothing_heavy(option: str) -> None:
    """Help and version import none of the libraries that the work needs."""
    script = (
        "import sys; from nexus_core._cli.main import main; code = main(sys.argv[1:]);"
        f"print(sorted(set(sys.modules) & {set(HEAVY)!r}), file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, option], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.strip()) == (0, "[]")
    assert "nexus" in ended.stdout.lower()


def test_cli_page_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The page of help names every command and every verb that there is."""
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(HELP)
    for command in COMMANDS:
        assert f"\n  {command} " in page, command
        for verb in FAMILIES.get(command, ()):
            assert verb in page, (command, verb)
    assert max(map(len, page.splitlines())) <= 84


@pytest.mark.parametrize(
    "words",
    [
        *[(command,) for command in COMMANDS],
        *[(family, verb) for family, verbs in FAMILIES.items() for verb in verbs],
    ],
)
def test_cli_every_command_explains_itself(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command's help says what it takes and shows examples that begin with its own name."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    page = capsys.readouterr().out
    assert ended.value.code == 0
    if words not in [(family,) for family in FAMILIES]:
        assert f"examples:\n  nexus {' '.join(words)}" in page
        assert "--config FILE" in page
        assert "--json" in page


def test_cli_without_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The bare command shows the page."""
    assert main([]) == 0
    assert capsys.readouterr().out.startswith(HELP)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["docter"], "did you mean 'nexus doctor'?"),
        (["frobnicate"], "nexus --help lists the commands"),
        (["--json", "doctor"], "options come after the command"),
    ],
)
def test_cli_unknown_words_are_usage_errors(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that is not there ends with 2 and a suggestion, and nothing on standard output."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert (captured.out, said in captured.err) == ("", True)


def test_cli_names_every_missing_part_of_the_context(
    tmp_path: Path, nexus_in: Callable[[Path], Callable[..., object]]
) -> None:
    """What is missing of the context is named at once, before any configuration is looked for."""
    ended = nexus_in(tmp_path)(
        "audit",
        "tail",
        NEXUS_TENANT="",
        NEXUS_ENV="",
        NEXUS_ACTOR="",
        NEXUS_ACTOR_KIND="",
        NEXUS_ROLE="owner",
    )
    assert (ended.code, ended.out) == (2, "")  # type: ignore[attr-defined]
    error = ended.err  # type: ignore[attr-defined]
    assert "--tenant, --env, --actor, --actor-kind\n" in error
    assert "NEXUS_TENANT, NEXUS_ENV, NEXUS_ACTOR, NEXUS_ACTOR_KIND" in error
    assert "NEXUS_ROLE" not in error


def test_cli_reader_that_goes_away_is_no_traceback(deployment: Path) -> None:
    """When whoever reads the output stops reading, the command ends with 1 and says nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    running = subprocess.Popen(
        [sys.executable, "-m", "nexus_core", "config", "schema"],
        cwd=deployment,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    said = running.stderr.read()
    running.stderr.close()
    assert (running.wait(timeout=60), said) == (1, b"")


def test_cli_interrupt_is_130_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupt ends with 130 and a word; of an ingest it says how it is finished."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("nexus_core._cli.ingest.run", interrupted)
    assert main(["ingest", "x", "--kind", "data", "--space", "notes"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nexus ingest: interrupted\n")
    assert "nexus recover" in captured.err


def test_cli_fault_is_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw ends with 3, says where, and how to see more."""

    def faulty(*_: object) -> int:
        raise ZeroDivisionError("12 / 0")

    monkeypatch.setattr("nexus_core._cli.plugins.run_list", faulty)
    assert main(["plugins", "list", "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == "internal"
    assert "ZeroDivisionError at test_cli_start.py:" in captured.err
    assert "--debug" in captured.err
    assert "12 / 0" not in captured.out + captured.err


def test_cli_variables_are_no_overrides() -> None:
    """The variables of the context never look like an override of the configuration."""
    assert all(name.startswith("NEXUS_") for name in (*CONTEXT.values(), CONFIG))
    assert not any("__" in name for name in (*CONTEXT.values(), CONFIG))
