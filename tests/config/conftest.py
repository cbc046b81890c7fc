"""Made-up plugins, a configuration that uses all of the format, and ways to spoil it."""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import tomli_w

from nexus_core._config import Config, inspect
from nexus_core._model.errors import Problem
from nexus_core._plugins import Registry

ROOT_KEY = "8f1d0c6b7a5e49382716fedcba09e8d7c6b5a4938271605f4e3d2c1b0a998877"

HEAD = """
from __future__ import annotations
from typing import Literal
from pydantic import Field, field_validator, model_validator
from nexus_core import spi

def store(name, role, config, capabilities, durability=spi.Durability.POWER_LOSS):
    return spi.BackendSpec(
        name=name, role=role, summary="For tests.", config=config, capabilities=capabilities,
        isolation=spi.Isolation.FILE, durability=durability,
        factory=lambda config, runtime: None,
    )
"""

PLUGINS = {
    "filesystem": """
class Retry(spi.BackendConfig):
    attempts: int = Field(default=3, ge=1)
    \"\"\"How often a call is made.\"\"\"
    pauses: tuple[float, ...] = ()
    \"\"\"Seconds between them.\"\"\"

class Settings(spi.BackendConfig):
    root: str = Field(min_length=1)
    \"\"\"Folder that holds the objects.\"\"\"
    mode: Literal["safe", "fast"] = "safe"
    \"\"\"How hard it tries.\"\"\"
    retry: Retry = Retry()
    \"\"\"When to try again.\"\"\"
    password: spi.SecretRef | None = None
    \"\"\"Password of the share.\"\"\"
    more: dict[str, list[spi.SecretRef]] = {}
    \"\"\"Other secrets.\"\"\"

@spi.hookimpl
def nexus_raw_store():
    return store("filesystem", spi.StoreRole.RAW, Settings, spi.RawCapabilities())
""",
    "sql": """
class Settings(spi.BackendConfig):
    url: str
    \"\"\"Where the database is, for instance sqlite:///data/records.db.\"\"\"

    @field_validator("url")
    @classmethod
    def _check(cls, value: str) -> str:
        if value.startswith("boom"):
            raise RuntimeError(value)
        if not value.startswith("sqlite:"):
            raise ValueError(f"cannot use {value[:12]!r}, it must begin with sqlite:")
        if value == "sqlite:":
            raise ValueError("sqlite: needs three slashes and a file")
        return value

@spi.hookimpl
def nexus_atom_store():
    return store("sql", spi.StoreRole.ATOMS, Settings, spi.AtomCapabilities())

@spi.hookimpl
def nexus_audit_sink():
    return store("sql", spi.StoreRole.AUDIT, Settings, spi.AuditCapabilities())
""",
    "embedded": """
class Settings(spi.BackendConfig):
    root: str = Field(min_length=1)
    \"\"\"Folder that holds the indexes.\"\"\"

@spi.hookimpl
def nexus_vector_store():
    capabilities = spi.VectorCapabilities(max_dimension=2048, metrics=frozenset(("cosine", "dot")))
    return store("embedded", spi.StoreRole.VECTORS, Settings, capabilities)
""",
    "memory": """
class Settings(spi.BackendConfig):
    pass

@spi.hookimpl
def nexus_raw_store():
    return store("memory", spi.StoreRole.RAW, Settings, spi.RawCapabilities(),
                 spi.Durability.EPHEMERAL)
""",
    "split": """
class Atoms(spi.BackendConfig):
    table: str

class Audit(spi.BackendConfig):
    log: str

@spi.hookimpl
def nexus_atom_store():
    return store("split", spi.StoreRole.ATOMS, Atoms, spi.AtomCapabilities())

@spi.hookimpl
def nexus_audit_sink():
    return store("split", spi.StoreRole.AUDIT, Audit, spi.AuditCapabilities())
""",
    "embedders": """
class Model(spi.BackendConfig):
    path: str
    \"\"\"Folder of the model.\"\"\"

def embedder(name, version, config=None):
    return spi.EmbedderSpec(name=name, version=version, summary="For tests.",
                            factory=lambda config: None, config=config)

@spi.hookimpl
def nexus_embedder():
    return [embedder("lexical", "1"), embedder("lexical", "2"), embedder("model", "1", Model)]
""",
    "atomizers": """
def atomizer(name, *media_types, **parameters):
    return spi.AtomizerSpec(name=name, version="1", summary="For tests.", factory=lambda: None,
                            media_types=media_types, parameters=parameters)

@spi.hookimpl
def nexus_atomizer():
    return [
        atomizer("text", "text/plain", max_chars=2000),
        atomizer("markdown", "text/markdown", max_chars=2000),
        atomizer("html", "text/html", max_chars=2000),
        atomizer("pdf", "application/pdf", max_chars=2000),
        atomizer("csv", "text/csv", max_chars=2000, delimiter=",", header=True, ratio=0.5),
        atomizer("json", "application/json", max_chars=2000),
        atomizer("jsonl", "application/jsonl", "application/x-ndjson", max_chars=2000),
        atomizer("lines", "text/plain", max_chars=2000),
    ]
""",
    "policy": """
@spi.hookimpl
def nexus_authorize(context, action, ids):
    return None
""",
    "broken": "raise SystemExit('gone')",
}

