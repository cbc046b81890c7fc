"""The store beside boto3's transfer, s3fs, smart_open and obstore, on one server, in one run.

``python plugins/s3/benchmarks/throughput.py [SERVER]`` from the root of the checkout, with
requirements-peers.txt installed, starts a server of ``tools/servers`` (radosgw unless told) and
prints a table, or with ``--rows`` some lines of it. Contenders take turns in every round, each
round in another order, so that whatever else the machine does meets all alike; figures are medians,
ratios are to boto3 and to obstore (above 1 is faster). The store creates once, keeps a digest with
each object, and checks it when it reads; of the others only the two that are called "same" do,
which are the plain libraries with that written around them.

One round of small requests takes less than a tenth of a second, and the server's own work behind it
makes the next one half as fast or twice: by medians of three such rounds the same two compared at
0.6 and at 1.1. So there are many rounds of what is short.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs
import boto3
import botocore.config
import nexus_s3
import obstore
import s3fs
import smart_open
from nexus_contracts.faults import Fault, FaultKind, TcpFaults
from obstore.store import S3Store

from nexus_core.spi import Body, ObjectAttributes, Runtime, Scope, SecretRef

ROOT = Path(__file__).resolve().parents[3]
SCOPE = Scope("t1", "prod")
ATTRIBUTES = ObjectAttributes(
    content_type="application/octet-stream", metadata={}, system={"stamp": "0" * 64}
)
# How large, how many in a round, and how many rounds.
SIZES = {
    "1 KiB": (1 << 10, 30, 24),
    "1 MiB": (1 << 20, 8, 8),
    "64 MiB": (64 << 20, 1, 6),
    "256 MiB": (256 << 20, 1, 3),
}
WORKED, LISTINGS, FAR = 5, 3, 10
MANY, FEW, FLIGHT = 10_000, 1000, 64
LATENCY = 0.015

Info = dict[str, Any]


class Nexus:
    """The store, as the core calls it: create once, and read with the digest checked."""

    transport: Literal["sdk", "obstore"] = "sdk"

    def __init__(self, info: Info, bucket: str, spool: Path) -> None:
        os.environ["BENCH_KEY"], os.environ["BENCH_SECRET"] = info["access_key"], info["secret_key"]
        config = nexus_s3.S3Config(
            endpoint=info["url"],
            region=info["region"],
            bucket=bucket,
            access_key=SecretRef(env="BENCH_KEY"),
            secret_key=SecretRef(env="BENCH_SECRET"),
            transport=self.transport,
            spool=str(spool),
            connections=FLIGHT,
        )
        spec = nexus_s3.nexus_raw_store()
        runtime = Runtime(store="raw", base=spool, now=lambda: time.time_ns() // 1000)
        assert spec.provision is not None
        assert spec.prove is not None
        spec.provision(config, runtime)
        # As the core opens it: with what `nexus init` proved of the engine.
        proved = attrs.evolve(runtime, proofs=dict(spec.prove(config, runtime)))
        self.store: Any = spec.factory(config, proved)

    def put(self, key: str, data: bytes) -> None:
        self.store.put(SCOPE, key, Body(data), ATTRIBUTES, if_absent=True)

    def get(self, key: str) -> int:
        with self.store.open(SCOPE, key) as stream:
            body = Body(stream.chunks, sha256=stream.info.sha256, size=stream.info.size)
            return sum(len(chunk) for chunk in body)

    def list(self, prefix: str) -> int:
        count, after = 0, None
        while True:
            page = self.store.list(SCOPE, prefix=prefix, after=after)
            count += len(page.items)
            if (after := page.next_after) is None:
                return count

    def delete(self, keys: Sequence[str]) -> None:
        assert not self.store.delete_many(SCOPE, keys)


class NexusFast(Nexus):
    """The same, with its small requests carried by obstore."""

    transport = "obstore"


class Boto3:
    """boto3's own transfer manager."""

    def __init__(self, info: Info, bucket: str, spool: Path) -> None:
        self.bucket = bucket
        self.client = boto3.client(
            "s3",
            endpoint_url=info["url"],
            region_name=info["region"],
            aws_access_key_id=info["access_key"],
            aws_secret_access_key=info["secret_key"],
            config=botocore.config.Config(
                max_pool_connections=FLIGHT,
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, key: str, data: bytes) -> None:
        self.client.upload_fileobj(io.BytesIO(data), self.bucket, key)

    def get(self, key: str) -> int:
        out = io.BytesIO()
        self.client.download_fileobj(self.bucket, key, out)
        return out.tell()

    def list(self, prefix: str) -> int:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return sum(len(page.get("Contents", ())) for page in found)

    def delete(self, keys: Sequence[str]) -> None:
        named = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        self.client.delete_objects(Bucket=self.bucket, Delete=named)


class Boto3Same(Boto3):
    """boto3, made to create once, to keep a digest, and to check it."""

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            IfNoneMatch="*",
            Metadata={"sha256": hashlib.sha256(data).hexdigest()},
        )

    def get(self, key: str) -> int:
        answer = self.client.get_object(Bucket=self.bucket, Key=key)
        size, digest = 0, hashlib.sha256()
        for chunk in answer["Body"].iter_chunks(1 << 20):
            digest.update(chunk)
            size += len(chunk)
        assert digest.hexdigest() == answer["Metadata"]["sha256"]
        return size


