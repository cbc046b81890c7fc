"""The nearest rows, certainly all of them, found in float32 and decided exactly.

One pass in float32 gives each row an approximate distance and a bound on its error; only rows
whose lower bound does not exceed the k-th least upper bound can be among the k nearest, or tie
with the last of them. Those few are measured again by the definition. So the answer does not
depend on how the matrix product was rounded.

A cheaper first pass over coarser copies of the vectors would be another way to get ``near`` and
``far``; nothing after that would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from nexus_core.spi import Metric
from nexus_embedded._exact import Rows, Wide, distances
from nexus_embedded._lookups import Numbers
from nexus_embedded._matrix import View
from nexus_embedded._terms import Matching

Norms: TypeAlias = npt.NDArray[np.float32]

# Unit roundoff of float32, and more than what one operation loses to underflow, even where the
# processor flushes subnormal numbers to zero.
_UNIT: Final = 2.0**-24
_TINY: Final = 2.0**-120
# Below this length a row's cosine is not estimated in float32: the row is always measured.
_FAINT: Final = 2.0**-80

_PRODUCT_BYTES: Final = 64 << 20
_GATHER_BYTES: Final = 256 << 10
_DENSE: Final = 2
_GROUPS: Final = 8
_GROUP_ROWS: Final = 256


@attrs.frozen(eq=False)
class Neighbours:
    """The k nearest rows and all that tie with the last, in no order: positions, distances."""

    positions: Numbers
    distances: Wide


def nearest(
    view: View, metric: Metric, queries: Rows, k: int, matching: Matching | None
) -> Iterator[Neighbours]:
    """For each query, its ``k`` nearest rows among those that match; fewer if fewer match."""
    only: Numbers | None = None
    barred = view.dead
    available = len(view)
    if matching is not None:
        positions = view.positions(matching.numbers)
        available = matching.count(available)
        if matching.inverted:
            barred = np.concatenate((barred, positions))
        elif positions.size * _DENSE < len(view.rows):
            only, barred = positions, barred[:0]
        else:
            mask = np.ones(len(view.rows), np.bool_)
            mask[positions] = False
            barred = np.flatnonzero(mask)
    k = min(k, available)
    if not k:
        nothing = Neighbours(np.empty(0, np.int64), np.empty(0, np.float64))
        yield from (nothing for _ in queries)
        return
    norms = view.norms if only is None else view.norms[only]
    faint = np.flatnonzero(norms < _FAINT) if metric == "cosine" else barred[:0]
    step = max(1, _PRODUCT_BYTES // (4 * norms.size))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        lengths = np.sqrt(np.square(block.astype(np.float64)).sum(axis=1))
        scaled = _unit(block, lengths) if metric == "cosine" else block
        products = _products(view.rows, only, scaled)
        for query, length, product in zip(block, lengths.tolist(), products, strict=True):
            near, far = _bounds(metric, product, norms, length, query.size)
            near[faint], far[faint] = -2.0, 2.0
            near[barred] = far[barred] = np.inf
            chosen = _possible(near, far, k)
            if only is not None:
                chosen = only[chosen]
            exact = distances(metric, view.rows[chosen], query)
            last = np.partition(exact, k - 1)[k - 1]
            kept = np.flatnonzero(exact <= last)
            yield Neighbours(chosen[kept], exact[kept])


def _unit(queries: Rows, lengths: Wide) -> Rows:
    # A zero query is refused where its distances are defined.
    safe = np.where(lengths > 0.0, lengths, 1.0)
    return (queries / safe[:, np.newaxis]).astype(np.float32)


def _products(rows: Rows, only: Numbers | None, queries: Rows) -> Rows:
    if only is None:
        return queries @ rows.T
    dimension = rows.shape[1]
    out = np.empty((len(queries), only.size), np.float32)
    step = max(1, _GATHER_BYTES // (4 * dimension))
    buffer = np.empty((step, dimension), np.float32)
    for start in range(0, only.size, step):
        some = only[start : start + step]
        gathered = buffer[: some.size]
        # A mode other than "raise" lets numpy write to the buffer directly.
        np.take(rows, some, axis=0, out=gathered, mode="clip")
        np.matmul(queries, gathered.T, out=out[:, start : start + step])
    return out


def _bounds(
    metric: Metric, products: Rows, norms: Norms, length: float, dimension: int
) -> tuple[Rows, Rows]:
    """Bounds on each distance from below and above, up to one constant for the query.

    A float32 product of n terms in any order errs by at most n·u/(1 - n·u) times the product of
    the lengths; the few operations around it are covered by counting 24 terms more.
    """
    error = 1.01 * (dimension + 24) * _UNIT
    tiny = dimension * _TINY
    about: Rows
    slack: Norms | np.float32
    if metric == "cosine":
        divisors: Norms = np.maximum(norms, np.float32(_FAINT))
        about = -(products / divisors)
        slack = np.float32(error)
    elif metric == "dot":
        about = -products
        slack = norms * np.float32(error * length + tiny) + np.float32(tiny * (1.0 + length))
    else:
        about = norms * norms - products - products
        reach = norms + np.float32(length)
        slack = reach * reach * np.float32(error) + np.float32(2.0 * tiny * (1.0 + length))
    return about - slack, about + slack


def _possible(near: Rows, far: Rows, k: int) -> Numbers:
    """Positions of all rows that may be among the k nearest or tie with the last of them.

    At least ``k`` rows of ``far`` are finite; rows with infinite ``near`` are never chosen.
    """
    chosen = np.flatnonzero(near <= _enough(far, k))
    if chosen.size > k:
        chosen = chosen[near[chosen] <= _least(far[chosen], k)]
    return chosen


def _enough(far: Rows, k: int) -> float:
    """A value that at least ``k`` rows do not exceed, and as a rule not many more than that."""
    width = min(far.size // (_GROUPS * k), _GROUP_ROWS)
    if width < 2:
        return _least(far, k)
    # The least of each group: k groups with one below a value make k rows below it. Far cheaper
    # than a partition of all rows.
    groups = far.size // width
    return _least(far[: width * groups].reshape(width, groups).min(axis=0), k)


def _least(values: Rows, k: int) -> float:
    """The k-th least value."""
    return float(np.partition(values, k - 1)[k - 1])
