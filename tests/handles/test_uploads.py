"""Uploads that go past the core, and are let in only as what was announced."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
from nexus_contracts.memory import plugin

from nexus_core import (
    AccessDeniedError,
    AlreadyExistsError,
    ChecksumMismatchError,
    ContextMismatchError,
    InvalidArgumentError,
    InvalidTokenError,
    NotFoundError,
    QuotaExceededError,
    UnavailableError,
    UnsupportedError,
)
from nexus_core.spi import BackendSpec, hookimpl

from .conftest import World, context

DATA = b"what was announced"
SHA = hashlib.sha256(DATA).hexdigest()


def unsigning() -> ModuleType:
    """The memory store as a plugin that declares that its raw store can sign nothing."""
    module = ModuleType("unsigning_for_test")
    module.__dict__.update(vars(plugin))
    spec = plugin.nexus_raw_store()
    signs: Any = {"presign_get": False, "presign_put": False}
    declared = attrs.evolve(spec.capabilities, **signs)

    @hookimpl
    def nexus_raw_store() -> BackendSpec:
        return attrs.evolve(spec, capabilities=declared)

    module.__dict__.update(nexus_raw_store=nexus_raw_store)
    return module


def sign(n: Any, key: str = "k", **changes: Any) -> Any:
    said = {"kind": "data", "space": "s", "size": len(DATA), "sha256": SHA, "metadata": {"a": "b"}}
    return n.raw.presign_put(key, **{**said, **changes})


def test_an_upload_becomes_the_object_it_was_announced_as(world: World) -> None:
    """Bytes, kind, space, flags, type and metadata are those that were signed; nothing stays."""
    with world.nexus.request(context(role="member", subject="u1")) as n:
        made = sign(n, content_type="text/plain", pii_flags=["email"], legal_hold=True)
        assert n.raw.list().items == ()
        world.raw.send(made.url.url, DATA)
        assert n.raw.list().items == ()
        stored = n.raw.register(made.ticket)
        assert n.raw.get("k").data == DATA
        assert n.raw.head("k") == stored
    assert (stored.content_type, dict(stored.metadata)) == ("text/plain", {"a": "b"})
    own = stored.governance
    assert (own.kind, own.space, own.subject, own.pii_flags) == ("data", "s", "u1", ("email",))
    assert own.legal_hold
    assert [key for _, key in world.raw.objects] == ["k"]


def test_signing_and_registering_are_on_record(world: World) -> None:
    """The URL is on record before it is given out; registering has intent and outcome."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
        n.raw.register(made.ticket)
    trail = world.trail(context())
    assert trail[:3] == [
        ("access", "raw.presign", "ok"),
        ("intent", "raw.register", None),
        ("outcome", "raw.register", "ok"),
    ]


def test_registering_again_gives_the_same_object(world: World) -> None:
    """A ticket can be registered again, also after a crash that left the upload behind."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
        first = n.raw.register(made.ticket)
        assert n.raw.register(made.ticket) == first
        world.raw.send(made.url.url, DATA)
        assert n.raw.register(made.ticket) == first
        assert [key for _, key in world.raw.objects] == ["k"]


def test_a_url_that_is_still_valid_changes_no_object(world: World) -> None:
    """After registration the URL writes to the staging place only, and the object stays."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
        before = n.raw.register(made.ticket)
        world.raw.send(made.url.url, DATA)
        assert n.raw.head("k") == before
        assert [item.key for item in n.raw.list().items] == ["k"]


def test_nothing_uploaded_is_not_found(world: World) -> None:
    """Registering what never arrived stores nothing."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        with pytest.raises(NotFoundError, match="nothing was uploaded"):
            n.raw.register(made.ticket)
        assert n.raw.list().items == ()


@pytest.mark.parametrize("data", [b"what was announceD", b"longer than what was announced"])
def test_other_bytes_are_refused_and_thrown_away(world: World, data: bytes) -> None:
    """An engine that let other bytes through is caught by size and SHA-256."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        signed, scope, key = world.raw.signed[made.url.url]
        headers = {
            "content-length": str(len(data)),
            "x-sha256": hashlib.sha256(data).hexdigest(),
            "content-type": "text/plain",
        }
        world.raw.signed[made.url.url] = (attrs.evolve(signed, headers=headers), scope, key)
        world.raw.send(made.url.url, data)
        with pytest.raises(ChecksumMismatchError):
            n.raw.register(made.ticket)
    assert world.raw.objects == {}


