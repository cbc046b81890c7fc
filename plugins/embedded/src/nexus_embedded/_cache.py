"""Matrices of recently asked indexes, within a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeAlias

from nexus_core.spi import IndexRef, Scope
from nexus_embedded._matrix import Matrix
from nexus_embedded._parts import Part

_Key: TypeAlias = tuple[Scope, str, int]


class MatrixCache:
    """Least recently asked goes first. Thread-safe; who holds an evicted matrix may go on."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._matrices: OrderedDict[_Key, Matrix] = OrderedDict()

    def matrix(self, scope: Scope, part: Part) -> Matrix:
        """The matrix of an index, an empty one if there is none of this incarnation."""
        key = (scope, part.definition.name, part.definition.version)
        with self._lock:
            matrix = self._matrices.get(key)
            if matrix is None or matrix.incarnation != part.incarnation:
                matrix = self._matrices[key] = Matrix(part)
            self._matrices.move_to_end(key)
            return matrix

    def settle(self) -> None:
        """Evict until the rest fits; an index larger than the budget does not stay at all."""
        with self._lock:
            total = sum(matrix.bytes for matrix in self._matrices.values())
            while total > self._budget and self._matrices:
                _, matrix = self._matrices.popitem(last=False)
                total -= matrix.bytes

    def forget(self, scope: Scope, ref: IndexRef | None = None) -> None:
        """Let go of one index, or of all that a scope has."""
        with self._lock:
            for key in list(self._matrices):
                if key[0] == scope and (
                    ref is None or self._matrices[key].incarnation == ref.incarnation
                ):
                    del self._matrices[key]

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._matrices.clear()
