"""What the store costs, beside plain SQLAlchemy Core on the same table and settings.

    python plugins/sql/benchmarks/sql_cost.py [DIRECTORY]
    python plugins/sql/benchmarks/sql_cost.py --server NAME

The first measures SQLite: files go to DIRECTORY (a temporary one if left out) and are removed. The
second starts a server of ``tools/servers`` and measures there. Figures are medians.
"""

# ruff: noqa: T201  # a benchmark prints

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import nexus_sql
import sqlalchemy as sa
from nexus_sql._sqlite import _PRAGMAS, SqliteDatabase
from sqlalchemy.pool import NullPool

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


@attrs.frozen
class Place:
    """A database of one measurement: the store's settings, and a plain way to the same place."""

    config: nexus_sql.SqlConfig
    runtime: Runtime
    engine: Callable[[], sa.Engine]
    table: sa.Table
    begin: str


@contextmanager
def on_sqlite(base: Path) -> Iterator[Place]:
    """A file of its own."""
    with tempfile.TemporaryDirectory(dir=base) as directory:
        runtime = Runtime(store="main", base=Path(directory), now=lambda: 0)

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(runtime.path("records.db"), isolation_level=None)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            return connection

        yield Place(
            nexus_sql.SqlConfig(url="sqlite:///records.db"),
            runtime,
            lambda: sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool),
            SqliteDatabase.tables.records["atoms"],
            "BEGIN IMMEDIATE",
        )


@contextmanager
def on_mariadb(info: Mapping[str, Any]) -> Iterator[Place]:
    """A database of its own, as the server's superuser."""
    from nexus_sql._mariadb import MariadbDatabase

    name = f"n_{os.urandom(6).hex()}"
    server = f"mariadb+pymysql://{info['user']}@{info['host']}:{info['port']}/"
    os.environ["NEXUS_BENCHMARK"] = info["password"]

    def engine(database: str) -> sa.Engine:
        url = sa.make_url(server + database).set(password=info["password"])
        return sa.create_engine(url, poolclass=NullPool)

    with engine("mysql").connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
        )
        yield Place(
            nexus_sql.SqlConfig.model_validate(
                {"url": server + name, "password": {"env": "NEXUS_BENCHMARK"}, "tls": "disable"}
            ),
            Runtime(store="main", base=Path(), now=lambda: 0),
            partial(engine, name),
            MariadbDatabase.tables.records["atoms"],
            "BEGIN",
        )
        connection.exec_driver_sql(f"DROP DATABASE {name}")


SERVERS: dict[str, Callable[[Mapping[str, Any]], AbstractContextManager[Place]]] = {
    "mariadb": on_mariadb,
}
Make = Callable[[], AbstractContextManager[Place]]


@contextmanager
def server(name: str) -> Iterator[Mapping[str, Any]]:
    """A server of ``tools/servers``, and what a client must know of it."""
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(  # noqa: S603  # a program of this checkout
        [sys.executable, "-m", "tools.servers", name],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())


@contextmanager
def store(make: Make) -> Iterator[tuple[AtomBackend, AuditBackend, Place]]:
    with make() as place:
        specs = nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()
        assert specs[0].provision is not None
        specs[0].provision(place.config, place.runtime)
        atoms, audit = (spec.factory(place.config, place.runtime) for spec in specs)
        assert isinstance(atoms, AtomBackend)
        assert isinstance(audit, AuditBackend)
        yield atoms, audit, place
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
def plain_core(place: Place) -> Iterator[Callable[[list[Record]], float]]:
    """What ``connection.execute(insert(table), rows)`` takes, rows being ready dictionaries."""
    table = place.table
    with place.engine().connect() as connection:

        def insert(rows: list[dict[str, Any]]) -> None:
            with connection.begin():
                connection.exec_driver_sql(place.begin)
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


def bulk(make: Make) -> None:
    """In turns, so that whatever else the machine does meets all three alike."""
    times: dict[str, list[float]] = {"plain Core": [], "Insert(fail)": [], "Insert(keep)": []}
    with (
        store(make) as (_, _, place),
        store(make) as (failing, _, _),
        store(make) as (keeping, _, _),
        plain_core(place) as plain,
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


def singles(make: Make) -> None:
    with store(make) as (atoms, _, _):
        made = records(600)
        writes = [timed(partial(atoms.commit, SCOPE, [Insert(r)])) for r in made]
        reads = [timed(partial(atoms.get, SCOPE, "atoms", [r.id])) for r in made]
        page = [timed(partial(atoms.query, SCOPE, "atoms", None, limit=500)) for _ in range(10)]
    print(f"commit of one              {statistics.median(writes) * 1e6:9.0f} us")
    print(f"get of one                 {statistics.median(reads) * 1e6:9.0f} us")
    print(f"query, each record         {statistics.median(page) / 500 * 1e6:9.1f} us")


def appends(make: Make) -> None:
    for size, rounds in ((1, 600), (100, 60), (1000, 10)):
        with store(make) as (_, audit, _):
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


def measure(make: Make) -> None:
    """Everything, at places that ``make`` makes."""
    bulk(make)
    singles(make)
    appends(make)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--server"]:
        with server(sys.argv[2]) as info:
            measure(partial(SERVERS[sys.argv[2]], info))
    else:
        measure(partial(on_sqlite, Path(sys.argv[1] if sys.argv[1:] else tempfile.gettempdir())))
