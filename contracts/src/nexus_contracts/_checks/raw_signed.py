"""Checks of signed requests, which are sent to the engine by the suite, past the store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from nexus_contracts._bench import KEYS, SCOPES, Bench
from nexus_contracts._checks.raw import attributes, names, put, read
from nexus_contracts._http import SCHEMES, send_http
from nexus_contracts._processes import Unreachable
from nexus_contracts._registry import check
from nexus_core import Scope
from nexus_core.spi import NotFoundError, ObjectAttributes, SignedUrl

SCOPE = SCOPES[0]
TYPE: Final = "application/pdf"
# How long an engine with a clock of its own gets to notice that a second is over.
PATIENCE: Final = 20.0


def send(bench: Bench, store: Any, request: SignedUrl, data: bytes = b"") -> tuple[int, bytes]:
    """Send a signed request with a body."""
    if bench.harness.send is not None:
        return bench.harness.send(store.backend, request, data)
    if urlsplit(request.url).scheme not in SCHEMES:
        raise Unreachable("what was signed is not HTTP, and the harness has no send")
    return send_http(request.method, request.url, request.headers, data)


def done(status: int) -> bool:
    """Whether the engine did as it was asked; a redirect is no such answer."""
    return 200 <= status < 300


def signed_put(store: Any, key: str, data: bytes, scope: Scope = SCOPE, **options: Any) -> Any:
    """Sign an upload of these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    wanted = {"expires_in": 300, "size": len(data), "sha256": digest, "content_type": TYPE}
    return store.presign_put(scope, key, **{**wanted, **options})


def retyped(request: SignedUrl) -> SignedUrl:
    """The request with another content type."""
    kept = {n: v for n, v in request.headers.items() if n.lower() != "content-type"}
    return attrs.evolve(request, headers={**kept, "content-type": "text/html"})


@check("RAW-030")
def signed_get_gives_the_object(bench: Bench) -> None:
    """Every adversarial key, a large object, and one that is not there."""
    store = bench.open()
    wanted = {key: bench.random.randbytes(1 + number * 37) for number, key in enumerate(KEYS)}
    wanted["large"] = bench.random.randbytes(300_000)
    for key, data in wanted.items():
        put(store, key, data)
    for key, data in wanted.items():
        signed = store.presign_get(SCOPE, key, expires_in=300)
        bench.expect(signed.method == "GET", "presign_get signed another method")
        status, found = send(bench, store, signed)
        bench.expect(done(status), f"a signed GET of {key!r} was answered with {status}")
        bench.expect(found == data, f"a signed GET of {key!r} gave other bytes")
    gone = store.presign_get(SCOPE, "k", expires_in=300)
    store.delete(SCOPE, "k")
    status, _ = send(bench, store, gone)
    bench.expect(not done(status), "a signed GET of a deleted object was answered")


@check("RAW-031")
def signed_put_stores_what_was_announced(bench: Bench) -> None:
    """Other lengths, bytes and types first; then what was announced."""
    store = bench.open()
    data = bench.random.randbytes(5000)
    other = bytes([data[0] ^ 1]) + data[1:]
    same: Callable[[SignedUrl], SignedUrl] = lambda request: request  # noqa: E731  # beside retyped
    for number, (what, body, change) in enumerate(
        (
            ("other bytes", other, same),
            ("a longer body", data + b"!", same),
            ("a shorter body", data[:-1], same),
            ("an empty body", b"", same),
            ("another type", data, retyped),
        )
    ):
        key = f"wrong/{number}"
        status, _ = send(bench, store, change(signed_put(store, key, data)), body)
        bench.expect(not done(status), f"a signed PUT took {what}")
        left = f"a signed PUT that was refused for {what} left an object"
        bench.raises(NotFoundError, partial(store.head, SCOPE, key), left)
        bench.expect(names(store) == [], f"{left} in the listing")
    signed = signed_put(store, "k", data)
    bench.expect(signed.method == "PUT", "presign_put signed another method")
    status, _ = send(bench, store, signed, data)
    bench.expect(done(status), f"a signed PUT of what was announced was answered with {status}")
    info = store.head(SCOPE, "k")
    found = (info.size, info.sha256)
    bench.expect(
        found == (5000, hashlib.sha256(data).hexdigest()),
        "size or SHA-256 of an upload is not the bytes' own",
    )
    plain = ObjectAttributes(content_type=TYPE, metadata={}, system={})
    bench.expect(info.attributes == plain, "an upload has other attributes than its type")
    bench.expect(read(store, "k") == data, "an upload gives back other bytes")
    bench.expect(names(store) == ["k"], "an upload is not listed")
    if bench.spec.capabilities.copy:  # type: ignore[union-attr]
        store.copy(SCOPE, "k", "t", attributes(new="yes"))
        bench.expect(read(store, "t") == data, "the copy of an upload has other bytes")
        bench.expect(
            store.head(SCOPE, "t").attributes == attributes(new="yes"),
            "the copy of an upload has other attributes than it was given",
        )


