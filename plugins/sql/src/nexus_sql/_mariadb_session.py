"""How MariaDB is connected to: what each session is told, what it must answer, how much it may say.

PyMySQL writes values into the statement as literals. A statement's size is therefore known exactly
before it is sent, and one that the server would answer by closing the connection is never sent.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

import attrs

from nexus_core.spi import Outcome, QuotaExceededError, Secret, UnavailableError

COLLATION: Final = "utf8mb4_nopad_bin"
"""By code point, without padding: text is equal if it is the same, and ordered as the core does."""

SQL_MODE: Final = frozenset(("STRICT_ALL_TABLES", "NO_ENGINE_SUBSTITUTION"))
# Writes see what is committed: who waited for a lock goes on from what it was held for. There are
# no gap locks, so one scope's rows stand in no other scope's way.
ISOLATION: Final = "READ-COMMITTED"

# A client that vanished without a word, in the middle of a write, holds its scope for so long.
_VANISHED_SECONDS: Final = 60
_MARGIN: Final = 1024
# One multi-row statement; PyMySQL cuts a bulk insert into such pieces.
_PIECE: Final = 1 << 20


@attrs.frozen(kw_only=True)
class Login:
    """Where to connect, as whom, and how the way there is protected."""

    host: str
    port: int
    user: str
    password: Secret | None = attrs.field(repr=False)
    database: str
    tls: str
    roots: str | None
    client: str | None
    connect_seconds: int
    wait_seconds: float
    answer_seconds: int


def connect(login: Login, *, told: bool = True) -> Any:
    """A new connection, told all that it must be. Blocks; raises the client's errors.

    With ``told`` it is refused unless it says that it is so.
    """
    wait = max(1, math.ceil(login.wait_seconds))
    protection = _protection(login)
    connection = _classes()(
        host=login.host,
        port=login.port,
        user=login.user,
        password=b"" if login.password is None else login.password.reveal(),
        database=login.database,
        charset="utf8mb4",
        collation=COLLATION,
        autocommit=False,
        local_infile=False,
        # An update counts the rows that it found, whether or not it changed them.
        client_flag=import_module("pymysql.constants.CLIENT").FOUND_ROWS,
        connect_timeout=login.connect_seconds,
        read_timeout=login.answer_seconds + wait,
        write_timeout=login.answer_seconds,
        ssl=protection,
        ssl_disabled=protection is None,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET SESSION sql_mode = '{','.join(sorted(SQL_MODE))}',"
                f" innodb_lock_wait_timeout = {wait}, lock_wait_timeout = {wait},"
                f" idle_transaction_timeout = {_VANISHED_SECONDS + wait},"
                " sql_auto_is_null = 0, time_zone = '+00:00'"
            )
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            known = variables(cursor)
        if told and not_as_told(known):
            raise UnavailableError(
                "the database does not take the settings of its sessions",
                hint="`nexus doctor` says which; something between it and here may swallow them",
                retryable=False,
                outcome=Outcome.NOT_APPLIED,
            )
        connection.most_bytes = int(known["max_allowed_packet"]) - _MARGIN
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def variables(cursor: Any) -> dict[str, str]:
    """The session's variables, by name in lower case. Names differ between versions."""
    cursor.execute("SHOW SESSION VARIABLES")
    return {str(name).lower(): str(value) for name, value in cursor.fetchall()}


def not_as_told(known: Mapping[str, str]) -> dict[str, str]:
    """Variables of a session that are not as it was told, with what they are."""
    isolation = known.get("transaction_isolation") or known.get("tx_isolation", "")
    found = {
        "sql_mode": (known["sql_mode"], frozenset(known["sql_mode"].split(",")) == SQL_MODE),
        "transaction_isolation": (isolation, isolation == ISOLATION),
        "collation_connection": (
            known["collation_connection"],
            known["collation_connection"] == COLLATION,
        ),
        "autocommit": (known["autocommit"], known["autocommit"] == "OFF"),
    }
    return {name: value for name, (value, right) in found.items() if not right}


def _protection(login: Login) -> ssl.SSLContext | None:
    if login.tls == "disable":
        return None
    context = ssl.create_default_context(cafile=login.roots)
    context.check_hostname = login.tls == "verify-full"
    if login.tls == "require":
        context.verify_mode = ssl.CERT_NONE
    if login.client is not None:
        context.load_cert_chain(login.client)
    return context


@cache
def _classes() -> Any:
    """The client's connection, with a limit to what it sends; made late, because it imports it."""
    connections: Any = import_module("pymysql.connections")
    cursors: Any = import_module("pymysql.cursors")

    class Cursor(cursors.Cursor):  # type: ignore[misc]  # the client has no types
        max_stmt_length = _PIECE

    class Connection(connections.Connection):  # type: ignore[misc]  # the same
        most_bytes: int | None = None

        def __init__(self, **options: Any) -> None:
            super().__init__(cursorclass=Cursor, **options)

        def query(self, sql: Any, unbuffered: bool = False) -> Any:
            # A server closes the connection of a client that says too much, and then nobody knows
            # what became of what it said.
            data = sql.encode() if isinstance(sql, str) else sql
            if self.most_bytes is not None and len(data) > self.most_bytes:
                raise QuotaExceededError(
                    "a record or a filter is larger than the database takes at once",
                    hint="raise the server's max_allowed_packet above twice the largest record",
                    outcome=Outcome.NOT_APPLIED,
                )
            return super().query(data, unbuffered)

    return Connection
