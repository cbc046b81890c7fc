"""Faulty and unusual raw stores."""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo._mutant import Mutant, careless_mutants, vacant_mutants
from nexus_core.spi import (
    Body,
    ByteRange,
    ChecksumMismatchError,
    NotFoundError,
    ObjectAttributes,
    ObjectInfo,
    ObjectPage,
    ObjectStream,
    Problem,
    Runtime,
    Scope,
    StoreRole,
)


class Renamed(MemoryRaw):
    """A store whose places are made by ``place``, for mutants that make them badly."""

    def place(self, scope: Scope, key: str) -> tuple[Scope, str]:
        return scope, key

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **options: Any
    ) -> ObjectInfo:
        info = super().put(*self.place(scope, key), body, attributes, **options)
        return attrs.evolve(info, key=key)

    def _find(self, scope: Scope, key: str) -> Any:
        found = super()._find(*self.place(scope, key))
        return attrs.evolve(found, info=attrs.evolve(found.info, key=key))

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        super().delete(*self.place(scope, key), if_match=if_match)


class KeyOmitsEnv(Renamed):
    """Keeps one namespace for all environments of a tenant."""

    def place(self, scope: Scope, key: str) -> tuple[Scope, str]:
        return Scope(scope.tenant_id, "dev"), key


class UnescapedJoin(Renamed):
    """Joins tenant and key with a dash, so that two pairs can make one name."""

    def place(self, scope: Scope, key: str) -> tuple[Scope, str]:
        return Scope("all", scope.env), f"{scope.tenant_id}-{key}"

    def list(self, scope: Scope, **options: Any) -> ObjectPage:
        start = f"{scope.tenant_id}-"
        options["prefix"] = start + options.get("prefix", "")
        if options.get("after") is not None:
            options["after"] = start + options["after"]
        page = super().list(Scope("all", scope.env), **options)
        return attrs.evolve(
            page,
            items=tuple(
                attrs.evolve(
                    e,
                    key=e.key[len(start) :],
                    name=f"v1/{scope.env}/{scope.tenant_id}/{e.key[len(start) :]}",
                )
                for e in page.items
            ),
            prefixes=tuple(p[len(start) :] for p in page.prefixes),
            next_after=None if page.next_after is None else page.next_after[len(start) :],
        )


class CaseFolded(Renamed):
    """Folds the case of keys."""

    def place(self, scope: Scope, key: str) -> tuple[Scope, str]:
        return scope, key.casefold()


class PercentDecoded(Renamed):
    """Decodes percent escapes in keys."""

    def place(self, scope: Scope, key: str) -> tuple[Scope, str]:
        return scope, re.sub("%2f", "/", key)


class ListsTwins(MemoryRaw):
    """Lists by a tenant prefix that ``t1`` shares with ``t10``."""

    def list(self, scope: Scope, **options: Any) -> ObjectPage:
        page = super().list(scope, **options)
        for other in sorted({place[0] for place in self.objects}):
            if other != scope and other.tenant_id.startswith(scope.tenant_id):
                page = attrs.evolve(page, items=page.items + super().list(other, **options).items)
        return page


class GlobalDedup(MemoryRaw):
    """Keeps equal bytes once for all, and says so by another ETag."""

    def put(self, *args: Any, **options: Any) -> ObjectInfo:
        known = {found.info.sha256 for found in self.objects.values()}
        info = super().put(*args, **options)
        if info.sha256 in known:
            scope, key = args[:2]
            found = self.objects[scope, key]
            info = attrs.evolve(info, modified_at=0, version_id="deduplicated")
            self.objects[scope, key] = attrs.evolve(found, info=info)
        return info

    head = MemoryRaw.head


class SharedSequence(MemoryRaw):
    """Numbers versions across all scopes."""

    count = 0

    def put(self, *args: Any, **options: Any) -> ObjectInfo:
        info = super().put(*args, **options)
        self.count += 1
        scope, key = args[:2]
        found = self.objects[scope, key]
        numbered = attrs.evolve(
            info, attributes=attrs.evolve(info.attributes, system={"n": str(self.count)})
        )
        self.objects[scope, key] = attrs.evolve(found, info=numbered)
        return numbered