FULL = """
version = 1
profile = "production"
environments = ["prod", "staging"]
kinds = ["data", "chat"]

[keys]
root = { file = "secrets/root.key" }

[stores.files]
backend = "filesystem"
root = "data/raw"
mode = "fast"
retry = { attempts = 5, pauses = [0.5, 1] }
password = { env = "SHARE_PASSWORD" }

[stores.records]
backend = "sql"
url = "sqlite:///data/records.db"

[stores.other]
backend = "sql"
url = "sqlite:///data/other.db"

[stores.vectors]
backend = "embedded"
root = "data/vectors"

[[routes]]
raw = "files"
atoms = "records"
vectors = "vectors"
audit = "records"

[[routes]]
tenant = "acme"
env = "prod"
atoms = "other"

[[indexes]]
name = "main"
version = 1
dimension = 256
metric = "cosine"
embedder = "lexical@1"
fields = { page = "int", tags = "str[]" }

[[indexes]]
name = "own"
version = 2
dimension = 8
metric = "dot"
embedder = "house@3"

[embedders.words]
plugin = "embedders"
use = "lexical@1"

[embedders.model]
plugin = "embedders"
use = "model@1"
path = "models/small"

[embedders.house]
external = true
use = "house@3"

[atomizers.documents]
plugin = "atomizers"
use = ["text@1", "csv@1"]
media_types = ["text/plain", "text/csv"]
max_chars = 500

[ingest]
index = "main@1"

[extensions]
use = ["policy"]

[limits]
max_object_bytes = 1000000

[recovery]
after_seconds = 30
"""


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of made-up plugins only; one of them cannot be imported."""
    folder = tmp_path_factory.mktemp("plugins")
    modules = {}
    for name, source in PLUGINS.items():
        file = folder / f"nexus_made_{name}.py"
        file.write_text(HEAD + source)
        if name == "broken":
            continue
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        modules[name] = module
    registry = Registry.of(modules)
    sys.path.insert(0, str(folder))
    broken = Registry.of({"broken": type(sys)("nexus_made_broken")})
    registry._offers += broken._offers
    yield registry
    sys.path.remove(str(folder))
    for module in modules.values():
        del sys.modules[module.__name__]


@attrs.frozen
class Site:
    """A folder with a root key, where configurations are written and read."""

    folder: Path
    registry: Registry
    environ: dict[str, str]

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.folder / "nexus.toml"

    def inspect(
        self, document: str | Mapping[str, Any], **environ: str
    ) -> tuple[Config | None, list[Problem]]:
        """Write the configuration and look at it, with these variables."""
        text = document if isinstance(document, str) else tomli_w.dumps(document)
        self.file.write_text(text, encoding="utf-8")
        return inspect(self.file, registry=self.registry, environ={**self.environ, **environ})

    def good(self, document: str | Mapping[str, Any], **environ: str) -> Config:
        """Read a configuration that must be sound."""
        config, problems = self.inspect(document, **environ)
        assert problems == []
        assert config is not None
        return config

    def bad(self, document: str | Mapping[str, Any], **environ: str) -> dict[str, Problem]:
        """Read a configuration that must be refused; give the problems by path."""
        config, problems = self.inspect(document, **environ)
        assert config is None
        assert problems
        return {problem.path: problem for problem in problems}

    def listing(self) -> list[str]:
        """Everything in the folder."""
        return sorted(str(each.relative_to(self.folder)) for each in self.folder.rglob("*"))


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    """A folder with a root key and an environment with one secret."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "root.key").write_text(ROOT_KEY + "\n")
    return Site(tmp_path, registry, {"SHARE_PASSWORD": "hunter2", "HOME": os.sep})


@pytest.fixture
def full() -> dict[str, Any]:
    """A sound configuration that uses every key of the format, as data."""
    return tomllib.loads(FULL)


@pytest.fixture
def changed(full: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Makes the full configuration with one place set to a value, or without it."""

    def change(path: str, *value: Any) -> dict[str, Any]:
        *parents, last = path.split(".")
        target: Any = full
        for key in parents:
            target = target[int(key)] if isinstance(target, list) else target[key]
        where: Any = int(last) if isinstance(target, list) else last
        if value:
            target[where] = value[0]
        else:
            del target[where]
        return full

    return change
