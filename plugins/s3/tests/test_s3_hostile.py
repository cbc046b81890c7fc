"""Odd answers, foreign names, poisoned surroundings: an error of the tree, and no word too many."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from nexus_core import NexusError
from nexus_core.spi import (
    BackendError,
    ByteRange,
    ClosedError,
    ForeignNameError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    Scope,
    StoreError,
    UnauthenticatedError,
    UnavailableError,
)

T1 = Scope("t1", "dev")
NAME = "v1/dev/t1/k"
MIB = 1 << 20


def calls(lab: Any, plain: Any) -> dict[str, Callable[[], object]]:
    """Every verb that asks the engine something."""
    return {
        "put": lambda: lab.put("k", b"x", if_absent=True),
        "head": lambda: lab.store.head(T1, "k"),
        "open": lambda: lab.get("k"),
        "range": lambda: lab.get("k", range=ByteRange(0, 1)),
        "list": lambda: lab.store.list(T1),
        "delete": lambda: lab.store.delete(T1, "k"),
        "copy": lambda: lab.store.copy(T1, "k", "l", plain()),
        "erase": lambda: lab.store.erase(T1),
    }


def clean(error: BaseException, lab: Any) -> None:
    """See that an error tells nothing of the place, in any part of it."""
    seen = " ".join(
        str(part)
        for part in (error, repr(error), error.args, vars(error), error.__cause__)
        if part is not None
    )
    if error.__context__ is not None and not error.__suppress_context__:
        seen += repr(error.__context__)
    for secret in ("the-bucket", NAME, "v1/dev", "127.0.0.1", "AKIDTEST", str(lab.base)):
        assert secret not in seen


VERBS = ("put", "head", "open", "range", "list", "delete", "copy", "erase")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "odd",
    [
        (200, {}, b"<html>a portal of the-bucket</html>"),
        (200, {"Content-Type": "application/xml"}, b"<ListBucketResult><Contents>"),
        (204, {}, b""),
        (304, {"x-amz-checksum-crc32": "AAAA"}, b""),
        (400, {}, b"<Error><Code>Odd</Code><Message>v1/dev/t1/k the-bucket</Message></Error>"),
        (403, {}, b"<Error><Code>AccessDenied</Code><Message>the-bucket</Message></Error>"),
        (404, {}, b"<Error><Code>NoSuchBucket</Code><BucketName>the-bucket</BucketName></Error>"),
        (500, {"x-amz-checksum-sha256": "AAAA"}, b"\xff\xfe"),
        (501, {}, b"<Error><Code>NotImplemented</Code></Error>"),
    ],
)
def test_odd_answers_stay_inside(
    lab: Any, plain: Any, s3_module: Any, verb: str, odd: tuple[int, dict[str, str], bytes]
) -> None:
    """Whatever the engine answers, nothing but the tree's errors comes out, without the place."""
    lab.put("k", b"x")
    lab.reopen(attempts=1)
    lab.engine.before = lambda asked: s3_module.Answer(*odd)
    try:
        calls(lab, plain)[verb]()
    except NexusError as error:
        clean(error, lab)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, PermissionDeniedError),
        ("InvalidAccessKeyId", 403, UnauthenticatedError),
        ("SignatureDoesNotMatch", 403, UnauthenticatedError),
        ("ExpiredToken", 400, UnauthenticatedError),
        ("NoSuchBucket", 404, UnavailableError),
        ("ObjectLocked", 403, StoreError),
        ("Surprise", 418, BackendError),
    ],
)
def test_refusals_have_names(
    lab: Any, s3_module: Any, code: str, status: int, kind: type[StoreError]
) -> None:
    """Each of the engine's refusals is the tree's error for it."""
    body = f"<Error><Code>{code}</Code><Message>the-bucket {NAME}</Message></Error>".encode()
    lab.engine.before = lambda asked: s3_module.Answer(status, {}, body)
    with pytest.raises(kind) as caught:
        lab.put("k", b"x", if_absent=True)
    clean(caught.value, lab)


