"""Stores that name something by a hash of 32 bits: all is right until two names have one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from nexus_contracts._catalogue.crossed import CROSSED
from nexus_contracts.memory import MemoryAtoms, MemoryAudit, MemoryRaw, MemoryVectors
from nexus_contracts.zoo._mutant import Mutant, mutant_of
from nexus_contracts.zoo._neighbours import renamed
from nexus_core.spi import IndexRef, LogEntry, Record, Scope, StoreRole

Hash = Callable[[str], int]
_ALL: Final = 0xFFFFFFFF


def _times(factor: int) -> Hash:
    def hashed(name: str) -> int:
        found = 5381
        for each in name.encode():
            found = found * factor + each
        return found & _ALL

    return hashed


def _fnv(name: str) -> int:
    found = 0x811C9DC5
    for each in name.encode():
        found = (found ^ each) * 0x01000193 & _ALL
    return found


def _turned(value: int, by: int) -> int:
    return (value << by | value >> 32 - by) & _ALL


def _murmur(name: str) -> int:
    """Murmur3 before its last steps, which take no two names of one length for one."""
    data, found = name.encode(), 0
    for start in range(0, len(data), 4):
        part = int.from_bytes(data[start : start + 4], "little")
        found ^= _turned(part * 0xCC9E2D51 & _ALL, 15) * 0x1B873593 & _ALL
        if start + 4 <= len(data):
            found = _turned(found, 13) * 5 + 0xE6546B64 & _ALL
    return found


def _crc(name: str) -> int:
    return zlib.crc32(name.encode())


def _adler(name: str) -> int:
    return zlib.adler32(name.encode())


def _plain(scope: Scope) -> str:
    return scope.tenant_id


def _before(scope: Scope) -> str:
    return f"v1/{scope.env}/{scope.tenant_id}"


def _behind(scope: Scope) -> str:
    return f"{scope.tenant_id}/{scope.env}"


def _sharded(role: StoreRole, name: Callable[[Scope], str], hashed: Hash) -> Any:
    return renamed(role, lambda scope: Scope(f"s{hashed(name(scope)):08x}", scope.env))


# -- names within a scope -------------------------------------------------------------------------


class KeysByCrc(MemoryRaw):
    """Finds an object by its key's CRC-32."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.objects = _Hashed()


class _Hashed(dict[Any, Any]):
    """Things by the hash of their keys; the first key is the one that is told."""

    def _own(self, place: tuple[Scope, str]) -> tuple[Scope, str]:
        scope, key = place
        return next((p for p in self if p[0] == scope and _crc(p[1]) == _crc(key)), place)

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(self._own(place), value)

    def get(self, place: Any, default: Any = None) -> Any:
        return super().get(self._own(place), default)

    def pop(self, place: Any, default: Any = None) -> Any:
        return super().pop(self._own(place), default)


class IdsByFnv(MemoryAtoms):
    """Finds records by their ids' FNV-1a."""

    def get(self, scope: Scope, collection: str, ids: Sequence[str]) -> Sequence[Record | None]:
        held = {_fnv(record.id): record for record in self._mine(scope, collection)}
        return [held.get(_fnv(wanted)) for wanted in ids]


class IndexesByMurmur(MemoryVectors):
    """Finds an index by its name's Murmur3."""

    def get_index(self, scope: Scope, name: str, version: int) -> IndexRef:
        for owner, each, number in self.indexes:
            if (owner, number) == (scope, version) and _murmur(each) == _murmur(name):
                return super().get_index(scope, each, version)
        return super().get_index(scope, name, version)


class OperationsByAdler(MemoryAudit):
    """Tells operations apart by their Adler-32."""

    def unsettled(self, scope: Scope, before: int, limit: int) -> Sequence[LogEntry]:
        log = self.logs.get(scope)
        entries = [] if log is None else log.entries
        settled = {_adler(each.operation) for each in entries if each.phase == "outcome"}
        found = super().unsettled(scope, before, 1 << 30)
        return [each for each in found if _adler(each.operation) not in settled][:limit]


# -- all of them ----------------------------------------------------------------------------------

_Row = tuple[StoreRole, str, str, Callable[[Scope], str], Hash]
_SHARDS: Final[Sequence[_Row]] = (
    (StoreRole.RAW, "crc", "the CRC-32 of its path", _before, _crc),
    (StoreRole.RAW, "fnv-path", "the FNV-1a of its path", _before, _fnv),
    (StoreRole.ATOMS, "times-31", "its name's hash in Java", _behind, _times(31)),
    (StoreRole.ATOMS, "murmur", "its name's Murmur3", _plain, _murmur),
    (StoreRole.VECTORS, "adler", "its name's Adler-32", _behind, _adler),
    (StoreRole.VECTORS, "fnv", "its name's FNV-1a", _behind, _fnv),
    (StoreRole.AUDIT, "times-33", "its name's djb2", _plain, _times(33)),
    (StoreRole.AUDIT, "murmur-path", "the Murmur3 of its path", _before, _murmur),
)
_NAMES: Final = (
    ("raw-keys-by-crc", "RAW-095", KeysByCrc),
    ("atoms-ids-by-fnv", "ATOM-095", IdsByFnv),
    ("vectors-indexes-by-murmur", "VEC-095", IndexesByMurmur),
    ("audit-operations-by-adler", "AUD-095", OperationsByAdler),
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    *(
        mutant_of(
            f"{role}-sharded-by-{name}",
            _sharded(role, place, hashed),
            CROSSED[role].hashed,
            "could tell what",
            f"Keeps a scope by {what}.",
        )
        for role, name, what, place, hashed in _SHARDS
    ),
    *(mutant_of(name, kind, killed, "of one hash are one") for name, killed, kind in _NAMES),
)
