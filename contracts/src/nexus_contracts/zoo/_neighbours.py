"""Stores that lose the scope in one branch only: one operator, one page, one name, one moment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.shared import IDS
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant
from nexus_core._model.filters import FILTER_OPS
from nexus_core._spi.spec import ABC_OF
from nexus_core.spi import (
    AlreadyExistsError,
    ByteRange,
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    IndexStatistics,
    LogEntry,
    LogHead,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    Record,
    RecordPage,
    Runtime,
    Scope,
    Step,
    StoreRole,
    VectorPage,
    matches,
)

HONEST: Final[Mapping[StoreRole, Any]] = {
    StoreRole.RAW: MemoryRaw,
    StoreRole.ATOMS: MemoryAtoms,
    StoreRole.VECTORS: MemoryVectors,
    StoreRole.AUDIT: MemoryAudit,
}


def renamed(role: StoreRole, rename: Callable[[Scope], Scope]) -> Any:
    """The role's honest store, but with its scopes under other names."""
    kind = HONEST[role]

    def through(name: str) -> Any:
        def method(self: Any, scope: Scope, *args: Any, **options: Any) -> Any:
            return getattr(kind, name)(self, rename(scope), *args, **options)

        return method

    methods = {name: through(name) for name in _verbs(role)}
    return type("Renamed", (kind,), methods)


def kept(role: StoreRole) -> Any:
    """The role's honest store, but one that keeps on itself whom it serves."""
    kind = HONEST[role]

    def through(name: str) -> Any:
        def method(self: Any, scope: Scope, *args: Any, **options: Any) -> Any:
            self.serving = scope
            given = (self, self.serving, *args)
            return getattr(kind, name)(*given, **options)

        return method

    return type("Kept", (kind,), {name: through(name) for name in _verbs(role)})


def _verbs(role: StoreRole) -> list[str]:
    return sorted(set(getattr(ABC_OF[role], "__abstractmethods__")) - {"check", "close"})  # noqa: B009


def _cut(scope: Scope) -> Scope:
    return Scope(scope.tenant_id[:40], scope.env)


def _number(scope: Scope) -> Scope:
    try:
        return Scope(str(int(float(scope.tenant_id))), scope.env)
    except ValueError:
        return scope


# -- atoms ----------------------------------------------------------------------------------------


def atoms_blind_in(operator: str) -> Any:
    """An atom store whose filters with this operator on top match in all environments."""

    class Blind(MemoryAtoms):
        def query(self, scope: Scope, collection: str, where: Any, **options: Any) -> RecordPage:
            if where is None or FILTER_OPS[type(where)] != operator:
                return super().query(scope, collection, where, **options)
            found = {
                record.id: record
                for (owner, kind, _), record in self.records.items()
                if owner.tenant_id == scope.tenant_id
                and kind == collection
                and matches(where, record.fields)
                and (options.get("after") is None or record.id > options["after"])
            }
            page = tuple(found[name] for name in sorted(found)[: options["limit"]])
            return RecordPage(page, page[-1].id if len(found) > len(page) else None)

    return Blind


def atoms_counts_blind_in(operator: str) -> Any:
    """An atom store that counts for this operator in all environments."""

    class Blind(MemoryAtoms):
        def count(self, scope: Scope, collection: str, where: Any) -> int:
            if where is None or FILTER_OPS[type(where)] != operator:
                return super().count(scope, collection, where)
            return sum(
                matches(where, record.fields)
                for (owner, kind, _), record in self.records.items()
                if owner.tenant_id == scope.tenant_id and kind == collection
            )

    return Blind


class SecondPage(MemoryAtoms):
    """Loses the environment where a query goes on."""

    def query(self, scope: Scope, *args: Any, **options: Any) -> RecordPage:
        page = super().query(scope, *args, **options)
        if options.get("after") is None or page.records:
            return page
        others = [Scope(scope.tenant_id, env) for env in ("dev", "staging", "prod")]
        pages = (super(SecondPage, self).query(other, *args, **options) for other in others)
        return next((found for found in pages if found.records), page)


class SecondChunk(MemoryAtoms):
    """Loses the environment past the first 500 ids of a get."""

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        found = list(super().get(scope, collection, ids))
        for place in range(500, len(ids)):
            for env in ("dev", "staging", "prod"):
                other = Scope(scope.tenant_id, env)
                found[place] = found[place] or self.records.get((other, collection, ids[place]))
        return found


