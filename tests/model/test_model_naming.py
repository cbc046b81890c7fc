"""The naming codec: distinct scopes and keys never share a physical name."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexus_core._model.errors import IntegrityError
from nexus_core._model.keys import check_key
from nexus_core._model.naming import (
    MAX_PART,
    ForeignNameError,
    decode_key_parts,
    decode_object_name,
    decode_part,
    decode_segment,
    encode_key_parts,
    encode_object_name,
    encode_scope_parts,
    encode_segment,
    hashed_name,
    is_continued,
    object_prefix,
)
from nexus_core._model.scope import Scope

# Twins: each group holds names that some scheme takes for one another.
TWINS: tuple[tuple[str, ...], ...] = (
    ("a", "A", "ａ", "á", "à", "ä", "å", "Å", "а"),  # the last is Cyrillic
    ("ss", "ß", "ẞ", "SS", "ſs"),
    ("i", "I", "ı", "İ", "í"),
    ("k", "K", "κ", "Κ"),
    ("fi", "ﬁ", "ＦＩ"),
    ("a.b", "a_b", "a-b", "a~b", "a b", "a%b", "a+b", "a:b"),
    ("%2e", "%2E", "~2e", "~2E", ".2e", "%252e", "~7e2e", "~7E2e"),
    ("...", "..a", "a..", ".a.", "a.", ".a", "~2e", "~2ea", "a~2e"),
    ("con", "CON", "con.txt", "con~2etxt", "~63on", "~63on.txt", "nul.", "nul", "aux.a.b", "con "),
    ("com1", "COM1", "com¹", "com10", "lpt9.x", "prn", "conin$", "clock$", "conout$.a"),
    ("t1", "t10", "t1/0", "t/10"),
    ("a-b/c", "a/b-c", "a/b/c", "a-b-c", "a/b", "a"),
    ("~_", "~", "~~", "_", "~_~_", "a~_", "~_/a", "a/~_"),
    ("é", "e", "É", "ｅ", "è", "\U0001f600", "𝐞", "ᵉ"),
    ("1", "１", "١", "①", "²", "½"),
)
WORDS = tuple(itertools.chain.from_iterable(TWINS))
LONG = tuple(
    stem * (length // len(stem)) + end
    for length in range(186, 204)
    for stem in ("a", "A", ".a", "~")
    for end in ("", ".", "..x", "con", "con.x", "a.", "A", "~_", ".con")
)
TENANTS = ("a", "a-b", "a_b", "ab", "t1", "t10", "con", "nul", "com1", "prod", "v1", "0", "a" * 63)
SCOPES = [Scope(tenant, env) for tenant in TENANTS for env in ("dev", "staging", "prod")]


def lawful(key: str) -> bool:
    try:
        check_key(key)
    except ValueError:
        return False
    return True


KEYS = [key for key in (*WORDS, *LONG) if lawful(key)]
SEGMENT = (
    st.lists(st.sampled_from(WORDS).filter(lambda word: "/" not in word), min_size=1, max_size=4)
    .map("".join)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lawful)
)
LONG_SEGMENT = st.builds(
    lambda size, middle, end: "a" * size + middle + end,
    st.integers(180, 202),
    SEGMENT,
    st.sampled_from(["", ".", "con", ".con", "con.x", "lpt1", "a" * 197, "A" * 70]),
).filter(lawful)
KEY = st.lists(SEGMENT | LONG_SEGMENT, min_size=1, max_size=4).map("/".join).filter(lawful)

# Independent of the product: what Windows takes for a device, whatever follows the first dot.
DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789¹²³"
}


def folded(text: str) -> str:
    """The coarsest equality that a file system is known to use."""
    previous = ""
    while text != previous:
        previous, text = text, unicodedata.normalize("NFKC", text).casefold()
    return text


def portable(part: str) -> bool:
    """Whether every common file system stores this name as it is, as a plain file or folder."""
    return (
        0 < len(part) <= MAX_PART
        and part.isascii()
        and part == part.lower()
        and all(character.isalnum() or character in "_-.~" for character in part)
        and part[0] != "."
        and part[-1] != "."
        and part.partition(".")[0].rstrip(" ") not in DEVICES
        and folded(part) == part
    )


def assert_injective(names: Iterable[object], count: int) -> None:
    assert len(set(names)) == count


@given(KEY)
def test_keys_come_back(key: str) -> None:
    """Path parts read back as the key that they were made of."""
    assert decode_key_parts(encode_key_parts(key)) == key


@given(SEGMENT | LONG_SEGMENT)
def test_segments_come_back(segment: str) -> None:
    """A segment's parts read back as the segment, and part by part as its bytes."""
    parts = encode_segment(segment)
    assert decode_segment(parts) == segment
    assert b"".join(decode_part(part) for part in parts) == segment.encode()


