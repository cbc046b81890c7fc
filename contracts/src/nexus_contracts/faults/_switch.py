"""The one switch that all proxies of an injector look at: which fault is on, what it counted."""

from __future__ import annotations

import threading

from nexus_contracts.faults._model import Fault, FaultKind, Strikes


class Switch:
    """Off, or set to one fault. Safe from any thread; counting starts anew at each setting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._passed = 0
        self._strikes = Strikes()

    def set(self, fault: Fault | None) -> Strikes:
        """Turn to another fault, or off; give the counter of its strikes."""
        with self._lock:
            self._fault, self._passed, self._strikes = fault, 0, Strikes()
            return self._strikes

    def on(self, kind: FaultKind) -> Fault | None:
        """The fault that is on, if it is of this kind and has strikes left."""
        with self._lock:
            return self._current(kind)

    def strikes(self, kind: FaultKind) -> bool:
        """Whether the fault strikes the next one of what it counts; one more has come then."""
        with self._lock:
            fault = self._current(kind)
            if fault is None:
                return False
            if self._passed < fault.after:
                self._passed += 1
                return False
            self._strikes.count += 1
            return True

    def allows(self, kind: FaultKind, size: int) -> int | None:
        """How many of ``size`` bytes still pass; ``None`` if all do, else it has struck."""
        with self._lock:
            fault = self._current(kind)
            if fault is None:
                return None
            left = fault.after - self._passed
            if size <= left:
                self._passed += size
                return None
            self._passed = fault.after
            self._strikes.count += 1
            return left

    def _current(self, kind: FaultKind) -> Fault | None:
        fault = self._fault
        if fault is None or fault.kind is not kind:
            return None
        spent = fault.times is not None and self._strikes.count >= fault.times
        return None if spent else fault
