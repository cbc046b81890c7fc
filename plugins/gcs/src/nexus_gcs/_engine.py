"""The seam: every request goes through here, and nothing but ``Failure`` comes out."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from nexus_core.spi import (
    ClosedError,
    Outcome,
    Runtime,
    Scope,
    StoreError,
    UnavailableError,
    encode_object_name,
)
from nexus_gcs._config import GcsConfig
from nexus_gcs._failures import Failure, Kind, classify, translate
from nexus_gcs._hush import Hushed, listen
from nexus_gcs._session import Identity

if TYPE_CHECKING:
    from nexus_gcs._wire import Wire

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


def once(request: Callable[[], T]) -> T:
    """One request; raises ``Failure`` and nothing else that the libraries could raise."""
    failure: Failure
    try:
        with Hushed():
            return request()
    except (Failure, StoreError):
        raise
    except Exception as error:  # noqa: BLE001  # the library leaks any kind on odd answers
        failure = classify(error)
    raise failure


class Patience:
    """How often requests are repeated, and the pauses between them, with full jitter."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    def pause(self, turn: int, failure: Failure) -> bool:
        """Wait before the next attempt after the one numbered; ``False`` if none is left."""
        if turn + 1 >= self._attempts:
            return False
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**turn)
        wait = random.uniform(0, longest)  # noqa: S311  # spreads load, guards nothing
        time.sleep(max(wait, min(failure.retry_after or 0.0, _LONGEST_PAUSE)))
        return True

    def repeat(self, request: Callable[[], T]) -> T:
        """Send what does no harm when it is sent twice, until it passes; raises ``Failure``."""
        turn = 0
        while True:
            try:
                return once(request)
            except Failure as failure:
                if not failure.passes or not self.pause(turn, failure):
                    raise
            turn += 1

    def told(self, request: Callable[[], T], outcome: Outcome | None = None) -> T:
        """``repeat``, and what remains is raised as an error of the tree."""
        try:
            return self.repeat(request)
        except Failure as failure:
            error = translate(failure, outcome)
        raise error

    def listed(self, request: Callable[[], T]) -> T:
        """``told`` for a listing, where nothing but the bucket can be absent."""
        try:
            return self.repeat(request)
        except Failure as failure:
            kind = Kind.NO_BUCKET if failure.kind is Kind.ABSENT else failure.kind
            error = translate(Failure(kind, failure.status), Outcome.NOT_APPLIED)
        raise error


@attrs.frozen
class Target:
    """One physical name in its bucket."""

    bucket: Any = attrs.field(repr=False, eq=False)
    name: str = attrs.field(repr=False)
    key: str

    def blob(self, generation: int | None = None) -> Any:
        """A fresh handle of the library's; nothing is sent."""
        return self.bucket.blob(self.name, generation=generation)


@attrs.define(eq=False)
class _Opened:
    """What belongs to one process: connections must not be shared with a forked child."""

    process: int
    session: Any
    client: Any
    wire: Wire | None


class Engine:
    """The store's way to its buckets. Safe for threads, and after a fork."""

    def __init__(self, config: GcsConfig, runtime: Runtime) -> None:
        self.config = config
        self.now = runtime.now
        self.patience = Patience(config.attempts)
        self.timeout = (config.connect_seconds, config.read_seconds)
        self.identity = Identity.of(config, runtime)
        if config.transport == "obstore":
            from nexus_gcs._wire import library, refuse_ambient

            library()
            refuse_ambient()
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._closed = False

    def client(self) -> Any:
        """The library's client; raises ``ClosedError`` after ``close``."""
        return self._open().client

    def session(self) -> Any:
        """The session that carries the client's requests."""
        return self._open().session

    def wire(self, name: str) -> Wire | None:
        """The fast road to a name, ``None`` where there is none."""
        wire = self._open().wire
        if wire is None:
            return None
        from nexus_gcs._wire import able

        return wire if able(name) else None

    def _open(self) -> _Opened:
        if self._closed:
            raise ClosedError("the store is closed")
        opened = self._opened
        if opened is not None and opened.process == os.getpid():
            return opened
        if opened is not None:
            # A lock may have been held by another thread when this process was forked off.
            self._lock = threading.Lock()
        with self._lock:
            opened = self._opened
            if opened is None or opened.process != os.getpid():
                opened = self._opened = self._fresh()
            return opened

    def _fresh(self) -> _Opened:
        failure: Failure
        try:
            with Hushed():
                session = self.identity.session()
                client = self.identity.client(session)
                opened = _Opened(os.getpid(), session, client, self._fast(session))
            listen()
            return opened
        except Exception as error:  # noqa: BLE001  # ambient credentials fail in many ways
            failure = classify(error)
        raise translate(failure, Outcome.NOT_APPLIED)

    def _fast(self, session: Any) -> Wire | None:
        if self.config.transport != "obstore":
            return None
        from nexus_gcs._wire import Wire

        renewal = self.identity.renewal()
        return Wire(self.config, session.credentials, renewal, self.identity.ca)

    def bucket(self, scope: Scope) -> Any:
        """The bucket of a scope; raises ``UnavailableError`` where no setting gives one."""
        name = self.config.bucket_of(scope)
        if name is None:
            self._open()
            raise UnavailableError(
                "this store has no bucket for the scope",
                hint="an operator must name one in the store's setting `buckets`",
                retryable=False,
                outcome=Outcome.NOT_APPLIED,
            )
        return self.client().bucket(name)

    def target(self, scope: Scope, key: str) -> Target:
        """The physical name of a key."""
        return Target(self.bucket(scope), encode_object_name(scope, key), key)

    def ready(self) -> None:
        """Raise ``ClosedError`` after ``close``."""
        if self._closed:
            raise ClosedError("the store is closed")

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._closed = True
        opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.client.close()
            if opened.wire is not None:
                opened.wire.close()
