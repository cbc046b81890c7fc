"""What ``nexus init`` makes, and what it never touches."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_init_makes_a_deployment_that_works(tmp_path: Path, process_in: Callable[..., Run]) -> None:
    """Init makes configuration, key and stores, says each, and the doctor finds nothing wrong."""
    ended = process_in(tmp_path)("init", "site", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.data["config"] == "site/nexus.toml"
    said = "\n".join(ended.data["made"])
    for thing in ("site/nexus.toml", "site/secrets/root.key", "store files", "store records"):
        assert thing in said, thing
    assert process_in(tmp_path / "site")("doctor", "--read-only").code == 0


def test_init_makes_a_random_key_for_its_owner_alone(
    tmp_path: Path, nexus_in: Callable[..., Run]
) -> None:
    """The root key is 64 hex digits, its owner's alone to read, and another one each time."""
    for name in ("one", "two"):
        assert nexus_in(tmp_path)("init", name).code == 0
    keys = [(tmp_path / name / "secrets" / "root.key") for name in ("one", "two")]
    texts = [key.read_text() for key in keys]
    assert all(re.fullmatch(r"[0-9a-f]{64}\n", text) for text in texts)
    assert texts[0] != texts[1]
    assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]


def test_init_again_makes_and_changes_nothing(deployment: Path, nexus: Run) -> None:
    """A second init finds everything there and changes no byte of configuration and key."""
    names = ("nexus.toml", "secrets/root.key")
    before = {name: (deployment / name).read_bytes() for name in names}
    ended = nexus("init", "--json")
    assert (ended.code, ended.data["made"]) == (0, [])
    assert {name: (deployment / name).read_bytes() for name in names} == before


def test_init_keeps_a_key_that_is_there(tmp_path: Path, nexus_in: Callable[..., Run]) -> None:
    """A root key without a configuration beside it is used, not replaced."""
    (tmp_path / "secrets").mkdir()
    key = tmp_path / "secrets" / "root.key"
    key.write_text("0123456789abcdef" * 4)
    assert nexus_in(tmp_path)("init").code == 0
    assert key.read_text() == "0123456789abcdef" * 4


def test_init_makes_a_missing_store_of_a_configuration_that_exists(
    deployment: Path, nexus: Run
) -> None:
    """Where there is a configuration, init creates what it names and is missing, and no more."""
    config = deployment / "nexus.toml"
    config.write_text(config.read_text().replace('root = "data/raw"', 'root = "elsewhere/raw"'))
    assert nexus("doctor", "--read-only").code == 1
    ended = nexus("init", "--json")
    assert ended.code == 0
    assert any("elsewhere/raw" in line for line in ended.data["made"])
    assert not any("nexus.toml" in line or "root.key" in line for line in ended.data["made"])
    assert nexus("doctor", "--read-only").code == 0


def test_init_of_a_broken_configuration_makes_nothing(deployment: Path, nexus: Run) -> None:
    """A configuration with a problem is not provisioned, and the problem is named."""
    config = deployment / "nexus.toml"
    config.write_text(config.read_text().replace("[stores.records]", "[stores.recrods]"))
    before = contents(deployment)
    ended = nexus("init")
    assert (ended.code, ended.out) == (1, "")
    assert "routes.0.atoms" in ended.err
    assert contents(deployment) == before


def test_init_without_the_plugins_says_what_to_install(
    tmp_path: Path, process_in: Callable[..., Run]
) -> None:
    """Where plugins of a fresh configuration are missing, init names them and writes nothing."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    # A distribution finder that shows every distribution but those of plugins.
    (hidden / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "real = m.distributions\n"
        "m.distributions = lambda **k: (d for d in real(**k)"
        " if not any(e.group == 'nexus.plugins' for e in d.entry_points))\n"
    )
    ended = process_in(tmp_path)("init", "site", PYTHONPATH=str(hidden))
    assert ended.code == 1
    assert (
        "pip install nexus-atomizers nexus-embedded nexus-embedders nexus-filesystem" in ended.err
    )
    assert not (tmp_path / "site").exists()


def test_init_refuses_two_places(tmp_path: Path, nexus_in: Callable[..., Run]) -> None:
    """A folder and a configuration in one call contradict each other."""
    ended = nexus_in(tmp_path)("init", "site", "--config", "other.toml")
    assert (ended.code, list(tmp_path.iterdir())) == (2, [])