class DeepWalk(MemoryAtoms):
    """Loses the environment in the third step of a walk."""

    def walk(self, scope: Scope, start: Any, direction: Any, **options: Any) -> Sequence[Step]:
        own = list(super().walk(scope, start, direction, **options))
        if options["max_depth"] < 3:
            return own
        near = "child" if direction == "up" else "parent"
        far = "parent" if direction == "up" else "child"
        front = {str(step.edge.fields[far]) for step in own if step.depth == 2}
        met = {step.edge.id for step in own}
        own += [
            Step(3, edge)
            for (owner, kind, name), edge in self.records.items()
            if owner.tenant_id == scope.tenant_id
            and kind == "edges"
            and edge.fields[near] in front
            and name not in met
        ]
        own.sort(key=lambda step: (step.depth, step.edge.id))
        return own[: options["limit"]]


class CascadingErase(MemoryAtoms):
    """Erases also the edges of other environments that begin at what it erases."""

    def erase(self, scope: Scope) -> int:
        mine = {name for owner, kind, name in self.records if owner == scope and kind == "atoms"}
        for place, record in list(self.records.items()):
            foreign = place[0].tenant_id == scope.tenant_id and place[0] != scope
            if foreign and place[1] == "edges" and record.fields["parent"] in mine:
                del self.records[place]
        return super().erase(scope)


class HelpfulConflict(MemoryAtoms):
    """Says in a conflict whether trying elsewhere would help, by looking there."""

    def commit(self, scope: Scope, operations: Any) -> Sequence[bool]:
        try:
            return super().commit(scope, operations)
        except (AlreadyExistsError, PreconditionFailedError) as error:
            names = {getattr(each, "id", None) or each.record.id for each in operations}
            error.retryable = any(
                owner != scope and name in names for owner, _, name in self.records
            )
            raise


# -- vectors --------------------------------------------------------------------------------------


def vectors_blind_in(operator: str) -> Any:
    """A vector store whose queries with this operator on top match in all environments."""

    class Blind(MemoryVectors):
        def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
            where = options.get("where")
            index = self._index(scope, ref)
            if where is None or FILTER_OPS[type(where)] != operator:
                return super().query(scope, ref, *args, **options)
            own = dict(index.rows)
            for (owner, name, version), other in self.indexes.items():
                place = (ref.definition.name, ref.definition.version)
                if owner.tenant_id == scope.tenant_id and (name, version) == place:
                    index.rows = {**other.rows, **index.rows}
            try:
                return super().query(scope, ref, *args, **options)
            finally:
                index.rows = own

    return Blind


def vectors_delete_blind_in(operator: str) -> Any:
    """A vector store that deletes by this operator in all environments."""

    class Blind(MemoryVectors):
        def delete_where(self, scope: Scope, ref: IndexRef, where: Any) -> int:
            if FILTER_OPS[type(where)] == operator:
                for (owner, name, _), other in self.indexes.items():
                    if (owner.tenant_id, name) == (scope.tenant_id, ref.definition.name):
                        gone = [row.id for row in other.rows.values() if matches(where, row.fields)]
                        if other.ref != ref:
                            for row_id in gone:
                                del other.rows[row_id]
            return super().delete_where(scope, ref, where)

    return Blind


class SecondQuery(MemoryVectors):
    """Answers the second of several queries from the tenant's other environment too."""

    def query(self, scope: Scope, ref: IndexRef, queries: Any, k: int, **options: Any) -> Any:
        answers = list(super().query(scope, ref, queries, k, **options))
        for (owner, name, _), other in list(self.indexes.items()):
            near = owner.tenant_id == scope.tenant_id and owner != scope
            if near and name == ref.definition.name and len(answers) > 1:
                found = super().query(owner, other.ref, queries, k, **options)[1]
                merged = sorted([*answers[1], *found], key=lambda hit: (hit.distance, hit.id))
                answers[1] = merged[:k]
        return answers


class VectorsById(MemoryVectors):
    """Fetches the vectors of its hits by id alone."""

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
        answers = super().query(scope, ref, *args, **options)
        if not options.get("include_vectors"):
            return answers
        by_id = {
            row.id: row.vector
            for (_, name, _), index in self.indexes.items()
            if name == ref.definition.name
            for row in index.rows.values()
        }
        return [[attrs.evolve(hit, vector=by_id[hit.id]) for hit in hits] for hits in answers]


