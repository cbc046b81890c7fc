"""Checks of isolation in the raw store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nexus_contracts._bench import KEYS, Bench
from nexus_contracts._checks.raw import attributes
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, Ref, interference, interleaved, perform
from nexus_core import Scope
from nexus_core.spi import Body


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
            calls.append(Call(scope, "put", (key, rng.randbytes(8), attributes())))
        elif verb == "create":
            calls.append(
                Call(scope, "put", (key, rng.randbytes(8), attributes()), {"if_absent": True})
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
    for _ in range(4):
        scopes = bench.cast()
        keys = bench.random.sample(KEYS, 6)
        mixed, _places = interleaved(
            bench.random, [stream_of(bench, scope, keys, 24) for scope in scopes]
        )
        interference(bench, mixed, scopes[0], how=act)
