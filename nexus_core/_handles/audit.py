"""``n.audit``: the scope's own trail, read, verified and exported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, final

import attrs

from nexus_core._audit import AuditRecord, ErasedRecord, VerificationReport, decode, verify
from nexus_core._audit import export as exporters
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate
from nexus_core._handles.raw import check_limit
from nexus_core._model.errors import InvalidArgumentError
from nexus_core._security.permissions import Action
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.capabilities import StoreRole


@attrs.frozen(kw_only=True)
class AuditPage:
    """Records in order; ``following`` is the index to continue from, ``None`` at the end."""

    items: tuple[AuditRecord | ErasedRecord, ...]
    following: int | None


@final
class AuditHandle:
    """The audit trail of one scope."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
