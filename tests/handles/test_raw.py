"""Laws of ``n.raw``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from nexus_core import (
    AlreadyExistsError,
    ByteRange,
    ChecksumMismatchError,
    IntegrityError,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTokenError,
    NotFoundError,
    PreconditionFailedError,
    QuotaExceededError,
    RetentionError,
    UnsupportedError,
)
from nexus_core.spi import RawCapabilities, StoreRole

from .conftest import World, context

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}
BAD_KEYS = [
    "",
    "/k",
    "k/",
    "a//b",
    "..",
    "../b",
    "x/../b",
    "./k",
    "k/.",
    "..\\b",
    "a\0",
    "a\n",
    "a\x7f",
    "e\u0301",
    "\ud800",
    "x" * 1025,
    "_nexus",
    "_nexus/assets/x",
    None,
    7,
    b"k",
]


def test_what_is_put_comes_back(world: World) -> None:
    """Bytes, type, metadata, flags and SHA-256 come back as they were put."""
    with world.nexus.request(context(subject="u1")) as n:
        put = n.raw.put(
            "a/b",
            b"hello",
            **OWN,
            content_type="text/plain",
            metadata={"lang": "en"},
            pii_flags=["name"],
            train_ok=True,
            retain_until=5,
        )
        got = n.raw.get("a/b")
        assert n.raw.head("a/b") == put == got.object
        assert got.data == b"hello"
        governance = put.governance
    assert (put.content_type, put.metadata, put.size) == ("text/plain", {"lang": "en"}, 5)
    assert attrs.asdict(governance) == {
        "kind": "data",
        "space": "docs",
        "subject": "u1",
        "pii_flags": ("name",),
        "train_ok": True,
        "retain_until": 5,
        "legal_hold": False,
    }


def test_nothing_may_be_trained_on_unless_said(world: World) -> None:
    """train_ok is false unless the writer says otherwise."""
    with world.nexus.request(context()) as n:
        assert n.raw.put("k", b"", **OWN).governance.train_ok is False


def test_put_creates_once(world: World) -> None:
    """A key that is taken is not overwritten; naming its version replaces it, a stale one fails."""
    with world.nexus.request(context()) as n:
        first = n.raw.put("k", b"one", **OWN)
        with pytest.raises(AlreadyExistsError):
            n.raw.put("k", b"two", **OWN)
        second = n.raw.put("k", b"two", **OWN, if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            n.raw.put("k", b"three", **OWN, if_match=first.etag)
        assert n.raw.get("k").data == b"two"
        assert second.etag != first.etag


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused_by_every_method(world: World, key: Any) -> None:
    """A key outside the grammar, or in the reserved root, is refused before any store is called."""
    with world.nexus.request(context()) as n:
        n.raw.put("good", b"x", **OWN)
        records = len(world.trail(context()))
        for call in (
            lambda: n.raw.put(key, b"x", **OWN),
            lambda: n.raw.get(key),
            lambda: n.raw.head(key),
            lambda: n.raw.delete(key),
            lambda: n.raw.delete_many([key]),
            lambda: n.raw.copy(key, "t"),
            lambda: n.raw.copy("good", key),
            lambda: n.raw.open(key).__enter__(),
            lambda: n.raw.get_ranges(key, [ByteRange(0)]),
            lambda: n.raw.presign_get(key),
            lambda: n.assets.register(key),
        ):
            with pytest.raises(InvalidKeyError):
                call()
    assert len(world.trail(context())) == records + 1
    assert len(world.raw.objects) == 1


@pytest.mark.parametrize("prefix", ["../", "/", "a//", "./", "a/../", "\0", "a\\"])
def test_bad_prefixes_are_refused(world: World, prefix: str) -> None:
    """A prefix that no key can begin with is refused."""
    with world.nexus.request(context()) as n, pytest.raises(InvalidKeyError):
        n.raw.list(prefix)


def test_a_body_that_fails_leaves_nothing(world: World) -> None:
    """A body that raises, or is not what was declared, stores nothing."""

    def breaking() -> Iterator[bytes]:
        yield b"part"
        raise OSError("the source broke")

    with world.nexus.request(context()) as n:
        with pytest.raises(Exception, match="not map") as caught:
            n.raw.put("k", breaking(), **OWN)
        assert "the source broke" not in str(caught.value)
        with pytest.raises(ChecksumMismatchError):
            n.raw.put("k", b"x", **OWN, sha256="0" * 64)
        with pytest.raises(ChecksumMismatchError):
            n.raw.put("k", iter([b"x"]), **OWN, size=2)
        with pytest.raises(NotFoundError):
            n.raw.get("k")


def test_flipped_bytes_are_not_released(world: World) -> None:
    """Bytes that changed at rest are never released whole, in one piece or streamed."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x" * 200_000, **OWN)
        place = next(iter(world.raw.objects))
        found = world.raw.objects[place]
        world.raw.objects[place] = attrs.evolve(found, data=b"y" + found.data[1:])
        with pytest.raises(ChecksumMismatchError):
            n.raw.get("k")
        released = 0
        with n.raw.open("k") as stream:
            while True:
                try:
                    released += len(next(stream.chunks))
                except ChecksumMismatchError:
                    break
        assert released < 200_000
        world.raw.objects[place] = attrs.evolve(found, data=found.data[:-1])
        with pytest.raises(IntegrityError):
            n.raw.get("k")