class FilteredAfterwards(MemoryVectors):
    """Takes the k nearest of everyone's rows, and then those that are the scope's."""

    def query(self, scope: Scope, ref: IndexRef, queries: Any, k: int, **options: Any) -> Any:
        answers = super().query(scope, ref, queries, k, **options)
        if k < 900:
            return answers
        total = sum(
            len(index.rows)
            for (_, name, _), index in self.indexes.items()
            if name == ref.definition.name
        )
        return [hits[: max(1, k - total + self.count(scope, ref, None))] for hits in answers]


class ForeignScan(MemoryVectors):
    """Loses the environment where a scan goes on."""

    def scan(self, scope: Scope, ref: IndexRef, **options: Any) -> VectorPage:
        page = super().scan(scope, ref, **options)
        if options.get("after") is None or page.next_after is not None:
            return page
        for (owner, name, _), other in list(self.indexes.items()):
            if owner.tenant_id == scope.tenant_id and name == ref.definition.name:
                more = super().scan(owner, other.ref, **options).rows
                rows = {row.id: row for row in (*more, *page.rows)}
                page = VectorPage(tuple(rows[row_id] for row_id in sorted(rows)), None)
        return page


class StoreStatistics(MemoryVectors):
    """Counts the free pages of the whole store among a scope's bytes."""

    gone = 0

    def delete(self, scope: Scope, ref: IndexRef, ids: Sequence[str]) -> int:
        deleted = super().delete(scope, ref, ids)
        self.gone += deleted
        return deleted

    def statistics(self, scope: Scope, ref: IndexRef) -> IndexStatistics:
        own = super().statistics(scope, ref)
        return attrs.evolve(own, bytes=own.bytes + 64 * self.gone)


class ForeignFingerprint(MemoryVectors):
    """Shows in a lock's error the definition that some scope has under the name."""

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        try:
            return super().create_index(scope, definition)
        except IndexLockedError as error:
            prints = [
                index.ref.definition.fingerprint
                for (_, name, _), index in self.indexes.items()
                if name == definition.name
            ]
            raise IndexLockedError(expected=max(prints), actual=error.actual) from None


class CountedIncarnations(MemoryVectors):
    """Numbers the incarnations of all scopes in one row."""

    numbers = itertools.count(0x10000)

    def create_index(self, scope: Scope, definition: IndexDefinition) -> IndexRef:
        place = (scope, definition.name, definition.version)
        known = place in self.indexes
        ref = super().create_index(scope, definition)
        if not known:
            ref = attrs.evolve(ref, incarnation=f"i{next(self.numbers):08x}")
            self.indexes[place].ref = ref
        return ref


class LengthsById(MemoryVectors):
    """Remembers the length of a vector by its id, until the next write."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: dict[tuple[str, str], float] = {}

    def upsert(self, scope: Scope, ref: IndexRef, batch: Any) -> None:
        self.lengths.clear()
        super().upsert(scope, ref, batch)

    def query(self, scope: Scope, ref: IndexRef, *args: Any, **options: Any) -> Any:
        answers = super().query(scope, ref, *args, **options)
        if ref.definition.metric != "cosine":
            return answers
        rows = self._index(scope, ref).rows

        def told(hit: Any) -> Any:
            own = math.hypot(*memoryview(bytes(rows[hit.id].vector)).cast("f"))
            length = self.lengths.setdefault((scope.tenant_id, hit.id), own)
            return attrs.evolve(hit, distance=hit.distance * own / length)

        return [[told(hit) for hit in hits] for hits in answers]


# -- raw ------------------------------------------------------------------------------------------


class ForeignRange(MemoryRaw):
    """Looks for a range in the tenant's other environments where the key is not in this one."""

    def open(self, scope: Scope, key: str, *, range: ByteRange | None = None, **o: Any) -> Any:
        if range is not None and (scope, key) not in self.objects:
            for env in ("dev", "staging", "prod"):
                if (Scope(scope.tenant_id, env), key) in self.objects:
                    scope = Scope(scope.tenant_id, env)
        return super().open(scope, key, range=range, **o)