def refused_in_time(bench: Bench, refused: Callable[[], bool]) -> bool:
    """Whether what is signed for a second is refused soon after it.

    A backend that goes by the clock it is given sees the second pass at once; an engine that has
    its own is waited for.
    """
    bench.clock.time += 3_000_000
    end = time.monotonic() + (0 if bench.harness.reality == "memory" else PATIENCE)
    while not refused():
        if time.monotonic() >= end:
            return False
        time.sleep(0.5)
    return True


@check("RAW-032")
def signed_get_expires(bench: Bench) -> None:
    """A download that is signed for a second."""
    store = bench.open()
    put(store, "k", b"x")
    signed = store.presign_get(SCOPE, "k", expires_in=1)

    def refused() -> bool:
        return not done(send(bench, store, signed)[0])

    bench.expect(refused_in_time(bench, refused), "a signed GET outlives its time")
    # Or else it was refused for something that is not its age.
    status, _ = send(bench, store, store.presign_get(SCOPE, "k", expires_in=300))
    bench.expect(done(status), f"a signed GET in its time was answered with {status}")


@check("RAW-033")
def signed_put_expires(bench: Bench) -> None:
    """An upload that is signed for a second."""
    store = bench.open()
    signed = signed_put(store, "k", b"late", expires_in=1)

    def refused() -> bool:
        if not done(send(bench, store, signed, b"late")[0]):
            return True
        store.delete(SCOPE, "k")
        return False

    bench.expect(refused_in_time(bench, refused), "a signed PUT outlives its time")
    left = "a signed PUT that came too late left an object"
    bench.raises(NotFoundError, partial(store.head, SCOPE, "k"), left)
    status, _ = send(bench, store, signed_put(store, "k", b"late"), b"late")
    bench.expect(done(status), f"a signed PUT in its time was answered with {status}")


def moved(mine: SignedUrl, theirs: SignedUrl) -> Iterator[SignedUrl]:
    """A request with its own signature, and the place of another; nothing where a URL is opaque."""
    here, there = urlsplit(mine.url), urlsplit(theirs.url)
    url = here._replace(netloc=there.netloc, path=there.path).geturl()
    if url not in (mine.url, theirs.url):
        yield attrs.evolve(mine, url=url)


def places(bench: Bench) -> tuple[Scope, list[tuple[Scope, str]]]:
    """A scope, and where a signature for its key `k` must not lead: another key, and its twins'."""
    scopes = bench.cast(4)
    return scopes[0], [(scopes[0], "l"), *((scope, "k") for scope in scopes[1:])]


@check("TEN-107")
def signed_get_is_of_one_place(bench: Bench) -> None:
    """Other keys, other scopes' keys, and the other method."""
    store = bench.open()
    subject, others = places(bench)
    for scope, key in [(subject, "k"), *others]:
        put(store, key, f"{scope} {key}".encode(), scope)
    mine = store.presign_get(subject, "k", expires_in=300)
    wanted = f"{subject} k".encode()
    bench.expect(send(bench, store, mine) == (200, wanted), "a signed GET does not give its object")
    for scope, key in others:
        theirs = store.presign_get(scope, key, expires_in=300)
        for forged in moved(mine, theirs):
            status, _ = send(bench, store, forged)
            bench.expect(
                not done(status), f"what was signed for `k` of {subject} gave {key!r} of {scope}"
            )
            bench.figures["forged_urls"] = bench.figures.get("forged_urls", 0) + 1
    for request in (mine, attrs.evolve(mine, headers={"content-type": TYPE})):
        status, _ = send(bench, store, attrs.evolve(request, method="PUT"), b"written")
        bench.expect(not done(status), "the URL of a signed GET was good for a PUT")
    for scope, key in [(subject, "k"), *others]:
        found = read(store, key, scope)
        bench.expect(
            found == f"{scope} {key}".encode(), f"a forged request changed {key!r} of {scope}"
        )


@check("TEN-108")
def signed_put_is_of_one_place(bench: Bench) -> None:
    """Other keys, other scopes' keys, and the other method."""
    store = bench.open()
    subject, others = places(bench)
    data = b"uploaded"
    mine = signed_put(store, "k", data, subject)
    for scope, key in others:
        theirs = signed_put(store, key, data, scope)
        for forged in moved(mine, theirs):
            status, _ = send(bench, store, forged, data)
            told = f"what was signed for `k` of {subject} wrote {key!r} of {scope}"
            bench.expect(not done(status), told)
            bench.raises(NotFoundError, partial(store.head, scope, key), told)
            bench.figures["forged_urls"] = bench.figures.get("forged_urls", 0) + 1
    status, _ = send(bench, store, mine, data)
    bench.expect(done(status), "a signed PUT does not store its object")
    bench.expect(read(store, "k", subject) == data, "a signed PUT stored other bytes")
    status, _ = send(bench, store, attrs.evolve(mine, method="GET"))
    bench.expect(not done(status), "the URL of a signed PUT was good for a GET")
    bare = attrs.evolve(mine, method="GET", headers={})
    status, _ = send(bench, store, bare)
    bench.expect(not done(status), "the URL of a signed PUT was good for a GET")
