"""Laws of the asynchronous facade: the same calls, the same answers, and no way to hang."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import warnings
from typing import Any

import pytest

from nexus_core import (
    AsyncNexus,
    AsyncRequest,
    ClosedError,
    NotFoundError,
    Request,
    Source,
)
from nexus_core._aio import handles
from nexus_core._handles import assets, atoms, audit, definitions, lineage, raw, vectors

from .conftest import World, context

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}
PAIRS = [
    (getattr(module, name), getattr(handles, f"Async{name}"))
    for module, name in (
        (raw, "RawHandle"),
        (assets, "AssetsHandle"),
        (atoms, "AtomsHandle"),
        (vectors, "VectorsHandle"),
        (lineage, "LineageHandle"),
        (definitions, "DefinitionsHandle"),
        (audit, "AuditHandle"),
    )
] + [(Request, AsyncRequest)]


def public(kind: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("_") and not inspect.ismemberdescriptor(value)
    }


@pytest.mark.parametrize(("sync", "mirror"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_mirror_offers_the_same_calls(sync: type, mirror: type) -> None:
    """Every public member has its twin, with the same parameters and defaults."""
    ours, theirs = public(sync), public(mirror)
    assert ours.keys() == theirs.keys()
    for name, member in ours.items():
        if inspect.isfunction(member):
            left = inspect.signature(inspect.unwrap(member)).parameters
            right = inspect.signature(theirs[name]).parameters
            assert list(left.values()) == list(right.values()), name


def test_answers_are_the_same(world: World) -> None:
    """What one writes the other reads, with equal answers and equal errors."""

    async def run() -> None:
        nexus = AsyncNexus(world.nexus)
        async with nexus.request(context()) as a:
            put = await a.raw.put("k", b"x" * 100_000, **OWN)
            with world.nexus.request(context()) as n:
                assert n.raw.get("k") == await a.raw.get("k")
                assert n.raw.head("k") == put
                with pytest.raises(NotFoundError) as left:
                    n.raw.get("absent")
                with pytest.raises(NotFoundError) as right:
                    await a.raw.get("absent")
                assert str(left.value) == str(right.value)
            async with a.raw.open("k") as stream:
                assert stream.object == put
                assert b"".join([chunk async for chunk in stream.chunks]) == b"x" * 100_000
            report = await a.ingest(
                [Source(logical_key="a", content_type="text/plain", body=b"bad cab\n")], **OWN
            )
            assert report.count("created") == 1
            assert len((await a.retrieve("cab")).hits) == 1
            assert (await a.audit.verify()).ok
            assert [line async for line in a.audit.export()]

    asyncio.run(run())


def test_two_hundred_tasks_over_four_scopes_stay_apart(world: World) -> None:
    """Interleaved tasks of four scopes each see exactly what their own scope wrote."""
    scopes = [("acme", "dev"), ("acme", "prod"), ("acme2", "dev"), ("acm", "dev")]

    async def task(nexus: AsyncNexus, number: int) -> None:
        tenant, env = scopes[number % 4]
        async with nexus.request(context(tenant, env)) as a:
            mark = f"{tenant}/{env}/{number}".encode()
            await a.raw.put(f"k{number // 4}", mark, **OWN)
            await asyncio.sleep((number * 7919 % 13) / 1000)
            assert (await a.raw.get(f"k{number // 4}")).data == mark
            for item in (await a.raw.list()).items:
                data = (await a.raw.get(item.key)).data.decode()
                assert data.startswith(f"{tenant}/{env}/")

    async def run() -> None:
        nexus = AsyncNexus(world.nexus, workers=8)
        await asyncio.gather(*(task(nexus, number) for number in range(200)))
        for tenant, env in scopes:
            async with nexus.request(context(tenant, env)) as a:
                assert len((await a.raw.list()).items) == 50
                assert (await a.audit.verify()).ok

    asyncio.run(run())


@pytest.mark.parametrize("name", ["put", "head", "open", "append", "delete", "list"])
def test_a_cancelled_call_finishes_behind_the_canceller(world: World, name: str) -> None:
    """A cancelled call ends with its outcome on record, and nobody else ever gets its answer."""
    began, go_on = threading.Event(), threading.Event()
    backend: Any = world.audit if name == "append" else world.raw
    honest = getattr(backend, name)

    def slow(*args: Any, **options: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return honest(*args, **options)

    async def work(a: AsyncRequest) -> None:
        await a.raw.put("k", b"CANARY", **OWN)
        await a.raw.get("k")
        await a.raw.list()
        await a.raw.delete("k")

    async def run() -> None:
        nexus = AsyncNexus(world.nexus, workers=2)
        setattr(backend, name, slow)
        async with nexus.request(context()) as a:
            task = asyncio.ensure_future(work(a))
            await asyncio.to_thread(began.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()
        delattr(backend, name)
        async with nexus.request(context("other")) as b:
            with pytest.raises(NotFoundError):
                await b.raw.get("k")
        await asyncio.to_thread(nexus._bridge.close)

    asyncio.run(run())
    with world.nexus.request(context(role="owner")) as n:
        report = n.audit.verify()
        assert (report.ok, report.unsettled) == (True, 0)


def test_a_child_process_never_hangs(world: World) -> None:
    """After a fork the child gets a clean error, though the pool's threads are gone."""

    async def run() -> None:
        nexus = AsyncNexus(world.nexus)
        async with nexus.request(context()) as a:
            await a.raw.put("k", b"x", **OWN)
            read, write = os.pipe()
            with warnings.catch_warnings():
                # Python 3.12 warns of threads that the child will lack; that is tried here.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                try:
                    a.raw.get("k").send(None)
                    answer = b"waits"
                except ClosedError:
                    answer = b"closed"
                except BaseException:  # noqa: BLE001  # whatever it is, the parent has to know
                    answer = b"other"
                os.write(write, answer)
                os._exit(0)
            os.close(write)
            assert os.read(read, 16) == b"closed"
            os.waitpid(child, 0)
            os.close(read)

    asyncio.run(run())


def test_close_finishes_what_was_begun(world: World) -> None:
    """Close waits for running calls, and later calls are refused."""

    async def run() -> None:
        async with AsyncNexus(world.nexus) as nexus, nexus.request(context()) as a:
            await a.raw.put("k", b"x", **OWN)
        with pytest.raises(ClosedError):
            await a.raw.get("k")

    asyncio.run(run())


def test_the_generated_mirror_is_current() -> None:
    """The checked-in mirror is what the generator writes today."""
    import subprocess
    import sys
    from pathlib import Path

    tool = Path(__file__).resolve().parents[2] / "tools" / "generate_async.py"
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0
