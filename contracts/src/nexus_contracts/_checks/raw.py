"""Checks of the raw store's own semantics."""

from __future__ import annotations

import hashlib

from nexus_contracts._bench import KEYS, SCOPES, Bench
from nexus_contracts._registry import check
from nexus_core.spi import AlreadyExistsError, Body, ObjectAttributes


def attributes(**metadata: str) -> ObjectAttributes:
    """Attributes as the core would send them."""
    return ObjectAttributes(
        content_type="text/plain", metadata=metadata, system={"stamp": "00", "kind": "data"}
    )


@check("RAW-001")
def what_is_put_comes_back(bench: Bench) -> None:
    """Every adversarial key keeps its own bytes, digest and attributes."""
    store = bench.open()
    scope = SCOPES[0]
    wanted = {key: bench.random.randbytes(number * 37) for number, key in enumerate(KEYS)}
    for key, data in wanted.items():
        store.put(scope, key, Body(data), attributes(n=str(len(data))))
    for key, data in wanted.items():
        with store.open(scope, key) as stream:
            found = b"".join(stream.chunks)
        bench.expect(found == data, f"the key {key!r} gave back other bytes than were put")
        info = store.head(scope, key)
        bench.expect(
            (info.size, info.sha256) == (len(data), hashlib.sha256(data).hexdigest()),
            f"head of {key!r} names another size or SHA-256",
        )
        bench.expect(
            info.attributes == attributes(n=str(len(data))),
            f"the attributes of {key!r} are not those that were put",
        )


@check("RAW-002")
def put_creates_once(bench: Bench) -> None:
    """A taken key keeps its first object."""
    store = bench.open()
    store.put(SCOPES[0], "k", Body(b"first"), attributes(), if_absent=True)
    bench.raises(
        AlreadyExistsError,
        lambda: store.put(SCOPES[0], "k", Body(b"second"), attributes(), if_absent=True),
        "a second create of a taken key",
    )
    with store.open(SCOPES[0], "k") as stream:
        bench.expect(b"".join(stream.chunks) == b"first", "a refused create changed the object")
