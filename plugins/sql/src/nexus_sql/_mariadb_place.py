"""What stands in the way of a store on a MariaDB server, found by reading only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nexus_core.spi import Problem
from nexus_sql import _mariadb_session
from nexus_sql._mariadb_errors import code_of
from nexus_sql._mariadb_session import COLLATION, Login
from nexus_sql._migrations import FIX, HOPELESS, schema_problems
from nexus_sql._schema import Tables

OLDEST: Final = (10, 11)
HINDRANCES: Final = HOPELESS | {
    "sql.driver",
    "sql.place",
    "sql.refused",
    "sql.server",
    "sql.session",
    "sql.tls",
}
"""Codes of problems that provisioning cannot mend."""

_MIB: Final = 1 << 20
_GRANT: Final = re.compile(r"GRANT (.+) ON \*\.\* TO ")
# With the first a statement reads and writes the server's files, whoever they belong to; with the
# others it can do as any user, or switch off what the store relies on.
_TOO_MUCH: Final = ("FILE", "SUPER", "SET USER", "ALL PRIVILEGES")
_TLS: Final = frozenset((2026, 3159))
_REFUSED: Final = frozenset((1044, 1045, 1524, 1698, 1820, 1862, 4151))
_ASK_COLUMNS: Final = """
    SELECT t.table_name, t.engine, c.column_name, c.collation_name
    FROM information_schema.tables t
    LEFT JOIN information_schema.columns c
      ON c.table_schema = t.table_schema AND c.table_name = t.table_name
      AND c.collation_name IS NOT NULL
    WHERE t.table_schema = DATABASE()
    ORDER BY t.table_name, c.ordinal_position
"""


def problems(
    login: Login, make_engine: Callable[[], Engine], tables: Tables, turns: str, setting: str
) -> list[Problem]:
    """Everything that stands in the way of the login's user."""
    try:
        client = _mariadb_session.connect(login, told=False)
    except Exception as error:  # noqa: BLE001  # each is said below, and none is the store's own
        return [_unreachable(error, login, setting)]
    with contextlib.closing(client), client.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        found = [_problem(setting, "server", *said) for said in _server(cursor.fetchone()[0])]
        if found:
            return found
        known = _mariadb_session.variables(cursor)
        found += (_problem(setting, "session", *said) for said in _session(known))
        found += (_problem(setting, "server", *said) for said in _settings(known))
        cursor.execute("SHOW GRANTS")
        grants = [str(row[0]) for row in cursor.fetchall()]
        found += (_problem(setting, "privileges", *said) for said in _privileges(grants))
    if any(problem.code == "sql.session" for problem in found):
        return found
    with make_engine().connect() as connection:
        found += schema_problems(connection, tables, setting)
        if not any(problem.code.startswith("sql.schema") for problem in found):
            found += _tables(connection, tables, turns, setting)
    return found


Said = tuple[str, str]


def _server(version: str) -> Iterator[Said]:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version.replace("5.5.5-", ""))[:2])
    if "mariadb" not in version.lower():
        yield f"the server is not MariaDB; it says it is {version!r}", "MySQL is not served"
    elif numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield f"the server is MariaDB {version}, older than {oldest}", f"upgrade it to {oldest}"


def _session(known: dict[str, str]) -> Iterator[Said]:
    for name, value in _mariadb_session.not_as_told(known).items():
        yield (
            f"{name} is {value!r} in spite of what the session was told",
            "let nothing between the store and the server swallow or change SET SESSION",
        )


def _settings(known: dict[str, str]) -> Iterator[Said]:
    if known.get("innodb_flush_log_at_trx_commit") != "1":
        yield (
            "innodb_flush_log_at_trx_commit is not 1, so an acknowledged write may be lost",
            "set it to 1",
        )
    if known.get("log_bin") == "ON" and known.get("binlog_format") == "STATEMENT":
        yield "the binary log is written by statement", "set binlog_format to ROW or MIXED"
    if known.get("log_bin") == "ON" and known.get("sync_binlog") != "1":
        yield "the binary log is not synchronised at each commit", "set sync_binlog to 1"
    if known.get("wsrep_on") == "ON":
        yield (
            "the server is a node of a cluster, where two nodes grant one lock",
            "name a server that alone takes writes",
        )
    if known.get("read_only") == "ON":
        yield "the server is read-only", "name the server that takes writes"
    if int(known.get("innodb_page_size", "0")) < 16384:
        yield "innodb_page_size is below 16384, and keys have no room", "use the default"
    if int(known.get("max_allowed_packet", "0")) < _MIB:
        yield "max_allowed_packet is below 1 MiB", "set it to 16 MiB, as is the default"


def _privileges(grants: list[str]) -> Iterator[Said]:
    everywhere = [match[1] for match in map(_GRANT.match, grants) if match]
    given = {part.strip() for grant in everywhere for part in grant.split(",")}
    for name in _TOO_MUCH:
        if name in given:
            yield (
                f"the store's user has {name} on the whole server",
                "give it SELECT, INSERT, UPDATE and DELETE on this database, and nothing else",
            )


def _tables(connection: Connection, tables: Tables, turns: str, setting: str) -> list[Problem]:
    found: list[Problem] = []
    ours = {turns, *(table.name for table in tables.metadata.sorted_tables)}
    present: set[str] = set()
    for name, engine, column, collation in connection.execute(sa.text(_ASK_COLUMNS)):
        if name not in ours:
            continue
        if name not in present and engine != "InnoDB":
            what = f"the table {name} is kept by {engine}, which has no transactions"
            fix = f"ALTER TABLE {name} ENGINE=InnoDB, after restoring it from a backup"
            found.append(_problem(setting, "schema_engine", what, fix))
        present.add(name)
        if column is not None and collation != COLLATION:
            what = f"the column {name}.{column} compares as {collation}, by which texts that differ"
            fix = f"convert it to utf8mb4 with the collation {COLLATION}"
            found.append(_problem(setting, "schema_collation", f"{what} may be equal", fix))
    if turns not in present:
        what = f"the table {turns} is missing"
        found.append(_problem(setting, "schema_incomplete", what, FIX))
    return found


def _unreachable(error: Exception, login: Login, setting: str) -> Problem:
    code = code_of(error)
    place = f"{login.host}:{login.port}"
    if isinstance(error, ImportError):
        return _problem(
            setting, "driver", "PyMySQL is not installed", "pip install 'nexus-sql[mariadb]'"
        )
    if code == 1049:
        return _problem(
            setting,
            "place",
            f"the server has no database {login.database!r}",
            f"CREATE DATABASE `{login.database}` CHARACTER SET utf8mb4 COLLATE {COLLATION}",
        )
    if code in _REFUSED:
        what = f"the server at {place} refuses the user {login.user!r}, or its password"
        return _problem(setting, "refused", what, "grant it access, or mend `password`")
    cause: Any = getattr(error, "original_exception", error)
    if code in _TLS or type(cause).__module__ == "ssl":
        what = f"the server at {place} cannot be talked to as `tls` demands"
        fix = "mend its certificate, or name its authority as `tls_roots`"
        return _problem(setting, "tls", what, fix)
    if isinstance(error, OSError):
        fix = "mend `tls_roots` or `tls_client`"
        return _problem(setting, "tls", f"a file cannot be read: {error.strerror}", fix)
    what = f"the server at {place} cannot be reached ({type(error).__name__} {code or ''})".strip()
    return _problem(setting, "place", what, "start it, or mend the URL")


def _problem(setting: str, code: str, what: str, fix: str) -> Problem:
    return Problem(path=setting, what=what, fix=fix, code=f"sql.{code}")
