"""Listing: complete, in UTF-8 byte order of the keys, and reading only what it must."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nexus_core.spi import Scope

T1 = Scope("t1", "dev")
CHANCE = 20_240_229


def expected(
    keys: Sequence[str],
    *,
    prefix: str = "",
    after: str | None = None,
    delimiter: str | None = None,
) -> list[str]:
    """What a listing must give, by sorting all the keys; ``after`` may be a rolled-up prefix."""
    found = set()
    for key in keys:
        if key.startswith(prefix) and (after is None or key.encode() > after.encode()):
            head, slash, _ = key[len(prefix) :].partition("/")
            found.add(prefix + head + slash if delimiter and slash else key)
    return sorted(found - {after}, key=str.encode)


# Neighbours of the slash in byte order, escapes that sort elsewhere, long segments whose chunks
# end at different places and so interleave with one another, trailing dots.
ALPHABET = ["n", "N", "!", "-", ".x", "0", "_", "~", "é", "ﬁ", "😀", "\uffff", " "]
STEMS = ["b" * 194, "b" * 195, "b" * 196, "b" * 197, "b" * 198, "b" * 199]
TAILS = ["", ".", ".a", "..", "..a", " ", " a", "!", "0", "a", "A", "a.", "é", "/", "/x"]


def vocabulary() -> list[str]:
    keys = {
        a + b + c + d
        for a in ALPHABET
        for b in ("", "/", "n", "!", "/n/")
        for c in ALPHABET[:4]
        for d in ("", "/", "/k")
    }
    keys |= {stem + tail + more for stem in STEMS for tail in TAILS for more in ("z", "/k", "..z")}
    keys |= {stem + tail for stem in STEMS for tail in TAILS}
    return sorted(key for key in keys if not {"", ".", ".."} & set(key.split("/")))


@pytest.fixture
def odd(lab: Any, unsynced: None) -> tuple[Any, list[str]]:
    """A scope filled with the odd vocabulary."""
    keys = vocabulary()
    for key in keys:
        lab.put(T1, key, b"x")
    return lab, keys


def test_order_of_odd_names(odd: tuple[Any, list[str]]) -> None:
    """Escapes, slashes and chunks of long segments come in the order of the keys' bytes, under
    every prefix, delimiter, starting point and page size."""
    lab, keys = odd
    assert len(keys) > 500
    assert lab.keys(T1) == expected(keys)
    assert lab.keys(T1, delimiter="/") == expected(keys, delimiter="/")
    chance = random.Random(CHANCE)  # noqa: S311
    for _ in range(25):
        key = chance.choice(keys)
        prefix = key[: chance.randint(0, len(key))] if chance.random() < 0.8 else ""
        if prefix.endswith("/.") or prefix in (".", ".."):
            continue
        after = chance.choice((None, chance.choice(keys), key + "!", key[:-1] or None))
        for delimiter in (None, "/"):
            bounds: dict[str, Any] = {"prefix": prefix, "after": after, "delimiter": delimiter}
            limit = chance.choice((40, 300, 1000))
            assert lab.keys(T1, limit=limit, **bounds) == expected(keys, **bounds), bounds


def test_2503_keys(lab: Any, unsynced: None) -> None:
    """2,503 keys come complete, once each and strictly increasing, whatever the page size."""
    chance = random.Random(CHANCE)  # noqa: S311
    keys = {
        f"{chance.choice('abcXé-')}{n % 7}/{chance.choice(ALPHABET)}{n}" for n in range(2_500)
    } | {"a", "a0", "z"}
    assert len(keys) == 2_503
    for key in keys:
        lab.put(T1, key, b"")
    lab.put(Scope("t10", "dev"), "foreign", b"")
    lab.put(Scope("t1", "prod"), "foreign", b"")
    store = lab.build()
    for limit in (1, 7, 1000):
        found = []
        after = None
        while True:
            page = store.list(T1, after=after, limit=limit)
            assert 0 < len(page.items) <= limit
            found += [item.key for item in page.items]
            if page.next_after is None:
                break
            after = page.next_after
        assert found == sorted(keys, key=str.encode)


def test_empty_directories_are_no_prefixes(lab: Any) -> None:
    """A directory without an object in it is not rolled up, listed or counted."""
    lab.put(T1, "b/k", b"x")
    for name in ("a", "c/d", "b/e"):
        (lab.home(T1) / name).mkdir(parents=True)
    assert lab.keys(T1) == ["b/k"]
    assert lab.keys(T1, delimiter="/") == ["b/"]
    assert lab.keys(T1, delimiter="/", prefix="b/") == ["b/k"]
    assert lab.keys(T1, delimiter="/", prefix="a/") == []
    assert lab.store.list(T1, limit=1).next_after is None
    assert lab.store.list(T1, limit=1, delimiter="/").next_after is None


def test_rolled_up_prefixes_count_and_continue(lab: Any) -> None:
    """A prefix counts towards the limit, comes once, and the next page goes on after all of it."""
    for key in ("a", "a/1", "a/2", "a/3", "b/1", "b0", "c"):
        lab.put(T1, key, b"x")
    page = lab.store.list(T1, delimiter="/", limit=2)
    assert [item.key for item in page.items] == ["a"]
    assert page.prefixes == ("a/",)
    lab.put(T1, "a/\U0010ffff\U0010ffff", b"x")
    page = lab.store.list(T1, delimiter="/", limit=2, after=page.next_after)
    assert ([item.key for item in page.items], page.prefixes) == (["b0"], ("b/",))
    page = lab.store.list(T1, delimiter="/", limit=2, after=page.next_after)
    assert ([item.key for item in page.items], page.prefixes) == (["c"], ())
    assert page.next_after is None


def test_a_slash_as_starting_point(lab: Any) -> None:
    """Without a delimiter ``a/`` as starting point is a text like any other, before ``a/1``."""
    for key in ("a", "a/1", "b"):
        lab.put(T1, key, b"x")
    assert lab.keys(T1, after="a/") == ["a/1", "b"]
    assert lab.keys(T1, after="a/", delimiter="/") == ["b"]
    assert lab.keys(T1, after="a/0", delimiter="/") == ["a/", "b"]
    assert lab.keys(T1, after="a/1", delimiter="/") == ["b"]


def test_names_are_what_was_found(lab: Any) -> None:
    """Each entry carries the physical name, below the root, that leads to its file."""
    keys = ["a/B", "n", "n/m", "x" * 500, "con"]
    for key in keys:
        lab.put(T1, key, b"x")
    items = lab.store.list(T1).items
    assert sorted(item.key for item in items) == sorted(keys)
    for item in items:
        assert (lab.root / f"{item.name}~o").is_file()
        assert item.name.startswith("v1/dev/t1/")


def test_only_needed_directories_are_read(
    lab: Any, unsynced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefix, starting point and limit keep a listing from reading the rest of the tree."""
    for first in range(20):
        for second in range(5):
            lab.put(T1, f"d{first:02}/e{second}/k", b"x")
            lab.put(T1, "x" * 300 + f"{first:02}/k", b"x")
    reads: list[str] = []
    real: Callable[[int], list[str]] = os.listdir

    def counting(descriptor: int) -> list[str]:
        reads.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        return real(descriptor)

    monkeypatch.setattr(os, "listdir", counting)
    for bounds, count in (
        ({"prefix": "d07/e3/"}, 1),
        ({"prefix": "d07/e3/k"}, 1),
        ({"prefix": "d07/"}, 6),
        ({"prefix": "d07"}, 7),
        ({"prefix": "absent/"}, 0),
        ({"prefix": "d", "after": "d19/e3"}, 4),
        ({"limit": 1}, 4),
        ({"prefix": "xx", "limit": 1}, 4),
        ({"after": "y"}, 1),
    ):
        reads.clear()
        lab.store.list(T1, **bounds)
        assert len(reads) == count, (bounds, reads)


def test_changes_beside_never_hide_a_key(lab: Any, unsynced: None) -> None:
    """While other keys come, go and are overwritten, a listing shows every key that stays."""
    steady = [f"{letter}/{n}" for letter in "abc" for n in range(60)]
    for key in steady:
        lab.put(T1, key, b"x")
    stop = threading.Event()

    def disturb(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        while not stop.is_set():
            key = f"{chance.choice('abcd')}/{chance.randint(0, 59)}/{seed}"
            lab.put(T1, key, b"y")
            lab.put(T1, f"{chance.choice('abc')}/x{seed}{chance.randint(0, 9)}", b"y")
            lab.store.delete(T1, key)
            lab.store.delete(T1, f"{chance.choice('abc')}/x{seed}{chance.randint(0, 9)}")

    threads = [threading.Thread(target=disturb, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(30):
            found = lab.keys(T1, limit=(7, 50, 1000)[turn % 3])
            assert found == sorted(set(found), key=str.encode)
            assert set(steady) <= set(found)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
