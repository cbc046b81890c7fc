"""A deployment in memory whose backends a test can look into and break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import plugin

from nexus_core import Nexus, RequestContext
from nexus_core._config import load
from nexus_core._plugins import Registry
from nexus_core.spi import (
    Atomizer,
    AtomizerSpec,
    Embedder,
    EmbedderSpec,
    InvalidArgumentError,
    Metric,
    Piece,
    StoreRole,
    Vectors,
    hookimpl,
)

LETTERS = "abcdefghijklmnop"

CONFIG = """
version = 1
profile = "development"
[keys]
root = { env = "ROOT_KEY" }
[stores.memory]
backend = "memory"
[[routes]]
raw = "memory"
atoms = "memory"
vectors = "memory"
audit = "memory"
[embedders.letters]
plugin = "tools"
use = "letters@1"
[embedders.mine]
external = true
use = "mine@1"
[atomizers.lines]
plugin = "tools"
use = ["lines@1"]
[[indexes]]
name = "main"
version = 1
dimension = 16
metric = "cosine"
embedder = "letters@1"
[[indexes]]
name = "tiny"
version = 1
dimension = 2
metric = "l2sq"
embedder = "mine@1"
fields = { page = "int", tags = "str[]" }
[ingest]
index = "main@1"
"""
ROOT_KEY = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210"


class Lines(Atomizer):
    """One piece a line; a line ``!bad`` makes the file unreadable."""

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line == "!bad":
                raise InvalidArgumentError(f"line {number} is bad")
            if line == "!crash":
                raise RuntimeError(f"{line} at {number}")
            yield Piece(text=line, locator={"line": number})


class Letters(Embedder):
    """Counts of sixteen letters."""

    version = "1"
    dimension = 16
    metric: Metric = "cosine"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return Vectors.from_rows([[t.count(c) for c in LETTERS] for t in texts], 16)


def tools() -> ModuleType:
    """A plugin module with an atomizer and an embedder small enough to predict."""
    module = ModuleType("tools_for_test")

    @hookimpl
    def nexus_atomizer() -> Sequence[AtomizerSpec]:
        return [
            AtomizerSpec(
                name="lines",
                version="1",
                summary="a piece a line",
                media_types=("text/plain",),
                factory=Lines,
            )
        ]

    @hookimpl
    def nexus_embedder() -> Sequence[EmbedderSpec]:
        return [
            EmbedderSpec(
                name="letters", version="1", summary="letters", factory=lambda _: Letters()
            )
        ]

    module.__dict__.update(nexus_atomizer=nexus_atomizer, nexus_embedder=nexus_embedder)
    return module


class Clock:
    """A clock that a test moves; every look moves it a microsecond on."""

    def __init__(self) -> None:
        self.time = 1_800_000_000_000_000

    def __call__(self) -> int:
        self.time += 1
        return self.time


@attrs.frozen
class World:
    """An opened deployment, its clock, and what lies behind its doors."""

    nexus: Nexus
    clock: Clock

    def backend(self, role: StoreRole) -> Any:
        return self.nexus._deployment.stores["memory", role].backend

    @property
    def raw(self) -> Any:
        """The MemoryRaw behind the door; ``Any``, so that a test may break its methods."""
        return self.backend(StoreRole.RAW)

    @property
    def atoms(self) -> Any:
        """The MemoryAtoms behind the door; ``Any``, so that a test may break its methods."""
        return self.backend(StoreRole.ATOMS)

    @property
    def vectors(self) -> Any:
        """The MemoryVectors behind the door; ``Any``, so that a test may break its methods."""
        return self.backend(StoreRole.VECTORS)

    @property
    def audit(self) -> Any:
        """The MemoryAudit behind the door; ``Any``, so that a test may break its methods."""
        return self.backend(StoreRole.AUDIT)

    def trail(self, ctx: RequestContext) -> list[tuple[str, str, str | None]]:
        """(phase, action, outcome) of every record of a scope."""
        with self.nexus.request(context(ctx.scope.tenant_id, role="owner")) as n:
            return [(r.phase, r.action, r.outcome) for r in n.audit.read(limit=1000).items]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """A function that opens a world, with further plugins and configuration."""
    worlds: list[World] = []

    def make(extra: str = "", **modules: ModuleType) -> World:
        path = tmp_path / f"nexus{len(worlds)}.toml"
        path.write_text(CONFIG + extra)
        registry = Registry.of(
            {
                "memory": plugin,
                "tools": tools(),
                **modules,
            }
        )
        clock = Clock()
        config = load(path, registry=registry, environ={"ROOT_KEY": ROOT_KEY})
        worlds.append(World(Nexus.from_config(config, now=clock), clock))
        return worlds[-1]

    yield make
    for world in worlds:
        world.nexus.close()


@pytest.fixture
def world(opened: Callable[..., World]) -> World:
    """One opened world."""
    return opened()


def context(
    tenant: str = "acme",
    env: str = "dev",
    *,
    role: str = "admin",
    actor: str = "ana",
    subject: str | None = None,
) -> RequestContext:
    """A request context; its trace is fixed so that texts can be compared."""
    return RequestContext.build(
        tenant_id=tenant,
        env=env,
        actor_id=actor,
        actor_kind="human",
        role=role,
        subject=subject,
    )
