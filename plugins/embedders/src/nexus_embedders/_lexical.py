"""Lexical embedding: words, pieces of words and pairs of words, hashed into a fixed dimension.

There is no model and nothing is learnt. Two texts are near when they use the same words, forms of
the same word, or the same words side by side. All sums are of whole numbers, so that neither the
order of addition nor the machine shows; one division and one rounding end it.
"""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from nexus_core.spi import Embedder, Metric, Vectors
from nexus_embedders._words import words

VERSION: Final = "1"
DIMENSION: Final = 384

# The weight of a word by its length: short words are in every text and say little.
_BY_LENGTH: Final = (0, 3, 3, 5, 8, 9, 10)
# A character beyond the alphabets stands for a syllable or a word, and counts as three.
_FIRST_DENSE: Final = "\u1100"

# A word's own part has this length; its trigrams together are 5/4 of it, a pair of words is 1/2.
_UNIT: Final = 1 << 12
_WORD: Final = math.isqrt(_UNIT * _UNIT // 2)
_PAIR: Final = _WORD // 2
_TRIGRAMS_SQUARED: Final = 25 * _UNIT * _UNIT // 16 // 2
# A longer word (a key, a checksum) is known by its whole and by its beginning.
_MAX_TRIGRAM_CHARS: Final = 32

_CACHED_WORDS: Final = 1 << 15
_PERSON: Final = b"nexus.lexical.1"


class LexicalEmbedder(Embedder):
    """384 dimensions, cosine; a vector of length 1, or zero for a text without a word.

    The same on every Python and machine, to the bit. Threads may share it.
    """

    def __init__(self) -> None:
        self._parts = lru_cache(maxsize=_CACHED_WORDS)(_parts)

    @property
    def version(self) -> str:
        return VERSION

    @property
    def dimension(self) -> int:
        return DIMENSION

    @property
    def metric(self) -> Metric:
        return "cosine"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, in order."""
        rows = array("f")
        for text in texts:
            rows.extend(_unit(self._sums(text)))
        if sys.byteorder == "big":
            rows.byteswap()
        return Vectors.from_buffer(rows.tobytes(), DIMENSION)

    def _sums(self, text: str) -> list[int]:
        sums = [0] * DIMENSION
        parted, dense = words(text)
        for word, count in Counter((*parted, *dense)).items():
            factor = 10 * _weight(word) * _damped(count)
            buckets, amounts = self._parts(word)
            for bucket, amount in zip(buckets, amounts, strict=True):
                sums[bucket] += factor * amount
        for (first, second), count in Counter(pairwise(parted)).items():
            factor = _weight(first) * _weight(second) * _damped(count)
            for bucket, sign in _places(f"p {first} {second}"):
                sums[bucket] += factor * sign * _PAIR
        return sums


def _weight(word: str) -> int:
    """Tenths."""
    length = len(word) if word[0] < _FIRST_DENSE else 3 * len(word)
    return _BY_LENGTH[min(length, len(_BY_LENGTH) - 1)]


def _damped(count: int) -> int:
    """1 + log2(count) / 2, in parts of 256, on straight lines between the powers of two."""
    power = count.bit_length() - 1
    return 256 + 128 * power + ((count - (1 << power)) * 128 >> power)


def _parts(word: str) -> tuple[array[int], array[int]]:
    """Where a word adds, and what: as a whole, and by the groups of three characters in it."""
    sums: Counter[int] = Counter()
    for bucket, sign in _places(f"w {word}"):
        sums[bucket] += sign * _WORD
    if word[0] < _FIRST_DENSE:
        framed = f"<{word[:_MAX_TRIGRAM_CHARS]}>"
        trigrams = [framed[start : start + 3] for start in range(len(framed) - 2)]
        amount = math.isqrt(_TRIGRAMS_SQUARED // len(trigrams))
        for trigram in trigrams:
            for bucket, sign in _places(f"t {trigram}"):
                sums[bucket] += sign * amount
    return array("h", sums.keys()), array("i", sums.values())


def _places(feature: str) -> Iterator[tuple[int, int]]:
    """Two different buckets for a feature, each with a sign: collisions of two features that matter
    are rarer than with one."""
    digest = hashlib.blake2b(feature.encode("utf-8"), digest_size=8, person=_PERSON).digest()
    rest, first = divmod(int.from_bytes(digest, "little"), DIMENSION)
    rest, step = divmod(rest, DIMENSION - 1)
    yield first, 1 if rest & 1 else -1
    yield (first + 1 + step) % DIMENSION, 1 if rest & 2 else -1


def _unit(sums: list[int]) -> list[float]:
    norm = math.sqrt(sum(value * value for value in sums))
    return [value / norm for value in sums] if norm else [0.0] * DIMENSION
