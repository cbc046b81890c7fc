"""What a fault is, and what a harness has to offer so that the suite can cause some."""

from __future__ import annotations

import enum
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from attrs.validators import ge, gt, instance_of, optional

if TYPE_CHECKING:
    from nexus_contracts._harness import Namespace


class FaultKind(enum.StrEnum):
    """One way to fail. Each says what ``Fault.after`` counts before it strikes.

    A turn is a request of the client up to the answer that it gets.
    """

    LATENCY = "latency"
    """Everything comes, but late. Counts nothing: it strikes every piece that passes."""
    REFUSED = "refused"
    """Connections are reset when they are made, and those that stand are. Counts connections."""
    BLACKHOLE = "blackhole"
    """Connections stay open, and nothing passes any more in either direction. Counts turns."""
    CUT_REQUEST = "cut_request"
    """The connection is reset on the way to the engine. Counts bytes that got through."""
    CUT_RESPONSE = "cut_response"
    """The connection is reset on the way back. Counts bytes that got through."""
    LOST_RESPONSE = "lost_response"
    """The engine has done the work, and the connection is reset before its answer. Counts turns."""
    BUSY = "busy"
    """HTTP 503 in place of the engine, which sees nothing of the request. Counts turns."""
    THROTTLED = "throttled"
    """HTTP 429 in place of the engine, which sees nothing of the request. Counts turns."""
    IO_ERROR = "io_error"
    """A call of the operating system fails with EIO. Counts calls."""
    NO_SPACE = "no_space"
    """A call of the operating system fails with ENOSPC. Counts calls."""


@attrs.frozen
class Fault:
    """What is to go wrong: a kind, what passes before, and how often it strikes.

    ``times`` is ``None`` for as long as it is injected; with 1, whoever tries again gets through.
    ``seconds`` is the delay of ``LATENCY``.
    """

    kind: FaultKind = attrs.field(converter=FaultKind)
    after: int = attrs.field(default=0, kw_only=True, validator=[instance_of(int), ge(0)])
    times: int | None = attrs.field(default=None, kw_only=True, validator=optional(gt(0)))
    seconds: float = attrs.field(default=0.02, kw_only=True)

    def words(self) -> str:
        """The fault as a person would write it down."""
        often = "" if self.times is None else ", once" if self.times == 1 else f", {self.times}×"
        return f"{self.kind} after {self.after}{often}"


@attrs.define
class Strikes:
    """How often an injected fault has struck so far."""

    count: int = 0


class FaultInjector(Protocol):
    """Makes what lies between a backend and its engine fail, and mends it again.

    The suite opens two backends on one namespace: one with the harness's own ``settings``, which
    no fault ever reaches, and one with those of the injector. Through the first it looks at what
    the second has done. Time-outs in the injector's settings should be the shortest that the
    backend allows (a second will do), and its own retries few: every fault is waited for.
    """

    @property
    def kinds(self) -> frozenset[FaultKind]:
        """The faults that it can cause."""

    def settings(self, namespace: Namespace) -> Any:
        """Settings of the same store as those of the harness, over the road that can fail."""

    def inject(self, fault: Fault) -> AbstractContextManager[Strikes]:
        """Cause a fault until the block ends; then everything works again. One at a time.

        The counter tells how often it struck; where it did not, there was nothing to strike.
        """

    def close(self) -> None:
        """Free what it holds. Idempotent."""
