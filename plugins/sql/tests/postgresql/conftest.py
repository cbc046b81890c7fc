"""A PostgreSQL server, a database with an owner on it, and stores: each a schema of it."""

# ruff: noqa: S608  # names of tables and schemas, made here

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import nexus_sql
import psycopg
import pytest
from nexus_sql._config import OwnerRef

from nexus_core.spi import AtomBackend, AuditBackend, Runtime, Scope, SecretRef

DATABASE = "nexus_sql_tests"
OWNER, OWNER_PASSWORD = "nexus_sql_owner", 'owner\'s "p%40ss"'
APP, APP_PASSWORD = "nexus_sql_app", "app's p@ss"
VARIABLES = {
    "NEXUS_TEST_PG_PASSWORD": APP_PASSWORD,
    "NEXUS_TEST_PG_LOGINS": "what the logins' passwords come from",
}


@attrs.frozen
class Cluster:
    """A server, and what its superuser does there."""

    info: Mapping[str, Any]

    def connect(self, user: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """A connection behind the store's back; every statement commits at once."""
        given = {"host": self.info["host"], "port": self.info["port"], "dbname": DATABASE, **more}
        if user == "postgres" and self.info["password"]:
            given["password"] = self.info["password"]
        return psycopg.connect(user=user, autocommit=True, **given)

    def sql(self, statement: str, *values: object, **more: Any) -> list[Any]:
        """Run one statement as the superuser; its rows."""
        with self.connect(**more) as connection:
            done = connection.execute(statement, values or None)
            return done.fetchall() if done.description else []

    def url(self, user: str) -> str:
        """A store's URL."""
        return f"postgresql+psycopg://{user}@{self.info['host']}:{self.info['port']}/{DATABASE}"

    def store(self, **settings: Any) -> Store:
        """A store in a schema of its own, which is not there yet."""
        return Store(self, settings.pop("schema", f"s_{secrets.token_hex(6)}"), settings)


@attrs.frozen
class Store:
    """A schema, and the settings of the store that lives in it."""

    cluster: Cluster
    schema: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)

    def config(self, **settings: Any) -> nexus_sql.SqlConfig:
        """The store's settings, some of them changed."""
        given: dict[str, Any] = {
            "url": self.cluster.url(APP),
            "password": SecretRef(env="NEXUS_TEST_PG_PASSWORD"),
            "owner": OwnerRef(env="NEXUS_TEST_PG_OWNER"),
            "schema_name": self.schema,
            "tls": "disable",
            "pool_size": 8,
            **self.settings,
            **settings,
        }
        return nexus_sql.SqlConfig(**given)

    @property
    def runtime(self) -> Runtime:
        """What the core would hand over."""
        return Runtime(store="main", base=Path("/nowhere"), now=lambda: 1_700_000_000_000_000)

    def provision(self, **settings: Any) -> list[str]:
        """Provision it as the operator would."""
        provision = nexus_sql.nexus_atom_store().provision
        assert provision is not None
        return list(provision(self.config(**settings), self.runtime))

    def atoms(self, **settings: Any) -> AtomBackend:
        """Its atom store, opened."""
        backend = nexus_sql.nexus_atom_store().factory(self.config(**settings), self.runtime)
        assert isinstance(backend, AtomBackend)
        return backend

    def audit(self, **settings: Any) -> AuditBackend:
        """Its audit sink, opened."""
        backend = nexus_sql.nexus_audit_sink().factory(self.config(**settings), self.runtime)
        assert isinstance(backend, AuditBackend)
        return backend

    def problems(self, **settings: Any) -> list[tuple[str, str]]:
        """Codes and texts of what both roles report, which must be the same."""
        found = []
        for backend in (self.atoms(**settings), self.audit(**settings)):
            found.append([(problem.code, problem.what) for problem in backend.check()])
            backend.close()
        assert found[0] == found[1]
        return found[0]

    def sql(self, statement: str, *values: object, **more: Any) -> list[Any]:
        """Run one statement as the superuser; ``{}`` stands for the schema."""
        return self.cluster.sql(statement.replace("{}", self.schema), *values, **more)

    def as_app(self, scope: Scope | None = None) -> psycopg.Connection[Any]:
        """A connection as the store's own login, in a transaction of the scope if there is one."""
        connection = self.cluster.connect(APP, password=APP_PASSWORD)
        if scope is not None:
            connection.execute("BEGIN")
            name(connection, scope.tenant_id, scope.env)
        return connection

    def tables(self) -> list[str]:
        """Names of the tables that hold rows of scopes."""
        found = self.sql(
            "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace"
            " AND relkind = 'r' AND relname NOT IN ('nexus_schema', 'nexus_logins')"
            " ORDER BY 1"
        )
        return [row[0] for row in found]

    def rows(self) -> dict[str, bytes]:
        """Everything stored, row by row."""
        return {
            f"{table}/{row[0]}": row[1].encode()
            for table in self.tables()
            for row in self.sql(f"SELECT ctid::text, t::text FROM {{}}.{table} t")
        }

    def drop(self) -> None:
        """Remove it with all that is in it."""
        self.sql("DROP SCHEMA IF EXISTS {} CASCADE")


