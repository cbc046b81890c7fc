"""What the core costs around a backend call: context, permission, guard, without the audit commit.

Every figure is a handle's call minus the same backend's own, in one run, over backends in memory
that answer at once. Access records are left out, because their cost is a durable commit; the last
lines have them, made and signed, with a sink in memory. Time is the thread's own on the processor:
nothing here waits, so other work on the machine hardly counts.

    python benchmarks/core_cost.py
"""

from __future__ import annotations

import gc
import itertools
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from nexus_contracts.memory import plugin

from nexus_core import Action, Nexus, RequestContext, VectorItem
from nexus_core._config import load
from nexus_core._handles.gate import Gate
from nexus_core._plugins import Registry
from nexus_core.spi import COLLECTIONS, Insert, StoreRole

CONFIG = """
version = 1
profile = "development"
[keys]
root = { env = "ROOT" }
[stores.memory]
backend = "memory"
[[routes]]
raw = "memory"
atoms = "memory"
vectors = "memory"
audit = "memory"
[embedders.mine]
external = true
use = "mine@1"
[[indexes]]
name = "tiny"
version = 1
dimension = 8
metric = "l2sq"
embedder = "mine@1"
"""
ROUNDS = 15
RECORDS = 500


def microseconds(call: Callable[[], object], repeat: int) -> float:
    """Median over rounds of the mean processor time of a call, garbage collection off."""
    times = []
    gc.disable()
    try:
        for _ in range(ROUNDS):
            began = time.thread_time_ns()
            for _ in range(repeat):
                call()
            times.append((time.thread_time_ns() - began) / repeat / 1000)
    finally:
        gc.enable()
    return statistics.median(times)


def unrecorded(*_: object) -> None:
    """Stand in for the access record, whose cost is a durable commit."""


def open_nexus(folder: Path) -> Nexus:
    """A deployment in memory."""
    path = folder / "nexus.toml"
    path.write_text(CONFIG, encoding="utf-8")
    registry = Registry.of({"memory": plugin})
    return Nexus.from_config(load(path, registry=registry, environ={"ROOT": secrets.token_hex(32)}))


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, open_nexus(Path(folder)) as nexus:
        context = RequestContext.build(
            tenant_id="acme", env="dev", actor_id="ana", actor_kind="human", role="admin"
        )
        with nexus.request(context) as n:
            n.raw.put("k", b"x", kind="data", space="s")
            rows = [VectorItem(id=f"v{i}", vector=[float(i)] * 8) for i in range(RECORDS)]
            n.vectors.upsert("tiny", rows, kind="data", space="s")
            ids = [row.id for row in rows]
            gate = n.raw._gate
            numbers = itertools.count()
            recorded = {
                "raw.head": microseconds(lambda: n.raw.head("k"), 200),
                "raw.put": microseconds(
                    lambda: n.raw.put(f"p{next(numbers)}", b"x", kind="data", space="s"), 100
                ),
            }
            Gate.accessed = unrecorded  # type: ignore[method-assign, assignment]  # the rest is what is measured
            scope = context.scope
            stores: dict[StoreRole, Any] = {
                role: nexus._deployment.stores["memory", role].backend for role in StoreRole
            }
            raw, vectors, atoms = (
                stores[role] for role in (StoreRole.RAW, StoreRole.VECTORS, StoreRole.ATOMS)
            )
            ledger = n._ingest._ledger
            fields = dict.fromkeys(COLLECTIONS["atoms"].required, 0)
            records = [
                attrs.evolve(ledger.record("atoms", f"a{i}", fields, {}), body=b"{}")
                for i in range(RECORDS)
            ]
            atoms.commit(scope, [Insert(record) for record in records])
            ref = vectors.get_index(scope, "tiny", 1)
            atom_ids = [record.id for record in records]
            print(f"Python {sys.version.split()[0]}; median of {ROUNDS} rounds, microseconds")
            print(f"{'call':34}{'backend':>10}{'handle':>10}{'core':>10}{'ratio':>8}")
            table = [
                ("raw.head", lambda: raw.head(scope, "k"), lambda: n.raw.head("k"), 2000),
                (
                    "ledger.get, 1 record",
                    lambda: atoms.get(scope, "atoms", atom_ids[:1]),
                    lambda: ledger.get("atoms", atom_ids[:1]),
                    2000,
                ),
                (
                    f"ledger.get, {RECORDS} records",
                    lambda: atoms.get(scope, "atoms", atom_ids),
                    lambda: ledger.get("atoms", atom_ids),
                    50,
                ),
                (
                    "vectors.get, 1 row",
                    lambda: vectors.get(scope, ref, ids[:1]),
                    lambda: n.vectors.get("tiny", ids[:1], version=1),
                    1000,
                ),
                (
                    f"vectors.get, {RECORDS} rows",
                    lambda: vectors.get(scope, ref, ids),
                    lambda: n.vectors.get("tiny", ids, version=1),
                    50,
                ),
            ]
            for name, direct, handled, repeat in table:
                below = microseconds(direct, repeat)
                above = microseconds(handled, repeat)
                ratio = above / below
                print(f"{name:34}{below:10.2f}{above:10.2f}{above - below:10.2f}{ratio:8.1f}")
            admitted = microseconds(lambda: gate.admit(Action.RAW_HEAD), 5000)
            print(f"{'admission alone':34}{'':>10}{admitted:10.2f}")
            for name, whole in recorded.items():
                print(f"{name + ', recorded':34}{'':>10}{whole:10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
