"""What the store costs on PostgreSQL, beside plain SQLAlchemy Core on the same server.

    python plugins/sql/benchmarks/postgresql_cost.py [--peers]

Starts a server of its own (``python -m tools.servers install postgres`` gets one) and removes it.
Plain Core writes and reads the same rows in tables that are defined alike and have no policies. All
take turns; figures are medians, and ratios to plain Core. ``--peers`` also measures what is in
``requirements-peers.txt``.
"""

# ruff: noqa: SLF001, T201  # a benchmark prints, and looks below the surface

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import nexus_sql
import sqlalchemy as sa
from nexus_sql._config import OwnerRef

from nexus_core.spi import (
    And,
    AtomBackend,
    AuditBackend,
    Eq,
    Ge,
    Insert,
    LogEntry,
    LogHead,
    Record,
    Runtime,
    Scope,
    new_id,
)

SCOPE: Scope = import_module("sql_cost").SCOPE
records: Callable[[int], list[Record]] = import_module("sql_cost").records
ROOT = Path(__file__).resolve().parents[3]
BATCH, ROUNDS, APPEND, PAGE = 10_000, 7, 100, 500
Turn = Mapping[str, Callable[[], object]]


@contextmanager
def server() -> Iterator[str]:
    """A fresh server; the URL of its superuser, without a driver."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tools.servers", "postgres"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    info = json.loads(child.stdout.readline())
    try:
        yield f"postgresql+psycopg://{info['user']}@{info['host']}:{info['port']}/postgres"
    finally:
        child.stdin.close()
        child.wait()


@contextmanager
def store(url: str) -> Iterator[tuple[AtomBackend, AuditBackend]]:
    os.environ["NEXUS_BENCH_OWNER"] = url
    config = nexus_sql.SqlConfig(
        url=url.replace("postgres@", "nexus_app@"),
        schema_name="nexus",
        owner=OwnerRef(env="NEXUS_BENCH_OWNER"),
        tls="disable",
    )
    runtime = Runtime(store="main", base=Path(), now=lambda: 0)
    specs = nexus_sql.nexus_atom_store(), nexus_sql.nexus_audit_sink()
    assert specs[0].provision is not None
    specs[0].provision(config, runtime)
    atoms, audit = (spec.factory(config, runtime) for spec in specs)
    assert isinstance(atoms, AtomBackend)
    assert isinstance(audit, AuditBackend)
    yield atoms, audit
    atoms.close()
    audit.close()


class Plain:
    """Plain Core: ready rows, one connection, one transaction for each call."""

    def __init__(self, url: str, tables: Any) -> None:
        options = "-c synchronous_commit=on"
        self.engine = sa.create_engine(url, connect_args={"options": options})
        metadata = sa.MetaData(schema="plain")
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA plain")
        self.tables = {
            table.name: table.to_metadata(metadata, schema="plain")
            for table in (*tables.records.values(), *tables.logs)
        }
        metadata.create_all(self.engine)

    def write(self, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        with self.engine.begin() as connection:
            for name, each in rows.items():
                connection.execute(sa.insert(self.tables[name]), each)

    def read(self, statement: sa.Select[Any]) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(statement).all())


def row_of(record: Record) -> dict[str, Any]:
    return {
        "nx_tenant": SCOPE.tenant_id,
        "nx_env": SCOPE.env,
        "nx_id": record.id,
        "nx_version": record.version,
        "nx_body": record.body,
        "nx_stamp": record.stamp,
        "retain_until": None,
        **record.fields,
    }


def turns(name: str, size: int, rounds: int, make: Callable[[], Turn]) -> None:
    """Measure each of several ways in turn, and print them beside the first."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way, call in make().items():
            began = time.perf_counter()
            call()
            times.setdefault(way, []).append(time.perf_counter() - began)
    least = statistics.median(next(iter(times.values())))
    for way, taken in times.items():
        middle = statistics.median(taken)
        print(
            f"{name:24} {way:12} {middle * 1e3:9.2f} ms {size / middle:10,.0f}/s"
            f"   {middle / least:.2f}",
            flush=True,
        )


