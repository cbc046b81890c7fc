"""The fast transport: what it carries, what it leaves to the client library, and what it trusts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    ChecksumMismatchError,
    Outcome,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitedError,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

SCOPE = Scope("acme", "prod")
NAME = "v1/prod/acme/k"
MIB = 1 << 20
OTHER = {"sdk": "obstore", "obstore": "sdk"}
ON_OBSTORE = pytest.mark.parametrize("transport", ["obstore"])


@pytest.fixture
def relay(gcs_relay: Any, gcs: Any) -> Iterator[Any]:
    """A road to the server of our own."""
    with gcs_relay.Relay(gcs).running() as running:
        yield running


@pytest.fixture
def road(lab: Any, relay: Any) -> Any:
    """A store whose requests go by the relay, and do not try for long."""
    return lab.build(port=relay.port, attempts=2, connect_seconds=1, read_seconds=2)


def flipped(data: bytes, part: bytes) -> bytes:
    """The same bytes with one bit of a part changed, which is in them once."""
    place = data.index(part)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def names(lab: Any) -> list[str]:
    """Every name in the bucket."""
    found: list[str] = lab.wire.names(lab.bucket, versions="true")
    return found


def reading(lab: Any, store: Any) -> list[Callable[[], object]]:
    """Every way to read the object ``k``."""
    return [
        lambda: store.head(SCOPE, "k"),
        lambda: lab.read(store, "k"),
        lambda: lab.read(store, "k", ByteRange(1, 3)),
        lambda: lab.read(store, "k", ByteRange.last(2)),
    ]


def test_gcs_wire_each_request_takes_its_road(lab: Any, road: Any, relay: Any) -> None:
    """obstore carries creating, looking and reading; the client library everything else."""
    info = lab.put(road, "k", b"bytes", if_absent=True)
    for call in reading(lab, road):
        call()
    seen = relay.roads()
    small = {"PUT", "HEAD", "GET"}
    assert (seen["obstore"], seen["sdk"]) == (
        (small, set())
        if lab.transport == "obstore"
        else (set(), {"POST multipart", "GET", "GET alt"})
    )
    info = lab.put(road, "k", b"other", if_match=info.etag)
    lab.put(road, "large", b"x" * (9 * MIB), if_absent=True)
    list(road.list(SCOPE).items)
    road.copy(SCOPE, "k", "copy", lab.attributes(), if_absent=True)
    road.set_system(SCOPE, "k", {}, if_match=info.etag)
    road.delete_many(SCOPE, ["k", "copy", "large"])
    seen = relay.roads()
    assert seen["obstore"] == set()
    assert {"POST multipart", "POST resumable", "PUT resumable", "POST", "DELETE"} <= seen["sdk"]


def test_gcs_wire_a_small_read_is_one_request(lab: Any, road: Any, relay: Any) -> None:
    """obstore brings what is known of an object with its first bytes, the client library asks for
    each, and what follows is asked for by the generation."""
    data = bytes(range(256)) * (17 * MIB // 256)
    info = lab.put(road, "k", data)
    relay.asked.clear()
    assert lab.read(road, "k") == data
    assert len(relay.asked) == (3 if lab.transport == "obstore" else 4)
    generation = info.etag.partition("-")[0]
    assert all(f"generation={generation}" in each.path for each in relay.asked[-2:])


@pytest.mark.parametrize(
    "key", ["é/ü", "a b", "a+b", "a%41", "a~b", "~!'()*&=$@,;:", "漢字", "a?b#c", "%2e%2e"]
)
def test_gcs_wire_names_are_the_same_on_both_roads(lab: Any, key: str) -> None:
    """A name that one transport writes is the name that the other reads, whatever is in it."""
    info = lab.put(lab.build(), key, b"x", if_absent=True)
    other = lab.build(transport=OTHER[lab.transport])
    assert names(lab) == [f"v1/prod/acme/{key}"]
    assert other.head(SCOPE, key) == info
    assert lab.read(other, key) == b"x"
    assert [item.key for item in other.list(SCOPE).items] == [key]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": "b", "key-2": "several words; (and) signs, =?utf-8?q?a?="},
        {"a": ""},
        {"a": " edge "},
        {"a": "two  spaces"},
        {"a": "line\nnext"},
        {"a": "ünï"},
        {"under_score": "x", "Upper": "y"},
        {f"k{number}": "v" for number in range(90)},
    ],
    ids=["none", "plain", "empty", "edges", "spaces", "lines", "letters", "names", "many"],
)
def test_gcs_wire_attributes_are_the_same_on_both_roads(lab: Any, metadata: dict[str, str]) -> None:
    """Whatever is kept with an object is told alike by both transports, whoever has written it."""
    store, other = lab.build(), lab.build(transport=OTHER[lab.transport])
    attributes = attrs.evolve(
        lab.attributes(**metadata),
        content_type="text/plain; charset=utf-8",
        system={"stamp": "0" * 64, "legal-hold": "1"},
    )
    info = store.put(SCOPE, "k", Body(b"x"), attributes, if_absent=True)
    assert info.attributes == attributes
    for reader in (store, other):
        assert reader.head(SCOPE, "k") == info
        with reader.open(SCOPE, "k", range=ByteRange(0, 1)) as stream:
            assert stream.info == info


def test_gcs_wire_either_transport_goes_on_with_the_others_objects(bare: Any) -> None:
    """Objects that one has made, replaced, copied or held are read, pinned, replaced and restored
    by the other, with every check."""
    bare.provision(versions=True)
    mine = bare.build(versions=True)
    other = bare.build(versions=True, transport=OTHER[bare.transport])
    data = bytes(range(256)) * (9 * MIB // 256)
    first = bare.put(mine, "k", data, if_absent=True)
    second = bare.put(other, "k", b"second", if_match=first.etag)
    third = mine.set_system(SCOPE, "k", {"stamp": "1"}, if_match=second.etag)
    made = other.copy(SCOPE, "k", "copy", bare.attributes(), if_source_match=third.etag)
    for reader in (mine, other):
        assert reader.head(SCOPE, "k") == third
        assert reader.head(SCOPE, "copy") == made
        assert bare.read(reader, "copy", ByteRange(1, 4)) == b"eco"
        assert reader.head_version(SCOPE, "k", first.version_id) == first
        with reader.open_version(SCOPE, "k", first.version_id) as stream:
            assert b"".join(stream.chunks) == data
        with pytest.raises(PreconditionFailedError), reader.open(SCOPE, "k", if_match=first.etag):
            pass
    restored = other.restore(SCOPE, "k", first.version_id)
    assert mine.head(SCOPE, "k") == restored
    assert bare.read(mine, "k") == data


def test_gcs_wire_what_headers_do_not_tell_is_asked_for(lab: Any) -> None:
    """An object without the store's own time and checksum is read as the client library tells it:
    what a signed upload has made, and what was written before there were any."""
    store = lab.build()
    data = b"what was announced"
    signed = store.presign_put(
        SCOPE,
        "k",
        expires_in=60,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        content_type="text/plain",
    )
    path = signed.url.partition(f":{lab.info['port']}")[2]
    assert lab.wire.send(signed.method, path, data, signed.headers)[0] == 200
    described = lab.wire.ask("GET", lab.wire.path(lab.bucket, NAME))
    assert not {"nexus-at", "nexus-crc32c", "nexus-md5"} & set(described["metadata"])
    info = store.head(SCOPE, "k")
    assert info == lab.build(transport=OTHER[lab.transport]).head(SCOPE, "k")
    assert lab.read(store, "k") == data


def test_gcs_wire_bytes_damaged_on_their_way_in_make_nothing(
    lab: Any, road: Any, relay: Any
) -> None:
    """A bit that turns on the way to the engine is told, no object is made, and what was there
    before stays."""
    old = lab.put(road, "old", b"old bytes")

    def damage(asked: Any) -> None:
        if b"new bytes" in asked.body:
            asked.body = flipped(asked.body, b"new bytes")

    relay.before = damage
    writes: list[Callable[[], object]] = [
        lambda: lab.put(road, "k", b"new bytes", if_absent=True),
        lambda: lab.put(road, "k", b"new bytes"),
        lambda: lab.put(road, "old", b"new bytes", if_match=old.etag),
        lambda: lab.put(road, "old", b"new bytes"),
    ]
    for call in writes:
        with pytest.raises(ChecksumMismatchError) as caught:
            call()
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert names(lab) == ["v1/prod/acme/old"]
    assert lab.read(road, "old") == b"old bytes"


@ON_OBSTORE
def test_gcs_wire_an_answer_to_another_write_removes_nothing(
    lab: Any, road: Any, relay: Any, gcs_relay: Any
) -> None:
    """An answer that tells of an object which somebody else made is no success, and that object
    stays."""
    lab.put(road, "k", b"theirs")
    made = lab.wire.ask("GET", lab.wire.path(lab.bucket, NAME))
    told = {"ETag": '"another"', "x-goog-generation": made["generation"]}

    def mistaken(asked: Any) -> Any:
        put = asked.by == "obstore" and asked.method == "PUT"
        return gcs_relay.Answer(200, told) if put else None

    relay.before = mistaken
    with pytest.raises(StoreError):
        lab.put(road, "k", b"ours", if_absent=True)
    assert lab.read(road, "k") == b"theirs"


def test_gcs_wire_an_engine_that_tells_of_other_bytes_is_not_believed(
    lab: Any, road: Any, relay: Any
) -> None:
    """An answer whose checksum is not that of what was sent leaves the outcome unknown."""

    def lie(asked: Any, answer: Any) -> None:
        if asked.method in ("POST", "PUT"):
            answer.body = answer.body.replace(b'"crc32c": "', b'"crc32c": "A')
            answer.headers.pop("Content-Length", None)

    first = lab.put(road, "k", b"old")
    relay.after = lie
    writes: list[Callable[[], object]] = [
        lambda: lab.put(road, "k", b"new", if_match=first.etag),
        lambda: road.copy(SCOPE, "k", "copy", lab.attributes()),
    ]
    for call in writes:
        with pytest.raises(ChecksumMismatchError) as caught:
            call()
        assert caught.value.outcome is Outcome.UNKNOWN


@ON_OBSTORE
def test_gcs_wire_damage_that_nobody_saw_is_never_read(
    lab: Any, relay: Any, gcs_relay: Any
) -> None:
    """Damaged bytes whose answer was lost as well are told as unknown, and no reader gets them: not
    whole, not in part, on neither transport."""
    store = lab.build(port=relay.port, attempts=1)

    def damage(asked: Any) -> Any:
        if asked.method == "PUT":
            asked.body = flipped(asked.body, b"new bytes")

    def lose(asked: Any, answer: Any) -> None:
        if asked.method == "PUT":
            answer.status = 0

    relay.before, relay.after = damage, lose
    with pytest.raises(StoreError) as caught:
        lab.put(store, "k", b"new bytes", if_absent=True)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert names(lab) == [NAME]
    for call in reading(lab, lab.build()):
        with pytest.raises(ChecksumMismatchError):
            call()
    store.delete(SCOPE, "k")
    assert names(lab) == []


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_gcs_wire_an_etag_that_is_no_digest_says_nothing(
    lab: Any, road: Any, relay: Any, damaged: bool
) -> None:
    """Where the engine makes its ETags of something else, its checksum is asked for, and a read is
    held against that."""

    def damage(asked: Any) -> None:
        if damaged and asked.method == "PUT":
            asked.body = flipped(asked.body, b"new bytes")

    def obscure(_: Any, answer: Any) -> None:
        answer.headers |= {"ETag": '"CKih16qA/pQDEAE="'} if "ETag" in answer.headers else {}

    relay.before, relay.after = damage, obscure
    if damaged and lab.transport == "obstore":
        with pytest.raises(ChecksumMismatchError) as caught:
            lab.put(road, "k", b"new bytes", if_absent=True)
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert names(lab) == []
        return
    info = lab.put(road, "k", b"new bytes", if_absent=True)
    assert road.head(SCOPE, "k") == info
    assert lab.read(road, "k") == b"new bytes"
    assert lab.read(road, "k", ByteRange(4, 9)) == b"bytes"


def test_gcs_wire_bytes_damaged_on_their_way_out_are_told(lab: Any, road: Any, relay: Any) -> None:
    """A whole read whose bytes are not those that were stored raises at its end."""
    lab.put(road, "k", b"right bytes")

    def damage(asked: Any, answer: Any) -> None:
        if b"right bytes" in answer.body:
            answer.body = flipped(answer.body, b"right bytes")

    relay.after = damage
    with pytest.raises(ChecksumMismatchError):
        lab.read(road, "k")


@ON_OBSTORE
@pytest.mark.parametrize(
    "case",
    [
        (412, "PreconditionFailed", AlreadyExistsError, Outcome.NOT_APPLIED),
        (403, "AccessDenied", PermissionDeniedError, Outcome.NOT_APPLIED),
        (404, "NoSuchBucket", UnavailableError, Outcome.NOT_APPLIED),
        (400, "BadDigest", ChecksumMismatchError, Outcome.NOT_APPLIED),
        (408, "RequestTimeout", StoreTimeoutError, Outcome.UNKNOWN),
        (429, "SlowDown", RateLimitedError, Outcome.NOT_APPLIED),
        (500, "InternalError", UnavailableError, Outcome.UNKNOWN),
        (503, "ServiceUnavailable", UnavailableError, Outcome.UNKNOWN),
        (0, "", UnavailableError, Outcome.UNKNOWN),
        (302, "", StoreError, Outcome.UNKNOWN),
        (200, "", StoreError, Outcome.UNKNOWN),
    ],
)
def test_gcs_wire_errors_are_read_past_what_obstore_makes_of_them(
    lab: Any, relay: Any, gcs_relay: Any, case: tuple[int, str, type[StoreError], Outcome]
) -> None:
    """Each refusal of a creation has its error and outcome, and none of the engine's words."""
    status, code, kind, outcome = case
    store = lab.build(port=relay.port, attempts=1)
    text = "\n\nDebug source:\nGeneric {\n    inner: Status {\n        status: 412,\n"
    body = f"<Error><Code>{code}</Code><Message>{lab.bucket}{text}</Message></Error>".encode()
    refusal = gcs_relay.Answer(status, {}, body if code else b"")
    relay.before = lambda asked: refusal if asked.method == "PUT" else None
    with pytest.raises(kind) as caught:
        lab.put(store, "k", b"x", if_absent=True)
    error = caught.value
    assert error.outcome is outcome
    said = f"{error} {error!r} {error.args} {vars(error)} {error.__cause__} {error.__context__}"
    assert lab.bucket not in said
    assert [each.method for each in relay.asked if each.by == "obstore"] == ["PUT"]
    assert names(lab) == []


