"""The driver's connection, made impatient: a server that falls silent is given up for lost.

The driver waits for an answer as long as the socket stays open, which behind a broken network is
for ever. Imported only where a connection is made, because the driver is an extra.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Final

import psycopg

_NOTHING: Final = 0
_IDENTITY: Final = (
    "SELECT (pg_control_system()).system_identifier::text || CASE WHEN pg_is_in_recovery()"
    " THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
)


class ImpatientConnection(psycopg.Connection[Any]):
    """A connection on which nothing takes longer than ``patience`` seconds without a sign."""

    patience: float = 300.0

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait as the driver does; raise ``ConnectionTimeout`` where no sign comes in time."""
        return super().wait(_bounded(gen, self.patience), *args, **kwargs)


def connect(patience: float, **arguments: Any) -> ImpatientConnection:
    """Connect without a transaction: what is done outside of one has no scope."""
    # The signature of a driver's method that takes whatever the server's library does.
    connection: Any = ImpatientConnection.connect(**arguments, autocommit=True)
    connection.patience = patience
    assert isinstance(connection, ImpatientConnection)
    return connection


def server_of(connection: ImpatientConnection) -> str:
    """Which server this is, and in which of its lives; empty where it will not say."""
    try:
        row = connection.execute(_IDENTITY, prepare=False).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return "" if row is None else str(row[0])


def _bounded(gen: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    """Pass on what the driver's generator and its loop say; the loop says nothing in intervals."""
    try:
        state = next(gen)
        end = time.monotonic() + patience
        while True:
            ready = yield state
            if ready != _NOTHING:
                end = time.monotonic() + patience
            elif time.monotonic() > end:
                raise psycopg.errors.ConnectionTimeout("the server gives no sign")
            state = gen.send(ready)
    except StopIteration as done:
        return done.value
