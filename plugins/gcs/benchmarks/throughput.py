"""The store on both transports beside google-cloud-storage, and gcsfs where it is installed.

``python -m tools.servers gcs`` starts a server; this starts one itself, and everybody's requests go
to it. Batches take turns, so that whatever else the machine does meets all alike; figures are
medians over the batches, and ratios to the plain library and to the same library with what the
store does written around it (above 1 is faster). The second line of each counts only the time of
this side's processors. Run it from the root of the checkout.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nexus_gcs import GcsConfig, nexus_raw_store

from nexus_core.spi import Body, ObjectAttributes, RawBackend, Runtime, Scope

SCOPE = Scope("t1", "prod")
ATTRIBUTES = ObjectAttributes(
    content_type="application/octet-stream", metadata={"a": "b"}, system={"stamp": "0" * 32}
)
SIZES = {"1 KiB": (1 << 10, 60, 5), "1 MiB": (1 << 20, 8, 5), "64 MiB": (64 << 20, 1, 3)}
LISTED = 3000
DELETED = 500


class Store:
    """The subject."""

    name = "nexus-gcs"
    transport = "sdk"

    def __init__(self, info: Mapping[str, Any], base: Path) -> None:
        (base / "key.json").write_text(json.dumps(info["key"]), encoding="utf-8")
        config = GcsConfig.model_validate(
            {
                "endpoint": info["endpoint"],
                "project": info["project"],
                "bucket": f"bench-{self.transport}",
                "location": "EU",
                "key": {"file": "key.json"},
                "transport": self.transport,
            }
        )
        runtime = Runtime(store="raw", base=base, now=lambda: time.time_ns() // 1000)
        spec = nexus_raw_store()
        assert spec.provision is not None
        spec.provision(config, runtime)
        store = spec.factory(config, runtime)
        assert isinstance(store, RawBackend)
        self._store = store

    def put(self, key: str, data: bytes) -> None:
        self._store.put(SCOPE, key, Body(data), ATTRIBUTES, if_absent=True)

    def get(self, key: str) -> bytes:
        with self._store.open(SCOPE, key) as stream:
            data = b"".join(stream.chunks)
            # As the core does.
            assert hashlib.sha256(data).hexdigest() == stream.info.sha256
            return data

    def count(self, prefix: str) -> int:
        count = 0
        after: str | None = None
        while True:
            page = self._store.list(SCOPE, prefix=prefix, after=after)
            count += len(page.items)
            after = page.next_after
            if after is None:
                return count

    def delete(self, keys: list[str]) -> None:
        assert not self._store.delete_many(SCOPE, keys)


class Fast(Store):
    """The subject on its other transport."""

    name = "nexus-gcs, obstore"
    transport = "obstore"


class Plain:
    """The client library as its own pages show it."""

    name = "google-cloud-storage"
    bucket = "bench-plain"

    def __init__(self, info: Mapping[str, Any], _base: Path) -> None:
        from google.cloud import storage  # type: ignore[import-untyped]
        from google.oauth2 import service_account

        begin: Any = service_account.Credentials.from_service_account_info
        client = storage.Client(
            project=info["project"],
            credentials=begin(info["key"]),
            client_options={"api_endpoint": info["endpoint"]},
        )
        self._client = client
        self._bucket = client.create_bucket(self.bucket, location="EU")

    def put(self, key: str, data: bytes) -> None:
        blob = self._bucket.blob(key)
        blob.upload_from_string(data, if_generation_match=0)

    def get(self, key: str) -> bytes:
        return bytes(self._bucket.blob(key).download_as_bytes())

    def count(self, prefix: str) -> int:
        return sum(1 for _ in self._client.list_blobs(self._bucket, prefix=prefix))

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            self._bucket.blob(key).delete()


class Same(Plain):
    """The client library, made to create once, to keep a digest and attributes, to read one
    generation and check it, and to delete what it has seen."""

    name = "the same of it"
    bucket = "bench-same"

    def put(self, key: str, data: bytes) -> None:
        blob = self._bucket.blob(key)
        write, digest = secrets.token_hex(16), hashlib.sha256(data).hexdigest()
        blob.metadata = {"sha256": digest, "write": write, "a": "b", "stamp": "0" * 32}
        blob.upload_from_string(data, if_generation_match=0, checksum="crc32c", retry=None)
        assert blob.metadata["write"] == write
        assert blob.crc32c

    def get(self, key: str) -> bytes:
        blob = self._bucket.blob(key)
        blob.reload(retry=None)
        pinned = self._bucket.blob(key, generation=blob.generation)
        data = bytes(pinned.download_as_bytes(checksum="crc32c", retry=None))
        assert hashlib.sha256(data).hexdigest() == blob.metadata["sha256"]
        return data

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            blob = self._bucket.blob(key)
            blob.reload(retry=None)
            blob.delete(if_generation_match=blob.generation, retry=None)


class Gcsfs:
    """gcsfs, without its cache of listings."""

    name = "gcsfs"

    def __init__(self, info: Mapping[str, Any], _base: Path) -> None:
        import gcsfs  # type: ignore[import-not-found]

        self._files = gcsfs.GCSFileSystem(
            project=info["project"],
            token=dict(info["key"]),
            endpoint_url=info["endpoint"],
            use_listings_cache=False,
        )
        self._files.mkdir("bench-gcsfs", location="EU")

    def put(self, key: str, data: bytes) -> None:
        self._files.pipe_file(f"bench-gcsfs/{key}", data)

    def get(self, key: str) -> bytes:
        return bytes(self._files.cat_file(f"bench-gcsfs/{key}"))

    def count(self, prefix: str) -> int:
        return len(self._files.find("bench-gcsfs", prefix=prefix))

    def delete(self, keys: list[str]) -> None:
        self._files.rm([f"bench-gcsfs/{key}" for key in keys])


def seconds(call: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """How long something took, and how much of this process's processors."""
    begun, worked = time.perf_counter(), time.process_time()
    call(*arguments)
    return time.perf_counter() - begun, time.process_time() - worked


