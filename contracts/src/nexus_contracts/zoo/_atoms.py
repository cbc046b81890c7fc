"""Faulty and unusual atom stores."""

from __future__ import annotations

import fnmatch
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryAtoms
from nexus_contracts.zoo._mutant import Mutant, careless_mutants, vacant_mutants, variant_harness
from nexus_core.spi import (
    AlreadyExistsError,
    And,
    Eq,
    Filter,
    Insert,
    Not,
    Operation,
    Or,
    PreconditionFailedError,
    Prefix,
    Problem,
    Record,
    RecordPage,
    Remove,
    Replace,
    Require,
    Runtime,
    Scope,
    Step,
    StoreRole,
    matches,
)


class IgnoresEnv(MemoryAtoms):
    """Keeps one ledger for all environments of a tenant."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        return super().commit(Scope(scope.tenant_id, "dev"), operations)

    def get(self, scope: Scope, *args: Any) -> Any:
        return super().get(Scope(scope.tenant_id, "dev"), *args)

    def _mine(self, scope: Scope, collection: str) -> list[Record]:
        return super()._mine(Scope(scope.tenant_id, "dev"), collection)


class GetsWithoutScope(MemoryAtoms):
    """Looks records up by id alone."""

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Any:
        own = super().get(scope, collection, ids)
        by_id = {p[2]: r for p, r in self.records.items() if p[1] == collection}
        return [by_id.get(i) if r is None else r for i, r in zip(ids, own, strict=True)]


class OrPrecedence(MemoryAtoms):
    """Loses its scope predicate behind an OR."""

    def query(self, scope: Scope, collection: str, where: Filter | None, **o: Any) -> RecordPage:
        page = super().query(scope, collection, where, **o)
        if isinstance(where, Or):
            tail = where.parts[1:]
            more = [
                r
                for p, r in self.records.items()
                if p[1] == collection and any(matches(part, r.fields) for part in tail)
            ]
            merged = {id(r): r for r in (*page.records, *more)}
            return RecordPage(tuple(sorted(merged.values(), key=lambda r: r.id)))
        return page


class StealsIds(MemoryAtoms):
    """Takes an id that another scope has for its own conflict, and overwrites it."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Insert):
            key = (operation.record.collection, operation.record.id)
            for place in [p for p in draft if p[1:] == key and p[0] != scope]:
                del draft[place]
        return super()._apply(draft, scope, operation)


class GlobalUnique(MemoryAtoms):
    """Holds ids unique over all scopes."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Insert) and operation.if_exists == "fail":
            key = (operation.record.collection, operation.record.id)
            if any(place[1:] == key and place[0] != scope for place in draft):
                raise AlreadyExistsError("the id is taken")
        return super()._apply(draft, scope, operation)


class CountsEverybody(MemoryAtoms):
    """Counts the rows of all scopes."""

    def count(self, scope: Scope, collection: str, where: Filter | None) -> int:
        return sum(
            place[1] == collection and matches(where, record.fields)
            for place, record in self.records.items()
        )


class KeepsTenantAfterError(MemoryAtoms):
    """Goes on in the scope of the last call that failed."""

    stuck: Scope | None = None

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        try:
            return super().commit(scope, operations)
        except (AlreadyExistsError, PreconditionFailedError):
            self.stuck = scope
            raise

    def get(self, scope: Scope, *args: Any) -> Any:
        used, self.stuck = self.stuck or scope, None
        return super().get(used, *args)


class FirstTenantWins(MemoryAtoms):
    """Prepares its count once, for whoever asks first."""

    first: Scope | None = None

    def count(self, scope: Scope, *args: Any) -> int:
        self.first = self.first or scope
        return super().count(self.first, *args)


class LikeTenant(MemoryAtoms):
    """Compares tenants by LIKE, so that `_` matches any character."""

    def _mine(self, scope: Scope, collection: str) -> list[Record]:
        pattern = scope.tenant_id.replace("_", "?")
        found = {
            r.id: r
            for (owner, kind, _), r in self.records.items()
            if owner.env == scope.env
            and kind == collection
            and fnmatch.fnmatchcase(owner.tenant_id, pattern)
        }
        return sorted(found.values(), key=lambda r: r.id)


class PrefixErase(MemoryAtoms):
    """Erases every tenant whose id begins with the tenant's."""

    def erase(self, scope: Scope) -> int:
        going = [p for p in self.records if p[0].tenant_id.startswith(scope.tenant_id)]
        self.records = {p: r for p, r in self.records.items() if p not in set(going)}
        return len(going)


class ForgetsEdges(MemoryAtoms):
    """Erases everything but the edges."""

    def erase(self, scope: Scope) -> int:
        going = [p for p in self.records if p[0] == scope and p[1] != "edges"]
        for place in going:
            del self.records[place]
        return len(going)


