"""What becomes of calls whose requests or answers get lost, and what is said of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nexus_contracts.faults import Fault, FaultProxy

from nexus_core.spi import (
    AlreadyExistsError,
    NotFoundError,
    Outcome,
    PreconditionFailedError,
    RateLimitedError,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

SCOPE = Scope("acme", "prod")
MIB = 1 << 20


class Road:
    """A store behind a proxy, and one beside it that no fault reaches."""

    def __init__(self, lab: Any, proxy: FaultProxy) -> None:
        self.lab = lab
        self.proxy = proxy
        self.store = self.build(attempts=3)
        self.sure = lab.build()
        # So that the first request of a test is its own.
        list(self.store.list(SCOPE).items)

    def build(self, attempts: int) -> Any:
        """A store that goes by the proxy and is soon out of patience."""
        settings = {"connect_seconds": 1, "read_seconds": 1, "attempts": attempts}
        return self.lab.build(port=self.proxy.port, **settings)

    def fails(self, kind: type[StoreError], call: Callable[[], object]) -> StoreError:
        """The call must raise exactly this, in words that lead nowhere."""
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        said = f"{error} {error!r} {error.args} {vars(error)} {error.__cause__} {error.__context__}"
        for secret in (self.lab.bucket, "127.0.0.1", str(self.proxy.port), "v1/prod", "acme"):
            assert secret not in said
        return error


@pytest.fixture
def road(lab: Any) -> Iterator[Road]:
    """A provisioned store and the way to it."""
    with FaultProxy(lab.info["host"], lab.info["port"]) as proxy:
        yield Road(lab, proxy)


def test_gcs_a_lost_answer_to_our_own_create_is_no_conflict(road: Road) -> None:
    """The engine has created and its answer is lost: the call succeeds, with the right ETag."""
    road.proxy.set(Fault("lost_response", times=1))
    info = road.lab.put(road.store, "k", b"mine", if_absent=True)
    assert info == road.sure.head(SCOPE, "k")
    replaced = road.lab.put(road.store, "k", b"newer", if_match=info.etag)
    assert replaced.etag != info.etag


def test_gcs_a_lost_answer_to_our_own_replace_is_no_conflict(road: Road) -> None:
    """The engine has replaced and its answer is lost: the call succeeds, and replaced once."""
    first = road.lab.put(road.sure, "k", b"1")
    strikes = road.proxy.set(Fault("lost_response", times=1))
    info = road.lab.put(road.store, "k", b"2", if_match=first.etag)
    assert strikes.count == 1
    assert info == road.sure.head(SCOPE, "k")


def test_gcs_another_writers_conflict_stays_one(road: Road) -> None:
    """A key that somebody else has taken stays taken, whatever got lost on the way."""
    road.lab.put(road.sure, "k", b"theirs")
    road.proxy.set(Fault("lost_response", times=1))
    road.fails(AlreadyExistsError, lambda: road.lab.put(road.store, "k", b"mine", if_absent=True))
    assert road.lab.read(road.sure, "k") == b"theirs"


def test_gcs_answers_that_stay_lost_leave_the_outcome_unknown(road: Road) -> None:
    """No answer ever comes: the error says that nobody knows, and the write stands once."""
    road.proxy.set(Fault("lost_response"))
    error = road.fails(
        UnavailableError, lambda: road.lab.put(road.store, "k", b"mine", if_absent=True)
    )
    assert error.outcome is Outcome.UNKNOWN
    road.proxy.set(None)
    assert road.lab.read(road.store, "k") == b"mine"
    road.fails(AlreadyExistsError, lambda: road.lab.put(road.store, "k", b"x", if_absent=True))


def test_gcs_lost_answers_to_a_delete_do_not_fail_it(road: Road) -> None:
    """What our own deletion has taken away is deleted, with a condition and without."""
    for condition in (False, True):
        info = road.lab.put(road.sure, "k", b"x")
        # A deletion without a condition asks for the generation first.
        road.proxy.set(Fault("lost_response", after=0 if condition else 1, times=1))
        road.store.delete(SCOPE, "k", if_match=info.etag if condition else None)
        road.proxy.set(None)
        with pytest.raises(NotFoundError):
            road.sure.head(SCOPE, "k")


def test_gcs_a_lost_answer_to_a_copy_is_no_conflict(road: Road) -> None:
    """The engine has copied and its answer is lost: the call succeeds."""
    road.lab.put(road.sure, "k", b"x")
    road.proxy.set(Fault("lost_response", after=1, times=1))
    info = road.store.copy(SCOPE, "k", "copy", road.lab.attributes(), if_absent=True)
    assert info == road.sure.head(SCOPE, "copy")


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("cut_request", 5 * MIB),
        ("cut_request", 15 * MIB),
        *(("lost_response", turn) for turn in (1, 2, 4, 5)),
        ("busy", 3),
    ],
)
def test_gcs_a_large_upload_survives_each_lost_step(road: Road, kind: str, after: int) -> None:
    """Whichever of an upload's requests fails once, what is stored is whole, and stored once."""
    # The turns: a look at the key, the session's beginning, three pieces, the putting in place.
    data = random.Random(after).randbytes(17 * MIB)  # noqa: S311  # reproducible, not secret
    strikes = road.proxy.set(Fault(kind, after=after, times=1))
    info = road.lab.put(road.store, "k", iter([data]), if_absent=True)
    road.proxy.set(None)
    assert strikes.count == 1
    assert info == road.sure.head(SCOPE, "k")
    assert road.lab.read(road.sure, "k") == data


