"""Matrices of recently asked indexes, within a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeAlias

from nexus_core.spi import Scope
from nexus_embedded._matrix import Matrix
from nexus_embedded._parts import Part

_Key: TypeAlias = tuple[Scope, str, int]


class MatrixCache:
    """Least recently asked goes first. Thread-safe; who holds an evicted matrix may go on.

    The cost of a call does not grow with the number of other scopes' matrices.
    """

    def __init__(self, budget: int, *, coded: bool) -> None:
        self._budget = budget
        self._coded = coded
        self._lock = threading.Lock()
        self._matrices: OrderedDict[_Key, Matrix] = OrderedDict()
        self._sizes: dict[_Key, int] = {}
        self._scopes: dict[Scope, set[_Key]] = {}
        self._total = 0

    def matrix(self, scope: Scope, part: Part) -> Matrix:
        """The matrix of an index, an empty one if there is none of this incarnation."""
        key = _key(scope, part)
        with self._lock:
            matrix = self._matrices.get(key)
            if matrix is None or matrix.incarnation != part.incarnation:
                matrix = self._matrices[key] = Matrix(part, coded=self._coded)
                self._scopes.setdefault(scope, set()).add(key)
            self._matrices.move_to_end(key)
            return matrix

    def settle(self, scope: Scope, part: Part) -> None:
        """Take an index's new size into account, and evict until the rest fits.

        An index larger than the budget does not stay at all.
        """
        key = _key(scope, part)
        with self._lock:
            matrix = self._matrices.get(key)
            if matrix is not None:
                size = matrix.bytes
                self._total += size - self._sizes.get(key, 0)
                self._sizes[key] = size
            while self._total > self._budget:
                self._remove(next(iter(self._matrices)))

    def forget(self, scope: Scope, part: Part | None = None) -> None:
        """Let go of one index, or of all that a scope has."""
        with self._lock:
            for key in list(self._scopes.get(scope, ())):
                if part is None or self._matrices[key].incarnation == part.incarnation:
                    self._remove(key)

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            for key in list(self._matrices):
                self._remove(key)

    def _remove(self, key: _Key) -> None:
        del self._matrices[key]
        self._total -= self._sizes.pop(key, 0)
        keys = self._scopes[key[0]]
        keys.discard(key)
        if not keys:
            del self._scopes[key[0]]


def _key(scope: Scope, part: Part) -> _Key:
    return scope, part.definition.name, part.definition.version
