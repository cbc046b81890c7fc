"""Checks of isolation in the raw store."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nexus_contracts._bench import JOINED, KEYS, SUBJECTS, Bench
from nexus_contracts._checks.held_alike import stays
from nexus_contracts._checks.raw import attributes, read
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, Ref, interference, interleaved, perform
from nexus_core import Request, Scope
from nexus_core.spi import (
    Body,
    ByteRange,
    NotFoundError,
    PreconditionFailedError,
    StoreError,
    encode_key_parts,
    encode_object_name,
    encode_scope_parts,
)

# Few, so that scopes often store the same bytes: a store that keeps equal bytes once shows it.
BODIES = (b"", b"same", b"other", b"x" * 100)


def stream_of(bench: Bench, scope: Scope, keys: Sequence[str], length: int) -> list[Call]:
    """One scope's calls: all verbs over a few keys, ETags taken from its own earlier answers."""
    rng = bench.random
    calls: list[Call] = []
    puts: list[int] = []
    for _ in range(length):
        key = rng.choice(keys)
        verb = rng.choice(("put", "put", "head", "read", "list", "delete", "create"))
        if verb == "put":
            puts.append(len(calls))
            calls.append(Call(scope, "put", (key, rng.choice(BODIES), attributes())))
        elif verb == "create":
            calls.append(
                Call(scope, "put", (key, rng.choice(BODIES), attributes()), {"if_absent": True})
            )
        elif verb == "list":
            prefix = rng.choice(("", key[:1], "k"))
            calls.append(Call(scope, "list", (), {"prefix": prefix, "limit": rng.randint(1, 9)}))
        elif verb == "delete" and puts and bench.spec.capabilities.conditional_delete:  # type: ignore[union-attr]
            etag = Ref(rng.choice(puts), ("etag",))
            calls.append(Call(scope, "delete", (key,), {"if_match": etag}))
        elif verb == "delete":
            calls.append(Call(scope, "delete", (key,)))
        else:
            calls.append(Call(scope, verb, (key,)))
    return calls


def act(backend: Any, call: Call, results: Any) -> Any:
    """Perform a call of the raw SPI: bodies are made here, and reads are read to their end."""
    if call.method == "put":
        key, data, attrs_ = call.args
        return backend.put(call.scope, key, Body(data), attrs_, **call.kwargs)
    if call.method == "read":
        with backend.open(call.scope, call.args[0]) as stream:
            return stream.info, b"".join(stream.chunks)
    return perform(backend, call, results)


@check("TEN-101")
def raw_two_run(bench: Bench) -> None:
    """Two-run over all verbs, for several subjects among adversarial twins."""
    for subject in SUBJECTS:
        scopes = bench.cast(subject=subject)
        keys = [*JOINED, *bench.random.sample(KEYS, 4)]
        mixed, _places = interleaved(
            bench.random, [stream_of(bench, scope, keys, 24) for scope in scopes]
        )
        interference(bench, mixed, scopes[0], how=act)


@check("TEN-102")
def raw_twins_outlive(bench: Bench) -> None:
    """Every twin keeps every key while one scope deletes and is erased; also what two hold in
    the same bytes."""
    store = bench.open()
    scopes = bench.cast(6)
    for scope in scopes:
        for key in KEYS[:12]:
            store.put(scope, key, Body(f"{scope} {key}".encode()), attributes())
    subject = scopes[0]
    store.delete(subject, KEYS[0])
    store.delete_many(subject, KEYS[1:4])
    store.erase(subject)
    for scope in scopes[1:]:
        for key in KEYS[:12]:
            wanted = f"{scope} {key}".encode()
            try:
                found = read(store, key, scope)
            except StoreError:
                found = b""
            bench.expect(found == wanted, f"erasing {subject} took {key!r} from {scope}")
    stays(bench)


