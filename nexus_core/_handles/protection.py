"""Legal holds and retention of what is stored: set, lifted and extended.

A hold can be set and lifted; a retention period can only be extended, whoever asks. Each is one
conditional write of the version that was looked at, so that no deletion, replacement or other
change can come between. What comes here is admitted and audited.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast, final

import attrs

from nexus_core._handles.catalogue import Asset
from nexus_core._handles.checks import MAX_PAGE
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate, Mutation
from nexus_core._handles.governance import ENGINE_UNIT, Governance
from nexus_core._handles.history import History
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.objects import Objects, RawObject, object_of, raw_backend
from nexus_core._model.errors import (
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    Outcome,
    PreconditionFailedError,
    RetentionError,
    StoreError,
    UnsupportedError,
)
from nexus_core._model.objects import ObjectAttributes, ObjectInfo
from nexus_core._model.records import Operation, Record, Replace
from nexus_core._security.permissions import Action
from nexus_core._spi.capabilities import RawCapabilities, StoreRole

# How often a change looks again at what was written under its eyes.
_TRIES: Final = 5


@attrs.frozen
class Protection:
    """One change of protection: a hold set or lifted, or a period extended."""

    action: Action
    hold: bool | None = None
    until: int | None = None

    @classmethod
    def of_hold(cls, hold: object) -> Protection:
        """A hold, or its lifting; raises ``InvalidArgumentError``."""
        if type(hold) is not bool:
            raise InvalidArgumentError("a legal hold is True or False")
        return cls(Action.HOLD_SET if hold else Action.HOLD_LIFT, hold=hold)

    @classmethod
    def of_period(cls, until: object, now: int) -> Protection:
        """A period, in microseconds since the epoch; raises ``InvalidArgumentError``."""
        if type(until) is not int or until <= now:
            raise InvalidArgumentError(
                "the end of retention is not a time to come", hint="microseconds since the epoch"
            )
        return cls(Action.RETENTION_EXTEND, until=until)

    def upon(self, own: Governance) -> Governance:
        """What becomes of one thing's governance; raises ``RetentionError`` for a shorter period"""
        if self.hold is not None:
            return attrs.evolve(own, legal_hold=self.hold)
        assert self.until is not None
        if self.covered_by(own):
            return own
        if own.retain_until is not None and own.retain_until > self.until:
            raise RetentionError(
                "it is retained for longer than that", hint="a retention period is only extended"
            )
        return attrs.evolve(own, retain_until=self.until)

    def covered_by(self, own: Governance) -> bool:
        """Whether a thing is retained until then already, as engines round it."""
        there = own.retain_until
        return (
            self.until is not None and there is not None and 0 <= there - self.until < ENGINE_UNIT
        )


