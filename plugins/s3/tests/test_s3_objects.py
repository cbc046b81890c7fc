"""Objects, listings, copies, deletions and signed requests, on an engine that honours all."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    ConfigurationError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    QuotaExceededError,
    Scope,
    SignedUrl,
)

T1, T10, T1_PROD = Scope("t1", "dev"), Scope("t10", "dev"), Scope("t1", "prod")
MIB = 1 << 20
ODD = ("a b", "a+b", "a%2fb", "é", "日本/🧪", "'\"<&>", "~", "k?x=1#y", "a\uffff", "..a/b..", "=;,")


@pytest.mark.parametrize("key", ODD)
def test_odd_keys_are_themselves(proved: Any, key: str) -> None:
    """Every key is put, read, listed, copied and deleted under its own physical name."""
    proved.put(key, key.encode(), if_absent=True)
    proved.put(key, b"another scope's", T10)
    assert set(proved.objects()) == {f"v1/dev/t1/{key}", f"v1/dev/t10/{key}"}
    assert proved.get(key) == key.encode()
    assert proved.keys() == [key]
    assert proved.store.delete_many(T1, [key]) == {}
    assert list(proved.objects()) == [f"v1/dev/t10/{key}"]


def test_attributes_survive_as_they_are(proved: Any) -> None:
    """Blanks, empty values, escapes and look-alike keys of metadata come back unchanged."""
    given = ObjectAttributes(
        content_type="text/plain; charset=utf-8",
        metadata={
            "a_b": "two  three   ends",
            "a-b": "",
            "q": "=?utf-8?q?x?=",
            "j": '{"v":2}\\u0020',
        },
        system={"stamp": "é\x7f", "space": "x"},
    )
    info = proved.store.put(T1, "k", Body(b"x"), given)
    assert info.attributes == given
    assert proved.store.head(T1, "k") == info
    with proved.store.open(T1, "k") as stream:
        assert stream.info == info


def test_metadata_beyond_the_protocol_is_refused(proved: Any) -> None:
    """More metadata than S3 takes is refused before anything is sent."""
    given = ObjectAttributes(content_type="a/b", metadata={"k": "x" * 2048}, system={})
    with pytest.raises(InvalidArgumentError):
        proved.store.put(T1, "k", Body(b"x"), given)
    assert proved.verbs() == []


def test_a_put_is_one_request(proved: Any) -> None:
    """Creating takes one request, replacing two, reading, looking and listing one each."""
    info = proved.put("k", b"x", if_absent=True)
    assert proved.verbs() == ["PUT"]
    proved.put("k", b"y", if_match=info.etag)
    assert proved.verbs() == ["HEAD", "PUT"]
    proved.get("k")
    proved.store.head(T1, "k")
    proved.keys()
    assert proved.verbs() == ["GET", "HEAD", "GET list-type"]


def test_conditions_go_without_quotes(proved: Any) -> None:
    """ETags are sent bare, the one form that every engine understands."""
    info = proved.put("k", b"x")
    proved.engine.asked.clear()
    proved.put("k", b"y", if_match=info.etag)
    proved.get("k", if_match=proved.store.head(T1, "k").etag)
    sent = [each.headers["if-match"] for each in proved.engine.asked if "if-match" in each.headers]
    assert len(sent) == 2
    assert not any('"' in each for each in sent)


def test_checksums_are_sent_unless_they_are_disproved(lab: Any) -> None:
    """Every write signs the digest of its bytes, and sends it to be kept unless that is useless."""
    lab.put("k", b"x")
    lab.close()
    lab.proofs["checksum_sha256"] = False
    lab.put("k", b"x")
    first, second = lab.engine.asked
    digest = hashlib.sha256(b"x").hexdigest()
    assert {each.headers["x-amz-content-sha256"] for each in (first, second)} == {digest}
    assert "x-amz-checksum-sha256" in first.headers
    assert "x-amz-checksum-sha256" not in second.headers


def test_a_listed_etag_names_the_bytes(proved: Any) -> None:
    """The ETag of a listing serves as a condition as long as those bytes are there."""
    proved.put("k", b"one")
    (entry,) = proved.store.list(T1).items
    assert proved.get("k", if_match=entry.etag) == b"one"
    proved.put("k", b"two", if_match=entry.etag)
    with pytest.raises(PreconditionFailedError):
        proved.put("k", b"three", if_match=entry.etag)


@pytest.mark.parametrize("etag", ["", "x", "x.y", '"', "a b", "é", "\r\n", "." + "0" * 32])
def test_made_up_etags_never_match(proved: Any, etag: str) -> None:
    """A text that was never an ETag fails every condition, and reaches no header unchecked."""
    proved.put("k", b"x")
    attempts: list[Callable[[], object]] = [
        lambda: proved.put("k", b"y", if_match=etag),
        lambda: proved.get("k", if_match=etag),
        lambda: proved.store.delete(T1, "k", if_match=etag),
    ]
    for call in attempts:
        with pytest.raises(PreconditionFailedError):
            call()
    assert proved.get("k") == b"x"


def test_ranges_are_of_one_version(proved: Any) -> None:
    """Several ranges read with one ETag are of one version, or refused."""
    info = proved.put("k", bytes(range(100)))
    with proved.store.open(T1, "k", range=ByteRange(10, 20), if_match=info.etag) as stream:
        assert (stream.start, stream.stop, stream.info) == (10, 20, info)
        assert b"".join(stream.chunks) == bytes(range(10, 20))
    proved.put("k", bytes(100))
    with pytest.raises(PreconditionFailedError):
        proved.get("k", range=ByteRange(20, 30), if_match=info.etag)


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_listing_survives_what_no_key_could_have_made(proved: Any, limit: int) -> None:
    """Names that are none of the codec's are left out, and paging goes on past them."""
    for key in ("a", "b/c", "d"):
        proved.put(key, b"x")
    template = proved.objects()["v1/dev/t1/a"]
    for name in ("v1/dev/t1/", "v1/dev/t1/aa//b", "v1/dev/t1/b/", "v1/dev/t1/c/../d", "v1/dev/x"):
        proved.objects()[name] = template
    found: list[str] = []
    after = None
    while True:
        page = proved.store.list(T1, after=after, limit=limit)
        found += [each.key for each in page.items]
        if (after := page.next_after) is None:
            break
    assert found == ["a", "b/c", "d"]