def test_bytes_that_change_between_check_and_copy_are_not_let_in(world: World) -> None:
    """The version that was verified is the one that is copied."""
    honest = world.raw.copy

    def swapping(scope: Any, source: str, *more: Any, **options: Any) -> Any:
        found = world.raw.objects[scope, source]
        world.raw._write(scope, source, b"x" * 18, found.info.attributes, if_absent=False)
        return honest(scope, source, *more, **options)

    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
        world.raw.copy = swapping
        with pytest.raises(Exception, match="another version"):
            n.raw.register(made.ticket)
        assert n.raw.list().items == ()


def test_a_taken_key_stays_what_it_is(world: World) -> None:
    """Registration never replaces: another object under the key stays, also one that differs in
    flags alone."""
    with world.nexus.request(context()) as n:
        made, stricter = sign(n), sign(n, legal_hold=True)
        for each in (made, stricter):
            world.raw.send(each.url.url, DATA)
        kept = n.raw.register(made.ticket)
        with pytest.raises(AlreadyExistsError):
            n.raw.register(stricter.ticket)
        assert n.raw.head("k") == kept


def test_a_ticket_is_good_for_its_scope_and_subject_and_day(world: World) -> None:
    """A ticket opens in its own scope only, for its own subject, and for a day."""
    with world.nexus.request(context(subject="u1")) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
    for who in (context("globex", subject="u1"), context(env="prod", subject="u1")):
        with world.nexus.request(who) as n, pytest.raises(InvalidTokenError):
            n.raw.register(made.ticket)
    with world.nexus.request(context(subject="u2")) as n, pytest.raises(ContextMismatchError):
        n.raw.register(made.ticket)
    with world.nexus.request(context(subject="u1")) as n:
        with pytest.raises(InvalidTokenError):
            n.raw.register(made.ticket[:-2] + "xx")
        world.clock.time += 25 * 3600 * 1_000_000
        with pytest.raises(InvalidTokenError):
            n.raw.register(made.ticket)


def test_viewers_neither_sign_nor_register(world: World) -> None:
    """Signing and registering take the permission to write."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
    with world.nexus.request(context(role="viewer")) as n:
        with pytest.raises(AccessDeniedError):
            sign(n)
        with pytest.raises(AccessDeniedError):
            n.raw.register(made.ticket)


def test_a_store_that_cannot_sign_is_not_asked(opened: Callable[..., World]) -> None:
    """Without the capability the call is refused before the backend hears of it."""
    with opened(memory=unsigning()).nexus.request(context()) as n:
        with pytest.raises(UnsupportedError, match="presign_put"):
            sign(n)
        n.raw.put("k", DATA, kind="data", space="s")
        with pytest.raises(UnsupportedError, match="presign_get"):
            n.raw.presign_get("k")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"size": -1}, InvalidArgumentError),
        ({"size": 6 * 1024**3}, QuotaExceededError),
        ({"sha256": SHA.upper()}, InvalidArgumentError),
        ({"expires_in": 3601}, InvalidArgumentError),
        ({"expires_in": 0}, InvalidArgumentError),
        ({"metadata": {str(i): "x" * 1000 for i in range(3)}}, InvalidArgumentError),
        ({"key": "_nexus/x"}, InvalidArgumentError),
    ],
)
def test_what_cannot_be_stored_is_not_signed(
    world: World, changes: dict[str, Any], error: type[Exception]
) -> None:
    """An upload that could never be registered gets no URL."""
    with world.nexus.request(context()) as n, pytest.raises(error):
        sign(n, **changes)
    assert world.raw.signed == {}


def test_a_download_is_signed_for_one_object(world: World) -> None:
    """A signed GET gives the object until it expires, and is on record."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", DATA, kind="data", space="s")
        url = n.raw.presign_get("k", expires_in=60)
        assert world.raw.send(url.url) == DATA
        with pytest.raises(NotFoundError):
            n.raw.presign_get("absent")
    world.clock.time += 61_000_000
    with pytest.raises(PermissionError):
        world.raw.send(url.url)
    assert ("access", "raw.presign", "ok") in world.trail(context())


def test_recovery_removes_uploads_that_nobody_can_register(world: World) -> None:
    """What was uploaded and never registered is removed once its ticket has expired."""
    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
        assert n.recover().uploads == 0
        assert len(world.raw.objects) == 1
        world.clock.time += 25 * 3600 * 1_000_000
        assert n.recover().uploads == 1
        assert world.raw.objects == {}


def test_an_upload_stays_registrable_where_the_staging_place_cannot_be_emptied(
    world: World,
) -> None:
    """That the staged bytes could not be deleted takes nothing from the registered object."""

    def refusing(*_: Any, **__: Any) -> Any:
        raise UnavailableError("down")

    with world.nexus.request(context()) as n:
        made = sign(n)
        world.raw.send(made.url.url, DATA)
        world.raw.delete = refusing
        assert n.raw.register(made.ticket).sha256 == SHA
