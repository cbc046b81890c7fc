"""The fast transport: what it carries, what it leaves to boto3, and what it lets nobody decide."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs
import boto3.session  # type: ignore[import-untyped]  # it brings no types
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from nexus_core.spi import (
    AlreadyExistsError,
    ByteRange,
    ConfigurationError,
    Outcome,
    PreconditionFailedError,
    Scope,
    StoreError,
    UnavailableError,
)

T1 = Scope("t1", "dev")
NAME = "v1/dev/t1/k"
MIB = 1 << 20
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def transport() -> str:
    """These are of the one transport."""
    return "obstore"


def by(asked: Any) -> str:
    """Which library sent a request."""
    return "obstore" if asked.headers["user-agent"].startswith("object_store") else "boto3"


def test_each_request_takes_its_road(proved: Any) -> None:
    """obstore carries conditional puts, gets, heads and deletions; boto3 everything else."""
    proved.reopen(multipart_from=5 * MIB, part_bytes=5 * MIB)
    first = proved.put("k", b"x", if_absent=True)
    second = proved.put("k", b"yy", if_match=first.etag)
    proved.get("k", range=ByteRange(0, 1), if_match=second.etag)
    proved.put("large", b"x" * 6 * MIB, if_absent=True)
    proved.put("k", b"z")
    proved.keys()
    proved.store.delete_many(T1, ["none"])
    proved.store.delete(T1, "large")
    proved.store.delete(T1, "k", if_match=proved.store.head(T1, "k").etag)
    roads: dict[str, set[str]] = {"obstore": set(), "boto3": set()}
    for asked in proved.engine.asked:
        conditions = [name for name in ("if-match", "if-none-match") if name in asked.headers]
        roads[by(asked)].add(" ".join((asked.verb, *conditions)))
    assert roads["obstore"] == {"PUT if-none-match", "PUT if-match", "GET if-match"} | {
        *("HEAD", "DELETE")
    }
    assert roads["boto3"] == {"PUT", "DELETE if-match", "GET list-type", "POST delete"} | {
        *("GET uploads", "POST uploads", "PUT part", "POST uploadId if-none-match")
    }


def test_the_sdk_is_boto3(lab: Any) -> None:
    """What obstore does not carry is a client of a session of boto3's, with its settings alone."""
    client = lab.store._clients.own()
    made = boto3.session.Session(region_name="eu-test-1").client("s3")
    assert client.meta.service_model.service_name == made.meta.service_model.service_name
    assert "Boto3/" in client.meta.config.user_agent
    assert client.meta.endpoint_url == lab.config.endpoint


@pytest.mark.parametrize(
    "key", ["é/ü", "a b", "a+b", "a%41", "a~b", "~!'()*&=$@,;:", "漢字", "a?b#c", "%2e%2e"]
)
def test_names_are_the_same_on_both_roads(proved: Any, key: str) -> None:
    """A name that obstore writes is the name that boto3 reads, whatever is in it."""
    info = proved.put(key, b"x", if_absent=True)
    assert list(proved.objects()) == [f"v1/dev/t1/{key}"]
    proved.reopen(transport="sdk")
    assert proved.store.head(T1, key) == info
    assert proved.keys() == [key]


def test_attributes_are_the_same_on_both_roads(proved: Any, plain: Any) -> None:
    """Whatever a caller keeps with an object is written and read alike by both transports."""
    from nexus_core.spi import Body

    attributes = attrs.evolve(
        plain(a_b="two  spaces, =?utf-8?q?a?=", A="\x7f", é="ü", content_type="x"),
        content_type="text/plain;  charset=utf-8",
        system={"stamp": "0" * 64, "Content-Type": "odd"},
    )
    for road, other in (("obstore", "sdk"), ("sdk", "obstore")):
        proved.reopen(transport=road)
        info = proved.store.put(T1, road, Body(b"x"), attributes, if_absent=True)
        proved.reopen(transport=other)
        assert proved.store.head(T1, road) == info
        assert info.attributes == attributes


