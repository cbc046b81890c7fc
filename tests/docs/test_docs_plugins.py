"""`docs/plugins.md` is enough: what it gives is written to files, installed, and proved."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from nexus_contracts import Verdict, explain, run
from nexus_contracts._configured import configured_harness

from nexus_core import AccessDeniedError, Nexus, Request, RequestContext, Source
from nexus_core._config import load
from nexus_core._plugins import Registry
from nexus_core.spi import StoreRole

from .reading import ROOT, blocks, completed, files_of

PAGE = "docs/plugins.md"
Import = Callable[[str], ModuleType]


def snippet(text: str) -> str:
    """The one configuration of the page that holds a text."""
    (found,) = (block.text for block in blocks("toml", within=PAGE) if text in block.text)
    return found


@contextlib.contextmanager
def opened(
    folder: Path, text: str, installed: Registry, kind: str = "human", *, whole: bool = False
) -> Iterator[Request]:
    """A request in a deployment with a snippet of the page, or with a whole configuration; stores
    that are new are provisioned."""
    path = folder / "nexus.toml"
    path.write_text(text if whole else completed(text), encoding="utf-8")
    from nexus_core._cli.provision import provision

    config = load(path, registry=installed)
    list(provision(config))
    context = RequestContext.build(
        tenant_id="acme", env="dev", actor_id="ana", actor_kind=kind, role="owner"
    )
    with Nexus.from_config(config) as nexus, nexus.request(context) as n:
        yield n


def log(text: bytes) -> Source:
    """A log file as a source."""
    return Source(logical_key="day.log", content_type="text/x-log", body=text)


@pytest.mark.whole
def test_the_store_of_the_page_is_conformant(module: Import) -> None:
    """The raw store, as the page gives it, reaches CONFORMANT in the extended profile, with the
    harness and the calls that the page gives."""
    (block,) = (b for b in blocks("python", within=PAGE) if "run(harness" in b.text)
    module("test_shoebox")
    names: dict[str, object] = {}
    exec(compile(block.text, str(block), "exec"), names)  # noqa: S102  # the page's own code
    report = names["report"]
    assert report.verdict is Verdict.CONFORMANT  # type: ignore[attr-defined]
    assert len(report.requirements) > 30  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["shoebox", "lines", "letters", "house"])
def test_every_plugin_of_the_page_is_sound(name: str, installed: Registry) -> None:
    """The registry finds nothing wrong with any plugin of the page, once it is installed."""
    assert installed.check(name) == []
    assert installed.plugin(name).offer.distribution == f"nexus-{name}"


def test_the_store_of_the_page_serves_a_deployment(deployment: Path, installed: Registry) -> None:
    """The page's configuration is whole: with the key that the page makes, and nothing added, the
    store keeps an object and gives it back."""
    folder = deployment / "alone"
    folder.mkdir()
    (folder / "root.key").write_text(secrets.token_hex(32))
    with opened(folder, files_of(PAGE)["nexus.toml"], installed, whole=True) as n:
        n.raw.put("k", b"bytes", kind="data", space="notes")
        assert n.raw.get("k").data == b"bytes"
    assert (folder / "data" / "box" / "box.db").stat().st_size > 0


@pytest.mark.whole
def test_the_store_of_the_page_is_tested_by_its_name(deployment: Path, installed: Registry) -> None:
    """The suite takes the store of the page's configuration, and finds no fault with it."""
    path = deployment / "nexus.toml"
    path.write_text(files_of(PAGE)["nexus.toml"], encoding="utf-8")
    (deployment / "root.key").write_text(secrets.token_hex(32))
    store = load(path, registry=installed).stores["box"]
    harness = configured_harness(store.specs[StoreRole.RAW], store.settings[StoreRole.RAW])
    assert run(harness).verdict is Verdict.CONFORMANT


def test_the_place_of_the_store_is_made_once(deployment: Path, installed: Registry) -> None:
    """Provisioning makes the file, then leaves it alone, and never takes somebody else's."""
    from nexus_core.spi import ConfigurationError, Runtime

    spec = installed.backend("shoebox", StoreRole.RAW)
    runtime = Runtime(store="box", base=deployment, now=lambda: 0)
    assert spec.provision is not None
    config = spec.config.model_validate({"root": "box"})
    assert len(spec.provision(config, runtime)) == 1
    made = (deployment / "box" / "box.db").read_bytes()
    assert spec.provision(config, runtime) == []
    assert (deployment / "box" / "box.db").read_bytes() == made
    (deployment / "box.db").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigurationError, match="cannot hold a shoebox"):
        spec.provision(spec.config.model_validate({"root": "."}), runtime)
    assert (deployment / "box.db").read_bytes() == b"no database" * 100


def test_the_atomizer_and_the_embedder_of_the_page_work(
    deployment: Path, installed: Registry
) -> None:
    """Lines become atoms, letters become vectors, and the nearest line is found."""
    text = snippet("[atomizers.logs]") + snippet("[embedders.letters]")
    with opened(deployment, text, installed) as n:
        report = n.ingest(log(b"aaa\n\nzzz\n"), kind="data", space="logs")
        assert report.items[0].atoms == 2
        (hit,) = n.retrieve("za zz", k=1).hits
        assert hit.pointer is not None
        assert hit.pointer.locator == {"line": 3}
        failed = n.ingest(log(b"\xff\n"), kind="data", space="logs")
        assert failed.count("failed") == 1


def test_the_policy_of_the_page_denies(
    deployment: Path, installed: Registry, module: Import
) -> None:
    """An agent's deletion is denied, a human's is not, and the observer has counted both worlds."""
    text = snippet("[extensions]")
    with opened(deployment, text, installed, "agent") as n:
        n.raw.put("k", b"x", kind="data", space="s")
        with pytest.raises(AccessDeniedError):
            n.raw.delete("k")
    with opened(deployment, text, installed) as n:
        n.raw.delete("k")
    counts = module("nexus_house").COUNTS
    assert counts["raw.put", "ok"] == 1
    assert counts["raw.delete", "ok"] == 1


def test_the_redactor_of_the_page_takes_addresses_out(module: Import) -> None:
    """What looks like a mail address does not stay in a text."""
    (spec,) = module("nexus_house").nexus_redact()
    assert spec.factory().redact("mail ana@example.org now") == "mail [address] now"


def test_the_requirement_that_the_page_names_exists() -> None:
    """The suite can explain the requirement that the page asks it about."""
    assert "nexus conformance explain RAW-019" in (ROOT / PAGE).read_text(encoding="utf-8")
    assert "ETag" in explain("RAW-019")


def test_the_page_gives_every_file_that_it_announces() -> None:
    """The files of the store, of a remote store, and of the small plugins are there in full."""
    assert sorted(files_of(PAGE)) == [
        "nexus.toml",
        "nexus_house.py",
        "nexus_letters.py",
        "nexus_lines.py",
        "nexus_shoebox.py",
        "pyproject.toml",
        "remote_faults.py",
        "test_shoebox.py",
    ]


def test_the_faults_of_the_page_stand_on_the_road(module: Import) -> None:
    """What the page gives for a remote store makes settings for a proxy's port, and can be made."""
    asked: list[str] = []
    make = module("remote_faults").faults_of("127.0.0.1", 9, asked.append)
    assert callable(make)
    assert asked == []
