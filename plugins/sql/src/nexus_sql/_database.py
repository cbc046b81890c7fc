"""One database: its transactions, and the questions that each engine answers itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Column, ColumnElement, Table
from sqlalchemy.engine import URL, Connection, Engine, RootTransaction

from nexus_core.spi import Outcome, Problem, Runtime, Scope, StoreError
from nexus_sql._pool import Pool
from nexus_sql._schema import Tables

if TYPE_CHECKING:
    from nexus_sql._config import SqlConfig


class Database(ABC):
    """A database that was named in a configuration. Safe to use from several threads.

    Building one touches nothing. Transactions connect when they need to, and what an engine
    raises in them leaves as an error of ``nexus_core.spi``, alone.
    """

    takes_password: ClassVar[bool]
    tables: ClassVar[Tables]

    def __init__(self, place: str) -> None:
        """``place`` is equal for two databases that are the same one."""
        self.pool = Pool(place, self.make_engine)

    # What each engine answers.

    @classmethod
    @abstractmethod
    def refusal(cls, url: URL, text: str) -> str | None:
        """Say why this engine cannot use the URL, without repeating it; ``None`` if it can.

        ``text`` is the URL as it was written.
        """

    @classmethod
    @abstractmethod
    def build(cls, url: URL, config: SqlConfig, runtime: Runtime) -> Database:
        """Make the database object of an accepted configuration, without connecting."""

    @abstractmethod
    def problems(self) -> Sequence[Problem]:
        """Say everything that stands in the way, having written nothing."""

    @abstractmethod
    def provision(self, now: Callable[[], int]) -> Sequence[str]:
        """Create and migrate; a line for each thing done. Idempotent."""

    @abstractmethod
    def make_engine(self) -> Engine:
        """A SQLAlchemy engine without a pool, that connects as this database must be used."""

    @abstractmethod
    def begin(self, connection: Connection, scope: Scope | None, *, write: bool) -> None:
        """Start the engine's own transaction; what a write reads then stays true until commit.

        An engine with row policies is told the scope here, for this transaction only. ``None`` is
        for the schema itself, which belongs to no scope.
        """

    @abstractmethod
    def acquire_writer(self) -> None:
        """Wait for this process' turn to write, or raise ``StoreTimeoutError``."""

    @abstractmethod
    def release_writer(self) -> None:
        """Give the turn back."""

    @abstractmethod
    def translate(self, error: Exception, outcome: Outcome) -> StoreError | None:
        """The error of the tree for one of the engine's; ``None`` for what is not the engine's.

        ``outcome`` is what is known of a write from how far it came; the error may know better.
        """

    @abstractmethod
    def is_duplicate(self, error: Exception) -> bool:
        """Whether a statement failed because a key was taken."""

    @abstractmethod
    def insert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert whole rows, values in the order of the table's columns, as fast as it goes."""

    @abstractmethod
    def member(self, column: Column[Any], values: Sequence[Any]) -> ColumnElement[bool]:
        """``column IN values`` by bound parameters, for any number of values."""

    @abstractmethod
    def scrub(self) -> None:
        """After an erasure: leave as little of the deleted bytes on disk as the engine can."""

    # What they have in common.

    def read(self, scope: Scope | None) -> Transaction:
        """A block that sees one moment of the database."""
        return Transaction(self, scope, write=False)

    def write(self, scope: Scope | None) -> Transaction:
        """A block that commits at its end, durably, or rolls back if it raises."""
        return Transaction(self, scope, write=True)

    def close(self) -> None:
        """Close connections; those in use follow when their transaction ends. Idempotent."""
        self.pool.close()


class Transaction:
    """One transaction as a ``with`` block. An error of ours rolls back; an engine's is translated.

    A connection on which anything but an error of ours was raised is never used again.
    """

    __slots__ = ("_connection", "_database", "_scope", "_transaction", "_write")

    def __init__(self, database: Database, scope: Scope | None, *, write: bool) -> None:
        self._database = database
        self._scope = scope
        self._write = write
        self._connection: Connection | None = None
        self._transaction: RootTransaction | None = None

    def __enter__(self) -> Connection:
        database = self._database
        if self._write:
            database.acquire_writer()
        try:
            self._connection = connection = database.pool.borrow()
            self._transaction = connection.begin()
            database.begin(connection, self._scope, write=self._write)
        except BaseException as error:
            self._end(sound=False)
            raise_translated(database, error, Outcome.NOT_APPLIED)
            raise
        return connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._transaction is not None
        outcome = Outcome.NOT_APPLIED
        sound = False
        try:
            if error is None:
                if self._write:
                    outcome = Outcome.UNKNOWN
                self._transaction.commit()
                sound = True
            elif isinstance(error, StoreError):
                self._transaction.rollback()
                sound = True
        except Exception as failure:
            if error is None:
                raise_translated(self._database, failure, outcome)
                raise
        finally:
            self._end(sound=sound)
        if error is not None:
            raise_translated(self._database, error, outcome)

    def _end(self, *, sound: bool) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                self._database.pool.give_back(connection, sound=sound)
        finally:
            if self._write:
                self._database.release_writer()


def raise_translated(database: Database, error: BaseException, outcome: Outcome) -> None:
    """Raise the error of the tree for an engine's; return for any other.

    The engine's own error carries SQL and names of files; it does not travel along.
    """
    if isinstance(error, StoreError) or not isinstance(error, Exception):
        return
    translated = database.translate(error, outcome)
    if translated is None:
        return
    try:
        raise translated
    finally:
        translated.__context__ = None