def test_a_spooled_body_travels_in_one_piece(lab: Any) -> None:
    """A body that lies in the spool's file is sent by obstore whole, and read back in chunks."""
    data = bytes(range(256)) * (5 * MIB // 256) + b"end"
    info = lab.put("k", data, if_absent=True)
    assert lab.objects()[NAME].data == data
    assert info.sha256 == hashlib.sha256(data).hexdigest()
    with lab.store.open(T1, "k") as stream:
        chunks = list(stream.chunks)
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= MIB
    assert {by(asked) for asked in lab.engine.asked} == {"obstore"}


def test_bytes_that_change_before_they_are_sent_are_not_sent(lab: Any) -> None:
    """obstore announces the digest of what it sends, so the one of the body is compared first."""
    from nexus_s3._failures import Failure, Kind

    lab.put("other", b"x", if_absent=True)
    lab.engine.asked.clear()
    with pytest.raises(Failure) as caught:
        lab.store._clients.own().put_object(
            Bucket="the-bucket",
            Key=NAME,
            Body=b"other bytes",
            IfNoneMatch="*",
            ChecksumSHA256=base64.b64encode(hashlib.sha256(b"these").digest()).decode(),
        )
    assert caught.value.kind is Kind.DIGEST
    assert lab.engine.asked == []


def test_the_digest_is_sent_unless_it_is_disproved(proved: Any) -> None:
    """The engine is given the SHA-256 to check and keep, as by boto3."""
    proved.put("k", b"x", if_absent=True)
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    assert proved.engine.asked[-1].headers["x-amz-checksum-sha256"] == digest
    proved.proofs["checksum_sha256"] = False
    proved.reopen()
    proved.put("l", b"x", if_absent=True)
    assert "x-amz-checksum-sha256" not in proved.engine.asked[-1].headers


def test_obstore_sends_nothing_twice(lab: Any) -> None:
    """Attempts are counted by the store alone, and obstore makes one of each."""
    lab.put("k", b"x", if_absent=True)
    lab.reopen(attempts=1)
    attempts: dict[str, Callable[[], object]] = {
        "GET": lambda: lab.get("k"),
        "HEAD": lambda: lab.store.head(T1, "k"),
        "DELETE": lambda: lab.store.delete(T1, "k"),
    }
    for verb, call in attempts.items():
        lab.engine.before = lambda asked: lab.broken
        lab.engine.asked.clear()
        with pytest.raises(UnavailableError) as caught:
            call()
        assert lab.verbs() == [verb]
        assert caught.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", ["other host", "other port", "same"])
def test_no_redirect_is_taken_for_an_answer(
    lab: Any, s3_module: Any, status: int, elsewhere: str
) -> None:
    """A write that is sent elsewhere was not made, and nobody else learns of it or its keys."""
    info = lab.put("k", b"old", if_absent=True)
    with s3_module.Server().running() as other:
        other.engine.buckets["the-bucket"] = {NAME: lab.objects()[NAME]}
        place = {
            "other host": other.address.replace("127.0.0.1", "localhost"),
            "other port": other.address,
            "same": lab.config.endpoint,
        }[elsewhere]

        def away(asked: Any) -> Any:
            if asked.method != "PUT":
                return None
            return s3_module.Answer(status, {"Location": f"{place}/the-bucket/{NAME}"})

        lab.engine.before = away
        attempts: list[Callable[[], object]] = [
            lambda: lab.put("new", b"x", if_absent=True),
            lambda: lab.put("k", b"new", if_match=info.etag),
        ]
        for call in attempts:
            with pytest.raises(StoreError):
                call()
        assert list(lab.objects()) == [NAME]
        assert lab.objects()[NAME].data == b"old"
        assert all("authorization" not in each.headers for each in other.engine.asked)
        assert elsewhere == "other port" or other.engine.asked == []


def test_a_get_that_answers_for_a_put_is_found_out(lab: Any, s3_module: Any) -> None:
    """An answer with the ETag that was to be replaced says nothing, and the object is looked at."""
    info = lab.put("k", b"old", if_absent=True)
    seen = lab.objects()[NAME].etag
    lab.engine.before = lambda asked: (
        s3_module.Answer(200, {"ETag": f'"{seen}"'}) if asked.method == "PUT" else None
    )
    with pytest.raises(StoreError) as caught:
        lab.put("k", b"new", if_match=info.etag)
    assert caught.value.outcome is Outcome.UNKNOWN
    assert lab.get("k") == b"old"


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        ("PreconditionFailed", 412, Outcome.NOT_APPLIED),
        ("ConditionalRequestConflict", 409, Outcome.NOT_APPLIED),
        ("NoSuchBucket", 404, Outcome.NOT_APPLIED),
        ("Surprise", 304, Outcome.UNKNOWN),
    ],
)
def test_errors_are_read_past_what_obstore_makes_of_them(
    lab: Any, s3_module: Any, code: str, status: int, outcome: Outcome
) -> None:
    """obstore calls a conflict "exists", an absent bucket a precondition; the engine is heard."""
    body = b"" if status == 304 else f"<Error><Code>{code}</Code></Error>".encode()
    lab.reopen(attempts=1)
    lab.engine.before = lambda asked: (
        s3_module.Answer(status, {}, body) if asked.method == "PUT" else None
    )
    with pytest.raises(StoreError) as caught:
        lab.put("k", b"x", if_absent=True)
    assert caught.value.outcome is outcome
    assert isinstance(caught.value, AlreadyExistsError) == (status == 412)


