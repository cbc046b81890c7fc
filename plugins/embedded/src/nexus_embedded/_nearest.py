"""The nearest rows, certainly all of them: estimated with bounds, decided exactly.

An estimate gives each row an approximate distance and a bound on its error; only rows whose lower
bound does not exceed the k-th least upper bound can be among the k nearest, or tie with the last of
them. Those few are measured again by the definition. So the answer does not depend on how the
matrix product was rounded, nor on which estimates were made: in int8 first, where codes are at
hand, and then in float32 of the rows that this leaves, or in float32 of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Self, TypeAlias, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from nexus_core.spi import Metric
from nexus_embedded._codes import FAINT, SHORT, Narrow, bounds, probes
from nexus_embedded._exact import Rows, Wide, distances
from nexus_embedded._kernel import Product
from nexus_embedded._lookups import NOTHING, Numbers
from nexus_embedded._matrix import View
from nexus_embedded._terms import Matching

_Estimates: TypeAlias = Iterator[tuple[Narrow, Narrow]]
_Item = TypeVar("_Item", bound=np.generic)

# Unit roundoff of float32, and more than what one operation loses to underflow, even where the
# processor flushes subnormal numbers to zero.
_UNIT: Final = 2.0**-24
_TINY: Final = 2.0**-120

# All products of a block of queries; those of some rows, which are laid out anew while they are
# in the processor's cache; and the rows gathered at a time.
_PRODUCT_BYTES: Final = 64 << 20
_TURN_BYTES: Final = 1 << 20
_GATHER_BYTES: Final = 256 << 10
# So few queries, with vectors so long, are multiplied one by one and row by row.
_FEW: Final = 4
_LONG: Final = 128
# Where a filter leaves less than this share of the rows they are gathered, else all are multiplied.
_DENSE: Final = 2
# Codes are worth their while from so many bytes of them, and unless they leave this share of rows.
_WORTH: Final = 1 << 20
_SPARSE: Final = 8
_GROUPS: Final = 8
_GROUP_ROWS: Final = 256


@attrs.frozen(eq=False)
class Neighbours:
    """The k nearest rows and all that tie with the last, in no order: positions, distances."""

    positions: Numbers
    distances: Wide


def nearest(  # noqa: PLR0917  # the question, in the order in which it is put
    view: View,
    metric: Metric,
    queries: Rows,
    k: int,
    matching: Matching | None = None,
    product: Product | None = None,
) -> Iterator[Neighbours]:
    """For each query, its ``k`` nearest rows among those that match; fewer if fewer match.

    ``product`` is needed for a scan of the view's codes.
    """
    search, available = _Search.among(view, metric, k, matching)
    if not available:
        yield from (Neighbours(NOTHING, np.empty(0, np.float64)) for _ in queries)
        return
    step = max(1, _PRODUCT_BYTES // (4 * search.norms.size))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        lengths = np.sqrt(np.square(block.astype(np.float64)).sum(axis=1))
        for query, chosen in zip(block, search.candidates(block, lengths, product), strict=True):
            exact = distances(metric, view.rows[chosen], query)
            last = np.partition(exact, search.k - 1)[search.k - 1]
            kept = np.flatnonzero(exact <= last)
            yield Neighbours(chosen[kept], exact[kept])


@attrs.frozen(eq=False)
class _Search:
    """Rows to search: all or ``only`` some of a view, but the ``barred`` among them.

    At least ``k`` are not barred. ``norms`` are theirs, ``faint`` those that cannot be estimated.
    """

    view: View
    metric: Metric
    k: int
    only: Numbers | None
    barred: Numbers
    norms: Narrow
    faint: Numbers

    @classmethod
    def of(cls, view: View, metric: Metric, k: int, only: Numbers | None, barred: Numbers) -> Self:
        """The search among ``only`` some rows."""
        norms = view.norms if only is None else view.norms[only]
        faint = np.flatnonzero(norms < FAINT) if metric == "cosine" else NOTHING
        return cls(view, metric, k, only, barred, norms, faint)

    @classmethod
    def among(
        cls, view: View, metric: Metric, k: int, matching: Matching | None
    ) -> tuple[Self, int]:
        """The search among rows that match, and how many there are; ``k`` is made no more."""
        only: Numbers | None = None
        barred = view.dead
        available = len(view)
        if matching is not None:
            positions = view.positions(matching.numbers)
            available = matching.count(available)
            if matching.inverted:
                barred = np.concatenate((barred, positions))
            elif positions.size * _DENSE < len(view.rows):
                only, barred = positions, NOTHING
            else:
                mask = np.ones(len(view.rows), np.bool_)
                mask[positions] = False
                barred = np.flatnonzero(mask)
        return cls.of(view, metric, min(k, available), only, barred), available

    def candidates(
        self, queries: Rows, lengths: Wide, product: Product | None
    ) -> Iterator[Numbers]:
        """For each query, positions of all rows that may be among its nearest or tie with them."""
        codes = self.view.codes
        if (
            product is None
            or codes is None
            or self.norms.size * self.view.rows.shape[1] < _WORTH
            or lengths.min() < SHORT
        ):
            yield from self.choose(self.by_rows(queries, lengths))
            return
        coded = self.choose(self.by_codes(queries, lengths, product))
        for at, chosen in enumerate(coded):
            search = self
            if chosen.size * _SPARSE < self.norms.size:
                search = self.of(self.view, self.metric, self.k, chosen, NOTHING)
            one = slice(at, at + 1)
            yield from search.choose(search.by_rows(queries[one], lengths[one]))

    def choose(self, estimates: _Estimates) -> Iterator[Numbers]:
        """Positions that estimates leave."""
        for near, far in estimates:
            near[self.barred] = far[self.barred] = np.inf
            chosen = _possible(near, far, self.k)
            yield chosen if self.only is None else self.only[chosen]

    def by_codes(self, queries: Rows, lengths: Wide, product: Product) -> _Estimates:
        """Bounds from the codes."""
        codes = self.view.codes
        assert codes is not None
        scales, errors = codes.scales, codes.errors
        if self.only is not None:
            scales, errors = scales[self.only], errors[self.only]
        coded = list(probes(queries, lengths, self.metric))
        digits = np.stack([probe.digits for probe in coded])
        products = _products(product, codes.digits, self.only, digits)
        for probe, length, row in zip(coded, lengths.tolist(), products, strict=True):
            near, far = bounds(self.metric, row, scales, errors, self.norms, probe, length)
            far[self.faint] = 2.0 / probe.step
            near[self.faint] = -2.0 / probe.step
            yield near, far

    def by_rows(self, queries: Rows, lengths: Wide) -> _Estimates:
        """Bounds from the vectors in float32."""
        scaled = _unit(queries, lengths) if self.metric == "cosine" else queries
        products = _products(_multiplied, self.view.rows, self.only, scaled)
        for length, row in zip(lengths.tolist(), products, strict=True):
            near, far = _bounds(
                self.metric,
                row,
                self.norms,
                length,
                dimension=queries.shape[1],
                faint=self.faint.size > 0,
            )
            near[self.faint], far[self.faint] = -2.0, 2.0
            yield near, far


def _unit(queries: Rows, lengths: Wide) -> Rows:
    # A zero query is refused where its distances are defined.
    safe = np.where(lengths > 0.0, lengths, 1.0)
    return (queries / safe[:, np.newaxis]).astype(np.float32)


def _multiplied(rows: Rows, queries: Rows) -> Rows:
    if len(queries) > _FEW or rows.shape[1] < _LONG:
        # Much faster than the same product turned round, unless the queries are very many.
        return rows @ queries.T
    out = np.empty((len(queries), len(rows)), np.float32)
    for query, products in zip(queries, out, strict=True):
        _dots(rows, query, products)
    return out.T


def _dots(rows: Rows, query: Rows, out: Narrow) -> None:
    # These read memory about twice as fast as a product of matrix and vector does.
    if hasattr(np, "vecdot"):
        np.vecdot(rows, query, out=out)
    else:  # numpy 1
        np.einsum("ij,j->i", rows, query, out=out)


def _products(
    multiply: Callable[[npt.NDArray[_Item], npt.NDArray[_Item]], npt.NDArray[np.generic]],
    rows: npt.NDArray[_Item],
    only: Numbers | None,
    queries: npt.NDArray[_Item],
) -> Narrow:
    """Products (queries, rows), rounded to float32."""
    if only is None and len(queries) == 1:
        return multiply(rows, queries).T.astype(np.float32, copy=False)
    count = len(rows) if only is None else only.size
    out = np.empty((len(queries), count), np.float32)
    if only is None:
        step = max(1, _TURN_BYTES // (4 * len(queries)))
        for start in range(0, count, step):
            out[:, start : start + step] = multiply(rows[start : start + step], queries).T
        return out
    step = max(1, _GATHER_BYTES // rows[:1].nbytes)
    buffer = np.empty((step, rows.shape[1]), rows.dtype)
    for start in range(0, count, step):
        some = only[start : start + step]
        gathered = buffer[: some.size]
        # A mode other than "raise" lets numpy write to the buffer directly.
        np.take(rows, some, axis=0, out=gathered, mode="clip")
        out[:, start : start + step] = multiply(gathered, queries).T
    return out


def _bounds(
    metric: Metric, products: Narrow, norms: Narrow, length: float, *, dimension: int, faint: bool
) -> tuple[Narrow, Narrow]:
    """Bounds on each distance from below and above, up to one constant for the query.

    Uses up ``products``. ``faint`` says whether some rows have no estimate, and get anything.

    A float32 product of n terms in any order errs by at most n·u/(1 - n·u) times the product of
    the lengths; the few operations around it are covered by counting 24 terms more.
    """
    error = 1.01 * (dimension + 24) * _UNIT
    tiny = dimension * _TINY
    if metric == "cosine":
        # Each pass over as many numbers as rows counts: the product has filled the cache.
        divisors: Narrow = np.maximum(norms, np.float32(FAINT)) if faint else norms
        cosines = np.divide(products, divisors, out=products)
        return np.float32(-error) - cosines, np.subtract(np.float32(error), cosines, out=cosines)
    if metric == "dot":
        about = np.negative(products, out=products)
        slack = norms * np.float32(error * length + tiny)
        slack += np.float32(tiny * (1.0 + length))
    else:
        about = norms * norms
        about -= products
        about -= products
        slack = norms + np.float32(length)
        slack *= slack
        slack *= np.float32(error)
        slack += np.float32(2.0 * tiny * (1.0 + length))
    near = about - slack
    about += slack
    return near, about


def _possible(near: Narrow, far: Narrow, k: int) -> Numbers:
    """Positions of all rows that may be among the k nearest or tie with the last of them.

    At least ``k`` rows of ``far`` are finite; rows with infinite ``near`` are never chosen.
    """
    chosen = np.flatnonzero(near <= _enough(far, k))
    if chosen.size > k:
        chosen = chosen[near[chosen] <= _least(far[chosen], k)]
    return chosen


def _enough(far: Narrow, k: int) -> float:
    """A value that at least ``k`` rows do not exceed, and as a rule not many more than that."""
    width = min(far.size // (_GROUPS * k), _GROUP_ROWS)
    if width < 2:
        return _least(far, k)
    # The least of each group: k groups with one below a value make k rows below it. Far cheaper
    # than a partition of all rows.
    groups = far.size // width
    return _least(far[: width * groups].reshape(width, groups).min(axis=0), k)


def _least(values: Narrow, k: int) -> float:
    """The k-th least value."""
    return float(np.partition(values, k - 1)[k - 1])
