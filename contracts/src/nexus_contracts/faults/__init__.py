"""Faults on purpose: what may go wrong between a backend and its engine, and who makes it so.

A harness that offers a ``FaultInjector`` has its backend tried under every fault of it. A backend
that reaches its engine over TCP needs to write none: ``TcpFaults`` puts a ``FaultProxy`` on the
road. One that calls the operating system from Python has ``OsFaults``.
"""

from __future__ import annotations

from nexus_contracts.faults._model import Fault, FaultInjector, FaultKind, Strikes
from nexus_contracts.faults._os import OsFaults
from nexus_contracts.faults._proxy import FaultProxy
from nexus_contracts.faults._tcp import TcpFaults

__all__ = [
    "Fault",
    "FaultInjector",
    "FaultKind",
    "FaultProxy",
    "OsFaults",
    "Strikes",
    "TcpFaults",
]