class WalksAbroad(MemoryAtoms):
    """Checks the scope at the start of a walk and never again."""

    def walk(self, scope: Scope, start: Any, direction: Any, **options: Any) -> Any:
        inside = super().walk(scope, start, direction, **options)
        known = {step.edge.id for step in inside}
        there = "parent" if direction == "up" else "child"
        here = "child" if direction == "up" else "parent"
        reached = {step.edge.fields[there] for step in inside}
        abroad = [
            Step(2, r)
            for p, r in self.records.items()
            if p[1] == "edges" and r.fields[here] in reached and r.id not in known
        ]
        return [*inside, *abroad][: options["limit"]]


class ReencodesBodies(MemoryAtoms):
    """Keeps bodies as text."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        def text(operation: Any) -> Any:
            record = getattr(operation, "record", None)
            if record is None:
                return operation
            body = record.body.decode("utf-8", "replace").encode()
            return attrs.evolve(operation, record=attrs.evolve(record, body=body))

        return super().commit(scope, [text(operation) for operation in operations])


class IntegerBooleans(MemoryAtoms):
    """Gives booleans back as numbers."""

    def get(self, *args: Any) -> Any:
        return [
            None
            if r is None
            else attrs.evolve(
                r,
                fields={k: int(v) if isinstance(v, bool) else v for k, v in r.fields.items()},
            )
            for r in super().get(*args)
        ]


class SortedGet(MemoryAtoms):
    """Answers in the order of the ids, not of the question."""

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Any:
        return super().get(scope, collection, sorted(ids))


class HalfBatches(MemoryAtoms):
    """Applies operations one by one, and stops at the first that fails."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed: list[bool] = []
        for operation in operations:
            changed += super().commit(scope, [operation])
        return changed


class Regroups(MemoryAtoms):
    """Applies all removes first, as a bulk loader would."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        order = sorted(range(len(operations)), key=lambda n: not isinstance(operations[n], Remove))
        answers = super().commit(scope, [operations[n] for n in order])
        changed = [False] * len(operations)
        for place, answer in zip(order, answers, strict=True):
            changed[place] = answer
        return changed


class AlwaysChanged(MemoryAtoms):
    """Says that everything changed."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        super().commit(scope, operations)
        return [not isinstance(operation, Require) for operation in operations]


class Upserts(MemoryAtoms):
    """Overwrites where it should keep."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Insert) and operation.if_exists == "keep":
            place = (scope, operation.record.collection, operation.record.id)
            there = place in draft
            draft[place] = operation.record
            return not there
        return super()._apply(draft, scope, operation)


class IgnoresVersions(MemoryAtoms):
    """Replaces whatever version is there."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Replace):
            place = (scope, operation.record.collection, operation.record.id)
            if place not in draft:
                raise PreconditionFailedError("the record has another version by now")
            draft[place] = operation.record
            return True
        return super()._apply(draft, scope, operation)


class IgnoresRemoveVersion(MemoryAtoms):
    """Removes whatever version is there."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Remove):
            operation = attrs.evolve(operation, version=None)
        return super()._apply(draft, scope, operation)


class IgnoresRequire(MemoryAtoms):
    """Takes every requirement for granted."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        return False if isinstance(operation, Require) else super()._apply(draft, scope, operation)


class ChecksThenWrites(MemoryAtoms):
    """Reads the version, and writes a moment later, without a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = _NoLock()  # type: ignore[assignment]


class _NoLock:
    """A lock that locks nothing."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


class DropsLast(MemoryAtoms):
    """Drops the last record of a full page."""

    def query(self, *args: Any, limit: int = 1000, **options: Any) -> RecordPage:
        page = super().query(*args, limit=limit, **options)
        full = page.next_after is not None and limit > 1
        return RecordPage(page.records[:-1], page.next_after) if full else page


class CountsPages(MemoryAtoms):
    """Pages by counting, so that removes move the window."""

    def query(self, scope: Scope, collection: str, where: Filter | None, **o: Any) -> RecordPage:
        after, limit = o.get("after"), o.get("limit", 1000)
        if after is not None and not after.startswith("~"):
            return super().query(scope, collection, where, **o)
        start = int(after[1:]) if after else 0
        every = super().query(scope, collection, where, limit=10**6).records
        more = len(every) > start + limit
        return RecordPage(every[start : start + limit], f"~{start + limit:09}" if more else None)


class _Filtered(MemoryAtoms):
    """A store that evaluates filters by ``keeps``."""

    def keeps(self, where: Filter | None, record: Record) -> bool:
        return matches(where, record.fields)

    def query(self, scope: Scope, collection: str, where: Filter | None, **o: Any) -> RecordPage:
        after, limit = o.get("after"), o.get("limit", 1000)
        found = [
            r
            for r in self._mine(scope, collection)
            if (after is None or r.id > after) and self.keeps(where, r)
        ]
        return RecordPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


