"""``nexus conformance``: runs beside a deployment, never in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from nexus_contracts import BackendHarness, Namespace
from nexus_contracts._catalogue import catalogue
from nexus_contracts._configured import UnsafeStoreError, configured_harness
from nexus_contracts.memory import memory_specs

from nexus_core._cli.main import main
from nexus_core._cli.more import installed, listed
from nexus_core.spi import BackendConfig, BackendSpec, SecretRef, StoreRole

HARNESS: Final = """
from nexus_contracts.zoo import harness_for, mutants, variant_harness
from nexus_core.spi import StoreRole

good = variant_harness(StoreRole.RAW)
bad = harness_for(next(each for each in mutants() if each.killed_by == "RAW-007"))
other = 7
"""


def nexus(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a process in a folder, with nothing inherited that Nexus reads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    return subprocess.run(
        [sys.executable, "-m", "nexus_core", *arguments],
        cwd=folder,
        env={**kept, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of harnesses in it, which is where the process is."""
    (tmp_path / "my_harness.py").write_text(HARNESS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_harness", raising=False)
    return tmp_path


def test_contracts_command_runs_a_harness(beside: Path) -> None:
    """A conformant harness ends with 0, and its report verifies, also in another process."""
    ended = nexus(
        beside, "conformance", "run", "--harness", "my_harness:good", "--output", "out", "--json"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    (report,) = json.loads(ended.stdout)["reports"]
    assert report["verdict"] == "CONFORMANT (memory)"
    assert "--harness my_harness:good --profile core --seed" in report["reproduce"]
    verified = nexus(beside, "conformance", "verify", "out/memory-raw.json", "--json")
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["sound"] is True


def test_contracts_command_fails_a_faulty_backend(
    beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A faulty harness ends with 1 and the requirement that it breaks."""
    words = ["--harness", "my_harness:bad", "--only", "raw-007", "RAW-001"]
    assert main(["conformance", "run", *words]) == 1
    out = capsys.readouterr().out
    assert "failed  RAW-007  A list prefix matches" in out
    assert "NOT CONFORMANT" in out


def test_contracts_command_refuses_an_edited_report(
    beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report that was edited ends with 1 and says what is wrong with it."""
    words = ["--harness", "my_harness:bad", "--only", "RAW-007", "--output", "out"]
    assert main(["conformance", "run", *words]) == 1
    (path,) = Path("out").glob("*.json")
    path.write_text(path.read_text().replace("NOT CONFORMANT", "CONFORMANT"), encoding="utf-8")
    capsys.readouterr()
    assert main(["conformance", "verify", str(path)]) == 1
    assert "but what it lists is NOT CONFORMANT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--harness", "my_harness"], "is not MODULE:NAME"),
        (["run", "--harness", "my_harness:other"], "it is a int"),
        (["run", "--harness", "no_such_module:x"], "cannot be imported"),
        (["run", "--harness", "my_harness:good", "--only", "RAW-999"], "RAW-999"),
        (["run", "--harness", "my_harness:good", "--role", "atoms"], "of the role raw"),
        (["run", "--harness", "my_harness:good", "--deviations", "no.toml"], "cannot begin"),
        (["verify", "absent.json"], "cannot be read"),
        (["explain", "RAW-999"], "no requirement RAW-999"),
    ],
)
def test_contracts_command_usage(
    beside: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be understood ends with 2 and words."""
    assert main(["conformance", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import pytest", "pip install 'nexus-contracts[pytest]'"),
        ("import no_such_engine", "its_harness is there; install or mend what it imports"),
        ("from json import nothing", "its_harness is there; install or mend what it imports"),
    ],
)
def test_contracts_command_names_what_an_import_lacks(
    beside: Path,
    source: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A harness whose imports fail is not called misspelt: what is missing is named."""
    (beside / "its_harness.py").write_text(source, encoding="utf-8")
    monkeypatch.setitem(sys.modules, "pytest", None)
    assert main(["conformance", "run", "--harness", "its_harness:harness"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "spelt" not in err


def test_contracts_command_runs_a_test_module_without_pytest(
    beside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module that also makes tests gives its harness where there is no pytest; the test itself
    says what it needs."""
    text = f"{HARNESS}\nfrom nexus_contracts import conformance_tests\n"
    text += "test_conformance = conformance_tests(good)\n"
    (beside / "tested_harness.py").write_text(text, encoding="utf-8")
    monkeypatch.setitem(sys.modules, "pytest", None)
    words = ["--harness", "tested_harness:good", "--only", "RAW-001"]
    assert main(["conformance", "run", *words]) == 1
    assert "1 passed" in capsys.readouterr().out
    module = sys.modules.pop("tested_harness")
    with pytest.raises(ModuleNotFoundError, match=r"RAW-001 needs pytest.*contracts\[pytest\]"):
        module.test_conformance(next(each for each in catalogue() if each.id == "RAW-001"))


def test_contracts_command_explains(capsys: pytest.CaptureFixture[str]) -> None:
    """A requirement is explained under its id in any case."""
    assert main(["conformance", "explain", "ten-101"]) == 0
    assert "does not depend on what any other scope does" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["run"], ["verify"], ["explain"]])
def test_contracts_command_helps(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb's help says what it takes, with examples."""
    with pytest.raises(SystemExit) as ended:
        main(["conformance", *words, "--help"])
    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert not words or f"examples:\n  nexus conformance {words[0]}" in page


# -- a configured store ----------------------------------------------------------------------


FEW: Final = {
    StoreRole.RAW: ["RAW-001", "CFG-102"],
    StoreRole.ATOMS: ["ATOM-001", "CFG-202"],
    StoreRole.VECTORS: ["VEC-001", "CFG-302"],
    StoreRole.AUDIT: ["AUD-001", "CFG-402"],
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment as ``nexus init`` leaves it."""
    folder = tmp_path_factory.mktemp("deployment")
    assert nexus(folder, "init").returncode == 0
    return folder


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its bytes and when it was changed."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("role", list(StoreRole))
def test_contracts_command_leaves_a_deployment_alone(
    role: StoreRole,
    deployment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A configured store is tested elsewhere: not a byte of the deployment is changed or made."""
    monkeypatch.chdir(deployment)
    routes = tomllib.loads(Path("nexus.toml").read_text(encoding="utf-8"))["routes"]
    store = next(route[role.value] for route in routes if role.value in route)
    before = contents(deployment)
    words = ["--store", store, "--role", role.value, "--only", *FEW[role]]
    assert main(["conformance", "run", *words, "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert (report["verdict"], report["backend"]["role"]) == ("INCOMPLETE", role.value)
    assert contents(deployment) == before


class Settings(BackendConfig):
    """Settings of any kind."""

    root: str | None = None
    url: str | None = None
    bucket: str | None = None
    password: SecretRef | None = None
    places: tuple[str, ...] | None = None
    size: int = 7
    mode: str = "fast"


SPEC: Final[BackendSpec] = attrs.evolve(memory_specs()[StoreRole.RAW], config=Settings)
PLACE: Final = Namespace(Path("/somewhere/fresh"))


def harness(**settings: Any) -> BackendHarness:
    return configured_harness(SPEC, Settings(**settings))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"root": "papers-4711", "bucket": "tenants"}, "bucket"),
        ({"root": "papers-4711", "password": SecretRef(env="PASSWORD")}, "password"),
        ({"root": "papers-4711", "places": ("elsewhere",)}, "places"),
        ({"root": "papers-4711", "mode": "slow"}, "mode"),
        ({"url": "postgresql://db.example/records"}, "url"),
        ({"url": "sqlite:///:memory:"}, "url"),
        ({"url": "sqlite:///data/records.db?uri=true"}, "url"),
        ({"url": "sqlite://server/records.db"}, "url"),
        ({}, "none of its settings"),
    ],
)
def test_contracts_command_refuses_what_may_lead_to_data(
    settings: dict[str, Any], name: str
) -> None:
    """A store with a setting that is not known to be harmless is refused, by the setting's name."""
    with pytest.raises(UnsafeStoreError, match=name) as caught:
        harness(**settings)
    values = [value for value in settings.values() if isinstance(value, str)]
    assert not [value for value in values if value in str(caught.value)]


@pytest.mark.parametrize("root", ["data", "/srv/nexus/data", "../data", "~/data", "s3://bucket"])
def test_contracts_command_exchanges_every_place(root: str) -> None:
    """Whatever a folder was, it is below the fresh place; other settings stay as they were."""
    found = harness(root=root, size=9).settings(PLACE)
    assert found == Settings(root="/somewhere/fresh/store", size=9)


def test_contracts_command_exchanges_the_file_of_a_database() -> None:
    """A SQLite file, given relative or absolute, becomes one in the fresh place."""
    for url in ("sqlite:///data/records.db", "sqlite:////srv/data/records.db"):
        found = harness(url=url).settings(PLACE)
        assert found.url == "sqlite:////somewhere/fresh/store/store.db"


# -- commands of other distributions ---------------------------------------------------------


def test_contracts_command_is_known_by_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    """The page of help names the command and whose it is, without importing it."""
    script = (
        "import sys; from nexus_core._cli.main import main; main(['--help'])\n"
        "assert not [n for n in sys.modules if n.startswith('nexus_contracts')]"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\n  conformance           from nexus-contracts 0.1.0\n" in ended.stdout
    assert main(["conformence"]) == 2
    assert "did you mean 'nexus conformance'?" in capsys.readouterr().err


def distribution(folder: Path, name: str, command: str, module: str) -> None:
    """The metadata of an installed distribution that brings a command."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nexus.commands]\n{command} = {module}\n")


def test_contracts_command_conflicts_run_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two distributions with one command are named, and none of the core's can be replaced."""
    (tmp_path / "exploding.py").write_text("raise RuntimeError('imported')\n")
    distribution(tmp_path, "ours", "export", "exploding")
    distribution(tmp_path, "theirs", "export", "exploding.other")
    distribution(tmp_path, "thief", "doctor", "exploding")
    distribution(tmp_path, "odd", "Bad Name", "exploding")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["export"]) == 2
    assert "offered by ours 1.0 and theirs 1.0" in capsys.readouterr().err
    taken = frozenset(("doctor",))
    assert set(installed(taken)) == {"conformance", "export"}
    assert "thief" not in listed(taken)


def test_contracts_command_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command whose module raises ends with 1 and names the distribution, not a traceback."""
    (tmp_path / "exploding_alone.py").write_text("raise RuntimeError('imported')\n")
    distribution(tmp_path, "ours", "export", "exploding_alone")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["export"]) == 1
    assert capsys.readouterr().err == "nexus export: ours 1.0 cannot be loaded: RuntimeError\n"
