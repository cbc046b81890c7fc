"""The lexical embedder: the same vector everywhere, and near when words are shared."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points

import nexus_embedders
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nexus_embedders._words import folding, words

from nexus_core.spi import Embedder, IndexDefinition

TEXTS = st.text(max_size=200)
WORD = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)
SENTENCES = st.lists(WORD, min_size=1, max_size=20).map(" ".join)


@pytest.fixture(scope="module")
def lexical() -> Embedder:
    """The embedder as the plugin offers it."""
    (spec, _) = nexus_embedders.nexus_embedder()
    assert spec.config is None
    return spec.factory(None)


def similarity(embedder: Embedder, first: str, second: str) -> float:
    """Cosine of the angle between two texts' vectors."""
    one, other = embedder.embed([first, second])
    return sum(left * right for left, right in zip(one, other, strict=True))


def test_the_plugin_offers_two_embedders() -> None:
    """The installed distribution is found by its family name and offers each embedder once."""
    (entry,) = entry_points(group="nexus.plugins", name="embedders")
    assert [spec.name for spec in entry.load().nexus_embedder()] == [
        "lexical",
        "sentence-transformer",
    ]


def test_an_index_can_name_it(lexical: Embedder) -> None:
    """Version, dimension and metric make an index definition."""
    made = IndexDefinition(
        name="main",
        version=1,
        dimension=lexical.dimension,
        metric=lexical.metric,
        embedder=f"lexical@{lexical.version}",
    )
    assert (made.dimension, made.metric, made.embedder) == (384, "cosine", "lexical@1")


def test_importing_the_plugin_imports_no_model() -> None:
    """Neither embedder's code, nor the model's library, is loaded when the plugin is looked at."""
    script = (
        "import sys, nexus_embedders as n; n.nexus_embedder(); "
        "print({'nexus_embedders._lexical', 'sentence_transformers', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


@given(st.lists(TEXTS, max_size=5))
def test_vectors_have_length_one_or_zero(lexical: Embedder, texts: list[str]) -> None:
    """Each text gives one vector, of length 1 if it has a word and else zero."""
    made = lexical.embed(texts)
    assert len(made) == len(texts)
    assert made.dimension == 384
    for text, row in zip(texts, made, strict=True):
        norm = math.fsum(value * value for value in row)
        assert norm == 0.0 or abs(norm - 1.0) < 1e-5
        assert norm > 0.0 or not any(words(text))


@pytest.mark.parametrize(
    "text", ["", " \n\t", "!?… — «»", "👍🏽 ⚠️", "\u200b\ufeff\u0301", "\ud800"]
)
def test_a_text_without_words_is_zero(text: str, lexical: Embedder) -> None:
    """Blanks, signs, pictures and marks are no words."""
    assert bytes(lexical.embed([text]).data) == bytes(4 * 384)


@given(st.lists(TEXTS, max_size=6))
def test_a_vector_depends_on_its_text_alone(lexical: Embedder, texts: list[str]) -> None:
    """Neither the batch nor what was embedded before shows in a vector."""
    (spec, _) = nexus_embedders.nexus_embedder()
    alone = b"".join(bytes(spec.factory(None).embed([text]).data) for text in texts)
    assert bytes(lexical.embed(texts).data) == alone


def test_threads_share_it(lexical: Embedder) -> None:
    """Many threads at once get what one thread gets."""
    texts = [f"text number {number} of a series of {number * 7}" for number in range(200)]
    expected = bytes(lexical.embed(texts).data)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: bytes(lexical.embed(texts).data), range(16))) == {expected}


@given(TEXTS)
def test_spelling_of_unicode_does_not_show(lexical: Embedder, text: str) -> None:
    """Composed and decomposed accents of the old alphabets are one spelling, without accents."""
    kept = "".join(c for c in text if ord(c) < 0x590)
    forms = [unicodedata.normalize(form, kept) for form in ("NFC", "NFD")]
    assert bytes(lexical.embed(forms[:1]).data) == bytes(lexical.embed(forms[1:]).data)


@given(st.text("aziãñöøßőłşž αδςώ абйёя аբֆ 12-", max_size=60))
def test_case_does_not_show(text: str) -> None:
    """Upper and lower case of Latin, Greek, Cyrillic and Armenian letters are the same words."""
    assert words(text.upper()) == words(text) == words(text.lower())


@given(TEXTS)
def test_folding_is_done_once(text: str) -> None:
    """Folding what is folded changes nothing."""
    once = text.translate(folding())
    assert once.translate(folding()) == once