def test_delete_many_reports_what_the_engine_refuses(proved: Any, s3_module: Any) -> None:
    """A key that the engine refuses to delete is reported by its code, and no other."""
    for key in ("a", "b"):
        proved.put(key, b"x")
    refusal = (
        b"<DeleteResult><Error><Key>v1/dev/t1/b</Key><Code>AccessDenied</Code>"
        b"<Message>the-bucket</Message></Error></DeleteResult>"
    )
    proved.engine.before = lambda asked: (
        s3_module.Answer(200, {}, refusal) if asked.verb == "POST delete" else None
    )
    assert proved.store.delete_many(T1, ["a", "b"]) == {"b": "store.permission_denied"}


def test_large_batches_are_split(proved: Any) -> None:
    """Any number of keys is deleted, a thousand a request."""
    proved.put("keep", b"x")
    assert proved.store.delete_many(T1, [f"k{number}" for number in range(2500)]) == {}
    assert proved.verbs().count("POST delete") == 3
    assert proved.keys() == ["keep"]


def test_erase_takes_one_scope_with_its_uploads(proved: Any) -> None:
    """Objects and unfinished uploads of one scope go, and nothing of its neighbours."""
    for scope in (T1, T10, T1_PROD):
        proved.put("k", b"x", scope)
        client = proved.store._clients.own()
        name = f"v1/{scope.env}/{scope.tenant_id}/big"
        client.create_multipart_upload(Bucket="the-bucket", Key=name)
    assert proved.store.erase(T1) == 1
    assert sorted(proved.objects()) == ["v1/dev/t10/k", "v1/prod/t1/k"]
    left = sorted(each.key for each in proved.engine.uploads.values())
    assert left == ["v1/dev/t10/big", "v1/prod/t1/big"]
    assert proved.store.erase(T1) == 0


