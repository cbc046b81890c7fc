"""Which scan a store takes: what is asked for, what is there, and what computes rightly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nexus_embedded import _kernel
from nexus_embedded._kernel import Scan, is_exact, product_for

from nexus_core.spi import ConfigurationError

if TYPE_CHECKING:
    from plugins.embedded.tests.conftest import Lab


def plain(rows: Any, queries: Any) -> Any:
    """Integer products by numpy."""
    return rows.astype(np.int64) @ queries.astype(np.int64).T


def short_sums(rows: Any, queries: Any) -> Any:
    """Sums that stop where sixteen bits end."""
    return np.clip(plain(rows, queries), -(2**15), 2**15 - 1)


def tailless(rows: Any, queries: Any) -> Any:
    """What is left behind the last full register is forgotten."""
    whole = rows.shape[1] // 64 * 64
    return plain(rows[:, :whole], queries[:, :whole])


def turned(rows: Any, queries: Any) -> Any:
    """Rows and queries confused."""
    return plain(queries, rows)


def narrow(rows: Any, queries: Any) -> Any:
    """Sums that lose their last bit."""
    return plain(rows, queries) // 2 * 2


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_products_are_exact(dimension: int, rows: int, queries: int, seed: int) -> None:
    """The extra's products are the integers, for any shape and from any part of a matrix."""
    product = product_for("int8")
    assert product is not None
    rng = np.random.default_rng(seed)
    table = rng.integers(-127, 128, (rows + 3, dimension)).astype(np.int8)
    asked = rng.choice([-127, 127, 1], (queries, dimension)).astype(np.int8)
    assert np.array_equal(product(table[3:], asked), plain(table[3:], asked))


def test_wrong_kernels_are_recognised() -> None:
    """A kernel that saturates, forgets a tail, mixes its sides up or rounds is not used."""
    assert is_exact(plain)
    for kernel in (short_sums, tailless, turned, narrow):
        assert not is_exact(kernel)


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (lambda patch: patch.setitem(sys.modules, "numkong", None), "not installed"),
        (lambda patch: patch.setattr(_kernel, "_numkong", lambda: short_sums), "wrong"),
    ],
)
def test_what_was_asked_for_and_does_not_work_is_an_error(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[pytest.MonkeyPatch], None],
    word: str,
) -> None:
    """``int8`` without a working kernel is refused, ``auto`` scans float32 and answers."""
    broken(monkeypatch)
    with pytest.raises(ConfigurationError) as caught:
        lab.build(scan="int8")
    assert word in str(caught.value)
    assert "nexus-embedded[fast]" in str(caught.value)
    assert product_for("auto") is None
    store = lab.build()
    ref = store.create_index(lab.a, lab.definition())
    store.upsert(lab.a, ref, lab.batch([("a", [1, 0, 0], {})]))
    assert lab.ask(store, lab.a, ref, [[2, 0, 0]], 1) == [[("a", 0.0)]]


@pytest.mark.parametrize(("scan", "used"), [("auto", True), ("int8", True), ("float32", False)])
def test_the_setting_decides(scan: Scan, used: bool) -> None:
    """Where the extra is installed, only ``float32`` goes without it."""
    assert (product_for(scan) is not None) == used