class TellingError(MemoryRaw):
    """Says whose the key is when it is somebody else's."""

    def _find(self, scope: Scope, key: str) -> Any:
        if (scope, key) not in self.objects and any(p[1] == key for p in self.objects):
            raise NotFoundError("no such object for you")
        return super()._find(scope, key)


class TellingPath(MemoryRaw):
    """Shows the place in its errors."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.now)
        self.base = runtime.base

    def _find(self, scope: Scope, key: str) -> Any:
        if (scope, key) not in self.objects:
            raise NotFoundError(f"{self.base}/{key} does not exist")
        return super()._find(scope, key)


class ForeignError(MemoryRaw):
    """Raises what its dictionary raises."""

    def _find(self, scope: Scope, key: str) -> Any:
        return self.objects[scope, key]


class IgnoresCreate(MemoryRaw):
    """Accepts the condition to create and overwrites."""

    def put(self, *args: Any, if_absent: bool = False, **options: Any) -> ObjectInfo:
        return super().put(*args, **options)


class IgnoresMatch(MemoryRaw):
    """Accepts the condition to replace and overwrites."""

    def put(self, *args: Any, if_match: str | None = None, **options: Any) -> ObjectInfo:
        return super().put(*args, **options)


class IgnoresDeleteMatch(MemoryRaw):
    """Accepts the condition to delete and deletes."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        super().delete(scope, key)


class ChecksThenCreates(MemoryRaw):
    """Looks whether the key is taken, and then writes without the condition."""

    def put(self, scope: Scope, key: str, *args: Any, if_absent: bool = False, **o: Any) -> Any:
        if if_absent and (scope, key) in self.objects:
            return super().put(scope, key, *args, if_absent=True, **o)
        return super().put(scope, key, *args, **o)


class EmptyForAbsent(MemoryRaw):
    """Answers an empty object where there is none."""

    def _find(self, scope: Scope, key: str) -> Any:
        if (scope, key) not in self.objects:
            ghost = MemoryRaw(self.now)
            ghost.put(
                scope, key, Body(b""), ObjectAttributes(content_type="a/b", metadata={}, system={})
            )
            return ghost.objects[scope, key]
        return super()._find(scope, key)


class GlobPrefix(MemoryRaw):
    """Takes a prefix for a pattern."""

    def list(self, scope: Scope, *, prefix: str = "", **options: Any) -> ObjectPage:
        page = super().list(scope, **options)
        items = tuple(e for e in page.items if fnmatch.fnmatchcase(e.key, prefix + "*"))
        return attrs.evolve(page, items=items)


class ShortListing(MemoryRaw):
    """Drops the last entry of a full page."""

    def list(self, scope: Scope, *, limit: int = 1000, **options: Any) -> ObjectPage:
        page = super().list(scope, limit=limit, **options)
        full = page.next_after is not None and limit > 1
        return attrs.evolve(page, items=page.items[:-1]) if full else page


class OffsetPaging(MemoryRaw):
    """Pages by counting, so that deletes move the window."""

    def list(self, scope: Scope, *, after: str | None = None, limit: int = 1000, **o: Any) -> Any:
        start = int(after[2:]) if after and after.startswith("~~") else 0
        if after is not None and not after.startswith("~~"):
            return super().list(scope, after=after, limit=limit, **o)
        page = super().list(scope, limit=10**6, **o)
        items = page.items[start : start + limit]
        digits = f"{start + limit:09d}"
        more = len(page.items) > start + limit
        return attrs.evolve(page, items=items, next_after=f"~~{digits}" if more else None)


class InclusiveAfter(MemoryRaw):
    """Gives the key it is to continue after once more."""

    def list(self, scope: Scope, *, after: str | None = None, **options: Any) -> ObjectPage:
        page = super().list(scope, after=after, **options)
        if after is None or (scope, after) not in self.objects:
            return page
        again = super().list(scope, prefix=after, limit=1).items
        return attrs.evolve(page, items=(*again, *page.items))