def entries(start: int) -> tuple[list[LogEntry], LogHead]:
    ids = [new_id() for _ in range(APPEND // 2)]
    made = [
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
        for n in range(APPEND)
    ]
    return made, LogHead(size=start + APPEND, edge=os.urandom(320), checkpoint=os.urandom(250))


def measure(url: str, *, peers: bool) -> None:
    with store(url) as (atoms, audit):
        plain = Plain(url, atoms._database.tables)  # type: ignore[attr-defined]
        table = plain.tables["record_atoms"]
        here = (table.c.nx_tenant == SCOPE.tenant_id, table.c.nx_env == SCOPE.env)
        known: list[Record] = []

        def bulk() -> Turn:
            batch = records(BATCH)
            known[:] = batch
            rows = {"record_atoms": [row_of(record) for record in batch]}
            return {
                "plain Core": partial(plain.write, rows),
                "Insert(fail)": partial(atoms.commit, SCOPE, [Insert(r) for r in batch]),
            }

        def keep() -> Turn:
            batch = records(BATCH)
            rows = {"record_atoms": [row_of(record) for record in batch]}
            return {
                "plain Core": partial(plain.write, rows),
                "Insert(keep)": partial(atoms.commit, SCOPE, [Insert(r, "keep") for r in batch]),
            }

        def one() -> Turn:
            [record] = records(1)
            return {
                "plain Core": partial(plain.write, {"record_atoms": [row_of(record)]}),
                "Nexus": partial(atoms.commit, SCOPE, [Insert(record)]),
            }

        def get(count: int) -> Turn:
            ids = [record.id for record in known[:count]]
            statement = sa.select(table).where(*here, table.c.nx_id.in_(ids))
            return {
                "plain Core": partial(plain.read, statement),
                "Nexus": partial(atoms.get, SCOPE, "atoms", ids),
            }

        def page() -> Turn:
            where = And((Eq("kind", "data"), Ge("position", 100)))
            statement = (
                sa.select(table)
                .where(*here, table.c.kind == "data", table.c.position >= 100)
                .order_by(table.c.nx_id)
                .limit(PAGE)
            )
            return {
                "plain Core": partial(plain.read, statement),
                "Nexus": partial(atoms.query, SCOPE, "atoms", where, limit=PAGE),
            }

        size = [0]

        def append() -> Turn:
            batch, head = entries(size[0])
            scope = {"nx_tenant": SCOPE.tenant_id, "nx_env": SCOPE.env}
            rows: dict[str, list[dict[str, Any]]] = {
                "log_checkpoints": [{**scope, "size": head.size, "checkpoint": head.checkpoint}],
                "log_entries": [
                    {
                        **scope,
                        "position": each.index,
                        "leaf": each.leaf,
                        "salt": each.salt,
                        "sealed": each.sealed,
                        "subject_tag": each.subject_tag,
                        "operation": each.operation,
                        "phase": each.phase,
                        "recorded_at": each.recorded_at,
                    }
                    for each in batch
                ],
            }
            start, size[0] = size[0], head.size
            return {
                "plain Core": partial(plain.write, rows),
                "Nexus": partial(audit.append, SCOPE, start, batch, head),
            }

        turns(f"put of {BATCH}", BATCH, ROUNDS, bulk)
        turns(f"put of {BATCH}", BATCH, ROUNDS, keep)
        turns("put of 1", 1, 200, one)
        # What the server does by itself after a while, so that both are planned alike.
        with plain.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        turns("get of 1", 1, 300, partial(get, 1))
        turns("get of 500", 500, 30, partial(get, 500))
        turns(f"filtered page of {PAGE}", PAGE, 30, page)
        turns(f"append of {APPEND}", APPEND, 40, append)
        if peers:
            against_peers(url, atoms)


def against_peers(url: str, atoms: AtomBackend) -> None:
    """LangChain's record manager keeps a key, a namespace, a group and a time for each document.

    It is given as many keys as there are records. A record holds twenty fields and a body, so the
    peer writes a fraction of the bytes.
    """
    manager = import_module("langchain_classic.indexes").SQLRecordManager("bench", db_url=url)
    manager.create_schema()
    some: list[Record] = []

    def put() -> Turn:
        batch = records(1000)
        some[:] = batch
        ids = [record.id for record in batch]
        return {
            "LangChain": partial(manager.update, ids, group_ids=["g"] * len(ids)),
            "Nexus": partial(atoms.commit, SCOPE, [Insert(record) for record in batch]),
        }

    def there() -> Turn:
        ids = [record.id for record in some]
        return {
            "LangChain": partial(manager.exists, ids),
            "Nexus": partial(atoms.get, SCOPE, "atoms", ids),
        }

    turns("put of 1000", 1000, 15, put)
    turns("look-up of 1000", 1000, 15, there)


if __name__ == "__main__":
    with server() as superuser:
        measure(superuser, peers="--peers" in sys.argv[1:])