def test_a_bucket_that_went_is_not_an_absent_object(lab: Any) -> None:
    """Where the bucket is gone the store is unavailable, never empty."""
    lab.put("k", b"x")
    lab.engine.buckets.clear()
    attempts: list[Callable[[], object]] = [
        lambda: lab.store.head(T1, "k"),
        lambda: lab.get("k"),
        lambda: lab.keys(),
    ]
    for call in attempts:
        with pytest.raises(UnavailableError):
            call()


def test_absence_that_may_not_be_seen(lab: Any, s3_module: Any) -> None:
    """An engine that says "forbidden" about what is absent is understood as "not found"."""
    lab.put("there", b"x")

    def forbid(asked: Any) -> Any:
        if asked.key and asked.method in ("GET", "HEAD"):
            return s3_module.Answer(403)
        return None

    lab.engine.before = forbid
    seen = []
    for key in ("absent", "also-absent"):
        attempts: list[Callable[[], object]] = [
            partial(lab.store.head, T1, key),
            partial(lab.get, key),
        ]
        for call in attempts:
            with pytest.raises(NotFoundError) as caught:
                call()
            seen.append(str(caught.value))
    assert len(set(seen)) == 1
    with pytest.raises(PermissionDeniedError):
        lab.store.head(T1, "there")


def test_foreign_objects_are_told(lab: Any) -> None:
    """An object that this store did not write is no object of it, and is never overwritten."""
    lab.put("k", b"x")
    for text in (None, "{}", "[]", '{"v":2}', "not json", '{"v":1,"write":"x"}', "[" * 2000):
        headers = {} if text is None else {"x-amz-meta-nexus": text}
        lab.objects()[NAME].headers = headers
        attempts: list[Callable[[], object]] = [
            lambda: lab.store.head(T1, "k"),
            lambda: lab.get("k"),
        ]
        for call in attempts:
            with pytest.raises(IntegrityError):
                call()
    with pytest.raises(StoreError):
        lab.put("k", b"y", if_absent=True)
    assert lab.objects()[NAME].data == b"x"


@pytest.mark.parametrize("name", ["v1/dev/t10/k", "v1/prod/t1/k", "k"])
def test_listing_outside_the_scope_is_refused(lab: Any, s3_module: Any, name: str) -> None:
    """A name outside the prefix that was asked for poisons the page it comes in."""
    lab.put("k", b"x")

    def stray(asked: Any, answer: Any) -> Any:
        if asked.verb != "GET list-type":
            return answer
        return s3_module.Answer(
            200, answer.headers, answer.body.replace(NAME.encode(), name.encode())
        )

    lab.engine.after = stray
    with pytest.raises(ForeignNameError) as caught:
        lab.keys()
    assert name not in str(caught.value)


def test_wrong_ranges_are_told(lab: Any, s3_module: Any) -> None:
    """An answer of another range, or of the whole object, is an integrity error."""
    lab.put("k", bytes(range(100)))
    lab.engine.ignores.add("range")
    with pytest.raises(IntegrityError):
        lab.get("k", range=ByteRange(5, 10))
    lab.engine.ignores.clear()
    lab.engine.after = lambda asked, answer: s3_module.Answer(
        206, {**answer.headers, "Content-Range": "bytes 6-10/100"}, answer.body
    )
    with pytest.raises(IntegrityError):
        lab.get("k", range=ByteRange(5, 10))


