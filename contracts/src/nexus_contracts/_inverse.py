"""The inverse test: what is not declared is refused by the core, and nothing changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from nexus_contracts._bench import SCOPES, Bench
from nexus_core import ByteRange, Request, UnsupportedError
from nexus_core.spi import StoreRole

Attempt = Callable[[Request], Any]

ATTEMPTS: Final[Mapping[str, Attempt]] = {
    "conditional_create": lambda n: n.raw.put("new", b"x", kind="data", space="s"),
    "conditional_replace": lambda n: n.raw.put(
        "k", b"x", kind="data", space="s", if_match=n.raw.head("k").etag
    ),
    "conditional_delete": lambda n: n.raw.delete("k", if_match=n.raw.head("k").etag),
    "ranges": lambda n: n.raw.get("k", range=ByteRange(0, 1)),
    "delimiter": lambda n: n.raw.list(delimiter="/"),
    "copy": lambda n: n.raw.copy("k", "l"),
    "presign_get": lambda n: n.raw.presign_get("k"),
    "presign_put": lambda n: n.raw.presign_put(
        "new", kind="data", space="s", size=0, sha256=hashlib.sha256(b"").hexdigest()
    ),
    "versions": lambda n: n.raw.restore("k", "0"),
    "object_lock": lambda n: n.raw.set_legal_hold("k", hold=True, version_id="0"),
    "states:inactive": lambda n: n.vectors.deactivate("main"),
}


def run_inverse(bench: Bench, capability: str) -> None:
    """Try what is not declared, through the core; see that it is refused and nothing moved."""
    attempt = ATTEMPTS.get(capability)
    if attempt is None:
        # A promise about quality rather than a call: there is nothing that the core could refuse.
        return
    namespace = bench.provisioned()
    backend = bench.open(namespace)
    door = bench.back_door(namespace)
    with bench.nexus(backend) as nexus:
        context = bench.context(SCOPES[0])
        with nexus.request(context) as n:
            if bench.spec.role is StoreRole.RAW and capability != "conditional_create":
                n.raw.put("k", b"x", kind="data", space="s")
            before = None if door is None else door.snapshot()
            bench.raises(
                UnsupportedError, lambda: attempt(n), f"{capability} is not declared, but used"
            )
            after = None if door is None else door.snapshot()
    bench.expect(before == after, f"an attempt at the undeclared {capability} changed the store")