def put_all(subject: Any, keys: list[str], data: bytes) -> None:
    for key in keys:
        subject.put(key, data)


def get_all(subject: Any, keys: list[str]) -> None:
    for key in keys:
        subject.get(key)


def report(label: str, taken: Mapping[str, list[tuple[float, float]]], count: int) -> None:
    for place, what in enumerate(("", "processor")):
        sys.stdout.write(f"{label} {what}\n")
        for name, mine in taken.items():
            rate = count / statistics.median(each[place] for each in mine)
            ratios = [
                statistics.median(b[place] / a[place] for a, b in zip(mine, taken[to], strict=True))
                for to in (Plain.name, Same.name)
            ]
            said = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            sys.stdout.write(f"    {name:22} {rate:10.1f}/s  ({said})\n")
    sys.stdout.flush()


def main(info: Mapping[str, Any], base: Path) -> None:
    kinds: list[Any] = [Store, Fast, Plain, Same]
    if importlib.util.find_spec("gcsfs"):
        kinds.append(Gcsfs)
    all_ = [kind(info, base) for kind in kinds]
    for label, (size, count, batches) in SIZES.items():
        data = os.urandom(size)
        puts: dict[str, list[tuple[float, float]]] = {each.name: [] for each in all_}
        gets: dict[str, list[tuple[float, float]]] = {each.name: [] for each in all_}
        for batch in range(batches):
            keys = [f"{size}/{batch}/{number}" for number in range(count)]
            for each in all_:
                puts[each.name].append(seconds(put_all, each, keys, data))
            for each in all_:
                gets[each.name].append(seconds(get_all, each, keys))
        report(f"put {label}", puts, count)
        report(f"get {label}", gets, count)
    names = [f"many/{number:05}" for number in range(LISTED)]
    listed: dict[str, list[tuple[float, float]]] = {each.name: [] for each in all_}
    deleted: dict[str, list[tuple[float, float]]] = {each.name: [] for each in all_}
    for each in all_:
        for name in names:
            each.put(name, b"")
    for _ in range(3):
        for each in all_:
            listed[each.name].append(seconds(each.count, "many/"))
    report("list 3,000", listed, 1)
    for each in all_:
        deleted[each.name].append(seconds(each.delete, names[:DELETED]))
    report("delete 500", deleted, 1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with subprocess.Popen(
        [sys.executable, "-m", "tools.servers", "gcs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            main(json.loads(child.stdout.readline()), Path(folder))
