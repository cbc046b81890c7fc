"""One database: its transactions, and the questions that each engine answers itself."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from sqlalchemy import Column, ColumnElement, Table
from sqlalchemy.engine import URL, Connection, Engine, RootTransaction

from nexus_core.spi import Outcome, Problem, Runtime, Scope, StoreError, StoreTimeoutError
from nexus_sql._pool import Limits, Pool
from nexus_sql._schema import Tables

if TYPE_CHECKING:
    from nexus_sql._config import SqlConfig


_T = TypeVar("_T")
_ATTEMPTS: Final = 6


class Collision(StoreTimeoutError):
    """The engine undid a transaction for the sake of another. The same one may go well now."""

    default_outcome = Outcome.NOT_APPLIED


class Database(ABC):
    """A database that was named in a configuration. Safe to use from several threads.

    Building one touches nothing. Transactions connect when they need to, and what an engine
    raises in them leaves as an error of ``nexus_core.spi``, alone.
    """

    settings: ClassVar[frozenset[str]] = frozenset()
    """Names of settings, of those that not every engine knows, that this one does."""
    no_use: ClassVar[str] = "has no use: this engine does not know it"
    """What is said of a setting that it does not."""
    tables: Tables

    def __init__(self, place: str, limits: Limits | None = None) -> None:
        """``place`` is equal for two databases that are the same one."""
        self.pool = Pool(place, self.make_engine, self.connect, limits)

    # What each engine answers.

    @classmethod
    @abstractmethod
    def refusal(cls, url: URL, text: str) -> str | None:
        """Say why this engine cannot use the URL, without repeating it; ``None`` if it can.

        ``text`` is the URL as it was written.
        """

    @classmethod
    def needed(cls, before: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG003  # for others
        """Names of settings that must be given, as far as those before them say."""
        return frozenset()

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
    def begin(
        self, connection: Connection, scope: Scope | None, *, write: bool, alone: bool
    ) -> object:
        """Start the engine's own transaction; reads in it see one moment.

        What is read in a write that is ``alone`` stays true until its commit: no other write of the
        scope that is alone runs meanwhile, or the engine would undo one of them. An engine with row
        policies is told the scope here, for this transaction only. ``None`` is for the schema
        itself, which belongs to no scope. Returns what ``settle`` needs to know, if anything.
        """

    def connect(self, engine: Engine, login: str) -> Connection:
        """A new connection, for the login that ``login_of`` named."""
        return engine.connect()

    def login_of(self, scope: Scope | None) -> str:
        """Which connections serve a scope, for an engine where they are not all alike."""
        return ""

    def is_disconnect(self, error: Exception) -> bool:
        """Whether an error says that the connection itself is gone."""
        return False

    def settle(self, mark: object) -> Outcome:
        """What became of a commit that was not answered. ``mark`` is what ``begin`` returned."""
        return Outcome.UNKNOWN

    def acquire_writer(self) -> None:  # noqa: B027  # only an engine with one writer needs a turn
        """Wait for this process' turn to write, or raise ``StoreTimeoutError``."""

    def release_writer(self) -> None:  # noqa: B027  # the same
        """Give the turn back."""

    @abstractmethod
    def translate(self, error: Exception, outcome: Outcome) -> StoreError | None:
        """The error of the tree for one of the engine's; ``None`` for what is not the engine's.

        ``outcome`` is what is known of a write from how far it came; the error may know better. A
        transaction that was undone for another's sake (deadlock, serialisation) is a
        ``Collision``, and ``run`` begins it again.
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

    def write(self, scope: Scope | None, *, alone: bool = False) -> Transaction:
        """A block that commits at its end, durably, or rolls back if it raises."""
        return Transaction(self, scope, write=True, alone=alone)

    def run(self, scope: Scope, work: Callable[[Connection], _T], *, alone: bool = False) -> _T:
        """Do ``work`` in a ``write``, and again where the engine undid it for another's sake."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self.write(scope, alone=alone) as connection:
                    return work(connection)
            except Collision:
                if attempt == _ATTEMPTS:
                    raise
                # Two that met must not meet again, so neither waits as long as the other.
                time.sleep(random.uniform(0.0, 0.01 * 2**attempt))  # noqa: S311  # no secret
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close connections; those in use follow when their transaction ends. Idempotent."""
        self.pool.close()


class Transaction:
    """One transaction as a ``with`` block. An error of ours rolls back; an engine's is translated.

    A connection on which anything but an error of ours was raised is never used again. One that
    went stale while it rested is exchanged before the block begins.
    """

    __slots__ = ("_alone", "_connection", "_database", "_mark", "_scope", "_transaction", "_write")

    def __init__(
        self, database: Database, scope: Scope | None, *, write: bool, alone: bool = False
    ) -> None:
        self._database = database
        self._scope = scope
        self._write = write
        self._alone = alone
        self._mark: object = None
        self._connection: Connection | None = None
        self._transaction: RootTransaction | None = None

    def __enter__(self) -> Connection:
        if self._write:
            self._database.acquire_writer()
        try:
            while not self._begun():
                pass
        except BaseException as error:
            self._end(sound=False)
            raise_translated(self._database, error, Outcome.NOT_APPLIED)
            raise
        assert self._connection is not None
        return self._connection

    def _begun(self) -> bool:
        database = self._database
        self._connection = connection = database.pool.borrow(database.login_of(self._scope))
        # Asked before, because a connection that is found broken no longer says.
        rested = database.pool.rested(connection)
        try:
            self._transaction = connection.begin()
            self._mark = database.begin(
                connection, self._scope, write=self._write, alone=self._alone
            )
        except Exception as error:
            if not (rested and database.is_disconnect(error)):
                raise
            # Nothing was done on it yet, and those that rested beside it are as stale.
            self._connection = None
            database.pool.give_back(connection, sound=False)
            database.pool.drop_idle()
            return False
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._transaction is not None
        outcome = Outcome.NOT_APPLIED
        sound = False
        failure: Exception | None = None
        try:
            if error is None:
                if self._write:
                    outcome = Outcome.UNKNOWN
                self._transaction.commit()
                sound = True
            elif isinstance(error, StoreError):
                self._transaction.rollback()
                sound = True
        except Exception as broken:  # noqa: BLE001  # looked at below
            if error is None:
                failure = broken
        finally:
            self._end(sound=sound)
        if failure is not None:
            if self._write and self._database.is_disconnect(failure):
                outcome = self._database.settle(self._mark)
                if outcome is Outcome.APPLIED:
                    return
            raise_translated(self._database, failure, outcome)
            raise failure
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