def test_ranges_are_exact(world: World) -> None:
    """Ranges give exactly their bytes, several of them those of one version."""
    data = bytes(range(100))
    with world.nexus.request(context()) as n:
        n.raw.put("k", data, **OWN)
        assert n.raw.get("k", range=ByteRange(3, 7)).data == data[3:7]
        assert n.raw.get("k", range=ByteRange.last(4)).data == data[-4:]
        assert n.raw.get_ranges("k", [ByteRange(0, 1), ByteRange(90, 200)]) == [
            data[:1],
            data[90:],
        ]


def test_memory_is_bounded_by_the_caller(world: World) -> None:
    """An object larger than max_bytes is refused, not read."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"12345", **OWN)
        with pytest.raises(QuotaExceededError):
            n.raw.get("k", max_bytes=4)
        with pytest.raises(QuotaExceededError):
            n.raw.get_ranges("k", [ByteRange(0, 3), ByteRange(0, 3)], max_bytes=5)


def test_listing_is_complete_ordered_and_hides_the_reserved_root(world: World) -> None:
    """All keys come, in UTF-8 byte order, in pages of any size; the framework's own do not."""
    keys = ["a", "a/b", "a-b", "é", "z", "a/c/d", "B"]
    with world.nexus.request(context()) as n:
        for key in keys:
            n.raw.put(key, b"", **OWN)
        n.ingest([], kind="data", space="docs")
        for limit in (1, 3, 1000):
            seen: list[str] = []
            cursor: str | None = None
            while True:
                page = n.raw.list(cursor=cursor, limit=limit)
                seen += [item.key for item in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert seen == sorted(keys, key=str.encode)
        rolled = n.raw.list(delimiter="/")
        assert rolled.prefixes == ("a/",)
        assert [item.key for item in n.raw.list("a/").items] == ["a/b", "a/c/d"]


def test_a_cursor_opens_nowhere_else(world: World) -> None:
    """A cursor serves one query in one scope; edited, moved or expired it is refused alike."""
    for tenant, env in (("acme", "dev"), ("acme", "prod"), ("acme2", "dev")):
        with world.nexus.request(context(tenant, env)) as n:
            for key in "abc":
                n.raw.put(key, b"", **OWN)
    with world.nexus.request(context()) as n:
        cursor = n.raw.list(limit=1).cursor
        assert cursor is not None
        assert n.raw.list(cursor=cursor, limit=1).items[0].key == "b"
        texts = set()
        flipped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
        for bad in ("", "x", flipped, cursor[:-2], cursor + "A", cursor + "=", "é"):
            with pytest.raises(InvalidTokenError) as caught:
                n.raw.list(cursor=bad)
            texts.add(str(caught.value))
        with pytest.raises(InvalidTokenError) as caught:
            n.raw.list("a", cursor=cursor)
        texts.add(str(caught.value))
        with pytest.raises(InvalidTokenError):
            n.atoms.query(cursor=cursor)
    for tenant, env in (("acme", "prod"), ("acme2", "dev")):
        with world.nexus.request(context(tenant, env)) as n:
            with pytest.raises(InvalidTokenError) as caught:
                n.raw.list(cursor=cursor)
            texts.add(str(caught.value))
    world.clock.time += 25 * 3600 * 1_000_000
    with world.nexus.request(context()) as n:
        with pytest.raises(InvalidTokenError) as caught:
            n.raw.list(cursor=cursor)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_holds_and_retention_forbid_deletion_and_replacement(world: World) -> None:
    """What a hold or a period protects can be neither deleted nor replaced, alone or in a batch."""
    with world.nexus.request(context()) as n:
        n.raw.put("held", b"x", **OWN, legal_hold=True)
        kept = n.raw.put("kept", b"x", **OWN, retain_until=world.clock.time + 10**12)
        n.raw.put("free", b"x", **OWN)
        with pytest.raises(RetentionError):
            n.raw.delete("held")
        with pytest.raises(RetentionError):
            n.raw.put("kept", b"y", **OWN, if_match=kept.etag)
        failed = n.raw.delete_many(["held", "kept", "free", "absent"])
        assert failed == {"held": "store.retained", "kept": "store.retained"}
        world.clock.time += 2 * 10**12
        n.raw.delete("kept")
        assert [item.key for item in n.raw.list().items] == ["held"]


def test_delete_is_idempotent(world: World) -> None:
    """Deleting what is not there is not an error; a named version that is not current is."""
    with world.nexus.request(context()) as n:
        n.raw.delete("never")
        first = n.raw.put("k", b"x", **OWN)
        with pytest.raises(PreconditionFailedError):
            n.raw.delete("k", if_match="other")
        n.raw.delete("k", if_match=first.etag)
        n.raw.delete("k")


def test_copies_stay_inside(world: World) -> None:
    """A copy carries everything along, creates once, and can name nothing but the scope's own."""
    with world.nexus.request(context("other")) as n:
        n.raw.put("secret", b"x", **OWN)
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN, metadata={"a": "b"}, legal_hold=True)
        copied = n.raw.copy("k", "l")
        assert (copied.metadata, copied.governance.legal_hold) == ({"a": "b"}, True)
        with pytest.raises(AlreadyExistsError):
            n.raw.copy("k", "l")
        for foreign in ("secret", "v1/dev/other/secret", "other/secret"):
            with pytest.raises(NotFoundError):
                n.raw.copy(foreign, "m")