def test_an_engine_cannot_write_what_obstore_says(lab: Any, s3_module: Any) -> None:
    """An engine's own text that looks like obstore's account of an error is not taken for it."""
    text = "\n\nDebug source:\nGeneric {\n    inner: Status {\n        status: 412,\n"
    body = f"<Error><Code>InternalError</Code><Message>{text}</Message></Error>".encode()
    lab.reopen(attempts=1)
    lab.engine.before = lambda asked: (
        s3_module.Answer(500, {}, body) if asked.method == "PUT" else None
    )
    with pytest.raises(UnavailableError) as caught:
        lab.put("k", b"x", if_absent=True)
    assert caught.value.outcome is Outcome.UNKNOWN


def test_a_stream_that_is_cut_is_of_one_version(lab: Any) -> None:
    """A body that breaks off is taken up on the same ETag, and not at all once that is gone."""
    lab.put("k", b"a" * 3 * MIB, if_absent=True)

    def cut(asked: Any, answer: Any) -> Any:
        if asked.method != "GET":
            return answer
        lab.engine.after = None
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        return type(answer)(answer.status, headers, answer.body[: MIB + 7])

    lab.engine.after = cut
    assert lab.get("k") == b"a" * 3 * MIB
    lab.engine.after = cut
    with lab.store.open(T1, "k") as stream:
        assert set(next(stream.chunks)) == {ord("a")}
        lab.put("k", b"b" * 3 * MIB)
        with pytest.raises(PreconditionFailedError):
            list(stream.chunks)


ORDERS = {
    "AWS_ENDPOINT": NOBODY,
    "AWS_ENDPOINT_URL": NOBODY,
    "AWS_ENDPOINT_URL_S3": NOBODY,
    "AWS_BUCKET": "evil",
    "AWS_REGION": "evil-1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_REQUEST_PAYER": "true",
    "AWS_DISABLE_TAGGING": "true",
    "AWS_DISABLE_BULK_DELETE": "false",
    "AWS_CONDITIONAL_PUT": "disabled",
    "AWS_ALLOW_HTTP": "false",
    "AWS_PROXY_URL": NOBODY,
    "AWS_TIMEOUT": "1ns",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
    "AWS_METADATA_ENDPOINT": NOBODY,
    "HTTP_PROXY": NOBODY,
    "http_proxy": NOBODY,
    "ALL_PROXY": NOBODY,
}