class S3fs:
    """s3fs, with its caches off."""

    def __init__(self, info: Info, bucket: str, spool: Path) -> None:
        self.bucket = bucket
        self.fs = s3fs.S3FileSystem(
            key=info["access_key"],
            secret=info["secret_key"],
            endpoint_url=info["url"],
            client_kwargs={"region_name": info["region"]},
            config_kwargs={
                "max_pool_connections": FLIGHT,
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def put(self, key: str, data: bytes) -> None:
        self.fs.pipe_file(f"{self.bucket}/{key}", data)

    def get(self, key: str) -> int:
        return len(self.fs.cat_file(f"{self.bucket}/{key}"))

    def list(self, prefix: str) -> int:
        return len(self.fs.find(f"{self.bucket}/{prefix}"))

    def delete(self, keys: Sequence[str]) -> None:
        self.fs.rm([f"{self.bucket}/{key}" for key in keys])


class SmartOpen:
    """smart_open, over boto3."""

    def __init__(self, info: Info, bucket: str, spool: Path) -> None:
        self.bucket = bucket
        self.options = {"client": Boto3(info, bucket, spool).client}

    def put(self, key: str, data: bytes) -> None:
        with smart_open.open(
            f"s3://{self.bucket}/{key}", "wb", transport_params=self.options
        ) as out:
            out.write(data)

    def get(self, key: str) -> int:
        with smart_open.open(
            f"s3://{self.bucket}/{key}", "rb", transport_params=self.options
        ) as file:
            return len(file.read())


class Obstore:
    """obstore, in Rust."""

    def __init__(self, info: Info, bucket: str, spool: Path) -> None:
        self.store = S3Store(
            bucket,
            endpoint=info["url"],
            region=info["region"],
            access_key_id=info["access_key"],
            secret_access_key=info["secret_key"],
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self.store, key, data)

    def get(self, key: str) -> int:
        return len(obstore.get(self.store, key).bytes())

    def list(self, prefix: str) -> int:
        return sum(len(batch) for batch in obstore.list(self.store, prefix=prefix))

    def delete(self, keys: Sequence[str]) -> None:
        obstore.delete(self.store, list(keys))


class ObstoreSame(Obstore):
    """obstore, made to create once, to keep a digest, and to check it."""

    def put(self, key: str, data: bytes) -> None:
        digest = {"sha256": hashlib.sha256(data).hexdigest()}
        obstore.put(self.store, key, data, attributes=digest, mode="create", use_multipart=False)

    def get(self, key: str) -> int:
        answer = obstore.get(self.store, key)
        size, digest = 0, hashlib.sha256()
        for chunk in answer.stream(1 << 20):
            digest.update(chunk)
            size += len(chunk)
        assert digest.hexdigest() == answer.attributes["sha256"]
        return size


KINDS: dict[str, Any] = {
    "boto3": Boto3,
    "boto3_same": Boto3Same,
    "nexus": Nexus,
    "nexus_obstore": NexusFast,
    "s3fs": S3fs,
    "smart_open": SmartOpen,
    "obstore": Obstore,
    "obstore_same": ObstoreSame,
}
TO = ("boto3", "boto3_same", "obstore", "obstore_same")
ROWS = ("sizes", "processor", "many", "far")


@contextmanager
def server(name: str) -> Iterator[Info]:
    """A server of the checkout's, with its address."""
    with subprocess.Popen(  # noqa: S603  # a program of this checkout
        [sys.executable, "-m", "tools.servers", name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        info: Info = json.loads(child.stdout.readline())
        yield {**info, "url": f"http://{info['host']}:{info['port']}"}
        assert child.stdin is not None
        child.stdin.close()


def took(work: Callable[[], object]) -> float:
    """Seconds that something took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def worked(work: Callable[[], object]) -> float:
    """Seconds that this process's own processors spent on something."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def in_turn(all_of_them: dict[str, Any], turn: int) -> list[tuple[str, Any]]:
    """All of them, in the order of one round, which is another each time: what one leaves to do to
    the server falls to whoever comes next."""
    return random.Random(turn).sample(list(all_of_them.items()), len(all_of_them))  # noqa: S311


def show(what: str, unit: str, rates: dict[str, list[float]]) -> None:
    """One line of the table."""
    middle = {name: statistics.median(each) for name, each in rates.items() if each}
    cells = "".join(
        f" | {middle[name]:7.1f} ({', '.join(f'{middle[name] / middle[to]:.2f}' for to in TO)})"
        if name in middle
        else " | –"
        for name in KINDS
    )
    sys.stdout.write(f"| {what:22} {unit:6}{cells} |\n")
    sys.stdout.flush()


def serially(work: Callable[..., object], keys: Sequence[str], *more: bytes) -> None:
    """Do something with each key, one after the other."""
    for key in keys:
        work(key, *more)


def at_once(pool: ThreadPoolExecutor, work: Callable[[str], object], keys: Sequence[str]) -> None:
    """Do something with each key, as many at once as the pool has threads."""
    list(pool.map(work, keys))


def sizes(all_of_them: dict[str, Any]) -> None:
    """Puts and gets, one after the other."""
    for label, (size, count, rounds) in SIZES.items():
        data = os.urandom(size)
        puts: dict[str, list[float]] = {name: [] for name in all_of_them}
        gets: dict[str, list[float]] = {name: [] for name in all_of_them}
        for turn in range(rounds):
            for name, each in in_turn(all_of_them, turn):
                keys = [f"{label.replace(' ', '')}/{turn}/{number}" for number in range(count)]
                puts[name].append(count / took(partial(serially, each.put, keys, data)))
                gets[name].append(count / took(partial(serially, each.get, keys)))
        show(f"put {label}", "op/s", puts)
        show(f"get {label}", "op/s", gets)


def processor(all_of_them: dict[str, Any]) -> None:
    """What a small request costs this side: requests for each second that its processors work."""
    puts: dict[str, list[float]] = {name: [] for name in all_of_them}
    gets: dict[str, list[float]] = {name: [] for name in all_of_them}
    for turn in range(WORKED):
        for name, each in in_turn(all_of_them, turn):
            keys = names(f"processor/{turn}", 100)
            puts[name].append(100 / worked(partial(serially, each.put, keys, b"x" * 1024)))
            gets[name].append(100 / worked(partial(serially, each.get, keys)))
    show("put 1 KiB, processor", "op/s", puts)
    show("get 1 KiB, processor", "op/s", gets)


def many(all_of_them: dict[str, Any]) -> None:
    """Listing ten thousand objects, deleting a thousand."""
    listed: dict[str, list[float]] = {name: [] for name in all_of_them}
    deleted: dict[str, list[float]] = {name: [] for name in all_of_them}
    able = {name: each for name, each in all_of_them.items() if hasattr(each, "list")}
    for each in able.values():
        with ThreadPoolExecutor(8) as pool:
            at_once(pool, partial(_put, each, b""), names("many", MANY))
    keys = names("many", MANY)
    for turn in range(LISTINGS):
        for name, each in in_turn(able, turn):
            listed[name].append(1 / took(partial(each.list, "many/")))
    for turn in range(LISTINGS):
        for name, each in in_turn(able, turn):
            few = keys[turn * FEW : (turn + 1) * FEW]
            deleted[name].append(1 / took(partial(each.delete, few)))
    show(f"list {MANY}", "/s", listed)
    show(f"delete {FEW}", "/s", deleted)


def _put(contender: Any, data: bytes, key: str) -> None:
    contender.put(key, data)


def names(folder: str, count: int) -> list[str]:
    """Keys of objects."""
    return [f"{folder}/{number:06}" for number in range(count)]


def far(all_of_them: dict[str, Any]) -> None:
    """Small objects with many requests in flight, on a road that takes 15 ms there and back."""
    puts: dict[str, list[float]] = {name: [] for name in all_of_them}
    gets: dict[str, list[float]] = {name: [] for name in all_of_them}
    for turn in range(FAR):
        for name, each in in_turn(all_of_them, turn):
            keys = names(f"far/{turn}", FLIGHT * 4)
            with ThreadPoolExecutor(FLIGHT) as pool:
                put = partial(at_once, pool, partial(_put, each, b"x" * 1024), keys)
                puts[name].append(len(keys) / took(put))
                gets[name].append(len(keys) / took(partial(at_once, pool, each.get, keys)))
    show(f"put 1 KiB, far, {FLIGHT}", "op/s", puts)
    show(f"get 1 KiB, far, {FLIGHT}", "op/s", gets)


@contextmanager
def road(info: Info) -> Iterator[Info]:
    """The same server, 15 ms away there and back.

    What makes it far is a process of its own: in this one it would wait for whoever computes.
    """
    with subprocess.Popen(  # noqa: S603  # this very program
        [sys.executable, __file__, "--road", f"{info['host']}:{info['port']}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        yield {**info, "url": f"http://127.0.0.1:{int(child.stdout.readline())}"}
        assert child.stdin is not None
        child.stdin.close()


def be_the_road(address: str) -> None:
    """Print a port that leads to an address, late, until standard input closes."""
    host, _, port = address.rpartition(":")
    faults = TcpFaults([(host, int(port))], lambda _, own: own)
    with faults.inject(Fault(FaultKind.LATENCY, seconds=LATENCY / 2)):
        sys.stdout.write(f"{faults.proxies[0].port}\n")
        sys.stdout.flush()
        sys.stdin.read()
    faults.close()


def contenders(info: Info, folder: Path, token: str) -> dict[str, Any]:
    """All of them, each on a bucket of its own."""
    maker = Boto3(info, "", folder).client
    made = {}
    for name, kind in KINDS.items():
        bucket = f"bench-{token}-{name.replace('_', '-')}"
        maker.create_bucket(Bucket=bucket)
        made[name] = kind(info, bucket, folder)
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The store beside other clients of S3.")
    parser.add_argument("server", nargs="?", default="radosgw", help="one of tools/servers")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="only these")
    parser.add_argument("--road", metavar="HOST:PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.road is not None:
        be_the_road(options.road)
        return
    with server(options.server) as info, tempfile.TemporaryDirectory() as folder:
        heads = "".join(f" | {each}" for each in KINDS)
        sys.stdout.write(f"| {options.server} (ratios to {', '.join(TO)}){heads} |\n")
        near = contenders(info, Path(folder), "near")
        for name, row in (("sizes", sizes), ("processor", processor), ("many", many)):
            if name in options.rows:
                row(near)
        if "far" in options.rows:
            with road(info) as distant:
                far(contenders(distant, Path(folder), "far"))


if __name__ == "__main__":
    main()
