"""Products of int8 vectors, from numkong where it is installed.

numpy multiplies int8 matrices without the processor's instructions for it, and slower than float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from nexus_core.spi import ConfigurationError, Problem

Digits: TypeAlias = npt.NDArray[np.int8]
# Of contiguous rows and queries: the integers (rows, queries) in any type that holds them exactly.
Product: TypeAlias = Callable[[Digits, Digits], npt.NDArray[np.generic]]
Scan: TypeAlias = Literal["auto", "float32", "int8"]

# The lengths that leave every number of elements behind the widest registers, and the longest.
_LENGTHS: Final = (*range(1, 131), 4096)


def product_for(scan: Scan) -> Product | None:
    """The kernel that a setting asks for; ``None`` for the scan in float32.

    ``auto`` takes what is there. Raises ``ConfigurationError`` for ``int8`` where numkong is not
    installed, or does not compute on this processor what it should.
    """
    if scan == "float32":
        return None
    try:
        kernel = _numkong()
    except ImportError:
        what, fix = "needs the package numkong, which is not installed", "install"
    else:
        if is_exact(kernel):
            return kernel
        what, fix = "does not work: numkong's products are wrong on this processor", "upgrade"
    if scan == "auto":
        return None
    raise ConfigurationError(
        [
            Problem(
                path="scan",
                what=f"int8 {what}",
                fix=f"{fix} it: pip install --upgrade 'nexus-embedded[fast]'; or set auto",
                code="embedded.scan",
            )
        ]
    )


def is_exact(kernel: Product) -> bool:
    """Whether a kernel's sums are right where sums are largest, and for rows of any length."""
    for length in _LENGTHS:
        rows = np.full((3, length), 127, np.int8)
        rows[1] = -127
        rows[2, ::2] = -1
        for several in (rows[:1], rows):
            expected = rows.astype(np.int64) @ several.T.astype(np.int64)
            if not np.array_equal(kernel(rows, several), expected):
                return False
    return True


def _numkong() -> Product:
    import numkong

    def product(rows: Digits, queries: Digits) -> npt.NDArray[np.generic]:
        if len(queries) == 1:
            return np.asarray(numkong.cdist(queries, rows, "dot")).reshape(-1, 1)
        return np.asarray(numkong.dots_packed(rows, numkong.dots_pack(queries)))

    return product
