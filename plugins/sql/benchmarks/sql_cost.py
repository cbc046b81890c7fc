"""What the store costs, beside plain SQLAlchemy Core on the same table and settings.

    python plugins/sql/benchmarks/sql_cost.py [DIRECTORY]

Files go to DIRECTORY (a temporary one if left out) and are removed. Figures are medians.
"""

# ruff: noqa: T201  # a benchmark prints

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import nexus_sql
import sqlalchemy as sa
from nexus_sql._sqlite import _PRAGMAS, SqliteDatabase

from nexus_core.spi import (
    AtomBackend,
    AuditBackend,
    Insert,
    LogEntry,
    LogHead,
    Record,
    Runtime,
    Scope,
    new_id,
)

SCOPE = Scope("acme", "prod")
BATCH = 10_000
ROUNDS = 8


@contextmanager
def store(base: Path) -> Iterator[tuple[AtomBackend, AuditBackend, Path]]:
    with tempfile.TemporaryDirectory(dir=base) as directory:
        runtime = Runtime(store="main", base=Path(directory), now=lambda: 0)
        config = nexus_sql.SqlConfig(url="sqlite:///records.db")
        specs = nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()
        assert specs[0].provision is not None
        specs[0].provision(config, runtime)
        atoms, audit = (spec.factory(config, runtime) for spec in specs)
        assert isinstance(atoms, AtomBackend)
        assert isinstance(audit, AuditBackend)
        yield atoms, audit, runtime.path("records.db")
        atoms.close()
        audit.close()


def records(count: int) -> list[Record]:
    """Atoms with random ids, 300 bytes of body, and all their fields."""
    made = []
    for position in range(count):
        parent = os.urandom(2).hex() + "0" * 28
        fields: dict[str, str | int | float | bool] = {
            "kind": "data",
            "space": "main",
            "pii": True,
            "train_ok": False,
            "legal_hold": False,
            "created_at": 1_700_000_000_000_000 + position,
            "created_by": "alice",
            "asset": f"ast_{parent}",
            "parent": f"ast_{parent}",
            "operation": "paragraphs",
            "operation_version": "1",
            "position": position,
            "size": 300,
            "content_type": "text/plain",
            "subject": parent[:3],
        }
        body, stamp = os.urandom(150) * 2, os.urandom(32)
        made.append(Record("atoms", f"atm_{os.urandom(16).hex()}", 1, fields, body, stamp))
    return made


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@contextmanager
def plain_core(file: Path) -> Iterator[Callable[[list[Record]], float]]:
    """What ``connection.execute(insert(table), rows)`` takes, rows being ready dictionaries."""
    table = SqliteDatabase.tables.records["atoms"]

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file, isolation_level=None)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    engine = sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:

        def insert(rows: list[dict[str, Any]]) -> None:
            with connection.begin():
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.execute(sa.insert(table), rows)

        def measure(batch: list[Record]) -> float:
            rows = [
                {
                    "nx_tenant": SCOPE.tenant_id,
                    "nx_env": SCOPE.env,
                    "nx_id": record.id,
                    "nx_version": record.version,
                    "nx_body": record.body,
                    "nx_stamp": record.stamp,
                    "retain_until": None,
                    **record.fields,
                }
                for record in batch
            ]
            return timed(partial(insert, rows))

        yield measure


def bulk(base: Path) -> None:
    """In turns, so that whatever else the machine does meets all three alike."""
    times: dict[str, list[float]] = {"plain Core": [], "Insert(fail)": [], "Insert(keep)": []}
    with (
        store(base) as (_, _, file),
        store(base) as (failing, _, _),
        store(base) as (keeping, _, _),
        plain_core(file) as plain,
    ):
        for _ in range(ROUNDS):
            batch = records(BATCH)
            fail: list[Insert] = [Insert(record) for record in batch]
            keep: list[Insert] = [Insert(record, "keep") for record in batch]
            times["plain Core"].append(plain(batch))
            times["Insert(fail)"].append(timed(partial(failing.commit, SCOPE, fail)))
            times["Insert(keep)"].append(timed(partial(keeping.commit, SCOPE, keep)))
    least = statistics.median(times["plain Core"])
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:26} {BATCH / middle:9,.0f} rows/s   {middle / least:.2f} of the time")


def singles(base: Path) -> None:
    with store(base) as (atoms, _, _):
        made = records(600)
        writes = [timed(partial(atoms.commit, SCOPE, [Insert(r)])) for r in made]
        reads = [timed(partial(atoms.get, SCOPE, "atoms", [r.id])) for r in made]
        page = [timed(partial(atoms.query, SCOPE, "atoms", None, limit=500)) for _ in range(10)]
    print(f"commit of one              {statistics.median(writes) * 1e6:9.0f} us")
    print(f"get of one                 {statistics.median(reads) * 1e6:9.0f} us")
    print(f"query, each record         {statistics.median(page) / 500 * 1e6:9.1f} us")


def appends(base: Path) -> None:
    for size, rounds in ((1, 600), (100, 60), (1000, 10)):
        with store(base) as (_, audit, _):
            times, start = [], 0
            for _ in range(rounds):
                ids = [new_id() for _ in range((size + 1) // 2)]
                batch = [
                    LogEntry(
                        index=start + n,
                        leaf=os.urandom(171),
                        salt=os.urandom(32),
                        sealed=os.urandom(200),
                        subject_tag=os.urandom(32),
                        operation=ids[n // 2],
                        phase="intent" if n % 2 == 0 else "outcome",
                        recorded_at=start + n,
                    )
                    for n in range(size)
                ]
                head = LogHead(size=start + size, edge=os.urandom(320), checkpoint=os.urandom(250))
                times.append(timed(partial(audit.append, SCOPE, start, batch, head)))
                start += size
        middle = statistics.median(times)
        rate = size / middle
        print(f"append of {size:4d}             {rate:9,.0f} entries/s   {middle * 1e6:.0f} us")


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir())
    bulk(where)
    singles(where)
    appends(where)
