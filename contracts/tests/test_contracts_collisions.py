"""The names that are said to collide do, under hashes that are written down here once more."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import pytest
from nexus_contracts._collisions import CENTRE, CODEC, COLLIDING, NAMES

from nexus_core import Scope
from nexus_core.spi import encode_scope_parts


def polynomial(factor: int) -> Callable[[bytes], int]:
    """The sum of bytes times powers of a factor, in 32 bits."""

    def hashed(data: bytes) -> int:
        powers: list[int] = [pow(factor, n, 2**32) for n in reversed(range(len(data)))]
        return sum(byte * power for byte, power in zip(data, powers, strict=True)) % 2**32

    return hashed


def fnv_1a(data: bytes) -> int:
    """FNV-1a of 32 bits."""
    found = 2_166_136_261
    for byte in data:
        found ^= byte
        found = found * 16_777_619 % 2**32
    return found


def murmur3(data: bytes) -> int:
    """Murmur3 of 32 bits with the seed 0."""

    def turned(value: int, by: int) -> int:
        return (value << by | value >> 32 - by) % 2**32

    found = 0
    blocks, rest = divmod(len(data), 4)
    for place in range(blocks + (rest > 0)):
        part = int.from_bytes(data[4 * place : 4 * place + 4], "little")
        found ^= turned(part * 3_432_918_353 % 2**32, 15) * 461_845_907 % 2**32
        if place < blocks:
            found = (turned(found, 13) * 5 + 3_864_292_196) % 2**32
    found ^= len(data)
    for shift, factor in ((16, 2_246_822_507), (13, 3_266_489_909)):
        found = (found ^ found >> shift) * factor % 2**32
    return found ^ found >> 16


HASHES: Final[dict[str, Callable[[bytes], int]]] = {
    "CRC-32": zlib.crc32,
    "Adler-32": zlib.adler32,
    "times 31": polynomial(31),
    "times 33": polynomial(33),
    "FNV-1a": fnv_1a,
    "Murmur3": murmur3,
}


def test_contracts_collisions_hashes_are_these() -> None:
    """The hashes that nobody else computes here are right for texts whose hashes are known."""
    assert fnv_1a(b"foobar") == 0xBF9CF968
    assert murmur3(b"Hello, world!") == 0xC0363E43
    assert murmur3(b"test") == 0xBA6BD213
    assert polynomial(31)(b"hello") == 99_162_322
    assert polynomial(33)(b"Aa") != polynomial(33)(b"BB")
    assert polynomial(31)(b"Aa") == polynomial(31)(b"BB")


@pytest.mark.parametrize("under", sorted(COLLIDING))
def test_contracts_collisions_collide(under: str) -> None:
    """Each name has the hash of the one in the centre, and keeps it before an environment."""
    name, _, behind = under.partition(" behind ")
    hashed, before = HASHES[name], behind.encode()
    ends = [b"", b"/dev", b"/prod", b"\0dev"]
    # Murmur3 takes four bytes at a time: what stands behind an odd end is another's block.
    for end in ends if len(before) % 4 == 0 or name != "Murmur3" else ends[:1]:
        here, there = (before + each.encode() + end for each in (CENTRE, COLLIDING[under]))
        assert here != there
        assert hashed(here) == hashed(there)


@pytest.mark.parametrize("under", ["CRC-32", "Adler-32", "times 31", "times 33"])
def test_contracts_collisions_collide_anywhere(under: str) -> None:
    """Those that no beginning parts collide in the midst of anything."""
    for begin, end in ((b"v1/dev/", b"/k"), (b"nx-", b""), (b"a/b/c", b"?x=1")):
        here, there = (begin + each.encode() + end for each in (CENTRE, COLLIDING[under]))
        assert HASHES[under](here) == HASHES[under](there)


def test_contracts_collisions_are_tenants() -> None:
    """All are different tenants, of one length, and the codec's beginning is its own."""
    scopes = {Scope(name, "dev") for name in NAMES}
    assert len(scopes) == len(NAMES) == len(COLLIDING) + 1
    assert {len(name) for name in NAMES} == {len(CENTRE)}
    assert "/".join(encode_scope_parts(Scope(CENTRE, "dev"))) == CODEC + CENTRE
