"""The seam: every request to the engine goes through here; only ``Failure`` comes out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from nexus_core.spi import ClosedError, ConfigurationError, InvalidArgumentError, Scope
from nexus_s3._failures import Failure, Kind, classify, translate
from nexus_s3._hush import OURS

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


# Never changed once made; to be frozen would double what making one costs.
@attrs.define
class Target:
    """One key of one scope: where its object is, and the client that reaches it. With a ``version``
    it is that one, which is only ever read or locked. ``lock`` is the mode of the engine's own
    lock, where the settings use it."""

    client: Any = attrs.field(repr=False, eq=False)
    bucket: str = attrs.field(repr=False)
    name: str = attrs.field(repr=False)
    key: str = ""
    version: str | None = attrs.field(default=None, repr=False)
    lock: str | None = attrs.field(default=None, repr=False)

    def call(self, operation: str, **parameters: Any) -> Any:
        """One request about this name, once; raises ``Failure``."""
        if self.version is not None:
            parameters.setdefault("VersionId", self.version)
        return call(self.client, operation, Bucket=self.bucket, Key=self.name, **parameters)


def call(client: Any, operation: str, **parameters: Any) -> Any:
    """One request, once; raises ``Failure`` and nothing else that the library could raise."""
    failure: Failure
    # What ``Hushed`` does, in place: every request goes through here.
    OURS.depth += 1
    try:
        return getattr(client, operation)(**parameters)
    except (Failure, KeyboardInterrupt, SystemExit):
        raise
    except (ClosedError, ConfigurationError, InvalidArgumentError):
        raise
    except Exception as error:  # noqa: BLE001  # the library leaks any kind on odd answers
        failure = classify(error)
    finally:
        OURS.depth -= 1
    raise failure


def given(answer: Any, name: str) -> str:
    """A text that an answer must hold; raises ``Failure`` where it does not."""
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, str) or not value:
        raise Failure(Kind.STRANGE)
    return value


class Patience:
    """How often requests are repeated, and the pauses between them, with full jitter."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    def turns(self) -> range:
        """A number for each attempt."""
        return range(self._attempts)

    def pause(self, turn: int) -> bool:
        """Wait before the next attempt; ``False`` if there is none left."""
        if turn + 1 >= self._attempts:
            return False
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**turn)
        time.sleep(random.uniform(0, longest))  # noqa: S311  # spreads load, guards nothing
        return True

    def repeat(self, request: Callable[[], T]) -> T:
        """Send what does no harm when it is sent twice, until it passes; raises ``Failure``."""
        turn = 0
        while True:
            try:
                return request()
            except Failure as failure:
                if not failure.passes or not self.pause(turn):
                    raise
            turn += 1

    def told(self, request: Callable[[], T]) -> T:
        """``repeat``, and what remains is raised as an error of the tree."""
        try:
            return self.repeat(request)
        except Failure as failure:
            error = translate(failure)
        raise error


def scope_client(of: Callable[[Scope], Any], scope: Scope) -> Any:
    """The client of a scope; raises an error of the tree where a session could not be had."""
    try:
        return of(scope)
    except Failure as failure:
        error = translate(failure if failure.kind is not Kind.ABSENT else Failure(Kind.DENIED))
    raise error