def test_an_undeclared_capability_never_reaches_the_backend(world: World) -> None:
    """What a store does not declare is refused before it is called, and the store is untouched."""
    place = ("memory", StoreRole.RAW)
    stores = world.nexus._deployment.stores
    bare = attrs.evolve(stores[place].spec, capabilities=RawCapabilities(conditional_create=True))
    stores[place] = attrs.evolve(stores[place], spec=bare)
    with world.nexus.request(context()) as n:
        kept = n.raw.put("k", b"x", **OWN)
        for call in (
            lambda: n.raw.put("k", b"y", **OWN, if_match=kept.etag),
            lambda: n.raw.get("k", range=ByteRange(0, 1)),
            lambda: n.raw.delete("k", if_match=kept.etag),
            lambda: n.raw.copy("k", "l"),
            lambda: n.raw.list(delimiter="/"),
            lambda: n.raw.presign_get("k"),
        ):
            with pytest.raises(UnsupportedError):
                call()
        assert n.raw.get("k").object == kept


@pytest.mark.parametrize(
    "options",
    [
        {"content_type": "Text/Plain"},
        {"content_type": "text"},
        {"content_type": "a/b\r\nx: y"},
        {"metadata": {"X": "y"}},
        {"metadata": {"nexus-stamp": "y"}},
        {"metadata": {"a": "é"}},
        {"metadata": {"a": "b\r\nc"}},
        {"metadata": {"a": " b"}},
        {"metadata": {"a": "x" * 1025}},
        {"metadata": {f"k{i}": "x" * 300 for i in range(10)}},
        {"train_ok": 1},
        {"legal_hold": "yes"},
        {"retain_until": -1},
        {"retain_until": True},
        {"pii_flags": "name"},
        {"pii_flags": ["No"]},
        {"sha256": "x"},
        {"size": -1},
    ],
)
def test_bad_attributes_are_refused(world: World, options: dict[str, Any]) -> None:
    """Attributes that not every store could keep exactly are refused and nothing is stored."""
    with world.nexus.request(context()) as n, pytest.raises(InvalidArgumentError):
        n.raw.put("k", b"x", **OWN, **options)
    assert not world.raw.objects