class NullLogic(_Filtered):
    """Loses records without a value from every negation, as SQL does."""

    def keeps(self, where: Filter | None, record: Record) -> bool:
        field = getattr(where, "field", None)
        if type(where).__name__ in ("Ne", "NotIn") and field not in record.fields:
            return False
        return super().keeps(where, record)


class ShallowNot(_Filtered):
    """Negates only the first part of what it should negate."""

    def keeps(self, where: Filter | None, record: Record) -> bool:
        if isinstance(where, Not) and isinstance(where.part, And | Or):
            return not self.keeps(where.part.parts[0], record)
        return super().keeps(where, record)


class LikePrefix(_Filtered):
    """Matches prefixes by LIKE."""

    def keeps(self, where: Filter | None, record: Record) -> bool:
        if isinstance(where, Prefix) and where.field in record.fields:
            pattern = where.value.replace("_", "?").replace("%", "*")
            return fnmatch.fnmatchcase(str(record.fields[where.field]), pattern + "*")
        return super().keeps(where, record)


class TrimsValues(_Filtered):
    """Compares text without its blanks."""

    def keeps(self, where: Filter | None, record: Record) -> bool:
        if isinstance(where, Eq) and isinstance(where.value, str):
            return str(record.fields.get(where.field, "\0")).strip() == where.value.strip()
        return super().keeps(where, record)


class TruthIsOne(_Filtered):
    """Takes 1.0 for something other than 1."""

    def keeps(self, where: Filter | None, record: Record) -> bool:
        if isinstance(where, Eq) and isinstance(where.value, float):
            value = record.fields.get(where.field)
            return type(value) is float and value == where.value
        return super().keeps(where, record)


class CountsRoughly(MemoryAtoms):
    """Counts to the nearest ten."""

    def count(self, *args: Any) -> int:
        return round(super().count(*args) / 7) * 7


class OnePath(MemoryAtoms):
    """Follows each node once, and so misses the second way to it."""

    def walk(self, scope: Scope, start: Any, direction: Any, **options: Any) -> Any:
        there = "parent" if direction == "up" else "child"
        seen: set[Any] = set()
        kept = []
        for step in super().walk(scope, start, direction, **options):
            if step.edge.fields[there] not in seen:
                seen.add(step.edge.fields[there])
                kept.append(step)
        return kept


class SplitsBulks(MemoryAtoms):
    """Commits a thousand operations at a time."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        changed: list[bool] = []
        for start in range(0, len(operations), 1000):
            changed += super().commit(scope, operations[start : start + 1000])
        return changed


class OneTable(MemoryAtoms):
    """Removes an id from every collection."""

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        if isinstance(operation, Remove) and operation.version is None:
            for place in [p for p in draft if p[0] == scope and p[2] == operation.id]:
                if place[1] != operation.collection:
                    del draft[place]
        return super()._apply(draft, scope, operation)


class StaleIndex(_Filtered):
    """Filters by the fields that a record had first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[Any, Record] = {}

    def keeps(self, where: Filter | None, record: Record) -> bool:
        return super().keeps(where, self.first.setdefault((record.collection, record.id), record))

    def _apply(self, draft: Any, scope: Scope, operation: Operation) -> bool:
        changed = super()._apply(draft, scope, operation)
        if isinstance(operation, Insert) and changed:
            record = operation.record
            self.first[record.collection, record.id] = record
        return changed


class OpenAfterClose(MemoryAtoms):
    """Goes on after it was closed."""

    def ensure_open(self) -> None:
        return


class NoisyCheck(MemoryAtoms):
    """Finds fault with itself."""

    def check(self) -> Sequence[Problem]:
        return [Problem(path="", what="something", fix="nothing")]


class TellingValues(MemoryAtoms):
    """Shows the record in its errors."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        try:
            return super().commit(scope, operations)
        except AlreadyExistsError:
            raise AlreadyExistsError(f"taken: {operations!r}") from None


class ForeignError(MemoryAtoms):
    """Raises what its dictionary raises."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        try:
            return super().commit(scope, operations)
        except PreconditionFailedError:
            raise KeyError("version") from None


class Chatty(MemoryAtoms):
    """Writes what it stores to the log."""

    def commit(self, scope: Scope, operations: Sequence[Operation]) -> Sequence[bool]:
        for each in operations:
            record = getattr(each, "record", None)
            body = b"" if record is None else record.body
            logging.getLogger("store").warning("commit %r %r", each, body)
        return super().commit(scope, operations)


