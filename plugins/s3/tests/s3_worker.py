"""Another process: a large write, to be killed in the middle of it, or made with little memory."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nexus_s3

from nexus_core.spi import Body, ObjectAttributes, Runtime, Scope


def main() -> None:
    """Write as standard input says, an endless body if there is no size."""
    told = json.loads(sys.stdin.readline())
    if "memory" in told:
        resource.setrlimit(resource.RLIMIT_AS, (told["memory"], told["memory"]))
    config = nexus_s3.S3Config.model_validate_json(json.dumps(told["config"]))
    runtime = Runtime(
        store="files",
        base=Path(told["base"]),
        now=lambda: time.time_ns() // 1000,
        proofs=told["proofs"],
    )
    store: Any = nexus_s3.nexus_raw_store().factory(config, runtime)
    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})

    def body() -> Iterator[bytes]:
        sent = 0
        while told["size"] is None or sent < told["size"]:
            yield b"x" * (1 << 20)
            sent += 1 << 20
            if sent == 8 << 20:
                sys.stdout.write("under way\n")
                sys.stdout.flush()
                time.sleep(0.2)

    scope = Scope("t1", "dev")
    put = store.put(scope, "k", Body(body()), attributes, if_absent=True)
    digest = hashlib.sha256()
    with store.open(scope, "k") as stream:
        for chunk in stream.chunks:
            digest.update(chunk)
    assert digest.hexdigest() == put.sha256
    sys.stdout.write(f"{put.size}\n")


if __name__ == "__main__":
    main()
