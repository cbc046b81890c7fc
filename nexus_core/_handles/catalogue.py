"""The catalogue of one scope, for whoever is already admitted and audited."""

from __future__ import annotations

from typing import final

import attrs

from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._model.errors import ContextMismatchError, InvalidArgumentError
from nexus_core._model.ids import asset_id
from nexus_core._model.records import Insert, Record


@attrs.frozen(kw_only=True)
class Asset:
    """One catalogued raw asset: immutable bytes under ``object_key``, named by ``logical_key``."""

    id: str
    version: int
    logical_key: str
    object_key: str
    sha256: str
    size: int
    content_type: str
    governance: Governance
    created_at: int
    created_by: str
    trace_id: str


@final
class Catalogue:
    """Makes and reads asset records of one scope, for one request."""

    __slots__ = ("_gate", "_ledger")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)

    def build(
        self,
        *,
        logical_key: str,
        object_key: str,
        sha256: str,
        size: int,
        content_type: str,
        governance: Governance,
    ) -> Asset:
        """Make the asset with its derived id, writing nothing."""
        context = self._gate.context
        if governance.subject != context.subject:
            raise ContextMismatchError(
                ["subject"], hint="act with the subject that the object is about"
            )
        return Asset(
            id=asset_id(
                context.scope,
                subject=governance.subject,
                logical_key=logical_key,
                sha256=sha256,
            ),
            version=1,
            logical_key=logical_key,
            object_key=object_key,
            sha256=sha256,
            size=size,
            content_type=content_type,
            governance=governance,
            created_at=self._gate.now(),
            created_by=context.actor.id,
            trace_id=context.trace_id,
        )

    def insertion(self, asset: Asset) -> Insert:
        """The operation that catalogues an asset, leaving an existing one as it is."""
        fields = {
            **asset.governance.record_fields(),
            "logical_key": asset.logical_key,
            "object_key": asset.object_key,
            "sha256": asset.sha256,
            "size": asset.size,
            "content_type": asset.content_type,
            "created_at": asset.created_at,
            "created_by": asset.created_by,
        }
        body = {
            "logical_key": asset.logical_key,
            "object_key": asset.object_key,
            "sha256": asset.sha256,
            "size": asset.size,
            "content_type": asset.content_type,
            "governance": asset.governance.to_data(),
            "created_at": asset.created_at,
            "created_by": asset.created_by,
            "trace_id": asset.trace_id,
        }
        return Insert(self._ledger.record("assets", asset.id, fields, body), if_exists="keep")


def asset_of(record: Record) -> Asset:
    """Read an asset back from its record."""
    body = body_of(record)
    return Asset(
        id=record.id,
        version=record.version,
        logical_key=body["logical_key"],
        object_key=body["object_key"],
        sha256=body["sha256"],
        size=body["size"],
        content_type=body["content_type"],
        governance=Governance.from_data(body["governance"]),
        created_at=body["created_at"],
        created_by=body["created_by"],
        trace_id=body["trace_id"],
    )


def check_logical_key(value: object) -> str:
    """Return a logical key: 1 to 1024 bytes of printable text; raise otherwise."""
    if (
        type(value) is str
        and value.isprintable()
        and 1 <= len(value.encode("utf-8", "replace")) <= 1024
    ):
        return value
    raise InvalidArgumentError("the logical key is not 1 to 1024 bytes of printable text")
