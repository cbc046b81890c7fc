"""MariaDB: one database on a server. Everything peculiar to it is here, in ``_mariadb_session``,
``_mariadb_guard``, ``_mariadb_place`` and ``_mariadb_errors``.

A write begins by raising the turn of its scope, one row of a table of ours, and so holds that row:
writers of one scope queue there, and meet nowhere else. That leaves nothing to deadlock over, makes
what a write reads stay true until it commits, and tells afterwards whether a commit that was never
answered took place. Atoms and logs have turns of their own.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from nexus_core.spi import ConfigurationError, Outcome, Problem, Runtime, Scope, Secret, StoreError
from nexus_sql import _mariadb_errors, _mariadb_guard, _mariadb_place, _mariadb_session
from nexus_sql._database import Database
from nexus_sql._filters import never
from nexus_sql._mariadb_session import COLLATION, Login
from nexus_sql._migrations import migrate
from nexus_sql._pool import Limits
from nexus_sql._schema import Spelling, build_tables

if TYPE_CHECKING:
    from nexus_sql._config import OwnerRef, SqlConfig

DRIVER: Final = "mariadb+pymysql"
_EXAMPLE: Final = f"{DRIVER}://user@host/database"

# An index holds 3072 bytes of a row at most, at four for each character. The core's ids and names
# are no longer than this.
_KEY_LENGTH: Final = 128
_TEXT_LENGTH: Final = 1024
_INDEXED: Final = 128


def _text(length: int) -> mysql.VARCHAR:
    return mysql.VARCHAR(length, charset="utf8mb4", collation=COLLATION)


def _lengths(columns: Sequence[sa.Column[Any]]) -> Mapping[str, Any]:
    """How much of each column an index holds. It finds candidates; the whole value decides."""
    wide = (mysql.LONGBLOB, mysql.VARCHAR)
    held = {
        column.name: _INDEXED
        for column in columns
        if isinstance(column.type, wide) and getattr(column.type, "length", None) != _KEY_LENGTH
    }
    return {"mariadb_length": held}


_TABLE: Final = {
    "mariadb_engine": "InnoDB",
    "mariadb_row_format": "DYNAMIC",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": COLLATION,
}
_SPELLING: Final = Spelling(
    text=_text(_TEXT_LENGTH),
    integer=mysql.BIGINT(),
    number=mysql.DOUBLE(),
    flag=mysql.TINYINT(),
    blob=mysql.LONGBLOB(),
    table=_TABLE,
    clustered=_TABLE,
    partial=lambda _: {},
    key=_text(_KEY_LENGTH),
    index=_lengths,
)

# A turn is a number that every write raises, and a name that only this write knows.
TURNS: Final = "nexus_turns"
_MAKE_TURNS: Final = (
    f"CREATE TABLE IF NOT EXISTS {TURNS} ("
    f"nx_tenant VARCHAR({_KEY_LENGTH}) NOT NULL, nx_env VARCHAR({_KEY_LENGTH}) NOT NULL,"
    " part VARCHAR(16) NOT NULL, turn BIGINT NOT NULL, holder BINARY(16) NOT NULL,"
    " PRIMARY KEY (nx_tenant, nx_env, part)"
    f") ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE={COLLATION}"
)
_TAKE_TURN: Final = (
    "UPDATE nexus_turns SET turn = LAST_INSERT_ID(turn + 1), holder = %s"
    " WHERE nx_tenant = %s AND nx_env = %s AND part = %s"
)
_FIRST_TURN: Final = (
    "INSERT INTO nexus_turns (nx_tenant, nx_env, part, turn, holder) VALUES (%s, %s, %s, 0, %s)"
    " ON DUPLICATE KEY UPDATE turn = turn"
)
_ASK_TURN: Final = (
    "SELECT turn, holder FROM nexus_turns"
    " WHERE nx_tenant = %s AND nx_env = %s AND part = %s FOR UPDATE"
)
_NAMED: Final = re.compile(r"%\(\w+\)s")
_PROVISIONING: Final = "nexus_sql.provision"


@attrs.frozen
class Turn:
    """Whose turn a write took, and the turn's number and name."""

    where: tuple[str, str, str]
    number: int
    holder: bytes = attrs.field(repr=False)