@ON_OBSTORE
@pytest.mark.parametrize("status", [400, 401, 403, 404, 416, 418, 501])
def test_gcs_wire_what_obstore_is_refused_is_asked_for_by_the_other(
    lab: Any, relay: Any, gcs_relay: Any, status: int
) -> None:
    """A read that is refused by the one interface in no words that count is made by the other."""
    store = lab.build(port=relay.port, attempts=1)
    data = b"x" * (9 * MIB)
    info = lab.put(store, "k", data)
    relay.before = lambda asked: gcs_relay.Answer(status) if asked.by == "obstore" else None
    assert store.head(SCOPE, "k") == info
    assert lab.read(store, "k") == data


@ON_OBSTORE
@pytest.mark.parametrize("change", ["start", "size", "generation", "short"])
def test_gcs_wire_an_answer_to_another_question_is_not_taken(
    lab: Any, relay: Any, change: str
) -> None:
    """Another range, length or generation than was asked for never becomes an object's bytes."""
    store = lab.build(port=relay.port, attempts=2, read_seconds=1)
    data = bytes(range(256)) * (9 * MIB // 256)
    lab.put(store, "k", data)

    def astray(asked: Any, answer: Any) -> None:
        if asked.by != "obstore" or "generation=" not in asked.path:
            return
        if change == "start":
            answer.headers["Content-Range"] = f"bytes 0-{len(answer.body) - 1}/{len(data)}"
        elif change == "size":
            answer.body = answer.body[:-1]
            answer.headers["Content-Length"] = str(len(answer.body))
        elif change == "generation":
            answer.headers["X-Goog-Generation"] = "1"
        else:
            answer.body = answer.body[:-1]

    relay.after = astray
    try:
        assert lab.read(store, "k") == data
    except StoreError:
        assert change in ("size", "generation", "short")


def test_gcs_wire_a_stream_that_is_cut_is_of_one_generation(lab: Any, relay: Any) -> None:
    """Where a window is lost and the object replaced meanwhile, not a byte of another one comes."""
    store = lab.build(port=relay.port, attempts=2)
    sure = lab.build()
    lab.put(sure, "k", b"a" * (20 * MIB))

    def replace(asked: Any, answer: Any) -> None:
        if "generation=" in asked.path and asked.method == "GET":
            relay.after = lambda *_: None
            lab.put(sure, "k", b"b" * (20 * MIB))
            answer.status = 0

    relay.after = replace
    with pytest.raises(PreconditionFailedError):
        lab.read(store, "k")
