"""A MariaDB server, databases on it with users of their own, and both backends on one of them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import nexus_sql
import pytest

from nexus_core.spi import AtomBackend, AuditBackend, Runtime

PASSWORD = "NEXUS_TEST_MARIADB"  # the variable's name
RIGHTS = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX"
LIKE_THE_CORE = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"


@attrs.define
class Server:
    """A server, and what its superuser does there."""

    info: Mapping[str, Any]

    def sql(self, statement: str, *values: object, database: str | None = None) -> list[Any]:
        """Run one statement as the superuser; its rows."""
        connect: Any = import_module("pymysql").connect
        with (
            closing(
                connect(
                    host=self.info["host"],
                    port=self.info["port"],
                    user=self.info["user"],
                    password=self.info["password"],
                    database=database,
                    charset="utf8mb4",
                    autocommit=True,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def database(self, rights: str = RIGHTS, options: str = LIKE_THE_CORE) -> Database:
        """Make a database, and a user that has rights on it."""
        name, password = f"n_{secrets.token_hex(6)}", os.environ[PASSWORD]
        self.sql(f"CREATE DATABASE {name} {options}")
        self.sql(f"CREATE USER {name}@'%%' IDENTIFIED BY %s", password)
        self.sql(f"GRANT {rights} ON {name}.* TO {name}@'%'")
        return Database(self, name)


@attrs.frozen
class Database:
    """A database of one test, and what its superuser does there."""

    server: Server
    name: str

    def config(self, **settings: Any) -> nexus_sql.SqlConfig:
        """Settings of a store in it."""
        port = settings.pop("port", self.server.info["port"])
        plain = {"password": {"env": PASSWORD}, "tls": "disable", "busy_timeout_seconds": 10.0}
        url = f"mariadb+pymysql://{self.name}@127.0.0.1:{port}/{self.name}"
        return nexus_sql.SqlConfig.model_validate({"url": url, **plain, **settings})

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Run one statement in it as the superuser."""
        return self.server.sql(statement, *values, database=self.name)

    def tables(self) -> list[str]:
        """Names of its tables."""
        return [name for (name,) in self.sql("SHOW TABLES")]

    def rows(self) -> dict[str, bytes]:
        """Every row of every table, by table and position."""
        return {
            f"{table}/{number}": repr(row).encode()
            for table in self.tables()
            for number, row in enumerate(self.sql(f"SELECT * FROM {table}"))  # noqa: S608
        }

    def vanish(self) -> None:
        """Remove it, and leave the user who looks for it."""
        self.server.sql(f"DROP DATABASE IF EXISTS {self.name}")

    def drop(self) -> None:
        """Remove it and its user."""
        self.vanish()
        self.server.sql(f"DROP USER {self.name}@'%'")


@pytest.fixture(scope="session")
def mariadb(server: Callable[[str], Mapping[str, Any]]) -> Iterator[Server]:
    """The server that all tests share."""
    os.environ[PASSWORD] = secrets.token_hex(8)
    yield Server(server("mariadb"))
    del os.environ[PASSWORD]


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(store="main", base=tmp_path, now=lambda: 1_700_000_000_000_000)


@pytest.fixture
def empty(mariadb: Server) -> Iterator[Database]:
    """A database with nothing in it."""
    database = mariadb.database()
    yield database
    database.drop()


def provision(config: nexus_sql.SqlConfig, runtime: Runtime) -> list[str]:
    """Provision a store; what was done."""
    make = nexus_sql.nexus_atom_store().provision
    assert make is not None
    return list(make(config, runtime))


@pytest.fixture
def provisioned(empty: Database, runtime: Runtime) -> Database:
    """A database of its own, as provisioning leaves it."""
    provision(empty.config(), runtime)
    return empty


@pytest.fixture(scope="session")
def shared(mariadb: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = mariadb.database()
    base = tmp_path_factory.mktemp("mariadb")
    provision(database.config(), Runtime(store="main", base=base, now=lambda: 0))
    yield database
    database.drop()


@pytest.fixture
def place(shared: Database) -> Iterator[Database]:
    """A provisioned database without a row, which other tests have used and will use."""
    yield shared
    for table in shared.tables():
        if table != "nexus_schema":
            shared.sql(f"DELETE FROM {table}")  # noqa: S608  # names of its own


@pytest.fixture
def atoms(place: Database, runtime: Runtime) -> Iterator[AtomBackend]:
    backend = nexus_sql.nexus_atom_store().factory(place.config(), runtime)
    assert isinstance(backend, AtomBackend)
    yield backend
    backend.close()


@pytest.fixture
def audit(place: Database, runtime: Runtime) -> Iterator[AuditBackend]:
    backend = nexus_sql.nexus_audit_sink().factory(place.config(), runtime)
    assert isinstance(backend, AuditBackend)
    yield backend
    backend.close()


@attrs.define
class OwnServer(Server):
    """A server of one test, which may kill it and start it again."""

    running: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """End it at once, as the kernel does when memory is short."""
        os.kill(self.info["pid"], signal.SIGKILL)
        while self.answers():
            time.sleep(0.01)

    def answers(self) -> bool:
        """Whether anything listens at its port."""
        with socket.socket() as probe:
            return probe.connect_ex((self.info["host"], self.info["port"])) == 0

    def start(self, *options: str) -> None:
        """Start it over the files that it had."""
        # It ends when its standard input does, and so with this process however that ends.
        watched = 'trap "" HUP; "$@" & read -r _; kill $!; wait'
        self.running = subprocess.Popen(
            ["/bin/sh", "-c", watched, "sh", *self.info["restart"], *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            with contextlib.suppress(Exception):
                self.sql("SELECT 1")
                return
            time.sleep(0.05)
        raise AssertionError("the server did not come back")

    def stop(self) -> None:
        """End what this test started."""
        if self.running is not None:
            self.running.communicate()


@pytest.fixture
def own(mariadb: Server) -> Iterator[OwnServer]:
    """A server that no other test uses."""
    root = Path(__file__).resolve().parents[4]
    with subprocess.Popen(
        [sys.executable, "-m", "tools.servers", "mariadb"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        found = OwnServer(json.loads(child.stdout.readline()))
        try:
            yield found
        finally:
            found.stop()
