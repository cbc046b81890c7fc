"""Raw stores that are right as long as everything is small, and its bytes are not looked for."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryRaw
from nexus_contracts.memory._raw import StoredObject
from nexus_contracts.zoo._filed import filed_harness, opened
from nexus_contracts.zoo._mutant import Mutant
from nexus_contracts.zoo._neighbours import renamed
from nexus_core.spi import (
    Backend,
    Body,
    ByteRange,
    ObjectAttributes,
    ObjectInfo,
    ObjectPage,
    ObjectStream,
    QuotaExceededError,
    Runtime,
    Scope,
    StoreRole,
)

LIMIT: Final = 3 << 20
_BLOCK: Final = 1 << 16


class TakesHalf(MemoryRaw):
    """Takes half of what it declares."""

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **options: Any) -> ObjectInfo:
        if len(data) > LIMIT // 2:
            raise QuotaExceededError("the object is too large")
        return super()._write(scope, key, data, *args, **options)


class TakesMore(MemoryRaw):
    """Takes any number of bytes, whatever it declares."""


class CutsValues(MemoryRaw):
    """Keeps a thousand characters of a metadata value."""

    def put(
        self, scope: Scope, key: str, body: Body, attributes: ObjectAttributes, **o: Any
    ) -> Any:
        short = {name: value[:1000] for name, value in attributes.metadata.items()}
        return super().put(scope, key, body, attrs.evolve(attributes, metadata=short), **o)


class CutsKeys(MemoryRaw):
    """Keeps seven hundred bytes of a key, and half a character perhaps."""

    def put(self, scope: Scope, key: str, *args: Any, **options: Any) -> ObjectInfo:
        return attrs.evolve(super().put(scope, _cut(key), *args, **options), key=key)

    def _find(self, scope: Scope, key: str) -> StoredObject:
        found = super()._find(scope, _cut(key))
        return attrs.evolve(found, info=attrs.evolve(found.info, key=key))


def _cut(key: str) -> str:
    return key.encode()[:700].decode("utf-8", "replace")


class SecondChunk(MemoryRaw):
    """Counts the second chunk of a range from the object's beginning."""

    @contextmanager
    def open(self, scope: Scope, key: str, **options: Any) -> Iterator[ObjectStream]:
        with super().open(scope, key, **options) as stream:
            data = self._find(scope, key).data
            size = stream.stop - stream.start
            rest = data[_BLOCK:size] if stream.start else data[_BLOCK : stream.stop]
            first = data[stream.start : min(stream.stop, stream.start + _BLOCK)]
            yield attrs.evolve(stream, chunks=iter((first, rest)))


class SuffixOfFirst(MemoryRaw):
    """Counts a suffix back from the end of the first mebibyte."""

    def open(self, scope: Scope, key: str, *, range: ByteRange | None = None, **o: Any) -> Any:
        size, wanted = len(self._find(scope, key).data), range
        if wanted is not None and wanted.start < 0 and size > 1 << 20:
            wanted = ByteRange(max(0, (1 << 20) + wanted.start), 1 << 20)
        return super().open(scope, key, range=wanted, **o)


