"""Histories, in buckets that keep versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
from nexus_contracts import BackendHarness, Profile
from nexus_contracts._engine import run_all
from nexus_contracts._verdict import Status

from nexus_core.spi import (
    ConfigurationError,
    Outcome,
    RetentionError,
    Scope,
    UnsupportedError,
)

SCOPE = Scope("acme", "prod")
MIB = 1 << 20
# What old versions could disturb, beside what is required of them.
HISTORIES = {
    *("RAW-001", "RAW-009", "RAW-010", "RAW-015", "RAW-019", "RAW-020", "RAW-028", "TEN-102"),
    *("RAW-040", "RAW-041", "RAW-042", "RAW-043", "RAW-044", "RAW-045", "TEN-111", "DUR-101"),
}


@attrs.frozen
class GenerationsDoor:
    """The way below the interface, to every generation that a bucket keeps."""

    wire: Any
    bucket: str

    def snapshot(self) -> Mapping[str, bytes]:
        """The bytes of every generation."""
        listing = self.wire.ask("GET", f"/storage/v1/b/{self.bucket}/o", versions="true")
        assert "nextPageToken" not in listing
        found: dict[str, bytes] = {}
        for each in listing.get("items", ()):
            name, generation = each["name"], each["generation"]
            path = self.wire.path(self.bucket, name)
            data = self.wire.ask("GET", path, alt="media", generation=generation)
            found[f"{name}#{generation}"] = bytes(data)
            found[f"{name}#{generation} metadata"] = repr(each.get("metadata")).encode()
        return found

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under a name."""
        self.wire.write(self.bucket, name, data)

    def remove(self, name: str) -> None:
        """Delete a name."""
        self.wire.remove(self.bucket, name)


def keeping(lab: Any, **settings: Any) -> Any:
    """A store whose bucket keeps versions."""
    lab.provision(versions=True)
    return lab.build(versions=True, **settings)


def test_gcs_histories(
    gcs: Mapping[str, Any],
    gcs_harness: Callable[..., BackendHarness],
    bare: Any,
) -> None:
    """In buckets that keep versions, everything that is required of histories holds."""
    harness = attrs.evolve(
        gcs_harness(gcs, versions=True, transport=bare.transport),
        back_door=lambda namespace: GenerationsDoor(bare.wire, f"nexus-{namespace.token}"),
    )
    outcomes = run_all(harness, profile=Profile.CORE, only=HISTORIES)
    seen = {each.requirement.id: (each.status, each.message) for each in outcomes}
    assert {each: seen[each] for each in HISTORIES} == dict.fromkeys(HISTORIES, (Status.PASSED, ""))


def test_gcs_versions_are_proved(bare: Any) -> None:
    """Where the settings ask for versions they are tried, and no trace of that is left."""
    keeping(bare)
    assert bare.spec.prove(bare.settings(versions=True), bare.runtime)["versions"] is True
    assert bare.wire.names(bare.bucket, versions="true") == []


def test_gcs_a_bucket_is_what_the_settings_say(lab: Any) -> None:
    """A bucket that keeps versions where none were asked for is refused, and the other way round;
    without the setting no version is promised."""
    assert list(lab.build().check()) == []
    assert lab.spec.prove(lab.settings(), lab.runtime)["versions"] is False
    for versioned in (False, True):
        settings = json.dumps({"versioning": {"enabled": versioned}}).encode()
        lab.wire.ask("PATCH", f"/storage/v1/b/{lab.bucket}", settings)
        assert list(lab.build(versions=versioned).check()) == []
        assert [each.path for each in lab.build(versions=not versioned).check()] == ["versions"]
        with pytest.raises(ConfigurationError):
            lab.provision(versions=not versioned)
    store = lab.build()
    calls: list[Callable[[], Any]] = [
        lambda: store.list_versions(SCOPE, "k"),
        lambda: store.head_version(SCOPE, "k", "1"),
        lambda: store.open_version(SCOPE, "k", "1"),
        lambda: store.restore(SCOPE, "k", "1"),
        lambda: store.purge(SCOPE, "k", ["1"]),
    ]
    for call in calls:
        with pytest.raises(UnsupportedError):
            call()


def test_gcs_large_versions(bare: Any) -> None:
    """What goes by way of a staging name leaves no generation there, and is restored by the engine
    in as many calls as it takes."""
    store = keeping(bare)
    old = b"o" * (33 * MIB)
    first = bare.put(store, "k", old)
    bare.put(store, "k", b"n" * (9 * MIB), if_match=first.etag)
    made = store.restore(SCOPE, "k", first.version_id)
    assert bare.read(store, "k") == old
    assert (made.sha256, made.size) == (first.sha256, len(old))
    assert bare.wire.names(bare.bucket, versions="true") == ["v1/prod/acme/k"] * 3
    assert store.erase(SCOPE) == 1
    assert bare.wire.names(bare.bucket, versions="true") == []


def test_gcs_what_the_engine_holds_is_said_to_stay(bare: Any) -> None:
    """Erasing and purging name the key that the engine's own hold protects, take nothing of it, and
    go through once the hold is lifted."""
    store = keeping(bare)
    for key in ("k", "l"):
        bare.put(store, key, b"old")
        store.delete(SCOPE, key)
    (line,) = store.list_versions(SCOPE, "k").items
    path = bare.wire.path(bare.bucket, "v1/prod/acme/k")
    generation = line.version_id.partition("-")[0]

    def hold(state: str) -> None:
        data = json.dumps({"temporaryHold": state == "on"}).encode()
        bare.wire.ask("PATCH", path, data, generation=generation)

    hold("on")
    refused: list[Callable[[], Any]] = [
        lambda: store.erase(SCOPE),
        lambda: store.purge(SCOPE, "k", [line.version_id]),
    ]
    for call in refused:
        with pytest.raises(RetentionError) as caught:
            call()
        assert (caught.value.ids, caught.value.outcome) == (("k",), Outcome.UNKNOWN)
        with store.open_version(SCOPE, "k", line.version_id) as stream:
            assert b"".join(stream.chunks) == b"old"
    assert [each.key for each in store.list_versions(SCOPE).items] == ["k"]
    hold("off")
    store.erase(SCOPE)
    assert store.list_versions(SCOPE).items == ()


def test_gcs_a_long_history_is_listed_in_pages(bare: Any) -> None:
    """A page may end inside the history of a key, and the next goes on there."""
    store = keeping(bare)
    made = [bare.put(store, "k", str(number).encode()).version_id for number in range(7)]
    bare.put(store, "k/m", b"x")
    found: list[str] = []
    after = None
    while True:
        page = store.list_versions(SCOPE, None, after=after, limit=3)
        found += [each.version_id for each in page.items if each.key == "k"]
        after = page.next_after
        if after is None:
            break
    assert found == made[::-1]
