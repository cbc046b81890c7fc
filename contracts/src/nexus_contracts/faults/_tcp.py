"""The injector of backends that reach their engine over TCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from nexus_contracts.faults._model import Fault, FaultKind, Strikes
from nexus_contracts.faults._proxy import FaultProxy
from nexus_contracts.faults._switch import Switch

if TYPE_CHECKING:
    from nexus_contracts._harness import Namespace

_ROAD: Final = frozenset(
    (
        FaultKind.LATENCY,
        FaultKind.REFUSED,
        FaultKind.BLACKHOLE,
        FaultKind.CUT_REQUEST,
        FaultKind.CUT_RESPONSE,
        FaultKind.LOST_RESPONSE,
    )
)
_HTTP: Final = frozenset((FaultKind.BUSY, FaultKind.THROTTLED))


class TcpFaults:
    """A ``FaultInjector`` with a ``FaultProxy`` before each address of the engine.

    ``settings(namespace, *ports)`` gives settings that lead to these ports of 127.0.0.1, one for
    each of ``upstreams`` in order, and otherwise to the same store as the harness's own. ``http``
    says that the engine speaks HTTP/1.1, so that 429 and 503 can be answered in its place.
    """

    def __init__(
        self,
        upstreams: Sequence[tuple[str, int]],
        settings: Callable[..., Any],
        *,
        http: bool = False,
    ) -> None:
        self._switch = Switch()
        self._settings = settings
        self._http = http
        self.proxies = [FaultProxy(*each, switch=self._switch) for each in upstreams]

    @property
    def kinds(self) -> frozenset[FaultKind]:
        """Everything that can happen on the road, and with HTTP what an engine in need says."""
        return _ROAD | _HTTP if self._http else _ROAD

    def settings(self, namespace: Namespace) -> Any:
        """The given settings, through the proxies."""
        return self._settings(namespace, *(proxy.port for proxy in self.proxies))

    @contextmanager
    def inject(self, fault: Fault) -> Iterator[Strikes]:
        """Cause a fault on all roads together until the block ends."""
        strikes = self._switch.set(fault)
        for proxy in self.proxies:
            proxy.settle(fault)
        try:
            yield strikes
        finally:
            self._switch.set(None)
            for proxy in self.proxies:
                proxy.settle(None)

    def close(self) -> None:
        """Stop the proxies. Idempotent."""
        for proxy in self.proxies:
            proxy.close()