class FlatRollUp(MemoryRaw):
    """Hides a key that is also a rolled-up prefix."""

    def list(self, scope: Scope, **options: Any) -> ObjectPage:
        page = super().list(scope, **options)
        hidden = {prefix.rstrip("/") for prefix in page.prefixes}
        return attrs.evolve(page, items=tuple(e for e in page.items if e.key not in hidden))


class PrefixDelete(MemoryRaw):
    """Deletes everything that begins with the key."""

    def delete(self, scope: Scope, key: str, *, if_match: str | None = None) -> None:
        super().delete(scope, key, if_match=if_match)
        for place in [p for p in self.objects if p[0] == scope and p[1].startswith(key + "/")]:
            del self.objects[place]


class GlobDelete(MemoryRaw):
    """Takes the keys of a batch for patterns."""

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        for key in keys:
            for place in [
                p for p in self.objects if p[0] == scope and fnmatch.fnmatchcase(p[1], key)
            ]:
                del self.objects[place]
            super().delete(scope, key)
        return {}


class PrefixErase(MemoryRaw):
    """Erases every tenant whose id begins with the tenant's."""

    def erase(self, scope: Scope) -> int:
        mine = [
            p
            for p in self.objects
            if p[0].env == scope.env and p[0].tenant_id.startswith(scope.tenant_id)
        ]
        for place in mine:
            del self.objects[place]
        return len(mine)


class ForgetfulErase(MemoryRaw):
    """Leaves the last object when it erases, and does not count it."""

    def erase(self, scope: Scope) -> int:
        mine = [place for place in self.objects if place[0] == scope]
        for place in mine[:-1]:
            del self.objects[place]
        return len(mine)


class ShiftedRange(MemoryRaw):
    """Takes the stop of a range as inclusive."""

    @contextmanager
    def open(self, scope: Scope, key: str, *, range: ByteRange | None = None, **o: Any) -> Any:
        wanted = range
        if range is not None and range.stop is not None:
            wanted = attrs.evolve(range, stop=range.stop + 1)
        with super().open(scope, key, range=wanted, **o) as stream:
            yield stream


class WholeForRange(MemoryRaw):
    """Answers the whole object to a range that it cannot satisfy."""

    @contextmanager
    def open(self, scope: Scope, key: str, *, range: ByteRange | None = None, **o: Any) -> Any:
        found = self._find(scope, key)
        outside = range is not None and range.start >= len(found.data)
        with super().open(scope, key, range=None if outside else range, **o) as stream:
            yield stream


class KeepsPartial(MemoryRaw):
    """Keeps what came of a body that broke."""

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        came = bytearray()
        try:
            for chunk in body:
                came += chunk
        except ChecksumMismatchError:
            raise
        except Exception:
            if came:
                super().put(scope, key, Body(bytes(came)), attributes)
            raise
        return super().put(scope, key, Body(bytes(came)), attributes, **options)


class KeepsCorrupt(MemoryRaw):
    """Keeps a body that is not the one declared."""

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        came = bytearray()
        try:
            for chunk in body:
                came += chunk
        except ChecksumMismatchError:
            super().put(scope, key, Body(bytes(came)), attributes)
            raise
        return super().put(scope, key, Body(bytes(came)), attributes, **options)


class TruncatesLarge(MemoryRaw):
    """Keeps at most five MiB."""

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        data = b"".join(body)[: 5 << 20]
        return super().put(scope, key, Body(data), attributes, **options)


class MixesVersions(MemoryRaw):
    """Reads each chunk from whatever is current."""

    @contextmanager
    def open(self, scope: Scope, key: str, **options: Any) -> Iterator[ObjectStream]:
        with super().open(scope, key, **options) as stream:

            def chunks() -> Iterator[bytes]:
                step = 1 << 16
                for start in range(stream.start, stream.stop, step):
                    found = self.objects.get((scope, key))
                    data = b"" if found is None else found.data
                    yield data[start : min(start + step, stream.stop)]

            yield attrs.evolve(stream, chunks=chunks())