@pytest.mark.parametrize("size", [0, 10, 9 * MIB])
def test_copies_are_whole_and_conditional(proved: Any, plain: Any, size: int) -> None:
    """A copy has the source's bytes and digest and new attributes, however it is made."""
    source = proved.put("s", b"x" * size)
    proved.engine.asked.clear()
    info = proved.store.copy(T1, "s", "t", plain(n="1"), if_absent=True)
    carried = [each for each in proved.engine.asked if each.method == "GET"]
    assert bool(carried) == (size < MIB)
    assert info == proved.store.head(T1, "t")
    assert (info.sha256, info.size, info.attributes) == (source.sha256, size, plain(n="1"))
    with pytest.raises(AlreadyExistsError):
        proved.store.copy(T1, "s", "t", plain(), if_absent=True)
    with pytest.raises(NotFoundError):
        proved.store.copy(T1, "none", "u", plain())
    proved.put("s", b"y" * (size + 1))
    with pytest.raises(PreconditionFailedError):
        proved.store.copy(T1, "s", "u", plain(), if_source_match=source.etag)
    assert proved.engine.uploads == {}


def test_copy_of_a_source_that_changes_under_way(proved: Any, plain: Any) -> None:
    """A source that is replaced while the engine copies it makes the copy fail, leaving none."""
    proved.put("s", b"x" * 9 * MIB)

    def replace(asked: Any) -> None:
        if asked.verb == "PUT part":
            proved.engine.before = None
            proved.objects()["v1/dev/t1/s"].etag = "0" * 32

    proved.engine.before = replace
    with pytest.raises(PreconditionFailedError):
        proved.store.copy(T1, "s", "t", plain(), if_absent=True)
    assert list(proved.objects()) == ["v1/dev/t1/s"]
    assert proved.engine.uploads == {}


def test_a_damaged_source_is_not_copied(proved: Any, plain: Any) -> None:
    """Bytes that are not those that were written are found when they are carried."""
    proved.put("s", b"good")
    proved.objects()["v1/dev/t1/s"].data = b"evil"
    with pytest.raises(IntegrityError):
        proved.store.copy(T1, "s", "t", plain(), if_absent=True)
    assert list(proved.objects()) == ["v1/dev/t1/s"]