def name(connection: psycopg.Connection[Any], tenant: str, env: str) -> None:
    """Name a scope to the row policies, for the transaction that is open."""
    statement = "SELECT set_config('nexus.tenant', %s, true), set_config('nexus.env', %s, true)"
    connection.execute(statement, (tenant, env))


@pytest.fixture(scope="session")
def cluster(server: Callable[[str], Mapping[str, Any]]) -> Iterator[Cluster]:
    """A server where everybody has a password, but for the superuser of one that trusts him."""
    found = Cluster(server("postgres"))
    quoted = OWNER_PASSWORD.replace("'", "''")
    for statement in (
        f"CREATE DATABASE {DATABASE} ENCODING 'UTF8'",
        f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{quoted}'",
        f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}",
    ):
        found.sql(statement, dbname="postgres")
    [[version]] = found.sql("SELECT current_setting('server_version_num')::int")
    if version >= 160_000:
        # The suite makes thousands of logins: what slows down who guesses passwords slows it too.
        found.sql(f"ALTER DATABASE {DATABASE} SET scram_iterations = 1", dbname="postgres")
    if not found.info["password"]:
        [[file, lines]] = found.sql(
            "SELECT current_setting('hba_file'), pg_read_file('pg_hba.conf')"
        )
        rules = (
            f"host {DATABASE} postgres 127.0.0.1/32 trust\n"
            f"host {DATABASE} all 127.0.0.1/32 scram-sha-256\n{lines}"
        )
        found.sql(f"COPY (SELECT unnest(string_to_array($${rules}$$, E'\\n'))) TO '{file}'")
        found.sql("SELECT pg_reload_conf()")
    owner = found.url(f"{OWNER}:{quote(OWNER_PASSWORD)}")
    given = {**VARIABLES, "NEXUS_TEST_PG_OWNER": owner}
    os.environ.update(given)
    yield found
    for variable in given:
        del os.environ[variable]


@pytest.fixture(scope="session")
def shared(cluster: Cluster) -> Store:
    """One provisioned store for all tests that only write rows."""
    store = cluster.store(schema="shared")
    store.provision()
    return store


@pytest.fixture
def store(shared: Store) -> Store:
    """The shared store, emptied."""
    with shared.cluster.connect() as connection, connection.transaction():
        for table in shared.tables():
            connection.execute(f"DELETE FROM {shared.schema}.{table}".encode())
    return shared


@pytest.fixture
def own(cluster: Cluster) -> Iterator[Store]:
    """A provisioned store of the test's own, which it may damage."""
    store = cluster.store()
    store.provision()
    yield store
    store.drop()


@pytest.fixture
def atoms(store: Store) -> Iterator[AtomBackend]:
    """The shared store's atoms."""
    backend = store.atoms()
    yield backend
    backend.close()


@pytest.fixture
def audit(store: Store) -> Iterator[AuditBackend]:
    """The shared store's logs."""
    backend = store.audit()
    yield backend
    backend.close()
