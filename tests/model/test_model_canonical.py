"""Canonical bytes: one spelling for each value, and no two tuples framed alike."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.canonical import canonical_json, digest, frame

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
PART = st.binary(max_size=6) | st.sampled_from([b"", b"\0", b"\0\0\0\x01", b"\0\0\0\0", b"a"])


def typed(value: Any) -> Any:
    """A value with its types spelled out: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, typed(inner)) for key, inner in value.items()))
    if isinstance(value, list):
        return ("list", tuple(typed(inner) for inner in value))
    return (type(value).__name__, repr(value))


@given(VALUES, VALUES)
def test_json_is_injective(one: Any, other: Any) -> None:
    """Two JSON values have the same bytes if and only if they are the same, types included."""
    assert (canonical_json(one) == canonical_json(other)) == (typed(one) == typed(other))


@given(VALUES)
def test_json_is_json(value: Any) -> None:
    """The bytes are UTF-8 JSON that reads back as the value."""
    assert typed(json.loads(canonical_json(value).decode())) == typed(value)


@given(st.dictionaries(st.text(max_size=3), SCALARS, max_size=6), st.randoms(use_true_random=False))
def test_json_does_not_depend_on_order(value: dict[str, Any], random: Any) -> None:
    """The order in which a dict was filled does not show."""
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


def test_json_has_one_known_spelling() -> None:
    """Keys are sorted by code point, nothing is blank, and text beyond ASCII stays as it is."""
    value = {"b": [1, 1.5, True, None], "a": {"é": "\n€"}, "B": ()}
    assert canonical_json(value) == '{"B":[],"a":{"é":"\\n€"},"b":[1,1.5,true,null]}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        [{"a": math.nan}],
        "\ud800",
        {"\ud800": 1},
        {1: "a"},
        {True: "a"},
        {None: "a"},
        {1.5: "a"},
        [{"a": {2: 3}}],
        ({"a": ({2: 3},)},),
        {"a": 1, 1: 2},
        {("a",): 1},
        b"a",
        {"a"},
        object(),
        [object()],
    ],
)
def test_json_refuses_what_has_no_canonical_form(value: Any) -> None:
    """Not-a-number, infinities, surrogates, keys that are no text and foreign types are refused."""
    with pytest.raises(ValueError, match=r".+"):
        canonical_json(value)


def test_json_refuses_a_cycle() -> None:
    """A value that contains itself is refused, and does not exhaust the stack."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match=r".+"):
        canonical_json(cycle)


@given(st.lists(PART, max_size=4), st.lists(PART, max_size=4))
def test_frames_are_injective(one: list[bytes], other: list[bytes]) -> None:
    """Two tuples of parts have the same frame only if they are the same tuple."""
    assert (frame(*one) == frame(*other)) == (one == other)


@given(st.lists(PART, max_size=3), st.lists(PART, min_size=1, max_size=3))
def test_frames_concatenate(one: list[bytes], other: list[bytes]) -> None:
    """The frame of a longer tuple is that of its beginning followed by that of the rest."""
    assert frame(*one, *other) == frame(*one) + frame(*other)


def test_frames_have_fixed_bytes() -> None:
    """Each part is its length in four bytes, the highest first, and then itself; text is UTF-8."""
    assert frame() == b""
    assert frame("é", b"", b"ab") == b"\0\0\0\2\xc3\xa9" + b"\0\0\0\0" + b"\0\0\0\2ab"


def test_digest_is_sha256_of_the_frame() -> None:
    """A digest is the SHA-256 of the framed parts, so parts cannot be shifted."""
    assert digest("ab", b"c") == hashlib.sha256(b"\0\0\0\2ab\0\0\0\1c").digest()
    assert digest("ab", "c") != digest("a", "bc")