@given(st.sampled_from(SCOPES), KEY)
def test_object_names_come_back(scope: Scope, key: str) -> None:
    """An object's name reads back as its key in its own scope."""
    name = encode_object_name(scope, key)
    assert name.startswith(object_prefix(scope))
    assert decode_object_name(scope, name) == key


@given(KEY)
@example("a" * 198 + "con")
@example("a" * 198 + ".b")
@example("a" * 396 + "lpt1.txt")
@example("con" + "a" * 300)
@example("con." + "a" * 300)
def test_every_part_is_portable(key: str) -> None:
    """No part of a path is too long, dotted at an end, in capitals, or a reserved device."""
    for part in encode_key_parts(key):
        assert portable(part), part


def test_every_word_of_the_vocabulary_is_portable() -> None:
    """The whole adversarial vocabulary, and every length around the limit, is stored as it is."""
    for key in KEYS:
        for part in encode_key_parts(key):
            assert portable(part), (key, part)
    for scope in SCOPES:
        for part in encode_scope_parts(scope):
            assert portable(part), scope


def test_paths_are_distinct_however_a_file_system_folds() -> None:
    """No two keys share a path, even where case and compatibility forms are folded."""
    keys = sorted(set(KEYS))
    paths = [tuple(folded(part) for part in encode_key_parts(key)) for key in keys]
    assert_injective(paths, len(keys))


def test_no_folding_joins_scopes() -> None:
    """No two scopes share path parts, nor do the parts of one begin with those of another."""
    paths = [encode_scope_parts(scope) for scope in SCOPES]
    assert_injective((tuple(map(folded, path)) for path in paths), len(SCOPES))
    for one, other in itertools.permutations(paths, 2):
        assert other[: len(one)] != one


@given(KEY, KEY)
def test_distinct_keys_have_distinct_paths(one: str, other: str) -> None:
    """Two keys have the same folded path only if they are one key."""
    left = tuple(folded(part) for part in encode_key_parts(one))
    right = tuple(folded(part) for part in encode_key_parts(other))
    assert (left == right) == (one == other)


def test_object_names_are_distinct_over_scopes_and_keys() -> None:
    """No pair of scope and key shares an object name with another pair."""
    keys = sorted(set(KEYS))
    names = [encode_object_name(scope, key) for scope in SCOPES for key in keys]
    assert_injective(names, len(SCOPES) * len(keys))


def test_object_prefixes_hold_no_other_scope() -> None:
    """No scope's prefix begins another's, so a listing by prefix stays in its scope."""
    for one, other in itertools.permutations(SCOPES, 2):
        assert not object_prefix(other).startswith(object_prefix(one))


@given(st.sampled_from(SCOPES), st.sampled_from(SCOPES), KEY)
def test_another_scopes_name_is_foreign(one: Scope, other: Scope, key: str) -> None:
    """A name made for one scope is refused when it is read for another."""
    name = encode_object_name(one, key)
    if one != other:
        with pytest.raises(ForeignNameError):
            decode_object_name(other, name)


FOREIGN_PARTS = (
    "",
    ".",
    "..",
    "A",
    "a b",
    "é",
    "~",
    "~2",
    "~2E",
    "~61",  # a plain character in escaped form
    "~2ea.",
    ".a",
    "a.",
    "con",
    "nul.txt",
    "~63o",  # an escape where none is needed
    "a~_b",
    "~_",
    "~ff",
    "~c3",
    "~ed~a0~80",  # a surrogate
    "~c0~ae",  # an overlong dot
    "a\n",
    "a/b",
    "a\\b",
    "~2f",  # a slash inside a segment
    "~00",
    "a" * 199,
)


@pytest.mark.parametrize("part", FOREIGN_PARTS, ids=lambda part: ascii(part)[:20])
def test_foreign_parts_are_refused(part: str) -> None:
    """A part that the codec would not have made is refused, though it could be decoded."""
    with pytest.raises(ForeignNameError):
        decode_key_parts([part])
    with pytest.raises(ForeignNameError):
        decode_key_parts(["ok", part, "ok"])


