"""The examples run as their first lines say, and do what they claim."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

EXAMPLES = Path(__file__).parents[2] / "examples"

FILM = """\
1
00:00:01,000 --> 00:00:02,500
The lighthouse keeper
writes a letter.

2
00:00:03,000 --> 00:00:04,000
Nobody answers.
"""


def example(name: str, *arguments: str | Path) -> str:
    """Run an example; return what it printed."""
    ended = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_examples_are_all_listed() -> None:
    """The page of examples names every one of them."""
    page = (EXAMPLES / "README.md").read_text()
    assert all(f"({path.name})" in page for path in EXAMPLES.glob("*.py"))


def test_example_first_steps(deployment: Path) -> None:
    """The first steps ingest a folder and print the nearest atoms with their words."""
    (deployment / "notes").mkdir()
    (deployment / "notes" / "rail.txt").write_text("The board approves journeys by rail.\n")
    arguments = (deployment / "nexus.toml", deployment / "notes", "who approves journeys?")
    assert "1 new documents, 0 known" in example("first_steps.py", *arguments)
    again = example("first_steps.py", *arguments)
    assert "0 new documents, 1 known" in again
    assert "rail.txt: The board approves journeys by rail." in again


def test_example_two_tenants(deployment: Path) -> None:
    """Two tenants with one text have two ids, and each hears of the other's what never was."""
    printed = example("two_tenants.py", deployment / "nexus.toml").splitlines()
    assert [line.rpartition(": ")[2].strip() for line in printed] == [
        "True",
        "[None]",
        "[None]",
        "True",
        "True",
    ]


def test_example_subtitles_cuts_captions(tmp_path: Path) -> None:
    """As a script the plugin cuts a film into captions with their places."""
    (tmp_path / "film.srt").write_text(FILM)
    printed = example("subtitles.py", tmp_path / "film.srt").splitlines()
    assert printed == [
        "{'caption': 1, 'at': '00:00:01,000'} The lighthouse keeper writes a letter.",
        "{'caption': 2, 'at': '00:00:03,000'} Nobody answers.",
    ]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH in which the example is installed as its text says."""
    folder = tmp_path / "site"
    info = folder / "nexus_subtitles-0.1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "subtitles.py").write_bytes((EXAMPLES / "subtitles.py").read_bytes())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nexus-subtitles\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[nexus.plugins]\nsubtitles = subtitles\n")
    return folder


def test_example_subtitles_is_a_sound_plugin(
    deployment: Path, nexus_process: Run, installed: Path
) -> None:
    """Installed and configured as it says, the plugin is sound and cuts what is ingested."""
    path = str(installed)
    assert nexus_process("plugins", "check", "subtitles", PYTHONPATH=path).code == 0
    with (deployment / "nexus.toml").open("a") as config:
        config.write('[atomizers.subtitles]\nplugin = "subtitles"\nuse = ["subrip@1"]\n')
    (deployment / "film.srt").write_text(FILM)
    script = (
        "from pathlib import Path\n"
        "from nexus_core import Nexus, RequestContext, Source\n"
        "context = RequestContext.build(tenant_id='acme', env='dev', actor_id='x',"
        " actor_kind='agent', role='owner')\n"
        "film = Source(logical_key='film', content_type='application/x-subrip',"
        " body=Path('film.srt'))\n"
        "with Nexus.open() as nexus, nexus.request(context) as n:\n"
        "    print(n.ingest(film, kind='data', space='films').items[0].atoms)\n"
        "    print(n.retrieve('lighthouse', k=1).hits[0].pointer.locator['at'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=deployment,
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.stdout.split() == ["2", "00:00:01,000"], ended.stderr
