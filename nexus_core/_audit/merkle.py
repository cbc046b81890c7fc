"""The hash tree of RFC 6962 (section 2.1) and RFC 9162 (section 2.1): roots and proofs.

A leaf hashes under the prefix ``0x00`` and an inner node under ``0x01``, so neither can pass for
the other. ``Edge`` appends in O(1) amortised and keeps O(log n) hashes; proofs are made from leaf
hashes that are read as they are needed, again in O(log n) memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, TypeAlias, final

from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError

HASH_BYTES: Final = 32

LeafHashes: TypeAlias = Callable[[int, int], Iterable[bytes]]
"""Gives the leaf hashes from ``start`` up to and without ``stop``, in order."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of a leaf's bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


@final
class Edge:
    """The right edge of a tree: its size and the roots of its perfect subtrees, largest first.

    Not for several threads at once; ``copy`` is cheap.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._hashes = list(hashes)
        self._size = size
        if size < 0 or len(self._hashes) != size.bit_count():
            raise AuditVerificationError("the tree's edge does not fit its size")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Edge:
        """Inverse of ``to_bytes``; raises ``AuditVerificationError`` if the length is wrong."""
        if len(data) % HASH_BYTES:
            raise AuditVerificationError("the tree's edge is not a whole number of hashes")
        return cls(size, (data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """The hashes, concatenated."""
        return b"".join(self._hashes)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def copy(self) -> Edge:
        """An edge of its own, equal to this one."""
        return Edge(self._size, self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf, given its hash."""
        hashes = self._hashes
        hashes.append(leaf)
        carries = self._size
        while carries & 1:
            right = hashes.pop()
            hashes.append(node_hash(hashes.pop(), right))
            carries >>= 1
        self._size += 1

    def root(self) -> bytes:
        """Root of the tree; that of the empty tree is SHA-256 of nothing."""
        if not self._hashes:
            return sha256(b"").digest()
        *rest, root = self._hashes
        for left in reversed(rest):
            root = node_hash(left, root)
        return root


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """Root of the tree over these leaf hashes."""
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    return edge.root()


def inclusion_proof(index: int, size: int, leaves: LeafHashes) -> tuple[bytes, ...]:
    """Prove that leaf ``index`` is in the tree of the first ``size`` leaves.

    Raises ``InvalidArgumentError`` for an index outside the tree and ``AuditVerificationError``
    if ``leaves`` gives fewer than it was asked for.
    """
    if not 0 <= index < size:
        raise InvalidArgumentError("the index is not inside the tree")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_subtree(leaves, middle, stop))
            stop = middle
        else:
            path.append(_subtree(leaves, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old: int, size: int, leaves: LeafHashes) -> tuple[bytes, ...]:
    """Prove that the tree of the first ``old`` leaves is a beginning of that of ``size``.

    Raises ``InvalidArgumentError`` unless ``1 <= old <= size`` and ``AuditVerificationError``
    if ``leaves`` gives fewer than it was asked for.
    """
    if not 1 <= old <= size:
        raise InvalidArgumentError("the older size is not from 1 to the newer one")
    proof: list[bytes] = []
    start, stop = 0, size
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            proof.append(_subtree(leaves, middle, stop))
            stop = middle
        else:
            proof.append(_subtree(leaves, start, middle))
            start = middle
    # The verifier knows the old root; only an inner subtree must be told.
    if start:
        proof.append(_subtree(leaves, start, stop))
    return tuple(reversed(proof))


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether ``proof`` shows that the tree with this root has ``leaf`` (a hash) at ``index``.

    Algorithm: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    node, last = index, size - 1
    result = leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == root


def verify_consistency(
    old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether ``proof`` shows that the tree of ``old`` leaves is a beginning of that of ``size``.

    Algorithm: RFC 9162, section 2.1.4.2.
    """
    if not 1 <= old <= size or not _hashes(old_root, root, *proof):
        return False
    if old == size:
        return not proof and old_root == root
    nodes: Iterator[bytes] = iter(proof if old & (old - 1) else (old_root, *proof))
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = next(nodes, None)
    if first is None:
        return False
    older = newer = first
    for sibling in nodes:
        if last == 0:
            return False
        if node & 1 or node == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and older == old_root and newer == root


def _split(size: int) -> int:
    # The largest power of two below size.
    return 1 << (size - 1).bit_length() - 1


def _subtree(leaves: LeafHashes, start: int, stop: int) -> bytes:
    edge = Edge()
    for leaf in leaves(start, stop):
        edge.append(leaf)
    if edge.size != stop - start:
        raise AuditVerificationError(
            "a leaf that the proof needs is missing", index=start + min(edge.size, stop - start)
        )
    return edge.root()


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
