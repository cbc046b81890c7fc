"""The hash tree against published vectors and against the definition in RFC 6962."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._audit.merkle import (
    Edge,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError

# The tree of eight leaves that Certificate Transparency's own tests publish.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}


# RFC 6962, section 2.1, word for word and by recursion.


def oracle_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = oracle_split(len(leaves))
    return hashlib.sha256(b"\x01" + oracle_root(leaves[:k]) + oracle_root(leaves[k:])).digest()


def oracle_split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def oracle_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = oracle_split(len(leaves))
    if m < k:
        return [*oracle_path(m, leaves[:k]), oracle_root(leaves[k:])]
    return [*oracle_path(m - k, leaves[k:]), oracle_root(leaves[:k])]


def oracle_proof(m: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [oracle_root(leaves)]
    k = oracle_split(len(leaves))
    if m <= k:
        return [*oracle_proof(m, leaves[:k], whole=whole), oracle_root(leaves[k:])]
    return [*oracle_proof(m - k, leaves[k:], whole=False), oracle_root(leaves[:k])]


class Hashes:
    """Leaf hashes on demand."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves

    def __call__(self, start: int, stop: int) -> Iterable[bytes]:
        return (leaf_hash(leaf) for leaf in self._leaves[start:stop])


def numbered(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


def test_published_roots() -> None:
    """The roots of the published tree of eight leaves, at every size, come out as published."""
    edge = Edge()
    for size, root in enumerate(ROOTS, 1):
        edge.append(leaf_hash(LEAVES[size - 1]))
        assert edge.size == size
        assert edge.root().hex() == root


def test_published_empty_root() -> None:
    """The root of the empty tree is SHA-256 of nothing."""
    assert Edge().root() == tree_root([]) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(("place", "proof"), INCLUSION.items(), ids=str)
def test_published_inclusion_proofs(place: tuple[int, int], proof: tuple[str, ...]) -> None:
    """The published inclusion proofs are made and accepted as published."""
    index, size = place
    made = inclusion_proof(index, size, Hashes(LEAVES))
    assert tuple(part.hex() for part in made) == proof
    root = bytes.fromhex(ROOTS[size - 1])
    assert verify_inclusion(index, size, leaf_hash(LEAVES[index]), made, root)


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items(), ids=str)
def test_published_consistency_proofs(sizes: tuple[int, int], proof: tuple[str, ...]) -> None:
    """The published consistency proofs are made and accepted as published."""
    old, size = sizes
    made = consistency_proof(old, size, Hashes(LEAVES))
    assert tuple(part.hex() for part in made) == proof
    roots = [bytes.fromhex(ROOTS[at - 1]) for at in (old, size)]
    assert verify_consistency(old, size, roots[0], roots[1], made)


def test_roots_and_proofs_agree_with_the_definition() -> None:
    """For every tree up to 33 leaves, all roots and proofs are those of the RFC's recursion."""
    leaves = numbered(33)
    hashes = Hashes(leaves)
    roots = [oracle_root(leaves[:size]) for size in range(34)]
    for size in range(34):
        assert tree_root(hashes(0, size)) == roots[size]
        for index in range(size):
            path = inclusion_proof(index, size, hashes)
            assert list(path) == oracle_path(index, leaves[:size])
            assert verify_inclusion(index, size, leaf_hash(leaves[index]), path, roots[size])
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, hashes)
            assert list(proof) == oracle_proof(old, leaves[:size])
            assert verify_consistency(old, size, roots[old], roots[size], proof)


