"""Another process: begins a large write on the store and waits to be killed in the middle of it."""

from __future__ import annotations

import json
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

    store.put(Scope("t1", "dev"), "k", Body(body()), attributes, if_absent=True)


if __name__ == "__main__":
    main()
