"""Raw keys: which names an object may have, and which prefixes can be asked for."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._model.errors import InvalidKeyError
from nexus_core._model.keys import MAX_KEY_BYTES, check_key, check_prefix, check_user_key


class Text(str):
    """A `str` by inheritance only."""

    __slots__ = ()


# Pieces that naming schemes trip over, glued together in every order.
PIECES = st.sampled_from(
    ["a", "B", "/", "//", ".", "..", "\\", "\0", "\x1f", "\x7f", "\x80", "\x9f", "\n", " ", "%2e",
     "é", "e\u0301", "Å", "\u212b", "ß", "ﬁ", "\ud800", "\U0001f600", "~", "_nexus", "\u202e"]
)  # fmt: skip
TEXT = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=8)


def lawful(key: str) -> bool:
    """The key grammar, rule by rule."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return False
    return (
        1 <= size <= 1024
        and not any(unicodedata.category(character) == "Cc" for character in key)
        and "\\" not in key
        and unicodedata.normalize("NFC", key) == key
        and not any(segment in ("", ".", "..") for segment in key.split("/"))
    )


@given(TEXT)
def test_key_grammar_is_exact(key: str) -> None:
    """A key is accepted, unchanged, if and only if it satisfies every rule."""
    if lawful(key):
        assert check_key(key) is key
    else:
        with pytest.raises(InvalidKeyError):
            check_key(key)


@pytest.mark.parametrize("unit", ["a", "é", "€", "\U0001f600"], ids=ascii)
def test_key_length_is_counted_in_bytes(unit: str) -> None:
    """The limit of 1024 is on bytes of UTF-8, not on characters."""
    width = len(unit.encode())
    assert MAX_KEY_BYTES == 1024
    full = unit * (1024 // width)
    assert check_key(full) == full
    with pytest.raises(InvalidKeyError):
        check_key(full + unit)


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), ord("\\")], ids=hex)
def test_no_control_character_passes(code: int) -> None:
    """Every C0 and C1 control, DEL and the backslash are refused, beside ASCII and beyond it."""
    for around in ("a{}b", "é{}b"):
        with pytest.raises(InvalidKeyError):
            check_key(around.format(chr(code)))


@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b", "../a", "a/..", "e\u0301"],
    ids=ascii,
)
def test_unlawful_keys_are_refused(key: str) -> None:
    """Empty, dotted and unnormalised segments are refused, never repaired."""
    with pytest.raises(InvalidKeyError):
        check_key(key)


@pytest.mark.parametrize(
    "key", ["...", "a..b", "..a", ".a", "a.", "%2e%2e", "a b", " ", "~", "CON", "a:b", "*", "'\""]
)
def test_odd_keys_are_lawful(key: str) -> None:
    """What merely looks dangerous to one engine is a key, for naming is the codec's job."""
    assert check_key(key) == key


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"], Text("a")], ids=repr)
def test_keys_are_exactly_str(value: Any) -> None:
    """Bytes, subclasses of `str` and everything else are refused, for keys and for prefixes."""
    for check in (check_key, check_prefix, check_user_key):
        with pytest.raises(InvalidKeyError):
            check(value)
    with pytest.raises(InvalidKeyError):
        check_prefix(Text(""))


@given(TEXT.filter(lawful), st.integers(min_value=0))
def test_every_beginning_of_a_key_is_a_prefix(key: str, cut: int) -> None:
    """Whatever a key begins with can be asked for, the empty prefix and a cut segment included."""
    prefix = key[: cut % (len(key) + 1)]
    assert check_prefix(prefix) == prefix


@given(TEXT)
def test_a_prefix_begins_some_key(prefix: str) -> None:
    """A prefix is accepted if and only if it is a key or becomes one when characters follow."""
    begins = prefix == "" or lawful(prefix) or lawful(prefix + "a")
    if begins:
        assert check_prefix(prefix) == prefix
    else:
        with pytest.raises(InvalidKeyError):
            check_prefix(prefix)


@pytest.mark.parametrize("end", ["/", "/.", "/..", "a"])
def test_a_prefix_leaves_room_for_its_key(end: str) -> None:
    """A prefix so long that no key of 1024 bytes can begin with it is refused."""
    more = 0 if lawful(end) else 1
    longest = "a" * (MAX_KEY_BYTES - len(end) - more) + end
    assert check_prefix(longest) == longest
    with pytest.raises(InvalidKeyError):
        check_prefix("a" + longest)


@pytest.mark.parametrize("key", ["_nexus", "_nexus/a", "_nexus/tmp/x"])
def test_our_own_root_is_not_the_users(key: str) -> None:
    """A user's key may not lie in the framework's own part of the key space."""
    assert check_key(key) == key
    with pytest.raises(InvalidKeyError):
        check_user_key(key)


@pytest.mark.parametrize("key", ["_nexus2", "_NEXUS/a", "a/_nexus", "_nexu", "_nexus.a"])
def test_neighbours_of_our_root_are_the_users(key: str) -> None:
    """Keys that only resemble the framework's own are the user's."""
    assert check_user_key(key) == key


def test_refusals_name_the_rule_and_not_the_key() -> None:
    """An error about a key says which rule it breaks, and prints nothing of the key."""
    for key in ("zz9\0", "zz9//", "zz9" * 999, "zz9\ud800", "_nexus/zz9", "zz9e\u0301"):
        with pytest.raises(InvalidKeyError) as caught:
            check_user_key(key, what="the source key")
        assert "zz9" not in str(caught.value)
        assert str(caught.value).startswith("the source key")


def test_control_characters_are_unicodes_own() -> None:
    """The characters refused as controls are exactly the category Cc of Unicode."""
    refused = set()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character in "\\/" or 0xD800 <= code < 0xE000:
            continue
        if unicodedata.normalize("NFC", character) != character:
            continue
        try:
            check_key(f"a{character}b")
        except InvalidKeyError:
            refused.add(character)
    controls = {chr(code) for code in range(0x100) if unicodedata.category(chr(code)) == "Cc"}
    # Marks that combine with the letter before them make the sample itself unnormalised.
    assert refused - controls == {
        character for character in refused if unicodedata.combining(character)
    }
    assert controls <= refused