def fetch(signed: SignedUrl, data: bytes | None = None, **changed: str) -> tuple[int, bytes]:
    """Send a signed request as somebody else would."""
    headers = {**signed.headers, **{n.replace("_", "-"): v for n, v in changed.items()}}
    request = urllib.request.Request(  # noqa: S310  # a URL that the store made
        signed.url, data=data, headers=headers, method=signed.method
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_signed_download_is_of_one_key(proved: Any) -> None:
    """A signed URL gets its object, nothing after its time, and no other key."""
    proved.put("k", b"mine")
    proved.put("l", b"other")
    signed = proved.store.presign_get(T1, "k", expires_in=60)
    assert fetch(signed) == (200, b"mine")
    assert signed.expires_at == proved.clock.time + 60_000_000
    for forged in (
        signed.url.replace("/k?", "/l?"),
        signed.url.replace("/t1/", "/t10/"),
        signed.url.replace("Expires=60", "Expires=600"),
        signed.url + "&response-content-type=text/html",
    ):
        status, _ = fetch(SignedUrl(method="GET", url=forged, headers={}, expires_at=0))
        assert status == 403
    assert signed.url not in repr(signed)


@pytest.mark.parametrize("binding", ["checksum", "payload"])
def test_signed_upload_is_of_these_bytes(proved: Any, plain: Any, binding: str) -> None:
    """A signed upload takes exactly the bytes and type announced, and is an object then."""
    proved.close()
    proved.proofs["presign_put_by"] = binding
    data = b"announced"
    signed = proved.store.presign_put(
        T1,
        "_nexus/uploads/1",
        expires_in=60,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        content_type="application/pdf",
    )
    assert fetch(signed, b"different")[0] == 400
    assert fetch(signed, data + b"!", content_length="10")[0] == 403
    assert fetch(signed, data, content_type="text/html")[0] == 403
    assert fetch(signed, data, x_amz_meta_nexus="{}")[0] == 403
    assert proved.objects() == {}
    assert fetch(signed, data)[0] == 200
    info = proved.store.head(T1, "_nexus/uploads/1")
    assert (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert info.attributes == ObjectAttributes(
        content_type="application/pdf", metadata={}, system={}
    )
    copied = proved.store.copy(
        T1, "_nexus/uploads/1", "k", plain(), if_absent=True, if_source_match=info.etag
    )
    assert copied.sha256 == info.sha256
    assert proved.get("k") == data


def test_spool_is_bounded(proved: Any) -> None:
    """What does not fit into the spool is refused, and room comes back when a write has ended."""
    proved.reopen(spool_bytes=4 * MIB)
    for _ in range(3):
        with pytest.raises(QuotaExceededError):
            proved.put("k", b"x" * 5 * MIB)
    proved.put("k", b"x" * 4 * MIB)
    assert proved.verbs() == ["PUT"]
    assert list((proved.base / "spool").iterdir()) == []


def test_bytes_are_sent_from_where_they_are(proved: Any, plain: Any) -> None:
    """A body of bytes takes no room in the spool, in one request or in parts, and arrives whole."""
    proved.reopen(spool_bytes=MIB, multipart_from=6 * MIB, part_bytes=5 * MIB)
    for count, requests in ((5, 1), (11, 3)):
        data = bytes(range(256)) * (count * MIB // 256)
        info = proved.store.put(T1, f"k{count}", Body(data), plain(), if_absent=True)
        assert [verb.split()[0] for verb in proved.verbs()].count("PUT") == requests
        assert info.sha256 == hashlib.sha256(data).hexdigest()
        assert proved.get(f"k{count}") == data


def test_buckets_of_their_own(lab: Any, s3_module: Any) -> None:
    """With a bucket for each scope nothing of one is in another's, and no bucket means refusal."""
    buckets = {"t1/dev": "bucket-one", "t10/dev": "bucket-two"}
    lab.reopen(bucket=None, buckets=buckets)
    import nexus_s3

    provision = nexus_s3.nexus_raw_store().provision
    assert provision is not None
    assert list(provision(lab.config, lab.runtime)) == ["bucket bucket-one", "bucket bucket-two"]
    lab.put("k", b"1", T1)
    lab.put("k", b"2", T10)
    held = {name: list(objects) for name, objects in lab.engine.buckets.items()}
    assert held == {
        "the-bucket": [],
        "bucket-one": ["v1/dev/t1/k"],
        "bucket-two": ["v1/dev/t10/k"],
    }
    lab.engine.asked.clear()
    with pytest.raises(ConfigurationError) as caught:
        lab.put("k", b"3", T1_PROD)
    assert [problem.path for problem in caught.value.problems] == ["buckets"]
    assert lab.engine.asked == []
    proofs = lab.prove()
    assert proofs["conditional_create"] is True
    assert {each.bucket for each in lab.engine.asked} == {"bucket-one", "bucket-two"}


def test_prefix_keeps_the_store_apart(lab: Any) -> None:
    """With a prefix all names lie below it, and listings show names relative to it."""
    lab.reopen(prefix="nexus/raw/")
    lab.put("k", b"x")
    assert list(lab.objects()) == ["nexus/raw/v1/dev/t1/k"]
    (entry,) = lab.store.list(T1).items
    assert entry.name == "v1/dev/t1/k"
    assert lab.store.erase(T1) == 1


def test_record_is_readable_without_this_program(lab: Any) -> None:
    """What is kept with an object is one JSON header, as the README says."""
    lab.put("k", b"x")
    record = lab.record("v1/dev/t1/k")
    assert set(record) == {"v", "write", "sha256", "at", "system", "metadata"}
    assert json.dumps(record["system"]) == '{"stamp": "00", "kind": "data"}'
    assert lab.objects()["v1/dev/t1/k"].data == b"x"
