"""Erasure of a subject or of a whole scope, across every store, and over a kill.

What is protected is looked for everywhere first, and refuses the whole erasure. Then an intent is
durable before anything goes, vectors go before objects and objects before the records that tell of
them, the sealed parts of the trail go, and the intent goes last: whoever is killed in between
leaves it, and recovery runs the same steps again. Every step is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Final, cast, final

import attrs

from nexus_core._audit import decode
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.gate import Gate, Mutation
from nexus_core._handles.governance import Governance
from nexus_core._handles.history import History
from nexus_core._handles.ledger import Ledger, body_of
from nexus_core._handles.objects import Objects, RawObject, object_of, raw_backend
from nexus_core._handles.rows import Rows, VectorRow, vector_backend
from nexus_core._handles.uploads import STAGING, staging_of
from nexus_core._model.audit import LogEntry
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    IntegrityError,
    NotFoundError,
    PreconditionFailedError,
    RetentionError,
    UnavailableError,
    UnsupportedError,
)
from nexus_core._model.filters import And, Eq, Filter, Gt, Or
from nexus_core._model.ids import derived_id
from nexus_core._model.objects import ObjectVersion
from nexus_core._model.records import Insert, Operation, Record, Remove, Replace
from nexus_core._model.vectors import IndexRef
from nexus_core._security.permissions import Action
from nexus_core._spi.atoms import AtomBackend
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.capabilities import AtomCapabilities, StoreRole

_PAGE: Final = 500
_PASSES: Final = 8
_NAMED: Final = 100
_GOVERNED: Final = ("assets", "atoms")
_OF_SUBJECTS: Final = ("edges", "atoms", "assets", "events", "intents")


@attrs.frozen(kw_only=True)
class Erasure:
    """What was erased: objects, vectors, records of the ledger, and sealed parts of the trail."""

    objects: int
    vectors: int
    records: int
    sealed: int

    def details(self) -> Mapping[str, int]:
        """The counts, as the trail keeps them."""
        return attrs.asdict(self)


@attrs.define
class _Gone:
    """What is gone so far, and the names by which other events may still mention it."""

    objects: int = 0
    vectors: int = 0
    records: int = 0
    sealed: int = 0
    names: set[str] = attrs.field(factory=set)

    def sum(self) -> int:
        return self.objects + self.vectors + self.records + self.sealed

    def report(self) -> Erasure:
        return Erasure(
            objects=self.objects, vectors=self.vectors, records=self.records, sealed=self.sealed
        )


@final
class Erasing:
    """Erases in one scope, for a request that is admitted."""

    __slots__ = ("_gate", "_history", "_ledger", "_objects", "_rows")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = Ledger(gate)
        self._objects = Objects(gate)
        self._history = History(gate, self._objects)
        self._rows = Rows(gate)

    # -- the two erasures --------------------------------------------------------------------

    def subject(self, subject: str) -> Erasure:
        """Erase one subject; refuse first where anything of it is protected."""
        with self._gate.mutation(
            Action.ERASE_SUBJECT, StoreRole.ATOMS, (), admitted=True
        ) as mutation:
            self._refuse_protected(subject)
            intent = self._opened("subject", subject)
            return self._finished(intent, mutation)

    def scope(self) -> Erasure:
        """Erase all that the scope has but the permanent part of its trail."""
        with self._gate.mutation(
            Action.ERASE_SCOPE, StoreRole.ATOMS, (), admitted=True
        ) as mutation:
            self._refuse_protected(None)
            intent = self._opened("scope", None)
            return self._finished(intent, mutation)

    def pending(self, *, before: int) -> Iterator[Record]:
        """Intents of erasures that were begun before ``before`` (µs) and not finished."""
        where = And((Eq("type", "erasure"), Eq("state", "open")))
        for page in self._ledger.pages("intents", where):
            yield from (record for record in page if int(record.fields["updated_at"]) < before)

    def resume(self, intent: Record) -> Erasure:
        """Finish what a kill interrupted. The caller is admitted."""
        whole = body_of(intent)["subject"] is None
        action = Action.ERASE_SCOPE if whole else Action.ERASE_SUBJECT
        with self._gate.mutation(action, StoreRole.ATOMS, (), admitted=True) as mutation:
            return self._finished(intent, mutation)

    def _finished(self, intent: Record, mutation: Mutation) -> Erasure:
        mutation.begun = True
        subject = body_of(intent)["subject"]
        gone = self._erase_scope() if subject is None else self._erase_subject(subject, intent)
        report = gone.report()
        mutation.details = dict(report.details())
        return report

    def _opened(self, what: str, subject: str | None) -> Record:
        """Make the intent durable, or take up the one that is open."""
        place = self._intent_id(what, subject)
        found = self._ledger.get("intents", [place])[0]
        if found is not None:
            return found
        now = self._gate.now()
        fields: dict[str, str | int | float | bool] = {
            "type": "erasure",
            "state": "open",
            "created_at": now,
            "updated_at": now,
        }
        record = self._ledger.record("intents", place, fields, {"subject": subject})
        self._ledger.commit([Insert(record, if_exists="keep")])
        return record

    def _intent_id(self, what: str, subject: str | None) -> str:
        return derived_id("ers", self._gate.scope, what, subject or "")

    # -- what is protected -------------------------------------------------------------------

    def _refuse_protected(self, subject: str | None) -> None:
        now = self._gate.now()
        held: list[str] = []
        for collection in _GOVERNED:
            for page in self._ledger.pages(collection, _held(subject, now)):
                held += [record.id for record in page]
        for key, own in chain(self._reachable(subject), self._past(subject)):
            held += [key] if _is_held(own, now) else []
        for _, row in self._found(subject):
            held += [row.id] if _is_held(row.governance, now) else []
        if held:
            ids = tuple(dict.fromkeys(held))
            raise RetentionError(
                f"a legal hold or retention period protects {len(ids)} things; nothing was erased",
                hint="the error's ids name them; set_legal_hold(..., hold=False), or "
                "`nexus hold lift`, lifts a hold",
                ids=ids[:_NAMED],
            )

    def _reachable(self, subject: str | None) -> Iterator[tuple[str, Governance]]:
        """What is stored; refuses where old versions of a subject's objects are kept out of
        reach, for they would outlive the erasure."""
        for found in self._stored(subject):
            if subject is not None and found.version_id is not None and not self._history.kept:
                raise UnsupportedError(
                    "versions",
                    hint="the engine keeps old versions, which this store may not touch: "
                    "the operator says so in its settings, then runs `nexus doctor`",
                )
            yield found.key, found.governance

    # -- a subject ---------------------------------------------------------------------------

    def _erase_subject(self, subject: str, intent: Record) -> _Gone:
        gone = _Gone()
        for _ in range(_PASSES):
            before = gone.sum()
            self._erase_rows(subject, gone)
            self._erase_objects(subject, gone)
            self._erase_records(subject, gone)
            self._forget_names(gone.names)
            self._erase_sealed(subject, gone)
            # Somebody may have written while we went; what came meanwhile goes as well.
            if gone.sum() == before:
                event = self._ledger.event(Action.ERASE_SUBJECT, None, source_ids=(), result_ids=())
                self._ledger.commit([Remove("intents", intent.id), event])
                return gone
        raise UnavailableError(
            "data of this subject keeps being written", hint="stop its writers, then erase again"
        )

    def _erase_rows(self, subject: str, gone: _Gone) -> None:
        for ref, rows in groupby(self._found(subject), key=itemgetter(0)):
            ids: list[str] = []
            for _, row in rows:
                row.governance.ensure_deletable(self._gate.now())
                ids.append(row.id)
            for start in range(0, len(ids), _PAGE):
                gone.vectors += self._rows.discard(ref, ids[start : start + _PAGE])
            gone.names.update(ids)

    def _erase_objects(self, subject: str, gone: _Gone) -> None:
        counted: set[str] = set()
        for found in list(self._stored(subject)):
            if self._objects.remove(found.key, None) is not None:
                counted.add(found.key)
            gone.names.add(found.key)
        if self._gate.runtime.has(StoreRole.RAW):
            staged = self._objects.keys(staging_of(self._gate, subject))
            self._objects.erase(staged)
            counted.update(staged)
        if self._history.kept:
            counted |= self._erase_history(subject, gone)
        gone.objects += len(counted)

    def _erase_history(self, subject: str, gone: _Gone) -> set[str]:
        """Destroy what a subject's objects were, and the markers of a key that is left with
        nothing else; gives the keys of which something was destroyed."""
        touched: set[str] = set()
        for key, lines in self._history.of_every_key():
            versions = [each for each in lines if not each.marker]
            doomed = [
                each.version_id
                for each in versions
                if not each.current and self._is_about(subject, each)
            ]
            if doomed:
                self._history.purge(key, doomed)
                touched.add(key)
                if not key.startswith(STAGING):
                    gone.names.add(key)
            # Only now, for a marker is what keeps an older version from coming back.
            if len(doomed) == len(versions):
                self._history.purge(key, [each.version_id for each in lines if each.marker])
        return touched

    def _is_about(self, subject: str, version: ObjectVersion) -> bool:
        if version.key.startswith(STAGING):
            return version.key.startswith(staging_of(self._gate, subject))
        try:
            info = self._objects.info(version.key, version.version_id)
        except NotFoundError:
            return False
        return object_of(info).governance.subject == subject

    def _erase_records(self, subject: str, gone: _Gone) -> None:
        for collection in _OF_SUBJECTS:
            mine = Eq("subject", subject)
            while records := self._ledger.page(collection, mine, after=None, limit=_PAGE)[0]:
                self._refuse_held(records)
                try:
                    removals = [Remove(collection, each.id, each.version) for each in records]
                    gone.records += sum(self._commit(removals))
                except PreconditionFailedError:
                    continue
                if collection in _GOVERNED:
                    gone.names.update(record.id for record in records)

    def _refuse_held(self, records: tuple[Record, ...]) -> None:
        """Refuse to go on where something became protected since it was looked at."""
        now = self._gate.now()
        for record in records:
            if record.collection in _GOVERNED:
                Governance.from_data(body_of(record)["governance"]).ensure_deletable(now)

    def _forget_names(self, names: set[str]) -> None:
        """Take the names of what is gone out of the events of others."""
        forgotten = frozenset(self._gate.deployment.redacted(sorted(names)))
        for _ in range(_PASSES):
            try:
                for page in self._ledger.pages("events", None, size=_PAGE):
                    self._commit([each for each in map(_without(forgotten), page) if each])
            except PreconditionFailedError:
                # A relay numbers them at this moment.
                continue
            return
        raise UnavailableError("relays keep numbering the events of this scope")

    def _erase_sealed(self, subject: str, gone: _Gone) -> None:
        tag = self._gate.deployment.keys.subject_tag(self._gate.scope, subject)
        gone.sealed += self._forgotten(tag)

    def _forgotten(self, tag: bytes) -> int:
        return self._gate.call(
            StoreRole.AUDIT,
            lambda s: cast("AuditBackend", s.backend).erase_sealed(self._gate.scope, tag),
        )

    # -- a scope -----------------------------------------------------------------------------

    def _erase_scope(self) -> _Gone:
        gone = _Gone()
        scope = self._gate.scope
        if self._gate.runtime.has(StoreRole.VECTORS):
            gone.vectors = self._gate.call(
                StoreRole.VECTORS, lambda s: vector_backend(s).erase(scope)
            )
        if self._gate.runtime.has(StoreRole.RAW):
            gone.objects = self._gate.call(StoreRole.RAW, lambda s: raw_backend(s).erase(scope))
        for tag in self._tags():
            gone.sealed += self._forgotten(tag)
        self._gate.runtime.indexes.clear()
        # The ledger goes last: the intent is in it.
        gone.records = self._gate.call(
            StoreRole.ATOMS, lambda s: cast("AtomBackend", s.backend).erase(scope)
        )
        return gone

    def _tags(self) -> list[bytes]:
        """The tags of all subjects that the trail speaks of."""
        tags: dict[bytes, None] = {}
        start = 0
        while entries := self._entries(start):
            tags |= {each.subject_tag: None for each in entries if each.subject_tag is not None}
            start += len(entries)
        return list(tags)

    def _entries(self, start: int) -> list[LogEntry]:
        def run(store: OpenStore) -> list[LogEntry]:
            found = cast("AuditBackend", store.backend).read(self._gate.scope, start, _PAGE)
            for entry in found:
                decode(entry, self._gate.scope)
            return list(found)

        return self._gate.call(StoreRole.AUDIT, run)

    # -- what there is -----------------------------------------------------------------------

    def _stored(self, subject: str | None) -> Iterator[RawObject]:
        """Every object of a subject, or of all."""
        if not self._gate.runtime.has(StoreRole.RAW):
            return
        after: str | None = None
        while True:
            page = self._objects.page("", None, after=after, limit=_PAGE)
            for item in page.items:
                if item.key.startswith(STAGING):
                    continue
                try:
                    found = self._objects.head(item.key)
                except NotFoundError:
                    continue
                if subject is None or found.governance.subject == subject:
                    yield found
            after = page.next_after
            if after is None:
                return

    def _past(self, subject: str | None) -> Iterator[tuple[str, Governance]]:
        """Every version that is not current, with what it says of itself."""
        if not self._history.kept:
            return
        for key, lines in self._history.of_every_key():
            for each in lines:
                if each.current or each.marker or key.startswith(STAGING):
                    continue
                try:
                    own = object_of(self._objects.info(key, each.version_id)).governance
                except NotFoundError:
                    continue
                if subject is None or own.subject == subject:
                    yield key, own

    def _found(self, subject: str | None) -> Iterator[tuple[IndexRef, VectorRow]]:
        """Every row of a subject, or of all, with its index."""
        if not self._gate.runtime.has(StoreRole.VECTORS):
            return
        for ref in self._rows.refs():
            after: str | None = None
            while True:
                rows, after = self._rows.scan(ref, after, _PAGE, vectors=False)
                for row in rows:
                    if subject is None or row.governance.subject == subject:
                        yield ref, row
                if after is None:
                    break

    def _commit(self, operations: Sequence[Operation]) -> list[bool]:
        store = self._gate.runtime.store(StoreRole.ATOMS)
        most = cast("AtomCapabilities", store.spec.capabilities).max_batch
        done: list[bool] = []
        for start in range(0, len(operations), most):
            done += self._ledger.commit(operations[start : start + most])
        return done


def _held(subject: str | None, now: int) -> Filter:
    held = Or((Eq("legal_hold", value=True), Gt("retain_until", now)))
    return held if subject is None else And((Eq("subject", subject), held))


def _is_held(own: Governance, now: int) -> bool:
    return own.legal_hold or (own.retain_until is not None and own.retain_until > now)


def _without(forgotten: frozenset[str]) -> Callable[[Record], Replace | None]:
    """What to put in place of an event that names something forgotten."""

    def rewrite(record: Record) -> Replace | None:
        try:
            body = body_of(record)
        except IntegrityError:
            return None
        named = {name: body.get(name, []) for name in ("source_ids", "result_ids")}
        left = {name: [i for i in ids if i not in forgotten] for name, ids in named.items()}
        if left == named:
            return None
        return Replace(
            attrs.evolve(record, version=record.version + 1, body=canonical_json({**body, **left}))
        )

    return rewrite