class BlocksOnce(MemoryRaw):
    """Keeps bytes once for all that agree in length and in the first block."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.blocks: dict[Any, bytes] = {}

    def mark(self, _key: str, data: bytes) -> Any:
        """What two objects have in common that are taken for one."""
        return data[:_BLOCK], len(data)

    def _find(self, scope: Scope, key: str) -> StoredObject:
        found = super()._find(scope, key)
        if len(found.data) <= _BLOCK:
            return found
        data = self.blocks.setdefault(self.mark(key, found.data), found.data)
        return attrs.evolve(found, data=data)


class BlocksAbroad(BlocksOnce):
    """Keeps bytes once for all scopes, where they agree in key and length."""

    def mark(self, key: str, data: bytes) -> Any:
        return key, len(data)


class SharedBuffer(MemoryRaw):
    """Reads what is larger than a mebibyte through one buffer."""

    buffer = bytearray()

    @contextmanager
    def open(self, scope: Scope, key: str, **options: Any) -> Iterator[ObjectStream]:
        with super().open(scope, key, **options) as stream:
            data = self._find(scope, key).data
            if len(data) <= 1 << 20:
                yield stream
                return
            self.buffer[:] = data
            steps = range(stream.start, stream.stop, _BLOCK)
            chunks = (bytes(self.buffer[s : min(s + _BLOCK, stream.stop)]) for s in steps)
            yield attrs.evolve(stream, chunks=chunks)


class SpoolByKey(MemoryRaw):
    """Spools large bodies under the name of their key."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.spool: dict[str, bytes] = {}

    def _write(self, scope: Scope, key: str, data: bytes, *args: Any, **options: Any) -> ObjectInfo:
        if len(data) > 1 << 20:
            self.spool[key] = b""
            step = len(data) // 20 + 1
            for start in range(0, len(data), step):
                self.spool[key] += data[start : start + step]
            data = self.spool[key]
        return super()._write(scope, key, data, *args, **options)


class EndsAtThousand(MemoryRaw):
    """Gives a thousand keys for a larger limit, and says that there are no more."""

    def list(self, scope: Scope, *, limit: int = 1000, **options: Any) -> ObjectPage:
        page = super().list(scope, limit=min(limit, 1000), **options)
        return attrs.evolve(page, next_after=None) if limit > 1000 else page


class DeletesThousand(MemoryRaw):
    """Deletes the last thousand keys of a batch."""

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        return super().delete_many(scope, keys[-1000:])


class DeletesAbroad(MemoryRaw):
    """Deletes large batches in every environment of the tenant."""

    def delete_many(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, str]:
        if len(keys) >= 1000:
            for owner, key in [each for each in self.objects if each[1] in set(keys)]:
                if owner.tenant_id == scope.tenant_id:
                    super().delete(owner, key)
        return super().delete_many(scope, keys)


class ErasesAbroad(MemoryRaw):
    """Erases scopes of more than a thousand objects with all of their tenant's."""

    def erase(self, scope: Scope) -> int:
        tenants = {owner for owner, _ in self.objects if owner.tenant_id == scope.tenant_id}
        count = super().erase(scope)
        for other in tenants if count > 1000 else ():
            super().erase(other)
        return count


class EmptyErases(MemoryRaw):
    """Erases the tenant where the scope has nothing."""

    def erase(self, scope: Scope) -> int:
        count = super().erase(scope)
        for owner in {owner for owner, _ in self.objects} if not count else ():
            if owner.tenant_id == scope.tenant_id:
                super().erase(owner)
        return count


