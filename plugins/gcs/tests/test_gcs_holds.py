"""What is said of an object is changed by the engine itself, under a condition."""

from __future__ import annotations

from typing import Any

import pytest
from nexus_gcs._write import find

from nexus_core.spi import PreconditionFailedError, RetentionError, Scope

SCOPE = Scope("acme", "prod")
MIB = 1 << 20
HELD = {"stamp": "0", "legal-hold": "1"}


def test_gcs_a_large_object_is_held_without_its_bytes(bare: Any) -> None:
    """System metadata is replaced by a rewrite inside the engine, in as many calls as it takes;
    bytes and digest stay, and where versions are kept the one before is purged like any other."""
    bare.provision(versions=True)
    store = bare.build(versions=True)
    data = b"h" * (33 * MIB)
    info = bare.put(store, "k", data)
    made = store.set_system(SCOPE, "k", HELD, if_match=info.etag)
    assert made == store.head(SCOPE, "k")
    assert (made.sha256, made.size, made.attributes.system) == (info.sha256, len(data), HELD)
    assert made.version_id != info.version_id
    with pytest.raises(PreconditionFailedError):
        store.set_system(SCOPE, "k", {}, if_match=info.etag)
    store.purge(SCOPE, "k", [info.version_id])
    assert bare.read(store, "k") == data
    assert bare.wire.names(bare.bucket, versions="true") == ["v1/prod/acme/k"]


def test_gcs_what_the_engine_holds_is_not_rewritten(lab: Any) -> None:
    """An object under the engine's own hold keeps what is said of it, and the refusal says why."""
    store = lab.build()
    info = lab.put(store, "k", b"x")
    path = lab.wire.path(lab.bucket, "v1/prod/acme/k")
    lab.wire.ask("PATCH", path, b'{"temporaryHold": true}')
    with pytest.raises(RetentionError):
        store.set_system(SCOPE, "k", HELD, if_match=info.etag)
    lab.wire.ask("PATCH", path, b'{"temporaryHold": false}')
    assert store.set_system(SCOPE, "k", HELD, if_match=info.etag).attributes.system == HELD


@pytest.mark.parametrize("left", [[], ["k"]], ids=["deleted", "replaced"])
def test_gcs_what_is_gone_is_not_held(
    lab: Any, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is deleted or replaced between the look and the rewrite is not changed."""
    store = lab.build()
    info = lab.put(store, "k", b"x")

    def meanwhile(engine: Any, target: Any) -> Any:
        seen = find(engine, target)
        store.delete(SCOPE, "k")
        for key in left:
            lab.put(store, key, b"y")
        return seen

    monkeypatch.setattr("nexus_gcs._copy.find", meanwhile)
    with pytest.raises(PreconditionFailedError):
        store.set_system(SCOPE, "k", HELD, if_match=info.etag)
    assert [each.key for each in store.list(SCOPE).items] == left
    assert all(lab.read(store, key) == b"y" for key in left)
