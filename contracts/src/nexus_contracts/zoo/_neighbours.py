"""Stores that lose the scope in one branch only: one operator, one page, one name, one moment."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._catalogue.shared import IDS
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant
from nexus_core._spi.spec import ABC_OF
from nexus_core.spi import (
    ByteRange,
    LogEntry,
    LogHead,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    Runtime,
    Scope,
    StoreRole,
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
    """Finds nothing any more when all scopes together hold much."""

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


def neighbour(role: StoreRole, name: str, kind: Any, what: str | None = None) -> Mutant:
    """A mutant that the role's survey kills."""

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


def _everywhere() -> list[Mutant]:
    found = []
    for role in StoreRole:
        found += [
            neighbour(
                role, "cut-tenants", renamed(role, _cut), "Cuts tenant ids after 40 characters."
            ),
            neighbour(
                role, "numbered-tenants", renamed(role, _number), "Takes `010` and `10` for one."
            ),
            attrs.evolve(
                neighbour(role, "serving", kept(role), "Keeps on itself whom it serves."),
                killed_by=IDS[role].at_once,
                says="with other scopes at work",
            ),
        ]
    return found


MUTANTS: Final[tuple[Mutant, ...]] = (
    *_everywhere(),
    neighbour(StoreRole.RAW, "foreign-range", ForeignRange),
    neighbour(StoreRole.RAW, "skips-after-foreign", SkipsAfterForeign),
    neighbour(StoreRole.RAW, "folded-types", FoldedTypes),
    neighbour(StoreRole.RAW, "counted-versions", CountedVersions),
    neighbour(StoreRole.RAW, "marked-versions", MarkedVersions),
    neighbour(StoreRole.RAW, "shared-quota", SharedQuota),
    attrs.evolve(
        neighbour(StoreRole.RAW, "shared-scratch", SharedScratch),
        killed_by=IDS[StoreRole.RAW].at_once,
        says="with other scopes at work",
    ),
    attrs.evolve(
        neighbour(StoreRole.RAW, "anyones-version", AnyonesVersion),
        killed_by="TEN-103",
        says="of `mine`",
    ),
    attrs.evolve(
        neighbour(StoreRole.RAW, "telling-condition", TellingCondition),
        killed_by="TEN-103",
        says="tells another scope's ETag",
    ),
    neighbour(StoreRole.AUDIT, "checkpoints-by-size", CheckpointsBySize),
    neighbour(StoreRole.AUDIT, "one-clock", OneClock),
    neighbour(StoreRole.AUDIT, "leaves-once", LeavesOnce),
    neighbour(StoreRole.AUDIT, "shared-limit", SharedLimit),
)
