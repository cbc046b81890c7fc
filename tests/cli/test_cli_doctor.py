"""The doctor's command: all findings in one run, nothing written before all is well."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def look(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with what a write would change: mode, size and time of change."""
    return {
        path.relative_to(folder).as_posix(): (
            path.lstat().st_mode,
            path.lstat().st_size if path.is_file() else 0,
            path.lstat().st_mtime_ns,
        )
        for path in sorted([folder, *folder.rglob("*")])
    }


def without_override() -> None:
    """Give up what lets root write into a folder that nobody may write to."""
    pr_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


def test_doctor_finds_a_sound_deployment_in_order_and_leaves_nothing(
    deployment: Path, nexus_process: Run
) -> None:
    """On a sound deployment every store is probed in every environment, and nothing is left."""
    files = sorted(path for path in deployment.rglob("*") if path.is_file())
    ended = nexus_process("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.data["ok"] is True
    assert ended.data["probed"] is True
    areas = {check["area"] for check in ended.data["checks"]}
    for env in ("dev", "staging", "prod"):
        for store in ("raw/files", "atoms/records", "vectors/vectors", "audit/records"):
            assert f"{env}/{store}" in areas
    assert sorted(path for path in deployment.rglob("*") if path.is_file()) == files


def test_doctor_text_has_one_line_for_each_area(nexus: Run) -> None:
    """For a person the probes of one store are one line, and the end says how it went."""
    ended = nexus("doctor", "--env", "prod")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert sum(line.startswith("ok ") for line in lines) == 5 + 5
    assert lines[-1].endswith("the probe tenants are erased again")
    assert "staging/" not in ended.out


def test_doctor_read_only_writes_nothing(deployment: Path, nexus: Run) -> None:
    """With --read-only a sound deployment is found in order and no file is touched."""
    before = look(deployment)
    ended = nexus("doctor", "--read-only", "--json")
    assert (ended.code, ended.data["probed"]) == (0, False)
    assert look(deployment) == before


def test_doctor_names_every_broken_part_in_one_run(deployment: Path, nexus_process: Run) -> None:
    """A store removed, a directory misspelt, a secret unset and a directory that cannot be written
    are all named in one run that writes nothing."""
    config = deployment / "nexus.toml"
    text = config.read_text()
    text = text.replace('root = { file = "secrets/root.key" }', 'root = { env = "UNSET_KEY" }')
    text = text.replace('root = "data/vectors"', 'root = "data/vectros"')
    text = text.replace('audit = "records"', 'audit = "ledger"')
    config.write_text(text)
    locked = deployment / "data" / "raw" / "v1" / "prod"
    folders = [locked, *locked.parents][:3]
    for folder in folders:
        folder.chmod(0o555)
    before = look(deployment)
    try:
        ended = nexus_process("doctor", "--json", preexec=without_override)
        assert look(deployment) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (ended.code, ended.data["ok"], ended.data["probed"]) == (1, False, False)
    problems = [problem for check in ended.data["checks"] for problem in check["problems"]]
    said = {problem["path"]: problem["what"] for problem in problems}
    assert "environment variable is not set" in said["keys.root"]
    assert "names no store" in said["routes.0.audit"]
    assert any(path.startswith("stores.vectors") for path in said), said
    assert any(path.startswith("stores.files") for path in said), said
    assert all(problem["fix"] for problem in problems)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_doctor_without_a_configuration_says_so(
    tmp_path: Path, nexus_in: Callable[..., Run], flags: tuple[str, ...]
) -> None:
    """Where there is no configuration, that is the finding."""
    ended = nexus_in(tmp_path)("doctor", *flags)
    assert (ended.code, ended.err) == (1, "")
    assert "nexus.toml" in ended.out
    assert list(tmp_path.iterdir()) == []


def test_doctor_stops_before_a_store_that_lost_its_directory(deployment: Path, nexus: Run) -> None:
    """A finding in one store keeps the probe from all of them."""
    shutil.rmtree(deployment / "data" / "raw")
    before = look(deployment)
    ended = nexus("doctor")
    assert ended.code == 1
    assert "stores.files" in ended.out
    assert "fix: " in ended.out
    assert ended.out.splitlines()[-1].endswith("nothing was written")
    assert look(deployment) == before


def test_doctor_probes_every_store_that_a_route_names(deployment: Path, nexus: Run) -> None:
    """Stores that only some tenants are routed to are probed like the default ones."""
    with (deployment / "nexus.toml").open("a") as config:
        config.write(
            '[stores.cellar]\nbackend = "filesystem"\nroot = "data/cellar"\n'
            '[[routes]]\ntenant = "globex"\nenv = "prod"\nraw = "cellar"\n'
        )
    assert nexus("init").code == 0
    ended = nexus("doctor", "--json")
    areas = {check["area"] for check in ended.data["checks"]}
    assert ended.code == 0
    assert {"prod/raw/cellar", "prod/raw/files"} <= areas
    assert "dev/raw/cellar" not in areas


def test_doctor_refuses_an_environment_that_is_not_served(deployment: Path, nexus: Run) -> None:
    """An environment that the deployment does not serve cannot be asked for."""
    config = deployment / "nexus.toml"
    config.write_text(config.read_text().replace("# environments =", "environments ="))
    ended = nexus("doctor", "--env", "prod")
    assert (ended.code, "it serves dev" in ended.err) == (2, True)
