"""The project belongs to no machine: it names no one's folders and no package registry."""

from __future__ import annotations

import re

import pytest

# Put together from pieces, so that this file passes its own law.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("rubygems", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("docker", "io"),
        ("gcr", "io"),
        ("anaconda", "org"),
        ("download", "pytorch", "org"),
        ("huggingface", "co"),
    )
)
INDEX_OPTIONS = re.compile("--?(extra-)?" + "index-url|--find" + "-links|trusted" + "-host")
FOLDERS = "|".join(("home", "root", "Users", "work", "workspace", "builds", "opt/wheels"))
MACHINE = re.compile(
    rf"""(?:^|[\s"'`(=:])(?:/(?:{FOLDERS})/[\w.]|[A-Za-z]:\\+Users\\)""", re.MULTILINE
)
LOCKS = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json"}


def faults(text: str) -> list[str]:
    """Registries and machine's folders that a text names."""
    lowered = text.lower()
    found = [host for host in REGISTRIES if re.search(rf"(?<![\w-]){re.escape(host)}\b", lowered)]
    found += [match.group().strip() for match in MACHINE.finditer(text)]
    return found + [match.group() for match in INDEX_OPTIONS.finditer(text)]


def test_no_file_names_a_machine_or_a_registry(files: dict[str, str]) -> None:
    """No file names a folder of somebody's machine, a registry's host, or where to find one."""
    assert {path: found for path, text in files.items() if (found := faults(text))} == {}


def test_no_lock_file_is_kept(files: dict[str, str]) -> None:
    """No lock file is part of the project, for those spell out the hosts that they came from."""
    assert [path for path in files if path.rpartition("/")[2] in LOCKS and path != "uv.lock"] == []


@pytest.mark.parametrize(
    "text",
    [
        "see https://" + "pypi" + ".org/project/nexus",
        "https://files." + "pythonhosted" + ".org/a",
        "image: " + "ghcr" + ".io/x/y",
        "--extra-" + "index-url https://example.org",
        "--find" + "-links x",
        'path = "/' + 'home/ana/nexus"',
        "run /" + "root/.local/bin/tool",
        "cd /" + "Users/ana",
        "(/" + "work/main)",
        "C:" + "\\Users\\ana",
    ],
)
def test_a_planted_place_is_found(text: str) -> None:
    """The sweep finds a registry, an index option and a personal folder."""
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "/srv/nexus/raw",
        "https://www.w3.org/TR/trace-context/",
        "/etc/nexus.toml",
        "~/x",
        "root/work",
    ],
)
def test_ordinary_places_are_no_fault(text: str) -> None:
    """Places that any machine may have, and pages of standards, are not reported."""
    assert faults(text) == []
