"""Vectors in eight bits, and what is certain of the distances of the vectors they stand for.

A scan of these codes reads a quarter of the bytes of a scan in float32. It gives for each row a
bound on its distance from below and one from above, so a row whose lower bound is beyond the k-th
least upper bound is not among the k nearest, and does not tie with the last of them. All others
are measured again, so the answer is the one of the definition, not an approximation of it. What
follows is the proof that the bounds hold, with the rounding of every step.

**Exact part.** Of a row ``x`` (under cosine: ``x / |x|``), ``s`` is a float32 and ``c`` a vector
of integers in [-127, 127], chosen in any way so that ``s·c`` is close to ``x``; ``e >= |x - s·c|``
is measured. Of the query ``q`` (under cosine: ``q / |q|``), ``t`` is a float64, ``g`` a vector of
such integers, and ``r = |q/t - g|``. Since ``(q/t)·x = g·(s·c) + g·(x - s·c) + (q/t - g)·x``, by
Cauchy and Schwarz

    |(q/t)·x - s·(g·c)| <= |g|·e + r·|x|                                                     (1)

``g·c`` is an integer, computed exactly: it is below 4096·127² < 2**26.

**Rounding.** Let ``u = 2**-24``. The number used for ``s·(g·c)`` is ``v``: the integer rounded to
float32, multiplied in float32. ``s`` is at least 2**-93 where it is not 0, so nothing underflows:
``v`` errs by at most 2.1·u·|s·c|·|g| <= 2.1·u·(|x| + e)·|g|. Sums of ``v`` with a slack ``w`` err
by at most 1.1·u·(|v| + w). With ``m = 2**-20 = 16·u``, the slack that is used,

    w = (1 + m)·(|g|·e + (r + m·|g|)·|x|)                                                    (2)

computed in float32 (factors rounded, two products, a sum: less than 5·u of it), therefore covers
(1), the rounding of ``v`` (2.1·u), of ``v ± w`` (1.1·u of each) and its own. The remaining tenfold
of ``u·|g|·|x|`` is far more than what is neglected elsewhere: ``|x|`` as a float32 (``u``); ``r``,
``|g|`` and ``e`` computed in float64 (some thousand times 2**-53; ``e`` is also raised by ``m``
when it is rounded to float32); normalising under cosine (the same of ``q/t``, which is at most
``|g| + r``, and ``r < |g|``; for the row, ``e`` is raised by 2**-36).

**Distances.** Bounds on ``d/t`` (cosine, dot) or ``d`` (l2sq), each up to a constant of the query:
``-v ± w`` for cosine and dot; for l2sq, where ``d = |q|² + |x|² - 2·q·x``,

    |x|² - 2·t·v ± (2·t·w + m·|x|² + z)                                                      (3)

in which squaring ``|x|`` costs 3.1·u·|x|², multiplying by 2·t one ``u`` of ``2·t·|v|``, and the
sums 2.2·u of both, which ``m·|x|²`` and (2) cover; ``z`` covers what five operations lose to
underflow.

**The definition rounds too.** ``_exact`` rounds correctly as a whole for dot: its values differ
from the exact ones by 2**-53·|q|·|x|, which ``m`` covers in (2); by some 2**-51 under cosine, where
``w·t`` is at least ``m/2``; and for l2sq by at most 2**-50·(|q| + |x|)² <= 2**-49·(|q|² + |x|²),
which is why ``z`` has 2**-48·|q|². So rows that tie only because distances are rounded are within
each other's bounds as well.

**Range.** Rows shorter than ``FAINT`` have ``c = 0`` and ``e >= |x|``, for which (1) holds; under
cosine the caller measures them in any case. Queries shorter than ``SHORT`` are not for this scan:
so ``t >= 2**-73``, and norms up to 1e18 keep everything below 2**127.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Self, TypeAlias, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from nexus_core.spi import Metric
from nexus_embedded._exact import Rows, Wide
from nexus_embedded._kernel import Digits
from nexus_embedded._lookups import Numbers

Narrow: TypeAlias = npt.NDArray[np.float32]
_Item = TypeVar("_Item", bound=np.generic)

# Below this length a row is not worth a code, nor is its cosine estimated in float32.
FAINT: Final = 2.0**-80
# Below this length a query is not for this scan.
SHORT: Final = 2.0**-60

_LARGEST: Final = 127
_MARGIN: Final = 2.0**-20
_LEAST: Final = 2.0**-120
_NORMALISED: Final = 2.0**-36


@attrs.frozen(eq=False)
class Codes:
    """Rows (under cosine: their directions) as ``scales * digits``, up to ``errors``."""

    digits: Digits
    scales: Narrow
    errors: Narrow

    @classmethod
    def empty(cls, room: int, dimension: int) -> Self:
        """Room for rows."""
        return cls(
            np.empty((room, dimension), np.int8),
            np.empty(room, np.float32),
            np.empty(room, np.float32),
        )

    def __getitem__(self, which: slice) -> Codes:
        return Codes(self.digits[which], self.scales[which], self.errors[which])

    def put(self, start: int, codes: Codes) -> None:
        """Fill a part of the room."""
        end = start + len(codes.digits)
        self.digits[start:end] = codes.digits
        self.scales[start:end] = codes.scales
        self.errors[start:end] = codes.errors

    def moved(self, kept: Numbers, room: int) -> Codes:
        """Some of the rows, in new room."""
        return Codes(
            moved(self.digits, kept, room),
            moved(self.scales, kept, room),
            moved(self.errors, kept, room),
        )


@attrs.frozen(eq=False)
class Probe:
    """A query (under cosine: its direction) as ``step * digits``.

    ``length`` is that of the digits, ``rest`` what they miss, in steps.
    """

    digits: Digits
    step: float
    length: float
    rest: float


def encoded(rows: Wide, norms: Wide, metric: Metric) -> Codes:
    """Codes of rows, whose lengths are ``norms``."""
    short = norms < FAINT
    if metric == "cosine":
        rows = rows / np.where(short, 1.0, norms)[:, np.newaxis]
    scales = (np.abs(rows).max(axis=1) / _LARGEST).astype(np.float32)
    scales[short] = 0.0
    wide = scales.astype(np.float64)[:, np.newaxis]
    digits = _digits(rows, np.where(short[:, np.newaxis], np.inf, wide))
    missed = digits * wide
    np.subtract(rows, missed, out=missed)
    errors = np.sqrt(np.einsum("ij,ij->i", missed, missed)) * (1.0 + _MARGIN)
    errors += _NORMALISED if metric == "cosine" else _LEAST
    return Codes(digits.astype(np.int8), scales, errors.astype(np.float32))


def probes(queries: Rows, lengths: Wide, metric: Metric) -> Iterator[Probe]:
    """Codes of queries, none of which is shorter than ``SHORT``."""
    wide = queries.astype(np.float64)
    if metric == "cosine":
        wide /= lengths[:, np.newaxis]
    steps = np.abs(wide).max(axis=1, keepdims=True) / _LARGEST
    digits = _digits(wide, steps)
    missed = wide / steps - digits
    numbers = zip(
        steps[:, 0].tolist(),
        np.sqrt(np.einsum("ij,ij->i", digits, digits)).tolist(),
        np.sqrt(np.einsum("ij,ij->i", missed, missed)).tolist(),
        strict=True,
    )
    for row, (step, length, rest) in zip(digits.astype(np.int8), numbers, strict=True):
        yield Probe(row, step, length, rest)


def bounds(  # noqa: PLR0917  # the row's part, then the query's
    metric: Metric,
    products: Narrow,
    scales: Narrow,
    errors: Narrow,
    norms: Narrow,
    probe: Probe,
    length: float,
) -> tuple[Narrow, Narrow]:
    """Bounds on each row's distance from below and above, in one unit and up to one constant.

    ``products`` are those of the digits, rounded to float32; ``length`` is the query's own.
    """
    values = products * scales
    by_error = (1.0 + _MARGIN) * probe.length
    by_norm = (1.0 + _MARGIN) * (probe.rest + _MARGIN * probe.length)
    if metric == "l2sq":
        twice = 2.0 * probe.step
        squares = norms * norms
        about = squares - values * np.float32(twice)
        slack = errors * np.float32(twice * by_error)
        slack += norms * np.float32(twice * by_norm)
        slack += squares * np.float32(_MARGIN)
        slack += np.float32(2.0**-48 * length * length + _LEAST)
    else:
        about = np.negative(values, out=values)
        slack = errors * np.float32(by_error)
        slack += np.float32(by_norm) if metric == "cosine" else norms * np.float32(by_norm)
    near = about - slack
    slack += about
    return near, slack


def moved(array: npt.NDArray[_Item], kept: Numbers, room: int) -> npt.NDArray[_Item]:
    """Some of the rows of an array, in new room."""
    new = np.empty((room, *array.shape[1:]), array.dtype)
    # A mode other than "raise" lets numpy write there directly.
    np.take(array, kept, axis=0, out=new[: kept.size], mode="clip")
    return new


def _digits(rows: Wide, steps: Wide) -> Wide:
    digits = rows / steps
    np.rint(digits, out=digits)
    return np.clip(digits, -_LARGEST, _LARGEST, out=digits)
