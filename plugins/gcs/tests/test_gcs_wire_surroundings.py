"""What the fast transport takes from its surroundings, which is nothing, and who it is."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import nexus_gcs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import nexus_core
from nexus_core.spi import (
    ConfigurationError,
    Outcome,
    Scope,
    StoreError,
    UnauthenticatedError,
    UnavailableError,
)

SCOPE = Scope("acme", "prod")
PATHS = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_gcs)]


@pytest.fixture
def fast(lab: Any) -> Any:
    """A laboratory whose stores go by obstore."""
    lab.transport = "obstore"
    return lab


@pytest.fixture
def transport() -> str:
    """These are of the one transport, but where they say otherwise."""
    return "obstore"


@pytest.mark.parametrize(
    "name",
    [
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_service_account",
    ],
)
def test_gcs_wire_orders_that_cannot_be_overruled_are_refused(
    lab: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A variable that would have obstore read credentials stops the store, and is named."""
    monkeypatch.setenv(name, str(lab.base / "key.json"))
    with pytest.raises(ConfigurationError, match="transport") as caught:
        lab.build()
    assert name in caught.value.problems[0].what
    lab.put(lab.build(transport="sdk"), "k", b"x")


def test_gcs_wire_surroundings_change_nothing(
    lab: Any, gcs_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No address, token, header, proxy, limit or file of the environment's reaches a request."""
    home = lab.base / "home"
    (home / ".config" / "gcloud").mkdir(parents=True)
    (home / ".config" / "gcloud" / "application_default_credentials.json").write_text("{")
    for name, value in {
        "HOME": str(home),
        "GOOGLE_APPLICATION_CREDENTIALS": str(home / "nowhere.json"),
        "GOOGLE_BASE_URL": "http://127.0.0.1:9",
        "GOOGLE_BEARER_TOKEN": "somebody-elses",
        "GOOGLE_BUCKET": "other-bucket",
        "GOOGLE_SKIP_SIGNATURE": "true",
        "GOOGLE_PROXY_URL": "http://127.0.0.1:9",
        "GOOGLE_TIMEOUT": "1ns",
        "GOOGLE_USER_AGENT": "somebody-else",
        "GOOGLE_DEFAULT_CONTENT_TYPE": "text/odd",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    with gcs_relay.Relay(lab.info).running() as relay:
        store = lab.build(port=relay.port)
        info = lab.put(store, "k", b"x", if_absent=True)
        assert store.head(SCOPE, "k") == info
        assert lab.read(store, "k") == b"x"
    assert [each.by for each in relay.asked] == ["obstore"] * 3
    for each in relay.asked:
        assert each.headers["authorization"].startswith("Bearer ")
        assert "somebody" not in repr(each.headers)
        assert each.path == f"/{lab.bucket}/v1%2Fprod%2Facme%2Fk"


def test_gcs_wire_without_an_identity_sends_none(lab: Any, gcs_relay: Any) -> None:
    """To an emulator without credentials nothing is sent that could be taken for one."""
    with gcs_relay.Relay(lab.info).running() as relay:
        store = lab.build(port=relay.port, identity="anonymous", key=None, attempts=1)
        with pytest.raises(StoreError):
            lab.put(store, "k", b"x", if_absent=True)
    assert [each.by for each in relay.asked] == ["obstore", "sdk"]
    # An empty one is obstore's way to say that there is none.
    said = {
        each.headers.get("authorization", "").removeprefix("Bearer").strip() for each in relay.asked
    }
    assert said == {""}


def test_gcs_wire_tokens_are_renewed_and_their_end_is_told(fast: Any, gcs_relay: Any) -> None:
    """What a token that ended early was refused goes by the client library, which renews it; where
    there is none to be had, nothing was applied."""
    with gcs_relay.Relay(fast.info).running() as relay:
        store = fast.build(port=relay.port, attempts=1)
        fast.put(store, "k", b"x")
        renewing: list[Callable[[], object]] = [
            lambda: fast.put(store, "l", b"x", if_absent=True),
            lambda: fast.read(store, "k"),
            lambda: store.head(SCOPE, "k"),
        ]
        for call in renewing:
            fast.wire.ask("POST", "/forget-tokens")
            fast.wire._token = None
            relay.asked.clear()
            call()
            assert {each.by for each in relay.asked} == {"obstore", "sdk"}
    key = json.loads((fast.base / "key.json").read_text(encoding="utf-8"))
    other = json.loads((fast.base / "reader.json").read_text(encoding="utf-8"))
    (fast.base / "false.json").write_text(
        json.dumps({**key, "private_key": other["private_key"]}), encoding="utf-8"
    )
    store = fast.build(key={"file": "false.json"}, attempts=1)
    calls: list[Callable[[], object]] = [
        lambda: fast.put(store, "m", b"x", if_absent=True),
        lambda: fast.read(store, "k"),
    ]
    for call in calls:
        with pytest.raises(UnauthenticatedError) as caught:
            call()
        assert caught.value.outcome is Outcome.NOT_APPLIED


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", ["other host", "other port"])
def test_gcs_wire_no_redirect_leads_elsewhere(
    fast: Any, gcs_relay: Any, status: int, elsewhere: str
) -> None:
    """A write that is sent elsewhere is not taken for made, and nobody there learns of a token."""
    with (
        gcs_relay.Relay(fast.info).running() as relay,
        gcs_relay.Relay(fast.info).running() as other,
    ):
        host = "localhost" if elsewhere == "other host" else "127.0.0.1"

        def away(asked: Any) -> Any:
            place = f"http://{host}:{other.port}{asked.path}"
            return gcs_relay.Answer(status, {"Location": place}) if asked.by == "obstore" else None

        relay.before = away
        store = fast.build(port=relay.port, attempts=1)
        made: set[bytes] = set()
        # Where it was only asked who we are, the client library has asked the engine itself.
        with contextlib.suppress(StoreError):
            fast.put(store, "k", b"x", if_absent=True)
            made = {fast.read(store, "k")}
        assert all("authorization" not in each.headers for each in other.asked)
        assert elsewhere == "other port" or other.asked == []
        by = [each.by for each in relay.asked if each.what == "POST multipart"]
    assert (made, by) in ((set(), []), ({b"x"}, ["sdk"]))
    assert len(fast.wire.names(fast.bucket)) == len(by)


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


@pytest.mark.parametrize("by", ["sdk", "obstore"])
def test_gcs_trust_is_what_the_settings_say(
    lab: Any,
    gcs_relay: Any,
    authority: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """Certificates are those of ``ca_bundle`` alone, whatever the environment names beside it."""
    certificate, secret = authority
    relay = gcs_relay.Relay(lab.info)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    relay.socket = context.wrap_socket(relay.socket, server_side=True)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate))
    settings = {"endpoint": f"https://127.0.0.1:{relay.port}", "transport": by, "attempts": 1}
    # The tokens come over plain http, which asks for no certificate.
    with relay.running():
        with pytest.raises(UnavailableError) as caught:
            lab.put(lab.build(**settings), "k", b"x", if_absent=True)
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert relay.asked == []
        store = lab.build(**settings, ca_bundle=str(certificate))
        lab.put(store, "k", b"x", if_absent=True)
        assert lab.read(store, "k") == b"x"
    assert {each.by for each in relay.asked} == {by}


def test_gcs_wire_that_is_not_installed_is_a_setting(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport without its package is refused when the store is made, with the remedy."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigurationError) as caught:
        lab.build()
    (problem,) = caught.value.problems
    assert (problem.path, problem.code) == ("transport", "store.extra")
    assert "nexus-gcs[obstore]" in problem.fix


STORE = (
    "import os, signal, sys, time; from pathlib import Path; import nexus_gcs;"
    "from nexus_core.spi import Runtime, Scope;"
    "config = nexus_gcs.GcsConfig.model_validate_json(sys.stdin.read());"
    "runtime = Runtime(store='raw', base=Path(sys.argv[1]), now=time.time_ns);"
    "store = nexus_gcs.nexus_raw_store().factory(config, runtime);"
    "scope = Scope('acme', 'prod');"
)


def run(lab: Any, code: str, **settings: Any) -> str:
    """What a process of its own prints that has a store."""
    seen: subprocess.CompletedProcess[str] = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            *(f"import sys; sys.path[:0] = {PATHS!r}; {STORE} {code}", str(lab.base)),
        ],
        input=lab.settings(**settings).model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    return seen.stdout.strip()


def test_gcs_the_client_library_alone_needs_no_obstore(lab: Any) -> None:
    """Who does not ask for obstore never loads it."""
    lab.put(lab.build(), "k", b"x")
    code = "print(store.head(scope, 'k').size, 'obstore' in sys.modules)"
    assert run(lab, code, transport="sdk") == "1 False"
    assert run(lab, code) == "1 True"


def test_gcs_wire_a_child_that_is_forked_off_goes_by_the_client_library(
    lab: Any, gcs_relay: Any
) -> None:
    """obstore's threads do not survive a fork, so that the child asks otherwise and never waits."""
    lab.put(lab.build(), "k", b"x")
    code = (
        "store.head(scope, 'k');"
        "child = os.fork();"
        "signal.alarm(20);"
        "found = store.head(scope, 'k').size;"
        "done = 0 if child == 0 else os.waitpid(child, 0)[1];"
        "os._exit(found != 1 or done)"
    )
    with gcs_relay.Relay(lab.info).running() as relay:
        run(lab, code, port=relay.port)
    assert sorted(each.by for each in relay.asked) == ["obstore", "obstore", "sdk"]


def test_gcs_the_other_interface_is_strict(lab: Any, gcs: Any) -> None:
    """The server of our own takes nothing on the XML API that it does not check or keep."""
    bearer = lab.wire._bearer()
    path = f"/{lab.bucket}/k"

    def ask(method: str, data: bytes = b"", where: str = path, **headers: str) -> tuple[int, bytes]:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, body = lab.wire.send(method, where, data, {**bearer, **said})
        return status, body

    bearer, kept = {}, bearer
    assert ask("GET")[0] == 401
    bearer = kept
    assert ask("GET") == (404, ask("GET")[1])
    assert b"<Code>NoSuchKey</Code>" in ask("GET")[1]
    assert b"<Code>NoSuchBucket</Code>" in ask("GET", where="/nowhere-at-all/k")[1]
    assert ask("PUT", b"x", x_goog_hash="crc32c=AAAAAA==")[0] == 400
    assert ask("PUT", b"x", Content_MD5="1B2M2Y8AsgTpgAmY7PhCfg==")[0] == 400
    assert ask("PUT", b"x", x_goog_if_generation_match="7")[0] == 412
    assert ask("PUT", b"x", x_goog_acl="public-read")[0] == 501
    assert ask("GET", where=f"{path}?acl")[0] == 501 or ask("GET", where=f"{path}?acl=")[0] == 501
    assert lab.wire.names(lab.bucket) == []
    made = {"x_goog_if_generation_match": "0", "x_goog_meta_own": "yes"}
    assert ask("PUT", b"bytes", **made)[0] == 200
    assert ask("PUT", b"bytes", **made)[0] == 412
    assert ask("HEAD") == (200, b"")
    assert ask("GET", Range="bytes=1-2") == (206, b"yt")
    assert ask("GET", Range="bytes=9-")[0] == 416
    assert ask("GET", where=f"{path}?generation=1")[0] == 404
    described = lab.wire.ask("GET", lab.wire.path(lab.bucket, "k"))
    assert described["metadata"] == {"own": "yes"}
    assert ask("DELETE")[0] == 501
