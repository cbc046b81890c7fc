"""Another process at work on a store; the tests start it and read what it says, line by line.

``python filesystem_worker.py BASE MODE ...``
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from nexus_filesystem import FilesystemConfig, nexus_raw_store

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ObjectAttributes,
    PreconditionFailedError,
    RawBackend,
    Runtime,
    Scope,
    StoreError,
)

ATTRIBUTES = ObjectAttributes(content_type="text/plain", metadata={}, system={})
SIZES = (0, 1, 4000, 70_000, 2_500_000)


def build(base: str) -> RawBackend:
    runtime = Runtime(store="raw", base=Path(base), now=lambda: time.time_ns() // 1000)
    return cast("RawBackend", nexus_raw_store().factory(FilesystemConfig(root="raw"), runtime))


def say(*words: object) -> None:
    # One write for one line, however output is buffered: several processes may share it.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def content(key: str, turn: int) -> bytes:
    """Bytes that tell which write they are from."""
    seed = hashlib.sha256(f"{key} {turn}".encode()).digest()
    size = SIZES[turn % len(SIZES)]
    return (seed * (size // len(seed) + 1))[:size]


def create(store: RawBackend, name: str, count: str) -> None:
    """Try to create ``count`` keys that others want too; tell which were ours."""
    say("ready")
    sys.stdin.readline()
    won = []
    for number in range(int(count)):
        try:
            store.put(
                Scope("t1", "dev"), f"k{number}", Body(name.encode()), ATTRIBUTES, if_absent=True
            )
            won.append(number)
        except AlreadyExistsError:
            pass
    say(json.dumps(won))


def count(store: RawBackend, times: str) -> None:
    """Add one to a counter, by compare-and-set, ``times`` times."""
    say("ready")
    sys.stdin.readline()
    done = 0
    while done < int(times):
        with store.open(Scope("t1", "dev"), "counter") as stream:
            value = int(b"".join(stream.chunks))
        try:
            body = Body(str(value + 1).encode())
            store.put(Scope("t1", "dev"), "counter", body, ATTRIBUTES, if_match=stream.info.etag)
            done += 1
        except PreconditionFailedError:
            pass
    say(done)


def fill(store: RawBackend, limit: str) -> None:
    """Replace an object by one that is larger than the system allows a file to be."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        store.put(Scope("t1", "dev"), "k", Body(_endless()), ATTRIBUTES)
    except StoreError as error:
        say(error.code, error.outcome)


def _endless() -> Iterator[bytes]:
    while True:
        yield bytes(1 << 16)


def die(store: RawBackend, rounds: str) -> None:
    """Be killed at a random moment, again and again; tell what was begun and what was acknowledged.

    Each round is a fork, which costs no start of Python; the test checks the store between rounds.
    """
    chance = random.Random(7)  # noqa: S311  # the same moments in every run
    for turn in range(int(rounds)):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _change_until_killed(store, writer, turn)
        os.close(writer)
        time.sleep(chance.uniform(0.0005, 0.025))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader) as pipe:
            say(json.dumps([line.split() for line in pipe.read().splitlines()]))
        sys.stdin.readline()


def _change_until_killed(store: RawBackend, writer: int, turn: int) -> None:
    chance = random.Random(turn)  # noqa: S311
    scope = Scope("t1", "dev")
    for step in range(100_000):
        key = chance.choice(("n", "n/m", "n/m/o", "p/q/r", f"new/{turn}/{step}"))
        number = turn * 1000 + step
        verb = chance.choice(("put", "put", "put", "delete"))
        os.write(writer, f"begin {verb} {key} {number}\n".encode())
        if verb == "put":
            store.put(scope, key, Body(content(key, number)), ATTRIBUTES)
        else:
            store.delete(scope, key)
        os.write(writer, f"done {verb} {key} {number}\n".encode())
    os._exit(1)


MODES: dict[str, Callable[..., None]] = {"create": create, "count": count, "fill": fill, "die": die}

if __name__ == "__main__":
    base, mode, *arguments = sys.argv[1:]
    MODES[mode](build(base), *arguments)
