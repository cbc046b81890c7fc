"""Fences: what keeps a check and the act it allows together where two stores share no transaction.

A fence is a record in the scope's ledger, made durable before the check and taken down with the
event of the act. Whoever would make the check untrue in between needs the fence's absence as a
precondition of a commit of its own, so one of the two is refused. A fence older than the age at
which work counts as abandoned was left by a kill, and is taken over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, final

from nexus_core._handles.gate import Gate, Mutation
from nexus_core._handles.ledger import Ledger
from nexus_core._model.errors import (
    AlreadyExistsError,
    NexusError,
    Outcome,
    PreconditionFailedError,
    UnavailableError,
)
from nexus_core._model.filters import And, Eq
from nexus_core._model.ids import derived_id, new_id
from nexus_core._model.records import Insert, Operation, Record, Remove, Replace, Require
from nexus_core._spi.capabilities import StoreRole

# How often and how long (seconds) somebody waits for others to end: five seconds in all.
_WAITS = 250
_PAUSE: Final = 0.02


@final
class Fences:
    """Fences of one scope, for one request. Without a ledger there are none."""

    __slots__ = ("_gate", "_ledger")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)

    # -- of a whole thing: shared by those that only need nobody to protect it meanwhile ---------

    def share(self, mutation: Mutation, what: str) -> None:
        """Keep out whoever would ``close`` a thing until the mutation ends; many may share.

        Raises ``UnavailableError`` while it is closed.
        """
        if not self._gate.runtime.has(StoreRole.ATOMS):
            return
        mark = self._mark(f"shared/{mutation.operation}", "shared", what)
        gate = self._id("closed", what)
        self._put_up([Require("intents", gate, present=False), Insert(mark)], gate)
        self._until_ended(mutation, [Remove("intents", mark.id)])

    def close(self, mutation: Mutation, what: str) -> None:
        """Have a thing for this mutation alone, once those that share it have ended.

        Raises ``UnavailableError`` where another has it, or they do not end.
        """
        if not self._gate.runtime.has(StoreRole.ATOMS):
            return
        mark = self._mark(what, "closed", what)
        self._put_up([Insert(mark)], mark.id)
        self._until_ended(mutation, [Remove("intents", mark.id)])
        try:
            self._wait_for_others(what)
        except NexusError:
            mutation.let_go()
            raise

    def _wait_for_others(self, what: str) -> None:
        where = And((Eq("type", "fence"), Eq("state", "shared"), Eq("target", what)))
        for _ in range(_WAITS):
            young = [
                record
                for page in self._ledger.pages("intents", where)
                for record in page
                if not self._is_abandoned(record)
            ]
            if not young:
                return
            time.sleep(_PAUSE)
        raise UnavailableError(
            "others keep writing here", hint="try again later", outcome=Outcome.NOT_APPLIED
        )

    @contextmanager
    def around(self, what: str, *, alone: bool) -> Iterator[None]:
        """``close`` or ``share`` a thing for the block only."""
        part = Mutation(new_id(), ())
        (self.close if alone else self.share)(part, what)
        try:
            yield
        finally:
            part.let_go()

    # -- of records: nobody may build on them meanwhile ----------------------------------------

    def bar(self, mutation: Mutation, ids: Sequence[str]) -> None:
        """Keep anybody from building on these until the mutation ends; see ``open_to``."""
        marks = [self._mark(each, "barred", each) for each in ids]
        try:
            self._ledger.commit([Insert(mark) for mark in marks])
        except AlreadyExistsError:
            found = self._ledger.get("intents", [mark.id for mark in marks])
            if any(each is not None and not self._is_abandoned(each) for each in found):
                raise PreconditionFailedError(
                    "another call is deleting these at this moment", hint="try again later"
                ) from None
            self._ledger.commit(
                [
                    Insert(mark) if old is None else Replace(self._renewed(mark, old.version + 1))
                    for mark, old in zip(marks, found, strict=True)
                ]
            )
        self._until_ended(mutation, [Remove("intents", mark.id) for mark in marks])

    def open_to(self, thing: str) -> Require:
        """The precondition of whoever builds on a thing: that nobody has barred it."""
        return Require("intents", self._id("barred", thing), present=False)

    # -- after a kill --------------------------------------------------------------------------

    def sweep(self, before: int) -> None:
        """Take down fences that were put up before ``before`` (µs)."""
        for page in list(self._ledger.pages("intents", Eq("type", "fence"))):
            old = [each for each in page if int(each.fields["created_at"]) < before]
            for each in old:
                with suppress(PreconditionFailedError):
                    self._ledger.commit([Remove("intents", each.id, each.version)])

    def _until_ended(self, mutation: Mutation, removal: Sequence[Operation]) -> None:
        mutation.closing = [*mutation.closing, *removal]

        def release() -> None:
            self._ledger.commit(mutation.closing)

        mutation.release = release

    def _put_up(self, operations: Sequence[Operation], gate: str) -> None:
        """Commit once nobody has the thing closed: soon, or never in this call."""
        for _ in range(_WAITS):
            try:
                self._ledger.commit(operations)
            except (AlreadyExistsError, PreconditionFailedError):
                found = self._ledger.get("intents", [gate])[0]
                if found is None:
                    continue
                if self._is_abandoned(found):
                    with suppress(PreconditionFailedError):
                        self._ledger.commit([Remove("intents", gate, found.version)])
                    continue
                time.sleep(_PAUSE)
            else:
                return
        raise UnavailableError(
            "a protected write is under way here",
            hint="try again in a moment",
            outcome=Outcome.NOT_APPLIED,
        )

    def _is_abandoned(self, record: Record) -> bool:
        age = self._gate.now() - int(record.fields["created_at"])
        return age > self._gate.deployment.config.recovery_after_seconds * 1_000_000

    def _mark(self, name: str, state: str, target: str) -> Record:
        now = self._gate.now()
        fields: dict[str, str | int | float | bool] = {
            "type": "fence",
            "state": state,
            "target": target,
            "created_at": now,
            "updated_at": now,
        }
        return self._ledger.record("intents", self._id(state, name), fields, {})

    def _renewed(self, mark: Record, version: int) -> Record:
        return self._ledger.record("intents", mark.id, mark.fields, {}, version=version)

    def _id(self, state: str, name: str) -> str:
        return derived_id("fen", self._gate.scope, state, name)