@final
class Protecting:
    """Changes protection in one scope, for one request."""

    __slots__ = ("_gate", "_history", "_ledger", "_objects")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._objects = Objects(gate)
        self._history = History(gate, self._objects)

    # -- objects -----------------------------------------------------------------------------

    def object(
        self, key: str, change: Protection, if_match: str | None, version_id: str | None = None
    ) -> tuple[RawObject, bool]:
        """Change an object's protection; gives what it is now, and whether that was needed.

        An old version can be named where the engine has a lock of its own.
        """
        for _ in range(_TRIES):
            info = self._objects.info(key, version_id)
            if if_match not in (None, info.etag):
                raise PreconditionFailedError("the object has another version by now")
            own = object_of(info).governance
            wanted = change.upon(own)
            made, needed = object_of(info), wanted != own
            if needed:
                try:
                    made = self._changed(info, wanted, pinned=version_id is not None)
                except PreconditionFailedError:
                    if if_match is not None:
                        raise
                    continue
            if change.action is Action.HOLD_LIFT and version_id is None:
                self._lift_past(key, made)
            return made, needed
        raise PreconditionFailedError("the object keeps being replaced", hint="try again later")

    def _changed(self, info: ObjectInfo, wanted: Governance, *, pinned: bool) -> RawObject:
        """Put another governance with an object's bytes: by the engine's own lock where it has one,
        else by system metadata, which also goes where it says more than it should."""
        key = info.key
        store = self._gate.runtime.store(StoreRole.RAW)
        engine = cast("RawCapabilities", store.spec.capabilities).object_lock
        told = self._objects.stamped(key, info.attributes, wanted)

        def lock(store: OpenStore) -> ObjectInfo:
            return raw_backend(store).set_lock(
                self._gate.scope,
                key,
                str(info.version_id),
                **_wish(told, info.attributes),
            )

        def rewrite(store: OpenStore) -> ObjectInfo:
            self._gate.require(store, "conditional_replace")
            return raw_backend(store).set_system(
                self._gate.scope, key, told.system, if_match=info.etag
            )

        found = info
        if pinned and (not engine or told.system != info.attributes.system):
            raise UnsupportedError(
                "object_lock", hint="an old version keeps what was said of it when it was written"
            )
        if _wish(told, info.attributes):
            found = self._gate.call(StoreRole.RAW, lock)
        if told.system != info.attributes.system:
            try:
                found = self._gate.call(StoreRole.RAW, rewrite)
            except RetentionError:
                # Some engines rewrite nothing that is held. Words from before their lock then stay
                # beside it, and say the same.
                if not engine or not object_of(found).governance.stands_for(wanted):
                    raise
        made = self._gate.call(
            StoreRole.RAW, lambda _: self._objects.admitted(found, key, found.version_id)
        )
        if (made.size, made.sha256) != (info.size, info.sha256):
            raise IntegrityError("the store changed an object's bytes with its protection")
        if not made.governance.stands_for(wanted):
            raise IntegrityError("the store kept another protection than it was given")
        if engine and not pinned and self._objects.info(key).version_id != made.version_id:
            # Replaced at this moment: it is kept in the history, and what took its place is looked
            # at next.
            raise PreconditionFailedError("the object has another version by now")
        if info.version_id not in (None, made.version_id) and self._history.kept:
            # The same object with the words it had before: no older version to go back to.
            with suppress(StoreError):
                self._history.purge(key, [str(info.version_id)])
        return made

    def _lift_past(self, key: str, made: RawObject) -> None:
        """Forget the held form of an object whose hold is lifted, where a kill has left it: what
        is held is never replaced, so that equal bytes under a hold are the object itself."""
        if made.version_id is None or not self._history.kept:
            return
        after: tuple[str, str] | None = None
        while True:
            page = self._history.page(key, after=after, limit=MAX_PAGE)
            for each in page.items:
                if each.marker or each.version_id == made.version_id or each.size != made.size:
                    continue
                try:
                    old = object_of(self._objects.info(key, each.version_id))
                    if old.governance.legal_hold and old.sha256 == made.sha256:
                        self._history.purge(key, [each.version_id])
                except (NotFoundError, RetentionError):
                    continue
                except StoreError as error:
                    # The hold itself is lifted.
                    error.outcome = Outcome.UNKNOWN
                    raise
            after = page.next_after
            if after is None:
                return

    # -- records -----------------------------------------------------------------------------

    def checked(
        self, collection: str, record_id: str, change: Protection, expected_version: int | None
    ) -> Record:
        """An asset's or atom's record, if it can be changed so; raises otherwise."""
        found = self._ledger.get(collection, [record_id])[0]
        if found is None:
            raise NotFoundError("there is no such asset or atom")
        if expected_version not in (None, found.version):
            raise PreconditionFailedError("it has another version by now")
        change.upon(Governance.from_data(body_of(found)["governance"]))
        return found

    def bytes_of(self, asset: Asset, change: Protection) -> bool:
        """Change the protection of an asset's stored bytes, where they are here and no other's;
        gives whether that was needed."""
        if not self._gate.runtime.has(StoreRole.RAW):
            return False
        try:
            found = self._objects.head(asset.object_key)
        except NotFoundError:
            return False
        longer = change.until is not None and (found.governance.retain_until or 0) >= change.until
        if found.sha256 != asset.sha256 or longer:
            return False
        return self.object(asset.object_key, change, found.etag)[1]

    def record(
        self,
        mutation: Mutation,
        collection: str,
        record_id: str,
        change: Protection,
        expected_version: int | None,
    ) -> Record:
        """Change the protection of an asset or atom, with its event; gives the record."""
        for _ in range(_TRIES):
            found = self.checked(collection, record_id, change, expected_version)
            body = body_of(found)
            own = Governance.from_data(body["governance"])
            wanted = change.upon(own)
            if wanted == own:
                mutation.unchanged = not mutation.begun
                return found
            made = self._ledger.record(
                collection,
                record_id,
                {**found.fields, **wanted.record_fields()},
                {**body, "governance": wanted.to_data()},
                version=found.version + 1,
            )
            # Under the mutation's own id, so that recovery never tells of it a second time.
            event = self._ledger.event(
                change.action,
                wanted,
                source_ids=[record_id],
                result_ids=[record_id],
                event_id=mutation.operation,
            )
            operations: Sequence[Operation] = [Replace(made), event]
            try:
                self._ledger.commit(operations)
            except PreconditionFailedError:
                if expected_version is not None:
                    raise
                continue
            return made
        raise PreconditionFailedError("it keeps being written", hint="try again later")


def _wish(told: ObjectAttributes, there: ObjectAttributes) -> dict[str, Any]:
    """What of a lock is to be another than it is."""
    names = ("retain_until", "legal_hold")
    return {
        each: getattr(told, each) for each in names if getattr(told, each) != getattr(there, each)
    }