@given(SENTENCES, st.sampled_from([" - ", "\n\n", "... ", "_", " \u2014 ", "\u3000", "/", " 👍 "]))
def test_what_parts_words_does_not_show(lexical: Embedder, sentence: str, between: str) -> None:
    """Any blank, sign or picture parts words, and is no word itself."""
    parted = sentence.replace(" ", between)
    assert bytes(lexical.embed([parted]).data) == bytes(lexical.embed([sentence]).data)


@pytest.mark.parametrize(
    ("question", "near", "far"),
    [
        (
            "How long is the warranty?",
            "The warranty lasts for two years from the day of purchase.",
            "Shipping takes about three days within the country.",
        ),
        (
            "cancel my subscription",
            "Subscriptions can be cancelled at any time before the next renewal.",
            "Invoices are sent by mail on the first day of the month.",
        ),
        (
            "Kündigungsfrist Mietvertrag",
            "Mietverträge enden nach der vereinbarten Kündigungsfrist.",
            "Die Heizung wird im Sommer gewartet, und die Fenster werden geputzt.",
        ),
        (
            "検索エンジン",
            "この文書は全文検索エンジンについて説明します。",
            "今日は天気がとても良いです。",
        ),
        ("Где ключи?", "Ключ лежит на столе в кухне.", "Погода сегодня хорошая."),
        ("ключи ёлка", "КЛЮЧИ И ЕЛКА", "погода и море"),
        ("error E1234", "Code E1234: the disk is full.", "Code E9876: the fan has stopped."),
        ("naïve café", "A NAIVE CAFE", "a clever bar"),
    ],
)
def test_a_question_is_nearest_to_its_answer(
    question: str, near: str, far: str, lexical: Embedder
) -> None:
    """Shared words, forms of a word, and words without blanks around them bring texts together."""
    assert similarity(lexical, question, near) > similarity(lexical, question, far) + 0.1


def test_words_side_by_side_are_nearer(lexical: Embedder) -> None:
    """Of two texts with the same words, the one with the same neighbours is nearer."""
    question = "machine learning"
    assert similarity(lexical, question, "machine learning and other things") > similarity(
        lexical, question, "learning other things and machine"
    )


def test_repetition_is_damped(lexical: Embedder) -> None:
    """A word said a hundred times does not drown the others."""
    often = similarity(lexical, "alpha", "alpha " * 100 + "bravo charlie delta")
    once = similarity(lexical, "alpha", "alpha bravo charlie delta")
    assert once < often < 0.999


def test_long_and_strange_texts_end(lexical: Embedder) -> None:
    """A text of a million characters, or a word of as many, takes time in proportion."""
    made = lexical.embed(["x" * 1_000_000, "ab " * 300_000, "字" * 300_000, "é" * 300_000])
    assert len(made) == 4
    assert made.row(0) != made.row(3)


SAMPLE = [
    "The quick brown fox jumps over the lazy dog; the dog sleeps, the fox does not.",
    "Straße ﬁnanziell NAÏVE e\u0301 Ⅷ İstanbul ſ ŉ ǅ ᾳ Ωμέγα ключи ёлка Ա",
    "全文検索エンジン ガギグ カ\u3099 한국어 문서 ภาษาไทย العَرَبِيَّة עִבְרִית हिन्दी",
    "\U0001e4d0\u1c89 \u2ffc\u0cf3\u20b9 １２３ＡＢ 3.14 E1234 snake_case camelCase don't",
    "word " * 37 + "x" * 200,
    "₹ ⚠️ ⸺ 🧠 2⁶⁴ ½ №5 €9",
    "",
]
VECTORS = "0ef1d8cbf535d0332071d92182758ced11ac319a29a107a9630facf5742ce320"
FOLDING = "901c4032e527f94bd68347601a4e9361edb98ae475d1abb5eab24c838fa17ca4"


def test_vectors_are_those_of_version_1(lexical: Embedder) -> None:
    """Equal versions mean equal vectors, to the bit: a change here is a new version."""
    assert lexical.version == "1"
    assert hashlib.sha256(lexical.embed(SAMPLE).data).hexdigest() == VECTORS


def test_folding_is_that_of_version_1() -> None:
    """The whole table of folded characters is the same on every Python."""
    table = json.dumps(sorted(folding().items()))
    assert hashlib.sha256(table.encode("ascii")).hexdigest() == FOLDING
