"""PostgreSQL: many clients, a scope's writes in turns, and row policies behind every statement.

A transaction begins by naming its scope to the policies, for itself alone; that and ``BEGIN`` are
one message. Writes that must be alone with their scope wait for a lock that the scope's name is
hashed to. Serialisable isolation would do without the lock, but it takes neighbours on a page for
one another, so that one tenant's writes could make another's fail.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from nexus_core.spi import (
    BackendError,
    ConfigurationError,
    Outcome,
    Problem,
    Runtime,
    Scope,
    StoreError,
    UnavailableError,
)
from nexus_sql import _postgresql_check, _postgresql_errors, _postgresql_proof
from nexus_sql._database import Database, raise_translated
from nexus_sql._pool import Limits
from nexus_sql._postgresql_logins import login_of, password_of
from nexus_sql._schema import Spelling, build_tables

if TYPE_CHECKING:
    from nexus_sql._config import SqlConfig

_SPELLING: Final = Spelling(
    text=sa.TEXT(collation="C"),
    integer=sa.BIGINT(),
    number=sa.DOUBLE_PRECISION(),
    flag=sa.BOOLEAN(),
    blob=postgresql.BYTEA(),
    table={},
    clustered={},
    partial=lambda condition: {"postgresql_where": condition},
    numeric_flags=False,
    one_of=lambda column, name: (
        column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(column.type)))
    ),
)
_ARRAYS: Final[tuple[tuple[type, str], ...]] = (
    (sa.BIGINT, "bigint[]"),
    (sa.DOUBLE_PRECISION, "float8[]"),
    (sa.BOOLEAN, "bool[]"),
    (postgresql.BYTEA, "bytea[]"),
    (sa.TEXT, "text[]"),
)
_DRIVERS: Final = ("postgresql", "postgresql+psycopg")
# What else a URL may say. Nothing of it decides where or how safely data goes.
_OPTIONS: Final = frozenset(
    ("host", "application_name", "channel_binding", "gssencmode", "require_auth")
)
_BEGIN: Final = {
    True: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    False: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
}
# A connection is handed out only as somebody's whose scope was never named, or was forgotten.
_CLEAN: Final = (
    "coalesce(current_setting('nexus.tenant', true), '') = ''"
    " AND coalesce(current_setting('nexus.env', true), '') = '' AND session_user = current_user"
)
_INT64: Final = range(-(2**63), 2**63)
_SETTLE_SECONDS: Final = 15.0


@attrs.frozen(kw_only=True)
class Mark:
    """What identifies a transaction after its connection is gone."""

    transaction: str
    server: str
    login: str


class PostgresDatabase(Database):
    """One schema of a PostgreSQL database."""

    settings = frozenset(
        (
            "password",
            "owner",
            "schema_name",
            "logins",
            "login_secret",
            "tenants",
            "tls",
            "tls_roots",
            "tls_client",
            "pool_size",
            "pool_timeout_seconds",
            "connect_timeout_seconds",
            "answer_timeout_seconds",
            "connection_lifetime_seconds",
        )
    )

    def __init__(self, url: URL, config: SqlConfig, runtime: Runtime) -> None:
        limits = Limits(
            size=config.pool_size,
            idle=config.pool_size,
            timeout=config.pool_timeout_seconds,
            lifetime=config.connection_lifetime_seconds,
        )
        assert config.schema_name is not None
        assert url.username is not None
        self._schema = config.schema_name
        self.tables = build_tables(_SPELLING, self._schema)
        super().__init__(f"{url}/{self._schema}", limits)
        self._url = url
        self._config = config
        self._runtime = runtime
        self._expected = _postgresql_check.Expected(
            tables=self.tables, role=url.username, per_scope=config.logins == "per_scope"
        )
        self._wanted = threading.local()
        self._inserts: dict[str, str] = {}
        self._looked_at = False

    # What may be configured.

    @classmethod
    def refusal(cls, url: URL, text: str) -> str | None:
        if url.drivername not in _DRIVERS:
            return "names a driver that is not served: write postgresql+psycopg://"
        if "%" in text or "\0" in text:
            return "holds a '%' or a NUL: write names as they are, without escapes"
        if url.username is None or url.database in (None, ""):
            return "lacks the user or the database: postgresql+psycopg://user@host/database"
        if (url.host is None) == ("host" not in url.query):
            return "needs a host, either before the database or, for a socket's folder, as ?host="
        if url.query.keys() - _OPTIONS:
            return f"has options other than {', '.join(sorted(_OPTIONS))}: TLS has settings here"
        if any(not isinstance(value, str) for value in url.query.values()):
            return "says one option twice"
        return None

    @classmethod
    def needed(cls, before: Mapping[str, Any]) -> frozenset[str]:
        logins = (
            frozenset(("login_secret",)) if before.get("logins") == "per_scope" else frozenset()
        )
        return frozenset(("schema_name",)) | logins

    @classmethod
    def build(cls, url: URL, config: SqlConfig, runtime: Runtime) -> PostgresDatabase:
        if find_spec("psycopg") is None:
            what, fix = "needs the driver psycopg 3", "pip install 'nexus-sql[postgresql]'"
            raise ConfigurationError([_postgresql_check.problem("driver", what, fix)])
        for reference in (config.password, config.login_secret):
            if reference is not None:
                reference.resolve(runtime.base)  # said now, and not at the first call
        return cls(url, config, runtime)

    # Checking and creating.

    def problems(self) -> Sequence[Problem]:
        self.pool.ensure_open()
        try:
            with self.read(None) as connection:
                found = _postgresql_check.problems(connection, self._expected)
            self._looked_at = not found
            if not found:
                found = _postgresql_proof.problems(self, self.tables)
        except StoreError as error:
            what = f"the database cannot be looked at: {error.message}"
            return [_postgresql_check.problem("server", what, error.hint or "see that it runs")]
        return found

    def provision(self, now: Callable[[], int]) -> Sequence[str]:
        from nexus_sql._postgresql_provision import provision

        per_scope = self._expected.per_scope
        engine = sa.create_engine(
            self._owner_url(),
            connect_args=self._connect_arguments(),
            poolclass=NullPool,
            hide_parameters=True,
        )
        try:
            with engine.begin() as connection:
                return provision(
                    connection,
                    self._expected,
                    now,
                    password=self._password().get("password"),
                    login_secret=self._login_secret() if per_scope else None,
                    tenants=self._config.tenants,
                )
        except Exception as error:
            raise_translated(self, error, Outcome.NOT_APPLIED)
            raise
        finally:
            engine.dispose()

    def _owner_url(self) -> URL:
        reference = self._config.owner
        if reference is None:
            what = "provisioning needs the URL of an owner, who creates and grants"
            fix = 'give it by reference: owner = { env = "NAME" }'
            raise ConfigurationError([_postgresql_check.problem("owner", what, fix, "owner")])
        text = reference.resolve(self._runtime).text()
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            url = None
        if url is None or self.refusal(url.set(password=None), "") is not None:
            what = "what the reference leads to is not a URL of this engine"
            fix = "write postgresql+psycopg://owner:password@host/database there"
            raise ConfigurationError([_postgresql_check.problem("owner", what, fix, "owner")])
        if url.database != self._url.database:
            what, fix = "the owner's URL names another database", "name the one of `url` in both"
            raise ConfigurationError([_postgresql_check.problem("owner", what, fix, "owner")])
        return url.set(drivername="postgresql+psycopg")

    # Connections.

    def make_engine(self) -> Engine:
        return sa.create_engine(
            "postgresql+psycopg://", creator=self._connect, poolclass=NullPool, hide_parameters=True
        )

    def connect(self, engine: Engine, login: str) -> Connection:
        # An engine's creator is told nothing, and an engine for each login would not share
        # what it has compiled.
        self._wanted.login = login
        return engine.connect()

    def login_of(self, scope: Scope | None) -> str:
        if scope is None or not self._expected.per_scope:
            return ""
        assert self._url.database is not None
        return login_of(self._url.database, self._schema, scope)

    def _connect(self) -> Any:
        from nexus_sql._postgresql_driver import connect

        login = self._wanted.login
        if login:
            given = {"user": login, "password": password_of(self._login_secret(), login)}
        else:
            given = self._password()
        url: dict[str, Any] = {
            "user": self._url.username,
            "dbname": self._url.database,
            **self._url.query,
        }
        if self._url.host is not None:
            url["host"] = self._url.host
        if self._url.port is not None:
            url["port"] = self._url.port
        # A lock is waited for by the server, which says so when that has taken too long.
        patience = self._config.answer_timeout_seconds + self._config.busy_timeout_seconds
        return connect(patience, **{**url, **self._connect_arguments(), **given})

    def _password(self) -> dict[str, str]:
        # Read anew, so that a password can change while the store is open.
        reference = self._config.password
        base = self._runtime.base
        return {} if reference is None else {"password": reference.resolve(base).text()}

    def _login_secret(self) -> bytes:
        reference = self._config.login_secret
        assert reference is not None
        return reference.resolve(self._runtime.base).reveal()

    def _connect_arguments(self) -> dict[str, Any]:
        config, path = self._config, self._runtime.path
        wait = int(config.busy_timeout_seconds * 1000)
        options = {
            "search_path": "pg_catalog",
            "lock_timeout": wait,
            "idle_in_transaction_session_timeout": 60_000,
            "synchronous_commit": "on",
            "client_min_messages": "error",
        }
        arguments: dict[str, Any] = {
            "sslmode": config.tls,
            "connect_timeout": config.connect_timeout_seconds,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        }
        if config.tls_roots is not None:
            arguments["sslrootcert"] = str(path(config.tls_roots))
        elif config.tls == "verify-full":
            arguments["sslrootcert"] = "system"
        if config.tls_client is not None:
            file = str(path(config.tls_client))
            arguments |= {"sslcert": file, "sslkey": file}
        return arguments

    # Transactions.

    def begin(
        self, connection: Connection, scope: Scope | None, *, write: bool, alone: bool
    ) -> object:
        driver: Any = connection.connection.driver_connection
        if scope is None:
            driver.execute(_BEGIN[write], prepare=False)
            return None
        if not self._looked_at:
            self._look(connection)
        info = connection.info
        if write and "nexus_server" not in info:
            from nexus_sql._postgresql_driver import server_of

            info["nexus_server"] = server_of(driver)
        # Both names are made of a-z, 0-9, '_' and '-', as every Scope's are.
        parts = [
            f"set_config('nexus.tenant', '{scope.tenant_id}', true)",
            f"set_config('nexus.env', '{scope.env}', true)",
        ]
        if write:
            parts.append("pg_current_xact_id()::text")
        if alone:
            parts.append(f"pg_advisory_xact_lock({self._lock_of(scope)})")
        statement = f"{_BEGIN[write]}; SELECT {', '.join(parts)} WHERE {_CLEAN}"
        cursor = driver.execute(statement, prepare=False)
        cursor.nextset()
        row = cursor.fetchone()
        if row is None or row[:2] != (scope.tenant_id, scope.env):
            raise BackendError(
                "a connection came back from its last use with another's settings",
                outcome=Outcome.NOT_APPLIED,
            )
        if not write:
            return None
        return Mark(transaction=row[2], server=info["nexus_server"], login=self.login_of(scope))

    def _look(self, connection: Connection) -> None:
        """Refuse to work on tables that have not their protection; asked once."""
        driver: Any = connection.connection.driver_connection
        driver.execute(_BEGIN[False], prepare=False)
        found = _postgresql_check.problems(connection, self._expected)
        driver.execute("ROLLBACK", prepare=False)
        if found:
            raise UnavailableError(
                "the database has not the schema or the protection that it needs",
                hint=_postgresql_errors.PROVISION,
                retryable=False,
                outcome=Outcome.NOT_APPLIED,
            )
        self._looked_at = True

    def _lock_of(self, scope: Scope) -> int:
        # Locks belong to a whole database, so the schema counts. Two scopes that fell on one
        # number would wait for each other, and no more.
        name = f"nexus/sql/{self._schema}/{scope.tenant_id}/{scope.env}".encode()
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)

    def settle(self, mark: object) -> Outcome:
        if not isinstance(mark, Mark) or not mark.server:
            return Outcome.UNKNOWN
        deadline = time.monotonic() + min(_SETTLE_SECONDS, self._config.answer_timeout_seconds)
        self.pool.drop_idle()
        while time.monotonic() < deadline:
            status = self._status(mark)
            if status is not None:
                return status
            time.sleep(0.1)
        return Outcome.UNKNOWN

    def _status(self, mark: Mark) -> Outcome | None:
        """What the server says of a transaction; ``None`` where asking again may tell more."""
        from nexus_sql._postgresql_driver import server_of

        try:
            connection = self.pool.borrow(mark.login)
        except StoreError:
            return Outcome.UNKNOWN
        except Exception as error:
            if self.is_disconnect(error):
                return None
            raise
        sound = False
        try:
            driver: Any = connection.connection.driver_connection
            # After a failover the number may have been given to another transaction.
            if server_of(driver) != mark.server:
                return Outcome.UNKNOWN
            row = driver.execute(
                "SELECT pg_xact_status(%s::xid8)", (mark.transaction,), prepare=False
            ).fetchone()
            sound = True
        except Exception as error:
            if self.is_disconnect(error):
                return None
            raise
        finally:
            self.pool.give_back(connection, sound=sound)
        known = {"committed": Outcome.APPLIED, "aborted": Outcome.NOT_APPLIED, "in progress": None}
        return known.get(row[0], Outcome.UNKNOWN)

    def is_disconnect(self, error: Exception) -> bool:
        return _postgresql_errors.is_disconnect(error)

    def translate(self, error: Exception, outcome: Outcome) -> StoreError | None:
        return _postgresql_errors.translate(error, outcome)

    def is_duplicate(self, error: Exception) -> bool:
        return _postgresql_errors.is_duplicate(error)

    # Statements.

    def insert(
        self, connection: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        # One array for each column: the server parses one short statement, whatever the number of
        # rows. In binary, as text takes four times as long. COPY does not pass row policies.
        sql = self._inserts.get(table.name)
        if sql is None:
            preparer = connection.dialect.identifier_preparer
            names = ", ".join(preparer.format_column(column) for column in table.columns)
            arrays = ", ".join(f"%b::{_array_of(column)}" for column in table.columns)
            sql = (
                f"INSERT INTO {preparer.format_table(table)} ({names})"  # noqa: S608  # no input
                f" SELECT * FROM unnest({arrays})"
            )
            self._inserts[table.name] = sql
        connection.exec_driver_sql(sql, tuple(map(list, zip(*rows, strict=True))))

    def member(self, column: sa.Column[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        distinct = list(dict.fromkeys(values))
        if isinstance(column.type, sa.Integer):
            # No integer equals a fraction, or what is too large for one.
            whole = (int(value) for value in distinct if value == int(value))
            distinct = [value for value in whole if value in _INT64]
        return column == sa.any_(sa.literal(distinct, postgresql.ARRAY(column.type)))

    def scrub(self) -> None:
        """Deleted rows stay in their pages until the server's vacuum; no login of ours may ask."""


def _array_of(column: sa.Column[Any]) -> str:
    return next(name for kind, name in _ARRAYS if isinstance(column.type, kind))