def test_a_proof_proves_nothing_else() -> None:
    """A proof holds for no other leaf, place, size or root, and no part of it can be spared."""
    leaves = numbered(12)
    roots = [oracle_root(leaves[:size]) for size in range(13)]
    for size in range(1, 13):
        for index in range(size):
            path = list(oracle_path(index, leaves[:size]))
            leaf = leaf_hash(leaves[index])
            others = [i for i in range(-1, 14) if i != index]
            assert not any(verify_inclusion(i, size, leaf, path, roots[size]) for i in others)
            assert not verify_inclusion(index, size, roots[0], path, roots[size])
            assert not verify_inclusion(index, size, leaf, path, roots[size - 1])
            assert not verify_inclusion(index, size, leaf, [*path, leaf], roots[size])
            for at in range(len(path)):
                spoiled = [*path[:at], path[at][::-1], *path[at + 1 :]]
                assert not verify_inclusion(index, size, leaf, spoiled, roots[size])
                assert not verify_inclusion(
                    index, size, leaf, path[:at] + path[at + 1 :], roots[size]
                )
        for old in range(1, size):
            proof = oracle_proof(old, leaves[:size])
            for wrong in (old - 1, old + 1, size):
                assert not verify_consistency(wrong, size, roots[old], roots[size], proof)
            assert not verify_consistency(old, size, roots[size], roots[old], proof)
            assert not verify_consistency(old, size, roots[old], roots[0], proof)
            assert not verify_consistency(old, size, roots[0], roots[size], proof)
            assert not verify_consistency(old, size, roots[old], roots[size], [*proof, roots[0]])
            for at in range(len(proof)):
                spoiled = [*proof[:at], proof[at][::-1], *proof[at + 1 :]]
                assert not verify_consistency(old, size, roots[old], roots[size], spoiled)
                short = proof[:at] + proof[at + 1 :]
                assert not verify_consistency(old, size, roots[old], roots[size], short)


def test_equal_trees_need_no_proof_and_accept_none() -> None:
    """A tree is consistent with itself by an empty proof and by no other."""
    root = oracle_root(numbered(5))
    assert verify_consistency(5, 5, root, root, ())
    assert not verify_consistency(5, 5, root, root, (root,))
    assert not verify_consistency(5, 5, root, oracle_root(numbered(4)), ())


@given(st.integers(min_value=0, max_value=300))
def test_an_edge_survives_its_bytes(size: int) -> None:
    """An edge read back from its bytes has the same root and goes on to the same roots."""
    edge = Edge()
    for leaf in numbered(size):
        edge.append(leaf_hash(leaf))
    again = Edge.from_bytes(size, edge.to_bytes())
    assert again.root() == edge.root()
    copy = edge.copy()
    again.append(leaf_hash(b"next"))
    copy.append(leaf_hash(b"next"))
    assert edge.size == size
    assert again.root() == copy.root() == oracle_root([*numbered(size), b"next"])


@pytest.mark.parametrize(
    ("size", "data"),
    [(1, b""), (3, b"x" * 32), (1, b"x" * 33), (2, b"x" * 31), (-1, b""), (-1, b"x" * 32)],
)
def test_an_edge_that_does_not_fit_is_refused(size: int, data: bytes) -> None:
    """An edge whose length is not what its size needs is refused."""
    with pytest.raises(AuditVerificationError):
        Edge.from_bytes(size, data)


def test_leaves_and_nodes_are_told_apart() -> None:
    """A leaf that spells out an inner node's hash input does not have that node's hash."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert tree_root([leaf_hash(left + right)]) != tree_root([left, right])


def test_proofs_outside_the_tree_are_refused() -> None:
    """A proof for a place or size that does not exist is an invalid argument."""
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(InvalidArgumentError):
            inclusion_proof(index, size, Hashes(LEAVES))
    for old, size in ((0, 3), (4, 3), (0, 0)):
        with pytest.raises(InvalidArgumentError):
            consistency_proof(old, size, Hashes(LEAVES))


def test_a_missing_leaf_is_named() -> None:
    """A source that gives fewer leaves than asked for is reported with the first missing index."""
    with pytest.raises(AuditVerificationError) as caught:
        inclusion_proof(0, 16, Hashes(numbered(11)))
    assert caught.value.index == 11
