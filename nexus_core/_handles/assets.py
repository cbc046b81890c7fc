"""``n.assets``: the catalogue of raw assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs

from nexus_core._handles.gate import Gate
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.raw import RawHandle, check_limit
from nexus_core._model.errors import ContextMismatchError, InvalidArgumentError, NotFoundError
from nexus_core._model.filters import Filter, filter_to_data
from nexus_core._model.ids import asset_id, check_id
from nexus_core._model.records import Insert, Record
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole


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


@attrs.frozen(kw_only=True)
class AssetPage:
    """One page of the catalogue in id order; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[Asset, ...]
    cursor: str | None


@final
class AssetsHandle:
    """The asset catalogue of one scope."""

    __slots__ = ("_gate", "_ledger", "_raw")

    def __init__(self, gate: Gate, raw: RawHandle) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._raw = raw

    def register(self, key: str, *, logical_key: str | None = None) -> Asset:
        """Catalogue a stored object as an asset: atomic and idempotent.

        Kind, space, subject, flags, size and SHA-256 are those of the object, which must exist
        (``NotFoundError``). The id is derived from them, so registering again gives the same asset.
        """
        name = check_logical_key(key if logical_key is None else logical_key)
        self._gate.admit(Action.ASSET_PUT, (key,))
        found = self._raw.head(key)
        asset = self.build(
            logical_key=name,
            object_key=key,
            sha256=found.sha256,
            size=found.size,
            content_type=found.content_type,
            governance=found.governance,
        )
        with self._gate.mutation(
            Action.ASSET_PUT,
            StoreRole.ATOMS,
            (asset.id,),
            kind=asset.governance.kind,
            space=asset.governance.space,
            admitted=True,
        ) as mutation:
            existing = self._ledger.get("assets", [asset.id])[0]
            if existing is not None:
                mutation.unchanged = True
                return asset_of(existing)
            self._ledger.commit(
                [
                    self.insertion(asset),
                    self._ledger.event(
                        Action.ASSET_PUT,
                        asset.governance,
                        source_ids=[key],
                        result_ids=[asset.id],
                    ),
                ]
            )
        return asset

    def get(self, ids: str | Sequence[str]) -> list[Asset | None]:
        """Return assets aligned with ``ids``; ``None`` where this scope has none."""
        wanted = [check_id(i, "the asset id") for i in ([ids] if isinstance(ids, str) else ids)]
        self._gate.admit(Action.ASSET_GET, wanted)
        records = self._ledger.get("assets", wanted)
        self._gate.accessed(Action.ASSET_GET, StoreRole.ATOMS, wanted)
        return [None if record is None else asset_of(record) for record in records]

    def query(
        self, where: Filter | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> AssetPage:
        """Return assets that match, in id order, a page at a time."""
        check_limit(limit)
        self._gate.admit(Action.ASSET_QUERY)
        records, following = query_page(self._ledger, "assets", where, cursor=cursor, limit=limit)
        self._gate.accessed(Action.ASSET_QUERY, StoreRole.ATOMS, [r.id for r in records])
        return AssetPage(items=tuple(asset_of(record) for record in records), cursor=following)

    # -- for the flows beside this handle ------------------------------------------------------

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


def require_asset(ledger: Ledger, wanted: str) -> Asset:
    """Return one asset or raise ``NotFoundError``."""
    record = ledger.get("assets", [wanted])[0]
    if record is None:
        raise NotFoundError("no such asset")
    return asset_of(record)


def check_logical_key(value: object) -> str:
    """Return a logical key: 1 to 1024 bytes of printable text; raise otherwise."""
    if (
        type(value) is str
        and value.isprintable()
        and 1 <= len(value.encode("utf-8", "replace")) <= 1024
    ):
        return value
    raise InvalidArgumentError("the logical key is not 1 to 1024 bytes of printable text")


def query_page(
    ledger: Ledger, collection: str, where: Filter | None, *, cursor: str | None, limit: int
) -> tuple[tuple[Record, ...], str | None]:
    """One page of a collection under a sealed cursor that only this query accepts."""
    gate = ledger.gate
    purpose = f"{collection}.query"
    tokens = gate.runtime.tokens
    binding = None if where is None else filter_to_data(where)
    after = None if cursor is None else tokens.open(purpose, binding, cursor, now=gate.now())
    records, following = ledger.page(collection, where, after=after, limit=limit)
    sealed = None if following is None else tokens.seal(purpose, binding, following, now=gate.now())
    return records, sealed