@pytest.mark.parametrize("kind", ["cut_response", "lost_response", "busy", "throttled"])
def test_gcs_reads_go_on_where_they_broke_off(road: Road, kind: str) -> None:
    """A read that is disturbed once gives every byte of one generation."""
    data = random.Random(1).randbytes(9 * MIB)  # noqa: S311  # reproducible, not secret
    road.lab.put(road.sure, "k", data)
    strikes = road.proxy.set(Fault(kind, after=3 * MIB if kind == "cut_response" else 1, times=1))
    assert road.lab.read(road.store, "k") == data
    assert strikes.count == 1


@pytest.mark.parametrize(
    ("fault", "kind", "outcome"),
    [
        ("closed", UnavailableError, Outcome.NOT_APPLIED),
        ("throttled", RateLimitedError, Outcome.NOT_APPLIED),
        ("busy", UnavailableError, Outcome.UNKNOWN),
        ("blackhole", StoreTimeoutError, Outcome.UNKNOWN),
    ],
)
def test_gcs_a_fault_that_stays_is_told_in_the_trees_words(
    road: Road, fault: str, kind: type[StoreError], outcome: Outcome
) -> None:
    """Each lasting fault of a write has its error and outcome; of a read nothing was applied."""
    road.lab.put(road.sure, "k", b"old")
    # One without connections: what is sent on one that stood may have been heard.
    store = road.build(attempts=1)
    if fault == "closed":
        road.proxy.close()
    else:
        road.proxy.set(Fault(fault))
    error = road.fails(kind, lambda: road.lab.put(store, "new", b"x", if_absent=True))
    assert (error.outcome, error.retryable) == (outcome, True)
    for call in (
        lambda: store.head(SCOPE, "k"),
        lambda: road.lab.read(store, "k"),
        lambda: store.list(SCOPE),
    ):
        assert road.fails(kind, call).outcome is Outcome.NOT_APPLIED
    with pytest.raises(NotFoundError):
        road.sure.head(SCOPE, "new")


def test_gcs_a_read_never_mixes_generations(road: Road) -> None:
    """An object that is replaced while it is read raises; not a byte of another one comes."""
    road.lab.put(road.sure, "k", b"a" * (20 * MIB))
    with road.store.open(SCOPE, "k") as stream:
        first = next(stream.chunks)
        road.lab.put(road.sure, "k", b"b" * (20 * MIB))
        with pytest.raises(PreconditionFailedError):
            list(stream.chunks)
    assert set(first) == set(b"a")


def test_gcs_a_signed_upload_takes_only_what_was_signed(lab: Any) -> None:
    """Another body, size, type, key, a second time, and a URL that has expired are refused."""
    import hashlib
    from urllib.parse import urlsplit

    store = lab.build()
    data = b"what was announced"

    def signed(expires_in: int = 60) -> Any:
        return store.presign_put(
            SCOPE,
            "k",
            expires_in=expires_in,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            content_type="text/plain",
        )

    def send(url: Any, body: bytes = data, path: str | None = None, **headers: Any) -> int:
        parts = urlsplit(url.url)
        target = f"{path or parts.path}?{parts.query}"
        status, _, _ = lab.wire.send(url.method, target, body, {**url.headers, **headers})
        return int(status)

    url = signed()
    assert send(url, b"What was announced") >= 400
    assert send(url, data + b".") >= 400
    assert send(url, data, None, **{"Content-Type": "text/html"}) >= 400
    assert send(url, data, None, **{"x-goog-meta-nexus-write": "x"}) >= 400
    assert send(url, path=urlsplit(url.url).path.replace("acme", "acmf")) >= 400
    late = signed(expires_in=1)
    while time.time() * 1e6 < late.expires_at + 1_100_000:
        time.sleep(0.1)
    assert send(late) >= 400
    assert lab.wire.names(lab.bucket) == []
    assert send(url) == 200
    assert send(url) == 412
    info = store.head(SCOPE, "k")
    assert (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert info.attributes.content_type == "text/plain"
    assert (dict(info.attributes.metadata), dict(info.attributes.system)) == ({}, {})
    got = store.presign_get(SCOPE, "k", expires_in=60)
    parts = urlsplit(got.url)
    assert lab.wire.send("GET", f"{parts.path}?{parts.query}")[2] == data
    assert lab.wire.send("GET", f"{parts.path}?{parts.query}&generation=1")[0] >= 400
    assert lab.wire.send("DELETE", f"{parts.path}?{parts.query}")[0] >= 400
