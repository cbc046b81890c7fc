"""Objects: writing without a trace of what failed, reading one generation, erasing all of them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nexus_gcs
import pytest

import nexus_core
from nexus_core.spi import (
    AlreadyExistsError,
    ByteRange,
    ClosedError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionFailedError,
    Scope,
    UnavailableError,
)

SCOPE = Scope("acme", "prod")
MIB = 1 << 20


class Broken(Exception):
    """What a failing source raises."""


def pieces(size: int) -> Iterator[bytes]:
    """Uneven pieces, the same every time."""
    rng = random.Random(size)  # noqa: S311  # reproducible, not secret
    left = size
    while left:
        piece = rng.randbytes(min(left, rng.randint(1, 3 * MIB)))
        left -= len(piece)
        yield piece


@pytest.mark.parametrize("size", [8 * MIB, 8 * MIB + 1, 33 * MIB + 7])
def test_gcs_large_bodies_are_whole(lab: Any, size: int) -> None:
    """A body of unknown length around and beyond one request is stored whole, with its digest."""
    store = lab.build()
    whole = b"".join(pieces(size))
    info = lab.put(store, "k", pieces(size), if_absent=True)
    assert (info.size, info.sha256) == (size, hashlib.sha256(whole).hexdigest())
    assert store.head(SCOPE, "k") == info
    assert lab.read(store, "k") == whole
    assert lab.read(store, "k", ByteRange(size - 9, size + 5)) == whole[-9:]
    assert lab.wire.names(lab.bucket) == ["v1/prod/acme/k"]


def test_gcs_a_large_body_that_raises_leaves_nothing(lab: Any) -> None:
    """After megabytes were sent a body raises: the old object stays, and nothing else is there."""
    store = lab.build()
    lab.put(store, "k", b"old")

    def failing() -> Iterator[bytes]:
        yield from pieces(9 * MIB)
        raise Broken

    for key in ("k", "new"):
        with pytest.raises(Broken):
            lab.put(store, key, failing())
    assert lab.read(store, "k") == b"old"
    assert lab.wire.names(lab.bucket) == ["v1/prod/acme/k"]


WRITER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
import nexus_gcs
from nexus_core.spi import Body, ObjectAttributes, Runtime, Scope
config = nexus_gcs.GcsConfig.model_validate_json(sys.argv[2])
runtime = Runtime(store="raw", base=Path(sys.argv[3]), now=lambda: 0)
store = nexus_gcs.nexus_raw_store().factory(config, runtime)
def endless():
    sent = 0
    while True:
        yield bytes(1 << 20)
        sent += 1
        if sent == 12:
            print("far", flush=True)
attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
store.put(Scope("acme", "prod"), "k", Body(endless()), attributes)
"""


def test_gcs_a_killed_writer_leaves_nothing(lab: Any) -> None:
    """A process that is killed in the middle of an upload leaves no object and no name."""
    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_gcs)]
    settings = lab.settings().model_dump_json()
    arguments = [json.dumps(paths), settings, str(lab.base)]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "far\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert lab.wire.names(lab.bucket) == []
    assert lab.put(lab.build(), "k", b"x", if_absent=True).size == 1