class CopiesAttributes(MemoryRaw):
    """Copies the source's attributes along."""

    def copy(self, scope: Scope, source: str, target: str, attributes: Any, **o: Any) -> Any:
        return super().copy(scope, source, target, self._find(scope, source).info.attributes, **o)


class MovesOnCopy(MemoryRaw):
    """Moves where it should copy."""

    def copy(self, scope: Scope, source: str, *args: Any, **options: Any) -> ObjectInfo:
        info = super().copy(scope, source, *args, **options)
        self.objects.pop((scope, source))
        return info


class IgnoresReadMatch(MemoryRaw):
    """Opens whatever is current, whatever version was named."""

    @contextmanager
    def open(self, *args: Any, if_match: str | None = None, **options: Any) -> Any:
        with super().open(*args, **options) as stream:
            yield stream


class DigestETag(MemoryRaw):
    """Uses the digest of the bytes as ETag."""

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **o: Any) -> ObjectInfo:
        super()._write(scope, key, data, *args, **o)
        found = self.objects[scope, key]
        info = attrs.evolve(found.info, etag=hashlib.sha256(data).hexdigest())
        self.objects[scope, key] = attrs.evolve(found, info=info)
        return info


class EchoesDigest(MemoryRaw):
    """Reports a digest that is not that of the bytes."""

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **o: Any) -> ObjectInfo:
        super()._write(scope, key, data, *args, **o)
        found = self.objects[scope, key]
        info = attrs.evolve(found.info, sha256=hashlib.sha256(key.encode()).hexdigest())
        self.objects[scope, key] = attrs.evolve(found, info=info)
        return info


class DropsMetadata(MemoryRaw):
    """Lower-cases the content type and drops user metadata."""

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        return super().put(scope, key, body, attrs.evolve(attributes, metadata={}), **options)


class EmptyIsAbsent(MemoryRaw):
    """Takes an object without bytes for none."""

    def _find(self, scope: Scope, key: str) -> Any:
        found = super()._find(scope, key)
        if not found.data:
            raise NotFoundError("no such object")
        return found


class EmptyRange(MemoryRaw):
    """Gives an empty answer to a range of an empty object."""

    @contextmanager
    def open(self, scope: Scope, key: str, *, range: ByteRange | None = None, **o: Any) -> Any:
        empty = not self._find(scope, key).data
        with super().open(scope, key, range=None if empty else range, **o) as stream:
            yield stream


class EchoedNames(MemoryRaw):
    """Makes up the names of a listing instead of passing on what it found."""

    def list(self, scope: Scope, **options: Any) -> ObjectPage:
        page = super().list(scope, **options)
        return attrs.evolve(page, items=tuple(attrs.evolve(e, name=e.key) for e in page.items))


class OpenAfterClose(MemoryRaw):
    """Goes on after it was closed."""

    def ensure_open(self) -> None:
        return


class NoisyCheck(MemoryRaw):
    """Finds fault with itself."""

    def check(self) -> Sequence[Problem]:
        return [Problem(path="", what="something", fix="nothing")]