class SmallPages(MemoryAtoms):
    """Gives at most three records a page, or a hundred where more than that are asked for."""

    def query(self, *args: Any, limit: int = 1000, **options: Any) -> RecordPage:
        return super().query(*args, limit=min(limit, 3 if limit <= 100 else 100), **options)


class Slow(MemoryAtoms):
    """Takes its time."""

    def get(self, *args: Any) -> Any:
        time.sleep(0.0002)
        return super().get(*args)


def _m(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    def make(_runtime: Runtime) -> Any:
        return kind()

    return Mutant(
        name=f"atoms-{name}",
        role=StoreRole.ATOMS,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=make,
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("ignores-env", IgnoresEnv, "TEN-201", "could tell"),
    _m("gets-without-scope", GetsWithoutScope, "TEN-201", "could tell"),
    _m("or-precedence", OrPrecedence, "TEN-201", "could tell"),
    _m("steals-ids", StealsIds, "TEN-201", "could tell"),
    _m("global-unique", GlobalUnique, "TEN-203", "AlreadyExistsError"),
    _m("counts-everybody", CountsEverybody, "TEN-201", "could tell"),
    _m("keeps-tenant-after-error", KeepsTenantAfterError, "TEN-201", "could tell"),
    _m("first-tenant-wins", FirstTenantWins, "TEN-201", "could tell"),
    _m("like-tenant", LikeTenant, "TEN-201", "could tell"),
    _m("prefix-erase", PrefixErase, "TEN-202", "erasing"),
    _m("forgets-edges", ForgetsEdges, "ATOM-018", "erase counted"),
    _m("walks-abroad", WalksAbroad, "TEN-204", "met the edges"),
    _m("reencodes-bodies", ReencodesBodies, "ATOM-001", "otherwise than committed"),
    _m("integer-booleans", IntegerBooleans, "ATOM-013", "as something else"),
    _m("sorted-get", SortedGet, "ATOM-002", "not aligned"),
    _m("half-batches", HalfBatches, "ATOM-003", "changed something"),
    _m("regroups", Regroups, "ATOM-004", "version"),
    _m("always-changed", AlwaysChanged, "ATOM-005", "tells wrongly"),
    _m("upserts", Upserts, "ATOM-006", "overwrote"),
    _m("ignores-versions", IgnoresVersions, "ATOM-007", "a replace by version"),
    _m("ignores-remove-version", IgnoresRemoveVersion, "ATOM-008", "not current"),
    _m("ignores-require", IgnoresRequire, "ATOM-009", "Require"),
    _m("checks-then-writes", ChecksThenWrites, "ATOM-019", " won"),
    _m("drops-last", DropsLast, "ATOM-010", "incomplete"),
    _m("counts-pages", CountsPages, "ATOM-021", "untouched"),
    _m("null-logic", NullLogic, "ATOM-011", "instead of"),
    _m("shallow-not", ShallowNot, "ATOM-011", "instead of"),
    _m("like-prefix", LikePrefix, "ATOM-012", "the prefix"),
    _m("trims-values", TrimsValues, "ATOM-012", "the value"),
    _m("truth-is-one", TruthIsOne, "ATOM-013", "1.0 does not match 1"),
    _m("counts-roughly", CountsRoughly, "ATOM-014", "counts are"),
    _m("one-path", OnePath, "ATOM-015", "walking"),
    _m("splits-bulks", SplitsBulks, "ATOM-016", "failed bulk"),
    _m("one-table", OneTable, "ATOM-017", "reached too far"),
    _m("stale-index", StaleIndex, "ATOM-022", "a filter"),
    _m("open-after-close", OpenAfterClose, "ATOM-020", "after close"),
    _m("noisy-check", NoisyCheck, "CFG-201", "ready store"),
    _m("telling-values", TellingValues, "SEC-201", "shows"),
    _m("foreign-error", ForeignError, "SEC-201", "outside the error tree"),
    _m("chatty", Chatty, "TEN-205", "log"),
    *vacant_mutants(
        StoreRole.ATOMS,
        "atoms",
        "ATOM-001",
        "AtomBackend.commit",
        "AtomBackend.commit must return Sequence[bool]",
    ),
    *careless_mutants(StoreRole.ATOMS, "atoms", ("CFG-202", "CFG-203", "DUR-201")),
)

LEGAL: Final[Mapping[str, BackendHarness]] = {
    "atoms-small-pages": variant_harness(StoreRole.ATOMS, lambda _: SmallPages()),
    "atoms-slow": variant_harness(StoreRole.ATOMS, lambda _: Slow()),
    "atoms-few-operators": variant_harness(
        StoreRole.ATOMS, capabilities={"filter_ops": frozenset(("eq", "and")), "max_batch": 500}
    ),
}