def test_no_variable_gives_obstore_orders(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What obstore would read from the environment changes nothing of what is sent."""
    lab.put("k", b"x", if_absent=True)
    usual = set(lab.engine.asked[-1].headers)
    for name, value in ORDERS.items():
        monkeypatch.setenv(name, value)
    lab.reopen()
    lab.put("l", b"x", if_absent=True)
    lab.store.delete(T1, "l")
    assert lab.get("k") == b"x"
    put, _, _ = lab.engine.asked[-3:]
    assert put.headers.keys() == usual


@pytest.mark.parametrize("name", ["AWS_SERVER_SIDE_ENCRYPTION", "AWS_Checksum_Algorithm"])
def test_orders_that_cannot_be_overruled_are_refused(
    lab: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A variable that would change what is sent stops the store, and is named."""
    monkeypatch.setenv(name, "sha256")
    with pytest.raises(ConfigurationError, match="transport") as caught:
        _ = lab.store
    assert name in caught.value.problems[0].what
    lab.reopen(transport="sdk")
    lab.put("k", b"x", if_absent=True)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an engine")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate, secret = tmp_path / "engine.pem", tmp_path / "engine.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return certificate, secret


@pytest.mark.parametrize("road", ["sdk", "obstore"])
def test_trust_is_what_the_settings_say(
    lab: Any,
    s3_module: Any,
    authority: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    road: str,
) -> None:
    """Certificates are those of ``ca_bundle`` alone, whatever the environment names beside it."""
    certificate, secret = authority
    server = s3_module.Server()
    server.engine.buckets["the-bucket"] = {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(certificate.parent))
    with server.running():
        address = server.address.replace("http:", "https:")
        lab.reopen(endpoint=address, attempts=1, transport=road)
        with pytest.raises(UnavailableError) as caught:
            lab.put("k", b"x", if_absent=True)
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert server.engine.asked == []
        lab.reopen(ca_bundle=str(certificate))
        lab.put("k", b"x", if_absent=True)
        assert lab.get("k") == b"x"


def test_obstore_that_is_not_installed_is_a_setting(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport without its package is refused when the store is made, with the remedy."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigurationError) as caught:
        _ = lab.store
    (problem,) = caught.value.problems
    assert (problem.path, problem.code) == ("transport", "store.extra")
    assert "nexus-s3[obstore]" in problem.fix
    assert lab.engine.asked == []


def test_boto3_alone_needs_no_obstore(lab: Any) -> None:
    """Who does not ask for obstore never loads it."""
    code = (
        "import sys, time; from pathlib import Path; import nexus_s3;"
        "from nexus_core.spi import Runtime;"
        "config = nexus_s3.S3Config.model_validate_json(sys.stdin.read());"
        "runtime = Runtime(store='f', base=Path(sys.argv[1]), now=time.time_ns);"
        "store = nexus_s3.nexus_raw_store().factory(config, runtime);"
        "print(list(store.check()), 'obstore' in sys.modules)"
    )
    lab.reopen(transport="sdk")
    import nexus_s3

    import nexus_core

    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_s3)]
    seen = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}", str(lab.base)],
        input=lab.config.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[] False"


def test_a_child_that_is_forked_off_goes_by_boto3(lab: Any) -> None:
    """obstore's threads do not survive a fork, so that the child asks by boto3 and never waits."""
    import nexus_s3

    import nexus_core

    lab.put("k", b"x", if_absent=True)
    code = (
        "import os, signal, sys, time; from pathlib import Path; import nexus_s3;"
        "from nexus_core.spi import Runtime, Scope;"
        "config = nexus_s3.S3Config.model_validate_json(sys.stdin.read());"
        "runtime = Runtime(store='f', base=Path(sys.argv[1]), now=time.time_ns);"
        "store = nexus_s3.nexus_raw_store().factory(config, runtime);"
        "scope = Scope('t1', 'dev'); store.head(scope, 'k');"
        "child = os.fork();"
        "signal.alarm(20);"
        "found = store.head(scope, 'k').size;"
        "done = 0 if child == 0 else os.waitpid(child, 0)[1];"
        "os._exit(found != 1 or done)"
    )
    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_s3)]
    lab.engine.asked.clear()
    subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            *(f"import sys; sys.path[:0] = {paths!r}; {code}", str(lab.base)),
        ],
        input=lab.config.model_dump_json(),
        text=True,
        check=True,
    )
    assert sorted(map(by, lab.engine.asked)) == ["boto3", "obstore", "obstore"]


def test_sessions_decide_what_obstore_signs_with(lab: Any, s3_module: Any) -> None:
    """Credentials are the session's of that moment, and one that cannot be renewed is told."""
    from nexus_s3._failures import Failure, Kind
    from nexus_s3._wire import Wire

    @attrs.frozen
    class Frozen:
        access_key: str
        secret_key: str
        token: str | None

    class Held:
        given: Any = Frozen(s3_module.ACCESS_KEY, s3_module.SECRET_KEY, "first")

        def get_frozen_credentials(self) -> Any:
            if isinstance(self.given, Failure):
                raise self.given
            return self.given

    held = Held()
    lab.put("k", b"x", if_absent=True)
    wire = Wire(lab.store._clients.own(), lab.config, held, trust=True)
    asked = {"Bucket": "the-bucket", "Key": NAME}
    wire.head_object(**asked)
    assert lab.engine.asked[-1].headers["x-amz-security-token"] == "first"
    held.given = attrs.evolve(held.given, token="second")
    threading.Event().wait(0.15)
    wire.head_object(**asked)
    assert lab.engine.asked[-1].headers["x-amz-security-token"] == "second"
    held.given = Failure(Kind.DENIED)
    with pytest.raises(Failure) as caught:
        wire.head_object(**asked)
    assert caught.value.kind is Kind.DENIED