class CountsAnew(MemoryRaw):
    """Numbers the versions of a scope, from one again once it was erased."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.counts: dict[Scope, itertools.count[int]] = {}

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> ObjectInfo:
        info = super()._write(scope, key, *args, **options)
        number = next(self.counts.setdefault(scope, itertools.count(1)))
        info = attrs.evolve(info, etag=f"{number:032x}")
        self.objects[scope, key] = attrs.evolve(self.objects[scope, key], info=info)
        return info

    def erase(self, scope: Scope) -> int:
        self.counts.pop(scope, None)
        return super().erase(scope)


# Objects by their place, as a file would keep them.
_DISKS: Final[dict[Any, Any]] = {}


class CountsPerOpening(CountsAnew):
    """Numbers the versions of a scope, from one again whenever it is opened."""

    def erase(self, scope: Scope) -> int:
        return MemoryRaw.erase(self, scope)


def on_a_disk(runtime: Runtime) -> Backend:
    """Open ``CountsPerOpening`` on what it kept there."""
    made = CountsPerOpening(runtime.now)
    made.objects = _DISKS.setdefault(runtime.base, made.objects)
    return made


class RangeOfAnyVersion(MemoryRaw):
    """Gives a range of the current version, whichever is named."""

    def open(
        self,
        scope: Scope,
        key: str,
        *,
        range: ByteRange | None = None,
        if_match: str | None = None,
    ) -> Any:
        wanted = if_match if range is None else None
        return super().open(scope, key, range=range, if_match=wanted)


def renaming(_config: object, runtime: Runtime) -> Backend:
    """Open a store in a file that keeps what it deletes under another name."""
    made: Any = opened(StoreRole.RAW, "whole", None, runtime)
    delete = made.delete

    def hide(scope: Scope, key: str, **options: Any) -> None:
        made.load()
        gone = made.objects.get((scope, key))
        delete(scope, key, **options)
        if gone is not None:
            runtime.base.joinpath(f"{len(list(runtime.base.iterdir()))}.gone").write_bytes(
                gone.data
            )

    made.delete = hide
    backend: Backend = made
    return backend


def hashed(scope: Scope) -> Scope:
    """A scope by the last twelve bits of a checksum of its tenant."""
    return Scope(f"t{zlib.crc32(scope.tenant_id.encode()) & 0xFFF:03x}", scope.env)


def _m(name: str, kind: Any, killed_by: str, says: str, **more: Any) -> Mutant:
    return Mutant(
        name=f"raw-{name}",
        role=StoreRole.RAW,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda runtime: kind(runtime.now),
        **more,
    )


_FILED: Final = filed_harness(StoreRole.RAW, renaming)
_DECLARED: Final = {"max_object_bytes": LIMIT}

MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("takes-half", TakesHalf, "RAW-060", "declared to be possible", capabilities=_DECLARED),
    _m("cuts-values", CutsValues, "RAW-060", "came back otherwise"),
    _m("cuts-keys", CutsKeys, "RAW-060", "a key of 1024 bytes"),
    _m("takes-more", TakesMore, "RAW-061", "are declared", capabilities=_DECLARED),
    _m("second-chunk", SecondChunk, "RAW-062", "from byte"),
    _m("suffix-of-first", SuffixOfFirst, "RAW-062", "announced as"),
    _m("blocks-once", BlocksOnce, "RAW-062", "differ in one byte"),
    _m("shared-buffer", SharedBuffer, "RAW-063", "read in turns"),
    _m("ends-at-thousand", EndsAtThousand, "RAW-064", "at limit 1001"),
    _m("deletes-thousand", DeletesThousand, "RAW-064", "delete_many of"),
    _m("counts-anew", CountsAnew, "RAW-065", "after an erasure"),
    attrs.evolve(
        _m("counts-per-opening", CountsPerOpening, "RAW-065", "after opening again"),
        make=on_a_disk,
        harness={"survives_reopen": True},
    ),
    _m("range-of-any-version", RangeOfAnyVersion, "RAW-065", "open of a range"),
    Mutant(
        name="raw-renames-deleted",
        role=StoreRole.RAW,
        what="Keeps what it deletes under another name.",
        killed_by="RAW-066",
        says="still hold",
        make=partial(renaming, None),
        harness={"spec": _FILED.spec, "back_door": _FILED.back_door, "survives_reopen": True},
    ),
    _m("blocks-abroad", BlocksAbroad, "TEN-130", "begins alike"),
    _m("spool-by-key", SpoolByKey, "TEN-130", "with other scopes at work"),
    _m("deletes-abroad", DeletesAbroad, "TEN-131", "a delete_many of"),
    _m("erases-abroad", ErasesAbroad, "TEN-131", "erasing 1010 objects"),
    _m("empty-erases", EmptyErases, "TEN-132", "which has nothing"),
    attrs.evolve(
        _m("hashed-tenants", renamed(StoreRole.RAW, hashed), "TEN-133", "hashed to few bytes"),
        what="Keeps tenants by twelve bits of a checksum of their names.",
    ),
)
