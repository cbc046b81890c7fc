"""Objects per second of the store against a bare file: write, fsync, rename; open, read.

``python throughput.py [DIRECTORY]`` prints a table. Batches of both take turns, so that whatever
else the machine does meets both alike; figures are medians over the batches.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nexus_filesystem import FilesystemConfig, nexus_raw_store

from nexus_core.spi import Body, ObjectAttributes, RawBackend, Runtime, Scope

SCOPE = Scope("t1", "prod")
ATTRIBUTES = ObjectAttributes(
    content_type="application/octet-stream", metadata={"a": "b"}, system={"stamp": "0" * 32}
)
BATCHES = 15
SIZES = {"1 KiB": (1 << 10, 200), "1 MiB": (1 << 20, 20)}


def provisioned(base: Path) -> RawBackend:
    spec = nexus_raw_store()
    config = FilesystemConfig(root="raw")
    runtime = Runtime(store="raw", base=base, now=lambda: time.time_ns() // 1000)
    assert spec.provision is not None
    spec.provision(config, runtime)
    store = spec.factory(config, runtime)
    assert isinstance(store, RawBackend)
    return store


class Bare:
    """What one would write by hand, with or without making the new name durable."""

    def __init__(self, folder: Path, *, sync_folder: bool) -> None:
        folder.mkdir()
        self._folder = folder
        self._sync_folder = sync_folder

    def put(self, key: str, data: bytes) -> None:
        temporary = self._folder / (key + ".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / key)
        if self._sync_folder:
            descriptor = os.open(self._folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def get(self, key: str) -> bytes:
        with (self._folder / key).open("rb") as file:
            return file.read()


def rate(call: Callable[..., object], keys: list[str], *more: bytes) -> float:
    begun = time.perf_counter()
    for key in keys:
        call(key, *more)
    return len(keys) / (time.perf_counter() - begun)


def main(base: Path) -> None:
    store = provisioned(base)
    bare = Bare(base / "bare", sync_folder=False)
    durable = Bare(base / "durable", sync_folder=True)

    def put(key: str, data: bytes) -> None:
        store.put(SCOPE, key, Body(data), ATTRIBUTES)

    def get(key: str) -> bytes:
        with store.open(SCOPE, key) as stream:
            return b"".join(stream.chunks)

    verbs: dict[str, list[tuple[str, Callable[..., object]]]] = {
        "put": [("store", put), ("bare", bare.put), ("bare, folder synced", durable.put)],
        "get": [("store", get), ("bare", bare.get)],
    }
    for label, (size, count) in SIZES.items():
        data = os.urandom(size)
        for verb, candidates in verbs.items():
            rates: dict[str, list[float]] = {name: [] for name, _ in candidates}
            more = (data,) if verb == "put" else ()
            for batch in range(BATCHES):
                keys = [f"{size}-{batch}-{number}" for number in range(count)]
                for name, call in candidates:
                    rates[name].append(rate(call, keys, *more))
            ours = rates["store"]
            for name, theirs in rates.items():
                ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
                sys.stdout.write(
                    f"{verb} {label}  {name:20} {statistics.median(theirs):9.0f}/s"
                    f"   store is {ratio:.2f} of it\n"
                )


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=folder) as name:
        main(Path(name))