def test_broken_stream_is_taken_up_again(lab: Any) -> None:
    """A connection that breaks in the middle of an object is continued on the same version."""
    data = bytes(range(256)) * (3 * MIB // 256)
    lab.put("k", data)
    cuts = iter((MIB + 5, 2 * MIB))

    def cut(asked: Any, answer: Any) -> Any:
        length = next(cuts, None) if asked.method == "GET" else None
        if length is None:
            return answer
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        return type(answer)(answer.status, headers, answer.body[:length])

    lab.engine.after = cut
    lab.engine.asked.clear()
    assert lab.get("k") == data
    asked = [each for each in lab.engine.asked if each.method == "GET"]
    assert len(asked) >= 2
    assert all("if-match" in each.headers for each in asked[1:])


def test_stream_over_a_replacement_is_refused(lab: Any) -> None:
    """A stream that breaks and whose object was replaced meanwhile never mixes the two."""
    lab.put("k", b"a" * 2 * MIB)

    def cut(asked: Any, answer: Any) -> Any:
        if asked.method != "GET":
            return answer
        lab.engine.after = None
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        return type(answer)(200, headers, answer.body[:MIB])

    lab.engine.after = cut
    with lab.store.open(T1, "k") as stream:
        first = next(stream.chunks)
        lab.put("k", b"b" * 2 * MIB)
        with pytest.raises(PreconditionFailedError):
            list(stream.chunks)
    assert set(first) == {ord("a")}


def test_stream_ends_with_its_block(lab: Any) -> None:
    """A stream that is read after its block raises, and gives no bytes."""
    lab.put("k", b"a" * 2 * MIB)
    with lab.store.open(T1, "k") as stream:
        next(stream.chunks)
    with pytest.raises(ClosedError):
        next(stream.chunks)


def test_nothing_ambient_is_used(lab: Any, monkeypatch: pytest.MonkeyPatch, s3_module: Any) -> None:
    """No variable, profile or file of the library's decides anything about a request."""
    evil = lab.base / "aws"
    evil.write_text(
        "[default]\naws_access_key_id = EVIL\naws_secret_access_key = EVIL\nregion = evil-1\n"
        "endpoint_url = http://127.0.0.1:9\nmax_attempts = 9\ncredential_process = /bin/false\n"
        "ca_bundle = /nowhere\ns3 =\n  addressing_style = virtual\n  endpoint_url = http://127.0.0.1:9\n"
    )
    for name, value in {
        "AWS_ACCESS_KEY_ID": "EVIL",
        "AWS_SECRET_ACCESS_KEY": "EVIL",
        "AWS_SESSION_TOKEN": "EVIL",
        "AWS_REGION": "evil-1",
        "AWS_DEFAULT_REGION": "evil-1",
        "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": str(evil),
        "AWS_SHARED_CREDENTIALS_FILE": str(evil),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_CA_BUNDLE": "/nowhere",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_RETRY_MODE": "adaptive",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported",
        "AWS_DATA_PATH": str(lab.base),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(evil),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "HOME": str(lab.base),
    }.items():
        monkeypatch.setenv(name, value)
    lab.put("k", b"x")
    (asked,) = lab.engine.asked
    assert f"Credential={s3_module.ACCESS_KEY}/" in asked.headers["authorization"]
    assert f"/{s3_module.REGION}/s3/" in asked.headers["authorization"]
    assert "x-amz-checksum-crc32" not in asked.headers
    assert "x-amz-security-token" not in asked.headers
    failed: list[Any] = []

    def count(asked: Any) -> Any:
        failed.append(asked)
        return lab.broken

    lab.engine.before = count
    lab.reopen(attempts=2)
    with pytest.raises(UnavailableError):
        lab.keys()
    # Each attempt of a listing asks in both forms, and no attempt is the library's own.
    assert len(failed) <= 4


def test_nothing_is_logged(lab: Any, plain: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Even at the lowest level nothing of the place, the secrets or the content is written."""
    lab.put("k", b"the content")
    with caplog.at_level(logging.DEBUG):
        lab.put("other", b"the content")
        assert lab.get("other") == b"the content"
        for call in calls(lab, plain).values():
            try:
                call()
            except StoreError:
                continue
        lab.engine.before = lambda asked: lab.broken
        with pytest.raises(UnavailableError):
            lab.keys()
    assert "the-bucket" not in caplog.text
    assert "AKIDTEST" not in caplog.text
    assert "the content" not in caplog.text


def test_others_may_log(lab: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The client library goes on writing to its logs for whoever else uses it."""
    lab.put("k", b"x")
    with caplog.at_level(logging.DEBUG):
        lab.store._clients.own().list_objects_v2(Bucket="the-bucket")
    assert "the-bucket" in caplog.text