class ReadCacheById(MemoryRaw):
    """Caches reads by key alone."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.cache: dict[str, Any] = {}

    def _find(self, scope: Scope, key: str) -> Any:
        if (scope, key) in self.objects:
            return self.cache.setdefault(key, super()._find(scope, key))
        return super()._find(scope, key)


class Chatty(MemoryRaw):
    """Writes what it stores to the log."""

    def put(self, scope: Scope, key: str, body: Body, attributes: Any, **options: Any) -> Any:
        data = b"".join(body)
        logging.getLogger("store").warning("stored %r", data)
        return super().put(scope, key, Body(data), attributes, **options)


def _m(name: str, kind: Any, killed_by: str, says: str, *, wants_runtime: bool = False) -> Mutant:
    return Mutant(
        name=f"raw-{name}",
        role=StoreRole.RAW,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=kind if wants_runtime else (lambda runtime: kind(runtime.now)),
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("key-omits-env", KeyOmitsEnv, "TEN-101", "could tell"),
    _m("unescaped-join", UnescapedJoin, "TEN-101", "could tell"),
    _m("case-folded", CaseFolded, "RAW-001", "other bytes"),
    _m("percent-decoded", PercentDecoded, "RAW-001", "other bytes"),
    _m("lists-twins", ListsTwins, "TEN-101", "could tell"),
    _m("global-dedup", GlobalDedup, "TEN-101", "could tell"),
    _m("shared-sequence", SharedSequence, "TEN-101", "could tell"),
    _m("telling-error", TellingError, "TEN-103", "tells another scope's key"),
    _m("telling-path", TellingPath, "SEC-101", "physical place", wants_runtime=True),
    _m("foreign-error", ForeignError, "SEC-101", "outside the error tree"),
    _m("ignores-create", IgnoresCreate, "RAW-002", "second create"),
    _m("ignores-match", IgnoresMatch, "RAW-003", "stale version"),
    _m("ignores-delete-match", IgnoresDeleteMatch, "RAW-004", "stale version"),
    _m("checks-then-creates", ChecksThenCreates, "RAW-022", " won"),
    _m("empty-for-absent", EmptyForAbsent, "RAW-005", "head of"),
    _m("glob-prefix", GlobPrefix, "RAW-007", "listed"),
    _m("short-listing", ShortListing, "RAW-006", "leaves out"),
    _m("offset-paging", OffsetPaging, "RAW-023", "untouched"),
    _m("inclusive-after", InclusiveAfter, "RAW-026", "the listing gives"),
    _m("flat-roll-up", FlatRollUp, "RAW-008", "at limit"),
    _m("prefix-delete", PrefixDelete, "RAW-018", "disturbed"),
    _m("glob-delete", GlobDelete, "RAW-010", "delete_many left"),
    _m("prefix-erase", PrefixErase, "TEN-102", "erasing"),
    _m("forgetful-erase", ForgetfulErase, "RAW-020", "erase left"),
    _m("shifted-range", ShiftedRange, "RAW-011", "other bytes"),
    _m("whole-for-range", WholeForRange, "RAW-011", "RangeNotSatisfiableError"),
    _m("keeps-partial", KeepsPartial, "RAW-012", "failed put"),
    _m("keeps-corrupt", KeepsCorrupt, "RAW-013", "refused body"),
    _m("truncates-large", TruncatesLarge, "RAW-014", "another size"),
    _m("mixes-versions", MixesVersions, "RAW-015", "mixed two versions"),
    _m("copies-attributes", CopiesAttributes, "RAW-016", "source's attributes"),
    _m("moves-on-copy", MovesOnCopy, "RAW-016", "no such object"),
    _m("ignores-read-match", IgnoresReadMatch, "RAW-017", "stale version"),
    _m("digest-etag", DigestETag, "RAW-019", "one ETag"),
    _m("echoes-digest", EchoesDigest, "RAW-025", "SHA-256"),
    _m("drops-metadata", DropsMetadata, "RAW-001", "attributes"),
    _m("empty-is-absent", EmptyIsAbsent, "RAW-021", "no such object"),
    _m("empty-range", EmptyRange, "RAW-021", "empty object"),
    _m("echoed-names", EchoedNames, "TEN-104", "codec"),
    _m("open-after-close", OpenAfterClose, "RAW-024", "after close"),
    _m("noisy-check", NoisyCheck, "CFG-101", "ready store"),
    _m("read-cache-by-key", ReadCacheById, "TEN-101", "could tell"),
    _m("chatty", Chatty, "TEN-105", "log"),
    *vacant_mutants(
        StoreRole.RAW, "raw", "RAW-001", "RawBackend.put", "RawBackend.put must return ObjectInfo"
    ),
    *careless_mutants(StoreRole.RAW, "raw", ("CFG-102", "CFG-103", "DUR-101")),
)
