"""Distances by their definitions, and what the server's rounded ones prove.

Every sum is the correctly rounded value of the exact sum of its terms, so a distance does not
depend on the order of summation nor on what else was asked. A product of two float32 is exact in
float64. The server sums in float32, in an order of its own; ``floor`` allows for any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from nexus_core.spi import IntegrityError, InvalidVectorError, Metric

# Unit roundoff of float32, and more than what one operation loses to underflow.
_UNIT: Final = 2.0**-24
_TINY: Final = 2.0**-120
# Operations around a sum, counted generously.
_MORE: Final = 32


def distance(metric: Metric, query: Iterable[float], row: Iterable[float]) -> float:
    """The definition's distance between two vectors of float32 values."""
    pairs = list(zip(query, row, strict=True))
    if metric == "l2sq":
        return math.fsum((a - b) * (a - b) for a, b in pairs)
    product = math.fsum(a * b for a, b in pairs)
    if metric == "dot":
        return 0.0 - product
    own, others = math.fsum(a * a for a, _ in pairs), math.fsum(b * b for _, b in pairs)
    if not own:
        raise InvalidVectorError("a zero vector has no cosine")
    if not others:
        raise IntegrityError("a stored vector is zero, which has no cosine")
    # sqrt(s·s) is exactly s, so the distance of equal vectors is exactly 0.
    return min(max(1.0 - product / math.sqrt(own * others), 0.0), 2.0)


def length(vector: Iterable[float]) -> float:
    """The Euclidean norm."""
    return math.sqrt(math.fsum(value * value for value in vector))


def floor(metric: Metric, near: float, *, dimension: int, query: float, largest: float) -> float:
    """What no row's distance is below, if the server holds it to be ``near`` or farther.

    ``query`` is the query's norm, ``largest`` no less than that of any row; both matter under
    ``dot`` alone. A float32 sum of n terms in any order errs by at most n·u/(1 - n·u) times the sum
    of the terms' magnitudes.
    """
    error = 1.01 * (dimension + _MORE) * _UNIT
    tiny = dimension * _TINY
    if metric == "l2sq":
        return near / (1.0 + error) - tiny
    if metric == "dot":
        return near - error * query * largest - tiny * (1.0 + query + largest)
    # Both vectors are brought to length 1 in float32 first, each with an error of its own.
    return near - 3.0 * error
