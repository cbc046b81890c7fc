"""Laws that a review asked for: what is in doubt is said to be, and nothing outlives its end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import attrs
import pytest

from nexus_core import (
    ClosedError,
    ConfigurationError,
    IngestReport,
    InvalidArgumentError,
    Outcome,
    QuotaExceededError,
    Source,
    TenantIsolationError,
    UnavailableError,
    VectorItem,
)
from nexus_core._handles import deployment
from nexus_core.spi import EmbedderSpec, hookimpl

from .conftest import Letters, World, context, tools

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}


def reasons(world: World, action: str) -> list[str]:
    """What the outcome records of an action say about its effect."""
    with world.nexus.request(context(role="owner")) as n:
        records: list[Any] = list(n.audit.read(limit=1000).items)
    return [r.details["reason"] for r in records if (r.phase, r.action) == ("outcome", action)]


def test_a_closed_door_stays_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was closed for a scope stays closed when other scopes crowd it out."""
    monkeypatch.setattr(deployment, "_SCOPES_KEPT", 2)
    with world.nexus.request(context("other")) as n:
        n.raw.put("k", b"x", **OWN)
    world.raw.objects[context().scope, "k"] = next(iter(world.raw.objects.values()))
    with world.nexus.request(context()) as n, pytest.raises(TenantIsolationError):
        n.raw.get("k")
    for number in range(4):
        with world.nexus.request(context(f"crowd{number}")) as n:
            n.raw.list()
    with world.nexus.request(context()) as n, pytest.raises(UnavailableError):
        n.raw.get("k")


def test_a_foreign_answer_to_a_write_leaves_its_effect_unknown(world: World) -> None:
    """When a store answers a put with somebody else's record, nobody knows what it kept."""
    honest = world.raw.put

    def lying(*args: Any, **options: Any) -> Any:
        info = honest(*args, **options)
        return attrs.evolve(info, attributes=attrs.evolve(info.attributes, system={"stamp": "00"}))

    world.raw.put = lying
    with world.nexus.request(context()) as n, pytest.raises(TenantIsolationError):
        n.raw.put("k", b"x", **OWN)
    assert reasons(world, "raw.put") == [Outcome.UNKNOWN.value]


def test_an_ingest_that_breaks_in_the_middle_is_unknown(world: World) -> None:
    """A later step's "not applied" does not speak for the steps before it."""

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("down", outcome=Outcome.NOT_APPLIED)

    world.vectors.upsert = down
    source = Source(logical_key="a", content_type="text/plain", body=b"cab\n")
    with world.nexus.request(context()) as n, pytest.raises(UnavailableError):
        n.ingest([source], **OWN)
    assert reasons(world, "ingest") == [Outcome.UNKNOWN.value]


def test_an_ingest_that_was_taken_for_dead_ends_whole(world: World) -> None:
    """A recovery that undoes a live ingest does not leave half of it behind."""
    source = Source(logical_key="a", content_type="text/plain", body=b"cab\nbad\n")
    honest = world.raw.put
    undone: list[str] = []

    def slow(*args: Any, **options: Any) -> Any:
        del world.raw.put
        with world.nexus.request(context()) as n:
            undone.extend(item.state for item in n.recover(older_than=0).ingests)
        return honest(*args, **options)

    world.raw.put = slow
    with world.nexus.request(context()) as n:
        report: IngestReport = n.ingest([source], **OWN)
        assert undone == ["undone"]
        assert [item.state for item in report.items] == ["created"]
        assert (n.atoms.count(), n.vectors.count("main")) == (2, 2)
        assert n.recover(older_than=0).ingests == ()
        assert n.ingest([source], **OWN).items[0].state == "unchanged"


def test_an_endless_body_is_stopped(world: World) -> None:
    """A body without end is refused at the limit, or where it passes its declared size."""
    config = world.nexus.config
    small = attrs.evolve(config, limits=attrs.evolve(config.limits, max_object_bytes=1000))
    world.nexus._deployment.config = small
    with world.nexus.request(context()) as n:
        with pytest.raises(QuotaExceededError):
            n.raw.put("k", itertools.repeat(b"x" * 100), **OWN)
        with pytest.raises(InvalidArgumentError):
            n.raw.put("k", itertools.repeat(b"x" * 100), **OWN, size="ten")  # type: ignore[arg-type]
    assert not world.raw.objects


def test_an_answer_that_nobody_could_record_is_not_begun(world: World) -> None:
    """A call that could give more hits than a record holds is refused before the search."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="a", vector=[0, 0])], **OWN)
        with pytest.raises(InvalidArgumentError):
            n.vectors.query_many("tiny", [[0, 0]] * 1024, k=1000)


def test_an_export_ends_with_its_request(world: World) -> None:
    """Lines that were not taken inside the request are not given after it."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        lines = n.audit.export()
        next(lines)
    with pytest.raises(ClosedError):
        next(lines)


def test_a_failed_verification_is_on_record(world: World) -> None:
    """Whoever verifies a trail and finds it altered leaves a record of having found it."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        n.raw.get("k")
        log = world.audit.logs[context().scope]
        honest = log.entries[0]
        log.entries[0] = attrs.evolve(honest, sealed=b"{}")
        assert not n.audit.verify().ok
        log.entries[0] = honest
    assert ("event", "audit.verify", "audit.invalid") in world.trail(context())


class Other(Letters):
    """Letters whose files decide another version than its code's."""

    version = "1+f00"


def variants(made: Callable[[], Letters]) -> ModuleType:
    """A plugin module with one embedder under the name that the configuration uses."""
    module = tools()

    @hookimpl
    def nexus_embedder() -> Sequence[EmbedderSpec]:
        return [
            EmbedderSpec(name="letters", version="1", summary="letters", factory=lambda _: made())
        ]

    module.__dict__.update(nexus_embedder=nexus_embedder)
    return module


def test_an_index_needs_the_very_embedder_it_names(opened: Callable[..., World]) -> None:
    """An embedder whose model makes it another version does not serve an index by mistake."""
    with pytest.raises(ConfigurationError) as caught:
        opened("", tools=variants(Other))
    assert [(p.path, p.code) for p in caught.value.problems] == [("indexes.0", "index.embedder")]


def test_two_entries_cannot_be_one_embedder(opened: Callable[..., World]) -> None:
    """Two embedders that come to one name and version are refused, not merged."""
    again = '[embedders.again]\nplugin = "tools"\nuse = "letters@1"\n'
    with pytest.raises(ConfigurationError) as caught:
        opened(again)
    assert "embedders.again" in [p.path for p in caught.value.problems]