class SkipsAfterForeign(MemoryRaw):
    """Begins a page one too late after a key that the tenant has in another environment."""

    def list(self, scope: Scope, *, after: str | None = None, **options: Any) -> Any:
        page = super().list(scope, after=after, **options)
        others = [Scope(scope.tenant_id, env) for env in ("dev", "staging", "prod")]
        if after is None or (scope, after) in self.objects:
            return page
        foreign = any((other, after) in self.objects for other in others)
        return attrs.evolve(page, items=page.items[1:]) if foreign else page


class FoldedTypes(MemoryRaw):
    """Keeps each content type once for all scopes, as it was first written."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.types: dict[str, str] = {}

    def put(self, scope: Scope, key: str, body: Any, attributes: ObjectAttributes, **o: Any) -> Any:
        given = attributes.content_type
        kept_type = self.types.setdefault(given.lower(), given)
        return super().put(scope, key, body, attrs.evolve(attributes, content_type=kept_type), **o)


class CountedVersions(MemoryRaw):
    """Numbers the versions of all scopes in one row, and shows the number in the ETag."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.numbers = itertools.count(1)

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> Any:
        info = super()._write(scope, key, *args, **options)
        info = attrs.evolve(info, etag=f"v{next(self.numbers):08x}")
        self.objects[scope, key] = attrs.evolve(self.objects[scope, key], info=info)
        return info


class MarkedVersions(MemoryRaw):
    """Marks random ETags where another scope holds the same bytes."""

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **options: Any) -> Any:
        info = super()._write(scope, key, data, *args, **options)
        twin = any(o[0] != scope and held.data == data for o, held in self.objects.items())
        info = attrs.evolve(info, etag=info.etag + ("ff" if twin else "00"))
        self.objects[scope, key] = attrs.evolve(self.objects[scope, key], info=info)
        return info


class AnyonesVersion(MemoryRaw):
    """Takes an ETag that the key has in any scope for the current one."""

    def open(self, scope: Scope, key: str, *, if_match: str | None = None, **o: Any) -> Any:
        held = {found.info.etag for (_, name), found in self.objects.items() if name == key}
        return super().open(scope, key, if_match=None if if_match in held else if_match, **o)


class TellingCondition(MemoryRaw):
    """Says of a failed condition whether somebody has that version."""

    def put(self, scope: Scope, *args: Any, **options: Any) -> Any:
        try:
            return super().put(scope, *args, **options)
        except PreconditionFailedError as error:
            held = {found.info.etag for found in self.objects.values()}
            error.retryable = options.get("if_match") in held
            raise


class SharedQuota(MemoryRaw):
    """Refuses what is written when all scopes together hold much."""

    def head(self, scope: Scope, key: str) -> Any:
        info = super().head(scope, key)
        if sum(len(found.data) for found in self.objects.values()) > 1 << 20:
            raise NotFoundError("no such object")
        return info


class SharedScratch(MemoryRaw):
    """Assembles every body in one buffer."""

    scratch = b""

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **options: Any) -> Any:
        self.scratch = b""
        step = len(data) // 40 + 1
        for start in range(0, len(data), step):
            self.scratch += data[start : start + step]
        return super()._write(scope, key, self.scratch, *args, **options)


# -- audit ----------------------------------------------------------------------------------------


class CheckpointsBySize(MemoryAudit):
    """Remembers checkpoints by environment and size."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[tuple[str, int], LogHead] = {}

    def head(self, scope: Scope) -> LogHead | None:
        found = super().head(scope)
        return None if found is None else self.known.setdefault((scope.env, found.size), found)


class OneClock(MemoryAudit):
    """Never stamps an entry earlier than the last of any scope."""

    last = 0

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        self.last = max(self.last, *(each.recorded_at for each in entries))
        stamped = [attrs.evolve(each, recorded_at=self.last) for each in entries]
        super().append(scope, size, stamped, head)


class LeavesOnce(MemoryAudit):
    """Takes a batch that begins with another scope's leaf for one that was already written."""

    def append(self, scope: Scope, size: int, entries: Sequence[LogEntry], head: LogHead) -> None:
        leaves = {e.leaf for owner, log in self.logs.items() if owner != scope for e in log.entries}
        if entries and entries[0].leaf in leaves:
            raise PreconditionFailedError("the log has another size by now")
        super().append(scope, size, entries, head)


