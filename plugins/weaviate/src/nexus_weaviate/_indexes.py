"""A scope's list of its indexes: objects in a native tenant of the scope's own.

The server has no conditional write. So each life of an index has an object of its own, a claim, and
whoever makes an index first claims it and then looks for others: of two that claim at the same time
at least one sees both, and steps back. Only a claim that was alone is marked as made, and only such
a one is an index. A claim is written after its shard was made, and marked as leaving before its
shard goes, so that an index in the list has its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import attrs

from nexus_core.spi import (
    BackendError,
    IndexDefinition,
    IndexRef,
    IntegrityError,
    Outcome,
    Scope,
    StoreError,
    TenantInactiveError,
)
from nexus_weaviate._engine import Engine, translated, unprovisioned
from nexus_weaviate._errors import absent
from nexus_weaviate._library import classes
from nexus_weaviate._names import claim_uuid, index_collection
from nexus_weaviate._schema import DEFINITION, INCARNATION, SLOT, STATE, is_there

_PAGE: Final = 1000
_PROPERTIES: Final = (SLOT, DEFINITION, INCARNATION, STATE)


State: TypeAlias = Literal["making", "made", "leaving"]


@attrs.frozen
class Claim:
    """One life of an index, and how far it is."""

    ref: IndexRef
    state: State = "made"

    @property
    def slot(self) -> str:
        """Name and version, which one index of a scope has."""
        return slot_of(self.ref.definition.name, self.ref.definition.version)


def slot_of(name: str, version: int) -> str:
    """A name and a version as one text: no name has an ``@``."""
    return f"{name}@{version}"


@attrs.frozen(eq=False)
class Indexes:
    """The list of one scope's indexes."""

    engine: Engine
    prefix: str
    scope: Scope

    @property
    def _collection(self) -> str:
        return index_collection(self.prefix, self.scope.env)

    @property
    def _native(self) -> Any:
        return self.engine.shard(self._collection, self.scope.tenant_id)

    def ensure(self) -> None:
        """Make the scope's native tenant unless it is there."""
        if status(self.engine, self._collection, self.scope.tenant_id) is None:
            make(self.engine, self._collection, self.scope.tenant_id)

    def at(self, name: str, version: int) -> list[Claim]:
        """The claims to a name and version: one, unless an index is just made or dropped."""
        by = classes().query.Filter.by_property(SLOT).equal(slot_of(name, version))
        try:
            with translated():
                found = self._native.query.fetch_objects(
                    limit=_PAGE, filters=by, return_properties=list(_PROPERTIES)
                )
        except BackendError as error:
            raise self._reason(error) from None
        return [_claim(each.properties) for each in found.objects]

    def all(self) -> list[Claim]:
        """Every claim of the scope, by name and version."""
        claims = sorted(self._pages(), key=lambda claim: claim.ref.incarnation)
        return sorted(
            claims, key=lambda claim: (claim.ref.definition.name, claim.ref.definition.version)
        )

    def _pages(self) -> Iterator[Claim]:
        after: Any = None
        while True:
            try:
                with translated():
                    found = self._native.query.fetch_objects(
                        limit=_PAGE, after=after, return_properties=list(_PROPERTIES)
                    )
            except BackendError as error:
                raise self._reason(error) from None
            if not found.objects:
                return
            yield from (_claim(each.properties) for each in found.objects)
            after = found.objects[-1].uuid

    def put(self, *claims: Claim) -> None:
        """Write claims, or write them anew; in the list when it returns."""
        if not claims:
            return
        made = classes().data.DataObject
        objects = [
            made(
                uuid=claim_uuid(claim.slot, claim.ref.incarnation),
                properties={
                    SLOT: claim.slot,
                    DEFINITION: json.dumps(claim.ref.definition.to_data()),
                    INCARNATION: claim.ref.incarnation,
                    STATE: claim.state,
                },
            )
            for claim in claims
        ]
        try:
            with translated(Outcome.UNKNOWN):
                done = self._native.data.insert_many(objects)
            if done.errors:
                raise BackendError("the list of indexes was not written", outcome=Outcome.UNKNOWN)
        except BackendError as error:
            raise self._reason(error) from None

    def remove(self, claim: Claim) -> None:
        """Take a claim off the list; idempotent."""
        with translated(Outcome.UNKNOWN):
            self._native.data.delete_by_id(claim_uuid(claim.slot, claim.ref.incarnation))

    def forget(self) -> None:
        """Remove the whole list, with the scope's native tenant; idempotent."""
        unmake(self.engine, self._collection, self.scope.tenant_id)

    def _reason(self, error: StoreError) -> StoreError:
        """What stands behind a refusal."""
        state = status(self.engine, self._collection, self.scope.tenant_id)
        if state is None:
            return absent() if is_there(self.engine, self._collection) else unprovisioned()
        return error if state else inactive()


def _claim(properties: Any) -> Claim:
    try:
        definition = IndexDefinition.from_data(json.loads(properties[DEFINITION]))
        return Claim(IndexRef(definition, str(properties[INCARNATION])), properties[STATE])
    except (KeyError, TypeError, ValueError, StoreError):
        raise IntegrityError(
            "the list of indexes holds something that is no index",
            hint="something else writes to the store's collections; restore it from a backup",
        ) from None


def inactive(outcome: Outcome = Outcome.NOT_APPLIED) -> TenantInactiveError:
    """The answer for a native tenant that is switched off; no data call switches one on."""
    return TenantInactiveError(
        "the server has this index or scope switched off",
        hint="activate the index, or the scope's tenant on the server",
        outcome=outcome,
    )


def status(engine: Engine, collection: str, name: str) -> bool | None:
    """Whether a native tenant is active; ``None`` where it, or its collection, is not there."""
    client = engine.client
    try:
        with translated():
            found = client.collections.use(collection).tenants.get_by_names([name])
    except BackendError:
        if is_there(engine, collection):
            raise
        return None
    each = found.get(name)
    return None if each is None else str(each.activity_status.value) == "ACTIVE"


def switch(engine: Engine, collection: str, name: str, *, active: bool) -> None:
    """Switch a native tenant that is there on or off; idempotent."""
    tenants = engine.client.collections.use(collection).tenants
    with translated(Outcome.UNKNOWN):
        if active:
            tenants.activate(name)
        else:
            tenants.deactivate(name)


def make(engine: Engine, collection: str, name: str) -> None:
    """Make a native tenant; idempotent."""
    client = engine.client
    with translated(Outcome.UNKNOWN):
        client.collections.use(collection).tenants.create([name])


def unmake(engine: Engine, collection: str, name: str) -> None:
    """Remove a native tenant with all its objects; idempotent. None is readable afterwards."""
    client = engine.client
    try:
        with translated(Outcome.UNKNOWN):
            client.collections.use(collection).tenants.remove([name])
    except BackendError:
        if is_there(engine, collection):
            raise