@given(st.lists(st.text(alphabet="ab~_.2e6fcon1/\\ A", max_size=6), max_size=4))
def test_whatever_decodes_is_what_was_encoded(parts: list[str]) -> None:
    """Any list of names either is exactly what some key encodes to, or is refused as foreign."""
    try:
        key = decode_key_parts(parts)
    except ForeignNameError:
        return
    assert list(encode_key_parts(key)) == parts


@given(st.text(alphabet="v1/devaprostgin-_.A\\\0", max_size=24))
def test_whatever_name_decodes_is_what_was_encoded(name: str) -> None:
    """Any object name either is exactly what a key of the scope encodes to, or is foreign."""
    scope = Scope("a", "dev")
    try:
        key = decode_object_name(scope, name)
    except ForeignNameError:
        return
    assert encode_object_name(scope, key) == name


@pytest.mark.parametrize(
    "rest", ["", "/", "a//b", "../x", "a/..", "a\\b", "\0", "e\u0301", "\ud800", "a" * 1025],
    ids=lambda rest: ascii(rest)[:12],
)  # fmt: skip
def test_planted_object_names_are_foreign(rest: str) -> None:
    """A name under the scope's prefix whose rest is no key is foreign."""
    scope = Scope("acme", "prod")
    with pytest.raises(ForeignNameError):
        decode_object_name(scope, object_prefix(scope) + rest)


def test_the_layout_is_fixed() -> None:
    """The bytes of physical names are pinned, for what is stored under them must be found again."""
    assert encode_scope_parts(Scope("nul", "prod")) == ("v1", "prod", "~6eul")
    assert object_prefix(Scope("acme", "dev")) == "v1/dev/acme/"
    assert encode_key_parts("A/b c/é/.x./~/con.txt") == (
        "~41",
        "b~20c",
        "~c3~a9",
        "~2ex~2e",
        "~7e",
        "~63on.txt",
    )
    assert encode_segment("a" * 198) == ("a" * 198,)
    assert encode_segment("a" * 199) == ("a" * 198 + "~_", "a")
    assert encode_segment("a" * 197 + "B.c") == ("a" * 197 + "~_", "~42.c")
    assert encode_segment("a" * 198 + ".b") == ("a" * 198 + "~_", "~2eb")
    name = hashed_name("nx", "a", "b")
    assert name == "nxlnu6zqobul27yenuj6oaxwe6pslrcfu5kxemsmnnshdyluaxxnaq"


def test_a_chunk_needs_its_rest() -> None:
    """A path that ends inside a long segment, or whose chunks are cut elsewhere, is foreign."""
    parts = encode_segment("a" * 500)
    assert [is_continued(part) for part in parts] == [True, True, False]
    for cut in (parts[:1], parts[:2], parts[::-1], ("a~_", "a"), (*parts[:2], ""), ("~_", "a")):
        with pytest.raises(ForeignNameError):
            decode_segment(cut)
        with pytest.raises(ForeignNameError):
            decode_key_parts(cut)


def test_nothing_is_no_name() -> None:
    """An empty list of parts is no segment and no key."""
    for decode in (decode_segment, decode_key_parts):
        with pytest.raises(ForeignNameError):
            decode([])


def test_a_foreign_name_is_an_integrity_error_without_the_name() -> None:
    """What is found in a store and was not made here is reported, and its text is not."""
    readers: list[Callable[[], object]] = [
        lambda: decode_key_parts(["ZZ9"]),
        lambda: decode_object_name(Scope("acme", "prod"), "ZZ9"),
        lambda: decode_part("ZZ9"),
    ]
    for reader in readers:
        with pytest.raises(IntegrityError) as caught:
            reader()
        assert "ZZ9" not in str(caught.value)
        assert caught.value.code == "store.foreign_name"


def test_hashed_names_are_framed() -> None:
    """Moving a character from one part to the next, or adding an empty part, gives another name."""
    tuples = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("a", "b", "c"), ()]
    assert_injective((hashed_name("n", *parts) for parts in tuples), len(tuples))


@given(st.lists(st.sampled_from(WORDS), max_size=3))
def test_hashed_names_have_one_tight_shape(parts: list[str]) -> None:
    """A hashed name is its prefix and 52 characters of lower-case base32, the same every time."""
    name = hashed_name("nx_", *parts)
    assert name == hashed_name("nx_", *parts)
    assert name.startswith("nx_")
    assert len(name) == 3 + 52
    assert set(name[3:]) <= set("abcdefghijklmnopqrstuvwxyz234567")