@check("TEN-103")
def raw_absent_and_foreign_are_one(bench: Bench) -> None:
    """Errors for another scope's key and ETag and for nobody's, compared in every part."""
    store = bench.open()
    scopes = bench.cast(4)
    subject = scopes[0]
    for scope in scopes[1:]:
        store.put(scope, "theirs", Body(b"x"), attributes())
        store.put(scope, "mine", Body(b"y"), attributes())
    store.put(subject, "mine", Body(b"z"), attributes())
    nobodys = store.put(subject, "gone", Body(b"gone"), attributes()).etag
    store.delete(subject, "gone")
    for name in ("head", "open"):
        seen = []
        for key in ("theirs", "nobody"):
            call = (
                partial(store.head, subject, key)
                if name == "head"
                else partial(read, store, key, subject)
            )
            error = bench.raises(NotFoundError, call, f"{name} of {key!r}")
            seen.append((type(error), str(error).replace(key, "KEY"), vars(error)))
        bench.expect(seen[0] == seen[1], f"{name} tells another scope's key from nobody's")
    for name, condition in conditional(bench, store, subject):
        told = []
        for etag in (store.head(scopes[1], "mine").etag, nobodys):
            what = f"{name} of `mine`"
            refusal = bench.raises(PreconditionFailedError, partial(condition, etag), what)
            told.append((type(refusal), str(refusal), vars(refusal)))
        bench.expect(told[0] == told[1], f"{name} tells another scope's ETag from nobody's")
    for scope in scopes[1:]:
        bench.expect(
            store.delete(subject, "theirs") is store.delete(subject, "nobody"),
            "delete answers differently for another scope's key",
        )
        bench.expect(read(store, "theirs", scope) == b"x", "delete reached into another scope")


def conditional(
    bench: Bench, store: Any, scope: Scope
) -> list[tuple[str, Callable[[str], object]]]:
    """Calls on the key `mine` under the condition of an ETag, as far as the store has them."""
    can: Any = bench.spec.capabilities
    calls: list[tuple[str, Callable[[str], object]]] = [
        ("open", lambda etag: read(store, "mine", scope, if_match=etag)),
    ]
    if can.ranges:
        some = partial(read, store, "mine", scope, range=ByteRange(0, 1))
        calls.append(("open of a range", lambda etag: some(if_match=etag)))
    if can.conditional_replace:
        body = partial(Body, b"new")
        calls.append(
            ("put", lambda etag: store.put(scope, "mine", body(), attributes(), if_match=etag))
        )
    if can.conditional_delete:
        calls.append(("delete", lambda etag: store.delete(scope, "mine", if_match=etag)))
    if can.copy:
        calls.append(
            ("copy", lambda e: store.copy(scope, "mine", "t", attributes(), if_source_match=e))
        )
    return calls


@check("TEN-104")
def raw_names_are_evidence(bench: Bench) -> None:
    """Listed names, against the codec, in several scopes."""
    store = bench.open()
    for scope in bench.cast(4):
        for key in KEYS:
            store.put(scope, key, Body(b""), attributes())
        for entry in store.list(scope).items:
            path = "/".join((*encode_scope_parts(scope), *encode_key_parts(entry.key)))
            bench.expect(
                entry.name in (encode_object_name(scope, entry.key), path),
                f"the listed name of {entry.key!r} is not what the codec makes of {scope} and it",
            )


def listed(n: Request) -> list[str]:
    """All keys of a scope, through the core."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = n.raw.list(cursor=cursor)
        found += [item.key for item in page.items]
        cursor = page.cursor
        if cursor is None:
            return found


@check("TEN-105")
def raw_scopes_through_the_core(bench: Bench) -> None:
    """Two scopes with the same keys, through the handles, with a canary in each."""
    namespace = bench.provisioned()
    scopes = bench.cast(2)
    marks = {scope: f"CANARY<{scope}>{bench.random.random()}" for scope in scopes}
    logs = io.StringIO()
    handler = logging.StreamHandler(logs)
    logging.getLogger().addHandler(handler)
    try:
        with bench.nexus(bench.open(namespace)) as nexus:
            for scope, mark in marks.items():
                with nexus.request(bench.context(scope)) as n:
                    for key in KEYS[:8]:
                        n.raw.put(key, mark.encode(), kind="data", space="s")
            for scope, mark in marks.items():
                with nexus.request(bench.context(scope)) as n:
                    seen = [n.raw.get(key).data.decode() for key in KEYS[:8]]
                    bench.expect(set(seen) == {mark}, f"{scope} read another scope's bytes")
                    bench.expect(
                        listed(n) == sorted(KEYS[:8], key=str.encode),
                        f"{scope} lists other keys than its own",
                    )
                    bench.expect(n.audit.verify().ok, "the trail does not verify")
    finally:
        logging.getLogger().removeHandler(handler)
    bench.expect("CANARY" not in logs.getvalue(), "stored content was written to a log")