class SharedLimit(MemoryAudit):
    """Lists open intents up to a limit that counts everyone's."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        others = [other for other in self.logs if other != scope]
        taken = sum(len(super(SharedLimit, self).unsettled(each, before, 1)) for each in others)
        return super().unsettled(scope, before, max(1, limit - taken))


def _m(role: StoreRole, name: str, kind: Any, what: str | None = None) -> Mutant:
    def make(runtime: Runtime) -> Any:
        return kind(runtime.now) if issubclass(kind, MemoryRaw) else kind()

    return Mutant(
        name=f"{role}-{name}",
        role=role,
        what=what or (kind.__doc__ or "").strip(),
        killed_by=IDS[role].survey,
        says="could tell",
        make=make,
    )


_ATOM_OPERATORS: Final = tuple(
    op for op in sorted(FILTER_OPS.values()) if not op.startswith("contains")
)


def _everywhere() -> list[Mutant]:
    found = []
    for role in StoreRole:
        found += [
            _m(role, "cut-tenants", renamed(role, _cut), "Cuts tenant ids after 40 characters."),
            _m(role, "numbered-tenants", renamed(role, _number), "Takes `010` and `10` for one."),
            attrs.evolve(
                _m(role, "serving", kept(role), "Keeps on itself whom it serves."),
                killed_by=IDS[role].together,
                says="with other scopes at work",
            ),
        ]
    return found


MUTANTS: Final[tuple[Mutant, ...]] = (
    *_everywhere(),
    *(
        _m(StoreRole.ATOMS, f"{name}-{op}", make(op), f"Loses the environment {where} `{op}`.")
        for op in _ATOM_OPERATORS
        for name, make, where in (
            ("blind-in", atoms_blind_in, "in a query by"),
            ("counts-blind-in", atoms_counts_blind_in, "counting by"),
        )
    ),
    *(
        _m(StoreRole.VECTORS, f"{name}-{op}", make(op), f"Loses the environment {where} `{op}`.")
        for op in sorted(FILTER_OPS.values())
        for name, make, where in (
            ("blind-in", vectors_blind_in, "in a query by"),
            ("deletes-blind-in", vectors_delete_blind_in, "deleting by"),
        )
    ),
    _m(StoreRole.ATOMS, "second-page", SecondPage),
    _m(StoreRole.ATOMS, "second-chunk", SecondChunk),
    _m(StoreRole.ATOMS, "deep-walk", DeepWalk),
    _m(StoreRole.ATOMS, "cascading-erase", CascadingErase),
    _m(StoreRole.ATOMS, "helpful-conflict", HelpfulConflict),
    _m(StoreRole.VECTORS, "second-query", SecondQuery),
    _m(StoreRole.VECTORS, "vectors-by-id", VectorsById),
    _m(StoreRole.VECTORS, "filtered-afterwards", FilteredAfterwards),
    _m(StoreRole.VECTORS, "foreign-scan", ForeignScan),
    _m(StoreRole.VECTORS, "store-statistics", StoreStatistics),
    _m(StoreRole.VECTORS, "foreign-fingerprint", ForeignFingerprint),
    _m(StoreRole.VECTORS, "counted-incarnations", CountedIncarnations),
    _m(StoreRole.VECTORS, "lengths-by-id", LengthsById),
    _m(StoreRole.RAW, "foreign-range", ForeignRange),
    _m(StoreRole.RAW, "skips-after-foreign", SkipsAfterForeign),
    _m(StoreRole.RAW, "folded-types", FoldedTypes),
    _m(StoreRole.RAW, "counted-versions", CountedVersions),
    _m(StoreRole.RAW, "marked-versions", MarkedVersions),
    _m(StoreRole.RAW, "shared-quota", SharedQuota),
    attrs.evolve(
        _m(StoreRole.RAW, "shared-scratch", SharedScratch),
        killed_by=IDS[StoreRole.RAW].together,
        says="with other scopes at work",
    ),
    attrs.evolve(
        _m(StoreRole.RAW, "anyones-version", AnyonesVersion),
        killed_by="TEN-103",
        says="of `mine`",
    ),
    attrs.evolve(
        _m(StoreRole.RAW, "telling-condition", TellingCondition),
        killed_by="TEN-103",
        says="tells another scope's ETag",
    ),
    _m(StoreRole.AUDIT, "checkpoints-by-size", CheckpointsBySize),
    _m(StoreRole.AUDIT, "one-clock", OneClock),
    _m(StoreRole.AUDIT, "leaves-once", LeavesOnce),
    _m(StoreRole.AUDIT, "shared-limit", SharedLimit),
)