class MariadbDatabase(Database):
    """A database on a MariaDB server."""

    settings = frozenset(
        (
            *("password", "owner", "tls", "tls_roots", "tls_client", "pool_size"),
            *("pool_timeout_seconds", "connect_timeout_seconds", "answer_timeout_seconds"),
            "connection_lifetime_seconds",
        )
    )
    tables = build_tables(_SPELLING)

    def __init__(
        self,
        login: Callable[[], Login],
        place: str,
        limits: Limits,
        owner: Callable[[], Login] | None,
        setting: str,
    ) -> None:
        super().__init__(place, limits)
        # Asked at each connection, so that a password that was changed is found changed.
        self._login = login
        self._place = place
        self._owner = owner
        self._setting = setting
        self._inserts: dict[str, str] = {}

    @classmethod
    def refusal(cls, url: URL, text: str) -> str | None:  # noqa: ARG003  # for others
        if url.drivername != DRIVER:
            return f"names another driver than PyMySQL: write {_EXAMPLE}"
        if not (url.username and url.host and url.database):
            return f"lacks a user, a host or a database: write {_EXAMPLE}"
        if url.query:
            return "has options after a question mark: the store's settings take their place"
        return None

    @classmethod
    def build(cls, url: URL, config: SqlConfig, runtime: Runtime) -> MariadbDatabase:
        def login() -> Login:
            password = config.password
            return Login(
                host=url.host or "",
                port=url.port or 3306,
                user=url.username or "",
                password=None if password is None else password.resolve(runtime.base),
                database=url.database or "",
                tls=config.tls,
                roots=_path(runtime, config.tls_roots),
                client=_path(runtime, config.tls_client),
                connect_seconds=config.connect_timeout_seconds,
                wait_seconds=config.busy_timeout_seconds,
                answer_seconds=config.answer_timeout_seconds,
            )

        owner = config.owner
        limits = Limits(
            size=config.pool_size,
            idle=config.pool_size,
            timeout=config.pool_timeout_seconds,
            lifetime=config.connection_lifetime_seconds,
        )
        place = f"{DRIVER}://{url.host}:{url.port or 3306}/{url.database}"
        as_owner = None if owner is None else lambda: _owned(login(), owner, runtime)
        return cls(login, place, limits, as_owner, "url")

    def problems(self) -> Sequence[Problem]:
        with self.pool.occupied():
            return _mariadb_place.problems(
                self._login(), self.make_engine, self.tables, TURNS, self._setting
            )

    def provision(self, now: Callable[[], int]) -> Sequence[str]:
        if self._owner is None:
            return self._make(now)
        owner = MariadbDatabase(self._owner, self._place, Limits(), None, "owner")
        try:
            return owner._make(now)
        finally:
            owner.close()

    def _make(self, now: Callable[[], int]) -> Sequence[str]:
        found = self.problems()
        if not found:
            return []
        if hindrances := [each for each in found if each.code in _mariadb_place.HINDRANCES]:
            raise ConfigurationError(hindrances)
        with self.write(None) as connection:
            # What defines commits by itself here. Each step makes sure of something, so that one
            # which was cut short is taken again; the lock keeps two programs from one step.
            waited = connection.exec_driver_sql(
                "SELECT GET_LOCK(CONCAT(%s, DATABASE()), 60)", (_PROVISIONING,)
            ).scalar_one()
            if waited != 1:
                what = "another program provisions this database, and does not end"
                problem = Problem(path=self._setting, what=what, fix="wait for it", code="sql.busy")
                raise ConfigurationError([problem])
            done, problems = migrate(connection, self.tables, self._setting, now())
            if problems:
                raise ConfigurationError(problems)
            connection.exec_driver_sql(_MAKE_TURNS)
            connection.exec_driver_sql("DO RELEASE_LOCK(CONCAT(%s, DATABASE()))", (_PROVISIONING,))
        return done

    def make_engine(self) -> Engine:
        engine = sa.create_engine(
            f"{DRIVER}://",
            creator=lambda: _mariadb_session.connect(self._login()),
            poolclass=NullPool,
            hide_parameters=True,
        )
        _mariadb_guard.watch(engine)
        return engine

    def begin(
        self, connection: Connection, scope: Scope | None, *, write: bool, alone: bool
    ) -> Turn | None:
        _mariadb_guard.serve(connection, scope)
        # The session commits nothing by itself, so what is said first begins the transaction.
        if not write:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return None
        if scope is None:
            return None
        where = (scope.tenant_id, scope.env, "records" if alone else "log")
        holder = secrets.token_bytes(16)
        taken = connection.exec_driver_sql(_TAKE_TURN, (holder, *where))
        if taken.rowcount == 0:
            # In a transaction of its own: a first turn may lock the place beside it as well.
            connection.exec_driver_sql(_FIRST_TURN, (*where, bytes(16)))
            connection.exec_driver_sql("COMMIT")
            taken = connection.exec_driver_sql(_TAKE_TURN, (holder, *where))
        return Turn(where, taken.lastrowid, holder)

    def settle(self, mark: object) -> Outcome:
        if not isinstance(mark, Turn):
            return Outcome.UNKNOWN
        try:
            with self.write(None) as connection:
                # Waits for the transaction in question, should the server still be at it.
                row = connection.exec_driver_sql(_ASK_TURN, mark.where).one_or_none()
        except StoreError:
            return Outcome.UNKNOWN
        if row is None or row[0] > mark.number:
            return Outcome.UNKNOWN
        ours = row[0] == mark.number and row[1] == mark.holder
        return Outcome.APPLIED if ours else Outcome.NOT_APPLIED

    def is_disconnect(self, error: Exception) -> bool:
        return _mariadb_errors.is_disconnect(error)

    def translate(self, error: Exception, outcome: Outcome) -> StoreError | None:
        return _mariadb_errors.translate(error, outcome)

    def is_duplicate(self, error: Exception) -> bool:
        return _mariadb_errors.is_duplicate(error)

    def insert(
        self, connection: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        # The client makes statements of many rows of this, each a piece of what may be sent.
        sql = self._inserts.get(table.name)
        if sql is None:
            sql = str(sa.insert(table).compile(dialect=connection.dialect))
            sql = self._inserts[table.name] = _NAMED.sub("%s", sql)
        connection.exec_driver_sql(sql, list(rows))

    def member(self, column: sa.Column[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
        distinct = list(dict.fromkeys(values))
        if isinstance(column.type, sa.Integer) and not all(type(v) is bool for v in distinct):
            distinct = [int(value) for value in distinct if value == int(value)]
        # The client writes a tuple as a list in parentheses: one parameter for any number.
        listed = sa.bindparam(None, tuple(distinct), type_=sa.types.NullType(), unique=True)
        return column.op("IN", is_comparison=True)(listed) if distinct else never(column)

    def scrub(self) -> None:
        """The server purges deleted rows by itself; how long its logs keep them is its matter."""


def _owned(login: Login, owner: OwnerRef, runtime: Runtime) -> Login:
    """The login of the store's owner, who is a user of the same database."""
    try:
        url = make_url(owner.resolve(runtime).text())
    except (ArgumentError, ValueError):
        url = None
    theirs = None if url is None else (url.drivername, url.host, url.port or 3306, url.database)
    if url is None or theirs != (DRIVER, login.host, login.port, login.database):
        what = "the reference does not lead to a URL of the store's own server and database"
        fix = f"write {DRIVER}://owner:password@host/database"
        raise ConfigurationError([Problem(path="owner", what=what, fix=fix, code="sql.owner")])
    password = None if url.password is None else Secret(str(url.password).encode())
    return attrs.evolve(login, user=url.username or "", password=password)


def _path(runtime: Runtime, value: str | None) -> str | None:
    return None if value is None else os.fspath(runtime.path(value))
