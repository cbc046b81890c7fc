"""``n.assets``: the catalogue of raw assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs

from nexus_core._handles.catalogue import Asset, Catalogue, asset_of, check_logical_key
from nexus_core._handles.checks import check_limit, check_many
from nexus_core._handles.gate import Gate
from nexus_core._handles.ledger import Ledger
from nexus_core._handles.objects import Objects
from nexus_core._handles.protection import Protecting, Protection
from nexus_core._model.filters import Filter
from nexus_core._model.ids import check_id
from nexus_core._model.keys import check_user_key
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import StoreRole


@attrs.frozen(kw_only=True)
class AssetPage:
    """One page of the catalogue in id order; ``cursor`` is ``None`` when nothing is left."""

    items: tuple[Asset, ...]
    cursor: str | None


@final
class AssetsHandle:
    """The asset catalogue of one scope."""

    __slots__ = ("_catalogue", "_gate", "_ledger", "_objects")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._catalogue = Catalogue(gate)
        self._objects = Objects(gate)

    def register(self, key: str, *, logical_key: str | None = None) -> Asset:
        """Catalogue a stored object as an asset: atomic and idempotent.

        Kind, space, subject, flags, size and SHA-256 are those of the object, which must exist
        (``NotFoundError``). The id is derived from them, so registering again gives the same asset.
        """
        check_user_key(key)
        name = check_logical_key(key if logical_key is None else logical_key)
        self._gate.admit(Action.ASSET_PUT, (key,))
        found = self._objects.head(key)
        asset = self._catalogue.build(
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
                stored = asset_of(existing)
                asset.governance.ensure_kept_by(stored.governance)
                mutation.unchanged = True
                return stored
            self._ledger.commit(
                [
                    self._catalogue.insertion(asset),
                    self._ledger.event(
                        Action.ASSET_PUT,
                        asset.governance,
                        source_ids=[key],
                        result_ids=[asset.id],
                    ),
                ]
            )
        return asset

    def set_legal_hold(
        self,
        asset: str,
        *,
        hold: bool,
        expected_version: int | None = None,
    ) -> Asset:
        """Place a legal hold on an asset, or lift it: idempotent. Owners and admins only.

        Covers the stored bytes, and every atom made from it: none of them is deleted while it
        holds, whatever it says of itself. The bytes are held first, and set free first; a kill
        between is finished by asking again. Raises ``NotFoundError``, and
        ``PreconditionFailedError`` when the version has moved on.
        """
        return self._protected(asset, Protection.of_hold(hold), expected_version)

    def set_retention(
        self, asset: str, until: int, *, expected_version: int | None = None
    ) -> Asset:
        """Retain an asset until then (µs since the epoch), as ``set_legal_hold`` does: a period
        can be extended, and nothing shortens it (``RetentionError``)."""
        change = Protection.of_period(until, self._gate.now())
        return self._protected(asset, change, expected_version)

    def _protected(self, asset: str, change: Protection, expected_version: int | None) -> Asset:
        check_id(asset, "the asset id")
        with self._gate.mutation(change.action, StoreRole.ATOMS, (asset,)) as mutation:
            protecting = Protecting(self._gate)
            found = asset_of(protecting.checked("assets", asset, change, expected_version))
            mutation.begun = protecting.bytes_of(found, change)
            record = protecting.record(mutation, "assets", asset, change, expected_version)
        return asset_of(record)

    def get(self, ids: str | Sequence[str]) -> list[Asset | None]:
        """Return assets aligned with ``ids``, at most 10 000; ``None`` where there is none."""
        check_many([ids] if isinstance(ids, str) else ids, "ids")
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
        records, following = self._ledger.sealed_page("assets", where, cursor=cursor, limit=limit)
        items = tuple(asset_of(record) for record in records)
        ids = [item.id for item in items]
        self._ledger.asked(Action.ASSET_QUERY, [item.governance for item in items], ids)
        self._gate.accessed(Action.ASSET_QUERY, StoreRole.ATOMS, ids)
        return AssetPage(items=items, cursor=following)
