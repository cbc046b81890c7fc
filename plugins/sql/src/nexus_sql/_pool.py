"""The connections of one database, and what becomes of them when the process forks.

Not SQLAlchemy's pool, because a fork needs more than it does. SQLite keeps its locks in books of
the process, and a child inherits the books without the locks. A connection that the child opens
itself trusts them: it locks nothing, and when the parent closes, the log with the child's commits
is deleted as nobody's. So a fork waits until no transaction is running and closes what is at rest;
both sides then connect anew. A child that did inherit a connection is refused the database.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Final

import attrs
from sqlalchemy.engine import Connection, Engine

from nexus_core.spi import ClosedError, Outcome, StoreTimeoutError, UnavailableError

_BORN: Final = "nexus_born"
_RESTED: Final = "nexus_rested"
_LOGIN: Final = "nexus_login"

# How long a fork waits for running transactions, in seconds.
PATIENCE = 10.0


@attrs.frozen(kw_only=True)
class Limits:
    """How many connections there are, and for how long, in seconds; ``None`` is for ever."""

    size: int | None = None
    """How many at a time, lent and idle."""
    idle: int = 32
    timeout: float | None = None
    """How long a borrower waits for one."""
    lifetime: float | None = None


class Pool:
    """Connections, each for one borrower at a time. Safe to use from several threads.

    Connections of different logins are never mixed up; all of them share the limits.
    """

    def __init__(
        self,
        place: str,
        make_engine: Callable[[], Engine],
        connect: Callable[[Engine, str], Connection],
        limits: Limits | None = None,
    ) -> None:
        self._place = place
        self._make_engine = make_engine
        self._connect = connect
        self._limits = limits or Limits()
        self._engine: Engine | None = None
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        self._busy = 0
        self._closed = False
        self._pausing = False
        # Guards all of the above; held across a fork, so that nothing begins in the middle of it.
        self._door = threading.Condition()
        with _registry:
            _pools.add(self)

    def ensure_open(self) -> None:
        """Raise ``ClosedError`` after ``close``, and ``UnavailableError`` after a bad fork."""
        if self._closed:
            raise ClosedError("the store is closed")
        if self._place in _inherited:
            raise UnavailableError(
                "this process was forked while the database was in use, and cannot use it safely",
                hint="open stores after forking, or start processes by spawning them",
                retryable=False,
                outcome=Outcome.NOT_APPLIED,
            )

    @contextlib.contextmanager
    def occupied(self) -> Iterator[None]:
        """A block, in which the engine may be at work, that a fork waits for."""
        with self._door:
            self._enter()
        try:
            yield
        finally:
            self._leave()

    def borrow(self, login: str = "") -> Connection:
        """A connection for the caller alone, to be given back.

        Raises ``StoreTimeoutError`` where all stay in use for too long.
        """
        surplus: list[Connection] = []
        with self._door:
            self._enter(self._limits.size)
            connection = self._rested(login, surplus)
            if connection is not None:
                self._lent.add(connection)
            elif self._engine is None:
                self._engine = self._make_engine()
            engine = self._engine
        for each in surplus:
            _discard(each, sound=True)
        if connection is not None:
            return connection
        assert engine is not None
        try:
            connection = self._connect(engine, login)
            connection.info.update({_BORN: time.monotonic(), _LOGIN: login})
        except BaseException:
            self._leave()
            raise
        self._lent.add(connection)
        return connection

    def _rested(self, login: str, surplus: list[Connection]) -> Connection | None:
        """Take an idle connection of the login; put into ``surplus`` those that must go."""
        now, lifetime = time.monotonic(), self._limits.lifetime
        if lifetime is not None:
            old = [each for each in self._idle if now - each.info[_BORN] > lifetime]
            surplus += old
            self._idle = [each for each in self._idle if each not in old]
        for position in reversed(range(len(self._idle))):
            if self._idle[position].info[_LOGIN] == login:
                return self._idle.pop(position)
        # A new one is opened: where there is no room for it, the one that rested longest goes.
        size = self._limits.size
        while self._idle and size is not None and self._busy + len(self._idle) > size:
            surplus.append(self._idle.pop(0))
        return None

    def rested(self, connection: Connection) -> bool:
        """Whether it lay idle before it was borrowed."""
        return _RESTED in connection.info

    def give_back(self, connection: Connection, *, sound: bool) -> None:
        """Keep a connection for the next borrower, or discard one that broke in the middle."""
        with self._door:
            self._lent.discard(connection)
            kept = sound and not self._closed and len(self._idle) < self._limits.idle
            if kept:
                connection.info[_RESTED] = True
                self._idle.append(connection)
        if not kept:
            _discard(connection, sound=sound)
        self._leave()

    def drop_idle(self) -> None:
        """Close all that rest."""
        with self._door:
            idle, self._idle = self._idle, []
        for each in idle:
            _discard(each, sound=False)

    def close(self) -> None:
        """Close connections; those that are lent follow when they are given back. Idempotent."""
        with self._door:
            self._closed = True
            while self._idle:
                _discard(self._idle.pop(), sound=True)

    def _enter(self, most: int | None = None) -> None:
        # A fork that waits for those inside lets nobody else in, or it might wait for ever.
        self._door.wait_for(lambda: not self._pausing)
        if most is not None and not self._door.wait_for(
            lambda: self._closed or (self._busy < most and not self._pausing),
            self._limits.timeout,
        ):
            raise StoreTimeoutError(
                "all connections of the store stayed in use",
                hint="try again, or raise pool_size or pool_timeout_seconds",
                outcome=Outcome.NOT_APPLIED,
            )
        self.ensure_open()
        self._busy += 1

    def _leave(self) -> None:
        with self._door:
            self._busy -= 1
            self._door.notify_all()

    def pause(self, deadline: float) -> None:
        """Before a fork: let nobody begin, wait for those who did, and close what is at rest."""
        self._door.acquire()
        self._pausing = True
        self._door.wait_for(lambda: self._busy == 0, max(0.0, deadline - time.monotonic()))
        while self._idle:
            _discard(self._idle.pop(), sound=True)

    def resume(self) -> None:
        """After a fork, in the parent."""
        self._pausing = False
        self._door.notify_all()
        self._door.release()

    def begin_anew(self) -> None:
        """After a fork, in the child.

        What was inherited all the same is leaked, on purpose and for good: closing it could delete
        a log that is the parent's, and without one reference too many the interpreter would close
        it at its exit.
        """
        inherited = [*self._idle, *self._lent]
        for connection in inherited:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        if inherited or self._busy:
            _inherited.add(self._place)
        self._engine = None
        self._idle = []
        self._lent = set()
        self._busy = 0
        self._pausing = False
        self._door = threading.Condition()


def _discard(connection: Connection, *, sound: bool) -> None:
    # Whatever a broken connection says on its way out, the first error is the one that counts.
    with contextlib.suppress(Exception):
        if not sound:
            connection.invalidate()
    with contextlib.suppress(Exception):
        connection.close()


_registry = threading.Lock()
_pools: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()
_paused: Final[list[Pool]] = []
_inherited: Final[set[str]] = set()


def _before_fork() -> None:
    _registry.acquire()
    deadline = time.monotonic() + PATIENCE
    for pool in _pools:
        _paused.append(pool)
        pool.pause(deadline)


def _after_fork_in_parent() -> None:
    while _paused:
        _paused.pop().resume()
    _registry.release()


def _after_fork_in_child() -> None:
    global _registry  # noqa: PLW0603  # the old one is held by a thread that is not here
    _registry = threading.Lock()
    _paused.clear()
    for pool in _pools:
        pool.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
