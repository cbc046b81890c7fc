"""Distances by their definitions, to the last bit.

Every sum is the correctly rounded value of the exact sum of its terms, so it does not depend on
the order of summation: not on the machine, the linear algebra library, its threads, or the other
queries of a batch. A product of two float32 is exact in float64, so ``q·x`` and the squared norms
are correctly rounded as a whole; in ``sum((q - x)²)`` each term is rounded once, before.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from nexus_core.spi import IntegrityError, InvalidVectorError, Metric

Rows: TypeAlias = npt.NDArray[np.float32]
Wide: TypeAlias = npt.NDArray[np.float64]

# Rows at a time: a few arrays of that many float64 rows stay in the processor's cache.
_CHUNK: Final = 32


def distances(metric: Metric, rows: Rows, query: Rows) -> Wide:
    """Distance of each row to the query, float64.

    Raises ``InvalidVectorError`` for a zero query under cosine, ``IntegrityError`` for a zero row.
    """
    wide = query.astype(np.float64)
    out = np.empty(len(rows), np.float64)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK].astype(np.float64)
        out[start : start + _CHUNK] = _chunk_distances(metric, chunk, wide)
    return out


def _chunk_distances(metric: Metric, rows: Wide, query: Wide) -> list[float]:
    if metric == "l2sq":
        difference = rows - query
        return exact_sums(difference * difference)
    if metric == "dot":
        return [0.0 - product for product in exact_sums(rows * query)]
    terms = np.concatenate((rows * query, rows * rows, (query * query)[np.newaxis]))
    *sums, own = exact_sums(terms)
    products, squares = sums[: len(rows)], sums[len(rows) :]
    if not own:
        raise InvalidVectorError("a zero vector has no cosine")
    if not all(squares):
        raise IntegrityError("a stored vector is zero, which has no cosine")
    # sqrt(s·s) is exactly s, so the distance of equal vectors is exactly 0.
    cosines = (
        product / math.sqrt(own * square) for product, square in zip(products, squares, strict=True)
    )
    return [min(max(1.0 - cosine, 0.0), 2.0) for cosine in cosines]


def exact_sums(terms: Wide) -> list[float]:
    """Sum of each row of ``terms``, correctly rounded.

    Adding and subtracting a large enough power of two splits the terms at one binary place for
    the whole row. The upper parts are then multiples of one unit and few enough that float64 adds
    them without rounding in any order; the lower parts are exact too, and are split again.
    """
    # For n terms below 2**e, sigma = 2**(e + spare) keeps sums of upper parts below sigma / 2.
    spare = math.frexp(terms.shape[1])[1] + 1
    parts: list[list[float]] = []
    while terms.any():
        largest = np.abs(terms).max(axis=1, keepdims=True)
        sigma = np.ldexp(1.0, np.frexp(largest)[1] + spare)
        upper = (terms + sigma) - sigma
        terms = terms - upper
        parts.append(upper.sum(axis=1).tolist())
    if len(parts) == 1:
        return parts[0]
    return [math.fsum(row) for row in zip(*parts, strict=True)] if parts else [0.0] * len(terms)