def test_gcs_every_write_names_a_generation(lab: Any) -> None:
    """Whatever is sent that changes something carries the generation that it is to replace."""
    store = lab.build()
    sent: list[tuple[str, str]] = []
    session = store._engine.session()
    honest = session.request

    def recording(method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        sent.append((method, url))
        return honest(method, url, *args, **kwargs)

    session.request = recording
    first = lab.put(store, "k", b"1")
    second = lab.put(store, "k", b"2")
    lab.put(store, "k", b"3", if_match=second.etag)
    lab.put(store, "large", pieces(9 * MIB))
    lab.put(store, "large", pieces(9 * MIB))
    store.copy(SCOPE, "k", "copy", lab.attributes(), if_absent=True)
    store.copy(SCOPE, "k", "copy", lab.attributes())
    store.delete(SCOPE, "k")
    store.delete_many(SCOPE, ["copy", "large"])
    lab.put(store, "last", b"4")
    store.erase(SCOPE)
    assert first.etag != second.etag
    writes = [
        parse_qs(urlsplit(url).query)
        for method, url in sent
        # What belongs to an upload under way was decided when that began.
        if method in ("POST", "PUT", "DELETE", "PATCH") and "upload_id=" not in url
    ]
    assert len(writes) > 15
    assert [each for each in writes if not {"ifGenerationMatch", "generation"} & set(each)] == []


def test_gcs_erase_takes_every_generation(lab: Any) -> None:
    """Older generations and staged bytes of the scope go too, and no other scope's."""
    settings = json.dumps({"versioning": {"enabled": True}}).encode()
    lab.wire.ask("PATCH", f"/storage/v1/b/{lab.bucket}", settings)
    store = lab.build()
    twin = Scope("acme-2", "prod")
    for number in range(3):
        lab.put(store, "k", b"%d" % number)
    lab.put(store, "gone", b"x")
    store.delete(SCOPE, "gone")
    lab.put(store, "k", b"theirs", scope=twin)
    lab.wire.write(lab.bucket, "nexus-staging/prod/acme/left-behind", b"x")
    lab.wire.write(lab.bucket, "nexus-staging/prod/acme-2/left-behind", b"x")
    assert store.erase(SCOPE) == 1
    assert lab.wire.names(lab.bucket, versions="true") == [
        "nexus-staging/prod/acme-2/left-behind",
        "v1/prod/acme-2/k",
    ]
    assert store.erase(SCOPE) == 0


def test_gcs_etags_fit_their_own_key_alone(lab: Any) -> None:
    """An ETag of another key, or a text that is none, fits no version."""
    store = lab.build()
    other = lab.put(store, "other", b"x")
    mine = lab.put(store, "k", b"x")
    generation = mine.etag.partition("-")[0]
    for etag in (other.etag, "", "1", generation, f"{generation}-00000000", "٣-00000000"):
        with pytest.raises(PreconditionFailedError):
            lab.put(store, "k", b"y", if_match=etag)
        with pytest.raises(PreconditionFailedError):
            store.delete(SCOPE, "k", if_match=etag)
    assert lab.read(store, "k") == b"x"


def test_gcs_foreign_objects_are_told(lab: Any) -> None:
    """What another program wrote under a scope's name is neither read nor replaced by a create."""
    store = lab.build()
    lab.wire.write(lab.bucket, "v1/prod/acme/k", b"planted")
    with pytest.raises(IntegrityError):
        store.head(SCOPE, "k")
    with pytest.raises(IntegrityError):
        lab.put(store, "k", b"x", if_absent=True)
    store.delete(SCOPE, "k")
    with pytest.raises(NotFoundError):
        store.head(SCOPE, "k")


def test_gcs_names_that_are_no_keys_are_not_listed(lab: Any) -> None:
    """Names that the codec does not make are passed over, and pages still come to their end."""
    store = lab.build()
    for name in ("", "a//b", "../x", "/", "b/"):
        lab.wire.write(lab.bucket, f"v1/prod/acme/{name}", b"")
    lab.put(store, "z", b"")
    page = store.list(SCOPE, limit=1)
    found = [item.key for item in page.items]
    while page.next_after is not None:
        page = store.list(SCOPE, limit=1, after=page.next_after)
        found += [item.key for item in page.items]
    assert found == ["z"]
    assert store.erase(SCOPE) == 6


def test_gcs_a_bucket_that_is_gone_is_not_an_empty_store(bare: Any) -> None:
    """Without the bucket every verb says "unavailable", never "not found"."""
    store = bare.build()
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.head(SCOPE, "k"),
        lambda: bare.read(store, "k"),
        lambda: bare.put(store, "k", b"x"),
        lambda: bare.put(store, "k", pieces(9 * MIB)),
        lambda: store.list(SCOPE),
        lambda: store.delete(SCOPE, "k"),
        lambda: store.copy(SCOPE, "k", "l", bare.attributes()),
        lambda: store.erase(SCOPE),
    )
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert bare.bucket not in str(caught.value)


def test_gcs_metadata_that_does_not_fit_is_refused(lab: Any) -> None:
    """Metadata beyond what the engine takes is refused before anything is sent."""
    store = lab.build()
    with pytest.raises(InvalidArgumentError):
        store.put(SCOPE, "k", nexus_core.spi.Body(b"x"), lab.attributes(big="x" * 9000))
    assert lab.wire.names(lab.bucket) == []


def test_gcs_tokens_are_renewed(lab: Any) -> None:
    """A token that ends before its time is renewed, and the request is sent again."""
    store = lab.build()
    lab.put(store, "k", b"x")
    lab.wire.ask("POST", "/forget-tokens")
    assert lab.read(store, "k") == b"x"


def test_gcs_a_forked_child_has_connections_of_its_own(lab: Any) -> None:
    """After a fork parent and child both go on, neither on the other's connections."""
    store = lab.build()
    lab.put(store, "k", b"x")
    before = store._engine.session()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fine = lab.read(store, "k") == b"x" and store._engine.session() is not before
            os.write(writer, b"fine" if fine else b"bad")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 10) == b"fine"
    os.close(reader)
    os.waitpid(child, 0)
    assert lab.read(store, "k") == b"x"
    assert store._engine.session() is before


def test_gcs_streams_end_with_their_block_and_store(lab: Any) -> None:
    """What is read after the block that opened it, or after close, raises ClosedError."""
    store = lab.build()
    lab.put(store, "k", b"x")
    with store.open(SCOPE, "k") as stream:
        late = stream.chunks
    with pytest.raises(ClosedError):
        next(late)
    with store.open(SCOPE, "k") as stream:
        store.close()
        with pytest.raises(ClosedError):
            next(stream.chunks)


def test_gcs_a_copy_follows_neither_a_moved_source_nor_a_taken_target(lab: Any) -> None:
    """The engine's one refusal of a copy is told as what it was: the source's, or the target's."""
    store = lab.build()
    old = lab.put(store, "source", b"1")
    lab.put(store, "source", b"2")
    with pytest.raises(PreconditionFailedError):
        store.copy(SCOPE, "source", "t", lab.attributes(), if_source_match=old.etag)
    store.copy(SCOPE, "source", "t", lab.attributes(), if_absent=True)
    with pytest.raises(AlreadyExistsError):
        store.copy(SCOPE, "source", "t", lab.attributes(), if_absent=True)
    large = lab.put(store, "large", pieces(33 * MIB))
    assert store.copy(SCOPE, "large", "t", lab.attributes()).sha256 == large.sha256
    assert store.copy(SCOPE, "t", "t", lab.attributes(own="yes")).sha256 == large.sha256
